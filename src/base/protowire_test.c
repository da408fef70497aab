// SPDX-License-Identifier: Apache-2.0
#include "base/protowire.h"

#include <errno.h>

#include "base/test.h"

static void numbers_are_as_the_guide_has_them(void **state)
{
        static const uint8_t expected[] = {
                0x08, 0x96, 0x01,                            /* 1: 150 */
                0x10, 0x00,                                  /* 2: 0 */
                0x18, 0xff, 0xff, 0xff, 0xff, 0xff,          /* 3: 2^64 - 1 */
                0xff, 0xff, 0xff, 0xff, 0x01,                /**/
                0x82, 0x01, 0x02, 'h',  'i',                 /* 16: "hi" */
                0x29, 0x08, 0x07, 0x06, 0x05, 4,    3, 2, 1, /* 5 */
                0x35, 0x04, 0x03, 0x02, 0x01,                /* 6 */
        };
        _cleanup_buffer_ struct buffer out = { 0 };
        struct protowire_writer writer = { .out = &out };

        (void)state;
        protowire_write_varint(&writer, 1, 150);
        protowire_write_varint(&writer, 2, 0);
        protowire_write_varint(&writer, 3, UINT64_MAX);
        protowire_write_bytes(&writer, 16, STR("hi"));
        protowire_write_fixed64(&writer, 5, UINT64_C(0x0102030405060708));
        protowire_write_fixed32(&writer, 6, 0x01020304);
        assert_int_equal(writer.failure, 0);
        assert_int_equal(out.length, sizeof(expected));
        assert_memory_equal(out.data, expected, sizeof(expected));

        struct str rest = buffer_str(&out);
        struct protowire_field field;
        static const struct protowire_field fields[] = {
                { 1, PROTOWIRE_VARINT, 150, { NULL, 0 } },
                { 2, PROTOWIRE_VARINT, 0, { NULL, 0 } },
                { 3, PROTOWIRE_VARINT, UINT64_MAX, { NULL, 0 } },
                { 16, PROTOWIRE_BYTES, 0, { "hi", 2 } },
                { 5, PROTOWIRE_FIXED64, UINT64_C(0x0102030405060708), { NULL, 0 } },
                { 6, PROTOWIRE_FIXED32, 0x01020304, { NULL, 0 } },
        };
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                assert_int_equal(protowire_next(&rest, &field), 1);
                assert_int_equal(field.number, fields[i].number);
                assert_int_equal(field.type, fields[i].type);
                assert_true(field.value == fields[i].value);
                assert_true(str_equal(field.bytes, fields[i].bytes));
        }
        assert_int_equal(protowire_next(&rest, &field), 0);
}

/* Lengths that take one, two and three bytes. */
static void messages_nest(void **state)
{
        static const size_t lengths[] = { 0, 1, 120, 124, 125, 16380, 16384, 70000 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                _cleanup_buffer_ struct buffer out = { 0 }, text = { 0 };
                struct protowire_writer writer = { .out = &out };
                struct protowire_field outer, inner, after;

                for (size_t j = 0; j < lengths[i]; j++)
                        assert_int_equal(buffer_append_char(&text, (char)('a' + j % 26)), 0);
                size_t begun = protowire_begin(&writer, 1);
                protowire_write_bytes(&writer, 2, buffer_str(&text));
                protowire_end(&writer, begun);
                protowire_write_varint(&writer, 3, 7);
                assert_int_equal(writer.failure, 0);

                struct str rest = buffer_str(&out);
                assert_int_equal(protowire_next(&rest, &outer), 1);
                assert_int_equal(protowire_next(&rest, &after), 1);
                assert_int_equal(rest.length, 0);
                assert_true(after.number == 3 && after.value == 7);
                assert_int_equal(protowire_next(&outer.bytes, &inner), 1);
                assert_int_equal(outer.bytes.length, 0);
                assert_true(str_equal(inner.bytes, buffer_str(&text)));
        }
}

static void what_is_malformed_is_refused(void **state)
{
        const struct str cases[] = {
                STR("\x08"),                                             /* no value */
                STR("\x08\x80"),                                         /* an endless varint */
                STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),     /* above 64 bits */
                STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* eleven bytes */
                STR("\x12\x05gone"),                                     /* longer than there is */
                STR("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),     /* of 2^64 - 1 bytes */
                STR("\x09"
                    "1234567"),
                STR("\x0d"
                    "123"),
                STR("\x0b\x0c"), /* a group */
                STR("\x0e"
                    "1234"),
                STR("\x0f"
                    "1234"),                     /* no such types */
                STR("\x00\x01"),                 /* field 0 */
                STR("\x80\x80\x80\x80\x10\x01"), /* field 2^29 */
        };
        struct protowire_field field;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str rest = cases[i];

                assert_int_equal(protowire_next(&rest, &field), -EBADMSG);
                assert_true(rest.data == cases[i].data && rest.length == cases[i].length);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(numbers_are_as_the_guide_has_them),
                cmocka_unit_test(messages_nest),
                cmocka_unit_test(what_is_malformed_is_refused),
        };

        return run_unit_tests("protowire", tests);
}
