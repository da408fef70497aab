// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/limit.h"
#include "json/index.h"
#include "json/patch.h"
#include "json/patch_internal.h"

int patch_finish(const struct json_doc *before, const struct buffer *text, struct error *error,
                 struct json_doc **ret_doc)
{
        if (str_equal(buffer_str(text), json_doc_text(before))) {
                *ret_doc = json_doc_ref((struct json_doc *)(uintptr_t)before);
                return 0;
        }
        int r = json_doc_parse(buffer_str(text), NULL, NULL, error, ret_doc);
        assert(r != -EBADMSG);
        return r;
}

int patch_begin_member(struct buffer *out, bool *first, struct str key)
{
        int r = *first ? 0 : buffer_append_char(out, ',');

        *first = false;
        if (r == 0)
                r = json_append_string(out, key);
        return r < 0 ? r : buffer_append_char(out, ':');
}

static int merge(struct json_value base, struct json_value patch, struct buffer *out);

static int merge_objects(struct json_value base, struct json_value patch, struct buffer *out)
{
        _cleanup_members_ struct json_members changes = {}, present = {};
        bool first = true;
        int r = buffer_append_char(out, '{');

        json_members_init(&changes, patch);
        json_members_init(&present, base);
        json_for_each (it, base) {
                struct json_value change = json_members_find(&changes, it.key);
                if (json_type(change) == JSON_NULL)
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r < 0)
                        return r;
                r = json_exists(change) ? merge(it.value, change, out)
                                        : buffer_append_str(out, json_text(it.value));
        }
        json_for_each (it, patch) {
                if (json_type(it.value) == JSON_NULL ||
                    json_exists(json_members_find(&present, it.key)))
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r < 0)
                        return r;
                r = merge((struct json_value){}, it.value, out);
        }
        return r < 0 ? r : buffer_append_char(out, '}');
}

static int merge(struct json_value base, struct json_value patch, struct buffer *out)
{
        if (json_type(patch) != JSON_OBJECT)
                return buffer_append_str(out, json_text(patch));
        return merge_objects(json_type(base) == JSON_OBJECT ? base : (struct json_value){}, patch,
                             out);
}

int json_merge_patch(const struct json_doc *doc, struct json_value patch, struct error *error,
                     struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};

        if (!json_exists(patch))
                return error_set(error, -EBADMSG, "the patch is empty");
        int r = buffer_reserve(&text, json_doc_text(doc).length + json_text(patch).length);
        if (r == 0)
                r = merge(json_root(doc), patch, &text);
        if (r < 0)
                return error_set(error, r, "out of memory");
        return patch_finish(doc, &text, error, ret_doc);
}

int json_merge_diff(struct json_value before, struct json_value after, struct buffer *out)
{
        if (json_type(after) != JSON_OBJECT || json_type(before) != JSON_OBJECT)
                return buffer_append_str(out, json_text(after));

        _cleanup_members_ struct json_members old = {}, new = {};
        bool first = true;
        int r = buffer_append_char(out, '{');
        json_members_init(&old, before);
        json_members_init(&new, after);
        json_for_each (it, before) {
                struct json_value value = json_members_find(&new, it.key);
                if (json_equal(it.value, value))
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r < 0)
                        return r;
                r = json_exists(value) ? json_merge_diff(it.value, value, out)
                                       : buffer_append_str(out, STR("null"));
        }
        json_for_each (it, after) {
                if (json_exists(json_members_find(&old, it.key)))
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r < 0)
                        return r;
                r = buffer_append_str(out, json_text(it.value));
        }
        return r < 0 ? r : buffer_append_char(out, '}');
}
