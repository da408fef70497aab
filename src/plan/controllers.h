// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/cache.h"
#include "plan/executor.h"

/*
 * A set of controllers with their cache, queue and executor. Deterministic: time comes in as
 * arguments, randomness from a seed. Its owner is a loop (or the simulator):
 *
 *     controllers_feed(set, &kind_pod, CACHE_ADDED, doc);     whatever a watch says
 *     controllers_list_end(set, &kind_pod, list_version);     a list is complete
 *     wake = controllers_run(set, now);                       plans what is due, submits
 */
struct controllers;

/* The two clocks at one moment. */
struct instant {
        uint64_t monotonic_ns; /* for delays and back-off */
        uint64_t realtime_ns;  /* for comparing with times in objects */
};

/* What a plan function is given. */
struct view {
        const struct cache *cache;
        struct str namespace, name; /* the key */
        struct instant now;
        const void *context; /* of the controller: its options and index numbers */
        /* How often in a row plans of this key failed, and what the API refused the last time: a
         * sentence, empty unless the status is 4xx other than 404, 409, 410 and 429. */
        unsigned failures;
        struct str refusal;
        /* What the key's last plan left in plan->memory (with controller.remembers; else zero).
         * It is lost with the process: it may only space things out. */
        uint64_t memory[PLAN_MEMORY];
};

enum { CONTROLLER_PRIORITIES = 3, CONTROLLERS_MAX = 32 };

struct controller {
        const char *name;
        const struct kind *object; /* the kind whose names its keys are; NULL: keys are others' */
        /* The kinds whose events it maps, NULL-terminated; nothing is planned before all are
         * synced. */
        const struct kind *const *kinds;
        bool every_kind; /* also gets the events of all other kinds (garbage collection) */
        /*
         * Says by controllers_enqueue() which keys a change may concern. `before` or `after` is
         * NULL when the object came or went.
         */
        void (*map)(struct controllers *set, const struct controller *controller,
                    const struct cache_entry *before, const struct cache_entry *after);
        /* With every_kind: a kind was listed, for the first time or again after it was dropped. May
         * be NULL. */
        void (*listed)(struct controllers *set, const struct controller *controller,
                       const struct kind *kind);
        /* Decides. Reads the view, does nothing else but append to the plan. */
        void (*plan)(const struct view *seen, struct plan *plan);
        const void *context;
        /* Several plans of one key may be in flight: the plan function leaves out entries that are
         * locked. Else a key waits for its plan's last answer. */
        bool overlapping;
        bool remembers;    /* view.memory is kept for its keys */
        unsigned priority; /* 0 goes first, up to CONTROLLER_PRIORITIES - 1 */
};

struct controllers_options {
        uint64_t seed;
        uint64_t backoff_first_ns; /* 0: 5 ms; doubled for each failure, with jitter */
        uint64_t backoff_most_ns;  /* 0: 30 s */
        unsigned writes_in_flight; /* 0: 256 */
        unsigned plans_per_run;    /* 0: 64; so that one call of controllers_run() stays short */
        unsigned awake; /* objects that are kept unpacked (cache_set_awake()); 0: all, as they came
                         */
        unsigned ring_size; /* decisions kept for controllers_why(); 0: 1024 */
};

int controllers_new(const struct controllers_options *options,
                    const struct executor_backend *backend, struct controllers **ret_set);
/* Answers that come later are ignored: the backend must not call submission_done() afterwards. */
void controllers_free(struct controllers *set);
DEFINE_POINTER_CLEANUP(controllers_freep, struct controllers, controllers_free)

/* The controller is borrowed. Before the first feed. */
int controllers_add(struct controllers *set, const struct controller *controller);
struct cache *controllers_cache(struct controllers *set);

/* To be called by map functions: plan this key soon, or at the latest after `delay_ns`. */
void controllers_enqueue(struct controllers *set, const struct controller *controller,
                         struct str namespace, struct str name);
void controllers_enqueue_after(struct controllers *set, const struct controller *controller,
                               struct str namespace, struct str name, uint64_t delay_ns);

/*
 * A kind that no controller names is fed too from now on, for those that get every kind, or is no
 * longer: controllers_drop_kind() returns -EBUSY while objects of it are left or it is not listed,
 * else 0. Kinds are borrowed as long as the set lives. controllers_add_kind() returns 0 or -ENOMEM.
 */
int controllers_add_kind(struct controllers *set, const struct kind *kind);
int controllers_drop_kind(struct controllers *set, const struct kind *kind);

/* As cache_apply(): after -ENOMEM the kind is to be listed again. */
int controllers_feed(struct controllers *set, const struct kind *kind, enum cache_event event,
                     struct json_doc *doc);
/* A bookmark: the kind's watch has come so far and there was nothing to tell. `kind` NULL: those of
 * all kinds that are synced, for feeds that are ordered among each other. */
void controllers_advance(struct controllers *set, const struct kind *kind,
                         uint64_t resource_version);
/* Around a complete list; controllers_list_end() also says that the kind is synced. It returns 0,
 * or -ENOMEM: something of the list was lost, and the kind is to be listed again. */
void controllers_list_begin(struct controllers *set, const struct kind *kind);
int controllers_list_end(struct controllers *set, const struct kind *kind,
                         uint64_t resource_version);

/* What was fed may never have been: as before the first list, which is due for every kind. */
void controllers_forget(struct controllers *set);

/*
 * Plans and submits everything that is due. Returns the monotonic time at which to call again if
 * nothing else happens, or UINT64_MAX. An answer or a feed may make keys due: call again after.
 */
uint64_t controllers_run(struct controllers *set, struct instant now);

/* Tells the time without planning, for what is fed meanwhile: delays are counted from it. */
void controllers_tell_time(struct controllers *set, struct instant now);

/* Looks at every object anew, as if it had just come. */
void controllers_resync(struct controllers *set);

/* Whether a call of controllers_run() would do something now. */
bool controllers_is_due(const struct controllers *set, struct instant now);

/* Submits nothing more: leadership is lost or the process ends. Answers are still taken. */
void controllers_stop(struct controllers *set);
size_t controllers_in_flight(const struct controllers *set);

const struct executor_counters *controllers_counters(const struct controllers *set);

struct queue_figures {
        size_t keys;    /* of which something is known or planned */
        size_t ready;   /* to be planned now */
        size_t delayed; /* to be planned at a time */
        uint64_t added; /* times that a key became ready, since the start */
};
struct queue_figures controllers_queue(const struct controllers *set);

/* Writes the remembered decisions about a key (all with NULL data), newest last, one JSON object a
 * line: time, controller, key, notes, actions, outcome. */
int controllers_why(const struct controllers *set, struct str namespace, struct str name,
                    struct buffer *out);
