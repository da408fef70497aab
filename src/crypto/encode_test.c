// SPDX-License-Identifier: Apache-2.0
#include "crypto/encode.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/test_folder.h"
#include "crypto/digest.h"
#include "crypto/token.h"

static void base64_has_the_published_vectors(void **state)
{
        static const struct {
                enum base64_form form;
                struct str bytes, text;
        } vectors[] = {
                { BASE64_STANDARD, STR(""), STR("") },
                { BASE64_STANDARD, STR("f"), STR("Zg==") },
                { BASE64_STANDARD, STR("fo"), STR("Zm8=") },
                { BASE64_STANDARD, STR("foo"), STR("Zm9v") },
                { BASE64_STANDARD, STR("foob"), STR("Zm9vYg==") },
                { BASE64_STANDARD, STR("foobar"), STR("Zm9vYmFy") },
                { BASE64_STANDARD_UNPADDED, STR("foob"), STR("Zm9vYg") },
                { BASE64_STANDARD, STR("\xfb\xff\xfe"), STR("+//+") },
                { BASE64_URL, STR("\xfb\xff\xfe\0"), STR("-__-AA==") },
                { BASE64_URL_UNPADDED, STR("\xfb\xff\xfe\0"), STR("-__-AA") },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                _cleanup_buffer_ struct buffer text = {}, bytes = {};
                assert_int_equal(base64_append(&text, vectors[i].form, vectors[i].bytes.data,
                                               vectors[i].bytes.length),
                                 0);
                assert_true(str_equal(buffer_str(&text), vectors[i].text));
                assert_int_equal(base64_decode(&bytes, vectors[i].form, vectors[i].text), 0);
                assert_true(str_equal(buffer_str(&bytes), vectors[i].bytes));
        }
}

static void base64_refuses_every_other_spelling(void **state)
{
        static const struct {
                enum base64_form form;
                struct str text;
        } bad[] = {
                { BASE64_STANDARD, STR("Zg=") },       { BASE64_STANDARD, STR("Zg") },
                { BASE64_STANDARD, STR("Zh==") }, /* unused bits set */
                { BASE64_STANDARD, STR("Zm9=") },      { BASE64_STANDARD, STR("Z===") },
                { BASE64_STANDARD, STR("====") },      { BASE64_STANDARD, STR("Zg==Zg==") },
                { BASE64_STANDARD, STR("Zm9v\n") },    { BASE64_STANDARD, STR("Zm 9") },
                { BASE64_STANDARD, STR("-__-") },      { BASE64_URL, STR("+//+") },
                { BASE64_URL_UNPADDED, STR("Zg==") },  { BASE64_URL_UNPADDED, STR("Z") },
                { BASE64_URL_UNPADDED, STR("Zm9vY") }, { BASE64_URL_UNPADDED, STR("Zm9\0") },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_buffer_ struct buffer out = {};
                assert_int_equal(buffer_append_str(&out, STR("kept")), 0);
                assert_int_equal(base64_decode(&out, bad[i].form, bad[i].text), -EBADMSG);
                assert_true(str_equal(buffer_str(&out), STR("kept")));
        }
}

static void hex_goes_both_ways(void **state)
{
        _cleanup_buffer_ struct buffer text = {}, bytes = {};

        (void)state;
        assert_int_equal(hex_append(&text, "\x00\x9f\xff", 3), 0);
        assert_true(str_equal(buffer_str(&text), STR("009fff")));
        assert_int_equal(hex_decode(&bytes, STR("009FfF")), 0);
        assert_true(str_equal(buffer_str(&bytes), STR("\x00\x9f\xff")));
        assert_int_equal(hex_decode(&bytes, STR("0")), -EBADMSG);
        assert_int_equal(hex_decode(&bytes, STR("0g")), -EBADMSG);
        assert_int_equal(bytes.length, 3);
}

static void digests_have_the_published_vectors(void **state)
{
        char text[SHA256_HEX_SIZE];
        uint8_t mac[SHA256_SIZE], pieces[SHA256_SIZE], sha1[SHA1_SIZE];
        struct sha256 sha256;

        (void)state;
        assert_int_equal(digest_sha256_hex(STR("abc"), text), 0);
        assert_string_equal(text,
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_int_equal(digest_sha256_hex(STR_EMPTY, text), 0);
        assert_string_equal(text,
                            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

        /* RFC 4231, test case 2 */
        assert_int_equal(digest_hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), mac),
                         0);
        _cleanup_buffer_ struct buffer hex = {};
        assert_int_equal(hex_append(&hex, mac, sizeof(mac)), 0);
        assert_true(
                str_equal(buffer_str(&hex),
                          STR("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")));

        assert_int_equal(sha256_init(&sha256), 0);
        assert_int_equal(sha256_update(&sha256, "Je", 2), 0);
        assert_int_equal(sha256_update(&sha256, "fe", 2), 0);
        assert_int_equal(sha256_finish(&sha256, pieces), 0);
        sha256_deinit(&sha256);
        assert_int_equal(digest_sha256(STR("Jefe"), mac), 0);
        assert_memory_equal(mac, pieces, SHA256_SIZE);

        /* RFC 6455, 1.3 */
        _cleanup_buffer_ struct buffer accept = {};
        assert_int_equal(
                digest_sha1(STR("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"),
                            sha1),
                0);
        assert_int_equal(base64_append(&accept, BASE64_STANDARD, sha1, sizeof(sha1)), 0);
        assert_true(str_equal(buffer_str(&accept), STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
}

static void secrets_compare_by_all_their_bytes(void **state)
{
        (void)state;
        assert_true(secret_equal(STR("abc"), STR("abc")));
        assert_true(secret_equal(STR_EMPTY, STR("")));
        assert_false(secret_equal(STR("abc"), STR("abd")));
        assert_false(secret_equal(STR("abc"), STR("ab")));
}

static void tokens_are_kept_in_their_file(void **state)
{
        _cleanup_test_folder_ struct test_folder folder;
        char first[TOKEN_SIZE], second[TOKEN_SIZE];
        struct error error = {};
        struct stat status;

        (void)state;
        token_make(first);
        token_make(second);
        assert_int_equal(strlen(first), TOKEN_SIZE - 1);
        assert_string_not_equal(first, second);

        test_folder_make(&folder);
        _cleanup_buffer_ struct buffer made = {}, read = {}, bad = {};
        assert_int_equal(token_load_or_create(folder.fd, "token", &error, &made), 0);
        assert_int_equal(token_load_or_create(folder.fd, "token", &error, &read), 0);
        assert_int_equal(made.length, TOKEN_SIZE - 1);
        assert_true(str_equal(buffer_str(&made), buffer_str(&read)));
        assert_int_equal(fstatat(folder.fd, "token", &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0600);

        static const struct str wrong[] = { STR(""), STR("short\n"),
                                            STR("0123456789abcdef 0123456789"),
                                            STR("0123456789abcdef0123456789\n\n") };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                assert_int_equal(file_write_atomic(folder.fd, "token", wrong[i], 0600), 0);
                assert_int_equal(token_load_or_create(folder.fd, "token", &error, &bad), -EBADMSG);
        }
        assert_int_equal(bad.length, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(base64_has_the_published_vectors),
                cmocka_unit_test(base64_refuses_every_other_spelling),
                cmocka_unit_test(hex_goes_both_ways),
                cmocka_unit_test(digests_have_the_published_vectors),
                cmocka_unit_test(secrets_compare_by_all_their_bytes),
                cmocka_unit_test(tokens_are_kept_in_their_file),
        };
        return run_unit_tests("encode", tests);
}
