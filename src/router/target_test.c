// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"
#include "router/target.h"

enum { FIELDS_MAX = 4 };

static void fields_are_checked_in_order(void **state)
{
        static const char *const no_id = "X-Sandbox-ID header is required.";
        static const char *const bad_id = "Invalid sandbox ID format.";
        static const char *const bad_namespace = "Invalid namespace format.";
        static const char *const bad_port = "Invalid port format.";
        static const char *const bad_ip = "Invalid target IP address.";
        static const char label63[] =
                "a23456789012345678901234567890123456789012345678901234567890123";
        static const char label64[] =
                "a234567890123456789012345678901234567890123456789012345678901234";
        static const struct {
                const char *id, *name_space, *port, *ip;
                const char *detail;
        } cases[] = {
                { NULL, "Bad_NS", "x", "x", no_id },
                { "", NULL, NULL, NULL, no_id },
                { "UPPER", "Bad_NS", "x", "x", bad_id },
                { "a.b", NULL, NULL, NULL, bad_id },
                { "a/b", NULL, NULL, NULL, bad_id },
                { "-a", NULL, NULL, NULL, bad_id },
                { "a-", NULL, NULL, NULL, bad_id },
                { "a\"b", NULL, NULL, NULL, bad_id },
                { label64, NULL, NULL, NULL, bad_id },
                { label63, NULL, NULL, NULL, NULL },
                { "0", NULL, NULL, NULL, NULL },
                { "a", "Bad_NS", "x", "x", bad_namespace },
                { "a", "a.b", NULL, NULL, bad_namespace },
                { "a", "", NULL, NULL, NULL },
                { "a", "ns", "x", "x", bad_port },
                { "a", "ns", "0", NULL, bad_port },
                { "a", "ns", "65536", NULL, bad_port },
                { "a", "ns", "-1", NULL, bad_port },
                { "a", "ns", "80 80", NULL, bad_port },
                { "a", "ns", "65535", NULL, NULL },
                { "a", "ns", "80", "not-an-ip", bad_ip },
                { "a", "ns", "80", "0.0.0.0", bad_ip },
                { "a", "ns", "80", "127.0.0.1", bad_ip },
                { "a", "ns", "80", "127.1", bad_ip },
                { "a", "ns", "80", "169.254.169.254", bad_ip },
                { "a", "ns", "80", "224.0.0.1", bad_ip },
                { "a", "ns", "80", "255.255.255.255", bad_ip },
                { "a", "ns", "80", "::", bad_ip },
                { "a", "ns", "80", "::1", bad_ip },
                { "a", "ns", "80", "fe80::1", bad_ip },
                { "a", "ns", "80", "ff02::1", bad_ip },
                { "a", "ns", "80", "::ffff:127.0.0.1", bad_ip },
                { "a", "ns", "80", "::ffff:169.254.169.254", bad_ip },
                { "a", "ns", "80", "::127.0.0.1", bad_ip },
                { "a", "ns", "80", "[fd00::1]", bad_ip },
                { "a", "ns", "80", "10.1.2.3", NULL },
                { "a", "ns", "80", "fd00::1", NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                struct http_headers headers = {};
                struct router_target target;
                const char *values[] = { cases[i].id, cases[i].name_space, cases[i].port,
                                         cases[i].ip };
                static const char *const names[] = { "x-sandbox-id", "X-Sandbox-Namespace",
                                                     "X-SANDBOX-PORT", "X-Sandbox-Pod-IP" };
                for (size_t j = 0; j < FIELDS_MAX; j++)
                        if (values[j])
                                assert_int_equal(http_headers_add(&headers, &arena,
                                                                  str_from(names[j]),
                                                                  str_from(values[j])),
                                                 0);
                const char *detail = router_target_read(&headers, false, &target);
                if ((detail == NULL) != (cases[i].detail == NULL) ||
                    (detail && strcmp(detail, cases[i].detail) != 0))
                        fail_msg("case %zu: %s", i, detail ? detail : "accepted");
        }
}

static void defaults_and_the_rest(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        struct http_headers headers = {};
        struct router_target target;

        (void)state;
        assert_int_equal(http_headers_add(&headers, &arena, STR("X-Sandbox-ID"), STR("a")), 0);
        assert_null(router_target_read(&headers, false, &target));
        assert_true(str_equal(target.name_space, STR("default")));
        assert_int_equal(target.port, 8888);
        assert_int_equal(target.pod_ip.length, 0);
        assert_int_equal(target.timeout_ms, 0);

        struct http_headers more = headers;
        assert_int_equal(http_headers_add(&more, &arena, STR("X-Sandbox-Pod-IP"), STR("127.0.0.1")),
                         0);
        assert_int_equal(http_headers_add(&more, &arena, STR("X-Sandbox-Timeout"), STR("1.5")), 0);
        assert_null(router_target_read(&more, true, &target));
        assert_int_equal(net_address_port(&target.pod_ip), 8888);
        assert_int_equal(target.timeout_ms, 1500);

        assert_int_equal(http_headers_add(&headers, &arena, STR("X-Sandbox-ID"), STR("b")), 0);
        assert_string_equal(router_target_read(&headers, false, &target),
                            "Invalid sandbox ID format.");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fields_are_checked_in_order),
                cmocka_unit_test(defaults_and_the_rest),
        };

        return run_unit_tests("router_target", tests);
}
