// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/*
 * A document is its JSON text, normalised once, plus a compact index, in one immutable,
 * reference-counted allocation (RFC 8259). Normalised means: no blanks between tokens; of escapes
 * only \" \\ and \u00XX, \b \f \n \r \t for control characters; UTF-8 checked; numbers as written
 * but integers without sign of zero, leading "+" or exponent where they are integral
 * (kube-apiserver prints 1e3 as 1000); of duplicate keys the last one wins in the place of the
 * first, and the first duplicate is reported. Two documents are equal when their texts are (key
 * order counts).
 *
 * References may be taken and dropped on any thread (atomic count).
 */
struct json_doc;

enum json_type {
        JSON_ABSENT, /* there is no such value: what a failed look-up gives */
        JSON_NULL,
        JSON_BOOL,
        JSON_NUMBER,
        JSON_STRING,
        JSON_ARRAY,
        JSON_OBJECT,
};

/* A value inside a document. It borrows: the document must outlive it. All zero is absent. */
struct json_value {
        const struct json_doc *doc;
        uint32_t node;
};

struct json_options {
        size_t size_limit;    /* bytes of input; 0 is LIMIT_BODY */
        unsigned depth_limit; /* nesting; 0 is LIMIT_DEPTH */
        bool drop_nulls;      /* leave out object members whose value is null */
};

/* What the parser noticed besides success. Views into the input text. */
struct json_notes {
        size_t error_offset; /* where it failed */
        bool has_duplicate;  /* an object had a key twice */
        char duplicate[256]; /* path of the first duplicate, dotted, cut to fit */
};

/*
 * Parses and normalises. `options` and `notes` may be NULL. The caller owns the reference in
 * *ret_doc. Returns 0, -EBADMSG (not JSON, bad UTF-8; error says where), -EFBIG (size),
 * -E2BIG (depth), -ENOMEM.
 */
int json_doc_parse(struct str text, const struct json_options *options, struct json_notes *notes,
                   struct error *error, struct json_doc **ret_doc);

struct json_doc *json_doc_ref(struct json_doc *doc);
void json_doc_unref(struct json_doc *doc);
DEFINE_POINTER_CLEANUP(json_doc_unrefp, struct json_doc, json_doc_unref)
#define _cleanup_doc_ _cleanup_(json_doc_unrefp)

/* The normalised text; lives as long as the document. */
struct str json_doc_text(const struct json_doc *doc);

/* Bytes of the whole allocation, for memory accounting. */
size_t json_doc_size(const struct json_doc *doc);

struct json_value json_root(const struct json_doc *doc);

static inline bool json_exists(struct json_value value)
{
        return value.doc != NULL;
}

enum json_type json_type(struct json_value value);

/* The value's normalised JSON text. */
struct str json_text(struct json_value value);

/* Whether two values have the same content: objects regardless of member order, numbers by value.
 */
bool json_equal(struct json_value a, struct json_value b);

/* ---- looking up: absent in, absent out; none of these allocates ---- */

/* An object's member; absent if `value` is no object. */
struct json_value json_member(struct json_value value, struct str key);

/* An array's element; absent if out of range. */
struct json_value json_element(struct json_value value, size_t index);

/* Members from member to member: json_get(root, "metadata", "name"). Keys are C strings. */
#define json_get(value, ...) json_get_path((value), (const char *const[]){ __VA_ARGS__, NULL })
struct json_value json_get_path(struct json_value value, const char *const *path);

/* Number of members or elements; 0 for everything else. */
size_t json_count(struct json_value value);

/*
 * Walks members or elements in the order of the text:
 *     json_for_each(it, object) { it.key; it.value; }
 */
struct json_iterator {
        struct str key; /* decoded; empty for arrays */
        struct json_value value;
        uint32_t next, end;
};
struct json_iterator json_iterate(struct json_value container);
bool json_next(struct json_iterator *iterator);
#define json_for_each(it, container)                                                               \
        for (struct json_iterator it = json_iterate(container); json_next(&it);)

/* ---- scalar values ---- */

/* A string's decoded bytes (UTF-8; may hold NUL), living as long as the document; else empty. */
struct str json_string(struct json_value value);

/* A string's decoded bytes, or `fallback` when it is no string. */
struct str json_string_or(struct json_value value, struct str fallback);

bool json_bool_or(struct json_value value, bool fallback);

/* Returns 0, -EINVAL (no integral number) or -ERANGE. */
int json_int64(struct json_value value, int64_t *ret_value);
int64_t json_int64_or(struct json_value value, int64_t fallback);

/* Bytes of the well-formed UTF-8 sequence at `at` (RFC 3629), or 0. */
unsigned utf8_sequence(const unsigned char *at, const unsigned char *end);

/* Whether it is a string with exactly these bytes. */
bool json_string_is(struct json_value value, struct str text);
