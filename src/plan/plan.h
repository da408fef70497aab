// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "kinds/kind.h"
#include "kube/meta.h"
#include "json/writer.h"

/*
 * What one plan function decided: requests in order, each exactly as it goes to the API, but for
 * results of earlier ones (struct action_fixup). Everything lives in the plan's arena.
 */

struct cache_entry;

enum action_type {
        ACTION_CREATE,       /* POST `body` */
        ACTION_PATCH,        /* merge patch `body` */
        ACTION_PATCH_STATUS, /* merge patch `body` on the status subresource */
        ACTION_DELETE,       /* DELETE with `body`, a DeleteOptions that carries preconditions */
        ACTION_BIND,         /* POST `body`, a Binding, to the Pod's binding subresource */
        ACTION_FINALIZE,     /* PUT `body`, a Namespace, to its finalize subresource */
};

enum { ACTION_NONE = -1, PLAN_ACTIONS_MAX = 1024 };

enum action_field {
        ACTION_FIELD_UID,
        ACTION_FIELD_RESOURCE_VERSION,
};

/* Before sending, put the field of the object that action `action` returned into the body, at
 * byte `offset` of the text as it is before any fix-up. Fix-ups are ordered by offset. */
struct action_fixup {
        size_t offset;
        int action;
        enum action_field field;
};

struct action {
        enum action_type type;
        const struct kind *kind;
        struct str namespace; /* empty for cluster-scoped kinds */
        struct str name;
        struct str uid;   /* of what is changed or deleted; empty for creations */
        uint64_t version; /* the resourceVersion that the body insists on; 0: any */
        struct str body;  /* JSON */
        const struct action_fixup *fixups;
        size_t fixup_count;
        /*
         * The earlier action that must have succeeded before this one is sent, or ACTION_NONE.
         * Actions that do not depend on each other may be on the way at once and may arrive in any
         * order. If it fails, this one is not sent.
         */
        int after;
        /* A failure changes nothing and is not repeated (Events). Takes no lock on its object. */
        bool best_effort;
        /* The object that the action changes: checks that the write changes something. Zero for
         * creations. Borrowed from the cache; only valid until the executor has taken the plan. */
        struct json_value before;
        /* plan.subject when it was added; as long as `before`. */
        const struct cache_entry *subject;
};

/* Locked objects that a plan waits for; more are not needed, for one is enough to look again. */
enum { PLAN_WAITS_MAX = 16 };
struct plan_wait {
        const struct kind *kind;
        struct str namespace, name;
};

enum { PLAN_MEMORY = 5 };

struct plan {
        struct arena *arena; /* borrowed */
        struct action *actions;
        size_t count, capacity;
        uint64_t come_back_ns;        /* realtime, the earliest that was asked for; 0: no need */
        uint64_t rest_ns;             /* the key is not planned again sooner, whatever changes */
        uint64_t memory[PLAN_MEMORY]; /* given to the key's next plan; begins as the last left it */
        uint64_t random;     /* state of the plan's own generator, seeded by the executor */
        struct buffer notes; /* why: sentences, one a line, for `cay why` */
        /* For whom the actions that follow are done, for traces; NULL: the key's own object. */
        const struct cache_entry *subject;
        struct buffer body; /* the body being written */
        struct json_writer writer;
        uint64_t version;            /* what the body being written insists on */
        struct action_fixup *fixups; /* of the body being written */
        size_t fixup_count;
        struct plan_wait waits[PLAN_WAITS_MAX];
        size_t wait_count;
        int failure; /* the first failure, -ENOMEM or -E2BIG; the plan is then not run */
};

void plan_init(struct plan *plan, struct arena *arena, uint64_t seed);
void plan_deinit(struct plan *plan);
#define _cleanup_plan_ _cleanup_(plan_deinit)

/*
 * Begins a body; what is written through the returned writer becomes the body of the next
 * plan_create(), plan_patch() … One body is open at a time.
 */
struct json_writer *plan_body(struct plan *plan);

/* Writes, as a string value, a field of what the earlier action `action` returned. */
void plan_write_result(struct plan *plan, int action, enum action_field field);

/* How much of the present object a write insists on. */
enum plan_expect {
        EXPECT_UID,     /* the same object; other people's changes do not matter */
        EXPECT_VERSION, /* unchanged since it was seen */
        EXPECT_NOTHING,
};

/*
 * Begins a patch of the object with `meta`: opens the body and its "metadata" with what is
 * expected. The caller adds metadata members, ends that object with json_end_object(), adds other
 * members, and calls plan_patch() or plan_patch_status(), which end the body.
 */
struct json_writer *plan_patch_body(struct plan *plan, const struct object_meta *meta,
                                    enum plan_expect expect);

/*
 * Append an action and return its index (to be given as `after`), or ACTION_NONE when the plan
 * has failed. `after` is ACTION_NONE or an earlier index. The body is the one opened last.
 */
int plan_create(struct plan *plan, const struct kind *kind, struct str namespace, struct str name,
                int after);
int plan_patch(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
               struct json_value before, int after);
int plan_patch_status(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
                      struct json_value before, int after);
/* The status of the object that action `created` makes. The caller has opened a body with
 * plan_body() and an object, and leaves that object open, as after plan_patch_body(). */
int plan_patch_created_status(struct plan *plan, int created, int after);

enum propagation { PROPAGATION_DEFAULT, PROPAGATION_BACKGROUND, PROPAGATION_FOREGROUND };

/* Deletes exactly this object; with EXPECT_VERSION only as it was seen. Opens its own body.
 * `grace_seconds` < 0 leaves the grace period to the object. */
int plan_delete(struct plan *plan, const struct kind *kind, const struct object_meta *meta,
                enum plan_expect expect, enum propagation propagation, int64_t grace_seconds,
                int after);

/* Binds the Pod to a node. */
int plan_bind(struct plan *plan, const struct object_meta *pod, struct str node);

/* PUTs the open body to the namespace's finalize subresource. */
int plan_finalize(struct plan *plan, const struct object_meta *namespace);

/* An Event about an object (core/v1), best effort. `type` is "Normal" or "Warning". */
void plan_event(struct plan *plan, const struct kind *kind, const struct object_meta *about,
                const char *type, const char *reason, uint64_t now_ns, int after,
                const char *format, ...) _printf_(8, 9);

/* The plan cannot be made: it is dropped and tried again later. The first failure is kept. */
void plan_fail(struct plan *plan, int error);

/* Plan this key again at the latest then (realtime). */
void plan_come_back(struct plan *plan, uint64_t realtime_ns);

/*
 * Something was left out because another plan writes this object: plan the key again when that is
 * over.
 */
void plan_wait(struct plan *plan, const struct kind *kind, struct str namespace, struct str name);

/* A sentence for `cay why`. */
void plan_note(struct plan *plan, const char *format, ...) _printf_(2, 3);

/* Some of the plan's own random bits. */
uint64_t plan_random(struct plan *plan);

/* Five characters as Kubernetes' generateName makes, from the plan's generator; NUL-terminated. */
void plan_name_suffix(struct plan *plan, char text[static 6]);
