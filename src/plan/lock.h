// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kinds/kind.h"
#include "plan/table.h"

/* Names of objects that are being written, each with its owner and those who wait for its end.
 * Internal to plan/: cache.h says what locks are for. */
struct lock;

struct locks {
        struct table table;
        uint64_t seed;                                  /* of the table's hashes */
        void (*on_unlock)(void *context, void *waiter); /* may be NULL */
        void *context;
};

/* Tells nobody. */
void locks_deinit(struct locks *locks);

/* The lock of this name, or NULL. */
struct lock *locks_find(const struct locks *locks, const struct kind *kind, struct str namespace,
                        struct str name);

/* Returns 0; 1 if `owner` has it already, -EBUSY if another has, -ENOMEM. */
int locks_take(struct locks *locks, const struct kind *kind, struct str namespace, struct str name,
               void *owner);

/* Removes the lock and tells all who wait. */
void locks_drop(struct locks *locks, struct lock *lock);

void *lock_owner(const struct lock *lock);
void lock_disown(struct lock *lock);

/* Has `waiter` told of its end, once. Returns 0, -EALREADY, -ENOMEM. */
int lock_wait(struct lock *lock, void *waiter);
