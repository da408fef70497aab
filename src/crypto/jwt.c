// SPDX-License-Identifier: Apache-2.0
#include "crypto/jwt.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/encode.h"
#include "crypto/failure.h"
#include "crypto/key.h"
#include "crypto/openssl.h"

enum {
        COORDINATE_SIZE = 32, /* of P-256 */
        SIGNATURE_SIZE = 2 * COORDINATE_SIZE,
        SIGNATURE_DER_SIZE = 80, /* two integers of up to 33 bytes, with their heads */
        SIGNATURE_TEXT_SIZE = 86,
};

struct jwt_key {
        EVP_PKEY *pair;
        struct buffer id;
        struct buffer head; /* the encoded header and its dot: how every token of ours begins */
        uint8_t x[COORDINATE_SIZE], y[COORDINATE_SIZE];
};

DEFINE_POINTER_CLEANUP(context_freep, EVP_MD_CTX, EVP_MD_CTX_free)
DEFINE_POINTER_CLEANUP(signature_freep, ECDSA_SIG, ECDSA_SIG_free)
DEFINE_POINTER_CLEANUP(number_freep, BIGNUM, BN_free)

void jwt_key_free(struct jwt_key *key)
{
        if (!key)
                return;
        key_unref(key->pair);
        buffer_deinit(&key->id);
        buffer_deinit(&key->head);
        free(key);
}

static int coordinate(EVP_PKEY *pair, const char *name, uint8_t ret[static COORDINATE_SIZE])
{
        _cleanup_(number_freep) BIGNUM *number = NULL;

        if (EVP_PKEY_get_bn_param(pair, name, &number) != 1 ||
            BN_bn2binpad(number, ret, COORDINATE_SIZE) != COORDINATE_SIZE)
                return crypto_failure(-ENOMEM);
        return 0;
}

/* Finds the key's id and the header of its tokens. */
static int describe(struct jwt_key *key)
{
        unsigned char *der = NULL;
        uint8_t digest[SHA256_SIZE];
        _cleanup_buffer_ struct buffer header = {};

        int length = i2d_PUBKEY(key->pair, &der);
        if (length <= 0)
                return crypto_failure(-ENOMEM);
        int r = digest_sha256((struct str){ (char *)der, (size_t)length }, digest);
        OPENSSL_free(der);
        if (r == 0)
                r = base64_append(&key->id, BASE64_URL_UNPADDED, digest, sizeof(digest));
        if (r == 0)
                r = buffer_printf(&header, "{\"alg\":\"ES256\",\"kid\":\"%.*s\"}",
                                  STR_FORMAT(buffer_str(&key->id)));
        if (r == 0)
                r = base64_append(&key->head, BASE64_URL_UNPADDED, header.data, header.length);
        if (r == 0)
                r = buffer_append_char(&key->head, '.');
        if (r == 0)
                r = coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_X, key->x);
        if (r == 0)
                r = coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_Y, key->y);
        return r;
}

static int wrap(EVP_PKEY *pair, struct jwt_key **ret_key)
{
        _cleanup_key_ EVP_PKEY *owned = pair;
        _cleanup_jwt_key_ struct jwt_key *key = calloc(1, sizeof(*key));

        if (!key)
                return -ENOMEM;
        key->pair = TAKE_POINTER(owned);
        int r = describe(key);
        if (r < 0)
                return r;
        *ret_key = TAKE_POINTER(key);
        return 0;
}

int jwt_key_make(struct jwt_key **ret_key)
{
        EVP_PKEY *pair;
        int r = key_make(&pair);

        return r < 0 ? r : wrap(pair, ret_key);
}

int jwt_key_load_or_create(int directory, const char *path, struct error *error,
                           struct jwt_key **ret_key)
{
        EVP_PKEY *pair;
        int r = key_load_or_create(directory, path, error, &pair);

        return r < 0 ? r : wrap(pair, ret_key);
}

struct str jwt_key_id(const struct jwt_key *key)
{
        return buffer_str(&key->id);
}

int jwt_key_append_jwk(const struct jwt_key *key, struct buffer *out)
{
        int r = buffer_printf(out,
                              "{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%.*s\",\"crv\":\"P-256\","
                              "\"alg\":\"ES256\",\"x\":\"",
                              STR_FORMAT(buffer_str(&key->id)));
        if (r == 0)
                r = base64_append(out, BASE64_URL_UNPADDED, key->x, sizeof(key->x));
        if (r == 0)
                r = buffer_append_str(out, STR("\",\"y\":\""));
        if (r == 0)
                r = base64_append(out, BASE64_URL_UNPADDED, key->y, sizeof(key->y));
        if (r == 0)
                r = buffer_append_str(out, STR("\"}"));
        return r;
}

