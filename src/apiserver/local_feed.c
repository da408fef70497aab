// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/local_feed.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "base/log.h"

enum { PIECE_NS = 500 * 1000, ABORTED_MS = 1000 };

struct local_feed {
        struct local_feed_options options;
        const struct api_resource *resource;
        struct storage_follower follower;
        struct storage_list list;
        struct net_task task;   /* the list goes on */
        struct net_timer later; /* it begins again */
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

static void on_accepted(struct storage_follower *follower, const struct storage_event *event)
{
        struct local_feed *feed = container_of(follower, struct local_feed, follower);

        if (feed->anew)
                return;
        tell(feed,
             !event->after    ? KUBE_DELETED
             : !event->before ? KUBE_ADDED
                              : KUBE_MODIFIED,
             event->last);
        commit_hold_begin(&feed->options.server->hold);
}

static void begin_list(struct local_feed *feed)
{
        net_loop_defer(feed->options.server->loop, &feed->task);
}

static void on_later(struct net_timer *timer)
{
        begin_list(container_of(timer, struct local_feed, later));
}

static void drop_list(struct local_feed *feed)
{
        if (feed->listing)
                storage_list_end(&feed->list);
        feed->listing = false;
}

static void on_aborted(struct storage_follower *follower)
{
        struct local_feed *feed = container_of(follower, struct local_feed, follower);

        drop_list(feed);
        net_task_cancel(&feed->task);
        feed->anew = false;
        if (feed->options.aborted)
                feed->options.aborted(feed->options.user);
        /* Where there is no space the next write would be aborted too: not at once. */
        net_timer_start(feed->options.server->loop, &feed->later, ABORTED_MS, on_later);
}

static void end_list(struct local_feed *feed)
{
        struct kube_event event = { .type = KUBE_LIST_END,
                                    .resource_version = feed->list.revision };

        drop_list(feed);
        feed->options.handler(feed->options.user, &event);
}

/* What changes during the list is told meanwhile; the list is of what is on disk now. */
static bool start_list(struct local_feed *feed)
{
        struct kube_event event = { .type = KUBE_LIST_BEGIN };

        /* To be told anew what is on its way. */
        storage_unfollow(&feed->follower);
        if (storage_list_begin(&feed->list, feed->follower.type, feed->options.name_space, 0,
                               STR_EMPTY, STR_EMPTY) < 0)
                return false;
        feed->listing = true;
        feed->options.handler(feed->options.user, &event);
        storage_follow(&feed->follower);
        return true;
}

static void on_task(struct net_task *task)
{
        struct local_feed *feed = container_of(task, struct local_feed, task);
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;
        struct json_doc *doc;
        int r;

        if (feed->anew)
                drop_list(feed);
        feed->anew = false;
        if (!feed->listing && !start_list(feed)) {
                begin_list(feed);
                return;
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
        if (r < 0)
                drop_list(feed);
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
        feed->follower.type = resource->storage;
        feed->follower.name_space = options->name_space;
        feed->follower.accepted = on_accepted;
        feed->follower.aborted = on_aborted;
        begin_list(feed);
        *ret_feed = feed;
        return 0;
}

uint64_t local_feed_position(const struct local_feed *feed)
{
        return feed->follower.active && !feed->listing && !feed->anew
                       ? storage_head_revision(feed->options.server->storage)
                       : 0;
}

void local_feed_free(struct local_feed *feed)
{
        if (!feed)
                return;
        net_task_cancel(&feed->task);
        net_timer_stop(&feed->later);
        storage_unfollow(&feed->follower);
        drop_list(feed);
        api_resource_unref(feed->resource);
        free(feed);
}
