// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macro.h"

/* A view of bytes that somebody else owns. Not NUL-terminated. `data` may be NULL if length is 0.
 */
struct str {
        const char *data;
        size_t length;
};

#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })
#define STR_EMPTY    ((struct str){ NULL, 0 })

/* Arguments for a printf "%.*s" of a str. */
#define STR_FORMAT(s) (int)(s).length, (s).data

static inline struct str str_from(const char *text)
{
        return (struct str){ text, text ? strlen(text) : 0 };
}

static inline struct str str_slice(struct str s, size_t from, size_t to)
{
        assert(from <= to && to <= s.length);
        /* Of the empty one, whose data may be NULL, there is nothing to step over. */
        return (struct str){ from > 0 ? s.data + from : s.data, to - from };
}

static inline bool str_equal(struct str a, struct str b)
{
        return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline bool str_starts_with(struct str s, struct str prefix)
{
        return s.length >= prefix.length &&
               (prefix.length == 0 || memcmp(s.data, prefix.data, prefix.length) == 0);
}

static inline bool str_ends_with(struct str s, struct str suffix)
{
        return s.length >= suffix.length &&
               (suffix.length == 0 ||
                memcmp(s.data + s.length - suffix.length, suffix.data, suffix.length) == 0);
}

/* Orders bytewise, shorter first; like strcmp(). */
int str_compare(struct str a, struct str b);

/* ASCII only, as header names and Kubernetes enums are. */
bool str_equal_ignoring_case(struct str a, struct str b);

/*
 * Cuts `s` at the first `separator`: *ret_head is what stands before it (all of `s` if there is
 * none), *ret_tail what follows. Returns whether the separator was there. Outputs may alias `s`.
 */
bool str_cut(struct str s, char separator, struct str *ret_head, struct str *ret_tail);

/* Without spaces and tabs at both ends. */
struct str str_trim(struct str s);

/*
 * Decimal digits only, no sign, no blanks, at most `max`.
 * Returns 0, -EINVAL (not a number) or -ERANGE.
 */
int str_to_u64(struct str s, uint64_t max, uint64_t *ret_value);

/* The value of a hexadecimal digit of either case; -1: it is none. */
static inline int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A NUL-terminated copy on the heap, to be freed; NULL without memory. Embedded NULs are kept. */
char *str_dup(struct str s);

static inline void str_freep(char **text)
{
        __builtin_free(*text);
}
#define _cleanup_free_ _cleanup_(str_freep)

/* 32-bit FNV-1a over the bytes. Also Agent Sandbox's NameHash when printed as %08x. */
uint32_t str_fnv1a(struct str s);
