// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_FIRST_CAPACITY = 256 };

void buffer_deinit(struct buffer *buffer)
{
        free(buffer->data);
        *buffer = (struct buffer){};
}

int buffer_reserve(struct buffer *buffer, size_t more)
{
        size_t needed;

        if (__builtin_add_overflow(buffer->length, more, &needed) || needed > SIZE_MAX / 2)
                return -EOVERFLOW;
        if (needed <= buffer->capacity)
                return 0;

        size_t capacity = MAX(buffer->capacity, (size_t)BUFFER_FIRST_CAPACITY);
        while (capacity < needed)
                capacity *= 2;
        char *data = realloc(buffer->data, capacity);
        if (!data)
                return -ENOMEM;
        buffer->data = data;
        buffer->capacity = capacity;
        return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
        int r = buffer_reserve(buffer, length);

        if (r < 0)
                return r;
        if (length > 0)
                memcpy(buffer->data + buffer->length, data, length);
        buffer->length += length;
        return 0;
}

int buffer_append_str(struct buffer *buffer, struct str s)
{
        return buffer_append(buffer, s.data, s.length);
}

int buffer_append_char(struct buffer *buffer, char c)
{
        return buffer_append(buffer, &c, 1);
}

int buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
{
        va_list again;

        va_copy(again, arguments);
        int length = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (length < 0)
                return -EINVAL;

        int r = buffer_reserve(buffer, (size_t)length + 1);
        if (r < 0)
                return r;
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
        buffer->length += (size_t)length;
        return 0;
}

int buffer_printf(struct buffer *buffer, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        int r = buffer_vprintf(buffer, format, arguments);
        va_end(arguments);
        return r;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
        assert(length <= buffer->length);
        buffer->length -= length;
        if (buffer->length > 0)
                memmove(buffer->data, buffer->data + length, buffer->length);
}

int buffer_steal(struct buffer *buffer, char **ret_data, size_t *ret_length)
{
        int r = buffer_reserve(buffer, 1);

        if (r < 0)
                return r;
        buffer->data[buffer->length] = '\0';
        *ret_data = buffer->data;
        if (ret_length)
                *ret_length = buffer->length;
        *buffer = (struct buffer){};
        return 0;
}
