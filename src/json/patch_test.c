// SPDX-License-Identifier: Apache-2.0
#include "json/patch.h"

#include <errno.h>

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

struct patch_case {
        const char *before, *patch, *after;
        int error; /* when after is NULL */
};

typedef int (*patch_fn)(const struct json_doc *doc, struct json_value patch, struct error *error,
                        struct json_doc **ret_doc);

static void run_cases(const struct patch_case *cases, size_t count, patch_fn apply)
{
        for (size_t i = 0; i < count; i++) {
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].before));
                _cleanup_doc_ struct json_doc *patch = parse(str_from(cases[i].patch));
                _cleanup_doc_ struct json_doc *after = NULL;
                struct error error = {};
                int r = apply(doc, json_root(patch), &error, &after);

                if (!cases[i].after) {
                        if (r != cases[i].error || error.code != r || after)
                                fail_msg("%s with %s gives %d: %s", cases[i].before, cases[i].patch,
                                         r, error.message);
                        continue;
                }
                if (r < 0)
                        fail_msg("%s with %s gives %d: %s", cases[i].before, cases[i].patch, r,
                                 error.message);
                if (!str_equal(json_doc_text(after), str_from(cases[i].after)))
                        fail_msg("%s with %s gives %.*s", cases[i].before, cases[i].patch,
                                 STR_FORMAT(json_doc_text(after)));
                if (str_equal(json_doc_text(after), json_doc_text(doc)))
                        assert_ptr_equal(after, doc);
        }
}

