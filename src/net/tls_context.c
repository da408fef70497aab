// SPDX-License-Identifier: Apache-2.0
#include "net/tls_context.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

static const unsigned char protocols_http2[] = "\x02h2\x08http/1.1";
static const unsigned char protocols_http1[] = "\x08http/1.1";

static int ssl_error(struct error *error, const char *what)
{
        char reason[160];
        unsigned long code = ERR_peek_last_error();

        ERR_error_string_n(code, reason, sizeof(reason));
        ERR_clear_error();
        return error_set(error, -EBADMSG, "%s: %s.", what, code ? reason : "unusable");
}

/* ---- PEM ---- */

static BIO *memory_bio(struct str pem)
{
        return pem.length > INT32_MAX ? NULL : BIO_new_mem_buf(pem.data, (int)pem.length);
}

static void x509_freep(X509 **certificate)
{
        X509_free(*certificate);
}

static void bio_freep(BIO **bio)
{
        BIO_free(*bio);
}

static int use_chain(SSL_CTX *ssl, struct str pem, struct error *error)
{
        _cleanup_(bio_freep) BIO *bio = memory_bio(pem);
        _cleanup_(x509_freep) X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

        if (!leaf || SSL_CTX_use_certificate(ssl, leaf) != 1)
                return ssl_error(error, "The TLS certificate cannot be read");
        for (;;) {
                X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
                if (!next)
                        break;
                if (SSL_CTX_add0_chain_cert(ssl, next) != 1) {
                        X509_free(next);
                        return ssl_error(error, "The TLS certificate's chain cannot be used");
                }
        }
        ERR_clear_error();
        return 0;
}

static int use_key(SSL_CTX *ssl, struct str pem, struct error *error)
{
        _cleanup_(bio_freep) BIO *bio = memory_bio(pem);
        EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

        if (!key)
                return ssl_error(error, "The TLS key cannot be read");
        int good = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
        EVP_PKEY_free(key);
        return good ? 0 : ssl_error(error, "The TLS key does not belong to the certificate");
}

/* Adds all certificates; `names` as well to the list that a server sends to its clients. */
static int trust(SSL_CTX *ssl, struct str pem, bool names, struct error *error)
{
        _cleanup_(bio_freep) BIO *bio = memory_bio(pem);
        unsigned count = 0;

        for (;;) {
                _cleanup_(x509_freep) X509 *ca =
                        bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
                if (!ca)
                        break;
                if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), ca) != 1 ||
                    (names && SSL_CTX_add_client_CA(ssl, ca) != 1))
                        return ssl_error(error, "A certificate authority cannot be used");
                count++;
        }
        if (count == 0)
                return ssl_error(error, "The certificate authority cannot be read");
        ERR_clear_error();
        return 0;
}

/* ---- contexts ---- */

static void set_options(SSL_CTX *ssl)
{
        SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
        SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
        SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *user)
{
        const struct tls_server_options *options = user;
        const unsigned char *ours = options->http2 ? protocols_http2 : protocols_http1;
        unsigned length =
                options->http2 ? sizeof(protocols_http2) - 1 : sizeof(protocols_http1) - 1;
        unsigned char *chosen;

        (void)ssl;
        if (SSL_select_next_proto(&chosen, out_length, ours, length, in, in_length) !=
            OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_NOACK;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
}

static void ssl_ctx_freep(SSL_CTX **ssl)
{
        SSL_CTX_free(*ssl);
}

static int make_server(struct tls_context *context, struct str certificate, struct str key,
                       struct str client_ca, struct error *error, SSL_CTX **ret_ssl)
{
        const struct tls_server_options *options = &context->server;
        _cleanup_(ssl_ctx_freep) SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

        if (!ssl)
                return error_set(error, -ENOMEM, "Cannot set up TLS: out of memory.");
        set_options(ssl);
        SSL_CTX_set_num_tickets(ssl, 1);
        int r = use_chain(ssl, certificate, error);
        if (r == 0)
                r = use_key(ssl, key, error);
        if (r == 0 && options->client_certificate != TLS_CLIENT_OFF) {
                r = trust(ssl, client_ca, true, error);
                SSL_CTX_set_verify(ssl,
                                   SSL_VERIFY_PEER |
                                           (options->client_certificate == TLS_CLIENT_REQUIRED
                                                    ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                    : 0),
                                   NULL);
                /* Sessions of clients with certificates can be resumed in this context only. */
                SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"cay", 3);
        }
        if (r < 0)
                return r;
        SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, (void *)(uintptr_t)options);
        *ret_ssl = TAKE_POINTER(ssl);
        return 0;
}

