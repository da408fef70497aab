// SPDX-License-Identifier: Apache-2.0
#include "kube/quantity.h"

#include <errno.h>

#include "base/test.h"

static void quantities_are_read_and_written(void **state)
{
        static const struct {
                const char *text;
                int64_t milli, whole;
                const char *canonical;
        } cases[] = {
                { "0", 0, 0, "0" },
                { "1", 1000, 1, "1" },
                { "250m", 250, 1, "250m" },
                { "0.25", 250, 1, "250m" },
                { ".5", 500, 1, "500m" },
                { "1.", 1000, 1, "1" },
                { "+1.5", 1500, 2, "1500m" },
                { "-1.5", -1500, -2, "-1500m" },
                { "1500m", 1500, 2, "1500m" },
                { "2000m", 2000, 2, "2" },
                { "1k", 1000000, 1000, "1k" },
                { "1000", 1000000, 1000, "1k" },
                { "1024", 1024000, 1024, "1024" },
                { "1Ki", 1024000, 1024, "1Ki" },
                { "1.5Gi", 1610612736000, 1610612736, "1536Mi" },
                { "512Mi", 536870912000, 536870912, "512Mi" },
                { "0.5Ki", 512000, 512, "512" },
                { "1.1Ki", 1126400, 1127, "1126400m" },
                { "1e3", 1000000, 1000, "1e3" },
                { "12E6", 12000000000, 12000000, "12e6" },
                { "1e-3", 1, 1, "1e-3" },
                { "100e-2", 1000, 1, "1" },
                { "1E", INT64_MAX, 1000000000000000000, "1E" },
                { "1n", 1, 1, "1n" },
                { "1u", 1, 1, "1u" },
                { "0.1n", 1, 1, "1n" },
                { "0.0000000000000000000000000001", 1, 1, "1n" },
                { "10Ei", INT64_MAX, INT64_MAX, "9223372036854775807" },
                { "-10Ei", -INT64_MAX, -INT64_MAX, "-9223372036854775807" },
                { "1e1000", INT64_MAX, INT64_MAX, "9223372036854775807" },
                { "1e-1000", 1, 1, "1e-9" },
                { "9223372036854775807", INT64_MAX, INT64_MAX, "9223372036854775807" },
                { "00001.50", 1500, 2, "1500m" },
                { "1000000000000000000000000000000000000000000n", INT64_MAX, INT64_MAX,
                  "9223372036854775807" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct quantity quantity;
                char text[QUANTITY_SIZE];
                if (quantity_parse(str_from(cases[i].text), &quantity) < 0)
                        fail_msg("%s is refused", cases[i].text);
                if (quantity_milli(&quantity) != cases[i].milli ||
                    quantity_whole(&quantity) != cases[i].whole)
                        fail_msg("%s is %lld milli, %lld", cases[i].text,
                                 (long long)quantity_milli(&quantity),
                                 (long long)quantity_whole(&quantity));
                struct str canonical = quantity_format(&quantity, text);
                if (!str_equal(canonical, str_from(cases[i].canonical)))
                        fail_msg("%s becomes %s", cases[i].text, text);
        }
}

static void other_texts_are_refused(void **state)
{
        static const char *const cases[] = { "",      "m",      ".",        "-",    "1 ",  " 1",
                                             "1.2.3", "1mi",    "1ki",      "1KiB", "1i",  "Ki",
                                             "1e",    "1e+",    "1e1.5",    "1ee3", "0x1", "1mm",
                                             "--1",   "1e1001", "1\xc2\xb5" };
        struct quantity quantity;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (quantity_parse(str_from(cases[i]), &quantity) != -EINVAL)
                        fail_msg("\"%s\" is accepted", cases[i]);
        assert_int_equal(quantity_parse((struct str){ "1\0", 2 }, &quantity), -EINVAL);
        assert_int_equal(quantity_parse((struct str){ "1\0i", 3 }, &quantity), -EINVAL);
}

static void amounts_compare_and_add(void **state)
{
        struct quantity a, b, sum;
        char text[QUANTITY_SIZE];

        (void)state;
        assert_int_equal(quantity_parse(STR("1Gi"), &a), 0);
        assert_int_equal(quantity_parse(STR("1073741824"), &b), 0);
        assert_int_equal(quantity_compare(&a, &b), 0);
        assert_int_equal(quantity_parse(STR("1G"), &b), 0);
        assert_true(quantity_compare(&a, &b) > 0);
        sum = quantity_add(&a, &a);
        assert_true(str_equal(quantity_format(&sum, text), STR("2Gi")));
        assert_int_equal(quantity_parse(STR("8E"), &a), 0);
        sum = quantity_add(&a, &a);
        assert_true(quantity_whole(&sum) == INT64_MAX);
}

static void json_numbers_are_quantities(void **state)
{
        struct json_doc *doc = NULL;
        struct quantity quantity;

        (void)state;
        assert_int_equal(json_doc_parse(STR("[2,\"3\",0.5,true,null]"), NULL, NULL, NULL, &doc), 0);
        struct json_value root = json_root(doc);
        assert_int_equal(quantity_read(json_element(root, 0), &quantity), 0);
        assert_int_equal(quantity_whole(&quantity), 2);
        assert_int_equal(quantity_read(json_element(root, 1), &quantity), 0);
        assert_int_equal(quantity_whole(&quantity), 3);
        assert_int_equal(quantity_read(json_element(root, 2), &quantity), 0);
        assert_int_equal(quantity_milli(&quantity), 500);
        assert_int_equal(quantity_read(json_element(root, 3), &quantity), -EINVAL);
        assert_int_equal(quantity_read(json_element(root, 5), &quantity), -EINVAL);
        json_doc_unref(doc);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(quantities_are_read_and_written),
                cmocka_unit_test(other_texts_are_refused),
                cmocka_unit_test(amounts_compare_and_add),
                cmocka_unit_test(json_numbers_are_quantities),
        };

        return run_unit_tests("quantity", tests);
}
