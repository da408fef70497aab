// SPDX-License-Identifier: Apache-2.0
#include "crypto/trust.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/clock.h"
#include "base/test.h"
#include "crypto/certificate.h"
#include "crypto/openssl.h"

static const struct str names[] = { STR("a.b.svc"), STR("127.0.0.1"), STR("::1") };

struct fixture {
        struct ca *ca, *other;
        struct certificate_pair pair, foreign;
        struct server_pair server; /* good until a test changes it */
        uint64_t now;
};

static void set_up(struct fixture *f)
{
        *f = (struct fixture){ .now = clock_realtime_ns() };
        const struct certificate_request request = { .purpose = CERTIFICATE_SERVER,
                                                     .common_name = names[0],
                                                     .names = names,
                                                     .name_count = ARRAY_SIZE(names),
                                                     .now = f->now,
                                                     .valid_seconds = 100 };
        assert_int_equal(ca_make(STR("a"), f->now, 200, NULL, &f->ca), 0);
        assert_int_equal(ca_make(STR("b"), f->now, 200, NULL, &f->other), 0);
        assert_int_equal(ca_issue(f->ca, &request, NULL, &f->pair), 0);
        assert_int_equal(ca_issue(f->other, &request, NULL, &f->foreign), 0);
        f->server = (struct server_pair){
                .certificate = buffer_str(&f->pair.certificate),
                .key = buffer_str(&f->pair.key),
                .authorities = ca_certificate(f->ca),
                .names = names,
                .count = ARRAY_SIZE(names),
                .now = f->now,
        };
}

static void tear_down(struct fixture *f)
{
        ca_free(f->ca);
        ca_free(f->other);
        certificate_pair_deinit(&f->pair);
        certificate_pair_deinit(&f->foreign);
}

static void refused(const struct server_pair *server, const char *why)
{
        struct error error = {};
        uint64_t not_after = 7;

        assert_int_equal(server_pair_check(server, &error, &not_after), -EBADMSG);
        if (!strstr(error.message, why))
                fail_msg("'%s' is not said: %s", why, error.message);
        assert_int_equal(not_after, 7);
}

static void a_good_pair_says_when_it_ends(void **state _unused_)
{
        struct fixture f;
        uint64_t not_after = 0;

        set_up(&f);
        assert_int_equal(server_pair_check(&f.server, NULL, &not_after), 0);
        assert_int_equal(not_after / NS_PER_SECOND, f.now / NS_PER_SECOND + 100);
        tear_down(&f);
}

static void a_bad_pair_says_why(void **state _unused_)
{
        const struct str more[] = { STR("a.b.svc"), STR("c.d.svc") };
        const struct str address[] = { STR("127.0.0.2") };
        struct fixture f;

        set_up(&f);
        struct server_pair bad = f.server;
        bad.certificate = STR("x");
        refused(&bad, "the certificate is missing or damaged");
        bad = f.server;
        bad.certificate = STR_EMPTY;
        refused(&bad, "the certificate is missing or damaged");
        bad = f.server;
        bad.key = STR_EMPTY;
        refused(&bad, "the key is missing or damaged");
        bad = f.server;
        bad.key = buffer_str(&f.foreign.key);
        refused(&bad, "the key is not the certificate's");
        bad = f.server;
        bad.authorities = STR("none");
        refused(&bad, "the certificate authorities are missing");
        bad = f.server;
        bad.authorities = ca_certificate(f.other);
        refused(&bad, "not trusted");
        bad = f.server;
        bad.now += 101 * NS_PER_SECOND;
        refused(&bad, "expired");
        bad = f.server;
        bad.now -= 3600 * NS_PER_SECOND;
        refused(&bad, "not yet valid");
        bad = f.server;
        bad.names = more;
        bad.count = 2;
        refused(&bad, "not for c.d.svc");
        bad = f.server;
        bad.names = address;
        bad.count = 1;
        refused(&bad, "not for 127.0.0.2");
        tear_down(&f);
}

/* Nobody is asked for a password on the terminal. */
static void an_encrypted_key_is_refused(void **state _unused_)
{
        struct fixture f;
        _cleanup_buffer_ struct buffer pem = {};

        set_up(&f);
        _cleanup_bio_ BIO *in = BIO_new_mem_buf(f.pair.key.data, (int)f.pair.key.length);
        _cleanup_bio_ BIO *out = BIO_new(BIO_s_mem());
        EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
        assert_int_equal(
                PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL),
                1);
        EVP_PKEY_free(key);
        assert_int_equal(bio_append(out, &pem), 0);
        f.server.key = buffer_str(&pem);
        refused(&f.server, "the key is missing or damaged");
        tear_down(&f);
}

static void bundles_lose_what_has_ended_and_what_is_there_twice(void **state _unused_)
{
        struct fixture f;
        _cleanup_buffer_ struct buffer bundle = {}, kept = {};
        struct ca *old = NULL;
        size_t ended = 7;

        set_up(&f);
        assert_int_equal(ca_make(STR("old"), f.now, 10, NULL, &old), 0);
        assert_int_equal(buffer_append_str(&bundle, STR("# a comment\n")), 0);
        assert_int_equal(buffer_append_str(&bundle, ca_certificate(old)), 0);
        assert_int_equal(buffer_append_str(&bundle, ca_certificate(f.ca)), 0);
        assert_int_equal(buffer_append_str(&bundle, ca_certificate(f.ca)), 0);
        assert_int_equal(bundle_append(&kept, buffer_str(&bundle), f.now, &ended), 0);
        assert_int_equal(ended, 0);
        assert_int_equal(kept.length, ca_certificate(f.ca).length + ca_certificate(old).length);
        buffer_clear(&kept);
        assert_int_equal(
                bundle_append(&kept, buffer_str(&bundle), f.now + 11 * NS_PER_SECOND, &ended), 0);
        assert_int_equal(ended, 1);
        assert_true(str_equal(buffer_str(&kept), ca_certificate(f.ca)));
        assert_int_equal(bundle_append(&kept,
                                       STR("-----BEGIN CERTIFICATE-----\nAA\n-----END "
                                           "CERTIFICATE-----\n"),
                                       f.now, &ended),
                         -EBADMSG);
        assert_int_equal(bundle_append(&kept, STR_EMPTY, f.now, NULL), -EBADMSG);
        ca_free(old);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_good_pair_says_when_it_ends),
                cmocka_unit_test(a_bad_pair_says_why),
                cmocka_unit_test(an_encrypted_key_is_refused),
                cmocka_unit_test(bundles_lose_what_has_ended_and_what_is_there_twice),
        };

        return run_unit_tests("trust", tests);
}
