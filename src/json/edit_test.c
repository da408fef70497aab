// SPDX-License-Identifier: Apache-2.0
#include "json/edit.h"

#include <errno.h>

#include "base/test.h"

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(text, NULL, NULL, NULL, &doc), 0);
        return doc;
}

struct step {
        const char *pointer;
        const char *raw; /* NULL: remove */
};

static void steps_give_the_new_text(void **state)
{
        static const struct {
                const char *before;
                struct step steps[4];
                const char *after; /* NULL: -EINVAL */
        } cases[] = {
                { "{\"a\":1,\"b\":2}", { { "/a", "3" } }, "{\"a\":3,\"b\":2}" },
                { "{\"a\":1,\"b\":2}", { { "/a", NULL } }, "{\"b\":2}" },
                { "{\"a\":1}", { { "/c/d/e", "true" } }, "{\"a\":1,\"c\":{\"d\":{\"e\":true}}}" },
                { "{\"a\":null}", { { "/a/b", "1" } }, "{\"a\":{\"b\":1}}" },
                { "{\"a\":null}", { { "/a/b", NULL } }, "{\"a\":null}" },
                { "{\"a\":1}", { { "/b/c", NULL }, { "/a/x", NULL } }, "{\"a\":1}" },
                { "{\"a\":1}", { { "/a/x", "1" } }, NULL },
                { "{\"a\":\"s\"}", { { "/a/x/y", "1" } }, NULL },
                { "{}", { { "/a~1b~0c", "1" } }, "{\"a/b~c\":1}" },
                { "{\"a/b~c\":1,\"d\":2}", { { "/a~1b~0c", NULL } }, "{\"d\":2}" },
                { "{}", { { "/a~2", "1" } }, NULL },
                { "{}", { { "a", "1" } }, NULL },
                { "{\"\":1}", { { "/", "2" } }, "{\"\":2}" },
                { "{\"a\":1}", { { "", "[]" } }, "[]" },
                { "{\"a\":1}", { { "", NULL } }, NULL },
                { "[1,2,3]", { { "/1", "9" } }, "[1,9,3]" },
                { "[1,2,3]", { { "/0", NULL }, { "/2", NULL } }, "[2]" },
                { "[1,2,3]", { { "/-", "4" }, { "/-", "5" } }, "[1,2,3,4,5]" },
                { "[1]", { { "/1", "4" } }, NULL },
                { "[1]", { { "/5", NULL } }, "[1]" },
                { "[1]", { { "/x", "1" } }, NULL },
                { "[1]", { { "/01", "1" } }, NULL },
                { "[{\"a\":1}]", { { "/0/b", "2" } }, "[{\"a\":1,\"b\":2}]" },
                { "{\"l\":[{}]}", { { "/l/-/b", "2" } }, "{\"l\":[{},{\"b\":2}]}" },
                { "{}", { { "/finalizers/-", "\"x\"" } }, "{\"finalizers\":[\"x\"]}" },
                { "{\"-\":1}", { { "/-", "2" } }, "{\"-\":2}" },
                { "{\"a\":1}", { { "/a", "2" }, { "/a", "3" } }, "{\"a\":3}" },
                { "{\"a\":1}", { { "/a", NULL }, { "/a", "3" } }, "{\"a\":3}" },
                { "{\"a\":1}", { { "/a", "3" }, { "/a", NULL } }, "{}" },
                { "{\"a\":1}",
                  { { "/b", "{\"c\":1}" }, { "/b/d", "2" } },
                  "{\"a\":1,\"b\":{\"c\":1,\"d\":2}}" },
                { "{\"a\":1}", { { "/b", "{\"c\":1}" }, { "/b/c", NULL } }, "{\"a\":1,\"b\":{}}" },
                { "{\"a\":{\"x\":1}}", { { "/a", NULL }, { "/a/y", "2" } }, "{\"a\":{\"y\":2}}" },
                { "{\"a\":{\"x\":1}}", { { "/a", NULL }, { "/a/y", NULL } }, "{}" },
                { "{\"a\":{\"x\":1}}", { { "/a/x", "2" }, { "/a", "7" } }, "{\"a\":7}" },
                { "{\"a\":{\"x\":1}}", { { "/a/x", "2" }, { "/a", NULL } }, "{}" },
                { "{\"a\":{\"x\":1}}",
                  { { "/a/x", "2" }, { "/a", "{\"z\":0}" }, { "/a/y", "1" } },
                  "{\"a\":{\"z\":0,\"y\":1}}" },
                { "{\"a\":1}", { { "/a", "[1" }, { "/a/0", "1" } }, NULL },
                { "[{\"x\":1},2]", { { "/0", NULL }, { "/0/y", NULL } }, "[2]" },
                { "{\"a\":{\"b\":1,\"c\":2},\"d\":3}",
                  { { "/a/b", NULL }, { "/e", "4" } },
                  "{\"a\":{\"c\":2},\"d\":3,\"e\":4}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                _cleanup_doc_ struct json_doc *doc = parse(str_from(cases[i].before));
                _cleanup_doc_ struct json_doc *after = NULL;
                struct json_edit edit;

                json_edit_init(&edit, doc, &arena);
                for (const struct step *step = cases[i].steps; step->pointer; step++) {
                        if (step->raw)
                                json_edit_set_raw(&edit, step->pointer, str_from(step->raw));
                        else
                                json_edit_remove(&edit, step->pointer);
                }
                int r = json_edit_apply(&edit, &after);
                if (!cases[i].after) {
                        if (r != -EINVAL && r != -EBADMSG)
                                fail_msg("case %zu gives %d", i, r);
                        continue;
                }
                if (r < 0 || !str_equal(json_doc_text(after), str_from(cases[i].after)))
                        fail_msg("case %zu gives %d, %.*s", i, r,
                                 STR_FORMAT(r < 0 ? STR_EMPTY : json_doc_text(after)));
        }
}

static void values_of_every_type_are_set(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_doc_ struct json_doc *doc = parse(STR("{\"from\":{\"x\":[1]}}"));
        _cleanup_doc_ struct json_doc *after = NULL;
        struct json_edit edit;

        (void)state;
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/s", STR("a\"b\n"));
        json_edit_set_int(&edit, "/i", -5);
        json_edit_set_bool(&edit, "/t", true);
        json_edit_set_value(&edit, "/v", json_get(json_root(doc), "from", "x"));
        json_edit_set_value(&edit, "/from", (struct json_value){});
        assert_int_equal(json_edit_apply(&edit, &after), 0);
        assert_true(str_equal(json_doc_text(after),
                              STR("{\"s\":\"a\\\"b\\n\",\"i\":-5,\"t\":true,\"v\":[1]}")));
}

