// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/test.h"

/* HTTP/2 by hand (RFC 9113, 4.1): what a client that only says what is right cannot say. */
enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
#define BYTES(text) ((struct str){ (text), sizeof(text) - 1 })
#define STATUS_200  BYTES("\x88")

static inline void frame(struct buffer *out, unsigned type, unsigned flags, uint32_t id,
                         struct str body)
{
        const unsigned char head[9] = { (unsigned char)(body.length >> 16),
                                        (unsigned char)(body.length >> 8),
                                        (unsigned char)body.length,
                                        (unsigned char)type,
                                        (unsigned char)flags,
                                        (unsigned char)(id >> 24),
                                        (unsigned char)(id >> 16),
                                        (unsigned char)(id >> 8),
                                        (unsigned char)id };

        assert_int_equal(buffer_append(out, head, sizeof(head)), 0);
        assert_int_equal(buffer_append_str(out, body), 0);
}

/* How many frames of a type a client has sent, of the bytes of its connection until now. */
static inline unsigned frames_of(const struct buffer *got, unsigned type)
{
        const unsigned char *bytes = (const unsigned char *)got->data;
        size_t at = 24; /* the preface */
        unsigned count = 0;

        while (at + 9 <= got->length) {
                count += bytes[at + 3] == type;
                at += 9 + ((size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2]);
        }
        return count;
}
