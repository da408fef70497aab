// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "initproto/initproto.h"

/*
 * The node's end of a connection to init: bytes in, events out, bytes to send in a buffer. It does
 * no I/O, trusts nothing that init says, and holds at most its windows of unsent bytes: input
 * beyond the credit is refused with what was taken.
 */
struct initproto_client;

/* One EXEC or CONNECT, or the main process (its `id` is 1 and it lives as long as the client). */
struct initproto_stream {
        void *owner; /* the user's */
        uint32_t id;
};

/*
 * Called from initproto_client_receive() only. Strings and data live until the call returns. Any
 * function of the client may be called from inside, initproto_client_free() excepted.
 */
struct initproto_events {
        /* init speaks; once a connection, before anything else. */
        void (*hello)(void *owner, const struct initproto_hello *hello);

        /* The process runs or the connection is open. `pid` is the one inside the container. */
        void (*started)(void *owner, struct initproto_stream *stream, uint32_t pid,
                        uint64_t time_ns);

        /* It did not come about: `error` is a negative errno. The stream is gone after the call
         * (unless it is the main process). */
        void (*failed)(void *owner, struct initproto_stream *stream, int error, struct str reason);

        /* Bytes of stdout (or terminal, or connection) or stderr; empty: no more will come. Give
         * the room back with initproto_client_consumed(). The main process has no output here: it
         * goes to the log ring. */
        void (*output)(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                       struct str data);

        /* The process ended. The stream is gone after the call (unless it is the main process). */
        void (*exited)(void *owner, struct initproto_stream *stream,
                       const struct initproto_exit *exit);

        /* There is room for input again after a short initproto_client_input(). */
        void (*writable)(void *owner, struct initproto_stream *stream);

        /* The log ring ends at `log_end` now, beyond what was watched for. */
        void (*log)(void *owner, uint64_t log_end);
};

/* `events` must outlive the client; members may be NULL. Returns 0 or -ENOMEM. */
int initproto_client_new(const struct initproto_events *events, void *owner,
                         struct initproto_client **ret_client);

/* Frees it with its streams; no events. NULL is allowed. */
void initproto_client_free(struct initproto_client *client);

/*
 * Takes bytes that came from init, whatever their boundaries. Returns 0; -EBADMSG or -EPROTO when
 * init broke the protocol, or -ENOMEM: then close the connection and free the client.
 */
int initproto_client_receive(struct initproto_client *client, struct str bytes);

/*
 * What is to be sent: take bytes from its front with buffer_consume(). Bounded by the windows and
 * by the requests made.
 */
struct buffer *initproto_client_output(struct initproto_client *client);

struct initproto_stream *initproto_client_main(struct initproto_client *client);

/* All return 0 or a negative errno: -ENOMEM, -EINVAL or -E2BIG (arguments), -EMFILE (streams). */
int initproto_client_start(struct initproto_client *client,
                           const struct initproto_process *process);
int initproto_client_exec(struct initproto_client *client, const struct initproto_process *process,
                          void *owner, struct initproto_stream **ret_stream);
int initproto_client_connect(struct initproto_client *client, struct str host, uint16_t port,
                             void *owner, struct initproto_stream **ret_stream);

/*
 * Sends input; without data: its end. Returns how many bytes were taken (fewer than given when the
 * window is used up: event `writable` follows), or a negative errno: -EPIPE after the end.
 */
ssize_t initproto_client_input(struct initproto_client *client, struct initproto_stream *stream,
                               struct str data);

/* How many bytes initproto_client_input() would take now. */
size_t initproto_client_room(struct initproto_client *client, struct initproto_stream *stream);

/* Tells init that `bytes` of a stream's output have been passed on. */
int initproto_client_consumed(struct initproto_client *client, struct initproto_stream *stream,
                              enum initproto_channel channel, size_t bytes);

int initproto_client_resize(struct initproto_client *client, struct initproto_stream *stream,
                            uint16_t rows, uint16_t columns);

/* The main process alone, or the process group of an EXEC. */
int initproto_client_signal(struct initproto_client *client, struct initproto_stream *stream,
                            int signal);

/* Ends an EXEC (killing its process group) or a CONNECT, which lives until then, whatever the other
 * end does. No more events; `stream` is gone. */
int initproto_client_close(struct initproto_client *client, struct initproto_stream *stream);

/* Asks for one `log` event when the ring ends beyond `log_end`; at once if it does already. */
int initproto_client_watch_log(struct initproto_client *client, uint64_t log_end);
