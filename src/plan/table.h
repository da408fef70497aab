// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/str.h"

/* A hash table of nodes inside the structs that it holds; the user compares. All zero is empty. */
struct table_node {
        struct table_node *next;
        uint64_t hash;
};

struct table {
        struct table_node **slots;
        size_t slot_count; /* power of two, or 0 */
        size_t count;
};

void table_deinit(struct table *table); /* forgets the nodes, which are the user's */

/* Adds a node. Grows when it can; returns -ENOMEM only while there are no slots at all. */
int table_add(struct table *table, struct table_node *node, uint64_t hash);
void table_remove(struct table *table, struct table_node *node);

/* Nodes with this hash: first, then the ones after it. */
struct table_node *table_find(const struct table *table, uint64_t hash);
struct table_node *table_find_next(const struct table_node *node);

uint64_t table_hash(uint64_t seed, struct str s);
