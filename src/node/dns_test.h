// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/test.h"
#include "node/dns_message.h"
#include "json/json.h"

/* Queries and objects for tests of the resolver. */

static inline void test_put16(struct buffer *out, unsigned value)
{
        assert_int_equal(buffer_append_char(out, (char)(value >> 8)), 0);
        assert_int_equal(buffer_append_char(out, (char)value), 0);
}

static inline void test_put_name(struct buffer *out, const char *name)
{
        struct str rest = str_from(name), label;

        while (rest.length > 0) {
                str_cut(rest, '.', &label, &rest);
                assert_int_equal(buffer_append_char(out, (char)label.length), 0);
                assert_int_equal(buffer_append_str(out, label), 0);
        }
        assert_int_equal(buffer_append_char(out, '\0'), 0);
}

/* A query with recursion desired; with an OPT record if `udp_size` is not 0. */
static inline void test_put_query(struct buffer *out, const char *name, unsigned type,
                                  unsigned udp_size)
{
        test_put16(out, 0x1234);
        test_put16(out, 0x0100);
        test_put16(out, 1);
        test_put16(out, 0);
        test_put16(out, 0);
        test_put16(out, udp_size > 0);
        test_put_name(out, name);
        test_put16(out, type);
        test_put16(out, 1);
        if (udp_size == 0)
                return;
        assert_int_equal(buffer_append(out, "\0\0\x29", 3), 0);
        test_put16(out, udp_size);
        assert_int_equal(buffer_append(out, "\0\0\0\0\0\0", 6), 0);
}

static inline unsigned test_get16(struct str message, size_t at)
{
        assert_true(at + 2 <= message.length);
        return (unsigned)(uint8_t)message.data[at] << 8 | (uint8_t)message.data[at + 1];
}

static inline unsigned test_code(struct str message)
{
        return test_get16(message, 2) & 15;
}

static inline unsigned test_answers(struct str message)
{
        return test_get16(message, 6);
}

static inline struct json_doc *test_doc(const char *text)
{
        struct error error = {};
        struct json_doc *doc;

        if (json_doc_parse(str_from(text), NULL, NULL, &error, &doc) < 0)
                fail_msg("%s: %s", error.message, text);
        return doc;
}
