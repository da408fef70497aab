// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/macro.h"

/*
 * What streams need of a uv loop besides uv's own: tasks to run soon, timers that can be embedded
 * and stopped at once, and one read buffer for all streams. Several may stand on one uv loop.
 * Everything is called on the loop's thread, except net_loop_post().
 */
struct net_loop;

/* Bytes of the shared read buffer: the most that one on_data gets. */
enum { NET_READ_SIZE = 64 * 1024 };

/* `uv` is borrowed. Does not keep the uv loop alive by itself. Returns 0, -ENOMEM or uv's errno. */
int net_loop_new(uv_loop_t *uv, struct net_loop **ret_loop);

/*
 * Everything that stands on it must be closed. Its memory goes when uv has run the closing
 * callbacks: run the uv loop once more before uv_loop_close().
 */
void net_loop_free(struct net_loop *loop);

uv_loop_t *net_loop_uv(struct net_loop *loop);

/* The loop's idea of now in milliseconds of the monotonic clock: when this turn began. */
uint64_t net_loop_now_ms(struct net_loop *loop);

/* NET_READ_SIZE bytes that any reader may use until it returns to the loop. */
char *net_loop_read_buffer(struct net_loop *loop);

/*
 * Something to do soon: embedded, all zero is idle. It runs once a queueing, on the loop, never
 * from within the function that queued it; it may queue itself again.
 */
struct net_task {
        struct list link;
        void (*run)(struct net_task *task);
};

/* Queues it unless it is queued already. */
void net_loop_defer(struct net_loop *loop, struct net_task *task);

/* Takes it out of the queue, if it is there. Not for tasks given to net_loop_post(). */
void net_task_cancel(struct net_task *task);

static inline bool net_task_is_queued(const struct net_task *task)
{
        return task->link.next != NULL;
}

/*
 * From any thread: queues the task and wakes the loop. The task must not be queued already, and
 * the loop must not be freed before it has run.
 */
void net_loop_post(struct net_loop *loop, struct net_task *task);

/* One-shot timer: embedded, all zero is idle. Starting and stopping cost no allocation. */
struct net_timer {
        struct net_timer *child, *next, *previous; /* pairing heap */
        uint64_t deadline_ms;
        struct net_loop *loop; /* NULL while idle */
        void (*expire)(struct net_timer *timer);
};

/* Calls `expire` when net_loop_now_ms() has grown by `delay_ms`; begins anew if it was running. */
void net_timer_start(struct net_loop *loop, struct net_timer *timer, uint64_t delay_ms,
                     void (*expire)(struct net_timer *timer));
void net_timer_stop(struct net_timer *timer);

static inline bool net_timer_is_running(const struct net_timer *timer)
{
        return timer->loop != NULL;
}
