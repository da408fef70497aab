// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "json/json.h"

/*
 * Inside of a document; for this folder alone. One allocation:
 *
 *     struct json_doc | slots | decoded strings | text | NUL
 *
 * The index is an array of 8-byte slots in the order of the text. Of a slot, `tag` holds the kind
 * in its low four bits and a size above them:
 *
 *     null, true, false    1 slot    offset: first byte
 *     number               1 slot    offset: first byte, size: bytes
 *     string               1 slot    offset: behind the quote, size: bytes between the quotes
 *     escaped string       2 slots   the same; second: offset and length of the decoded bytes
 *     array, object        2 slots   offset: of the bracket, size: slots of the whole subtree;
 *                                    second: offset behind the end, number of children
 *
 * An object's children are key (a string) and value in turn.
 */
struct json_slot {
        uint32_t offset;
        uint32_t tag;
};

enum json_kind {
        KIND_NULL,
        KIND_FALSE,
        KIND_TRUE,
        KIND_NUMBER,
        KIND_STRING,
        KIND_ESCAPED,
        KIND_ARRAY,
        KIND_OBJECT,
        KIND_MASK = 15,
        KIND_SHIFT = 4,
};

/* Sizes and offsets must fit 28 bits. */
enum { JSON_SIZE_MAX = (1 << 28) - 1 };

struct json_doc {
        atomic_uint references;
        uint32_t slot_count;
        uint32_t text_length;
        uint32_t decoded_length;
        struct json_slot slots[];
};

/* The three parts of an index: of a document, or of one in the making. */
struct json_view {
        const struct json_slot *slots;
        const char *text;
        const char *decoded;
};

static inline enum json_kind slot_kind(struct json_slot slot)
{
        return (enum json_kind)(slot.tag & KIND_MASK);
}

static inline uint32_t slot_size(struct json_slot slot)
{
        return slot.tag >> KIND_SHIFT;
}

/* How many slots the value at `slot` takes with all that is in it. */
static inline uint32_t slot_span(const struct json_slot *slot)
{
        enum json_kind kind = slot_kind(*slot);

        if (kind >= KIND_ARRAY)
                return slot_size(*slot);
        return kind == KIND_ESCAPED ? 2 : 1;
}

static inline struct json_view doc_view(const struct json_doc *doc)
{
        const char *decoded = (const char *)(doc->slots + doc->slot_count);
        return (struct json_view){ doc->slots, decoded + doc->decoded_length, decoded };
}

/* The decoded bytes of the string at slot `at`. */
static inline struct str view_string(const struct json_view *view, uint32_t at)
{
        const struct json_slot *slot = &view->slots[at];

        if (slot_kind(slot[0]) == KIND_ESCAPED)
                return (struct str){ view->decoded + slot[1].offset, slot[1].tag };
        return (struct str){ view->text + slot->offset, slot_size(*slot) };
}

/* The text of the value at slot `at`, quotes and brackets included. */
struct str view_text(const struct json_view *view, uint32_t at);

/*
 * Members of an object by key, for when many keys are looked up in one object that came from
 * outside: hashed with a random seed from 17 members on. Without memory it scans, slower.
 */
struct json_members {
        struct json_value object;
        uint32_t *cells; /* slot of a member's key, 0: free; NULL: scan */
        uint32_t mask;
        uint64_t seed;
};

void json_members_init(struct json_members *members, struct json_value object);
void json_members_deinit(struct json_members *members);
#define _cleanup_members_ _cleanup_(json_members_deinit)
struct json_value json_members_find(const struct json_members *members, struct str key);

uint64_t json_key_hash(uint64_t seed, struct str key);

/* Appends `text` between quotes, escaped as the normal form wants; bad UTF-8 becomes U+FFFD. */
int json_append_string(struct buffer *out, struct str text);

/*
 * The value of a number of JSON's grammar if it is integral.
 * Returns 0, -EINVAL (it has a fraction) or -ERANGE.
 */
int json_number_to_int64(struct str text, int64_t *ret_value);

/* Whether two numbers of JSON's grammar are the same, however written. */
bool json_number_equal(struct str a, struct str b);
