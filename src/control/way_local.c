// SPDX-License-Identifier: Apache-2.0
#include "apiserver/local_executor.h"
#include "apiserver/local_feed.h"
#include "apiserver/local_kinds.h"
#include "control/way.h"

static int local_executor_begin(const struct controller_host_options *options,
                                void (*on_answer)(void *user), void *user, void **ret_executor,
                                const struct executor_backend **ret_backend)
{
        struct local_executor *executor;

        int r = local_executor_new(options->server, STR("cay-controller"), on_answer, user,
                                   &executor);
        if (r < 0)
                return r;
        *ret_backend = local_executor_backend(executor);
        *ret_executor = executor;
        return 0;
}

static void local_executor_planned(void *executor)
{
        local_executor_commit(executor);
}

static void local_executor_end(void *executor)
{
        local_executor_free(executor);
}

static int local_feed_begin(const struct controller_host_options *options, const struct kind *kind,
                            const struct feed_hooks *hooks, void **ret_feed)
{
        const struct local_feed_options local = {
                .server = options->server,
                .kind = kind,
                .name_space = kind->namespaced ? options->name_space : STR_EMPTY,
                .handler = hooks->on_event,
                .aborted = hooks->on_aborted,
                .user = hooks->user,
        };
        struct local_feed *feed;

        int r = local_feed_new(&local, &feed);
        if (r == 0)
                *ret_feed = feed;
        return r;
}

static void local_feed_end(void *feed)
{
        local_feed_free(feed);
}

static void local_feed_again(void *feed)
{
        local_feed_relist(feed);
}

static uint64_t local_feed_told(const void *feed)
{
        return local_feed_position(feed);
}

static int local_kinds_begin(const struct controller_host_options *options,
                             const struct kinds_hooks *hooks, void **ret_kinds)
{
        const struct local_kinds_options local = {
                .server = options->server,
                .except = options->kinds,
                .added = hooks->added,
                .removed = hooks->removed,
                .user = hooks->user,
        };
        struct local_kinds *kinds;

        int r = local_kinds_new(&local, &kinds);
        if (r == 0)
                *ret_kinds = kinds;
        return r;
}

static void local_kinds_end(void *kinds)
{
        local_kinds_free(kinds);
}

const struct controller_way controller_way_local = {
        .executor_new = local_executor_begin,
        .executor_free = local_executor_end,
        .executor_planned = local_executor_planned,
        .feed_new = local_feed_begin,
        .feed_free = local_feed_end,
        .feed_relist = local_feed_again,
        .feed_position = local_feed_told,
        .kinds_new = local_kinds_begin,
        .kinds_free = local_kinds_end,
};
