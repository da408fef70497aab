// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failing_allocation.h"
#include "base/test.h"
#include "json/edit.h"
#include "json/patch.h"
#include "json/writer.h"
#include "json/yaml.h"

/*
 * The N-th allocation fails, for every N until all goes well: nothing crashes or leaks (a
 * sanitizer would tell), and the result is then -ENOMEM or right.
 */

static struct str wide; /* an object of enough members to be hashed */

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(text, NULL, NULL, NULL, &doc), 0);
        return doc;
}

static int try_parse(struct json_doc **ret_doc)
{
        return json_doc_parse(STR("{\"a\":1,\"b\":[\"\\n\",1e18,1e18,1e18],\"a\":\"x\"}"), NULL,
                              NULL, NULL, ret_doc);
}

static int try_parse_wide(struct json_doc **ret_doc)
{
        return json_doc_parse(wide, NULL, NULL, NULL, ret_doc);
}

static int try_edit(struct json_doc **ret_doc)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        struct json_doc *doc;
        int r = json_doc_parse(STR("{\"a\":{\"b\":1}}"), NULL, NULL, NULL, &doc);

        if (r < 0)
                return r;
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/a/b", STR("x"));
        json_edit_set_raw(&edit, "/a/c", STR("{\"d\":1}"));
        json_edit_set_int(&edit, "/a/c/e~1", 5);
        json_edit_remove(&edit, "/a/c/d");
        r = json_edit_apply(&edit, ret_doc);
        json_doc_unref(doc);
        return r;
}

static int try_patch(struct str patch_text, int kind, struct json_doc **ret_doc)
{
        _cleanup_doc_ struct json_doc *doc = NULL, *patch = NULL;
        struct error error = {};
        int r = json_doc_parse(wide, NULL, NULL, NULL, &doc);

        if (r == 0)
                r = json_doc_parse(patch_text, NULL, NULL, NULL, &patch);
        if (r < 0)
                return r;
        if (kind == 0)
                return json_merge_patch(doc, json_root(patch), &error, ret_doc);
        if (kind == 1)
                return json_patch(doc, json_root(patch), &error, ret_doc);
        return json_strategic_patch(doc, json_root(patch), NULL, NULL, &error, ret_doc);
}

static int try_merge_patch(struct json_doc **ret_doc)
{
        return try_patch(STR("{\"k1\":null,\"n\":{\"m\":1}}"), 0, ret_doc);
}

static int try_json_patch(struct json_doc **ret_doc)
{
        return try_patch(STR("[{\"op\":\"add\",\"path\":\"/n~1\",\"value\":{\"a\":1}},"
                             "{\"op\":\"copy\",\"from\":\"/n~1\",\"path\":\"/m\"},"
                             "{\"op\":\"add\",\"path\":\"/m/b\",\"value\":2},"
                             "{\"op\":\"test\",\"path\":\"/m\",\"value\":{\"b\":2,\"a\":1}}]"),
                         1, ret_doc);
}

static int try_strategic_patch(struct json_doc **ret_doc)
{
        return try_patch(STR("{\"k1\":null,\"l\":[1],\"$setElementOrder/list\":[1]}"), 2, ret_doc);
}

static int try_yaml(struct json_doc **ret_doc)
{
        size_t offset = 0;
        int r = yaml_next(STR("a: &x [1, y]\nb: *x\n"), &offset, NULL, ret_doc);

        return r > 0 ? 0 : r;
}

static int try_write(struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {}, yaml = {};
        struct json_writer writer;
        struct json_doc *doc;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        for (int i = 0; i < 40; i++) {
                char key[16];
                snprintf(key, sizeof(key), "key%d", i);
                json_field_string(&writer, key, STR("value\x01"));
        }
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r == 0)
                r = json_doc_from_buffer(&text, &doc);
        if (r < 0)
                return r;
        r = yaml_write(json_root(doc), &yaml);
        if (r < 0)
                json_doc_unref(doc);
        else
                *ret_doc = doc;
        return r;
}

static void every_allocation_may_fail(void **state)
{
        static int (*const attempts[])(struct json_doc **) = {
                try_parse, try_parse_wide,      try_edit,  try_merge_patch, try_json_patch,
                try_yaml,  try_strategic_patch, try_write,
        };
        _cleanup_buffer_ struct buffer text = {};

        (void)state;
        buffer_append_str(&text, STR("{\"list\":[1,2]"));
        for (int i = 0; i < 40; i++)
                buffer_printf(&text, ",\"k%d\":%d", i, i);
        buffer_append_str(&text, STR(",\"k3\":\"\\t\"}"));
        wide = buffer_str(&text);

        for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
                _cleanup_doc_ struct json_doc *expected = NULL;
                assert_int_equal(attempts[i](&expected), 0);
                long failures = 0;
                for (long n = 0;; n++) {
                        _cleanup_doc_ struct json_doc *doc = NULL;
                        allocation_fail_after(n);
                        int r = attempts[i](&doc);
                        bool happened = allocation_failed();
                        if (r == 0)
                                assert_true(str_equal(json_doc_text(doc), json_doc_text(expected)));
                        else if (r != -ENOMEM || doc)
                                fail_msg("attempt %zu, allocation %ld gives %d", i, n, r);
                        failures += r < 0;
                        if (!happened)
                                break;
                }
                assert_true(failures >= 3);
        }
        _cleanup_doc_ struct json_doc *doc = parse(wide);
        assert_int_equal(json_int64_or(json_get(json_root(doc), "k4"), -1), 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_allocation_may_fail),
        };

        return run_unit_tests("json_oom", tests);
}
