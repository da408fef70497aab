// SPDX-License-Identifier: Apache-2.0
#include "json/json.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/test.h"

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;
        struct error error = {};

        if (json_doc_parse(text, NULL, NULL, &error, &doc) < 0)
                fail_msg("%.*s: %s", STR_FORMAT(text), error.message);
        return doc;
}

static void assert_str(struct str actual, struct str expected)
{
        if (!str_equal(actual, expected))
                fail_msg("\"%.*s\" is not \"%.*s\"", STR_FORMAT(actual), STR_FORMAT(expected));
}

static void text_becomes_normal(void **state)
{
        static const struct {
                struct str input, expected;
        } cases[] = {
                { STR(" { \"a\" : [ 1 , 2 ] ,\n\t\"b\":{ } } \r\n"),
                  STR("{\"a\":[1,2],\"b\":{}}") },
                { STR("\"\\u0041\\/\\u00e9\\u20ac\\ud83d\\ude00\""),
                  STR("\"A/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"") },
                { STR("\"\\u0008\\u000C\\u000a\\u000D\\u0009\\u001F\\u0022\\u005c\\u0000\""),
                  STR("\"\\b\\f\\n\\r\\t\\u001f\\\"\\\\\\u0000\"") },
                { STR("\"\\ud800\""), STR("\"\xef\xbf\xbd\"") },
                { STR("\"\\ud800\\u0041\""), STR("\"\xef\xbf\xbd\x41\"") },
                { STR("\"\\udc00\\ud800\\ud800\\udc00\""),
                  STR("\"\xef\xbf\xbd\xef\xbf\xbd\xf0\x90\x80\x80\"") },
                { STR("-0"), STR("0") },
                { STR("[1e3,1.0,-0.0,1.50,1E+2,100e-2,1e18,1e19,0.1e1]"),
                  STR("[1000,1,0,1.50,100,1,1000000000000000000,1e19,1]") },
                { STR("[9223372036854775807,-9223372036854775808,9223372036854775808]"),
                  STR("[9223372036854775807,-9223372036854775808,9223372036854775808]") },
                { STR("[1e18,1e18,1e18,1e18,1e18,1e18]"),
                  STR("[1000000000000000000,1000000000000000000,1000000000000000000,"
                      "1000000000000000000,1000000000000000000,1000000000000000000]") },
                { STR("{\"a\":1,\"b\":2,\"a\":3}"), STR("{\"a\":3,\"b\":2}") },
                { STR("{\"a\":1,\"\\u0061\":{\"x\":1,\"x\":[2]},\"a\":{\"y\":1,\"y\":2}}"),
                  STR("{\"a\":{\"y\":2}}") },
                { STR("{\"\\n\":1,\"b\":{\"c\":1,\"c\":2},\"\\u000a\":3}"),
                  STR("{\"\\n\":3,\"b\":{\"c\":2}}") },
                { STR("{\"\":null}"), STR("{\"\":null}") },
                { STR("null"), STR("null") },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = parse(cases[i].input);
                assert_str(json_doc_text(doc), cases[i].expected);

                _cleanup_doc_ struct json_doc *again = parse(json_doc_text(doc));
                assert_str(json_doc_text(again), cases[i].expected);
        }
}

static void malformed_text_is_refused(void **state)
{
        static const struct {
                struct str input;
                size_t offset;
        } cases[] = {
                { STR(""), 0 },
                { STR("  "), 2 },
                { STR("{"), 1 },
                { STR("{\"a\""), 4 },
                { STR("{\"a\":"), 5 },
                { STR("{\"a\":1"), 6 },
                { STR("{\"a\":1,}"), 7 },
                { STR("{a:1}"), 1 },
                { STR("[1,]"), 3 },
                { STR("[1 2]"), 3 },
                { STR("[1}"), 2 },
                { STR("1 2"), 2 },
                { STR("tru"), 0 },
                { STR("nul"), 0 },
                { STR("truex"), 4 },
                { STR("01"), 1 },
                { STR("-"), 1 },
                { STR("+1"), 0 },
                { STR("1."), 2 },
                { STR(".5"), 0 },
                { STR("1e"), 2 },
                { STR("1e+"), 3 },
                { STR("NaN"), 0 },
                { STR("\"abc"), 4 },
                { STR("\"abc\\"), 4 },
                { STR("\"\\x\""), 2 },
                { STR("\"\\u12\""), 3 },
                { STR("\"\\u12g4\""), 5 },
                { STR("\"\\ud800\\u12\""), 9 },
                { STR("\"a\nb\""), 2 },
                { STR("\"\0\""), 1 },
                { STR("\"\x80\""), 1 },
                { STR("\"\xc0\x80\""), 1 },
                { STR("\"\xe0\x80\x80\""), 1 },
                { STR("\"\xed\xa0\x80\""), 1 },
                { STR("\"\xf4\x90\x80\x80\""), 1 },
                { STR("\"\xf0\x9f\x98"), 1 },
                { STR("\xef\xbb\xbf{}"), 0 },
                { STR("// x\n1"), 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json_doc *doc = (void *)&cases;
                struct json_notes notes;
                struct error error = {};
                int r = json_doc_parse(cases[i].input, NULL, &notes, &error, &doc);
                if (r != -EBADMSG || error.code != r)
                        fail_msg("%.*s gives %d", STR_FORMAT(cases[i].input), r);
                if (r != -EINVAL && notes.error_offset != cases[i].offset)
                        fail_msg("%.*s fails at %zu", STR_FORMAT(cases[i].input),
                                 notes.error_offset);
                assert_ptr_equal(doc, &cases);
        }
}

static void limits_hold(void **state)
{
        _cleanup_buffer_ struct buffer deep = {};
        struct json_options small = { .size_limit = 10, .depth_limit = 2 };
        struct json_doc *doc = NULL;

        (void)state;
        for (int i = 0; i < LIMIT_DEPTH; i++)
                buffer_append_char(&deep, '[');
        for (int i = 0; i < LIMIT_DEPTH; i++)
                buffer_append_char(&deep, ']');
        assert_int_equal(json_doc_parse(buffer_str(&deep), NULL, NULL, NULL, &doc), 0);
        json_doc_unref(doc);
        doc = NULL;
        deep.data[LIMIT_DEPTH - 1] = '[';
        buffer_append_char(&deep, ']');
        memset(deep.data, '[', LIMIT_DEPTH + 1);
        buffer_append_char(&deep, ']');
        assert_int_equal(json_doc_parse(buffer_str(&deep), NULL, NULL, NULL, &doc), -E2BIG);

        assert_int_equal(json_doc_parse(STR("[[1]]"), &small, NULL, NULL, &doc), 0);
        json_doc_unref(doc);
        doc = NULL;
        assert_int_equal(json_doc_parse(STR("[[[]]]"), &small, NULL, NULL, &doc), -E2BIG);
        assert_int_equal(json_doc_parse(STR("[1,2,3,4,5]"), &small, NULL, NULL, &doc), -EFBIG);
        assert_null(doc);
}

static void duplicates_are_noted_with_their_path(void **state)
{
        static const struct {
                struct str input;
                const char *path;
        } cases[] = {
                { STR("{\"a\":1,\"a\":1}"), "a" },
                { STR("{\"spec\":{\"containers\":[{},{\"name\":\"x\",\"name\":\"y\"}]}}"),
                  "spec.containers[1].name" },
                { STR("{\"a\":{\"b\":1,\"b\":2},\"a\":2}"), "a.b" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct json_notes notes;
                assert_int_equal(json_doc_parse(cases[i].input, NULL, &notes, NULL, &doc), 0);
                assert_true(notes.has_duplicate);
                assert_string_equal(notes.duplicate, cases[i].path);
        }

        _cleanup_doc_ struct json_doc *doc = NULL;
        struct json_notes notes;
        assert_int_equal(json_doc_parse(STR("[{\"a\":1},{\"a\":1}]"), NULL, &notes, NULL, &doc), 0);
        assert_false(notes.has_duplicate);
}

static void null_members_are_dropped_on_demand(void **state)
{
        struct json_options options = { .drop_nulls = true };
        _cleanup_doc_ struct json_doc *doc = NULL;

        (void)state;
        assert_int_equal(json_doc_parse(STR("{\"a\":null,\"b\":[null,{\"c\":null}],\"d\":1,"
                                            "\"d\":null,\"e\":null,\"e\":2}"),
                                        &options, NULL, NULL, &doc),
                         0);
        assert_str(json_doc_text(doc), STR("{\"b\":[null,{}],\"e\":2}"));
}

static void many_members_with_duplicates(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct json_notes notes;

        (void)state;
        buffer_append_char(&text, '{');
        for (int i = 0; i < 5000; i++)
                buffer_printf(&text, "\"k%d\":%d,", i % 3000, i);
        buffer_append_str(&text, STR("\"last\":true}"));
        assert_int_equal(json_doc_parse(buffer_str(&text), NULL, &notes, NULL, &doc), 0);
        assert_true(notes.has_duplicate);
        assert_string_equal(notes.duplicate, "k0");
        struct json_value root = json_root(doc);
        assert_int_equal(json_count(root), 3001);
        assert_int_equal(json_int64_or(json_get(root, "k0"), -1), 3000);
        assert_int_equal(json_int64_or(json_get(root, "k1999"), -1), 4999);
        assert_int_equal(json_int64_or(json_get(root, "k2000"), -1), 2000);
        assert_true(json_bool_or(json_get(root, "last"), false));
        struct json_iterator it = json_iterate(root);
        assert_true(json_next(&it));
        assert_str(it.key, STR("k0"));
}

static void look_ups_find_and_miss(void **state)
{
        _cleanup_doc_ struct json_doc *doc =
                parse(STR("{\"metadata\":{\"name\":\"x\",\"a\\nb\":\"c\\td\",\"n\":null},"
                          "\"list\":[1,[2,3],{\"k\":\"v\"},\"s\"],\"t\":true,\"f\":1.5}"));
        struct json_value root = json_root(doc), list = json_get(root, "list");

        (void)state;
        assert_str(json_string(json_get(root, "metadata", "name")), STR("x"));
        assert_str(json_string(json_get(root, "metadata", "a\nb")), STR("c\td"));
        assert_str(json_text(json_get(root, "metadata", "a\nb")), STR("\"c\\td\""));
        assert_int_equal(json_type(json_get(root, "metadata", "n")), JSON_NULL);
        assert_false(json_exists(json_get(root, "metadata", "none", "deeper")));
        assert_false(json_exists(json_get(root, "t", "x")));
        assert_false(json_exists(json_get(list, "x")));
        assert_int_equal(json_count(list), 4);
        assert_str(json_text(json_element(list, 1)), STR("[2,3]"));
        assert_str(json_string(json_get(json_element(list, 2), "k")), STR("v"));
        assert_true(json_string_is(json_element(list, 3), STR("s")));
        assert_false(json_exists(json_element(list, 4)));
        assert_false(json_exists(json_element(root, 0)));
        assert_int_equal(json_count(json_element(list, 0)), 0);
        assert_str(json_string_or(json_get(root, "t"), STR("none")), STR("none"));
        assert_int_equal(json_type((struct json_value){}), JSON_ABSENT);
        assert_int_equal(json_text((struct json_value){}).length, 0);

        int64_t number = 7;
        assert_int_equal(json_int64(json_get(root, "f"), &number), -EINVAL);
        assert_int_equal(json_int64(json_get(root, "t"), &number), -EINVAL);
        assert_int_equal(number, 7);
        _cleanup_doc_ struct json_doc *huge = parse(STR("[9223372036854775808,1e400]"));
        assert_int_equal(json_int64(json_element(json_root(huge), 0), &number), -ERANGE);
        assert_int_equal(json_int64(json_element(json_root(huge), 1), &number), -ERANGE);
}

static void iteration_visits_all_in_order(void **state)
{
        _cleanup_doc_ struct json_doc *doc =
                parse(STR("{\"a\":[],\"b\\\"\":{\"x\":{}},\"c\":\"\\\\\",\"d\":[1,\"\\n\",{}]}"));
        _cleanup_buffer_ struct buffer seen = {};

        (void)state;
        json_for_each (it, json_root(doc)) {
                buffer_printf(&seen, "%.*s=%.*s;", STR_FORMAT(it.key),
                              STR_FORMAT(json_text(it.value)));
                json_for_each (inner, it.value)
                        buffer_printf(&seen, "(%.*s)", STR_FORMAT(json_text(inner.value)));
        }
        assert_str(buffer_str(&seen),
                   STR("a=[];b\"={\"x\":{}};({})c=\"\\\\\";d=[1,\"\\n\",{}];(1)(\"\\n\")({})"));
        json_for_each (it, json_get(json_root(doc), "c"))
                fail();
        json_for_each (it, (struct json_value){})
                fail();
}

static void equality_is_of_content(void **state)
{
        static const struct {
                struct str a, b;
                bool equal;
        } cases[] = {
                { STR("{\"a\":1,\"b\":[1,2]}"), STR("{\"b\":[1,2],\"a\":1}"), true },
                { STR("{\"a\":1,\"b\":[1,2]}"), STR("{\"b\":[2,1],\"a\":1}"), false },
                { STR("{\"a\":1}"), STR("{\"a\":1,\"b\":1}"), false },
                { STR("{\"a\":1,\"c\":1}"), STR("{\"a\":1,\"b\":1}"), false },
                { STR("1.50"), STR("15e-1"), true },
                { STR("0.00"), STR("-0e5"), true },
                { STR("1e400"), STR("10e399"), true },
                { STR("1.5"), STR("-1.5"), false },
                { STR("1.5"), STR("1.51"), false },
                { STR("1e400"), STR("1e401"), false },
                { STR("\"1\""), STR("1"), false },
                { STR("null"), STR("false"), false },
                { STR("true"), STR("false"), false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *a = parse(cases[i].a), *b = parse(cases[i].b);
                if (json_equal(json_root(a), json_root(b)) != cases[i].equal)
                        fail_msg("%.*s, %.*s", STR_FORMAT(cases[i].a), STR_FORMAT(cases[i].b));
        }
        assert_true(json_equal((struct json_value){}, (struct json_value){}));
}

static void large_objects_compare_in_any_order(void **state)
{
        _cleanup_buffer_ struct buffer up = {}, down = {};

        (void)state;
        buffer_append_char(&up, '{');
        buffer_append_char(&down, '{');
        for (int i = 0; i < 20000; i++) {
                buffer_printf(&up, "%s\"k%d\":%d", i ? "," : "", i, i);
                buffer_printf(&down, "%s\"k%d\":%d", i ? "," : "", 19999 - i, 19999 - i);
        }
        buffer_append_char(&up, '}');
        buffer_append_char(&down, '}');
        _cleanup_doc_ struct json_doc *a = parse(buffer_str(&up)), *b = parse(buffer_str(&down));
        assert_true(json_equal(json_root(a), json_root(b)));
}

static void references_keep_a_document(void **state)
{
        struct json_doc *doc = parse(STR("{\"a\":\"\\n\"}"));

        (void)state;
        assert_ptr_equal(json_doc_ref(doc), doc);
        json_doc_unref(doc);
        assert_str(json_string(json_get(json_root(doc), "a")), STR("\n"));
        assert_true(json_doc_size(doc) < 100);
        json_doc_unref(doc);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(text_becomes_normal),
                cmocka_unit_test(malformed_text_is_refused),
                cmocka_unit_test(limits_hold),
                cmocka_unit_test(duplicates_are_noted_with_their_path),
                cmocka_unit_test(null_members_are_dropped_on_demand),
                cmocka_unit_test(many_members_with_duplicates),
                cmocka_unit_test(look_ups_find_and_miss),
                cmocka_unit_test(iteration_visits_all_in_order),
                cmocka_unit_test(equality_is_of_content),
                cmocka_unit_test(large_objects_compare_in_any_order),
                cmocka_unit_test(references_keep_a_document),
        };

        return run_unit_tests("json", tests);
}
