// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/* How a list is printed. */
enum output_format { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_NAME };

/* "text", "json" or "name". Returns 0, or -EINVAL with a sentence. */
int output_format_parse(const char *text, struct error *error, enum output_format *ret_format);

enum { TABLE_COLUMNS_MAX = 10 };

/* Rows in columns as wide as they need. Cells are views that live as long as the table. */
struct text_table {
        struct arena arena;
        struct str *cells; /* row after row, the titles first */
        size_t columns, count, capacity;
        int failure;
};

void text_table_init(struct text_table *table, const char *const *titles, size_t columns);
void text_table_deinit(struct text_table *table);
#define _cleanup_text_table_ _cleanup_(text_table_deinit)

/* Adds the next cell, copied; empty ones are shown as "-". A failure is kept for
 * text_table_print(). */
void text_table_add(struct text_table *table, struct str cell);

/* Prints it on standard output. Returns 0 or -ENOMEM. */
int text_table_print(const struct text_table *table);

/*
 * A line on standard error that says what is being waited for, replaced by the next one; nothing
 * when that is no terminal. All zero says nothing yet; progress_end() takes the line away.
 */
struct progress {
        bool stands;
};
void progress_say(struct progress *progress, const char *format, ...) _printf_(2, 3);
void progress_end(struct progress *progress);
