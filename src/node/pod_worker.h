// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/limit.h"
#include "node/address.h"
#include "node/pod_spec.h"
#include "node/probe_schedule.h"

/*
 * One Pod as a state machine: what is desired and what happened go in, what is to be done comes
 * out. It does no I/O, reads no clock and never fails; whoever carries out its actions
 * (src/node/node.c) brings their results back as events. It knows nothing of descriptors.
 */

struct pod_time {
        uint64_t monotonic; /* ns, for timers */
        uint64_t realtime;  /* ns since the epoch, for status */
};

enum {
        POD_MESSAGE_SIZE = 1024, /* reasons given in status and events, cut to fit */
        POD_REASON_SIZE = 48,
        POD_CONTAINER_ID_SIZE = 72,
        POD_ACTIONS_MAX = LIMIT_CONTAINERS * 16 + 16,
};

enum pod_hook { POD_HOOK_POST_START, POD_HOOK_PRE_STOP };

enum pod_event_type {
        POD_EVENT_DESIRED,             /* `spec`: the document as it is now (the first one too) */
        POD_EVENT_REFUSED,             /* the document cannot be run: `reason`, `message` */
        POD_EVENT_REMOVED,             /* the object is gone from the API */
        POD_EVENT_TIMER,               /* `deadline` may have passed; also "look again now" */
        POD_EVENT_PREPARED,            /* volumes and what env refers to are at hand */
        POD_EVENT_PREPARE_FAILED,      /* `message`; is retried */
        POD_EVENT_SANDBOX_CREATED,     /* `address` */
        POD_EVENT_SANDBOX_FAILED,      /* `message`; is retried */
        POD_EVENT_SANDBOX_INTERRUPTED, /* whether it was made is unknown; is made anew at once */
        POD_EVENT_SANDBOX_LOST,        /* it ended unasked; its containers with it */
        POD_EVENT_SANDBOX_DESTROYED,
        POD_EVENT_STARTED,       /* `container`, `attempt`, `id` */
        POD_EVENT_START_REFUSED, /* was not created: `container`, `attempt`, `reason`, `message` */
        POD_EVENT_START_INTERRUPTED, /* `container`, `attempt`: whether it was created is unknown;
                                        what there is of it is being killed. Is started anew at once
                                      */
        POD_EVENT_EXITED,     /* `container`, `attempt`, `code`, `signal`, `oom`, `reason`, … */
        POD_EVENT_PROBE,      /* `container`, `attempt`, `role`, `healthy`, `message` */
        POD_EVENT_HOOK_ENDED, /* `container`, `attempt`, `hook`, `healthy`, `message` */
        POD_EVENT_EVICTED,    /* it took too much of the node: `message` */
        POD_EVENT_DELETE_FAILED, /* the API refused the deletion for now; is retried */
        POD_EVENT_RESTORED,      /* after pod_worker_restore(): all that still runs was reported */
};

struct pod_event {
        enum pod_event_type type;
        const struct pod_spec *spec; /* borrowed until the next POD_EVENT_DESIRED or deinit */
        uint32_t address;            /* host byte order */
        size_t container;            /* index into spec->containers */
        uint32_t attempt; /* of the action that this answers; others are stale, ignored */
        const char *id;   /* container id, shown as cay://ID */
        int code, signal; /* exit status; signal 0: it exited by itself */
        bool oom;
        enum pod_probe_role role;
        enum pod_hook hook;
        bool healthy;
        const char *reason, *message; /* copied; may be NULL */
};

enum pod_action_type {
        POD_ACTION_PREPARE,        /* volumes, ConfigMaps, Secrets → PREPARED or PREPARE_FAILED */
        POD_ACTION_CREATE_SANDBOX, /* → SANDBOX_CREATED or SANDBOX_FAILED */
        POD_ACTION_START,          /* `container`, `attempt` → STARTED or START_REFUSED; may come
                                      before SANDBOX_CREATED: it is to follow the creation */
        POD_ACTION_STOP,           /* SIGTERM to `container` → EXITED */
        POD_ACTION_KILL,           /* end everything in `container` → EXITED */
        POD_ACTION_DESTROY_SANDBOX, /* kills what is left → SANDBOX_DESTROYED */
        POD_ACTION_START_PROBE, /* `container`, `attempt`, `role` → PROBE when verdicts change */
        POD_ACTION_STOP_PROBE,
        POD_ACTION_RUN_HOOK,  /* `container`, `attempt`, `hook` → HOOK_ENDED */
        POD_ACTION_STOP_HOOK, /* the one that runs; its end is not told */
        POD_ACTION_PUBLISH,   /* pod_worker_write_status() and patch it; drop it if unchanged */
        POD_ACTION_DELETE,    /* delete the object with zero grace and its uid, after what was
                                 published before */
        POD_ACTION_EVENT,     /* `reason`, `message`, `is_warning`: a Kubernetes Event on the Pod */
        POD_ACTION_RELEASE,   /* nothing is left: free the worker, its volumes and its address */
};

struct pod_action {
        enum pod_action_type type;
        size_t container;
        uint32_t attempt;
        enum pod_probe_role role;
        enum pod_hook hook;
        bool is_warning;
        const char *reason; /* static, or of the container's state until the next event */
        char message[POD_MESSAGE_SIZE];
};

