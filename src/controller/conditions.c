// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "base/clock.h"
#include "controller/internal.h"

void conditions_init(struct condition_list *list, struct json_value present, int64_t generation,
                     uint64_t now_ns)
{
        *list = (struct condition_list){ .present = present,
                                         .generation = generation,
                                         .now_ns = now_ns };
}

static struct condition *find_or_add(struct condition_list *list, struct str type)
{
        for (size_t i = 0; i < list->count; i++) {
                if (str_equal(list->items[i].type, type))
                        return &list->items[i];
        }
        assert(list->count < CONDITIONS_MAX);
        return &list->items[list->count++];
}

void conditions_set(struct condition_list *list, struct str type, struct str status,
                    struct str reason, struct str message)
{
        struct condition present;
        struct condition *item = find_or_add(list, type);

        *item = (struct condition){
                .type = type,
                .status = status,
                .reason = reason,
                .message = message,
                .observed_generation = list->generation,
        };
        if (condition_find(list->present, type, &present) && str_equal(present.status, status))
                item->last_transition = present.last_transition;
}

void conditions_keep(struct condition_list *list, struct str type)
{
        struct condition present;

        if (condition_find(list->present, type, &present))
                *find_or_add(list, type) = present;
}

const struct condition *conditions_get(const struct condition_list *list, struct str type)
{
        for (size_t i = 0; i < list->count; i++) {
                if (str_equal(list->items[i].type, type))
                        return &list->items[i];
        }
        return NULL;
}

void conditions_put(const struct condition_list *list, struct json_writer *writer)
{
        char now[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(list->now_ns, now);
        json_begin_array(writer);
        for (size_t i = 0; i < list->count; i++) {
                const struct condition *item = &list->items[i];

                json_begin_object(writer);
                json_field_string(writer, "type", item->type);
                json_field_string(writer, "status", item->status);
                json_field_int(writer, "observedGeneration", item->observed_generation);
                json_field_string(writer, "lastTransitionTime",
                                  item->last_transition.length ? item->last_transition
                                                               : str_from(now));
                json_field_string(writer, "reason", item->reason);
                json_field_string(writer, "message", item->message);
                json_end_object(writer);
        }
        json_end_array(writer);
}

bool conditions_are_present(const struct condition_list *list)
{
        if (json_count(list->present) != list->count)
                return false;
        for (size_t i = 0; i < list->count; i++) {
                struct condition present;

                if (!condition_find(list->present, list->items[i].type, &present) ||
                    !condition_same(&list->items[i], &present))
                        return false;
        }
        return true;
}
