// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <assert.h>
#include <stddef.h>

/* Runs `function(&variable)` when the variable leaves its scope (gcc and clang attribute). */
#define _cleanup_(function) __attribute__((cleanup(function)))
#define _printf_(format_index, first_argument)                                                     \
        __attribute__((format(printf, format_index, first_argument)))
#define _must_check_ __attribute__((warn_unused_result))
#define _unused_     __attribute__((unused))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* <sys/param.h>, which <uv.h> brings along, has the same two. */
#ifndef MIN
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

/* The struct of type `type` whose member `member` is at `pointer`. */
#define container_of(pointer, type, member)                                                        \
        ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/*
 * Defines `name`, a cleanup function for variables of pointer type `type *` that calls
 * `release` unless the pointer is NULL.
 */
#define DEFINE_POINTER_CLEANUP(name, type, release)                                                \
        static inline void name(type **pointer)                                                    \
        {                                                                                          \
                if (*pointer)                                                                      \
                        release(*pointer);                                                         \
        }

/* Moves ownership out of a `_cleanup_` variable: returns its value and leaves NULL behind. */
#define TAKE_POINTER(pointer)                                                                      \
        ({                                                                                         \
                __typeof__(pointer) _p = (pointer);                                                \
                (pointer) = NULL;                                                                  \
                _p;                                                                                \
        })
