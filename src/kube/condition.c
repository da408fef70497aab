// SPDX-License-Identifier: Apache-2.0
#include "kube/condition.h"

#include "base/clock.h"

static struct condition read_condition(struct json_value value)
{
        return (struct condition){
                .type = json_string(json_get(value, "type")),
                .status = json_string(json_get(value, "status")),
                .reason = json_string(json_get(value, "reason")),
                .message = json_string(json_get(value, "message")),
                .observed_generation = json_int64_or(json_get(value, "observedGeneration"), 0),
                .last_transition = json_string(json_get(value, "lastTransitionTime")),
        };
}

bool condition_find(struct json_value conditions, struct str type, struct condition *ret_condition)
{
        json_for_each (it, conditions) {
                if (!json_string_is(json_get(it.value, "type"), type))
                        continue;
                *ret_condition = read_condition(it.value);
                return true;
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
                            struct str last_transition, uint64_t now_ns)
{
        char now[RFC3339_SECONDS_SIZE];

        if (last_transition.length == 0) {
                rfc3339_format_seconds(now_ns, now);
                last_transition = str_from(now);
        }
        json_begin_object(writer);
        json_field_string(writer, "type", condition->type);
        json_field_string(writer, "status", condition->status);
        if (condition->observed_generation != 0)
                json_field_int(writer, "observedGeneration", condition->observed_generation);
        json_field_string(writer, "lastTransitionTime", last_transition);
        json_field_string(writer, "reason", condition->reason);
        json_field_string(writer, "message", condition->message);
        json_end_object(writer);
}

static bool is_removed(const char *const *remove, struct str type)
{
        for (; remove && *remove; remove++)
                if (str_equal(str_from(*remove), type))
                        return true;
        return false;
}

static const struct condition *find_set(const struct condition *set, size_t count, struct str type)
{
        for (size_t i = 0; i < count; i++)
                if (str_equal(set[i].type, type))
                        return &set[i];
        return NULL;
}

void conditions_write(struct json_writer *writer, struct json_value old,
                      const struct condition *set, size_t count, const char *const *remove,
                      uint64_t now_ns)
{
        struct condition before;

        json_begin_array(writer);
        json_for_each (it, old) {
                before = read_condition(it.value);
                if (is_removed(remove, before.type))
                        continue;
                const struct condition *new = find_set(set, count, before.type);
                if (!new || (condition_same(new, &before) && before.last_transition.length > 0)) {
                        json_write_value(writer, it.value);
                        continue;
                }
                bool flips = !str_equal(new->status, before.status);
                write_condition(writer, new, flips ? STR_EMPTY : before.last_transition, now_ns);
        }
        for (size_t i = 0; i < count; i++)
                if (!condition_find(old, set[i].type, &before) && !is_removed(remove, set[i].type))
                        write_condition(writer, &set[i], STR_EMPTY, now_ns);
        json_end_array(writer);
}