struct pod_actions {
        struct pod_action items[POD_ACTIONS_MAX];
        size_t count;
};

struct pod_exit {
        bool is_set;
        int code, signal;
        uint64_t started_at, finished_at; /* realtime */
        char reason[POD_REASON_SIZE];
        char *message; /* owned; may be NULL */
        char id[POD_CONTAINER_ID_SIZE];
};

enum pod_container_phase {
        POD_CONTAINER_WAITING,  /* never ran, or waits to be started again */
        POD_CONTAINER_STARTING, /* START was asked for */
        POD_CONTAINER_RUNNING,
        POD_CONTAINER_EXITED, /* and is not started again, or not yet decided */
};

struct pod_container_state {
        enum pod_container_phase phase;
        uint32_t attempt;       /* starts asked for; the number of the last one */
        uint32_t restart_count; /* as status shows it */
        bool ran;               /* some attempt did run */
        bool is_restart;        /* the next start counts as one */
        char id[POD_CONTAINER_ID_SIZE];
        uint64_t started_at;        /* realtime */
        uint64_t started_monotonic; /* for the back-off's reset */
        struct pod_exit exit, last; /* of the present attempt; of the one before */
        char waiting_reason[POD_REASON_SIZE];
        char *waiting_message;
        uint64_t retry_at;   /* monotonic; 0: at once */
        uint64_t backoff_ns; /* of the last crash; 0: none yet */
        uint64_t refusal_backoff_ns;
        bool startup_passed, ready;
        bool post_starting, pre_stopping; /* that hook runs */
        bool is_overrun; /* the preStop hook took all the grace: `kill_at` is after it */
        bool stop_sent, kill_sent;
        uint64_t kill_at;    /* monotonic; 0: none */
        unsigned probes;     /* bit per role that runs */
        bool is_unconfirmed; /* restored as running, not reported yet */
};

enum pod_sandbox_phase {
        POD_SANDBOX_ABSENT,
        POD_SANDBOX_CREATING,
        POD_SANDBOX_UP,
        POD_SANDBOX_DESTROYING,
};

enum pod_condition {
        POD_CONDITION_READY_TO_START, /* PodReadyToStartContainers */
        POD_CONDITION_INITIALIZED,
        POD_CONDITION_READY,
        POD_CONDITION_CONTAINERS_READY,
        POD_CONDITIONS
};

struct pod_condition_state {
        bool is_set, is_true;
        uint64_t changed_at; /* realtime */
        const char *reason;  /* static; NULL: none */
};

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED };

struct pod_worker {
        const struct pod_spec *spec;
        struct pod_container_state containers[LIMIT_CONTAINERS];
        size_t container_count;
        enum pod_sandbox_phase sandbox;
        bool sandbox_unconfirmed;
        uint64_t sandbox_retry_at, sandbox_backoff_ns;
        bool prepared, preparing;
        uint64_t prepare_retry_at, prepare_backoff_ns;
        uint32_t address, host_address; /* 0: none yet */
        enum pod_phase phase;
        struct pod_condition_state conditions[POD_CONDITIONS];
        uint64_t start_time;          /* realtime when the node first saw it */
        char reason[POD_REASON_SIZE]; /* status.reason; empty: none */
        char *message;                /* status.message; owned */
        bool is_refused;
        bool is_ended; /* by the node: past its deadline, or evicted */
        bool is_evicted;
        bool is_terminal;  /* phase is Succeeded or Failed for good */
        bool is_restoring; /* between pod_worker_restore() and POD_EVENT_RESTORED */
        bool is_removed, is_released;
        bool delete_sent;
        uint64_t delete_retry_at;
        uint64_t stop_by;    /* monotonic: when what still runs is killed; 0: no stop is going on */
        uint64_t deadline;   /* monotonic: call with POD_EVENT_TIMER then; 0: never */
        bool is_dirty;       /* status changed since PUBLISH was last given out */
        uint64_t publish_by; /* monotonic: progress that can wait a little is published then */
};

/* `host_address` is the node's, host byte order. The worker is inert until POD_EVENT_DESIRED. */
void pod_worker_init(struct pod_worker *worker, uint32_t host_address);
void pod_worker_deinit(struct pod_worker *worker);

/*
 * Takes over what an earlier node process wrote into the Pod's status (spec->status): restart
 * counts, times, what ran. Follow with POD_EVENT_SANDBOX_CREATED, and for each container that the
 * launcher still knows POD_EVENT_STARTED (its attempt becomes the worker's) and, if it has ended,
 * POD_EVENT_EXITED; then POD_EVENT_RESTORED: what was not reported counts as lost. Actions begin
 * with that event.
 */
void pod_worker_restore(struct pod_worker *worker, const struct pod_spec *spec,
                        struct pod_time now);

/* Takes one event, and appends to `actions` (cleared by the caller) what is to be done now, in
 * order. Afterwards `worker->deadline` says when to call again. */
void pod_worker_handle(struct pod_worker *worker, const struct pod_event *event,
                       struct pod_time now, struct pod_actions *actions);

/*
 * Writes the whole status object (without braces of the Pod around it). Conditions that are not
 * the node's are copied from spec->status. Returns 0 or -ENOMEM.
 */
int pod_worker_write_status(const struct pod_worker *worker, struct buffer *out);