void tls_context_unref(struct tls_context *context)
{
        if (__atomic_sub_fetch(&context->references, 1, __ATOMIC_ACQ_REL) > 0)
                return;
        SSL_CTX_free(context->ssl);
        BIO_meth_free(context->bio);
        arena_deinit(&context->arena);
        free(context);
}

void tls_context_free(struct tls_context *context)
{
        if (context)
                tls_context_unref(context);
}

static struct tls_context *new_context(struct error *error)
{
        struct tls_context *context = calloc(1, sizeof(*context));

        if (context) {
                context->references = 1;
                context->filter.wrap = tls_stream_wrap;
                context->bio = tls_stream_bio();
        }
        if (!context || !context->bio) {
                error_set(error, -ENOMEM, "Cannot set up TLS: out of memory.");
                free(context);
                return NULL;
        }
        return context;
}

int tls_server_new(const struct tls_server_options *options, struct error *error,
                   struct tls_context **ret_context)
{
        _cleanup_tls_context_ struct tls_context *context = new_context(error);

        if (!context)
                return -ENOMEM;
        context->is_server = true;
        context->server.client_certificate = options->client_certificate;
        context->server.http2 = options->http2;
        context->verifies = options->client_certificate != TLS_CLIENT_OFF;
        context->server.client_ca = arena_str(&context->arena, options->client_ca);
        if (!context->server.client_ca.data)
                return error_set(error, -ENOMEM, "Cannot set up TLS: out of memory.");
        int r = make_server(context, options->certificate, options->key, context->server.client_ca,
                            error, &context->ssl);
        if (r < 0)
                return r;
        *ret_context = TAKE_POINTER(context);
        return 0;
}

int tls_server_reload(struct tls_context *context, struct str certificate, struct str key,
                      struct str client_ca, struct error *error)
{
        _cleanup_(ssl_ctx_freep) SSL_CTX *ssl = NULL;
        struct str authorities = context->server.client_ca;

        if (client_ca.length > 0 && !str_equal(client_ca, authorities)) {
                authorities = arena_str(&context->arena, client_ca);
                if (!authorities.data)
                        return error_set(error, -ENOMEM, "Cannot set up TLS: out of memory.");
        }
        int r = make_server(context, certificate, key, authorities, error, &ssl);
        if (r < 0)
                return r;
        context->server.client_ca = authorities;
        SSL_CTX_free(context->ssl);
        context->ssl = TAKE_POINTER(ssl);
        return 0;
}

static const char *path_of(const char *variable, const char *otherwise)
{
        const char *set = getenv(variable);

        return set && set[0] ? set : otherwise;
}

/* OpenSSL says nothing of a bundle that is not there, as in an image without that package. */
static bool has_system_authorities(void)
{
        struct dirent *entry;
        bool found = false;

        if (access(path_of(X509_get_default_cert_file_env(), X509_get_default_cert_file()), R_OK) ==
            0)
                return true;
        DIR *folder =
                opendir(path_of(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
        while (folder && !found && (entry = readdir(folder)))
                found = entry->d_name[0] != '.';
        if (folder)
                closedir(folder);
        return found;
}

int tls_client_new(const struct tls_client_options *options, struct error *error,
                   struct tls_context **ret_context)
{
        _cleanup_tls_context_ struct tls_context *context = new_context(error);
        int r = 0;

        if (!context)
                return -ENOMEM;
        context->ssl = SSL_CTX_new(TLS_client_method());
        if (!context->ssl)
                return error_set(error, -ENOMEM, "Cannot set up TLS: out of memory.");
        set_options(context->ssl);
        context->verifies = !options->insecure;
        if (context->verifies) {
                SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
                if (options->ca.length > 0)
                        r = trust(context->ssl, options->ca, false, error);
                else if (SSL_CTX_set_default_verify_paths(context->ssl) != 1)
                        r = ssl_error(error, "The system's certificate authorities");
                context->has_no_authorities = options->ca.length == 0 && !has_system_authorities();
        }
        if (r == 0 && options->certificate.length > 0) {
                r = use_chain(context->ssl, options->certificate, error);
                if (r == 0)
                        r = use_key(context->ssl, options->key, error);
        }
        if (r < 0)
                return r;
        SSL_CTX_set_alpn_protos(context->ssl, options->http2 ? protocols_http2 : protocols_http1,
                                options->http2 ? sizeof(protocols_http2) - 1
                                               : sizeof(protocols_http1) - 1);
        *ret_context = TAKE_POINTER(context);
        return 0;
}

struct stream_filter *tls_context_filter(struct tls_context *context)
{
        return &context->filter;
}

struct str tls_context_last_error(const struct tls_context *context)
{
        return str_from(context->last_error);
}
