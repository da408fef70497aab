// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "json/index.h"

/* A decimal number: its significant digits (a point may stand among them) times 10^exponent. */
struct decimal {
        bool negative;
        const char *first, *last; /* first and last digit that is not 0; NULL for zero */
        int64_t exponent;         /* of the last digit */
};

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static int64_t parse_exponent(const char *at, const char *end)
{
        enum { EXPONENT_MAX = 1000000000 };
        bool negative = *at == '-';
        int64_t value = 0;

        if (*at == '-' || *at == '+')
                at++;
        for (; at < end; at++)
                if (value < EXPONENT_MAX)
                        value = value * 10 + (*at - '0');
        return negative ? -value : value;
}

static struct decimal parse_decimal(struct str text)
{
        struct decimal decimal = {};
        const char *at = text.data, *end = text.data + text.length;
        const char *point = NULL;

        if (at < end && *at == '-') {
                decimal.negative = true;
                at++;
        }
        for (; at < end && (is_digit(*at) || *at == '.'); at++) {
                if (*at == '.') {
                        point = at;
                        continue;
                }
                if (*at == '0')
                        continue;
                if (!decimal.first)
                        decimal.first = at;
                decimal.last = at;
        }
        if (!decimal.first)
                return (struct decimal){};

        const char *mantissa_end = at;
        if (!point)
                point = mantissa_end;
        decimal.exponent = decimal.last < point ? point - decimal.last - 1 : point - decimal.last;
        if (mantissa_end < end)
                decimal.exponent += parse_exponent(mantissa_end + 1, end);
        return decimal;
}

int json_number_to_int64(struct str text, int64_t *ret_value)
{
        struct decimal decimal = parse_decimal(text);
        int64_t value = 0;

        if (!decimal.first) {
                *ret_value = 0;
                return 0;
        }
        if (decimal.exponent < 0)
                return -EINVAL;
        if (decimal.exponent > 18)
                return -ERANGE;
        for (const char *at = decimal.first; at <= decimal.last; at++) {
                if (*at == '.')
                        continue;
                int64_t digit = decimal.negative ? '0' - *at : *at - '0';
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, digit, &value))
                        return -ERANGE;
        }
        for (int64_t i = 0; i < decimal.exponent; i++)
                if (__builtin_mul_overflow(value, 10, &value))
                        return -ERANGE;
        *ret_value = value;
        return 0;
}

bool json_number_equal(struct str a, struct str b)
{
        if (str_equal(a, b))
                return true;

        struct decimal x = parse_decimal(a), y = parse_decimal(b);
        if (!x.first || !y.first)
                return !x.first && !y.first;
        if (x.negative != y.negative || x.exponent != y.exponent)
                return false;
        while (x.first <= x.last && y.first <= y.last) {
                if (*x.first == '.') {
                        x.first++;
                } else if (*y.first == '.') {
                        y.first++;
                } else if (*x.first++ != *y.first++) {
                        return false;
                }
        }
        return x.first > x.last && y.first > y.last;
}
