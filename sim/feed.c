// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/clock.h"
#include "memory.h"
#include "process.h"

/* Watches that lag, break, repeat and skip, each of one of two servers that lag by themselves. */

static void deliver(struct world *world, void *argument);

static void schedule(struct feed *feed, uint64_t delay_ns)
{
        if (feed->scheduled)
                return;
        feed->scheduled = true;
        world_after(feed->process->world, delay_ns, deliver, feed);
}

void process_notice(struct process *process, const struct kind *kind)
{
        for (size_t i = 0; i < process->feed_count; i++) {
                if (process->feeds[i].kind == kind)
                        schedule(&process->feeds[i], world_random(process->world, 20 * NS_PER_MS));
        }
}

static void feed_change(struct feed *feed, const struct change *change)
{
        struct world *world = feed->process->world;
        int r;

        MEMORY_THEIRS();
        r = controllers_feed(feed->process->set, feed->kind, change->event, change->doc);
        MEMORY_OURS();
        if (r == -ENOMEM && world->options.loses_events)
                feed->lost = true;
        else if (r < 0)
                world_fail(feed->process->world, "the cache refuses an event: %d", r);
}

/* Whether the server of the feed has the next change already. */
static bool has_next(const struct feed *feed)
{
        struct world *world = feed->process->world;

        return feed->position < api_history(world->api, feed->kind) &&
               api_change(world->api, feed->kind, feed->position)->version <=
                       world_server_version(world, feed->server, feed->lag_ns);
}

/* The state as of a position: the last change of each object up to there. */
static void list(struct feed *feed)
{
        struct world *world = feed->process->world;
        size_t end = api_history(world->api, feed->kind);
        size_t position = end;

        /* The first list is consistent; a later one may come from a server that lags, and so go
         * back behind what was seen. */
        if (!world->settling && feed->was_listed && world_chance(world, 200))
                position -= (size_t)world_random(world, MIN(end, (size_t)8) + 1);
        feed->lost = false;
        MEMORY_THEIRS();
        controllers_list_begin(feed->process->set, feed->kind);
        MEMORY_OURS();
        for (size_t i = 0; i < position; i++) {
                const struct change *change = api_change(world->api, feed->kind, i);

                if (change->event != CACHE_DELETED && change->next >= position)
                        feed_change(feed,
                                    &(struct change){ .event = CACHE_ADDED, .doc = change->doc });
        }
        MEMORY_THEIRS();
        if (controllers_list_end(feed->process->set, feed->kind,
                                 api_version_at(world->api, feed->kind, position)) < 0)
                feed->lost = true;
        MEMORY_OURS();
        feed->position = position;
        feed->listed = feed->was_listed = true;
}

/* Servers keep each kind apart: one may be told late, and the others not. */
static void choose_lag(struct feed *feed)
{
        struct world *world = feed->process->world;

        if (world->options.two_servers)
                feed->lag_ns =
                        world_chance(world, 200) ? world_random(world, 6 * NS_PER_SECOND) : 0;
}

/* The connection is gone; the next one may be to the other server, and is after a list, or goes on
 * from where this one was. */
static void cut(struct feed *feed, bool lists)
{
        struct world *world = feed->process->world;

        if (world->options.two_servers)
                feed->server = (unsigned)world_random(world, 2);
        choose_lag(feed);
        if (lists)
                feed->listed = false;
        schedule(feed, world_random(world, 2 * NS_PER_SECOND));
}

void feeds_cut(struct process *process)
{
        for (size_t i = 0; i < process->feed_count; i++)
                cut(&process->feeds[i], world_chance(process->world, 500));
}

/* Something goes wrong with the watch. */
static void disturb(struct feed *feed)
{
        struct world *world = feed->process->world;

        switch (world_random(world, 5)) {
        case 0: /* 410: list again after a while */
                cut(feed, true);
                break;
        case 1: /* repeated */
                feed->position -= (size_t)world_random(world, MIN(feed->position, (size_t)4) + 1);
                break;
        case 2: /* an event is lost; a later resync finds it */
                if (has_next(feed)) {
                        feed->position++;
                        feed->listed = false;
                        schedule(feed, world_random(world, 10 * NS_PER_SECOND));
                }
                break;
        case 3:
                cut(feed, false);
                break;
        default: /* nothing comes for a while */
                schedule(feed, world_random(world, 3 * NS_PER_SECOND));
                break;
        }
}

static void deliver(struct world *world, void *argument)
{
        struct feed *feed = argument;
        struct process *process = feed->process;

        if (process->dead || process->deaf || process_postpone(process, deliver, feed))
                return;
        feed->scheduled = false;
        if (world->now_ns < world->outage_until_ns) {
                schedule(feed, world->outage_until_ns - world->now_ns +
                                       world_random(world, NS_PER_SECOND));
                return;
        }
        controllers_tell_time(process->set, world_now(world));
        if (!feed->listed)
                list(feed);
        if (!world->settling && world_chance(world, world->options.faults / 4))
                disturb(feed);
        if (!feed->scheduled) {
                while (has_next(feed)) {
                        feed_change(feed, api_change(world->api, feed->kind, feed->position++));
                        if (world_chance(world, 300))
                                break;
                }
                if (feed->position < api_history(world->api, feed->kind))
                        schedule(feed, world_random(world, 20 * NS_PER_MS) +
                                               (has_next(feed) ? 0 : 20 * NS_PER_MS));
        }
        if (feed->lost) {
                feed->listed = false;
                schedule(feed, world_random(world, 100 * NS_PER_MS));
        }
        process_run(process);
}

/* A bookmark: nothing has happened up to here. */
static void bookmark(struct world *world, void *argument)
{
        struct feed *feed = argument;

        if (feed->process->dead || process_postpone(feed->process, bookmark, feed))
                return;
        if (feed->listed && !feed->process->deaf && !has_next(feed))
                controllers_advance(feed->process->set, feed->kind,
                                    world_server_version(world, feed->server, feed->lag_ns));
        world_after(world, 10 * NS_PER_SECOND, bookmark, feed);
}

void feeds_begin(struct process *process)
{
        struct world *world = process->world;
        unsigned server = world->options.two_servers ? (unsigned)world_random(world, 2) : 0;

        for (size_t i = 0; cluster_controllers_kinds[i]; i++) {
                struct feed *feed = &process->feeds[process->feed_count++];

                *feed = (struct feed){ .process = process,
                                       .kind = cluster_controllers_kinds[i],
                                       .server = server };
                choose_lag(feed);
                schedule(feed, world_random(world, 200 * NS_PER_MS));
                world_after(world, 10 * NS_PER_SECOND, bookmark, feed);
        }
}