static void no_change_is_the_same_document(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_doc_ struct json_doc *doc = parse(STR("{\"a\":{\"b\":\"x\"},\"c\":[1]}"));
        struct json_doc *after = NULL;
        struct json_edit edit;

        (void)state;
        json_edit_init(&edit, doc, &arena);
        assert_int_equal(json_edit_apply(&edit, &after), 0);
        assert_ptr_equal(after, doc);
        json_doc_unref(after);

        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/a/b", STR("x"));
        json_edit_remove(&edit, "/d/e");
        json_edit_set_raw(&edit, "/c", STR("[1]"));
        assert_int_equal(json_edit_apply(&edit, &after), 0);
        assert_ptr_equal(after, doc);
        json_doc_unref(after);
}

static void pointers_are_read_and_escaped(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        /* RFC 6901, section 5 */
        _cleanup_doc_ struct json_doc *doc =
                parse(STR("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"m~n\":8}"));
        static const struct {
                const char *pointer, *text;
        } cases[] = {
                { "/foo", "[\"bar\",\"baz\"]" },
                { "/foo/0", "\"bar\"" },
                { "/", "0" },
                { "/a~1b", "1" },
                { "/c%d", "2" },
                { "/m~0n", "8" },
                { "/foo/2", "" },
                { "/foo/-", "" },
                { "/foo/00", "" },
                { "/foo/0/x", "" },
                { "/m~n", "" },
                { "foo", "" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (!str_equal(
                            json_text(json_pointer_get(json_root(doc), str_from(cases[i].pointer))),
                            str_from(cases[i].text)))
                        fail_msg("%s", cases[i].pointer);
        assert_true(str_equal(json_text(json_pointer_get(json_root(doc), STR(""))),
                              json_doc_text(doc)));
        assert_string_equal(json_pointer_escape(&arena, STR("a/b~c")), "a~1b~0c");
        assert_string_equal(json_pointer_escape(&arena, STR("")), "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(steps_give_the_new_text),
                cmocka_unit_test(values_of_every_type_are_set),
                cmocka_unit_test(no_change_is_the_same_document),
                cmocka_unit_test(pointers_are_read_and_escaped),
        };

        return run_unit_tests("edit", tests);
}
