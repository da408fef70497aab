// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "store/store.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "store/database.h"

enum {
        CHECKPOINT_IDLE_MS = 10,       /* nothing was written for so long */
        CHECKPOINT_RETRY_MS = 1000,    /* after one that found no space */
        CHECKPOINT_IDLE_FRAMES = 1000, /* pages worth a checkpoint when idle, some 1 ms */
        /* Now, idle or not: it takes some 20 ms, later ones more, and the log would grow. */
        CHECKPOINT_FORCED_FRAMES = DATABASE_LOG_FRAMES,
        DELIVERY_NS = 500 * 1000, /* outcomes delivered in one turn of the loop */
};

struct write_list {
        struct store_write *first, *last;
};

struct store {
        struct store_config config;
        uv_async_t async;
        uv_thread_t thread;
        uv_mutex_t mutex;
        uv_cond_t condition;
        struct database database; /* the writer's */

        /* the loop's */
        struct write_list corked;
        struct write_list outcomes; /* known, not yet delivered */
        unsigned corks;
        unsigned waiting;
        bool failed;
        bool closing;

        /* under the mutex */
        struct write_list queue;    /* submitted */
        struct write_list finished; /* with a result */
        int halted;                 /* a transaction failed so; the loop has not seen it yet */
        bool stopping;
        struct store_counters counters;
};

static void list_push(struct write_list *list, struct store_write *write)
{
        write->next = NULL;
        if (list->last)
                list->last->next = write;
        else
                list->first = write;
        list->last = write;
}

static void list_move(struct write_list *to, struct write_list *from)
{
        if (!from->first)
                return;
        if (to->last)
                to->last->next = from->first;
        else
                to->first = from->first;
        to->last = from->last;
        *from = (struct write_list){};
}

/* ---- the writer thread ---- */

/* Called with the mutex, gives it up meanwhile. */
static void write_batch(struct store *store)
{
        struct write_list batch = {};
        uint64_t begin, spent, count = 0;
        int r;

        list_move(&batch, &store->queue);
        uv_mutex_unlock(&store->mutex);
        begin = clock_monotonic_ns();
        r = database_write(&store->database, batch.first);
        spent = clock_monotonic_ns() - begin;
        for (struct store_write *write = batch.first; write; write = write->next) {
                write->result = r;
                count++;
        }
        uv_mutex_lock(&store->mutex);

        if (r < 0) {
                store->halted = r;
                store->counters.aborted += count;
        } else {
                store->counters.transactions++;
                store->counters.writes += count;
                store->counters.commit_ns += spent;
        }
        store->counters.log_frames = store->database.log_frames;
        list_move(&store->finished, &batch);
        uv_async_send(&store->async);
}

/* Called with the mutex, gives it up meanwhile. Returns when the next one may be tried. */
static uint64_t checkpoint(struct store *store)
{
        int r;

        uv_mutex_unlock(&store->mutex);
        r = database_checkpoint(&store->database);
        uv_mutex_lock(&store->mutex);
        store->counters.log_frames = store->database.log_frames;
        if (r == 0) {
                store->counters.checkpoints++;
                return 0;
        }
        if (database_is_fatal(r)) {
                store->halted = r;
                uv_async_send(&store->async);
        }
        return clock_monotonic_ns() + CHECKPOINT_RETRY_MS * NS_PER_MS;
}

static void writer_run(void *argument)
{
        struct store *store = argument;
        uint64_t not_before = 0; /* of the next checkpoint */

        uv_mutex_lock(&store->mutex);
        for (;;) {
                unsigned frames = store->database.log_frames;

                if (store->halted) {
                        if (store->stopping)
                                break;
                        uv_cond_wait(&store->condition, &store->mutex);
                } else if (frames >= CHECKPOINT_FORCED_FRAMES &&
                           clock_monotonic_ns() >= not_before) {
                        not_before = checkpoint(store);
                } else if (store->queue.first) {
                        write_batch(store);
                } else if (store->stopping) {
                        break;
                } else if (frames < CHECKPOINT_IDLE_FRAMES || clock_monotonic_ns() < not_before) {
                        uv_cond_wait(&store->condition, &store->mutex);
                } else if (uv_cond_timedwait(&store->condition, &store->mutex,
                                             CHECKPOINT_IDLE_MS * NS_PER_MS) == UV_ETIMEDOUT &&
                           !store->queue.first && !store->stopping) {
                        not_before = checkpoint(store);
                }
        }
        uv_mutex_unlock(&store->mutex);
}

/* ---- the loop ---- */

static void deliver(struct store *store, bool all)
{
        uint64_t deadline = clock_monotonic_ns() + DELIVERY_NS;

        while (store->outcomes.first) {
                struct store_write *write = store->outcomes.first;

                store->outcomes.first = write->next;
                if (!store->outcomes.first)
                        store->outcomes.last = NULL;
                store->waiting--;
                store->config.done(store->config.user, write, write->result);
                if (!all && clock_monotonic_ns() > deadline) {
                        uv_async_send(&store->async);
                        break;
                }
        }
        if (store->config.delivered)
                store->config.delivered(store->config.user);
}

