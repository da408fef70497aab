// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "net/stream.h"

/*
 * TLS 1.2 and 1.3 as a filter over streams, by OpenSSL 3. In a library of its own (dep_net_tls), so
 * that static programs link net without OpenSSL.
 */
struct tls_context;

enum tls_client_certificate { TLS_CLIENT_OFF, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

struct tls_server_options {
        struct str certificate; /* PEM, the chain after it */
        struct str key;         /* PEM */
        struct str client_ca;   /* PEM of those who may issue client certificates; empty: none */
        enum tls_client_certificate client_certificate;
        bool http2; /* offers h2 before http/1.1 by ALPN */
};

/*
 * Views are copied. -EBADMSG with a sentence if a PEM is none or the key is another's. A client's
 * certificate is verified for client use; the subject comes by stream_peer().
 */
int tls_server_new(const struct tls_server_options *options, struct error *error,
                   struct tls_context **ret_context);

/*
 * Takes a new certificate and key, and those who may issue client certificates (empty: as before),
 * for connections from now on: sessions of before cannot be resumed. On failure all old ones stay.
 */
int tls_server_reload(struct tls_context *context, struct str certificate, struct str key,
                      struct str client_ca, struct error *error);

struct tls_client_options {
        struct str ca;          /* PEM of those to trust; empty: the system's, or SSL_CERT_FILE's */
        struct str certificate; /* PEM; empty: none */
        struct str key;
        bool insecure; /* no verification at all */
        bool http2;    /* offers h2 before http/1.1 */
};

/* Verifies the chain and the server name (DNS or IP) given to stream_filter's wrap(). */
int tls_client_new(const struct tls_client_options *options, struct error *error,
                   struct tls_context **ret_context);

/* Streams made with it live on. */
void tls_context_free(struct tls_context *context);
DEFINE_POINTER_CLEANUP(tls_context_freep, struct tls_context, tls_context_free)
#define _cleanup_tls_context_ _cleanup_(tls_context_freep)

/* For http_server_listen(), http_origin and whoever wraps streams. The context's. */
struct stream_filter *tls_context_filter(struct tls_context *context);

/* A sentence about the last failed handshake, for the log; empty if there was none. */
struct str tls_context_last_error(const struct tls_context *context);
