// SPDX-License-Identifier: Apache-2.0
#include "crypto/jwt.h"

#include <errno.h>

#include "base/fd.h"
#include "base/test_folder.h"
#include "crypto/encode.h"

#define CLAIMS "{\"sub\":\"system:serviceaccount:default:default\",\"exp\":1}"

static void what_was_signed_verifies(void **state)
{
        _cleanup_jwt_key_ struct jwt_key *old = NULL, *key = NULL;
        _cleanup_buffer_ struct buffer token = {}, claims = {}, header = {};
        struct str head, rest;

        (void)state;
        assert_int_equal(jwt_key_make(&old), 0);
        assert_int_equal(jwt_key_make(&key), 0);
        assert_int_equal(jwt_key_id(key).length, 43);
        assert_int_equal(jwt_sign(key, STR(CLAIMS), &token), 0);

        const struct jwt_key *keys[] = { old, key };
        assert_int_equal(jwt_verify(keys, 2, buffer_str(&token), &claims), 0);
        assert_true(str_equal(buffer_str(&claims), STR(CLAIMS)));
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&token), &claims), -ENOKEY);
        assert_int_equal(jwt_verify(keys, 0, buffer_str(&token), &claims), -ENOKEY);

        assert_true(str_cut(buffer_str(&token), '.', &head, &rest));
        assert_int_equal(base64_decode(&header, BASE64_URL_UNPADDED, head), 0);
        assert_true(str_starts_with(buffer_str(&header), STR("{\"alg\":\"ES256\",\"kid\":\"")));
}

static void every_changed_byte_is_noticed(void **state)
{
        _cleanup_jwt_key_ struct jwt_key *key = NULL;
        _cleanup_buffer_ struct buffer token = {}, claims = {};

        (void)state;
        assert_int_equal(jwt_key_make(&key), 0);
        assert_int_equal(jwt_sign(key, STR(CLAIMS), &token), 0);
        const struct jwt_key *keys[] = { key };
        for (size_t i = 0; i < token.length; i++) {
                char before = token.data[i];
                token.data[i] = before == 'A' ? 'B' : 'A';
                assert_true(jwt_verify(keys, 1, buffer_str(&token), &claims) < 0);
                token.data[i] = before;
        }
        for (size_t i = 0; i < token.length; i++)
                assert_true(jwt_verify(keys, 1, (struct str){ token.data, i }, &claims) < 0);
        assert_int_equal(claims.length, 0);
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&token), &claims), 0);
}

static void confusing_tokens_are_refused(void **state)
{
        _cleanup_jwt_key_ struct jwt_key *key = NULL;
        _cleanup_buffer_ struct buffer good = {}, claims = {}, zero = {}, huge = {};
        struct str head, rest, payload, signature;

        (void)state;
        assert_int_equal(jwt_key_make(&key), 0);
        assert_int_equal(jwt_sign(key, STR(CLAIMS), &good), 0);
        const struct jwt_key *keys[] = { key };
        str_cut(buffer_str(&good), '.', &head, &rest);
        str_cut(rest, '.', &payload, &signature);

        /* {"alg":"none"}, with a signature and without; then a good token with something after it
         */
        _cleanup_buffer_ struct buffer none = {};
        assert_int_equal(buffer_printf(&none, "eyJhbGciOiJub25lIn0.%.*s.%.*s", STR_FORMAT(payload),
                                       STR_FORMAT(signature)),
                         0);
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&none), &claims), -ENOKEY);
        none.length -= signature.length;
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&none), &claims), -EBADMSG);

        static const char *const suffixes[] = { ".", ".x", "=", " ", "\n", "AA" };
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                _cleanup_buffer_ struct buffer token = {};
                assert_int_equal(
                        buffer_printf(&token, "%.*s%s", STR_FORMAT(buffer_str(&good)), suffixes[i]),
                        0);
                assert_int_equal(jwt_verify(keys, 1, buffer_str(&token), &claims), -EBADMSG);
        }
        assert_int_equal(jwt_verify(keys, 1, STR(""), &claims), -EBADMSG);
        assert_int_equal(jwt_verify(keys, 1, STR(".."), &claims), -EBADMSG);
        assert_int_equal(jwt_verify(keys, 1, STR("a.b.c"), &claims), -ENOKEY);

        /* r = s = 0, which broken verifiers took (CVE-2022-21449) */
        uint8_t zeros[64] = {};
        assert_int_equal(buffer_printf(&zero, "%.*s.%.*s.", STR_FORMAT(head), STR_FORMAT(payload)),
                         0);
        assert_int_equal(base64_append(&zero, BASE64_URL_UNPADDED, zeros, sizeof(zeros)), 0);
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&zero), &claims), -EKEYREJECTED);

        assert_int_equal(buffer_reserve(&huge, JWT_LIMIT + 1), 0);
        memset(huge.data, 'A', JWT_LIMIT + 1);
        assert_int_equal(jwt_verify(keys, 1, (struct str){ huge.data, JWT_LIMIT + 1 }, &claims),
                         -EMSGSIZE);
        assert_int_equal(jwt_sign(key, (struct str){ huge.data, JWT_LIMIT }, &claims), -EMSGSIZE);
        assert_int_equal(claims.length, 0);
}

static void the_key_stays_in_its_file(void **state)
{
        _cleanup_test_folder_ struct test_folder folder;
        struct error error = {};
        _cleanup_jwt_key_ struct jwt_key *made = NULL, *read = NULL, *bad = NULL;
        _cleanup_buffer_ struct buffer token = {}, claims = {}, jwk = {};

        (void)state;
        test_folder_make(&folder);
        assert_int_equal(jwt_key_load_or_create(folder.fd, "sa.key", &error, &made), 0);
        assert_int_equal(jwt_key_load_or_create(folder.fd, "sa.key", &error, &read), 0);
        assert_true(str_equal(jwt_key_id(made), jwt_key_id(read)));
        assert_int_equal(jwt_sign(made, STR(CLAIMS), &token), 0);
        const struct jwt_key *keys[] = { read };
        assert_int_equal(jwt_verify(keys, 1, buffer_str(&token), &claims), 0);

        assert_int_equal(jwt_key_append_jwk(made, &jwk), 0);
        assert_true(str_starts_with(buffer_str(&jwk), STR("{\"use\":\"sig\",\"kty\":\"EC\"")));
        assert_true(str_ends_with(buffer_str(&jwk), STR("\"}")));

        assert_int_equal(file_write_atomic(folder.fd, "sa.key", STR("damaged"), 0600), 0);
        assert_int_equal(jwt_key_load_or_create(folder.fd, "sa.key", &error, &bad), -EBADMSG);
        assert_non_null(strstr(error.message, "sa.key"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_signed_verifies),
                cmocka_unit_test(every_changed_byte_is_noticed),
                cmocka_unit_test(confusing_tokens_are_refused),
                cmocka_unit_test(the_key_stays_in_its_file),
        };
        return run_unit_tests("jwt", tests);
}
