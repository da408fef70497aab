// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"

/*
 * The messages of process.v1.ProcessService (kubernetes-sigs/agent-sandbox,
 * packages/sandboxd/spec/process/v1/process.proto).
 */

/* ProcessConfig. Strings are NUL-terminated in the arena. */
struct process_config {
        char **command; /* NULL-terminated */
        size_t command_count;
        char **variables; /* "NAME=value", each name once, NULL-terminated */
        size_t variable_count;
        const char *cwd; /* NULL: none */
};

/* StartRequest, and ExecuteRequest, which has no terminal. */
struct start_request {
        struct process_config config;
        bool has_terminal;
        uint32_t cols, rows;
};

/* WriteStdinRequest, SendSignalRequest and ResizeTTYRequest. */
struct process_request {
        int32_t process_id;
        struct str input; /* a view */
        bool eof;         /* else input */
        int32_t signal;
        uint32_t cols, rows;
};

/*
 * Reads a StartRequest or ExecuteRequest. Returns 0, -EBADMSG (no such message), -EINVAL (a string
 * or name that no process can be given: with a NUL, an empty name, "=" in a name), -E2BIG
 * (more than LIMIT_PROCESS_WORDS) or -ENOMEM.
 */
int start_request_read(struct arena *arena, struct str message, struct start_request *ret_request);

enum process_message { WRITE_STDIN_REQUEST, SEND_SIGNAL_REQUEST, RESIZE_TTY_REQUEST };

/* Returns 0 or -EBADMSG. */
int process_request_read(enum process_message type, struct str message,
                         struct process_request *ret_request);

/* Each appends one message; 0 or a negative errno. */
int execute_response_write(struct buffer *out, int32_t exit_code, struct str stdout_bytes,
                           struct str stderr_bytes);

/* A StartResponse. */
enum start_event { START_INIT = 1, START_STDOUT = 2, START_STDERR = 3, START_EXIT = 4 };

int start_init_write(struct buffer *out, int32_t process_id);
int start_output_write(struct buffer *out, enum start_event event, struct str bytes);
int start_exit_write(struct buffer *out, int32_t exit_code);
