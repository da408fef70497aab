// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

int str_compare(struct str a, struct str b)
{
        size_t shared = MIN(a.length, b.length);
        int order = shared > 0 ? memcmp(a.data, b.data, shared) : 0;

        if (order != 0)
                return order;
        return (a.length > b.length) - (a.length < b.length);
}

static char to_lower(char c)
{
        return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_equal_ignoring_case(struct str a, struct str b)
{
        if (a.length != b.length)
                return false;
        for (size_t i = 0; i < a.length; i++)
                if (to_lower(a.data[i]) != to_lower(b.data[i]))
                        return false;
        return true;
}

bool str_cut(struct str s, char separator, struct str *ret_head, struct str *ret_tail)
{
        const char *at = s.length > 0 ? memchr(s.data, separator, s.length) : NULL;

        if (!at) {
                *ret_head = s;
                *ret_tail = STR_EMPTY;
                return false;
        }
        size_t position = (size_t)(at - s.data);
        *ret_head = str_slice(s, 0, position);
        *ret_tail = str_slice(s, position + 1, s.length);
        return true;
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
        while (s.length > 0 && is_blank(s.data[0]))
                s = str_slice(s, 1, s.length);
        while (s.length > 0 && is_blank(s.data[s.length - 1]))
                s.length--;
        return s;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (s.length == 0)
                return -EINVAL;
        for (size_t i = 0; i < s.length; i++) {
                if (s.data[i] < '0' || s.data[i] > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(value, 10u, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
                        return -ERANGE;
        }
        if (value > max)
                return -ERANGE;
        *ret_value = value;
        return 0;
}

char *str_dup(struct str s)
{
        char *copy = malloc(s.length + 1);

        if (!copy)
                return NULL;
        if (s.length > 0)
                memcpy(copy, s.data, s.length);
        copy[s.length] = '\0';
        return copy;
}

uint32_t str_fnv1a(struct str s)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < s.length; i++) {
                hash ^= (unsigned char)s.data[i];
                hash *= 16777619u;
        }
        return hash;
}
