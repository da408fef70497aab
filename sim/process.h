// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cluster/cluster.h"
#include "controller/controller.h"
#include "world.h"

/* A controller process: requests in process.c, watches in feed.c, the Lease in election.c. */

enum { FEEDS_MAX = 32 };

struct feed {
        struct process *process;
        const struct kind *kind;
        size_t position; /* in the kind's history */
        unsigned server; /* that it watches */
        uint64_t lag_ns; /* of this kind there, at least */
        bool listed;     /* else it must list first */
        bool was_listed; /* at least once */
        bool scheduled;
        bool lost; /* an event, for want of memory: to be listed again */
};

struct process {
        struct world *world;
        struct executor_backend backend;
        struct controllers *set;
        struct sandbox_controllers *sandboxes;
        struct cluster_controllers *cluster;
        struct leader *leader; /* NULL: it leads without asking */
        struct feed feeds[FEEDS_MAX];
        size_t feed_count;
        uint64_t wake_ns; /* when a wake-up is scheduled; UINT64_MAX: none */
        unsigned number;
        uint64_t began_ns;
        uint64_t paused_until_ns; /* till then it does nothing at all */
        unsigned requests;        /* begun so far */
        unsigned life;            /* it ends with that request; 0: it does not */
        bool has_led;
        bool ending;   /* it got a SIGTERM */
        bool released; /* and has given the Lease up */
        bool dead;
        bool deaf; /* hears nothing any more, but does not know */
        bool unknown_outcome;
};

/* Plans and sends what is due, if it may. */
void process_run(struct process *process);

/* Has a process that is paused do this when it wakes: true. False: it may do it now. */
bool process_postpone(struct process *process, void (*run)(struct world *, void *), void *argument);

/* Stops it for a while, as SIGSTOP or a frozen machine do. */
void process_pause(struct process *process, uint64_t ns);

/* Ends it at once; with an election another is started a while later, else at once. */
void process_crash(struct process *process);

/* ---- watches (feed.c) ---- */

void feeds_begin(struct process *process);
/* Cuts every watch, as the end of the server does. */
void feeds_cut(struct process *process);

/* ---- the Lease (election.c) ---- */

void election_join(struct process *process);
void election_leave(struct process *process);
/* Gives the Lease up, and then calls process_crash(). */
void election_release(struct process *process);
/* Whether the process may write now, by its own clock: asked for each write as it goes out. */
bool election_may_write(const struct process *process);
/* Fails the world if another process believes to lead while this one writes. */
void election_check_alone(const struct process *process);
