// SPDX-License-Identifier: Apache-2.0
#include "crypto/encode.h"

#include <errno.h>
#include <stdbool.h>

static bool is_padded(enum base64_form form)
{
        return form == BASE64_STANDARD || form == BASE64_URL;
}

static bool is_url(enum base64_form form)
{
        return form == BASE64_URL || form == BASE64_URL_UNPADDED;
}

int base64_append(struct buffer *out, enum base64_form form, const void *data, size_t length)
{
        static const char standard[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        static const char url[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        const char *letters = is_url(form) ? url : standard;
        const uint8_t *bytes = data;
        size_t room;

        if (__builtin_mul_overflow(length / 3 + 1, (size_t)4, &room))
                return -EOVERFLOW;
        int r = buffer_reserve(out, room);
        if (r < 0)
                return r;

        char *next = out->data + out->length;
        for (; length >= 3; length -= 3, bytes += 3) {
                *next++ = letters[bytes[0] >> 2];
                *next++ = letters[(bytes[0] & 0x03) << 4 | bytes[1] >> 4];
                *next++ = letters[(bytes[1] & 0x0f) << 2 | bytes[2] >> 6];
                *next++ = letters[bytes[2] & 0x3f];
        }
        if (length > 0) {
                unsigned second = length > 1 ? bytes[1] : 0;
                *next++ = letters[bytes[0] >> 2];
                *next++ = letters[(bytes[0] & 0x03U) << 4 | second >> 4];
                if (length > 1)
                        *next++ = letters[(second & 0x0f) << 2];
                if (is_padded(form))
                        for (size_t i = length; i < 3; i++)
                                *next++ = '=';
        }
        out->length = (size_t)(next - out->data);
        return 0;
}

/* The six bits that a letter stands for, or 0xff. */
static uint8_t sextet(char c, bool url)
{
        if (c >= 'A' && c <= 'Z')
                return (uint8_t)(c - 'A');
        if (c >= 'a' && c <= 'z')
                return (uint8_t)(c - 'a' + 26);
        if (c >= '0' && c <= '9')
                return (uint8_t)(c - '0' + 52);
        if (c == (url ? '-' : '+'))
                return 62;
        if (c == (url ? '_' : '/'))
                return 63;
        return 0xff;
}

int base64_decode(struct buffer *out, enum base64_form form, struct str text)
{
        size_t letters = text.length;

        if (is_padded(form)) {
                if (text.length % 4 != 0)
                        return -EBADMSG;
                for (int i = 0; i < 2 && letters > 0 && text.data[letters - 1] == '='; i++)
                        letters--;
        }
        if (letters % 4 == 1)
                return -EBADMSG;
        int r = buffer_reserve(out, letters / 4 * 3 + 3);
        if (r < 0)
                return r;

        size_t before = out->length;
        uint32_t bits = 0;
        unsigned count = 0;
        for (size_t i = 0; i < letters; i++) {
                uint8_t value = sextet(text.data[i], is_url(form));
                if (value == 0xff) {
                        out->length = before;
                        return -EBADMSG;
                }
                bits = bits << 6 | value;
                count += 6;
                if (count >= 8) {
                        count -= 8;
                        out->data[out->length++] = (char)(bits >> count);
                }
        }
        if (bits & ((1U << count) - 1)) {
                out->length = before;
                return -EBADMSG;
        }
        return 0;
}

int hex_append(struct buffer *out, const void *data, size_t length)
{
        static const char digits[] = "0123456789abcdef";
        const uint8_t *bytes = data;
        size_t room;

        if (__builtin_mul_overflow(length, (size_t)2, &room))
                return -EOVERFLOW;
        int r = buffer_reserve(out, room);
        if (r < 0)
                return r;
        for (size_t i = 0; i < length; i++) {
                out->data[out->length++] = digits[bytes[i] >> 4];
                out->data[out->length++] = digits[bytes[i] & 0x0f];
        }
        return 0;
}

int hex_decode(struct buffer *out, struct str text)
{
        size_t before = out->length;

        if (text.length % 2 != 0)
                return -EBADMSG;
        int r = buffer_reserve(out, text.length / 2);
        if (r < 0)
                return r;
        for (size_t i = 0; i < text.length; i += 2) {
                int high = hex_digit(text.data[i]), low = hex_digit(text.data[i + 1]);
                if (high < 0 || low < 0) {
                        out->length = before;
                        return -EBADMSG;
                }
                out->data[out->length++] = (char)(high << 4 | low);
        }
        return 0;
}
