// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/str.h"

/* Growing bytes on the heap. All zero is an empty buffer. */
struct buffer {
        char *data;
        size_t length;
        size_t capacity;
};

void buffer_deinit(struct buffer *buffer);
#define _cleanup_buffer_ _cleanup_(buffer_deinit)

static inline struct str buffer_str(const struct buffer *buffer)
{
        return (struct str){ buffer->data, buffer->length };
}

static inline void buffer_clear(struct buffer *buffer)
{
        buffer->length = 0;
}

/*
 * Makes room for `more` bytes after the present ones, growing geometrically.
 * Returns 0, -ENOMEM or -EOVERFLOW; the contents stay as they are on failure. The same errors
 * come from every function below.
 */
int buffer_reserve(struct buffer *buffer, size_t more);

int buffer_append(struct buffer *buffer, const void *data, size_t length);
int buffer_append_str(struct buffer *buffer, struct str s);
int buffer_append_char(struct buffer *buffer, char c);
int buffer_printf(struct buffer *buffer, const char *format, ...) _printf_(2, 3);
int buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments) _printf_(2, 0);

/* Drops the first `length` bytes. Moves the rest: use it once a read, not once a byte. */
void buffer_consume(struct buffer *buffer, size_t length);

/* Gives the bytes, NUL-terminated, to the caller, who frees them; leaves the buffer empty. */
int buffer_steal(struct buffer *buffer, char **ret_data, size_t *ret_length);
