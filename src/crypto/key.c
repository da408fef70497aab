// SPDX-License-Identifier: Apache-2.0
#include "crypto/key.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/fd.h"
#include "crypto/failure.h"
#include "crypto/openssl.h"

enum { KEY_FILE_LIMIT = 16 * 1024 };

void key_unref(struct evp_pkey_st *key)
{
        EVP_PKEY_free(key);
}

int key_make(struct evp_pkey_st **ret_key)
{
        EVP_PKEY *key = EVP_EC_gen("P-256");

        if (!key)
                return crypto_failure(-ENOMEM);
        *ret_key = key;
        return 0;
}

/* PEM readers ask for a passphrase on the terminal unless they are given one. */
static int no_passphrase(char *buffer _unused_, int size _unused_, int writing _unused_,
                         void *user _unused_)
{
        return -1;
}

int key_from_pem(struct str pem, struct evp_pkey_st **ret_key)
{
        char group[32];
        size_t group_length;

        if (pem.length == 0 || pem.length > KEY_FILE_LIMIT)
                return -EBADMSG;
        _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
        if (!bio)
                return crypto_failure(-ENOMEM);
        _cleanup_key_ EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        if (!key || !EVP_PKEY_is_a(key, "EC") ||
            EVP_PKEY_get_group_name(key, group, sizeof(group), &group_length) != 1 ||
            !str_equal((struct str){ group, group_length }, STR("prime256v1")))
                return crypto_failure(-EBADMSG);
        *ret_key = TAKE_POINTER(key);
        return 0;
}

int bio_append(BIO *bio, struct buffer *out)
{
        char *data;
        long length = BIO_get_mem_data(bio, &data);

        return length <= 0 ? -ENOMEM : buffer_append(out, data, (size_t)length);
}

int key_append_pem(struct evp_pkey_st *key, struct buffer *out)
{
        _cleanup_bio_ BIO *bio = BIO_new(BIO_s_secmem());

        if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
                return crypto_failure(-ENOMEM);
        return bio_append(bio, out);
}

int key_load_or_create(int directory, const char *path, struct error *error,
                       struct evp_pkey_st **ret_key)
{
        _cleanup_key_ EVP_PKEY *key = NULL;
        _cleanup_secret_ struct buffer pem = {};
        int r = file_read(directory, path, KEY_FILE_LIMIT, &pem);

        if (r == 0) {
                r = key_from_pem(buffer_str(&pem), &key);
                if (r < 0)
                        return error_set(error, r, "%s holds no ECDSA P-256 private key", path);
        } else if (r == -ENOENT) {
                r = key_make(&key);
                if (r == 0)
                        r = key_append_pem(key, &pem);
                if (r == 0)
                        r = file_write_atomic(directory, path, buffer_str(&pem), 0600);
                if (r < 0)
                        return error_prefix(error, r, "cannot write the key %s", path);
        } else {
                return error_prefix(error, r, "cannot read the key %s", path);
        }
        *ret_key = TAKE_POINTER(key);
        return 0;
}

void buffer_wipe(struct buffer *buffer)
{
        if (buffer->data)
                OPENSSL_cleanse(buffer->data, buffer->capacity);
        buffer_deinit(buffer);
}
