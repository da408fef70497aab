// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "sandboxd/children.h"

/* What commands have in common. */
struct commands {
        struct children *children; /* borrowed, as all here */
        int directory;             /* where they start */
        char **environment;
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

void commands_init(struct commands *commands, struct children *children, int directory,
                   char **environment);

struct command_options {
        char *const *argv;
        char *const *environment; /* NULL: that of all commands */
        bool own_directory;       /* starts in `directory`, a descriptor, not where all do */
        int directory;
        uint64_t timeout_ms; /* when its whole group is killed; 0: never */
        uint64_t drain_ms; /* how long others may hold its output open after its end; 0: for ever */
};

struct command;

/*
 * Starts a command and captures its output until the process has ended and both pipes are closed
 * (as subprocess.run() does), or one of the times in the options has passed. Returns 0, or the
 * errno of the start; then `done` is not called. `ret_command` may be NULL.
 */
int command_start(struct commands *commands, const struct command_options *options,
                  command_done *done, void *owner, struct command **ret_command);

/* Before `done`: nobody waits for it any more. Kills its group; `done` is not called. */
void command_abandon(struct command *command);

/* Says in the text what was left out of it. */
void command_mark_dropped(struct command_output *output);
