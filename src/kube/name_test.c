// SPDX-License-Identifier: Apache-2.0
#include "kube/name.h"

#include "base/test.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A253                                                                                       \
        A63 "." A63 "." A63 "."                                                                    \
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void names_are_judged(void **state)
{
        static const struct {
                name_check_fn check;
                const char *name;
                const char *begins; /* of the sentence; NULL: it is well */
        } cases[] = {
                { name_check_dns_label, "a", NULL },
                { name_check_dns_label, "my-name-1", NULL },
                { name_check_dns_label, A63, NULL },
                { name_check_dns_label, A63 "a", "must be no more than 63 characters" },
                { name_check_dns_label, "", "a lowercase RFC 1123 label must" },
                { name_check_dns_label, "-a", "a lowercase RFC 1123 label must" },
                { name_check_dns_label, "a-", "a lowercase RFC 1123 label must" },
                { name_check_dns_label, "A", "a lowercase RFC 1123 label must" },
                { name_check_dns_label, "a.b", "a lowercase RFC 1123 label must" },
                { name_check_dns_label, "a_b", "a lowercase RFC 1123 label must" },
                { name_check_dns_subdomain, "a.b-c.1", NULL },
                { name_check_dns_subdomain, A253, NULL },
                { name_check_dns_subdomain, A253 "a", "must be no more than 253 characters" },
                { name_check_dns_subdomain, "a..b", "a lowercase RFC 1123 subdomain must" },
                { name_check_dns_subdomain, ".a", "a lowercase RFC 1123 subdomain must" },
                { name_check_dns_subdomain, "a.", "a lowercase RFC 1123 subdomain must" },
                { name_check_dns_subdomain, "", "a lowercase RFC 1123 subdomain must" },
                { name_check_dns1035_label, "a1", NULL },
                { name_check_dns1035_label, "1a", "a DNS-1035 label must" },
                { name_check_path_segment, "system:node:x", NULL },
                { name_check_path_segment, "a/b", "may not contain '/'" },
                { name_check_path_segment, "a%b", "may not contain '%'" },
                { name_check_path_segment, "..", "may not be '..'" },
                { name_check_qualified, "app", NULL },
                { name_check_qualified, "agents.x-k8s.io/Pool_1.x", NULL },
                { name_check_qualified, "/a", "prefix part must be non-empty" },
                { name_check_qualified, "a/", "name part must be non-empty" },
                { name_check_qualified, "", "name part must be non-empty" },
                { name_check_qualified, "a/b/c", "a qualified name must consist" },
                { name_check_qualified, "A.b/c", "prefix part a lowercase RFC 1123 subdomain" },
                { name_check_qualified, "a/-c", "name part must consist" },
                { name_check_qualified, A63 "a", "name part must be no more than 63" },
                { name_check_label_value, "", NULL },
                { name_check_label_value, "My_value.1", NULL },
                { name_check_label_value, "a b", "a valid label must be an empty string" },
                { name_check_label_value, "a-", "a valid label must be an empty string" },
                { name_check_label_value, A63 "a", "must be no more than 63 characters" },
                { name_check_config_key, "my.key_1-x", NULL },
                { name_check_config_key, "a/b", "a valid config key must" },
                { name_check_config_key, "", "a valid config key must" },
                { name_check_config_key, "..x", "must not start with '..'" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *said = cases[i].check(str_from(cases[i].name));
                if (!cases[i].begins != !said ||
                    (said && !str_starts_with(str_from(said), str_from(cases[i].begins))))
                        fail_msg("case %zu, %s: %s", i, cases[i].name, said);
        }
        /* a NUL is no character that strchr() finds */
        assert_non_null(name_check_qualified((struct str){ "a\0b", 3 }));
        assert_non_null(name_check_label_value((struct str){ "a\0b", 3 }));
        assert_non_null(name_check_config_key((struct str){ "a\0b", 3 }));
}

static void generated_names_fit_a_label(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        struct str name = name_generate(&arena, STR("web-"));

        (void)state;
        assert_int_equal(name.length, 9);
        assert_true(str_starts_with(name, STR("web-")));
        name = name_generate(&arena, STR(A63 A63));
        assert_int_equal(name.length, 63);
        assert_null(name_check_dns_label(name));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_judged),
                cmocka_unit_test(generated_names_fit_a_label),
        };

        return run_unit_tests("name", tests);
}
