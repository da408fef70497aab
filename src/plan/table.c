// SPDX-License-Identifier: Apache-2.0
#include "plan/table.h"

#include <errno.h>
#include <stdlib.h>

void table_deinit(struct table *table)
{
        free(table->slots);
        *table = (struct table){ 0 };
}

static int grow(struct table *table)
{
        size_t slot_count = table->slot_count ? 2 * table->slot_count : 64;
        struct table_node **slots = calloc(slot_count, sizeof(struct table_node *));

        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < table->slot_count; i++) {
                struct table_node *node = table->slots[i];

                while (node) {
                        struct table_node *next = node->next;
                        struct table_node **slot = &slots[node->hash & (slot_count - 1)];

                        node->next = *slot;
                        *slot = node;
                        node = next;
                }
        }
        free(table->slots);
        table->slots = slots;
        table->slot_count = slot_count;
        return 0;
}

int table_add(struct table *table, struct table_node *node, uint64_t hash)
{
        struct table_node **slot;

        if (table->count >= table->slot_count && grow(table) < 0 && table->slot_count == 0)
                return -ENOMEM;
        slot = &table->slots[hash & (table->slot_count - 1)];
        node->hash = hash;
        node->next = *slot;
        *slot = node;
        table->count++;
        return 0;
}

void table_remove(struct table *table, struct table_node *node)
{
        struct table_node **slot = &table->slots[node->hash & (table->slot_count - 1)];

        while (*slot != node)
                slot = &(*slot)->next;
        *slot = node->next;
        node->next = NULL;
        table->count--;
}

static struct table_node *first_with(struct table_node *node, uint64_t hash)
{
        while (node && node->hash != hash)
                node = node->next;
        return node;
}

struct table_node *table_find(const struct table *table, uint64_t hash)
{
        if (table->slot_count == 0)
                return NULL;
        return first_with(table->slots[hash & (table->slot_count - 1)], hash);
}

struct table_node *table_find_next(const struct table_node *node)
{
        return first_with(node->next, node->hash);
}

uint64_t table_hash(uint64_t seed, struct str s)
{
        uint64_t hash = seed * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < s.length; i++)
                hash = (hash ^ (unsigned char)s.data[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 32;
        return hash * UINT64_C(0xd6e8feb86659fd93);
}
