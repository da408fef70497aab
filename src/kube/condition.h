// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "json/json.h"
#include "json/writer.h"

/* metav1.Condition. Views. */
struct condition {
        struct str type;
        struct str status; /* "True", "False", "Unknown" */
        struct str reason;
        struct str message;
        int64_t observed_generation; /* 0: absent */
        struct str last_transition;  /* RFC 3339; for reading only */
};

/* The entry of `conditions` (an array, or absent) with this type. Returns whether it is there. */
bool condition_find(struct json_value conditions, struct str type, struct condition *ret_condition);

/* Whether the condition is there with status "True". */
bool condition_is_true(struct json_value conditions, struct str type);

/* Same status, reason, message and observedGeneration: nothing to write. */
bool condition_same(const struct condition *a, const struct condition *b);

/*
 * Writes the array that comes of `old` when each of `set` is put in: entries keep their place, new
 * ones are appended, entries of other types stay as they are (also fields we do not know).
 * lastTransitionTime is kept while the status stays, else it becomes `now_ns` (realtime). Types in
 * `remove` (NULL-terminated, or NULL) are left out.
 */
void conditions_write(struct json_writer *writer, struct json_value old,
                      const struct condition *set, size_t count, const char *const *remove,
                      uint64_t now_ns);
