// SPDX-License-Identifier: Apache-2.0
#include "crypto/trust.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/clock.h"
#include "base/limit.h"
#include "crypto/certificate.h"
#include "crypto/failure.h"
#include "crypto/key.h"
#include "crypto/openssl.h"

enum { BUNDLE_LIMIT = 64 * 1024 };

DEFINE_POINTER_CLEANUP(store_freep, X509_STORE, X509_STORE_free)
DEFINE_POINTER_CLEANUP(verification_freep, X509_STORE_CTX, X509_STORE_CTX_free)

static int open_bundle(struct str pem, BIO **ret_bio)
{
        if (pem.length == 0 || pem.length > BUNDLE_LIMIT)
                return -EBADMSG;
        *ret_bio = BIO_new_mem_buf(pem.data, (int)pem.length);
        return *ret_bio ? 0 : crypto_failure(-ENOMEM);
}

/* The next certificate: 1, 0 at the end, -EBADMSG, -ENOMEM. */
static int next_certificate(BIO *bio, X509 **ret_certificate)
{
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

        if (certificate) {
                *ret_certificate = certificate;
                return 1;
        }
        int reason = ERR_GET_REASON(ERR_peek_last_error());
        int r = crypto_failure(-EBADMSG);
        return r == -EBADMSG && reason == PEM_R_NO_START_LINE ? 0 : r;
}

/* ---- pairs ---- */

/* Of an encrypted key: there is nobody to ask. */
static int no_password(char *text _unused_, int size _unused_, int writing _unused_,
                       void *user _unused_)
{
        return -1;
}

static int check_key(X509 *certificate, struct str pem, struct error *error)
{
        _cleanup_bio_ BIO *bio = NULL;
        _cleanup_key_ EVP_PKEY *key = NULL;
        int r = open_bundle(pem, &bio);

        if (r == 0) {
                key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
                r = key ? 0 : crypto_failure(-EBADMSG);
        }
        if (r < 0)
                return error_set(error, r, "the key is missing or damaged");
        if (X509_check_private_key(certificate, key) != 1)
                return error_set(error, crypto_failure(-EBADMSG),
                                 "the key is not the certificate's");
        return 0;
}

static int read_authorities(struct str pem, X509_STORE *store, struct error *error)
{
        _cleanup_bio_ BIO *bio = NULL;
        int r = open_bundle(pem, &bio);

        for (unsigned count = 0; r == 0; count++) {
                _cleanup_x509_ X509 *authority = NULL;
                int found = next_certificate(bio, &authority);
                if (found < 0 || (found == 0 && count == 0))
                        r = found < 0 ? found : -EBADMSG;
                else if (found == 0)
                        return 0;
                else if (X509_STORE_add_cert(store, authority) != 1)
                        r = crypto_failure(-ENOMEM);
        }
        return error_set(error, r, "the certificate authorities are missing or damaged");
}

static int verify(X509 *certificate, const struct server_pair *pair, struct error *error)
{
        _cleanup_(store_freep) X509_STORE *store = X509_STORE_new();
        _cleanup_(verification_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();

        if (!store || !context)
                return error_set(error, crypto_failure(-ENOMEM), "out of memory");
        int r = read_authorities(pair->authorities, store, error);
        if (r < 0)
                return r;
        if (X509_STORE_CTX_init(context, store, certificate, NULL) != 1)
                return error_set(error, crypto_failure(-ENOMEM), "out of memory");
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER);
        X509_VERIFY_PARAM_set_time(parameters, (time_t)(pair->now / NS_PER_SECOND));
        if (X509_verify_cert(context) != 1)
                return error_set(error, crypto_failure(-EBADMSG),
                                 "the certificate is not trusted by its authorities: %s",
                                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        return 0;
}

static bool has_name(X509 *certificate, struct str name)
{
        char text[INET6_ADDRSTRLEN];
        unsigned char address[sizeof(struct in6_addr)];

        if (name.length < sizeof(text)) {
                memcpy(text, name.data, name.length);
                text[name.length] = '\0';
                if (inet_pton(AF_INET, text, address) == 1)
                        return X509_check_ip(certificate, address, 4, 0) == 1;
                if (inet_pton(AF_INET6, text, address) == 1)
                        return X509_check_ip(certificate, address, 16, 0) == 1;
        }
        return X509_check_host(certificate, name.data, name.length, 0, NULL) == 1;
}

int server_pair_check(const struct server_pair *pair, struct error *error,
                      uint64_t *ret_not_after_ns)
{
        _cleanup_bio_ BIO *bio = NULL;
        _cleanup_x509_ X509 *certificate = NULL;
        uint64_t not_after = 0;
        int r = open_bundle(pair->certificate, &bio);

        if (r == 0) {
                r = next_certificate(bio, &certificate);
                r = r == 0 ? -EBADMSG : MIN(r, 0);
        }
        if (r == 0)
                r = certificate_not_after(pair->certificate, &not_after);
        if (r < 0)
                return error_set(error, r, "the certificate is missing or damaged");
        r = check_key(certificate, pair->key, error);
        if (r == 0)
                r = verify(certificate, pair, error);
        for (size_t i = 0; r == 0 && i < pair->count; i++)
                if (!has_name(certificate, pair->names[i]))
                        r = error_set(error, crypto_failure(-EBADMSG),
                                      "the certificate is not for %.*s",
                                      STR_FORMAT(pair->names[i]));
        if (r < 0)
                return r;
        *ret_not_after_ns = not_after;
        return 0;
}

/* ---- bundles ---- */

static int append_new(struct buffer *out, X509 *certificate)
{
        _cleanup_bio_ BIO *bio = BIO_new(BIO_s_mem());
        _cleanup_buffer_ struct buffer pem = {};

        if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
                return crypto_failure(-ENOMEM);
        int r = bio_append(bio, &pem);
        if (r < 0)
                return r;
        if (out->length > 0 && memmem(out->data, out->length, pem.data, pem.length))
                return 0;
        return buffer_append_str(out, buffer_str(&pem));
}

int bundle_append(struct buffer *out, struct str bundle, uint64_t now, size_t *ret_ended)
{
        _cleanup_bio_ BIO *bio = NULL;
        time_t seconds = (time_t)(now / NS_PER_SECOND);
        size_t ended = 0;
        int r = open_bundle(bundle, &bio);

        while (r == 0) {
                _cleanup_x509_ X509 *certificate = NULL;
                r = next_certificate(bio, &certificate);
                if (r <= 0)
                        break;
                if (X509_cmp_time(X509_get0_notAfter(certificate), &seconds) < 0) {
                        ended++;
                        r = 0;
                } else {
                        r = append_new(out, certificate);
                }
        }
        if (r < 0)
                return r;
        if (ret_ended)
                *ret_ended = ended;
        return 0;
}
