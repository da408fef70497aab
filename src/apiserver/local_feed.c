// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/local_feed.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "base/log.h"

enum { PIECE_NS = 500 * 1000 };

struct local_feed {
        struct local_feed_options options;
        const struct api_resource *resource;
        struct storage_watch watch;
        struct storage_list list;
        struct net_task task; /* the list goes on */
        bool listing;
        bool anew; /* what was told is not to be relied on */
};

static uint64_t revision_of(struct json_doc *doc)
{
        uint64_t revision = 0;

        str_to_u64(json_string(json_get(json_root(doc), "metadata", "resourceVersion")), INT64_MAX,
                   &revision);
        return revision;
}

void local_feed_relist(struct local_feed *feed)
{
        feed->anew = true;
        net_loop_defer(feed->options.server->loop, &feed->task);
}

static int tell(struct local_feed *feed, enum kube_event_type type, struct json_doc *doc)
{
        _cleanup_doc_ struct json_doc *converted = NULL;
        struct error error = {};
        struct kube_event event = { .type = type };
        struct str version = feed->options.kind->version;
        int r = 0;

        if (version.length > 0)
                r = render_convert(feed->resource, doc, version, &error, &converted);
        else
                converted = json_doc_ref(doc);

        if (r < 0) {
                log_error("cannot convert an object: %s", error.message);
                if (r == -ENOMEM)
                        local_feed_relist(feed);
                return r;
        }
        event.doc = converted;
        event.name_space = json_string(json_get(json_root(converted), "metadata", "namespace"));
        event.name = json_string(json_get(json_root(converted), "metadata", "name"));
        event.resource_version = revision_of(converted);
        feed->options.handler(feed->options.user, &event);
        return 0;
}

static bool on_event(struct storage_watch *watch, const struct storage_event *event)
{
        struct local_feed *feed = container_of(watch, struct local_feed, watch);

        if (feed->anew)
                return true;
        tell(feed,
             !event->after    ? KUBE_DELETED
             : !event->before ? KUBE_ADDED
                              : KUBE_MODIFIED,
             event->last);
        return true;
}

static void begin_list(struct local_feed *feed)
{
        net_loop_defer(feed->options.server->loop, &feed->task);
}

static void on_end(struct storage_watch *watch, enum storage_watch_end why)
{
        struct local_feed *feed = container_of(watch, struct local_feed, watch);

        if (why == STORAGE_WATCH_EXPIRED)
                begin_list(feed);
}

static void end_list(struct local_feed *feed)
{
        struct kube_event event = { .type = KUBE_LIST_END,
                                    .resource_version = feed->list.revision };

        storage_list_end(&feed->list);
        feed->listing = false;
        if (storage_watch_start(&feed->watch, event.resource_version) < 0) {
                begin_list(feed);
                return;
        }
        feed->options.handler(feed->options.user, &event);
}

static void on_task(struct net_task *task)
{
        struct local_feed *feed = container_of(task, struct local_feed, task);
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;
        struct json_doc *doc;
        int r;

        if (feed->anew) {
                storage_watch_stop(&feed->watch);
                if (feed->listing)
                        storage_list_end(&feed->list);
                feed->anew = feed->listing = false;
        }
        if (!feed->listing) {
                struct kube_event event = { .type = KUBE_LIST_BEGIN };
                r = storage_list_begin(&feed->list, feed->watch.type, feed->options.name_space, 0,
                                       STR_EMPTY, STR_EMPTY);
                if (r < 0) {
                        begin_list(feed);
                        return;
                }
                feed->listing = true;
                feed->options.handler(feed->options.user, &event);
        }
        do {
                r = storage_list_next(&feed->list, &doc);
                if (r == 1)
                        tell(feed, KUBE_ADDED, doc);
        } while (r == 1 && !feed->anew && clock_monotonic_ns() < deadline);
        if (feed->anew)
                return;
        if (r == 0) {
                end_list(feed);
                return;
        }
        if (r < 0) {
                storage_list_end(&feed->list);
                feed->listing = false;
        }
        begin_list(feed);
}

int local_feed_new(const struct local_feed_options *options, struct local_feed **ret_feed)
{
        const struct api_resource *resource = registry_find(
                options->server->registry, options->kind->group, options->kind->plural);
        struct local_feed *feed;

        if (!resource || !resource->storage)
                return -ENOENT;
        feed = calloc(1, sizeof(*feed));
        if (!feed)
                return -ENOMEM;
        feed->options = *options;
        feed->resource = api_resource_ref(resource);
        feed->task.run = on_task;
        feed->watch.type = resource->storage;
        feed->watch.name_space = options->name_space;
        feed->watch.event = on_event;
        feed->watch.end = on_end;
        begin_list(feed);
        *ret_feed = feed;
        return 0;
}

uint64_t local_feed_position(const struct local_feed *feed)
{
        return feed->watch.active && !feed->anew ? storage_watch_position(&feed->watch) : 0;
}

void local_feed_free(struct local_feed *feed)
{
        if (!feed)
                return;
        net_task_cancel(&feed->task);
        storage_watch_stop(&feed->watch);
        if (feed->listing)
                storage_list_end(&feed->list);
        api_resource_unref(feed->resource);
        free(feed);
}
