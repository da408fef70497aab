// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/cleanup.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/internal_call.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "json/writer.h"

enum {
        PIECE_NS = 500 * 1000,
        DELETIONS_AT_ONCE = 128, /* leaves room in the queue of writes */
        AGAIN_MS = 500,          /* while objects are held by finalizers of their own */
};

struct cleanup {
        struct list link;
        struct apiserver *server;
        struct arena memory;
        struct str name, group, plural;
        struct storage_type *type, *definitions;
        struct storage_list list;
        struct net_task task;
        struct net_timer timer;
        bool listing;
        unsigned deletions; /* under way */
        bool deleted_some;  /* in this pass over the objects */
        bool some_left;
        bool ending;  /* the finalizer is being taken away */
        bool stopped; /* freed when no call of its own is under way */
};

bool cleanup_is_wanted(struct json_value definition)
{
        if (!json_exists(json_get(definition, "metadata", "deletionTimestamp")))
                return false;
        json_for_each (it, json_get(definition, "metadata", "finalizers")) {
                if (json_string_is(it.value, CLEANUP_FINALIZER))
                        return true;
        }
        return false;
}

static void cleanup_free(struct cleanup *cleanup)
{
        arena_deinit(&cleanup->memory);
        free(cleanup);
}

static void stop(struct cleanup *cleanup)
{
        list_remove(&cleanup->link);
        net_task_cancel(&cleanup->task);
        net_timer_stop(&cleanup->timer);
        if (cleanup->listing)
                storage_list_end(&cleanup->list);
        cleanup->listing = false;
        cleanup->stopped = true;
        if (cleanup->deletions == 0 && !cleanup->ending)
                cleanup_free(cleanup);
}

static void go_on(struct cleanup *cleanup)
{
        net_loop_defer(cleanup->server->loop, &cleanup->task);
}

static void on_timer(struct net_timer *timer)
{
        go_on(container_of(timer, struct cleanup, timer));
}

static void try_later(struct cleanup *cleanup)
{
        net_timer_start(cleanup->server->loop, &cleanup->timer, AGAIN_MS, on_timer);
}

/* ---- the objects ---- */

static void deleted(void *user, unsigned code, struct json_doc *doc _unused_)
{
        struct cleanup *cleanup = user;

        cleanup->deletions--;
        if (cleanup->stopped) {
                if (cleanup->deletions == 0)
                        cleanup_free(cleanup);
                return;
        }
        if (code >= 400 && code != 404)
                try_later(cleanup);
        else if ((cleanup->listing || cleanup->deletions == 0) &&
                 !net_timer_is_running(&cleanup->timer))
                go_on(cleanup);
}

static int delete_object(struct cleanup *cleanup)
{
        struct internal_request request = {
                .verb = API_DELETE,
                .group = cleanup->group,
                .plural = cleanup->plural,
                .manager = STR("cay-apiserver"),
                .done = deleted,
                .user = cleanup,
        };
        int r;

        storage_list_position(&cleanup->list, &request.name_space, &request.name);
        cleanup->deletions++;
        r = internal_call_start(cleanup->server, &request, NULL);
        if (r < 0)
                cleanup->deletions--;
        else
                cleanup->deleted_some = true;
        return r;
}

