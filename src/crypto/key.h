// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "base/macro.h"
#include "base/str.h"

/*
 * ECDSA key pairs on P-256, the one kind of key that Cay makes. They are OpenSSL's, reference
 * counted.
 */
struct evp_pkey_st;

void key_unref(struct evp_pkey_st *key);
DEFINE_POINTER_CLEANUP(key_unrefp, struct evp_pkey_st, key_unref)
#define _cleanup_key_ _cleanup_(key_unrefp)

/* Makes a new pair. Returns 0 or -ENOMEM. */
int key_make(struct evp_pkey_st **ret_key);

/* Reads an unencrypted PEM private key on P-256. Returns 0, -EBADMSG or -ENOMEM. */
int key_from_pem(struct str pem, struct evp_pkey_st **ret_key);

/* Appends the private key as PEM (PKCS #8). */
int key_append_pem(struct evp_pkey_st *key, struct buffer *out);

/*
 * Reads the key in the file `path` under `directory` (a descriptor or AT_FDCWD), or makes one and
 * writes it there with mode 0600. A file that holds no such key is an error, never replaced.
 */
int key_load_or_create(int directory, const char *path, struct error *error,
                       struct evp_pkey_st **ret_key);
