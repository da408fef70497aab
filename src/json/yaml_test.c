// SPDX-License-Identifier: Apache-2.0
#include "json/yaml.h"

#include <errno.h>

#include "base/test.h"

static void documents_become_json(void **state)
{
        static const struct {
                const char *yaml, *json;
        } cases[] = {
                { "a: 1\nb:\n- x\n- k: z\n", "{\"a\":1,\"b\":[\"x\",{\"k\":\"z\"}]}" },
                { "{\"a\": [1, 2.50, \"\\u0041\"]}", "{\"a\":[1,2.50,\"A\"]}" },
                { "# comment\n---\n{a: b}\n", "{\"a\":\"b\"}" },
                { "[yes, No, on, OFF, y, N, true, False]",
                  "[true,false,true,false,true,false,true,false]" },
                { "[~, null, Null, '', \"null\", nUll]",
                  "[null,null,null,\"\",\"null\",\"nUll\"]" },
                { "[0x1F, 0b101, 0o17, 017, 0128, -0x10, +7, 1_000, 0]",
                  "[31,5,15,15,128,-16,7,1000,0]" },
                { "[1e3, 1.0, .5, 1., -.5e-2, 1e+2, 00.5]", "[1000,1,0.5,1,-0.5e-2,100,0.5]" },
                { "[18446744073709551615, 18446744073709551616, -9223372036854775808]",
                  "[18446744073709551615,18446744073709551616,-9223372036854775808]" },
                { "[1.2.3, 1e, e3, 10m, 1Gi, ., +, -x, 0x, 0xg, 1:30, 2026-11-21]",
                  "[\"1.2.3\",\"1e\",\"e3\",\"10m\",\"1Gi\",\".\",\"+\",\"-x\",\"0x\",\"0xg\","
                  "\"1:30\",\"2026-11-21\"]" },
                { "t: 2026-11-21T10:00:00Z", "{\"t\":\"2026-11-21T10:00:00Z\"}" },
                { "a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}" },
                { "1: a\n1.5: b\nyes: c\n\"2\": d", "{\"1\":\"a\",\"1.5\":\"b\",\"true\":\"c\","
                                                    "\"2\":\"d\"}" },
                { "a: &x {k: [1]}\nb: *x\nc: &y v\n*y : *y", "{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]},"
                                                             "\"c\":\"v\",\"v\":\"v\"}" },
                { "&k 1: a\nb: *k", "{\"1\":\"a\",\"b\":1}" },
                { "[!!str 1, !!int \"3\", !!float 2, !!bool \"yes\", ! 5]",
                  "[\"1\",3,2,true,\"5\"]" },
                { "a: 1\na: 2", "{\"a\":2}" },
                { "- \xc3\xa9\n- \"\\t\\u00e9\"", "[\"\xc3\xa9\",\"\\t\xc3\xa9\"]" },
                { "\xef\xbb\xbf"
                  "a: b",
                  "{\"a\":\"b\"}" },
                { "a:\nb: {}\nc: []", "{\"a\":null,\"b\":{},\"c\":[]}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct str text = str_from(cases[i].yaml);
                struct error error = {};
                size_t offset = 0;
                int r = yaml_next(text, &offset, &error, &doc);
                if (r != 1)
                        fail_msg("%s gives %d: %s", cases[i].yaml, r, error.message);
                if (!str_equal(json_doc_text(doc), str_from(cases[i].json)))
                        fail_msg("%s gives %.*s", cases[i].yaml, STR_FORMAT(json_doc_text(doc)));
                assert_int_equal(yaml_next(text, &offset, &error, &doc), 0);
                assert_int_equal(offset, text.length);
        }
}

static void streams_are_cut_into_documents(void **state)
{
        struct str text = STR("# \xc3\xa9\xe2\x82\xac\n---\n---\na: \xc3\xa9\n---\n# nothing\n"
                              "---\nb: |\n  ---x\n...\n%YAML 1.1\n---\n{c: 1}\n--- d\n...\n\n");
        static const char *const expected[] = { "{\"a\":\"\xc3\xa9\"}", "{\"b\":\"---x\\n\"}",
                                                "{\"c\":1}", "\"d\"" };
        struct error error = {};
        size_t offset = 0;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                int r = yaml_next(text, &offset, &error, &doc);
                if (r != 1)
                        fail_msg("document %zu gives %d: %s", i, r, error.message);
                if (!str_equal(json_doc_text(doc), str_from(expected[i])))
                        fail_msg("%.*s is not %s", STR_FORMAT(json_doc_text(doc)), expected[i]);
        }
        struct json_doc *none = NULL;
        assert_int_equal(yaml_next(text, &offset, &error, &none), 0);
        assert_null(none);
        offset = 0;
        assert_int_equal(yaml_next(STR(" \n\n"), &offset, &error, &none), 0);
        offset = 0;
        assert_int_equal(yaml_next(STR(""), &offset, &error, &none), 0);
}

