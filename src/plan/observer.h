// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/cache.h"
#include "plan/controllers.h"

/*
 * Somebody who follows plans from their beginning to their end, for traces. It decides nothing and
 * is called on the loop's thread between two writes: it must be quick.
 */

/* A plan that has something to do. Views that live until it ends, but for the cache's entries. */
struct observed_plan {
        const struct controller *controller;
        struct str namespace, name; /* the key */
        const struct action *actions;
        size_t count;
        /*
         * The key's object, if the controller says its kind and it is there; and for each action
         * for whom it is done (action.subject). Borrowed from the cache for the call.
         */
        const struct cache_entry *object;
        const struct cache *cache;
};

struct plan_observer {
        void *context;
        /*
         * A plan begins. Returns what the other calls are given, or NULL to hear no more of it.
         * Memory from the arena lives until the plan's end; it may end without on_end() when the
         * set is freed.
         */
        void *(*on_begin)(void *context, const struct observed_plan *plan, struct arena *arena);
        /* An action goes out, perhaps again; and is answered. `action` is its number. */
        void (*on_sent)(void *context, void *observed, size_t action);
        void (*on_answer)(void *context, void *observed, size_t action,
                          const struct action_result *result);
        /* `status` is 0, or what the first failure was. */
        void (*on_end)(void *context, void *observed, int status);
};

/* The observer is borrowed. Before anything is planned. */
void controllers_observe(struct controllers *set, const struct plan_observer *observer);
