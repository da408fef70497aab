// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "node/pod_spec.h"

/*
 * What the parts of the Pod reader share. Each reading function returns 0 or what
 * pod_spec_read() returns, with the sentence set; it says where by the path that was entered.
 */
struct pod_reader {
        struct arena *arena;
        struct error *error;
        struct pod_spec *spec;
        char path[256]; /* "spec.containers[0].env[3]" */
        size_t path_length;
        struct pod_security security; /* of the Pod, which its containers start from */
};

/* Appends to the path ("spec", ".env[3]"); returns the length to go back to. */
_printf_(2, 3) size_t pod_path_enter(struct pod_reader *reader, const char *format, ...);
void pod_path_leave(struct pod_reader *reader, size_t length);

/* Sets "PATH.key: sentence" (PATH alone when `key` is NULL) and returns `code`. */
_printf_(4, 5) int pod_refuse(struct pod_reader *reader, int code, const char *key,
                              const char *format, ...);

/*
 * Refuses the first member that is not in `known` (ended by NULL) and says something: null,
 * false, 0, "", [] and {} say nothing.
 */
int pod_check_members(struct pod_reader *reader, struct json_value object,
                      const char *const *known);

/* Absent and null give `fallback`. Strings with a NUL inside are refused. */
int pod_read_string(struct pod_reader *reader, struct json_value object, const char *key,
                    struct str fallback, struct str *ret);
int pod_read_bool(struct pod_reader *reader, struct json_value object, const char *key,
                  bool fallback, bool *ret);
int pod_read_int(struct pod_reader *reader, struct json_value object, const char *key, int64_t min,
                 int64_t max, int64_t fallback, int64_t *ret);
int pod_read_strings(struct pod_reader *reader, struct json_value object, const char *key,
                     struct pod_strings *ret);

/* A string that is one of `names`; its index. */
int pod_read_enum(struct pod_reader *reader, struct json_value object, const char *key,
                  const char *const *names, size_t count, unsigned fallback, unsigned *ret);

/* The array `key` of `object`: its length, refused above `limit`, and room for as many items. */
#define pod_read_array(reader, object, key, limit, type, ret_items, ret_count)                     \
        ({                                                                                         \
                void *_items;                                                                      \
                int _r = pod_read_array_of((reader), (object), (key), (limit), sizeof(type),       \
                                           &_items, (ret_count));                                  \
                if (_r >= 0)                                                                       \
                        *(ret_items) = (type *)_items;                                             \
                _r;                                                                                \
        })
int pod_read_array_of(struct pod_reader *reader, struct json_value object, const char *key,
                      size_t limit, size_t size, void **ret_items, size_t *ret_count);

/* A path below some folder: relative, without "..", "." or empty parts. */
bool pod_path_is_relative(struct str path);

/* One container of spec.containers or spec.initContainers; volumes were read before. */
int pod_read_container(struct pod_reader *reader, struct json_value value, bool is_init,
                       struct pod_container *container);

/* securityContext members that Pods and containers share. */
int pod_read_security(struct pod_reader *reader, struct json_value context,
                      struct pod_security *security);

/* "1", "1Mi", "1m": in thousandths, at least 1; absent is 1000. */
int pod_read_divisor(struct pod_reader *reader, struct json_value reference, uint64_t *ret);

/* All of spec.volumes. */
int pod_read_volumes(struct pod_reader *reader, struct json_value pod_spec);
