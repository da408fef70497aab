// SPDX-License-Identifier: Apache-2.0
#include "net/loop.h"

#include <errno.h>
#include <stdlib.h>

struct net_loop {
        uv_loop_t *uv;
        char *read_buffer;

        uv_idle_t idle; /* active while tasks are queued: then uv does not block */
        struct list tasks;

        uv_timer_t timer; /* stands at the earliest of `timers` or earlier */
        struct net_timer *timers;
        uint64_t armed_ms; /* 0: not armed */

        uv_async_t async;
        uv_mutex_t posted_lock;
        struct list posted;

        unsigned open_handles;
};

/* ---- tasks ---- */

static void run_tasks(uv_idle_t *idle)
{
        struct net_loop *loop = idle->data;
        struct list batch;

        /* Tasks queued meanwhile wait for the next turn, so that I/O is not starved. */
        list_init(&batch);
        while (!list_is_empty(&loop->tasks)) {
                struct list *entry = loop->tasks.next;
                list_remove(entry);
                list_append(&batch, entry);
        }
        while (!list_is_empty(&batch)) {
                struct net_task *task = list_entry(batch.next, struct net_task, link);
                list_remove(&task->link);
                task->link.next = NULL;
                task->run(task);
        }
        if (list_is_empty(&loop->tasks))
                uv_idle_stop(idle);
}

void net_loop_defer(struct net_loop *loop, struct net_task *task)
{
        if (net_task_is_queued(task))
                return;
        list_append(&loop->tasks, &task->link);
        uv_idle_start(&loop->idle, run_tasks);
}

void net_task_cancel(struct net_task *task)
{
        if (!net_task_is_queued(task))
                return;
        list_remove(&task->link);
        task->link.next = NULL;
}

static void take_posted(uv_async_t *async)
{
        struct net_loop *loop = async->data;

        uv_mutex_lock(&loop->posted_lock);
        while (!list_is_empty(&loop->posted)) {
                struct list *entry = loop->posted.next;
                list_remove(entry);
                list_append(&loop->tasks, entry);
        }
        uv_mutex_unlock(&loop->posted_lock);
        if (!list_is_empty(&loop->tasks))
                uv_idle_start(&loop->idle, run_tasks);
}

void net_loop_post(struct net_loop *loop, struct net_task *task)
{
        uv_mutex_lock(&loop->posted_lock);
        list_append(&loop->posted, &task->link);
        uv_mutex_unlock(&loop->posted_lock);
        uv_async_send(&loop->async);
}

/* ---- timers: an intrusive pairing heap, so that starting one cannot fail ---- */

static struct net_timer *meld(struct net_timer *a, struct net_timer *b)
{
        if (!a)
                return b;
        if (!b)
                return a;
        if (b->deadline_ms < a->deadline_ms) {
                struct net_timer *swap = a;
                a = b;
                b = swap;
        }
        b->next = a->child;
        if (b->next)
                b->next->previous = b;
        b->previous = a;
        a->child = b;
        a->next = a->previous = NULL;
        return a;
}

static struct net_timer *meld_siblings(struct net_timer *first)
{
        struct net_timer *pairs = NULL, *heap = NULL;

        while (first) {
                struct net_timer *a = first, *b = a->next;
                first = b ? b->next : NULL;
                a->next = a->previous = NULL;
                if (b)
                        b->next = b->previous = NULL;
                struct net_timer *pair = meld(a, b);
                pair->next = pairs;
                pairs = pair;
        }
        while (pairs) {
                struct net_timer *pair = pairs;
                pairs = pair->next;
                pair->next = NULL;
                heap = meld(heap, pair);
        }
        return heap;
}

static void heap_remove(struct net_loop *loop, struct net_timer *timer)
{
        struct net_timer *children = meld_siblings(timer->child);

        timer->child = NULL;
        if (timer == loop->timers) {
                loop->timers = children;
        } else {
                if (timer->previous->child == timer)
                        timer->previous->child = timer->next;
                else
                        timer->previous->next = timer->next;
                if (timer->next)
                        timer->next->previous = timer->previous;
                loop->timers = meld(loop->timers, children);
        }
        timer->next = timer->previous = NULL;
        timer->loop = NULL;
}

