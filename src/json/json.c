// SPDX-License-Identifier: Apache-2.0
#include "json/json.h"

#include <errno.h>
#include <stdlib.h>

#include "json/index.h"

static const struct json_value absent;

struct json_doc *json_doc_ref(struct json_doc *doc)
{
        unsigned before = atomic_fetch_add_explicit(&doc->references, 1, memory_order_relaxed);

        assert(before > 0);
        return doc;
}

void json_doc_unref(struct json_doc *doc)
{
        unsigned before = atomic_fetch_sub_explicit(&doc->references, 1, memory_order_acq_rel);

        assert(before > 0);
        if (before == 1)
                free(doc);
}

struct str json_doc_text(const struct json_doc *doc)
{
        return (struct str){ doc_view(doc).text, doc->text_length };
}

size_t json_doc_size(const struct json_doc *doc)
{
        return sizeof(*doc) + doc->slot_count * sizeof(doc->slots[0]) + doc->decoded_length +
               doc->text_length + 1;
}

struct json_value json_root(const struct json_doc *doc)
{
        return (struct json_value){ doc, 0 };
}

static enum json_kind value_kind(struct json_value value)
{
        return slot_kind(value.doc->slots[value.node]);
}

enum json_type json_type(struct json_value value)
{
        static const enum json_type types[] = {
                [KIND_NULL] = JSON_NULL,     [KIND_FALSE] = JSON_BOOL,
                [KIND_TRUE] = JSON_BOOL,     [KIND_NUMBER] = JSON_NUMBER,
                [KIND_STRING] = JSON_STRING, [KIND_ESCAPED] = JSON_STRING,
                [KIND_ARRAY] = JSON_ARRAY,   [KIND_OBJECT] = JSON_OBJECT,
        };

        return json_exists(value) ? types[value_kind(value)] : JSON_ABSENT;
}

struct str view_text(const struct json_view *view, uint32_t at)
{
        struct json_slot slot = view->slots[at];
        const char *start = view->text + slot.offset;

        switch (slot_kind(slot)) {
        case KIND_STRING:
        case KIND_ESCAPED:
                return (struct str){ start - 1, slot_size(slot) + 2 };
        case KIND_ARRAY:
        case KIND_OBJECT:
                return (struct str){ start, view->slots[at + 1].offset - slot.offset };
        default:
                return (struct str){ start, slot_size(slot) };
        }
}

struct str json_text(struct json_value value)
{
        if (!json_exists(value))
                return STR_EMPTY;
        struct json_view view = doc_view(value.doc);
        return view_text(&view, value.node);
}

/* ---- looking up ---- */

struct json_value json_member(struct json_value value, struct str key)
{
        if (!json_exists(value) || value_kind(value) != KIND_OBJECT)
                return absent;

        struct json_view view = doc_view(value.doc);
        uint32_t at = value.node + 2, end = value.node + slot_size(view.slots[value.node]);
        while (at < end) {
                struct str name = view_string(&view, at);
                at += slot_span(&view.slots[at]);
                if (str_equal(name, key))
                        return (struct json_value){ value.doc, at };
                at += slot_span(&view.slots[at]);
        }
        return absent;
}

struct json_value json_element(struct json_value value, size_t index)
{
        if (!json_exists(value) || value_kind(value) != KIND_ARRAY || index >= json_count(value))
                return absent;

        const struct json_slot *slots = value.doc->slots;
        uint32_t at = value.node + 2;
        while (index-- > 0)
                at += slot_span(&slots[at]);
        return (struct json_value){ value.doc, at };
}

struct json_value json_get_path(struct json_value value, const char *const *path)
{
        for (; *path && json_exists(value); path++)
                value = json_member(value, str_from(*path));
        return value;
}

size_t json_count(struct json_value value)
{
        if (!json_exists(value) || value_kind(value) < KIND_ARRAY)
                return 0;
        return value.doc->slots[value.node + 1].tag;
}

struct json_iterator json_iterate(struct json_value container)
{
        if (!json_exists(container) || value_kind(container) < KIND_ARRAY)
                return (struct json_iterator){};

        /* A key that is not NULL tells json_next() that there are keys. */
        return (struct json_iterator){
                .key = { value_kind(container) == KIND_OBJECT ? "" : NULL, 0 },
                .value = { container.doc, container.node },
                .next = container.node + 2,
                .end = container.node + slot_size(container.doc->slots[container.node]),
        };
}

bool json_next(struct json_iterator *iterator)
{
        if (iterator->next >= iterator->end)
                return false;

        struct json_view view = doc_view(iterator->value.doc);
        uint32_t at = iterator->next;
        if (iterator->key.data) {
                iterator->key = view_string(&view, at);
                at += slot_span(&view.slots[at]);
        }
        iterator->value.node = at;
        iterator->next = at + slot_span(&view.slots[at]);
        return true;
}

/* ---- scalar values ---- */

struct str json_string(struct json_value value)
{
        return json_string_or(value, STR_EMPTY);
}

struct str json_string_or(struct json_value value, struct str fallback)
{
        if (json_type(value) != JSON_STRING)
                return fallback;
        struct json_view view = doc_view(value.doc);
        return view_string(&view, value.node);
}

bool json_bool_or(struct json_value value, bool fallback)
{
        return json_type(value) == JSON_BOOL ? value_kind(value) == KIND_TRUE : fallback;
}

int json_int64(struct json_value value, int64_t *ret_value)
{
        if (json_type(value) != JSON_NUMBER)
                return -EINVAL;
        return json_number_to_int64(json_text(value), ret_value);
}

int64_t json_int64_or(struct json_value value, int64_t fallback)
{
        int64_t number;

        return json_int64(value, &number) == 0 ? number : fallback;
}

bool json_string_is(struct json_value value, struct str text)
{
        return json_type(value) == JSON_STRING && str_equal(json_string(value), text);
}

/* ---- comparing ---- */

static bool arrays_equal(struct json_value a, struct json_value b)
{
        struct json_iterator other = json_iterate(b);

        json_for_each (it, a) {
                json_next(&other);
                if (!json_equal(it.value, other.value))
                        return false;
        }
        return true;
}

static bool objects_equal(struct json_value a, struct json_value b)
{
        struct json_iterator other = json_iterate(b);
        _cleanup_members_ struct json_members members = {};
        bool same_order = true;

        json_for_each (it, a) {
                if (same_order && json_next(&other) && str_equal(it.key, other.key)) {
                        if (!json_equal(it.value, other.value))
                                return false;
                        continue;
                }
                if (same_order) {
                        same_order = false;
                        json_members_init(&members, b);
                }
                struct json_value found = json_members_find(&members, it.key);
                if (!json_exists(found) || !json_equal(it.value, found))
                        return false;
        }
        return true;
}

bool json_equal(struct json_value a, struct json_value b)
{
        enum json_type type = json_type(a);

        if (type != json_type(b))
                return false;
        if (str_equal(json_text(a), json_text(b)))
                return true;
        switch (type) {
        case JSON_NUMBER:
                return json_number_equal(json_text(a), json_text(b));
        case JSON_ARRAY:
                return json_count(a) == json_count(b) && arrays_equal(a, b);
        case JSON_OBJECT:
                return json_count(a) == json_count(b) && objects_equal(a, b);
        default:
                return false;
        }
}
