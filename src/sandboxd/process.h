// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "net/loop.h"
#include "sandboxd/children.h"
#include "sandboxd/spawn.h"

/*
 * Processes whose output is passed on as it comes, and that take input, signals and sizes
 * meanwhile. Each has a number of its own, from 1, that has nothing to do with its pid.
 */
struct processes {
        struct children *children; /* borrowed, as the loop */
        struct net_loop *loop;
        struct list list;
        int32_t last_id;
        size_t chunk; /* bytes in one on_output at most */
        char *buffer; /* of that size, shared */
};

int processes_init(struct processes *processes, struct children *children, struct net_loop *loop,
                   size_t chunk);
void processes_deinit(struct processes *processes);

struct process;

struct process_events {
        /* Returns whether more may come now; else process_resume() lets it. A terminal has no
         * standard error. */
        bool (*on_output)(void *owner, bool is_error, struct str bytes);
        /* It has ended and its output is complete, or held open by others for 5 s without a byte.
         * The process is gone when this returns. -N after death by signal N. */
        void (*on_end)(void *owner, int exit_code);
};

struct process_options {
        char *const *argv;
        char *const *environment;
        int directory;
        bool has_terminal;
        uint16_t cols, rows; /* 0: as the system has it */
};

/* Returns 0, or the errno of the start. `events` is borrowed. Nothing is told before it returns. */
int process_start(struct processes *processes, const struct process_options *options,
                  const struct process_events *events, void *owner, struct process **ret_process);

int32_t process_id(const struct process *process);
struct process *process_find(struct processes *processes, int32_t id);

void process_resume(struct process *process);

/* Kills its group; no event comes any more. The process is gone when it has ended. */
void process_abandon(struct process *process);

/* To its whole group. 0 or a negative errno; to one that has ended it does nothing. */
int process_signal(struct process *process, int signal);

/* -ENOTTY without a terminal, -ESRCH when it has ended. */
int process_resize(struct process *process, uint16_t cols, uint16_t rows);

/*
 * Writes to its standard input; `done` comes once, from the loop, when the process has room for all
 * of it (0) or never will (-EPIPE, -ECANCELED …). Returns 0, -EPIPE (it has no input any more),
 * -ENOBUFS (LIMIT_PROCESS_INPUT bytes are waiting) or -ENOMEM; then `done` is not called.
 */
struct process_write;
int process_write(struct process *process, struct str input, void (*done)(void *user, int error),
                  void *user, struct process_write **ret_write);

/* Nobody waits for it any more: `done` is not called. What was to be written still is. */
void process_write_forget(struct process_write *write);

/* Ends its standard input when what waits was written; a terminal gets ^D. -EPIPE as above. */
int process_close_input(struct process *process);
