// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

/*
 * The wire format of protocol buffers (protobuf.dev/programming-guides/encoding): a message is
 * fields, each with a number and one of four forms. Which number means what is for the caller to
 * know; groups, which proto3 has not, are refused.
 */

enum protowire_type {
        PROTOWIRE_VARINT = 0,
        PROTOWIRE_FIXED64 = 1,
        PROTOWIRE_BYTES = 2, /* strings, bytes, messages, packed numbers */
        PROTOWIRE_FIXED32 = 5,
};

struct protowire_field {
        uint32_t number; /* 1 to 2^29 - 1 */
        enum protowire_type type;
        uint64_t value;   /* of the three types of numbers */
        struct str bytes; /* PROTOWIRE_BYTES; a view of the message */
};

/*
 * Takes the next field off the front of `message`. Returns 1, 0 at the end, or -EBADMSG.
 *
 *     while ((r = protowire_next(&rest, &field)) > 0) …
 */
int protowire_next(struct str *message, struct protowire_field *ret_field);

/* Appends fields to a buffer. The first failure (-ENOMEM, -EOVERFLOW) stays in `failure`. */
struct protowire_writer {
        struct buffer *out;
        int failure;
};

void protowire_write_varint(struct protowire_writer *writer, uint32_t number, uint64_t value);
void protowire_write_fixed64(struct protowire_writer *writer, uint32_t number, uint64_t value);
void protowire_write_fixed32(struct protowire_writer *writer, uint32_t number, uint32_t value);
void protowire_write_bytes(struct protowire_writer *writer, uint32_t number, struct str bytes);

/* A field that is a message: what is written between the two is inside. Returns what end takes. */
size_t protowire_begin(struct protowire_writer *writer, uint32_t number);
void protowire_end(struct protowire_writer *writer, size_t begun);