/* Deletes for a while. Returns 1 at the end of the objects, 0 when there is more to do. */
static int delete_some(struct cleanup *cleanup)
{
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;
        struct json_doc *doc;
        int r = 0;

        if (!cleanup->listing) {
                r = storage_list_begin(&cleanup->list, cleanup->type, STR_EMPTY, 0, STR_EMPTY,
                                       STR_EMPTY);
                if (r < 0)
                        return r;
                cleanup->listing = true;
                cleanup->some_left = cleanup->deleted_some = false;
        }
        while (cleanup->deletions < DELETIONS_AT_ONCE && clock_monotonic_ns() < deadline) {
                r = storage_list_next(&cleanup->list, &doc);
                if (r <= 0)
                        return r < 0 ? r : 1;
                cleanup->some_left = true;
                if (json_exists(json_get(json_root(doc), "metadata", "deletionTimestamp")))
                        continue;
                r = delete_object(cleanup);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- the finalizer ---- */

static void ended(void *user, unsigned code, struct json_doc *doc _unused_)
{
        struct cleanup *cleanup = user;

        cleanup->ending = false;
        if (cleanup->stopped) {
                if (cleanup->deletions == 0)
                        cleanup_free(cleanup);
        } else if (code >= 400 && code != 404) {
                try_later(cleanup);
        }
}

static int write_patch(struct json_value definition, struct buffer *text)
{
        struct json_writer writer;

        json_writer_init(&writer, text);
        json_begin_object(&writer);
        json_field_object(&writer, "metadata");
        json_field_value(&writer, "resourceVersion",
                         json_get(definition, "metadata", "resourceVersion"));
        json_field_array(&writer, "finalizers");
        json_for_each (it, json_get(definition, "metadata", "finalizers")) {
                if (!json_string_is(it.value, CLEANUP_FINALIZER))
                        json_write_value(&writer, it.value);
        }
        json_end_array(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int end(struct cleanup *cleanup)
{
        struct json_doc *definition = storage_get(cleanup->definitions, STR_EMPTY, cleanup->name);
        struct internal_request request = {
                .verb = API_PATCH,
                .group = STR("apiextensions.k8s.io"),
                .plural = STR("customresourcedefinitions"),
                .name = cleanup->name,
                .manager = STR("cay-apiserver"),
                .content_type = STR("application/merge-patch+json"),
                .done = ended,
                .user = cleanup,
        };
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *patch = NULL;
        int r;

        if (!definition || !cleanup_is_wanted(json_root(definition)))
                return 0;
        r = write_patch(json_root(definition), &text);
        if (r == 0)
                r = json_doc_from_buffer(&text, &patch);
        if (r < 0)
                return r;
        request.body = patch;
        cleanup->ending = true;
        r = internal_call_start(cleanup->server, &request, NULL);
        if (r < 0)
                cleanup->ending = false;
        return r;
}

/* ---- one after the other ---- */

static void run(struct net_task *task)
{
        struct cleanup *cleanup = container_of(task, struct cleanup, task);
        int r;

        if (cleanup->ending)
                return;
        r = delete_some(cleanup);
        if (r == 0) {
                if (cleanup->deletions < DELETIONS_AT_ONCE)
                        go_on(cleanup);
                return;
        }
        if (cleanup->listing)
                storage_list_end(&cleanup->list);
        cleanup->listing = false;
        if (r == 1 && !cleanup->some_left && cleanup->deletions == 0)
                r = end(cleanup);
        else if (r == 1 && cleanup->deleted_some)
                return; /* the last answer begins the next pass */
        else if (r == 1)
                try_later(cleanup);
        if (r < 0)
                try_later(cleanup);
}

int cleanup_start(struct apiserver *server, struct list *cleanups, struct json_value definition)
{
        struct str name = json_string(json_get(definition, "metadata", "name"));
        struct json_value spec = json_get(definition, "spec");
        struct cleanup *cleanup;

        list_for_each (cleanup, cleanups, link) {
                if (str_equal(cleanup->name, name))
                        return 0;
        }
        cleanup = calloc(1, sizeof(*cleanup));
        if (!cleanup)
                return -ENOMEM;
        cleanup->server = server;
        cleanup->task.run = run;
        cleanup->name = arena_str(&cleanup->memory, name);
        cleanup->group = arena_str(&cleanup->memory, json_string(json_get(spec, "group")));
        cleanup->plural =
                arena_str(&cleanup->memory, json_string(json_get(spec, "names", "plural")));
        if (cleanup->name.data && cleanup->group.data && cleanup->plural.data)
                cleanup->type = storage_type(server->storage, cleanup->group, cleanup->plural);
        cleanup->definitions = storage_type(server->storage, STR("apiextensions.k8s.io"),
                                            STR("customresourcedefinitions"));
        if (!cleanup->type || !cleanup->definitions) {
                cleanup_free(cleanup);
                return -ENOMEM;
        }
        list_append(cleanups, &cleanup->link);
        go_on(cleanup);
        return 0;
}

void cleanup_stop(struct list *cleanups, struct str name)
{
        struct cleanup *cleanup;

        list_for_each (cleanup, cleanups, link) {
                if (str_equal(cleanup->name, name)) {
                        stop(cleanup);
                        return;
                }
        }
}

void cleanup_stop_all(struct list *cleanups)
{
        while (!list_is_empty(cleanups)) {
                struct cleanup *cleanup = list_entry(cleanups->next, struct cleanup, link);
                cleanup->deletions = 0;
                cleanup->ending = false;
                stop(cleanup);
        }
}
