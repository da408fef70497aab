// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "json/json.h"
#include "json/writer.h"

/* metav1.Condition. Views into the document. */
struct condition {
        struct str type, status, reason, message;
        struct str last_transition; /* RFC 3339 */
        int64_t observed_generation;
};

/* Finds a condition in a status.conditions array. False when there is none of that type. */
bool condition_find(struct json_value conditions, struct str type, struct condition *ret);

/* Whether the condition is there with status "True". */
bool condition_is_true(struct json_value conditions, struct str type);

enum { CONDITIONS_MAX = 8 };

/*
 * The conditions that a controller wants, in order. lastTransitionTime is kept from the present
 * ones where the status is the same, else it is `now`.
 */
struct condition_list {
        struct json_value present;
        int64_t generation;
        uint64_t now_ns; /* realtime */
        struct condition items[CONDITIONS_MAX];
        size_t count;
};

void conditions_init(struct condition_list *list, struct json_value present, int64_t generation,
                     uint64_t now_ns);

/* Replaces or appends. The strings are borrowed until the list was written. */
void conditions_set(struct condition_list *list, struct str type, struct str status,
                    struct str reason, struct str message);

/* Takes over a present condition as it is, if there is one. */
void conditions_keep(struct condition_list *list, struct str type);

/* NULL when the type was not set. */
const struct condition *conditions_get(const struct condition_list *list, struct str type);

/* Writes them as an array. */
void conditions_write(const struct condition_list *list, struct json_writer *writer);

/* Whether writing them would leave the present ones as they are. */
bool conditions_are_present(const struct condition_list *list);
