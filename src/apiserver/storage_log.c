// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/storage.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/storage_internal.h"
#include "base/clock.h"

enum {
        PUMP_NS = 500 * 1000, /* work in one turn of the loop */
        PUMP_SHARE = 16,      /* events of one watch before the next one's turn */
};

/* ---- the log ---- */

static void event_free(struct storage *storage, struct storage_log_event *logged)
{
        struct storage_type *type = logged->type;

        type->floor = MAX(type->floor, logged->event.revision);
        type->first = logged->next;
        if (type->first)
                type->first->previous = NULL;
        else
                type->last = NULL;
        list_remove(&logged->in_log);
        storage->log_events--;
        storage->log_bytes -= logged->weight;
        if (logged->event.before)
                json_doc_unref(logged->event.before);
        json_doc_unref(logged->event.last);
        free(logged);
}

static void trim(struct storage *storage)
{
        while (storage->log_events > storage->config.log_events ||
               (storage->log_bytes > storage->config.log_bytes && storage->log_events > 1))
                event_free(storage,
                           list_entry(storage->log.next, struct storage_log_event, in_log));
}

static void make_ready(struct storage_watch *watch)
{
        struct storage *storage = watch->type->storage;

        if (watch->next_revision && !watch->paused && list_is_empty(&watch->in_ready))
                list_append(&storage->ready, &watch->in_ready);
}

/* Without memory for an event, every watch of the type is told to begin anew. */
static void lose(struct storage_type *type, uint64_t revision)
{
        struct storage_watch *watch;

        type->floor = revision;
        list_for_each (watch, &type->watches, in_type) {
                if (!watch->next_revision)
                        watch->next_revision = revision;
                make_ready(watch);
        }
}

void storage_log_append(struct storage_type *type, const struct storage_event *event)
{
        struct storage *storage = type->storage;
        struct storage_log_event *logged;
        struct storage_watch *watch;

        logged = calloc(1, sizeof(*logged) + event->name_space.length + event->name.length);
        if (!logged) {
                lose(type, event->revision);
                return;
        }
        logged->event = *event;
        if (event->name_space.length > 0)
                memcpy(logged->bytes, event->name_space.data, event->name_space.length);
        memcpy(logged->bytes + event->name_space.length, event->name.data, event->name.length);
        logged->event.name_space.data = logged->bytes;
        logged->event.name.data = logged->bytes + event->name_space.length;
        logged->type = type;
        /* What is current is held anyway; the log keeps alive what is not. */
        logged->weight = sizeof(*logged);
        if (event->before) {
                json_doc_ref(event->before);
                logged->weight += json_doc_size(event->before);
        }
        json_doc_ref(event->last);
        if (!event->after)
                logged->weight += json_doc_size(event->last);

        logged->previous = type->last;
        if (type->last)
                type->last->next = logged;
        else
                type->first = logged;
        type->last = logged;
        list_append(&storage->log, &logged->in_log);
        storage->log_events++;
        storage->log_bytes += logged->weight;

        list_for_each (watch, &type->watches, in_type) {
                if (!watch->next_revision) {
                        watch->next = logged;
                        watch->next_revision = event->revision;
                }
                make_ready(watch);
        }
        trim(storage);
}

/* The oldest event of the type behind `revision`. */
static struct storage_log_event *first_behind(const struct storage_type *type, uint64_t revision)
{
        struct storage_log_event *found = NULL;

        for (struct storage_log_event *e = type->last; e && e->event.revision > revision;
             e = e->previous)
                found = e;
        return found;
}

int storage_log_behind(const struct storage_type *type, uint64_t revision,
                       const struct storage_log_event **ret)
{
        if (revision < type->floor)
                return -ESTALE;
        *ret = first_behind(type, revision);
        return 0;
}

/* ---- watches ---- */

int storage_watch_start(struct storage_watch *watch, uint64_t revision)
{
        struct storage_type *type = watch->type;

        if (revision > type->storage->revision)
                return -ERANGE;
        if (revision < type->floor)
                return -ESTALE;
        watch->position = revision;
        watch->paused = false;
        watch->active = true;
        watch->next = first_behind(type, revision);
        watch->next_revision = watch->next ? watch->next->event.revision : 0;
        list_init(&watch->in_ready);
        list_append(&type->watches, &watch->in_type);
        type->storage->watches++;
        make_ready(watch);
        if (watch->next_revision)
                storage_wake(type->storage);
        return 0;
}

void storage_watch_stop(struct storage_watch *watch)
{
        struct storage *storage;

        if (!watch->active)
                return;
        storage = watch->type->storage;
        watch->active = false;
        list_remove(&watch->in_type);
        list_remove(&watch->in_ready);
        storage->watches--;
        if (storage->current == watch)
                storage->current = NULL;
}

void storage_watch_resume(struct storage_watch *watch)
{
        watch->paused = false;
        make_ready(watch);
        if (watch->next_revision)
                storage_wake(watch->type->storage);
}

uint64_t storage_watch_position(const struct storage_watch *watch)
{
        return watch->next_revision ? watch->position : watch->type->storage->revision;
}

static void end_watch(struct storage_watch *watch, enum storage_watch_end why)
{
        storage_watch_stop(watch);
        watch->end(watch, why);
}

static bool concerns(const struct storage_watch *watch, const struct storage_event *event)
{
        return (watch->name_space.length == 0 || str_equal(watch->name_space, event->name_space)) &&
               (watch->name.length == 0 || str_equal(watch->name, event->name));
}

/* Passes on some events of one watch, which may be gone afterwards. */
static void pump_watch(struct storage *storage, struct storage_watch *watch)
{
        storage->current = watch;
        for (unsigned i = 0; i < PUMP_SHARE && watch->next_revision && !watch->paused; i++) {
                const struct storage_log_event *logged;
                bool more = true;

                if (watch->next_revision <= watch->type->floor) {
                        end_watch(watch, STORAGE_WATCH_EXPIRED);
                        return;
                }
                logged = watch->next;
                watch->next = logged->next;
                watch->next_revision = logged->next ? logged->next->event.revision : 0;
                watch->position = logged->event.revision;
                if (concerns(watch, &logged->event))
                        more = watch->event(watch, &logged->event);
                if (!storage->current)
                        return;
                watch->paused = !more;
        }
        make_ready(watch);
        if (watch->flush)
                watch->flush(watch);
        storage->current = NULL;
}

bool storage_log_pump(struct storage *storage)
{
        uint64_t deadline;

        if (storage->current || list_is_empty(&storage->ready))
                return false;
        deadline = clock_monotonic_ns() + PUMP_NS;
        while (!list_is_empty(&storage->ready)) {
                struct storage_watch *watch =
                        list_entry(storage->ready.next, struct storage_watch, in_ready);

                list_remove(&watch->in_ready);
                pump_watch(storage, watch);
                if (clock_monotonic_ns() > deadline)
                        break;
        }
        return !list_is_empty(&storage->ready);
}

void storage_log_deinit(struct storage *storage)
{
        struct storage_type *type;

        list_for_each (type, &storage->types, in_storage) {
                while (!list_is_empty(&type->watches))
                        end_watch(list_entry(type->watches.next, struct storage_watch, in_type),
                                  STORAGE_WATCH_CLOSED);
        }
        while (!list_is_empty(&storage->log))
                event_free(storage,
                           list_entry(storage->log.next, struct storage_log_event, in_log));
}
