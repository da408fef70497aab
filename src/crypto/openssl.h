// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Shared by crypto's own files: OpenSSL's types with cleanup, and its memory streams. */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buffer.h"
#include "base/macro.h"

DEFINE_POINTER_CLEANUP(bio_freep, BIO, BIO_free_all)
DEFINE_POINTER_CLEANUP(x509_freep, X509, X509_free)
#define _cleanup_bio_  _cleanup_(bio_freep)
#define _cleanup_x509_ _cleanup_(x509_freep)

/* Appends what was written to a memory BIO. */
int bio_append(BIO *bio, struct buffer *out);

/* Releases a buffer after overwriting it. */
void buffer_wipe(struct buffer *buffer);
#define _cleanup_secret_ _cleanup_(buffer_wipe)
