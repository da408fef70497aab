// SPDX-License-Identifier: Apache-2.0
#include "plan/lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"

struct wait {
        struct wait *next;
        void *waiter;
};

struct lock {
        struct table_node node;
        struct wait *waits;
        const struct kind *kind;
        void *owner;
        size_t namespace_length, name_length;
        char text[]; /* namespace, name */
};

static uint64_t lock_hash(const struct locks *locks, const struct kind *kind, struct str namespace,
                          struct str name)
{
        return table_hash(table_hash(locks->seed ^ (uint64_t)(uintptr_t)kind, namespace), name);
}

struct lock *locks_find(const struct locks *locks, const struct kind *kind, struct str namespace,
                        struct str name)
{
        struct table_node *node =
                table_find(&locks->table, lock_hash(locks, kind, namespace, name));

        for (; node; node = table_find_next(node)) {
                struct lock *lock = container_of(node, struct lock, node);

                if (lock->kind == kind &&
                    str_equal((struct str){ lock->text, lock->namespace_length }, namespace) &&
                    str_equal(
                            (struct str){ lock->text + lock->namespace_length, lock->name_length },
                            name))
                        return lock;
        }
        return NULL;
}

int locks_take(struct locks *locks, const struct kind *kind, struct str namespace, struct str name,
               void *owner)
{
        struct lock *lock = locks_find(locks, kind, namespace, name);

        if (lock)
                return lock->owner == owner ? 1 : -EBUSY;
        lock = malloc(sizeof(*lock) + namespace.length + name.length);
        if (!lock)
                return -ENOMEM;
        lock->waits = NULL;
        lock->kind = kind;
        lock->owner = owner;
        lock->namespace_length = namespace.length;
        lock->name_length = name.length;
        if (namespace.length)
                memcpy(lock->text, namespace.data, namespace.length);
        if (name.length)
                memcpy(lock->text + namespace.length, name.data, name.length);
        if (table_add(&locks->table, &lock->node, lock_hash(locks, kind, namespace, name)) < 0) {
                free(lock);
                return -ENOMEM;
        }
        return 0;
}

void locks_drop(struct locks *locks, struct lock *lock)
{
        struct wait *wait = lock->waits;

        table_remove(&locks->table, &lock->node);
        free(lock);
        while (wait) {
                struct wait *next = wait->next;

                if (locks->on_unlock)
                        locks->on_unlock(locks->context, wait->waiter);
                free(wait);
                wait = next;
        }
}

void *lock_owner(const struct lock *lock)
{
        return lock->owner;
}

void lock_disown(struct lock *lock)
{
        lock->owner = NULL;
}

int lock_wait(struct lock *lock, void *waiter)
{
        struct wait *wait;

        for (wait = lock->waits; wait; wait = wait->next) {
                if (wait->waiter == waiter)
                        return -EALREADY;
        }
        wait = malloc(sizeof(*wait));
        if (!wait)
                return -ENOMEM;
        *wait = (struct wait){ .next = lock->waits, .waiter = waiter };
        lock->waits = wait;
        return 0;
}

void locks_deinit(struct locks *locks)
{
        locks->on_unlock = NULL;
        for (size_t i = 0; i < locks->table.slot_count; i++) {
                while (locks->table.slots[i])
                        locks_drop(locks, container_of(locks->table.slots[i], struct lock, node));
        }
        table_deinit(&locks->table);
}
