// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include "base/arena.h"
#include "net/tls.h"

/* What tls.c (streams) and tls_context.c (certificates and options) share. */
struct tls_context {
        struct stream_filter filter;
        unsigned references; /* atomic: the owner's and one a stream */
        SSL_CTX *ssl;
        BIO_METHOD *bio;
        bool is_server;
        bool verifies;
        bool has_no_authorities; /* the system's were to be trusted, and there are none */
        char last_error[256];

        /* Kept for tls_server_reload(). */
        struct arena arena;
        struct tls_server_options server;
};

void tls_context_unref(struct tls_context *context);

/* A BIO_METHOD over a tls_stream; NULL without memory. */
BIO_METHOD *tls_stream_bio(void);

int tls_stream_wrap(struct stream_filter *filter, struct stream *lower, struct str server_name,
                    struct stream **ret_stream);
