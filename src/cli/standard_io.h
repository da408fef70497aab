// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "net/loop.h"

/*
 * Standard input and output beside a loop. They may be terminals, files, pipes, shared with other
 * processes: making them non-blocking would change them for those too (O_NONBLOCK belongs to the
 * open file description), so a thread each waits for them. Callbacks come from the loop.
 */

/* Reads a descriptor piece by piece. */
struct standard_input;

struct standard_input_events {
        void (*on_data)(void *user, struct str data); /* there until this returns */
        void (*on_end)(void *user, int error);        /* 0: it ended; the last */
};

/* Begins to read. Returns 0 or a negative errno. */
int standard_input_new(struct net_loop *loop, int fd, const struct standard_input_events *events,
                       void *user, struct standard_input **ret_input);

/* Holds back all but a piece that was read already, and lets it come again. */
void standard_input_pause(struct standard_input *input);
void standard_input_resume(struct standard_input *input);

/* Ends it; no callback comes any more. Not from within one: the loop runs for a moment. */
void standard_input_free(struct standard_input *input);

/* Writes to descriptors, all in one order. */
struct standard_output;

/* Queued bytes above which the writer should wait, and at or below which on_drain comes. */
enum { STANDARD_OUTPUT_HIGH = 256 * 1024, STANDARD_OUTPUT_LOW = 64 * 1024 };

/* `on_drain` comes when a full queue is short again, and when everything is written. */
int standard_output_new(struct net_loop *loop, void (*on_drain)(void *user), void *user,
                        struct standard_output **ret_output);

/*
 * Queues a copy. Returns 0, 1 (that is enough: wait for on_drain), -ENOMEM, or the errno of the
 * first write that failed, after which all is dropped.
 */
int standard_output_write(struct standard_output *output, int fd, struct str data);

/* 1 when everything is written, 0 when it is not, or the errno of the write that failed. */
int standard_output_is_written(struct standard_output *output);

/* Ends it. What cannot be written at once is lost: ask standard_output_is_written() before. */
void standard_output_free(struct standard_output *output);
