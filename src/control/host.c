// SPDX-License-Identifier: Apache-2.0
#include "control/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/local_executor.h"
#include "apiserver/local_feed.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "client/executor.h"
#include "client/reflector.h"

/* One kind on its way from the API to the controllers. */
struct feed {
        struct controller_host *host;
        const struct kind *kind;
        struct kube_reflector *reflector; /* one of the two */
        struct local_feed *local;
        bool synced;
        bool complained; /* that it cannot be watched: said once until it can */
        char trouble[80];
};

struct controller_host {
        struct net_loop *loop;
        struct controllers *set;
        struct wire_executor *executor; /* one of the two */
        struct local_executor *local;
        struct net_task run;   /* something has changed */
        struct net_timer wake; /* something is due */
        void (*on_synced)(void *user);
        bool (*may_act)(void *user);
        void (*drained)(void *user); /* NULL: it is not being drained */
        void *user;
        size_t unsynced;
        size_t feed_count;
        struct feed feeds[];
};

enum { PLANS_A_PIECE = 4, PIECE_NS = 500 * 1000 };

static struct instant now_of_both(void)
{
        return (struct instant){ .monotonic_ns = clock_monotonic_ns(),
                                 .realtime_ns = clock_realtime_ns() };
}

static bool end_drain(struct controller_host *host)
{
        void (*drained)(void *user) = host->drained;

        if (!drained || controllers_in_flight(host->set) > 0)
                return false;
        host->drained = NULL;
        drained(host->user);
        return true;
}

/*
 * Feeds in the process need no bookmarks: each says how far it was told. One that the loop has cut
 * short is behind the others, and what it has not told is not gone.
 */
static void advance(struct controller_host *host)
{
        uint64_t told = UINT64_MAX;

        for (size_t i = 0; host->local && i < host->feed_count; i++)
                told = MIN(told, local_feed_position(host->feeds[i].local));
        if (host->local && told > 0)
                controllers_advance(host->set, NULL, told);
}

static void run_host(struct controller_host *host)
{
        uint64_t began = clock_monotonic_ns(), wake;
        struct instant now;

        net_timer_stop(&host->wake);
        if (end_drain(host) || (host->may_act && !host->may_act(host->user)))
                return;
        advance(host);
        do {
                now = now_of_both();
                wake = controllers_run(host->set, now);
        } while (wake <= now.monotonic_ns && now.monotonic_ns < began + PIECE_NS);

        if (wake == UINT64_MAX)
                return;
        /* There is more to plan: others of the loop come first. */
        if (wake <= now.monotonic_ns) {
                net_loop_defer(host->loop, &host->run);
                return;
        }
        uint64_t delay = wake > now.monotonic_ns ? wake - now.monotonic_ns : 0;
        /* Rounded up: a timer that comes early would find nothing due, and come again. */
        net_timer_start(host->loop, &host->wake, (delay + NS_PER_MS - 1) / NS_PER_MS,
                        host->wake.expire);
}

static void on_run(struct net_task *task)
{
        run_host(container_of(task, struct controller_host, run));
}

static void on_wake(struct net_timer *timer)
{
        run_host(container_of(timer, struct controller_host, wake));
}

static void become_synced(struct feed *feed)
{
        struct controller_host *host = feed->host;

        if (feed->synced)
                return;
        feed->synced = true;
        host->unsynced--;
        if (host->unsynced == 0 && host->on_synced)
                host->on_synced(host->user);
}

static void list_anew(struct feed *feed)
{
        if (feed->local)
                local_feed_relist(feed->local);
        else if (feed->reflector)
                kube_reflector_relist(feed->reflector);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct feed *feed = user;
        struct controller_host *host = feed->host;
        int r = 0;

        controllers_tell_time(host->set, now_of_both());
        switch (event->type) {
        case KUBE_LIST_BEGIN:
                controllers_list_begin(host->set, feed->kind);
                break;
        case KUBE_LIST_END:
                controllers_list_end(host->set, feed->kind, event->resource_version);
                become_synced(feed);
                break;
        case KUBE_ADDED:
                r = controllers_feed(host->set, feed->kind, CACHE_ADDED, event->doc);
                break;
        case KUBE_MODIFIED:
                r = controllers_feed(host->set, feed->kind, CACHE_MODIFIED, event->doc);
                break;
        case KUBE_DELETED:
                r = controllers_feed(host->set, feed->kind, CACHE_DELETED, event->doc);
                break;
        case KUBE_BOOKMARK:
                controllers_advance(host->set, feed->kind, event->resource_version);
                break;
        }
        if (r < 0) {
                log_error("an event of %.*s %.*s was lost, listing anew: %s",
                          STR_FORMAT(feed->kind->plural), STR_FORMAT(event->name), strerror(-r));
                list_anew(feed);
        }
        net_loop_defer(host->loop, &host->run);
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct feed *feed = user;
        bool failing = state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN;

        if (failing && !feed->complained)
                log_warning("cannot watch %.*s: %.*s", STR_FORMAT(feed->kind->plural),
                            STR_FORMAT(message));
        if (failing || state == KUBE_REFLECTOR_WATCHING)
                feed->complained = failing;
        if (failing)
                snprintf(feed->trouble, sizeof(feed->trouble), "%.*s", STR_FORMAT(message));
}