static void merge_patches(void **state)
{
        /* The first ones are RFC 7396, appendix A. */
        static const struct patch_case cases[] = {
                { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", 0 },
                { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", 0 },
                { "{\"a\":\"b\"}", "{\"a\":null}", "{}", 0 },
                { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}", 0 },
                { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", 0 },
                { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}", 0 },
                { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
                  "{\"a\":{\"b\":\"d\"}}", 0 },
                { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}", 0 },
                { "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]", 0 },
                { "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]", 0 },
                { "{\"a\":\"foo\"}", "null", "null", 0 },
                { "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"", 0 },
                { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}", 0 },
                { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}", 0 },
                { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}", 0 },
                { "{\"a\":{\"b\":1}}", "{}", "{\"a\":{\"b\":1}}", 0 },
                { "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", 0 },
                { "{\"a\":1}", "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}", 0 },
                { "{\"a\":1}", "{\"a\":[null,{\"x\":null}]}", "{\"a\":[null,{\"x\":null}]}", 0 },
        };

        (void)state;
        run_cases(cases, ARRAY_SIZE(cases), json_merge_patch);
}

static void json_patches(void **state)
{
#define OP(op, path, rest) "{\"op\":\"" op "\",\"path\":\"" path "\"" rest "}"
        static const struct patch_case cases[] = {
                /* RFC 6902, appendix A */
                { "{\"foo\":\"bar\"}", "[" OP("add", "/baz", ",\"value\":\"qux\"") "]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}", 0 },
                { "{\"foo\":[\"bar\",\"baz\"]}", "[" OP("add", "/foo/1", ",\"value\":\"qux\"") "]",
                  "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", 0 },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[" OP("remove", "/baz", "") "]",
                  "{\"foo\":\"bar\"}", 0 },
                { "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[" OP("remove", "/foo/1", "") "]",
                  "{\"foo\":[\"bar\",\"baz\"]}", 0 },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}",
                  "[" OP("replace", "/baz", ",\"value\":\"boo\"") "]",
                  "{\"baz\":\"boo\",\"foo\":\"bar\"}", 0 },
                { "{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
                  "[" OP("move", "/qux/thud", ",\"from\":\"/foo/waldo\"") "]",
                  "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}",
                  0 },
                { "{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
                  "[" OP("move", "/foo/3", ",\"from\":\"/foo/1\"") "]",
                  "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}", 0 },
                { "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
                  "[" OP("test", "/baz", ",\"value\":\"qux\"") "," OP("test", "/foo/1",
                                                                      ",\"value\":2") "]",
                  "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}", 0 },
                { "{\"baz\":\"qux\"}", "[" OP("test", "/baz", ",\"value\":\"bar\"") "]", NULL,
                  -EILSEQ },
                { "{\"foo\":\"bar\"}",
                  "[" OP("add", "/child", ",\"value\":{\"grandchild\":{}}") "]",
                  "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}", 0 },
                { "{\"foo\":\"bar\"}", "[" OP("add", "/baz", ",\"value\":\"qux\",\"xyz\":123") "]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}", 0 },
                { "{\"foo\":\"bar\"}", "[" OP("add", "/baz/bat", ",\"value\":\"qux\"") "]", NULL,
                  -ENOENT },
                { "{\"/\":9,\"~1\":10}", "[" OP("test", "/~01", ",\"value\":10") "]",
                  "{\"/\":9,\"~1\":10}", 0 },
                { "{\"/\":9,\"~1\":10}", "[" OP("test", "/~01", ",\"value\":\"10\"") "]", NULL,
                  -EILSEQ },
                { "{\"foo\":[\"bar\"]}",
                  "[" OP("add", "/foo/-", ",\"value\":[\"abc\",\"def\"]") "]",
                  "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}", 0 },

                { "{}", "[]", "{}", 0 },
                { "{\"a\":1}", "[" OP("add", "/a", ",\"value\":2") "]", "{\"a\":2}", 0 },
                { "{\"a\":1}", "[" OP("add", "", ",\"value\":{\"b\":null}") "]", "{\"b\":null}",
                  0 },
                { "{\"a\":1}", "[" OP("replace", "/b", ",\"value\":2") "]", NULL, -ENOENT },
                { "{\"a\":1}", "[" OP("remove", "/b", "") "]", NULL, -ENOENT },
                { "{\"a\":1}", "[" OP("remove", "", "") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("remove", "/a/b", "") "]", NULL, -ENOENT },
                { "{\"a\":[1]}", "[" OP("add", "/a/2", ",\"value\":2") "]", NULL, -ENOENT },
                { "{\"a\":[1]}", "[" OP("add", "/a/01", ",\"value\":2") "]", NULL, -ENOENT },
                { "{\"a\":[1]}", "[" OP("replace", "/a/-", ",\"value\":2") "]", NULL, -ENOENT },
                { "{\"a\":[1]}", "[" OP("add", "/a/1", ",\"value\":2") "]", "{\"a\":[1,2]}", 0 },
                { "{\"a\":{\"b\":1}}",
                  "[" OP("copy", "/c", ",\"from\":\"/a\"") "," OP(
                          "add", "/c/d", ",\"value\":2") "," OP("remove", "/a/b", "") "]",
                  "{\"a\":{},\"c\":{\"b\":1,\"d\":2}}", 0 },
                { "{\"a\":{\"b\":1}}",
                  "[" OP("add", "/a/c", ",\"value\":3") "," OP(
                          "copy", "/d", ",\"from\":\"/a\"") "," OP("remove", "/d/b", "") "]",
                  "{\"a\":{\"b\":1,\"c\":3},\"d\":{\"c\":3}}", 0 },
                { "{\"a\":{\"b\":1}}", "[" OP("move", "/a/b/c", ",\"from\":\"/a\"") "]", NULL,
                  -EBADMSG },
                { "{\"a\":{\"b\":1}}", "[" OP("move", "/ab", ",\"from\":\"/a\"") "]",
                  "{\"ab\":{\"b\":1}}", 0 },
                { "{\"a\":1}", "[" OP("move", "/a", ",\"from\":\"/a\"") "]", "{\"a\":1}", 0 },
                { "{\"a\":1}", "[" OP("move", "/b", ",\"from\":\"/c\"") "]", NULL, -ENOENT },
                { "{\"a\":1}", "[" OP("test", "/b", ",\"value\":null") "]", "{\"a\":1}", 0 },
                { "{\"a\":1}", "[" OP("test", "/b", ",\"value\":1") "]", NULL, -EILSEQ },
                { "{\"a\":{\"x\":1,\"y\":2}}",
                  "[" OP("replace", "/a/x",
                         ",\"value\":5") "," OP("test", "/a", ",\"value\":{\"y\":2,\"x\":5}") "]",
                  "{\"a\":{\"x\":5,\"y\":2}}", 0 },
                { "{\"a\":1}", "{\"op\":\"add\"}", NULL, -EBADMSG },
                { "{\"a\":1}", "[1]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("frob", "/a", ",\"value\":1") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("add", "/b", "") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("copy", "/b", "") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("add", "b", ",\"value\":1") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("add", "/b~", ",\"value\":1") "]", NULL, -EBADMSG },
                { "{\"a\":1}", "[" OP("remove", "/a", "") "," OP("remove", "/a", "") "]", NULL,
                  -ENOENT },
        };
#undef OP

        (void)state;
        run_cases(cases, ARRAY_SIZE(cases), json_patch);
}

