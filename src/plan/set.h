// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/observer.h"
#include "plan/queue.h"

/* Internal to plan/: the state that controllers.c (planning) and executor.c (doing) share. */

struct ring_entry {
        uint64_t realtime_ns;
        struct run *run; /* while in flight */
        const struct controller *controller;
        char *key;   /* "namespace/name" */
        char *text;  /* JSON members: notes, actions */
        int outcome; /* 0: done or nothing to do; 1: in flight; else an HTTP status or -errno */
};

struct ring {
        struct ring_entry *entries;
        size_t size, next;
};

struct controllers {
        struct controllers_options options;
        const struct executor_backend *backend;
        const struct plan_observer *observer; /* NULL: none */
        struct cache *cache;
        struct queue queue;
        const struct controller *list[CONTROLLERS_MAX];
        struct list unsynced[CONTROLLERS_MAX]; /* keys that wait for their controller's kinds */
        bool synced[CONTROLLERS_MAX];
        size_t count;
        struct list runs;    /* of struct run */
        struct list pending; /* actions that may be sent: struct run_action */
        struct list resend;  /* actions to be sent again, by time: struct run_action */
        struct list stale;   /* actions that wait for the cache after a conflict */
        size_t writes_in_flight;
        size_t run_count;
        bool pumping;
        bool missed; /* a key could not be remembered for want of memory */
        uint64_t resync_ns;
        bool changed; /* the cache, since the last run */
        bool stopped;
        uint64_t random;
        struct instant now;
        struct executor_counters counters;
        struct ring ring;
};

uint64_t set_random(struct controllers *set);

/* What became of a plan: the key is planned again or left. `status` is 0 or the first failure. */
void set_plan_ended(struct controllers *set, struct key *key, int status, uint64_t retry_after_ns);

/* Has the key planned again when the object is no longer locked. */
void set_wait(struct controllers *set, struct key *key, const struct plan_wait *wait);

/* Keeps the API's words for the next plan. */
void set_refused(struct key *key, const struct action_result *result);

/*
 * Takes over a plan and its arena (both are empty afterwards) and begins it. Returns 0; 1 when
 * nothing was left to do; -EBUSY when another plan writes one of its objects (the key then waits
 * for that); -ENOMEM.
 */
int executor_run(struct controllers *set, struct key *key, struct plan *plan, struct arena *arena);

/* Sends what may be sent. */
void executor_pump(struct controllers *set);
uint64_t executor_next_due(const struct controllers *set);
void executor_free(struct controllers *set);

/* ---- ring.c ---- */

int ring_init(struct ring *ring, size_t size);
void ring_deinit(struct ring *ring);
/* Remembers a decision; returns its slot, or NULL without memory. */
struct ring_entry *ring_add(struct ring *ring, struct controllers *set, const struct key *key,
                            const struct plan *plan);
int ring_write(const struct ring *ring, struct str namespace, struct str name, struct buffer *out);
