// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "client/executor.h"
#include "control/way.h"

enum { LIST_PAGE = 1000 };

static int wire_executor_begin(const struct controller_host_options *options,
                               void (*on_answer)(void *user), void *user, void **ret_executor,
                               const struct executor_backend **ret_backend)
{
        struct wire_executor *executor;

        int r = wire_executor_new(options->client, on_answer, user, &executor);
        if (r < 0)
                return r;
        wire_executor_set_fence(executor, options->may_act, options->user);
        *ret_backend = wire_executor_backend(executor);
        *ret_executor = executor;
        return 0;
}

static void wire_executor_end(void *executor)
{
        wire_executor_free(executor);
}

static bool wire_is_allowed(const void *executor, char why[static 256])
{
        static_assert(WIRE_EXECUTOR_WHY_SIZE == 256, "way.h says so");
        return wire_executor_is_allowed(executor, why);
}

/* Of what there may be as many as Sandboxes, and in JSON. */
static bool comes_by_thousands(const struct kind *kind)
{
        return kind == &kind_sandbox || kind == &kind_sandbox_claim || kind == &kind_service ||
               kind == &kind_persistent_volume_claim;
}

static int wire_feed_begin(const struct controller_host_options *options, const struct kind *kind,
                           const struct feed_hooks *hooks, void **ret_feed)
{
        const struct kube_reflector_options reflector = {
                .client = options->client,
                .kind = kind,
                .name_space = kind->namespaced ? options->name_space : STR_EMPTY,
                .tell_bookmarks = true,
                .no_watch_list = comes_by_thousands(kind),
                .chunk = LIST_PAGE,
                /* There are as many Pods as Sandboxes; and of a Pod controllers read, and patch,
                 * what any version knows. */
                .protobuf = kind == &kind_pod,
                .handler = hooks->on_event,
                .on_state = hooks->on_state,
                .user = hooks->user,
        };
        struct kube_reflector *feed;

        int r = kube_reflector_new(&reflector, &feed);
        if (r == 0)
                *ret_feed = feed;
        return r;
}

static void wire_feed_end(void *feed)
{
        kube_reflector_free(feed);
}

static void wire_feed_relist(void *feed)
{
        kube_reflector_relist(feed);
}

const struct controller_way controller_way_wire = {
        .executor_new = wire_executor_begin,
        .executor_free = wire_executor_end,
        .executor_is_allowed = wire_is_allowed,
        .feed_new = wire_feed_begin,
        .feed_free = wire_feed_end,
        .feed_relist = wire_feed_relist,
};
