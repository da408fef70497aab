// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"

/* The commands that run, of one loop. */
struct commands {
        uv_loop_t *loop;
        int directory;      /* borrowed: where they start */
        char **environment; /* borrowed */
        uv_signal_t child_signal;
        struct list running;
        char discard[4096];
};

struct command_output {
        struct buffer text;
        uint64_t dropped; /* bytes beyond LIMIT_COMMAND_OUTPUT */
};

struct command_result {
        struct command_output out, err;
        int exit_code; /* -N after death by signal N */
        bool timed_out;
};

/* Called once; the result is the command's and may be emptied. */
typedef void command_done(void *owner, struct command_result *result);

/* Waits for children by SIGCHLD; as PID 1 it reaps every child. */
int commands_init(struct commands *commands, uv_loop_t *loop, int directory, char **environment);

/* Sends a signal to the process groups of all that run. */
void commands_signal(struct commands *commands, int signal);

/* Stops waiting for children; call it when nothing runs any more, or before leaving. */
void commands_close(struct commands *commands);

/*
 * Starts a command and captures its output until the process has ended and both pipes are closed
 * (as subprocess.run() does), or `timeout_ms` after the start, when its whole group is killed.
 * Returns 0, or the errno of the start; then `done` is not called.
 */
int command_start(struct commands *commands, char *const *argv, uint64_t timeout_ms,
                  command_done *done, void *owner);
