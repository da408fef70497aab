// SPDX-License-Identifier: Apache-2.0
#include "crypto/certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/test_folder.h"
#include "crypto/openssl.h"

static const struct str server_names[] = { STR("localhost"), STR("*.default.svc"), STR("127.0.0.1"),
                                           STR("::1"), STR("kubernetes.default.svc") };
static const struct str groups[] = { STR("system:masters"), STR("cay") };

enum { DAY = 24 * 3600 };

static X509 *parse(struct str pem)
{
        _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

        assert_non_null(certificate);
        return certificate;
}

/* OpenSSL's own verdict, as strict as Python ≥ 3.13 asks it to be: an X509_V_ value. */
static int verdict(struct str ca, struct str leaf, int purpose, const char *host, uint64_t now)
{
        _cleanup_x509_ X509 *root = parse(ca), *certificate = parse(leaf);
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *context = X509_STORE_CTX_new();

        assert_int_equal(X509_STORE_add_cert(store, root), 1);
        assert_int_equal(X509_STORE_CTX_init(context, store, certificate, NULL), 1);
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
        X509_VERIFY_PARAM_set_purpose(parameters, purpose);
        X509_VERIFY_PARAM_set_time(parameters, (time_t)(now / NS_PER_SECOND));
        if (host && X509_VERIFY_PARAM_set1_ip_asc(parameters, host) != 1)
                assert_int_equal(X509_VERIFY_PARAM_set1_host(parameters, host, 0), 1);
        X509_verify_cert(context);
        int result = X509_STORE_CTX_get_error(context);
        X509_STORE_CTX_free(context);
        X509_STORE_free(store);
        ERR_clear_error();
        return result;
}

static struct certificate_request server_request(uint64_t now)
{
        return (struct certificate_request){ .purpose = CERTIFICATE_SERVER,
                                             .common_name = STR("kube-apiserver"),
                                             .names = server_names,
                                             .name_count = ARRAY_SIZE(server_names),
                                             .now = now };
}

static void servers_are_verified_strictly_for_each_name(void **state)
{
        static const struct {
                const char *host;
                int verdict;
        } hosts[] = {
                { "localhost", X509_V_OK },
                { "sandbox-1.default.svc", X509_V_OK },
                { "127.0.0.1", X509_V_OK },
                { "::1", X509_V_OK },
                { "127.0.0.2", X509_V_ERR_IP_ADDRESS_MISMATCH },
                { "kube-apiserver", X509_V_ERR_HOSTNAME_MISMATCH },
                { "a.b.default.svc", X509_V_ERR_HOSTNAME_MISMATCH },
        };
        _cleanup_ca_ struct ca *ca = NULL, *other = NULL;
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        struct error error = {};
        uint64_t now = clock_realtime_ns();

        (void)state;
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &ca), 0);
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &other), 0);
        struct certificate_request request = server_request(now);
        assert_int_equal(ca_issue(ca, &request, &error, &pair), 0);

        struct str root = ca_certificate(ca), leaf = buffer_str(&pair.certificate);
        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                assert_int_equal(verdict(root, leaf, X509_PURPOSE_SSL_SERVER, hosts[i].host, now),
                                 hosts[i].verdict);
        assert_int_equal(verdict(root, leaf, X509_PURPOSE_SSL_CLIENT, NULL, now),
                         X509_V_ERR_INVALID_PURPOSE);
        assert_int_not_equal(
                verdict(ca_certificate(other), leaf, X509_PURPOSE_SSL_SERVER, NULL, now),
                X509_V_OK);
        assert_int_equal(ERR_peek_error(), 0);
}

static void validity_reaches_back_and_ends_with_the_ca(void **state)
{
        _cleanup_ca_ struct ca *ca = NULL;
        _cleanup_certificate_pair_ struct certificate_pair pair = {}, brief = {};
        struct error error = {};
        uint64_t now = clock_realtime_ns(), end;

        (void)state;
        assert_int_equal(ca_make(STR("cay"), now, 30 * DAY, &error, &ca), 0);
        struct certificate_request request = server_request(now);
        assert_int_equal(ca_issue(ca, &request, &error, &pair), 0);
        struct str root = ca_certificate(ca), leaf = buffer_str(&pair.certificate);

        static const struct {
                int64_t after_s;
                int verdict;
        } times[] = { { -CERTIFICATE_CLOCK_SKEW - 10, X509_V_ERR_CERT_NOT_YET_VALID },
                      { -CERTIFICATE_CLOCK_SKEW + 10, X509_V_OK },
                      { 29 * DAY, X509_V_OK },
                      { 31 * DAY, X509_V_ERR_CERT_HAS_EXPIRED } };
        for (size_t i = 0; i < ARRAY_SIZE(times); i++)
                assert_int_equal(verdict(root, leaf, X509_PURPOSE_SSL_SERVER, NULL,
                                         now + (uint64_t)times[i].after_s * NS_PER_SECOND),
                                 times[i].verdict);

        request.valid_seconds = 60;
        assert_int_equal(ca_issue(ca, &request, &error, &brief), 0);
        assert_int_equal(certificate_not_after(buffer_str(&brief.certificate), &end), 0);
        assert_int_equal(end / NS_PER_SECOND, now / NS_PER_SECOND + 60);
        assert_int_equal(certificate_not_after(STR("no certificate"), &end), -EBADMSG);
}

