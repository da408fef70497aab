// SPDX-License-Identifier: Apache-2.0
#include "kube/quantity.h"

#include <errno.h>
#include <stdbool.h>

#define NANO INT64_C(1000000000)

/* Saturation: 2^63 - 1 units. */
static const __int128 largest = (__int128)INT64_MAX * NANO;

static const struct {
        const char *suffix;
        int decimal; /* power of ten, in units */
        int binary;  /* power of two */
        enum quantity_format format;
} suffixes[] = {
        { "n", -9, 0, QUANTITY_DECIMAL }, { "u", -6, 0, QUANTITY_DECIMAL },
        { "m", -3, 0, QUANTITY_DECIMAL }, { "", 0, 0, QUANTITY_DECIMAL },
        { "k", 3, 0, QUANTITY_DECIMAL },  { "M", 6, 0, QUANTITY_DECIMAL },
        { "G", 9, 0, QUANTITY_DECIMAL },  { "T", 12, 0, QUANTITY_DECIMAL },
        { "P", 15, 0, QUANTITY_DECIMAL }, { "E", 18, 0, QUANTITY_DECIMAL },
        { "Ki", 0, 10, QUANTITY_BINARY }, { "Mi", 0, 20, QUANTITY_BINARY },
        { "Gi", 0, 30, QUANTITY_BINARY }, { "Ti", 0, 40, QUANTITY_BINARY },
        { "Pi", 0, 50, QUANTITY_BINARY }, { "Ei", 0, 60, QUANTITY_BINARY },
};

struct scale {
        int decimal, binary;
        enum quantity_format format;
};

static int read_suffix(struct str s, struct scale *ret)
{
        uint64_t exponent;
        bool negative;

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                if (str_equal(s, str_from(suffixes[i].suffix))) {
                        *ret = (struct scale){ suffixes[i].decimal, suffixes[i].binary,
                                               suffixes[i].format };
                        return 0;
                }
        }
        if (s.length < 2 || (s.data[0] != 'e' && s.data[0] != 'E'))
                return -EINVAL;
        s = str_slice(s, 1, s.length);
        negative = s.data[0] == '-';
        if (negative || s.data[0] == '+')
                s = str_slice(s, 1, s.length);
        if (str_to_u64(s, 1000, &exponent) < 0)
                return -EINVAL;
        *ret = (struct scale){ negative ? -(int)exponent : (int)exponent, 0, QUANTITY_EXPONENT };
        return 0;
}

/* value × 10^power, away from zero, saturating. */
static __int128 scale_decimal(__int128 value, int power)
{
        bool remainder = false;

        for (; power > 0 && value > 0; power--)
                value = value > largest / 10 ? largest : value * 10;
        for (; power < 0 && value > 0; power++) {
                remainder |= value % 10 != 0;
                value /= 10;
        }
        return value + remainder;
}

int quantity_parse(struct str text, struct quantity *ret_quantity)
{
        __int128 value = 0;
        size_t i = 0, digits = 0;
        int power = 0, r;
        bool negative = false, point = false;
        struct scale scale;

        if (text.length && (text.data[0] == '-' || text.data[0] == '+')) {
                negative = text.data[0] == '-';
                i++;
        }
        for (; i < text.length; i++) {
                char c = text.data[i];

                if (c == '.' && !point) {
                        point = true;
                        continue;
                }
                if (c < '0' || c > '9')
                        break;
                digits++;
                /* Beyond what can matter, digits only count as places. */
                if (value > largest / 10) {
                        power += !point;
                        continue;
                }
                value = value * 10 + (c - '0');
                power -= point;
        }
        if (digits == 0)
                return -EINVAL;
        r = read_suffix(str_slice(text, i, text.length), &scale);
        if (r < 0)
                return r;
        for (int j = 0; j < scale.binary; j++)
                value = value > largest ? value : value * 2;
        value = MIN(scale_decimal(value, power + scale.decimal + 9), largest);
        *ret_quantity =
                (struct quantity){ .nano = negative ? -value : value, .format = scale.format };
        return 0;
}

int quantity_read(struct json_value value, struct quantity *ret_quantity)
{
        switch (json_type(value)) {
        case JSON_STRING:
                return quantity_parse(json_string(value), ret_quantity);
        case JSON_NUMBER:
                return quantity_parse(json_text(value), ret_quantity);
        default:
                return -EINVAL;
        }
}

static int64_t in_units(const struct quantity *quantity, int64_t unit)
{
        __int128 value = quantity->nano / unit;

        value += quantity->nano > 0 && quantity->nano % unit != 0;
        return (int64_t)MAX(MIN(value, (__int128)INT64_MAX), (__int128)INT64_MIN);
}

int64_t quantity_milli(const struct quantity *quantity)
{
        return in_units(quantity, NANO / 1000);
}

int64_t quantity_whole(const struct quantity *quantity)
{
        return in_units(quantity, NANO);
}

int quantity_compare(const struct quantity *a, const struct quantity *b)
{
        return a->nano < b->nano ? -1 : a->nano > b->nano;
}
