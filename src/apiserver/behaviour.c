// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/behaviour.h"

static const struct api_behaviour *find_in(const struct api_behaviour *list, size_t count,
                                           struct str group, struct str plural)
{
        for (size_t i = 0; i < count; i++) {
                if (str_equal(list[i].plural, plural) && str_equal(list[i].group, group))
                        return &list[i];
        }
        return NULL;
}

const struct api_behaviour *behaviour_find(struct str group, struct str plural)
{
        const struct api_behaviour *found =
                find_in(behaviours_core, behaviours_core_count, group, plural);

        if (!found)
                found = find_in(behaviours_workload, behaviours_workload_count, group, plural);
        if (!found)
                found = find_in(behaviours_custom, behaviours_custom_count, group, plural);
        return found;
}
