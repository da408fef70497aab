// SPDX-License-Identifier: Apache-2.0
#include "json/yaml_scalar.h"

#include <errno.h>

static const struct {
        struct str word;
        enum yaml_scalar kind;
        struct str json;
} words[] = {
        { STR(""), YAML_SCALAR_NULL, STR("null") },
        { STR("~"), YAML_SCALAR_NULL, STR("null") },
        { STR("null"), YAML_SCALAR_NULL, STR("null") },
        { STR("Null"), YAML_SCALAR_NULL, STR("null") },
        { STR("NULL"), YAML_SCALAR_NULL, STR("null") },
        { STR("true"), YAML_SCALAR_BOOL, STR("true") },
        { STR("True"), YAML_SCALAR_BOOL, STR("true") },
        { STR("TRUE"), YAML_SCALAR_BOOL, STR("true") },
        { STR("y"), YAML_SCALAR_BOOL, STR("true") },
        { STR("Y"), YAML_SCALAR_BOOL, STR("true") },
        { STR("yes"), YAML_SCALAR_BOOL, STR("true") },
        { STR("Yes"), YAML_SCALAR_BOOL, STR("true") },
        { STR("YES"), YAML_SCALAR_BOOL, STR("true") },
        { STR("on"), YAML_SCALAR_BOOL, STR("true") },
        { STR("On"), YAML_SCALAR_BOOL, STR("true") },
        { STR("ON"), YAML_SCALAR_BOOL, STR("true") },
        { STR("false"), YAML_SCALAR_BOOL, STR("false") },
        { STR("False"), YAML_SCALAR_BOOL, STR("false") },
        { STR("FALSE"), YAML_SCALAR_BOOL, STR("false") },
        { STR("n"), YAML_SCALAR_BOOL, STR("false") },
        { STR("N"), YAML_SCALAR_BOOL, STR("false") },
        { STR("no"), YAML_SCALAR_BOOL, STR("false") },
        { STR("No"), YAML_SCALAR_BOOL, STR("false") },
        { STR("NO"), YAML_SCALAR_BOOL, STR("false") },
        { STR("off"), YAML_SCALAR_BOOL, STR("false") },
        { STR("Off"), YAML_SCALAR_BOOL, STR("false") },
        { STR("OFF"), YAML_SCALAR_BOOL, STR("false") },
        { STR(".inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR(".Inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR(".INF"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("+.inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("+.Inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("+.INF"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("-.inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("-.Inf"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("-.INF"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR(".nan"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR(".NaN"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR(".NAN"), YAML_SCALAR_SPECIAL_FLOAT, STR("") },
        { STR("<<"), YAML_SCALAR_MERGE, STR("") },
};

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static size_t skip_digits(struct str text, size_t at)
{
        while (at < text.length && is_digit(text.data[at]))
                at++;
        return at;
}

/* Digits of a base; a number beyond 64 bits is no integer. */
static bool parse_digits(struct str digits, unsigned base, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (digits.length == 0)
                return false;
        for (size_t i = 0; i < digits.length; i++) {
                int digit = hex_digit(digits.data[i]);
                if (digit < 0 || (unsigned)digit >= base ||
                    __builtin_mul_overflow(value, base, &value) ||
                    __builtin_add_overflow(value, (unsigned)digit, &value))
                        return false;
        }
        *ret_value = value;
        return true;
}

/* Go's ParseInt and ParseUint with base 0. */
static bool parse_integer(struct str text, bool *ret_negative, uint64_t *ret_value)
{
        bool negative = text.data[0] == '-', sign = negative || text.data[0] == '+';
        struct str digits = str_slice(text, sign, text.length);
        unsigned base = 10;

        if (digits.length > 1 && digits.data[0] == '0') {
                char letter = (char)(digits.data[1] | 32);
                base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
                bool prefixed = base != 8 || letter == 'o';
                digits = str_slice(digits, prefixed ? 2 : 1, digits.length);
        }
        if (!parse_digits(digits, base, ret_value))
                return false;
        if (sign && *ret_value > (uint64_t)INT64_MAX + negative)
                return false;
        *ret_negative = negative && *ret_value > 0;
        return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?, written as JSON wants it. */
static int parse_float(struct str text, struct buffer *json)
{
        bool sign = text.data[0] == '-' || text.data[0] == '+';
        size_t integer = sign, point = skip_digits(text, integer), end = point;

        if (end < text.length && text.data[end] == '.') {
                end = skip_digits(text, end + 1);
                if (point == integer && end == point + 1)
                        return YAML_SCALAR_STRING;
        } else if (point == integer) {
                return YAML_SCALAR_STRING;
        }
        size_t exponent = end;
        if (end < text.length && (text.data[end] | 32) == 'e') {
                size_t digits = end + 1;
                if (digits < text.length && (text.data[digits] == '-' || text.data[digits] == '+'))
                        digits++;
                end = skip_digits(text, digits);
                if (end == digits)
                        return YAML_SCALAR_STRING;
        }
        if (end != text.length)
                return YAML_SCALAR_STRING;
        if (!json)
                return YAML_SCALAR_FLOAT;

        while (integer < point && text.data[integer] == '0')
                integer++;
        int r = text.data[0] == '-' ? buffer_append_char(json, '-') : 0;
        if (r == 0)
                r = integer < point ? buffer_append_str(json, str_slice(text, integer, point))
                                    : buffer_append_char(json, '0');
        if (r == 0 && exponent > point + 1)
                r = buffer_append_str(json, str_slice(text, point, exponent));
        if (r == 0)
                r = buffer_append_str(json, str_slice(text, exponent, end));
        return r < 0 ? r : YAML_SCALAR_FLOAT;
}

static int parse_number(struct str text, struct buffer *json)
{
        _cleanup_buffer_ struct buffer plain = {};
        uint64_t value;
        bool negative;
        int r = 0;

        for (size_t i = 0; i < text.length && r == 0; i++)
                if (text.data[i] != '_')
                        r = buffer_append_char(&plain, text.data[i]);
        if (r < 0)
                return r;
        if (!parse_integer(buffer_str(&plain), &negative, &value))
                return parse_float(buffer_str(&plain), json);
        if (json)
                r = buffer_printf(json, "%s%llu", negative ? "-" : "", (unsigned long long)value);
        return r < 0 ? r : YAML_SCALAR_INTEGER;
}

int yaml_resolve(struct str text, struct buffer *json)
{
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                if (!str_equal(words[i].word, text))
                        continue;
                int r = json ? buffer_append_str(json, words[i].json) : 0;
                return r < 0 ? r : (int)words[i].kind;
        }
        if (is_digit(text.data[0]) || text.data[0] == '+' || text.data[0] == '-' ||
            text.data[0] == '.')
                return parse_number(text, json);
        return YAML_SCALAR_STRING;
}

/* One or more parts of at most `width` digits with `separator` between them; returns the end. */
static size_t skip_parts(struct str text, size_t at, unsigned parts, char separator)
{
        for (unsigned i = 0; i < parts; i++) {
                if (i > 0 && (at >= text.length || text.data[at++] != separator))
                        return SIZE_MAX;
                size_t end = skip_digits(text, at);
                if (end == at || end - at > 4)
                        return SIZE_MAX;
                at = end;
        }
        return at;
}

static bool looks_like_time(struct str text)
{
        if (text.length < 8 || skip_digits(text, 0) != 4)
                return false;
        size_t at = skip_parts(text, 0, 3, '-');
        if (at == SIZE_MAX)
                return false;
        if (at == text.length)
                return true;
        if ((text.data[at] | 32) != 't' && text.data[at] != ' ')
                return false;
        return skip_parts(text, at + 1, 3, ':') != SIZE_MAX;
}

/* 12:30:45 was a number once: [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)? */
static bool looks_like_sexagesimal(struct str text)
{
        size_t at = text.length > 0 && (text.data[0] == '-' || text.data[0] == '+');
        size_t end = skip_digits(text, at);

        if (end == at || end == text.length || text.data[end] != ':')
                return false;
        while (end < text.length && text.data[end] == ':') {
                at = end + 1;
                end = skip_digits(text, at);
                if (end == at || end - at > 2)
                        return false;
        }
        return end == text.length || text.data[end] == '.';
}

bool yaml_needs_quotes(struct str text)
{
        return yaml_resolve(text, NULL) != YAML_SCALAR_STRING || looks_like_time(text) ||
               looks_like_sexagesimal(text);
}
