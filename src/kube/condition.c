// SPDX-License-Identifier: Apache-2.0
#include "kube/condition.h"

#include <assert.h>

#include "base/clock.h"

static void read_condition(struct json_value value, struct condition *ret)
{
        *ret = (struct condition){
                .type = json_string(json_get(value, "type")),
                .status = json_string(json_get(value, "status")),
                .reason = json_string(json_get(value, "reason")),
                .message = json_string(json_get(value, "message")),
                .last_transition = json_string(json_get(value, "lastTransitionTime")),
                .observed_generation = json_int64_or(json_get(value, "observedGeneration"), 0),
        };
}

bool condition_find(struct json_value conditions, struct str type, struct condition *ret)
{
        json_for_each (it, conditions) {
                if (json_string_is(json_get(it.value, "type"), type)) {
                        read_condition(it.value, ret);
                        return true;
                }
        }
        return false;
}

bool condition_is_true(struct json_value conditions, struct str type)
{
        struct condition condition;

        return condition_find(conditions, type, &condition) &&
               str_equal(condition.status, STR("True"));
}

bool condition_same(const struct condition *a, const struct condition *b)
{
        return str_equal(a->status, b->status) && str_equal(a->reason, b->reason) &&
               str_equal(a->message, b->message) &&
               a->observed_generation == b->observed_generation;
}

static void write_condition(struct json_writer *writer, const struct condition *condition,
                            struct json_value old, uint64_t now_ns)
{
        struct str status = json_string(json_get(old, "status"));
        struct str transition = json_string(json_get(old, "lastTransitionTime"));
        char now[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(now_ns, now);
        json_begin_object(writer);
        json_field_string(writer, "type", condition->type);
        json_field_string(writer, "status", condition->status);
        if (condition->observed_generation)
                json_field_int(writer, "observedGeneration", condition->observed_generation);
        json_field_string(writer, "lastTransitionTime",
                          transition.length && str_equal(status, condition->status)
                                  ? transition
                                  : str_from(now));
        json_field_string(writer, "reason", condition->reason);
        json_field_string(writer, "message", condition->message);
        json_end_object(writer);
}

static bool is_among(struct str type, const char *const *list)
{
        for (; list && *list; list++) {
                if (str_equal(type, str_from(*list)))
                        return true;
        }
        return false;
}

void conditions_write(struct json_writer *writer, struct json_value old,
                      const struct condition *set, size_t count, const char *const *remove,
                      uint64_t now_ns)
{
        struct json_value none = { 0 };

        json_begin_array(writer);
        json_for_each (it, old) {
                struct str type = json_string(json_get(it.value, "type"));
                size_t i = 0;

                while (i < count && !str_equal(set[i].type, type))
                        i++;
                if (i < count)
                        write_condition(writer, &set[i], it.value, now_ns);
                else if (!is_among(type, remove))
                        json_write_value(writer, it.value);
        }
        for (size_t i = 0; i < count; i++) {
                struct condition present;

                if (!condition_find(old, set[i].type, &present))
                        write_condition(writer, &set[i], none, now_ns);
        }
        json_end_array(writer);
}
