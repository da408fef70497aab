// SPDX-License-Identifier: Apache-2.0
#include "json/edit.h"

#include <errno.h>

#include "base/limit.h"
#include "json/index.h"
#include "json/patch_internal.h"
#include "json/pointer.h"
#include "json/writer.h"

/* One call of json_edit_*; newest first. */
struct json_change {
        struct json_change *older;
        struct str pointer;
        struct str raw; /* no data: remove */
};

/* ---- collecting ---- */

void json_edit_init(struct json_edit *edit, const struct json_doc *doc, struct arena *arena)
{
        *edit = (struct json_edit){ .doc = doc, .arena = arena };
}

static void add_change(struct json_edit *edit, const char *pointer, struct str raw)
{
        if (edit->failure < 0)
                return;
        if (pointer[0] != '\0' && pointer[0] != '/') {
                edit->failure = -EINVAL;
                return;
        }
        struct json_change *change = arena_new(edit->arena, struct json_change, 1);
        struct str copy = arena_str(edit->arena, str_from(pointer));
        if (!change || !copy.data) {
                edit->failure = -ENOMEM;
                return;
        }
        *change = (struct json_change){ edit->changes, copy, raw };
        edit->changes = change;
        edit->count++;
}

void json_edit_set_raw(struct json_edit *edit, const char *pointer, struct str json)
{
        assert(json.length > 0);
        add_change(edit, pointer, json);
}

void json_edit_set_string(struct json_edit *edit, const char *pointer, struct str text)
{
        _cleanup_buffer_ struct buffer quoted = {};
        int r = json_append_string(&quoted, text);
        struct str copy = r < 0 ? STR_EMPTY : arena_str(edit->arena, buffer_str(&quoted));

        if (copy.data)
                add_change(edit, pointer, copy);
        else if (edit->failure == 0)
                edit->failure = -ENOMEM;
}

void json_edit_set_int(struct json_edit *edit, const char *pointer, int64_t number)
{
        struct str text = arena_printf(edit->arena, "%lld", (long long)number);

        if (text.data)
                add_change(edit, pointer, text);
        else if (edit->failure == 0)
                edit->failure = -ENOMEM;
}

void json_edit_set_bool(struct json_edit *edit, const char *pointer, bool value)
{
        add_change(edit, pointer, value ? STR("true") : STR("false"));
}

void json_edit_set_value(struct json_edit *edit, const char *pointer, struct json_value value)
{
        if (json_exists(value))
                add_change(edit, pointer, json_text(value));
        else
                json_edit_remove(edit, pointer);
}

void json_edit_remove(struct json_edit *edit, const char *pointer)
{
        add_change(edit, pointer, STR_EMPTY);
}

/* ---- the tree of changed places ---- */

enum overlay_action {
        OVERLAY_WALK, /* something beneath changes */
        OVERLAY_SET,
        OVERLAY_REMOVE,
};

struct overlay {
        struct overlay *next, *children, *last_child;
        struct str key;
        enum overlay_action action;
        struct str raw;         /* SET */
        bool has_base;          /* WALK: beneath what an earlier change set, not the document's */
        struct json_value base; /* then this */
        bool seen;              /* while writing: matched with a member */
};

struct edit_docs {
        struct json_doc *doc;
        struct edit_docs *next;
};

struct overlay_builder {
        struct arena *arena;
        struct edit_docs *docs; /* parsed values of earlier changes */
};

/* Before a change beneath `node`: what was set or removed there becomes its base. */
static int open_overlay(struct overlay_builder *builder, struct overlay *node)
{
        if (node->action == OVERLAY_SET) {
                struct edit_docs *entry = arena_new(builder->arena, struct edit_docs, 1);
                struct buffer raw = { (char *)(uintptr_t)node->raw.data, node->raw.length, 0 };
                if (!entry)
                        return -ENOMEM;
                int r = json_doc_from_buffer(&raw, &entry->doc);
                if (r < 0)
                        return r;
                entry->next = builder->docs;
                builder->docs = entry;
                node->base = json_root(entry->doc);
                node->has_base = true;
        } else if (node->action == OVERLAY_REMOVE) {
                node->base = (struct json_value){};
                node->has_base = true;
        }
        node->action = OVERLAY_WALK;
        return 0;
}

static struct overlay *overlay_child(struct overlay_builder *builder, struct overlay *node,
                                     struct str key)
{
        bool append = str_equal(key, STR("-"));

        for (struct overlay *child = node->children; child && !append; child = child->next)
                if (str_equal(child->key, key))
                        return child;
        struct overlay *child = arena_new(builder->arena, struct overlay, 1);
        if (!child)
                return NULL;
        child->key = key;
        if (node->last_child)
                node->last_child->next = child;
        else
                node->children = child;
        node->last_child = child;
        return child;
}

static int add_overlay(struct overlay_builder *builder, struct overlay *root,
                       const struct json_change *change)
{
        struct overlay *node = root;
        struct str rest = change->pointer, token;
        unsigned depth = 0;
        int r;

        while ((r = json_pointer_next(&rest, builder->arena, &token)) > 0) {
                if (++depth > LIMIT_DEPTH)
                        return -E2BIG;
                if (node->action == OVERLAY_REMOVE && !change->raw.data)
                        return 0;
                r = open_overlay(builder, node);
                if (r < 0)
                        return r;
                node = overlay_child(builder, node, token);
                if (!node)
                        return -ENOMEM;
        }
        if (r < 0)
                return r;
        node->action = change->raw.data ? OVERLAY_SET : OVERLAY_REMOVE;
        node->raw = change->raw;
        node->children = node->last_child = NULL;
        return 0;
}

