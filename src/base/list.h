// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/macro.h"

/*
 * A circular doubly linked list inside the structs that it links. The head is a `struct list` of
 * its own; an entry that is in no list points to itself.
 */
struct list {
        struct list *next, *previous;
};

static inline void list_init(struct list *list)
{
        list->next = list->previous = list;
}

static inline bool list_is_empty(const struct list *list)
{
        return list->next == list;
}

static inline void list_append(struct list *head, struct list *entry)
{
        entry->previous = head->previous;
        entry->next = head;
        head->previous->next = entry;
        head->previous = entry;
}

static inline void list_remove(struct list *entry)
{
        entry->previous->next = entry->next;
        entry->next->previous = entry->previous;
        list_init(entry);
}

#define list_entry(pointer, type, member) container_of(pointer, type, member)

/* The body may remove `entry` itself, and nothing else. */
#define list_for_each(entry, head, member)                                                         \
        for (__typeof__(*(entry)) *_next = NULL, *_once = (void *)1; _once; _once = NULL)          \
                for (entry = list_entry((head)->next, __typeof__(*(entry)), member),               \
                    _next = list_entry((entry)->member.next, __typeof__(*(entry)), member);        \
                     &(entry)->member != (head); entry = _next,                                    \
                    _next = list_entry((entry)->member.next, __typeof__(*(entry)), member))
