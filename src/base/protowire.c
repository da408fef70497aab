// SPDX-License-Identifier: Apache-2.0
#include "base/protowire.h"

#include <errno.h>

enum { VARINT_MOST = 10, NUMBER_MOST = (1 << 29) - 1 };

/* ---- reading ---- */

static int take_varint(struct str *rest, uint64_t *ret_value)
{
        uint64_t value = 0;

        for (size_t i = 0; i < VARINT_MOST && i < rest->length; i++) {
                uint8_t byte = (uint8_t)rest->data[i];

                /* The tenth byte has room for one bit. */
                if (i == VARINT_MOST - 1 && byte > 1)
                        return -EBADMSG;
                value |= (uint64_t)(byte & 0x7f) << (7 * i);
                if (byte & 0x80)
                        continue;
                *rest = str_slice(*rest, i + 1, rest->length);
                *ret_value = value;
                return 0;
        }
        return -EBADMSG;
}

static int take_fixed(struct str *rest, size_t size, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (rest->length < size)
                return -EBADMSG;
        for (size_t i = 0; i < size; i++)
                value |= (uint64_t)(uint8_t)rest->data[i] << (8 * i);
        *rest = str_slice(*rest, size, rest->length);
        *ret_value = value;
        return 0;
}

int protowire_next(struct str *message, struct protowire_field *ret_field)
{
        struct protowire_field field = { 0 };
        struct str rest = *message;
        uint64_t tag;

        if (rest.length == 0)
                return 0;
        int r = take_varint(&rest, &tag);
        if (r < 0)
                return r;
        if (tag >> 3 == 0 || tag >> 3 > NUMBER_MOST)
                return -EBADMSG;
        field.number = (uint32_t)(tag >> 3);
        field.type = (enum protowire_type)(tag & 7);
        switch (field.type) {
        case PROTOWIRE_VARINT:
                r = take_varint(&rest, &field.value);
                break;
        case PROTOWIRE_FIXED64:
                r = take_fixed(&rest, 8, &field.value);
                break;
        case PROTOWIRE_FIXED32:
                r = take_fixed(&rest, 4, &field.value);
                break;
        case PROTOWIRE_BYTES:
                r = take_varint(&rest, &field.value);
                if (r == 0 && field.value > rest.length)
                        r = -EBADMSG;
                if (r < 0)
                        break;
                field.bytes = str_slice(rest, 0, (size_t)field.value);
                rest = str_slice(rest, (size_t)field.value, rest.length);
                field.value = 0;
                break;
        default:
                r = -EBADMSG;
        }
        if (r < 0)
                return r;
        *message = rest;
        *ret_field = field;
        return 1;
}

/* ---- writing ---- */

static size_t format_varint(uint64_t value, uint8_t bytes[static VARINT_MOST])
{
        size_t count = 0;

        for (; value > 0x7f; value >>= 7)
                bytes[count++] = (uint8_t)(value | 0x80);
        bytes[count++] = (uint8_t)value;
        return count;
}

static void put(struct protowire_writer *writer, const void *data, size_t length)
{
        if (writer->failure == 0)
                writer->failure = buffer_append(writer->out, data, length);
}

static void put_varint(struct protowire_writer *writer, uint64_t value)
{
        uint8_t bytes[VARINT_MOST];

        put(writer, bytes, format_varint(value, bytes));
}

static void put_tag(struct protowire_writer *writer, uint32_t number, enum protowire_type type)
{
        put_varint(writer, (uint64_t)number << 3 | type);
}

static void put_fixed(struct protowire_writer *writer, uint64_t value, size_t size)
{
        uint8_t bytes[8];

        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)(value >> (8 * i));
        put(writer, bytes, size);
}

void protowire_write_varint(struct protowire_writer *writer, uint32_t number, uint64_t value)
{
        put_tag(writer, number, PROTOWIRE_VARINT);
        put_varint(writer, value);
}

void protowire_write_fixed64(struct protowire_writer *writer, uint32_t number, uint64_t value)
{
        put_tag(writer, number, PROTOWIRE_FIXED64);
        put_fixed(writer, value, 8);
}

void protowire_write_fixed32(struct protowire_writer *writer, uint32_t number, uint32_t value)
{
        put_tag(writer, number, PROTOWIRE_FIXED32);
        put_fixed(writer, value, 4);
}

void protowire_write_bytes(struct protowire_writer *writer, uint32_t number, struct str bytes)
{
        put_tag(writer, number, PROTOWIRE_BYTES);
        put_varint(writer, bytes.length);
        put(writer, bytes.data, bytes.length);
}

size_t protowire_begin(struct protowire_writer *writer, uint32_t number)
{
        put_tag(writer, number, PROTOWIRE_BYTES);
        return writer->out->length;
}

void protowire_end(struct protowire_writer *writer, size_t begun)
{
        uint8_t bytes[VARINT_MOST];

        if (writer->failure)
                return;
        size_t length = writer->out->length - begun, size = format_varint(length, bytes);
        put(writer, bytes, size);
        if (writer->failure)
                return;
        memmove(writer->out->data + begun + size, writer->out->data + begun, length);
        memcpy(writer->out->data + begun, bytes, size);
}