static void clients_carry_their_user_and_groups(void **state)
{
        _cleanup_ca_ struct ca *ca = NULL;
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        _cleanup_arena_ struct arena arena = {};
        struct certificate_subject subject;
        struct error error = {};
        uint64_t now = clock_realtime_ns();
        struct certificate_request request = {
                .purpose = CERTIFICATE_CLIENT,
                .common_name = STR("system:node:a-name-that-is-longer-than-the-sixty-four-that-"
                                   "the-directory-allows"),
                .organizations = groups,
                .organization_count = 2,
                .now = now,
        };

        (void)state;
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &ca), 0);
        assert_int_equal(ca_issue(ca, &request, &error, &pair), 0);
        assert_int_equal(verdict(ca_certificate(ca), buffer_str(&pair.certificate),
                                 X509_PURPOSE_SSL_CLIENT, NULL, now),
                         X509_V_OK);
        _cleanup_x509_ X509 *certificate = parse(buffer_str(&pair.certificate));
        assert_int_equal(certificate_subject_read(certificate, &arena, &subject), 0);
        assert_true(str_equal(subject.common_name, request.common_name));
        assert_int_equal(subject.organization_count, 2);
        assert_true(str_equal(subject.organizations[0], groups[0]));
        assert_true(str_equal(subject.organizations[1], groups[1]));
}

static void a_nul_in_a_subject_is_no_name(void **state)
{
        static const struct {
                struct str name;
                int result;
        } cases[] = { { STR("admin\0.example"), -EBADMSG },
                      { STR(""), -EBADMSG },
                      { STR("admin"), 0 } };
        _cleanup_arena_ struct arena arena = {};
        struct certificate_subject subject;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_x509_ X509 *certificate = X509_new();
                assert_int_equal(
                        X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate),
                                                   NID_commonName, V_ASN1_UTF8STRING,
                                                   (const unsigned char *)cases[i].name.data,
                                                   (int)cases[i].name.length, -1, 0),
                        1);
                assert_int_equal(certificate_subject_read(certificate, &arena, &subject),
                                 cases[i].result);
        }
        _cleanup_x509_ X509 *nobody = X509_new();
        assert_int_equal(certificate_subject_read(nobody, &arena, &subject), -EBADMSG);
}

static void names_that_are_none_are_refused(void **state)
{
        static const struct str bad[] = {
                STR(""),  STR("a b"),   STR("a..b"),         STR(".a"),   STR("a."),
                STR("*"), STR("a.*.b"), STR("a,IP:1.2.3.4"), STR("a\0b"), STR("fe80::1%eth0"),
        };
        _cleanup_ca_ struct ca *ca = NULL;
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        struct error error = {};
        uint64_t now = clock_realtime_ns();

        (void)state;
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &ca), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct certificate_request request = server_request(now);
                request.names = &bad[i];
                request.name_count = 1;
                assert_int_equal(ca_issue(ca, &request, &error, &pair), -EINVAL);
        }
        struct certificate_request request = server_request(now);
        request.common_name = STR("a\nb");
        assert_int_equal(ca_issue(ca, &request, &error, &pair), -EINVAL);
        assert_null(pair.certificate.data);
}

