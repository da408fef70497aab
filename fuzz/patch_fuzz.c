// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/limit.h"
#include "json/edit.h"
#include "json/patch.h"

/*
 * A byte for the kind of patch, a document, a NUL, a patch. Whatever a patch does, its result is a
 * document in normal form; and the difference of two documents leads from one to the other.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

/* Every list of objects is merged by "name", every other as a set. */
static struct json_strategy by_name(const void *schema, struct str key)
{
        return (struct json_strategy){
                .merge_key = key.length % 2 ? "name" : NULL,
                .merge_set = key.length % 2 == 0,
                .schema = schema,
        };
}

static bool has_null(struct json_value value)
{
        if (json_type(value) == JSON_NULL)
                return true;
        json_for_each (it, value)
                if (has_null(it.value))
                        return true;
        return false;
}

static void check_diff(struct json_doc *doc, const struct json_doc *after)
{
        _cleanup_doc_ struct json_doc *patch = NULL, *result = NULL;
        _cleanup_buffer_ struct buffer diff = {};

        if (json_type(json_root(after)) != JSON_OBJECT || has_null(json_root(after)))
                return;
        check(json_merge_diff(json_root(doc), json_root(after), &diff) == 0);
        check(json_doc_parse(buffer_str(&diff), NULL, NULL, NULL, &patch) == 0);
        check(json_merge_patch(doc, json_root(patch), NULL, &result) == 0);
        check(json_equal(json_root(result), json_root(after)));
}

static int apply_edit(struct json_doc *doc, struct json_value patch, struct json_doc **ret_doc)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;

        json_edit_init(&edit, doc, &arena);
        json_for_each (it, patch) {
                struct str pointer = arena_str(&arena, it.key);
                if (json_type(it.value) == JSON_NULL)
                        json_edit_remove(&edit, pointer.data);
                else
                        json_edit_set_value(&edit, pointer.data, it.value);
        }
        return json_edit_apply(&edit, ret_doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_doc_ struct json_doc *doc = NULL, *patch = NULL, *after = NULL, *again = NULL;
        struct str before_text, patch_text;
        static const int schema;
        int r;

        if (size == 0)
                return 0;
        struct str text = { (const char *)data + 1, size - 1 };
        if (!str_cut(text, '\0', &before_text, &patch_text) ||
            json_doc_parse(before_text, NULL, NULL, NULL, &doc) < 0 ||
            json_doc_parse(patch_text, NULL, NULL, NULL, &patch) < 0)
                return 0;
        switch (data[0] % 4) {
        case 0:
                r = json_merge_patch(doc, json_root(patch), NULL, &after);
                check(r == 0);
                check_diff(doc, patch);
                break;
        case 1:
                r = json_patch(doc, json_root(patch), NULL, &after);
                break;
        case 2:
                r = json_strategic_patch(doc, json_root(patch), by_name, &schema, NULL, &after);
                break;
        default:
                r = apply_edit(doc, json_root(patch), &after);
        }
        check(r <= 0 && (r == 0) == (after != NULL));
        if (r < 0)
                return 0;
        check(json_doc_parse(json_doc_text(after), NULL, NULL, NULL, &again) == 0);
        check(str_equal(json_doc_text(after), json_doc_text(again)));
        check((after == doc) == str_equal(json_doc_text(after), json_doc_text(doc)));
        return 0;
}
