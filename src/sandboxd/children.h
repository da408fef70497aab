// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/list.h"

/* The children of the program, each the leader of a process group, of one loop. */
struct children {
        uv_loop_t *loop;
        uv_signal_t signal;
        struct list running;
};

/* Embedded in what it runs for. */
struct child {
        struct list link;
        pid_t pid;
        bool exited;
        int exit_code; /* -N after death by signal N */
        void (*on_exit)(struct child *child);
};

/* Waits for children by SIGCHLD; as PID 1 it reaps every child. */
int children_init(struct children *children, uv_loop_t *loop);

/* Stops waiting; call it when nothing runs any more, or before leaving. */
void children_close(struct children *children);

/* Waits for `child`, whose `pid` and `on_exit` are set. The loop stays alive meanwhile. */
void children_add(struct children *children, struct child *child);

/*
 * The zombie is left until then, so that its process group's number stays its own while it may
 * still be signalled. Only PID 1, which must reap what it does not know, cannot.
 */
void children_remove(struct children *children, struct child *child);

/* Sends a signal to the process groups of all. */
void children_signal(struct children *children, int signal);