static int patch_with_text(struct str before, const struct buffer *patch_text, struct error *error)
{
        _cleanup_doc_ struct json_doc *doc = parse(before), *patch = parse(buffer_str(patch_text));
        _cleanup_doc_ struct json_doc *after = NULL;

        return json_patch(doc, json_root(patch), error, &after);
}

static void hostile_json_patches_end_early(void **state)
{
        _cleanup_buffer_ struct buffer doubling = {}, nesting = {}, many = {}, wide = {}, slow = {};
        struct error error = {};

        (void)state;
        buffer_append_char(&doubling, '[');
        for (int i = 0; i < 40; i++)
                buffer_printf(&doubling, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/k%d\"}",
                              i ? "," : "", i);
        buffer_append_char(&doubling, ']');
        assert_int_equal(patch_with_text(STR("{\"a\":{\"x\":\"0123456789\"}}"), &doubling, &error),
                         -EFBIG);

        buffer_append_char(&nesting, '[');
        for (int i = 0; i < 100; i++)
                buffer_printf(&nesting,
                              "%s{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b/a\"},"
                              "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"},"
                              "{\"op\":\"add\",\"path\":\"/b\",\"value\":{}}",
                              i ? "," : "");
        buffer_append_char(&nesting, ']');
        assert_int_equal(patch_with_text(STR("{\"a\":{},\"b\":{}}"), &nesting, &error), -E2BIG);
        assert_non_null(strstr(error.message, "the result is too deep"));

        buffer_append_char(&many, '[');
        for (int i = 0; i <= LIMIT_PATCH_OPERATIONS; i++)
                buffer_printf(&many, "%s1", i ? "," : "");
        buffer_append_char(&many, ']');
        assert_int_equal(patch_with_text(STR("{}"), &many, &error), -EFBIG);

        buffer_append_char(&wide, '{');
        for (int i = 0; i < 100000; i++)
                buffer_printf(&wide, "\"k%d\":1,", i);
        buffer_append_str(&wide, STR("\"z\":1}"));
        buffer_append_char(&slow, '[');
        for (int i = 0; i < LIMIT_PATCH_OPERATIONS; i++)
                buffer_printf(&slow, "%s{\"op\":\"replace\",\"path\":\"/z\",\"value\":%d}",
                              i ? "," : "", i);
        buffer_append_char(&slow, ']');
        assert_int_equal(patch_with_text(buffer_str(&wide), &slow, &error), -E2BIG);
}

