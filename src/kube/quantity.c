// SPDX-License-Identifier: Apache-2.0
#include "kube/quantity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define NANO_MAX ((__int128)INT64_MAX * 1000000000)

/* A decimal while it is read: digits × 10^exponent, and something more if `sticky`. */
struct mantissa {
        bool negative;
        __int128 digits;
        int exponent;
        bool sticky;
};

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* Digits that no result can tell are only noted. */
static void add_digit(struct mantissa *m, char c, bool fraction)
{
        const __int128 many = (__int128)1000000000000000000 * 1000000000000000000;

        if (m->digits < many && (!fraction || m->exponent > -18)) {
                m->digits = m->digits * 10 + (c - '0');
                m->exponent -= fraction;
        } else {
                m->sticky |= c != '0';
                m->exponent += !fraction;
        }
}

/* Returns where the suffix begins, or SIZE_MAX. */
static size_t parse_mantissa(struct str text, struct mantissa *ret_mantissa)
{
        struct mantissa m = {};
        size_t at = 0;
        bool fraction = false, any = false;

        if (text.length > 0 && (text.data[0] == '+' || text.data[0] == '-')) {
                m.negative = text.data[0] == '-';
                at++;
        }
        for (; at < text.length; at++) {
                if (text.data[at] == '.' && !fraction) {
                        fraction = true;
                } else if (is_digit(text.data[at])) {
                        add_digit(&m, text.data[at], fraction);
                        any = true;
                } else {
                        break;
                }
        }
        *ret_mantissa = m;
        return any ? at : SIZE_MAX;
}

static int parse_suffix(struct str suffix, int *ret_exponent, int *ret_shift,
                        enum quantity_format *ret_format)
{
        static const char decimal[] = "numkMGTPE", binary[] = "KMGTPE";
        static const signed char exponents[] = { -9, -6, -3, 3, 6, 9, 12, 15, 18 };
        const char *found;

        *ret_exponent = *ret_shift = 0;
        *ret_format = QUANTITY_DECIMAL;
        if (suffix.length == 0)
                return 0;
        if (suffix.length == 1 && suffix.data[0] && (found = strchr(decimal, suffix.data[0]))) {
                *ret_exponent = exponents[found - decimal];
                return 0;
        }
        if (suffix.length == 2 && suffix.data[0] && suffix.data[1] == 'i' &&
            (found = strchr(binary, suffix.data[0]))) {
                *ret_shift = 10 * (int)(found - binary + 1);
                *ret_format = QUANTITY_BINARY;
                return 0;
        }
        if ((suffix.data[0] | 32) != 'e')
                return -EINVAL;

        bool negative = suffix.length > 1 && suffix.data[1] == '-';
        bool sign = negative || (suffix.length > 1 && suffix.data[1] == '+');
        struct str digits = str_slice(suffix, sign ? 2 : 1, suffix.length);
        uint64_t exponent;
        if (str_to_u64(digits, 1000, &exponent) < 0)
                return -EINVAL;
        *ret_exponent = negative ? -(int)exponent : (int)exponent;
        *ret_format = QUANTITY_EXPONENT;
        return 0;
}

/* In billionths, rounded away from zero. */
static __int128 to_nano(struct mantissa m, int exponent, int shift)
{
        __int128 nano = m.digits;
        bool sticky = m.sticky;

        if (__builtin_mul_overflow(nano, (__int128)1 << shift, &nano))
                return NANO_MAX;
        exponent += m.exponent + 9;
        for (; exponent > 0 && nano > 0; exponent--)
                if (__builtin_mul_overflow(nano, 10, &nano))
                        return NANO_MAX;
        for (; exponent < 0 && nano > 0; exponent++) {
                sticky |= nano % 10 != 0;
                nano /= 10;
        }
        nano += sticky;
        return MIN(nano, NANO_MAX);
}

int quantity_parse(struct str text, struct quantity *ret_quantity)
{
        struct mantissa m;
        enum quantity_format format;
        int exponent, shift;
        size_t at = parse_mantissa(text, &m);

        if (at == SIZE_MAX ||
            parse_suffix(str_slice(text, at, text.length), &exponent, &shift, &format) < 0)
                return -EINVAL;
        __int128 nano = to_nano(m, exponent, shift);
        *ret_quantity = (struct quantity){ m.negative ? -nano : nano, format };
        return 0;
}

int quantity_read(struct json_value value, struct quantity *ret_quantity)
{
        if (json_type(value) == JSON_STRING)
                return quantity_parse(json_string(value), ret_quantity);
        if (json_type(value) == JSON_NUMBER)
                return quantity_parse(json_text(value), ret_quantity);
        return -EINVAL;
}

static int64_t divide(__int128 nano, __int128 unit)
{
        __int128 quotient = nano / unit, rest = nano % unit;

        quotient += (rest > 0) - (rest < 0);
        return (int64_t)MAX(MIN(quotient, (__int128)INT64_MAX), -(__int128)INT64_MAX);
}

int64_t quantity_milli(const struct quantity *quantity)
{
        return divide(quantity->nano, 1000000);
}

int64_t quantity_whole(const struct quantity *quantity)
{
        return divide(quantity->nano, 1000000000);
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
        return (a->nano > b->nano) - (a->nano < b->nano);
}

struct quantity quantity_add(const struct quantity *a, const struct quantity *b)
{
        __int128 nano = a->nano + b->nano;

        return (struct quantity){ MAX(MIN(nano, NANO_MAX), -NANO_MAX),
                                  a->nano ? a->format : b->format };
}

struct str quantity_format(const struct quantity *quantity, char text[static QUANTITY_SIZE])
{
        static const char *const decimal[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
        static const char *const binary[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
        const __int128 unit = 1000000000;
        __int128 value = quantity->nano;
        const char *suffix = "";
        char exponent[8];
        size_t step = 0;

        if (value == 0)
                return (struct str){ text, (size_t)snprintf(text, QUANTITY_SIZE, "0") };
        if (quantity->format == QUANTITY_BINARY && value % unit == 0 &&
            (value >= 1024 * unit || value <= -1024 * unit)) {
                value /= unit;
                for (; value % 1024 == 0 && step + 1 < ARRAY_SIZE(binary); step++)
                        value /= 1024;
                suffix = binary[step];
        } else {
                for (; value % 1000 == 0 && step + 1 < ARRAY_SIZE(decimal); step++)
                        value /= 1000;
                suffix = decimal[step];
                if (quantity->format == QUANTITY_EXPONENT && step != 3) {
                        snprintf(exponent, sizeof(exponent), "e%d", ((int)step - 3) * 3);
                        suffix = exponent;
                }
        }
        /* What is left has at most 28 digits, more than printf's widest type. */
        const __int128 half = 1000000000000000;
        bool negative = value < 0;
        unsigned long long high = (unsigned long long)((negative ? -value : value) / half);
        unsigned long long low = (unsigned long long)((negative ? -value : value) % half);
        int length = high > 0 ? snprintf(text, QUANTITY_SIZE, "%s%llu%015llu%s",
                                         negative ? "-" : "", high, low, suffix)
                              : snprintf(text, QUANTITY_SIZE, "%s%llu%s", negative ? "-" : "", low,
                                         suffix);
        return (struct str){ text, (size_t)length };
}