static void bad_documents_are_refused_with_their_line(void **state)
{
        static const struct {
                const char *yaml, *message;
        } cases[] = {
                { "a: b\n\tc: d", "line 2: " },
                { "a: [1, 2", "line 2: " },
                { "a: &x [*x]", "line 1: an anchor contains itself" },
                { "a: *nobody", "line 1: there is no such anchor" },
                { "a: 1\n<<: {b: 1}", "line 2: merge keys are not supported" },
                { "? [a]\n: b", "line 1: a key must be a scalar" },
                { "~: b", "line 1: a key must be" },
                { "a: &x {b: 1}\n*x : c", "line 2: a key must be" },
                { "a: !!binary aGVsbG8=", "line 1: this tag is not supported" },
                { "a: !thing {}", "line 1: this tag is not supported" },
                { "a: !!int x", "line 1: the value does not fit its tag" },
                { "a: .inf", "line 1: infinity" },
                { "a: \x80", "at byte 3: " },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json_doc *doc = NULL;
                struct error error = {};
                size_t offset = 0;
                int r = yaml_next(str_from(cases[i].yaml), &offset, &error, &doc);
                if (r != -EBADMSG || error.code != r ||
                    !str_starts_with(str_from(error.message), str_from(cases[i].message)))
                        fail_msg("%s gives %d: %s", cases[i].yaml, r, error.message);
                assert_null(doc);
                assert_int_equal(offset, 0);
        }
}

static void bombs_do_not_go_off(void **state)
{
        _cleanup_buffer_ struct buffer laughs = {}, deep = {};
        struct json_doc *doc = NULL;
        struct error error = {};
        size_t offset = 0;

        (void)state;
        buffer_append_str(&laughs, STR("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"));
        for (int i = 1; i < 10; i++)
                buffer_printf(&laughs, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i,
                              i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        assert_int_equal(yaml_next(buffer_str(&laughs), &offset, &error, &doc), -EFBIG);

        for (int i = 0; i < 100000; i++)
                buffer_append_char(&deep, '[');
        assert_int_equal(yaml_next(buffer_str(&deep), &offset, &error, &doc), -E2BIG);
        assert_null(doc);
}

static void values_are_written_as_kubectl_does(void **state)
{
        static const struct {
                const char *json, *yaml;
        } cases[] = {
                { "{\"a\":1,\"b\":{\"c\":[\"x\",{\"y\":\"z\",\"w\":[]}]},\"d\":{}}",
                  "a: 1\nb:\n  c:\n  - x\n  - \"y\": z\n    w: []\nd: {}\n" },
                { "{\"a\":null,\"b\":true,\"c\":1.50}", "a: null\nb: true\nc: 1.50\n" },
                { "{\"s\":\"1\",\"t\":\"yes\",\"u\":\"\",\"v\":\"~\",\"w\":\"0x1f\",\"x\":\"1e3\"}",
                  "s: \"1\"\nt: \"yes\"\nu: \"\"\nv: \"~\"\nw: \"0x1f\"\nx: \"1e3\"\n" },
                { "{\"t\":\"2026-11-21T10:00:00Z\",\"d\":\"2026-11-21\",\"s\":\"12:30\"}",
                  "t: \"2026-11-21T10:00:00Z\"\nd: \"2026-11-21\"\ns: \"12:30\"\n" },
                { "{\"ip\":\"10.0.0.1\",\"v\":\"v1\",\"cpu\":\"100m\",\"k\":\"a: b\",\"h\":\"#x\"}",
                  "ip: 10.0.0.1\nv: v1\ncpu: 100m\nk: 'a: b'\nh: '#x'\n" },
                { "{\"l\":\"a\\nb\\n\",\"m\":\"a\\nb\"}", "l: |\n  a\n  b\nm: |-\n  a\n  b\n" },
                { "{\"1\":\"\xc3\xa9\"}", "\"1\": \xc3\xa9\n" },
                { "[]", "[]\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL, *again = NULL;
                _cleanup_buffer_ struct buffer yaml = {};
                size_t offset = 0;

                assert_int_equal(json_doc_parse(str_from(cases[i].json), NULL, NULL, NULL, &doc),
                                 0);
                assert_int_equal(yaml_write(json_root(doc), &yaml), 0);
                if (!str_equal(buffer_str(&yaml), str_from(cases[i].yaml)))
                        fail_msg("%s gives\n%.*s", cases[i].json, STR_FORMAT(buffer_str(&yaml)));
                assert_int_equal(yaml_next(buffer_str(&yaml), &offset, NULL, &again), 1);
                assert_true(json_equal(json_root(doc), json_root(again)));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(documents_become_json),
                cmocka_unit_test(streams_are_cut_into_documents),
                cmocka_unit_test(bad_documents_are_refused_with_their_line),
                cmocka_unit_test(bombs_do_not_go_off),
                cmocka_unit_test(values_are_written_as_kubectl_does),
        };

        return run_unit_tests("yaml", tests);
}