static void diffs_are_smallest_and_lead_there(void **state)
{
        static const struct {
                const char *before, *after, *patch;
        } cases[] = {
                { "{\"a\":1}", "{\"a\":1}", "{}" },
                { "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "{}" },
                { "{\"a\":1.5}", "{\"a\":1.50}", "{}" },
                { "{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":{}}", "{\"a\":null,\"b\":3,\"c\":{}}" },
                { "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":3}}", "{\"a\":{\"c\":3}}" },
                { "{\"a\":{\"b\":1}}", "{\"a\":[1]}", "{\"a\":[1]}" },
                { "{\"a\":[1,2]}", "{\"a\":[1]}", "{\"a\":[1]}" },
                { "{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *before = parse(str_from(cases[i].before));
                _cleanup_doc_ struct json_doc *after = parse(str_from(cases[i].after));
                _cleanup_doc_ struct json_doc *patch = NULL, *result = NULL;
                _cleanup_buffer_ struct buffer text = {};

                assert_int_equal(json_merge_diff(json_root(before), json_root(after), &text), 0);
                if (!str_equal(buffer_str(&text), str_from(cases[i].patch)))
                        fail_msg("%s to %s gives %.*s", cases[i].before, cases[i].after,
                                 STR_FORMAT(buffer_str(&text)));
                patch = parse(buffer_str(&text));
                assert_int_equal(json_merge_patch(before, json_root(patch), NULL, &result), 0);
                assert_true(json_equal(json_root(result), json_root(after)));
        }
}

/* ---- strategic merge ---- */

struct place {
        const char *key; /* NULL ends a list */
        const char *merge_key;
        bool set;
        const struct place *inner;
};

static const struct place ports[] = { { "protocol", NULL, false, NULL }, {} };
static const struct place container[] = {
        { "ports", "containerPort", false, ports },
        { "env", "name", false, ports },
        { "args", NULL, false, ports },
        {},
};
static const struct place spec[] = {
        { "containers", "name", false, container },
        { "strategy", NULL, false, ports },
        {},
};
static const struct place metadata[] = { { "finalizers", NULL, true, ports }, {} };
static const struct place root[] = {
        { "metadata", NULL, false, metadata },
        { "spec", NULL, false, spec },
        {},
};

static struct json_strategy test_strategy(const void *schema, struct str key)
{
        if (key.length == 0)
                return (struct json_strategy){ .schema = schema };
        for (const struct place *place = schema; place->key; place++)
                if (str_equal(key, str_from(place->key)))
                        return (struct json_strategy){ .merge_key = place->merge_key,
                                                       .merge_set = place->set,
                                                       .schema = place->inner };
        return (struct json_strategy){};
}

static int strategic(const struct json_doc *doc, struct json_value patch, struct error *error,
                     struct json_doc **ret_doc)
{
        return json_strategic_patch(doc, patch, test_strategy, root, error, ret_doc);
}

static void strategic_patches(void **state)
{
#define SPEC(containers)  "{\"spec\":{\"containers\":[" containers "]}}"
#define ITEM(name, image) "{\"name\":\"" name "\",\"image\":\"" image "\"}"
        static const struct patch_case cases[] = {
                /* as a merge patch where nothing is known */
                { "{\"a\":1,\"l\":[1,2]}", "{\"b\":{\"c\":null},\"a\":null,\"l\":[3]}",
                  "{\"l\":[3],\"b\":{}}", 0 },
                /* merged by key, in place */
                { SPEC(ITEM("a", "1") "," ITEM("b", "1")), SPEC(ITEM("b", "2")),
                  SPEC(ITEM("a", "1") "," ITEM("b", "2")), 0 },
                { SPEC(ITEM("a", "1")),
                  SPEC("{\"name\":\"a\",\"env\":[{\"name\":\"x\","
                       "\"value\":\"1\"}],\"image\":null}"),
                  SPEC("{\"name\":\"a\",\"env\":[{\"name\":\"x\",\"value\":\"1\"}]}"), 0 },
                /* what is new comes first */
                { SPEC(ITEM("a", "1")), SPEC(ITEM("b", "2")),
                  SPEC(ITEM("b", "2") "," ITEM("a", "1")), 0 },
                /* numbers as merge keys */
                { SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":80},{\"containerPort\":81}]"
                       "}"),
                  SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":81,\"protocol\":\"UDP\"}]}"),
                  SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":80},"
                       "{\"containerPort\":81,\"protocol\":\"UDP\"}]}"),
                  0 },
                /* lists without a key are replaced */
                { SPEC("{\"name\":\"a\",\"args\":[\"x\",\"y\"]}"),
                  SPEC("{\"name\":\"a\",\"args\":[\"z\"]}"),
                  SPEC("{\"name\":\"a\",\"args\":[\"z\"]}"), 0 },
                /* directives */
                { SPEC(ITEM("a", "1") "," ITEM("b", "1")),
                  SPEC("{\"name\":\"a\",\"$patch\":\"delete\"}"), SPEC(ITEM("b", "1")), 0 },
                { SPEC(ITEM("a", "1")), SPEC("{\"name\":\"z\",\"$patch\":\"delete\"}"),
                  SPEC(ITEM("a", "1")), 0 },
                { SPEC(ITEM("a", "1") "," ITEM("b", "1")),
                  SPEC("{\"$patch\":\"replace\"}," ITEM("c", "1")), SPEC(ITEM("c", "1")), 0 },
                { SPEC(ITEM("a", "1")), SPEC("{\"name\":\"a\",\"$patch\":\"replace\",\"x\":1}"),
                  SPEC(""), 0 },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\",\"rolling\":{\"x\":1}}}}",
                  "{\"spec\":{\"strategy\":{\"$patch\":\"replace\",\"type\":\"B\"}}}",
                  "{\"spec\":{\"strategy\":{\"type\":\"B\"}}}", 0 },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\",\"x\":1}}}",
                  "{\"spec\":{\"strategy\":{\"$patch\":\"delete\"}}}",
                  "{\"spec\":{\"strategy\":{}}}", 0 },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\",\"x\":1}}}",
                  "{\"spec\":{\"strategy\":{\"$patch\":\"merge\",\"type\":\"B\"}}}",
                  "{\"spec\":{\"strategy\":{\"type\":\"B\",\"x\":1}}}", 0 },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\",\"rolling\":{\"x\":1}}}}",
                  "{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"B\"}}}",
                  "{\"spec\":{\"strategy\":{\"type\":\"B\"}}}", 0 },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\"}}}",
                  "{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"x\":\"B\"}}}", NULL,
                  -EBADMSG },
                { "{\"spec\":{\"strategy\":{\"type\":\"A\"}}}",
                  "{\"spec\":{\"strategy\":{\"$patch\":\"frob\"}}}", NULL, -EBADMSG },
                { SPEC(ITEM("a", "1")), SPEC("{\"image\":\"x\"}"), NULL, -EBADMSG },
                { SPEC(ITEM("a", "1")), SPEC("{\"name\":\"a\",\"$patch\":\"frob\"}"), NULL,
                  -EBADMSG },
                { SPEC(ITEM("a", "1")), "[]", NULL, -EBADMSG },
                /* where nothing was, directives and nulls vanish */
                { "{}", SPEC("{\"name\":\"a\",\"x\":null},{\"name\":\"b\",\"$patch\":\"delete\"}"),
                  SPEC("{\"name\":\"a\"}"), 0 },
                { "{}",
                  "{\"metadata\":{\"$setElementOrder/finalizers\":[\"a\"],"
                  "\"finalizers\":[\"a\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"a\"]}}", 0 },
                /* order */
                { SPEC(ITEM("a", "1") "," ITEM("b", "1") "," ITEM("c", "1")),
                  "{\"spec\":{\"$setElementOrder/"
                  "containers\":[{\"name\":\"c\"},{\"name\":\"a\"}]}}",
                  SPEC(ITEM("b", "1") "," ITEM("c", "1") "," ITEM("a", "1")), 0 },
                { SPEC(ITEM("a", "1") "," ITEM("b", "1")),
                  "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"n\"},"
                  "{\"name\":\"b\"}],\"containers\":[" ITEM("n", "2") "]}}",
                  SPEC(ITEM("a", "1") "," ITEM("n", "2") "," ITEM("b", "1")), 0 },
                /* sets of scalars */
                { "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"c\",\"a\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"c\",\"a\",\"b\"]}}", 0 },
                { "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"a\"]}}",
                  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"b\"]}}", 0 },
                { "{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
                  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],"
                  "\"$setElementOrder/finalizers\":[\"c\",\"b\"],\"finalizers\":[\"c\"]}}",
                  "{\"metadata\":{\"finalizers\":[\"c\",\"b\"]}}", 0 },
                { "{\"metadata\":{\"finalizers\":[\"a\"]}}", "{\"metadata\":{\"finalizers\":null}}",
                  "{\"metadata\":{}}", 0 },
                { "{\"metadata\":{\"finalizers\":[\"a\"]}}", "{\"metadata\":null}", "{}", 0 },
        };
