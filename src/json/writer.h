// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json/json.h"

/*
 * Writes JSON text into a buffer, putting commas and escapes where they belong. The first failure
 * is kept and every later call does nothing, so one check at the end (json_writer_finish) will do.
 * Misuse (a value where a key must stand) is an assertion.
 */
struct json_writer {
        struct buffer *out; /* borrowed */
        int failure;        /* 0 or a negative errno */
        unsigned depth;
        uint64_t has_items; /* bit per level: something was written there */
        uint64_t is_object; /* bit per level */
        bool after_key;
};

void json_writer_init(struct json_writer *writer, struct buffer *out);

void json_begin_object(struct json_writer *writer);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer);
void json_end_array(struct json_writer *writer);
void json_key(struct json_writer *writer, struct str key);

void json_write_string(struct json_writer *writer,
                       struct str text); /* invalid UTF-8 becomes U+FFFD */
void json_write_int(struct json_writer *writer, int64_t number);
void json_write_bool(struct json_writer *writer, bool value);
void json_write_null(struct json_writer *writer);

/* A whole value's JSON text, trusted to be normalised (another document's json_text()). */
void json_write_raw(struct json_writer *writer, struct str json);
void json_write_value(struct json_writer *writer, struct json_value value);

/* "key": value in one call. */
void json_field_string(struct json_writer *writer, const char *key, struct str text);
void json_field_int(struct json_writer *writer, const char *key, int64_t number);
void json_field_bool(struct json_writer *writer, const char *key, bool value);
void json_field_value(struct json_writer *writer, const char *key, struct json_value value);
void json_field_raw(struct json_writer *writer, const char *key, struct str json);
void json_field_object(struct json_writer *writer, const char *key); /* begins it */
void json_field_array(struct json_writer *writer, const char *key);  /* begins it */

/* 0 when everything was written and every object and array was ended. */
int json_writer_finish(struct json_writer *writer);

/* Makes a document of what was written, which need not be checked as foreign input would be. */
int json_doc_from_buffer(struct buffer *text, struct json_doc **ret_doc);
