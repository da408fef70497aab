// SPDX-License-Identifier: Apache-2.0
#include "plan/tombstone.h"

#include <errno.h>
#include <stdlib.h>

struct tombstone {
        struct table_node node;
        struct list order;
        size_t uid_length;
        char uid[];
};

void tombstones_init(struct tombstones *tombstones, uint64_t seed)
{
        *tombstones = (struct tombstones){ .seed = seed };
        list_init(&tombstones->order);
}

bool tombstones_have(const struct tombstones *tombstones, struct str uid)
{
        struct table_node *node = table_find(&tombstones->table, table_hash(tombstones->seed, uid));

        for (; node; node = table_find_next(node)) {
                const struct tombstone *stone = container_of(node, struct tombstone, node);

                if (str_equal((struct str){ stone->uid, stone->uid_length }, uid))
                        return true;
        }
        return false;
}

static void drop_oldest(struct tombstones *tombstones)
{
        struct tombstone *stone = list_entry(tombstones->order.next, struct tombstone, order);

        table_remove(&tombstones->table, &stone->node);
        list_remove(&stone->order);
        free(stone);
}

int tombstones_add(struct tombstones *tombstones, struct str uid)
{
        struct tombstone *stone;

        if (tombstones_have(tombstones, uid))
                return 0;
        if (tombstones->table.count == TOMBSTONES_MAX)
                drop_oldest(tombstones);
        stone = malloc(sizeof(*stone) + uid.length);
        if (!stone)
                return -ENOMEM;
        stone->uid_length = uid.length;
        memcpy(stone->uid, uid.data, uid.length);
        if (table_add(&tombstones->table, &stone->node, table_hash(tombstones->seed, uid)) < 0) {
                free(stone);
                return -ENOMEM;
        }
        list_append(&tombstones->order, &stone->order);
        return 0;
}

void tombstones_clear(struct tombstones *tombstones)
{
        while (!list_is_empty(&tombstones->order))
                drop_oldest(tombstones);
}

void tombstones_deinit(struct tombstones *tombstones)
{
        tombstones_clear(tombstones);
        table_deinit(&tombstones->table);
}
