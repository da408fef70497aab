// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "json/json.h"

/*
 * A list of changes to one document, applied together: the new text copies the untouched ranges
 * of the old one. Later changes win where they overlap. Objects that a path walks through are
 * made when they are absent (or null).
 *
 *     struct json_edit edit;
 *     json_edit_init(&edit, doc, &arena);
 *     json_edit_set_string(&edit, "/metadata/name", name);
 *     json_edit_remove(&edit, "/status");
 *     r = json_edit_apply(&edit, &new_doc);
 *
 * Paths are JSON pointers (RFC 6901): "~1" is "/", "~0" is "~"; "-" appends to an array and makes
 * it when it is absent. json_pointer_escape() makes a key safe. Array indexes count the elements
 * that were there before the edit. Pointers and strings are copied; raw JSON and values are
 * borrowed until the edit is applied.
 */
struct json_edit {
        const struct json_doc *doc; /* borrowed */
        struct arena *arena;        /* where the changes live until apply; borrowed */
        struct json_change *changes;
        size_t count;
        int failure;
};

void json_edit_init(struct json_edit *edit, const struct json_doc *doc, struct arena *arena);

void json_edit_set_raw(struct json_edit *edit, const char *pointer, struct str json);
void json_edit_set_string(struct json_edit *edit, const char *pointer, struct str text);
void json_edit_set_int(struct json_edit *edit, const char *pointer, int64_t number);
void json_edit_set_bool(struct json_edit *edit, const char *pointer, bool value);
void json_edit_set_value(struct json_edit *edit, const char *pointer, struct json_value value);
void json_edit_remove(struct json_edit *edit, const char *pointer); /* absent is fine */

/*
 * Makes the new document, owned by the caller. When nothing changes it is the old one, referenced
 * once more. Returns 0, -EINVAL (a path runs through a scalar or a bad index), -ENOMEM.
 */
int json_edit_apply(struct json_edit *edit, struct json_doc **ret_doc);

/* A key for use inside a pointer: "~" → "~0", "/" → "~1"; NUL-terminated, in the arena. */
const char *json_pointer_escape(struct arena *arena, struct str key);

/* The value that a JSON pointer names, or absent. */
struct json_value json_pointer_get(struct json_value root, struct str pointer);