static void expire_timers(uv_timer_t *handle);

/* Arms uv's timer for the earliest deadline; one that is armed too early only wakes us in vain. */
static void arm(struct net_loop *loop)
{
        if (!loop->timers) {
                uv_timer_stop(&loop->timer);
                loop->armed_ms = 0;
                return;
        }
        uint64_t deadline = loop->timers->deadline_ms;
        if (loop->armed_ms != 0 && loop->armed_ms <= deadline)
                return;
        uint64_t now = uv_now(loop->uv);
        uv_timer_start(&loop->timer, expire_timers, deadline > now ? deadline - now : 0, 0);
        loop->armed_ms = deadline;
}

static void expire_timers(uv_timer_t *handle)
{
        struct net_loop *loop = handle->data;
        uint64_t now = uv_now(loop->uv);

        loop->armed_ms = 0;
        while (loop->timers && loop->timers->deadline_ms <= now) {
                struct net_timer *timer = loop->timers;
                heap_remove(loop, timer);
                timer->expire(timer);
        }
        arm(loop);
}

void net_timer_start(struct net_loop *loop, struct net_timer *timer, uint64_t delay_ms,
                     void (*expire)(struct net_timer *timer))
{
        if (timer->loop)
                heap_remove(timer->loop, timer);
        timer->deadline_ms = uv_now(loop->uv) + delay_ms;
        timer->expire = expire;
        timer->loop = loop;
        loop->timers = meld(loop->timers, timer);
        arm(loop);
}

void net_timer_stop(struct net_timer *timer)
{
        struct net_loop *loop = timer->loop;

        if (!loop)
                return;
        heap_remove(loop, timer);
        if (!loop->timers)
                arm(loop);
}

/* ---- the loop ---- */

static void handle_closed(uv_handle_t *handle)
{
        struct net_loop *loop = handle->data;

        if (--loop->open_handles > 0)
                return;
        uv_mutex_destroy(&loop->posted_lock);
        free(loop->read_buffer);
        free(loop);
}

int net_loop_new(uv_loop_t *uv, struct net_loop **ret_loop)
{
        struct net_loop *loop = calloc(1, sizeof(*loop));

        if (!loop)
                return -ENOMEM;
        loop->uv = uv;
        loop->read_buffer = malloc(NET_READ_SIZE);
        if (!loop->read_buffer || uv_mutex_init(&loop->posted_lock) < 0) {
                free(loop->read_buffer);
                free(loop);
                return -ENOMEM;
        }
        /* The only one that can fail comes before those that would have to be closed. */
        int r = uv_async_init(uv, &loop->async, take_posted);
        if (r < 0) {
                uv_mutex_destroy(&loop->posted_lock);
                free(loop->read_buffer);
                free(loop);
                return r;
        }
        uv_unref((uv_handle_t *)&loop->async);
        uv_idle_init(uv, &loop->idle);
        uv_timer_init(uv, &loop->timer);
        loop->async.data = loop->idle.data = loop->timer.data = loop;
        loop->open_handles = 3;
        list_init(&loop->tasks);
        list_init(&loop->posted);
        *ret_loop = loop;
        return 0;
}

void net_loop_free(struct net_loop *loop)
{
        if (!loop)
                return;
        assert(!loop->timers);
        /* What was closed just now may wait for its turn to free its memory. */
        while (!list_is_empty(&loop->tasks))
                run_tasks(&loop->idle);
        uv_close((uv_handle_t *)&loop->async, handle_closed);
        uv_close((uv_handle_t *)&loop->idle, handle_closed);
        uv_close((uv_handle_t *)&loop->timer, handle_closed);
}

uv_loop_t *net_loop_uv(struct net_loop *loop)
{
        return loop->uv;
}

uint64_t net_loop_now_ms(struct net_loop *loop)
{
        return uv_now(loop->uv);
}

char *net_loop_read_buffer(struct net_loop *loop)
{
        return loop->read_buffer;
}