/* Whether it makes something where nothing is. */
static bool overlay_sets(const struct overlay *node)
{
        if (node->action != OVERLAY_WALK)
                return node->action == OVERLAY_SET;
        if (node->has_base && json_exists(node->base))
                return true;
        for (const struct overlay *child = node->children; child; child = child->next)
                if (overlay_sets(child))
                        return true;
        return false;
}

/* ---- writing the new text ---- */

static int write_overlay(const struct overlay *node, struct json_value base, struct buffer *out);

static int begin_item(struct buffer *out, bool *first)
{
        if (*first) {
                *first = false;
                return 0;
        }
        return buffer_append_char(out, ',');
}

/* Whether what was there is to be left out. */
static bool overlay_removes(const struct overlay *node)
{
        return node->action == OVERLAY_REMOVE || (node->has_base && !overlay_sets(node));
}

static struct overlay *find_child(const struct overlay *node, struct str key)
{
        for (struct overlay *child = node->children; child; child = child->next)
                if (str_equal(child->key, key))
                        return child;
        return NULL;
}

static int write_object(const struct overlay *node, struct json_value base, struct buffer *out)
{
        bool first = true;
        int r = buffer_append_char(out, '{');

        for (struct overlay *child = node->children; child; child = child->next)
                child->seen = false;
        json_for_each (it, base) {
                struct overlay *child = find_child(node, it.key);
                if (child)
                        child->seen = true;
                if (r < 0 || (child && overlay_removes(child)))
                        continue;
                r = patch_begin_member(out, &first, it.key);
                if (r < 0)
                        return r;
                r = child ? write_overlay(child, it.value, out)
                          : buffer_append_str(out, json_text(it.value));
        }
        for (struct overlay *child = node->children; child && r == 0; child = child->next) {
                if (child->seen || !overlay_sets(child))
                        continue;
                r = patch_begin_member(out, &first, child->key);
                if (r == 0)
                        r = write_overlay(child, (struct json_value){}, out);
        }
        return r < 0 ? r : buffer_append_char(out, '}');
}

static int write_array(const struct overlay *node, struct json_value base, struct buffer *out)
{
        size_t index, count = json_count(base), at = 0;
        bool first = true;
        int r = buffer_append_char(out, '[');

        json_for_each (it, base) {
                const struct overlay *child = node->children;
                while (child && (!json_pointer_index(child->key, &index) || index != at))
                        child = child->next;
                at++;
                if (r < 0 || (child && overlay_removes(child)))
                        continue;
                r = begin_item(out, &first);
                if (r < 0)
                        return r;
                r = child ? write_overlay(child, it.value, out)
                          : buffer_append_str(out, json_text(it.value));
        }
        for (const struct overlay *child = node->children; child && r == 0; child = child->next) {
                if (!overlay_sets(child) ||
                    (json_pointer_index(child->key, &index) && index < count))
                        continue;
                if (!str_equal(child->key, STR("-")))
                        return -EINVAL;
                r = begin_item(out, &first);
                if (r == 0)
                        r = write_overlay(child, (struct json_value){}, out);
        }
        return r < 0 ? r : buffer_append_char(out, ']');
}

static int write_overlay(const struct overlay *node, struct json_value base, struct buffer *out)
{
        if (node->action == OVERLAY_SET)
                return buffer_append_str(out, node->raw);
        if (node->has_base)
                base = node->base;
        switch (json_type(base)) {
        case JSON_OBJECT:
                return write_object(node, base, out);
        case JSON_ARRAY:
                return write_array(node, base, out);
        case JSON_ABSENT:
        case JSON_NULL:
                if (json_exists(base) && !overlay_sets(node))
                        break;
                if (node->children && str_equal(node->children->key, STR("-")))
                        return write_array(node, base, out);
                return write_object(node, base, out);
        default:
                for (struct overlay *child = node->children; child; child = child->next)
                        if (overlay_sets(child))
                                return -EINVAL;
        }
        return buffer_append_str(out, json_text(base));
}

static int apply_changes(struct json_edit *edit, struct overlay_builder *builder,
                         struct json_doc **ret_doc)
{
        struct json_change *ordered = NULL, *next;
        _cleanup_buffer_ struct buffer text = {};
        struct overlay root = {};
        int r = 0;

        for (struct json_change *change = edit->changes; change; change = next) {
                next = change->older;
                change->older = ordered;
                ordered = change;
        }
        edit->changes = NULL;
        edit->count = 0;
        for (struct json_change *change = ordered; change && r == 0; change = change->older)
                r = add_overlay(builder, &root, change);
        if (r == 0 && root.action == OVERLAY_REMOVE)
                r = -EINVAL;
        if (r == 0)
                r = buffer_reserve(&text, json_doc_text(edit->doc).length + 256);
        if (r == 0)
                r = write_overlay(&root, json_root(edit->doc), &text);
        if (r < 0)
                return r;
        if (str_equal(buffer_str(&text), json_doc_text(edit->doc))) {
                *ret_doc = json_doc_ref((struct json_doc *)(uintptr_t)edit->doc);
                return 0;
        }
        return json_doc_from_buffer(&text, ret_doc);
}

int json_edit_apply(struct json_edit *edit, struct json_doc **ret_doc)
{
        struct overlay_builder builder = { .arena = edit->arena };

        if (edit->failure < 0)
                return edit->failure;
        if (edit->count == 0) {
                *ret_doc = json_doc_ref((struct json_doc *)(uintptr_t)edit->doc);
                return 0;
        }
        int r = apply_changes(edit, &builder, ret_doc);
        for (struct edit_docs *entry = builder.docs; entry; entry = entry->next)
                json_doc_unref(entry->doc);
        return r;
}