/* ES256 signs with r and s side by side (RFC 7518, 3.4); OpenSSL speaks DER. */
static int sign(const struct jwt_key *key, struct str text, uint8_t ret[static SIGNATURE_SIZE])
{
        uint8_t der[SIGNATURE_DER_SIZE];
        size_t length = sizeof(der);
        const uint8_t *next = der;
        _cleanup_(context_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();

        if (!context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pair) != 1 ||
            EVP_DigestSign(context, der, &length, (const uint8_t *)text.data, text.length) != 1)
                return crypto_failure(-ENOMEM);
        _cleanup_(signature_freep) ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &next, (long)length);
        if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret, COORDINATE_SIZE) < 0 ||
            BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret + COORDINATE_SIZE, COORDINATE_SIZE) < 0)
                return crypto_failure(-ENOMEM);
        return 0;
}

int jwt_sign(const struct jwt_key *key, struct str claims, struct buffer *out)
{
        _cleanup_buffer_ struct buffer token = {};
        uint8_t signature[SIGNATURE_SIZE];

        if (claims.length > JWT_LIMIT)
                return -EMSGSIZE;
        int r = buffer_append_str(&token, buffer_str(&key->head));
        if (r == 0)
                r = base64_append(&token, BASE64_URL_UNPADDED, claims.data, claims.length);
        if (r == 0)
                r = sign(key, buffer_str(&token), signature);
        if (r == 0)
                r = buffer_append_char(&token, '.');
        if (r == 0)
                r = base64_append(&token, BASE64_URL_UNPADDED, signature, sizeof(signature));
        if (r == 0 && token.length > JWT_LIMIT)
                r = -EMSGSIZE;
        if (r == 0)
                r = buffer_append_str(out, buffer_str(&token));
        return r;
}

static int verify(const struct jwt_key *key, struct str text,
                  const uint8_t bytes[static SIGNATURE_SIZE])
{
        _cleanup_(signature_freep) ECDSA_SIG *signature = ECDSA_SIG_new();
        _cleanup_(number_freep) BIGNUM *r = BN_bin2bn(bytes, COORDINATE_SIZE, NULL);
        _cleanup_(number_freep) BIGNUM *s =
                BN_bin2bn(bytes + COORDINATE_SIZE, COORDINATE_SIZE, NULL);
        uint8_t der[SIGNATURE_DER_SIZE], *next = der;

        if (!signature || !r || !s || ECDSA_SIG_set0(signature, r, s) != 1)
                return crypto_failure(-ENOMEM);
        r = s = NULL; /* the signature's now */
        int length = i2d_ECDSA_SIG(signature, &next);
        _cleanup_(context_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
        if (length <= 0 || !context ||
            EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->pair) != 1)
                return crypto_failure(-ENOMEM);
        if (EVP_DigestVerify(context, der, (size_t)length, (const uint8_t *)text.data,
                             text.length) != 1)
                return crypto_failure(-EKEYREJECTED);
        return 0;
}

int jwt_verify(const struct jwt_key *const *keys, size_t key_count, struct str token,
               struct buffer *claims)
{
        _cleanup_buffer_ struct buffer signature = {}, decoded = {};
        struct str header, payload, text, rest;

        if (token.length > JWT_LIMIT)
                return -EMSGSIZE;
        if (!str_cut(token, '.', &header, &rest) || !str_cut(rest, '.', &payload, &text) ||
            header.length == 0 || payload.length == 0 || text.length == 0 ||
            memchr(text.data, '.', text.length))
                return -EBADMSG;

        struct str head = { token.data, header.length + 1 };
        const struct jwt_key *key = NULL;
        for (size_t i = 0; i < key_count && !key; i++)
                if (str_equal(head, buffer_str(&keys[i]->head)))
                        key = keys[i];
        if (!key)
                return -ENOKEY;

        if (text.length != SIGNATURE_TEXT_SIZE)
                return -EBADMSG;
        int r = base64_decode(&signature, BASE64_URL_UNPADDED, text);
        if (r < 0)
                return r;
        assert(signature.length == SIGNATURE_SIZE);
        r = verify(key, str_slice(token, 0, head.length + payload.length),
                   (const uint8_t *)signature.data);
        if (r == 0)
                r = base64_decode(&decoded, BASE64_URL_UNPADDED, payload);
        if (r == 0)
                r = buffer_append_str(claims, buffer_str(&decoded));
        return r;
}
