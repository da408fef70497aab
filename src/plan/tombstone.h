// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "plan/table.h"

/* Uids of objects that were deleted last, so that a late event does not bring them back. Internal
 * to plan/. */
enum { TOMBSTONES_MAX = 8192 };

struct tombstones {
        struct table table;
        struct list order; /* the oldest first */
        uint64_t seed;     /* of the table's hashes */
};

void tombstones_init(struct tombstones *tombstones, uint64_t seed);
void tombstones_deinit(struct tombstones *tombstones);

void tombstones_clear(struct tombstones *tombstones);

bool tombstones_have(const struct tombstones *tombstones, struct str uid);

/* Returns 0, also if it is there already, or -ENOMEM. */
int tombstones_add(struct tombstones *tombstones, struct str uid);
