// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "cluster/internal.h"

/* Events go after an hour, as kube-apiserver keeps them; one look a minute. */

#define EVENT_LIFE_NS (3600 * NS_PER_SECOND)
#define LOOK_NS       (60 * NS_PER_SECOND)

enum { DELETIONS_MAX = 500 };

void event_plan(const struct view *seen, struct plan *plan)
{
        uint64_t now = seen->now.realtime_ns;

        if (cache_count(seen->cache, &kind_event) == 0)
                return;
        plan_come_back(plan, now + LOOK_NS);
        cache_for_each(it, seen->cache, &kind_event, STR_EMPTY)
        {
                struct json_value root = json_root(it.entry->doc);
                struct str last = json_string_or(json_get(root, "lastTimestamp"),
                                                 json_string(json_get(root, "eventTime")));
                uint64_t time_ns;

                if (rfc3339_parse(last, &time_ns) < 0)
                        time_ns = it.entry->meta.creation_ns;
                if (time_ns + EVENT_LIFE_NS <= now && plan->count < DELETIONS_MAX &&
                    !it.entry->locked)
                        plan_delete(plan, &kind_event, &it.entry->meta, EXPECT_UID,
                                    PROPAGATION_DEFAULT, -1, ACTION_NONE);
        }
}

void event_map(struct controllers *set, const struct controller *controller,
               const struct cache_entry *before, const struct cache_entry *after)
{
        /* Only the first: from then on the plan comes back by itself. */
        if (after && !before && cache_count(controllers_cache(set), &kind_event) == 1)
                controllers_enqueue(set, controller, STR_EMPTY, STR("all"));
}