#undef SPEC
#undef ITEM

        (void)state;
        run_cases(cases, ARRAY_SIZE(cases), strategic);
}

static void long_lists_are_merged_in_time(void **state)
{
        _cleanup_buffer_ struct buffer before = {}, change = {};
        _cleanup_doc_ struct json_doc *after = NULL;

        (void)state;
        buffer_append_str(&before, STR("{\"spec\":{\"containers\":["));
        buffer_append_str(&change, STR("{\"spec\":{\"containers\":["));
        for (int i = 0; i < 50000; i++) {
                buffer_printf(&before, "%s{\"name\":\"%d\"}", i ? "," : "", i);
                buffer_printf(&change, "%s{\"name\":\"%d\",\"$patch\":\"delete\"}", i ? "," : "",
                              49999 - i);
        }
        buffer_append_str(&before, STR("]}}"));
        buffer_append_str(&change, STR(",{\"name\":\"x\"}]}}"));
        _cleanup_doc_ struct json_doc *doc = parse(buffer_str(&before));
        _cleanup_doc_ struct json_doc *patch = parse(buffer_str(&change));
        assert_int_equal(strategic(doc, json_root(patch), NULL, &after), 0);
        assert_true(str_equal(json_doc_text(after),
                              STR("{\"spec\":{\"containers\":[{\"name\":\"x\"}]}}")));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(merge_patches),
                cmocka_unit_test(json_patches),
                cmocka_unit_test(hostile_json_patches_end_early),
                cmocka_unit_test(diffs_are_smallest_and_lead_there),
                cmocka_unit_test(strategic_patches),
                cmocka_unit_test(long_lists_are_merged_in_time),
        };

        return run_unit_tests("patch", tests);
}