/* Ends everything that is on its way, then lets the writer go on, unless the cause is fatal. */
static void abort_all(struct store *store, int reason, struct write_list *aborted)
{
        bool fatal = database_is_fatal(reason);

        deliver(store, true);

        uv_mutex_lock(&store->mutex);
        list_move(aborted, &store->queue);
        uv_mutex_unlock(&store->mutex);
        list_move(aborted, &store->corked);
        for (struct store_write *write = aborted->first; write; write = write->next)
                write->result = reason;
        list_move(&store->outcomes, aborted);

        store->failed = fatal;
        if (!fatal) {
                uv_mutex_lock(&store->mutex);
                store->halted = 0;
                uv_cond_signal(&store->condition);
                uv_mutex_unlock(&store->mutex);
        }
        store->config.aborted(store->config.user, reason, fatal);
        deliver(store, true);
}

static void on_async(uv_async_t *async)
{
        struct store *store = async->data;
        struct write_list aborted = {};
        int halted;

        uv_mutex_lock(&store->mutex);
        halted = store->halted;
        for (struct store_write *write = store->finished.first, *next; write; write = next) {
                next = write->next;
                list_push(write->result < 0 ? &aborted : &store->outcomes, write);
        }
        store->finished = (struct write_list){};
        uv_mutex_unlock(&store->mutex);

        if (halted && !store->failed)
                abort_all(store, halted, &aborted);
        else
                deliver(store, false);
}

int store_submit(struct store *store, struct store_write *write)
{
        assert(write->id > 0 && write->revision > 0);
        if (store->failed || store->closing)
                return -EIO;
        if (store->waiting >= LIMIT_WRITE_QUEUE)
                return -EAGAIN;
        store->waiting++;
        list_push(&store->corked, write);
        if (store->corks == 0) {
                store->corks = 1;
                store_uncork(store);
        }
        return 0;
}

void store_cork(struct store *store)
{
        store->corks++;
}

void store_uncork(struct store *store)
{
        assert(store->corks > 0);
        if (--store->corks > 0 || !store->corked.first)
                return;
        uv_mutex_lock(&store->mutex);
        list_move(&store->queue, &store->corked);
        uv_cond_signal(&store->condition);
        uv_mutex_unlock(&store->mutex);
}

struct store_counters store_counters(const struct store *store)
{
        struct store *mutable = (struct store *)(uintptr_t)store;
        struct store_counters counters;

        uv_mutex_lock(&mutable->mutex);
        counters = store->counters;
        uv_mutex_unlock(&mutable->mutex);
        counters.waiting = store->waiting;
        counters.failed = store->failed;
        return counters;
}

/* ---- opening and closing ---- */

static void on_closed(uv_handle_t *handle)
{
        struct store *store = handle->data;

        uv_cond_destroy(&store->condition);
        uv_mutex_destroy(&store->mutex);
        free(store);
}

enum open_step { OPENED_DATABASE, OPENED_MUTEX, OPENED_CONDITION, OPENED_ASYNC };

/* Undoes store_open() as far as it came. */
static int open_failed(struct store *store, enum open_step step, int r)
{
        database_close(&store->database, false);
        if (step == OPENED_ASYNC) {
                uv_close((uv_handle_t *)&store->async, on_closed);
                return r;
        }
        if (step == OPENED_CONDITION)
                uv_cond_destroy(&store->condition);
        if (step >= OPENED_MUTEX)
                uv_mutex_destroy(&store->mutex);
        free(store);
        return r;
}

int store_open(const struct store_config *config, struct error *error, struct store **ret_store,
               uint64_t *ret_revision)
{
        struct store *store = calloc(1, sizeof(*store));
        uint64_t revision;
        int r;

        if (!store)
                return -ENOMEM;
        store->config = *config;
        store->async.data = store;
        r = database_open(&store->database, config, error, &revision);
        if (r < 0) {
                free(store);
                return r;
        }
        r = uv_mutex_init(&store->mutex);
        if (r < 0)
                return open_failed(store, OPENED_DATABASE, r);
        r = uv_cond_init(&store->condition);
        if (r < 0)
                return open_failed(store, OPENED_MUTEX, r);
        r = uv_async_init(config->loop, &store->async, on_async);
        if (r < 0)
                return open_failed(store, OPENED_CONDITION, r);
        r = uv_thread_create(&store->thread, writer_run, store);
        if (r < 0)
                return open_failed(store, OPENED_ASYNC, r);
        *ret_store = store;
        *ret_revision = revision;
        return 0;
}

void store_close(struct store *store)
{
        if (!store)
                return;
        assert(store->corks == 0);
        store->closing = true;
        uv_mutex_lock(&store->mutex);
        store->stopping = true;
        uv_cond_signal(&store->condition);
        uv_mutex_unlock(&store->mutex);
        uv_thread_join(&store->thread);

        on_async(&store->async);
        deliver(store, true);
        database_close(&store->database, store->failed);
        uv_close((uv_handle_t *)&store->async, on_closed);
}