/* Answers arrive at the executor, which may then have more to send: see to it in this turn. */
static void on_answer(void *user)
{
        struct controller_host *host = user;

        net_loop_defer(host->loop, &host->run);
}

static int start_reflector(struct feed *feed, const struct controller_host_options *options)
{
        const struct kube_reflector_options reflector = {
                .client = options->client,
                .kind = feed->kind,
                .name_space = feed->kind->namespaced ? options->name_space : STR_EMPTY,
                .tell_bookmarks = true,
                .handler = on_event,
                .on_state = on_state,
                .user = feed,
        };

        return kube_reflector_new(&reflector, &feed->reflector);
}

static int start_local(struct feed *feed, const struct controller_host_options *options)
{
        const struct local_feed_options local = {
                .server = options->server,
                .kind = feed->kind,
                .name_space = feed->kind->namespaced ? options->name_space : STR_EMPTY,
                .handler = on_event,
                .user = feed,
        };

        return local_feed_new(&local, &feed->local);
}

static int start_feed(struct controller_host *host, const struct controller_host_options *options,
                      const struct kind *kind)
{
        struct feed *feed = &host->feeds[host->feed_count];

        *feed = (struct feed){ .host = host, .kind = kind };
        int r = options->server ? start_local(feed, options) : start_reflector(feed, options);
        if (r < 0)
                return r;
        host->feed_count++;
        host->unsynced++;
        return 0;
}

static int start_executor(struct controller_host *host,
                          const struct controller_host_options *options,
                          const struct executor_backend **ret_backend)
{
        int r;

        if (options->server) {
                r = local_executor_new(options->server, STR("cay-controller"), on_answer, host,
                                       &host->local);
                if (r == 0)
                        *ret_backend = local_executor_backend(host->local);
        } else {
                r = wire_executor_new(options->client, on_answer, host, &host->executor);
                if (r == 0) {
                        wire_executor_set_fence(host->executor, options->may_act, options->user);
                        *ret_backend = wire_executor_backend(host->executor);
                }
        }
        return r;
}

int controller_host_new(const struct controller_host_options *options, struct error *error,
                        struct controller_host **ret_host)
{
        size_t kinds = 0;
        int r;

        while (options->kinds[kinds])
                kinds++;
        struct controller_host *host = calloc(1, sizeof(*host) + kinds * sizeof(host->feeds[0]));
        if (!host)
                return error_set(error, -ENOMEM, "out of memory");
        host->loop = options->loop;
        host->on_synced = options->on_synced;
        host->may_act = options->may_act;
        host->user = options->user;
        host->run.run = on_run;
        host->wake.expire = on_wake;

        const struct executor_backend *backend;
        struct controllers_options settings = { .plans_per_run = PLANS_A_PIECE };
        random_bytes(&settings.seed, sizeof(settings.seed));
        r = start_executor(host, options, &backend);
        if (r == 0)
                r = controllers_new(&settings, backend, &host->set);
        if (r == 0)
                r = options->setup(options->user, host->set);
        for (size_t i = 0; r == 0 && i < kinds; i++)
                r = start_feed(host, options, options->kinds[i]);
        if (r < 0) {
                controller_host_free(host);
                return error_set(error, r, "cannot start the controllers: %s", strerror(-r));
        }
        *ret_host = host;
        return 0;
}

void controller_host_free(struct controller_host *host)
{
        if (!host)
                return;
        for (size_t i = 0; i < host->feed_count; i++) {
                if (host->feeds[i].reflector)
                        kube_reflector_free(host->feeds[i].reflector);
                local_feed_free(host->feeds[i].local);
        }
        local_executor_free(host->local);
        if (host->executor)
                wire_executor_free(host->executor);
        if (host->set)
                controllers_free(host->set);
        net_task_cancel(&host->run);
        net_timer_stop(&host->wake);
        free(host);
}

struct controllers *controller_host_set(struct controller_host *host)
{
        return host->set;
}

void controller_host_wake(struct controller_host *host)
{
        net_loop_defer(host->loop, &host->run);
}

void controller_host_drain(struct controller_host *host, void (*drained)(void *user))
{
        host->drained = drained;
        controllers_stop(host->set);
        controller_host_wake(host);
}

bool controller_host_is_synced(const struct controller_host *host, char why[static 128])
{
        for (size_t i = 0; i < host->feed_count; i++) {
                const struct feed *feed = &host->feeds[i];

                if (feed->synced && !feed->complained)
                        continue;
                snprintf(why, 128, "%.*s are not %s%s%s", STR_FORMAT(feed->kind->plural),
                         feed->synced ? "watched" : "listed yet", feed->complained ? ": " : "",
                         feed->complained ? feed->trouble : "");
                return false;
        }
        return true;
}