static void the_authority_outlives_its_process(void **state)
{
        struct test_folder *folder = *state;
        _cleanup_ca_ struct ca *made = NULL, *read = NULL, *renewed = NULL, *bad = NULL;
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        struct error error = {};
        struct stat status;
        uint64_t now = clock_realtime_ns();

        assert_int_equal(ca_load_or_create(folder->fd, STR("cay"), now, &error, &made), 0);
        assert_int_equal(ca_load_or_create(folder->fd, STR("cay"), now, &error, &read), 0);
        assert_true(str_equal(ca_certificate(made), ca_certificate(read)));
        assert_int_equal(fstatat(folder->fd, "ca.key", &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0600);

        /* Renewed with the same key: what the old one issued still verifies. */
        uint64_t later = now + (uint64_t)CERTIFICATE_CA_SECONDS / 20 * 19 * NS_PER_SECOND;
        struct certificate_request request = server_request(later);
        assert_int_equal(ca_issue(made, &request, &error, &pair), 0);
        assert_int_equal(ca_load_or_create(folder->fd, STR("cay"), later, &error, &renewed), 0);
        assert_false(str_equal(ca_certificate(made), ca_certificate(renewed)));
        assert_int_equal(verdict(ca_certificate(renewed), buffer_str(&pair.certificate),
                                 X509_PURPOSE_SSL_SERVER, "localhost", later),
                         X509_V_OK);

        /* From text, as it is kept in a Secret; and not with another's key. */
        _cleanup_ca_ struct ca *copy = NULL, *mixed = NULL, *other = NULL;
        _cleanup_buffer_ struct buffer key = {}, other_key = {};
        assert_int_equal(ca_append_key(made, &key), 0);
        assert_int_equal(ca_from_pem(ca_certificate(made), buffer_str(&key), &error, &copy), 0);
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &other), 0);
        assert_int_equal(ca_append_key(other, &other_key), 0);
        assert_int_equal(ca_from_pem(ca_certificate(made), buffer_str(&other_key), &error, &mixed),
                         -EBADMSG);

        assert_int_equal(file_write_atomic(folder->fd, "ca.key", buffer_str(&other_key), 0600), 0);
        assert_int_equal(ca_load_or_create(folder->fd, STR("cay"), now, &error, &bad), -EBADMSG);
        unlinkat(folder->fd, "ca.key", 0);
        assert_int_equal(ca_load_or_create(folder->fd, STR("cay"), now, &error, &bad), -ENOENT);
        assert_null(bad);
}

static void a_leaf_is_issued_again_only_when_it_must_be(void **state)
{
        struct test_folder *folder = *state;
        _cleanup_ca_ struct ca *ca = NULL, *other = NULL;
        struct error error = {};
        uint64_t now = clock_realtime_ns();

        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &ca), 0);
        assert_int_equal(ca_make(STR("cay"), now, 0, &error, &other), 0);
        struct certificate_request request = server_request(now), wider = request, late = request;
        struct certificate_request client = request;
        wider.name_count--;
        late.now = now + (uint64_t)CERTIFICATE_DEFAULT_SECONDS / 4 * 3 * NS_PER_SECOND;
        client.purpose = CERTIFICATE_SERVER_AND_CLIENT;
        const struct {
                const struct ca *ca;
                const struct certificate_request *request;
                const char *damage;
                int result;
        } steps[] = {
                { ca, &request, NULL, 1 },
                { ca, &request, NULL, 0 },
                { ca, &wider, NULL, 1 },
                { ca, &client, NULL, 1 },
                { ca, &request, NULL, 1 },
                { other, &request, NULL, 1 },
                { other, &request, "server.key", 1 },
                { other, &request, "server.crt", 1 },
                { other, &request, NULL, 0 },
                { other, &late, NULL, 1 },
                { other, &late, NULL, 0 },
        };
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                _cleanup_certificate_pair_ struct certificate_pair pair = {};
                if (steps[i].damage)
                        assert_int_equal(
                                file_write_atomic(folder->fd, steps[i].damage, STR("x"), 0600), 0);
                assert_int_equal(ca_ensure(steps[i].ca, folder->fd, "server", steps[i].request,
                                           &error, &pair),
                                 steps[i].result);
                assert_int_equal(verdict(ca_certificate(steps[i].ca), buffer_str(&pair.certificate),
                                         X509_PURPOSE_SSL_SERVER, "localhost",
                                         steps[i].request->now),
                                 X509_V_OK);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(servers_are_verified_strictly_for_each_name),
                cmocka_unit_test(validity_reaches_back_and_ends_with_the_ca),
                cmocka_unit_test(clients_carry_their_user_and_groups),
                cmocka_unit_test(a_nul_in_a_subject_is_no_name),
                cmocka_unit_test(names_that_are_none_are_refused),
                cmocka_unit_test_setup_teardown(the_authority_outlives_its_process,
                                                test_folder_setup, test_folder_teardown),
                cmocka_unit_test_setup_teardown(a_leaf_is_issued_again_only_when_it_must_be,
                                                test_folder_setup, test_folder_teardown),
        };
        return run_unit_tests("certificate", tests);
}
