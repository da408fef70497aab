// SPDX-License-Identifier: Apache-2.0
#include "crypto/digest.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "crypto/failure.h"

int digest_sha256(struct str data, uint8_t ret[static SHA256_SIZE])
{
        if (EVP_Digest(data.data, data.length, ret, NULL, EVP_sha256(), NULL) != 1)
                return crypto_failure(-ENOMEM);
        return 0;
}

int digest_sha256_hex(struct str data, char ret[static SHA256_HEX_SIZE])
{
        uint8_t digest[SHA256_SIZE];
        int r = digest_sha256(data, digest);

        if (r < 0)
                return r;
        for (size_t i = 0; i < SHA256_SIZE; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
        return 0;
}

int digest_hmac_sha256(struct str key, struct str data, uint8_t ret[static SHA256_SIZE])
{
        size_t length;

        if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key.length ? key.data : "", key.length,
                       (const unsigned char *)data.data, data.length, ret, SHA256_SIZE, &length))
                return crypto_failure(-ENOMEM);
        return 0;
}

int digest_sha1(struct str data, uint8_t ret[static SHA1_SIZE])
{
        if (EVP_Digest(data.data, data.length, ret, NULL, EVP_sha1(), NULL) != 1)
                return crypto_failure(-ENOMEM);
        return 0;
}

int sha256_init(struct sha256 *sha256)
{
        EVP_MD_CTX *context = EVP_MD_CTX_new();

        if (!context || EVP_DigestInit_ex2(context, EVP_sha256(), NULL) != 1) {
                EVP_MD_CTX_free(context);
                return crypto_failure(-ENOMEM);
        }
        sha256->context = context;
        return 0;
}

int sha256_update(struct sha256 *sha256, const void *data, size_t length)
{
        if (EVP_DigestUpdate(sha256->context, data, length) != 1)
                return crypto_failure(-ENOMEM);
        return 0;
}

int sha256_finish(struct sha256 *sha256, uint8_t ret[static SHA256_SIZE])
{
        if (EVP_DigestFinal_ex(sha256->context, ret, NULL) != 1)
                return crypto_failure(-ENOMEM);
        return 0;
}

void sha256_deinit(struct sha256 *sha256)
{
        EVP_MD_CTX_free(sha256->context);
        sha256->context = NULL;
}

bool secret_equal(struct str a, struct str b)
{
        return a.length == b.length &&
               (a.length == 0 || CRYPTO_memcmp(a.data, b.data, a.length) == 0);
}
