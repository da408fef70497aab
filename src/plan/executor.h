// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "plan/plan.h"
#include "json/json.h"

/*
 * The line between deciding and doing. The wire client, the API server in the same process and the
 * simulator are backends: they carry out actions and answer. They include this header and
 * plan/plan.h only.
 */

struct run;

/* What became of one action. */
struct action_result {
        /*
         * The HTTP status (200, 201, 404, 409 …), or a negative errno when there was no answer:
         * -ECANCELED: not sent, because the action that it comes after failed.
         * -ECONNREFUSED, -EAGAIN …: certainly not carried out.
         * -ETIMEDOUT: unknown; it may have been carried out, or may yet be.
         */
        int status;
        struct str reason;       /* of a Status: "AlreadyExists", "Conflict" …; may be empty */
        struct str message;      /* for people; may be empty */
        struct json_doc *object; /* the object in the answer, borrowed for the call; NULL if none
                                    (a deletion that left nothing) */
        uint64_t retry_after_ns; /* of a 429 or 503; 0 if not given */
};

/*
 * Actions on their way. Made by the executor, valid until each was answered. The backend may keep
 * the pointer that long; strings and bodies live as long.
 */
struct submission {
        const struct action *actions;
        size_t count;    /* 1 unless the backend takes batches */
        struct run *run; /* the executor's own, as is the next */
        size_t first;
};

/* Answers one action, once, from the loop's thread. May be called inside submit(). The submission
 * may be gone when the last one was answered. */
void submission_done(struct submission *submission, size_t index,
                     const struct action_result *result);

struct executor_backend {
        void *context;
        /*
         * Whether a submission is a whole plan. Then the backend runs its actions in order, fills
         * fix-ups by action_body(), honours `after` (answering -ECANCELED), and may commit them
         * together. Else every submission is one action without fix-ups, sent as soon as what it
         * depends on was answered.
         */
        bool takes_batches;
        /* Begins. Answers come by submission_done(); a failure to begin is answered so too. */
        void (*submit)(void *context, struct submission *submission);
};

/*
 * The body with its fix-ups filled in from the objects that actions answered (`objects[i]` is the
 * answer of action i, NULL if none). Appends to `out`. Returns 0, -ENOENT (an answer that is needed
 * lacks the field), -ENOMEM.
 */
int action_body(const struct action *action, struct json_doc *const *objects, size_t count,
                struct buffer *out);

/* Counters since the start, for metrics and tests. */
struct executor_counters {
        uint64_t plans;          /* plans that had actions */
        uint64_t empty_plans;    /* plan functions that found nothing to do */
        uint64_t writes;         /* actions submitted, Events included */
        uint64_t events;         /* of these, Events */
        uint64_t dropped_writes; /* would have changed nothing */
        uint64_t conflicts;      /* 409 on an update or delete */
        uint64_t exists;         /* 409 AlreadyExists on a creation */
        uint64_t throttled;      /* 429 */
        uint64_t failures;       /* every other answer that is no success */
        uint64_t unknown;        /* time-outs */
};
