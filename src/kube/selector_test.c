// SPDX-License-Identifier: Apache-2.0
#include "kube/selector.h"

#include <errno.h>

#include "base/test.h"

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void label_selectors_match(void **state)
{
        static const struct {
                const char *selector, *labels;
                bool matches;
        } cases[] = {
                { "", "{}", true },
                { "  ", "null", true },
                { "a=b", "{\"a\":\"b\"}", true },
                { "a==b", "{\"a\":\"b\",\"c\":\"d\"}", true },
                { "a = b , c", "{\"a\":\"b\",\"c\":\"\"}", true },
                { "a=b,c=d", "{\"a\":\"b\"}", false },
                { "a=", "{\"a\":\"\"}", true },
                { "a=", "{}", false },
                { "a!=b", "{}", true },
                { "a!=b", "{\"a\":\"c\"}", true },
                { "a!=b", "{\"a\":\"b\"}", false },
                { "a in (b,c)", "{\"a\":\"c\"}", true },
                { "a in (b, c),d", "{\"a\":\"c\"}", false },
                { "a in(b)", "{\"a\":\"b\"}", true },
                { "a in (b,)", "{\"a\":\"\"}", true },
                { "a in (b)", "{}", false },
                { "a notin (b,c)", "{\"a\":\"c\"}", false },
                { "a notin (b,c)", "{\"a\":\"d\"}", true },
                { "a notin (b)", "{}", true },
                { "!a", "{}", true },
                { "!a", "{\"a\":\"\"}", false },
                { "! a,b", "{\"b\":\"\"}", true },
                { "in in (in,notin)", "{\"in\":\"notin\"}", true },
                { "x.y/z>5", "{\"x.y/z\":\"6\"}", true },
                { "n>5", "{\"n\":\"5\"}", false },
                { "n<5", "{\"n\":\"x\"}", false },
                { "n<5", "{}", false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *labels = parse(cases[i].labels);
                _cleanup_arena_ struct arena arena = {};
                struct label_selector selector;
                struct error error = {};
                if (label_selector_parse(str_from(cases[i].selector), &arena, &error, &selector) <
                    0)
                        fail_msg("%s: %s", cases[i].selector, error.message);
                if (label_selector_matches(&selector, json_root(labels)) != cases[i].matches)
                        fail_msg("%s on %s", cases[i].selector, cases[i].labels);
        }
}

static void bad_label_selectors_are_refused(void **state)
{
        static const char *const cases[] = {
                "a=b,",  ",",         "a b",     "=b",      "a in b",    "a in (b", "a in (b c)",
                "a>b",   "a>",        "!a=b",    "!",       "a=b c",     "a=@",     "a b=c",
                "(a=b)", "a in (b))", "-a=b",    "a/b/c=d", "a notin b", "a!b",     "a=b,!",
                "a=(b)", "a in (-)",  "a==b==c", "n<-5",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                struct label_selector selector;
                struct error error = {};
                if (label_selector_parse(str_from(cases[i]), &arena, &error, &selector) != -EINVAL)
                        fail_msg("\"%s\" is accepted", cases[i]);
                assert_int_equal(error.code, -EINVAL);
        }
}

static void selector_objects_match(void **state)
{
        static const struct {
                const char *selector, *labels;
                int matches; /* -1: refused */
        } cases[] = {
                { "{}", "{\"a\":\"b\"}", 1 },
                { "null", "{\"a\":\"b\"}", 0 },
                { "{\"matchLabels\":{\"a\":\"b\"}}", "{\"a\":\"b\"}", 1 },
                { "{\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}", "{\"a\":\"b\"}", 0 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"b\"]}]}",
                  "{\"a\":\"b\"}", 1 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[\"b\"]}"
                  ","
                  "{\"key\":\"a\",\"operator\":\"Exists\"}]}",
                  "{}", 0 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"DoesNotExist\"}]}", "{}",
                  1 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}", "{}", -1 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\","
                  "\"values\":[\"b\"]}]}",
                  "{}", -1 },
                { "{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"in\",\"values\":[\"b\"]}]}",
                  "{}", -1 },
                { "{\"matchExpressions\":[{\"operator\":\"Exists\"}]}", "{}", -1 },
                { "{\"matchLabels\":{\"a\":1}}", "{}", -1 },
                { "{\"matchLabels\":{\"a b\":\"c\"}}", "{}", -1 },
                { "[]", "{}", -1 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *object = parse(cases[i].selector);
                _cleanup_doc_ struct json_doc *labels = parse(cases[i].labels);
                _cleanup_arena_ struct arena arena = {};
                struct label_selector selector;
                int r = label_selector_read(json_root(object), &arena, NULL, &selector);
                if ((r < 0) != (cases[i].matches < 0))
                        fail_msg("%s gives %d", cases[i].selector, r);
                if (r == 0 &&
                    label_selector_matches(&selector, json_root(labels)) != cases[i].matches)
                        fail_msg("%s on %s", cases[i].selector, cases[i].labels);
        }

        _cleanup_doc_ struct json_doc *map = parse("{\"a\":\"b\"}");
        _cleanup_arena_ struct arena arena = {};
        struct label_selector selector;
        assert_int_equal(label_selector_read_map(json_root(map), &arena, &selector), 0);
        assert_true(label_selector_matches(&selector, json_root(map)));
        assert_int_equal(label_selector_read_map((struct json_value){}, &arena, &selector), 0);
        assert_false(label_selector_matches(&selector, json_root(map)));
}

static void selectors_are_written_and_asked(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer out = {};
        struct label_selector selector;
        struct str value;

        (void)state;
        assert_int_equal(label_selector_parse(STR("a==b, c in (d, e),f notin(g,h),i,!j,k!=l,m>1"),
                                              &arena, NULL, &selector),
                         0);
        assert_int_equal(label_selector_write(&selector, &out), 0);
        assert_true(str_equal(buffer_str(&out), STR("a=b,c in (d,e),f notin (g,h),i,!j,k!=l,m>1")));
        assert_true(label_selector_requires(&selector, STR("a"), &value));
        assert_true(str_equal(value, STR("b")));
        assert_false(label_selector_requires(&selector, STR("c"), &value));
        assert_false(label_selector_requires(&selector, STR("k"), &value));
}

static void field_selectors_match(void **state)
{
        static const char object[] = "{\"metadata\":{\"name\":\"a,b=c\\\\d\",\"namespace\":\"n\"},"
                                     "\"spec\":{\"n\":5,\"t\":true}}";
        static const struct {
                const char *selector;
                int matches; /* -1: refused */
        } cases[] = {
                { "", 1 },
                { "metadata.namespace=n", 1 },
                { "metadata.namespace==n,spec.n=5", 1 },
                { "metadata.namespace!=n", 0 },
                { "metadata.namespace!=m,", 1 },
                { "spec.nodeName=", 1 },
                { "spec.nodeName!=", 0 },
                { "spec.t=true,spec.n!=6", 1 },
                { "metadata.name=a\\,b\\=c\\\\d", 1 },
                { "metadata=", 1 },
                { "metadata.name.x=", 1 },
                { "metadata.name", -1 },
                { "=x", -1 },
                { "a=b=c", -1 },
                { "a=b\\c", -1 },
                { "a=b\\", -1 },
        };
        _cleanup_doc_ struct json_doc *doc = parse(object);
        _cleanup_arena_ struct arena arena = {};
        struct field_selector selector;
        struct str value;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int r = field_selector_parse(str_from(cases[i].selector), &arena, NULL, &selector);
                if ((r < 0) != (cases[i].matches < 0))
                        fail_msg("%s gives %d", cases[i].selector, r);
                if (r == 0 && field_selector_matches(&selector, json_root(doc)) != cases[i].matches)
                        fail_msg("%s", cases[i].selector);
        }
        assert_int_equal(field_selector_parse(STR("metadata.name=x,status.phase!=y"), &arena, NULL,
                                              &selector),
                         0);
        assert_true(field_selector_requires(&selector, STR("metadata.name"), &value));
        assert_true(str_equal(value, STR("x")));
        assert_false(field_selector_requires(&selector, STR("status.phase"), &value));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(label_selectors_match),
                cmocka_unit_test(bad_label_selectors_are_refused),
                cmocka_unit_test(selector_objects_match),
                cmocka_unit_test(selectors_are_written_and_asked),
                cmocka_unit_test(field_selectors_match),
        };

        return run_unit_tests("selector", tests);
}
