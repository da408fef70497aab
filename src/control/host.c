// SPDX-License-Identifier: Apache-2.0
#include "control/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "control/way.h"

/* One kind on its way from the API to the controllers. */
struct feed {
        struct controller_host *host;
        const struct kind *kind;
        void *source;     /* of the host's way */
        struct list link; /* of those that are not in the options */
        bool synced;
        bool ending;           /* its kind is served no longer: gone when its last object is */
        bool complained;       /* it cannot be watched */
        uint64_t forbidden_ns; /* since when it is forbidden; 0: it is not */
        char trouble[200];
};

enum { COMPLAINTS_MOST = 16 };
#define FORBIDDEN_LASTS_NS (2 * NS_PER_SECOND)

struct controller_host {
        struct net_loop *loop;
        const struct controller_way *way;
        struct controllers *set;
        void *executor;     /* of the way, as the next */
        void *kinds;        /* that follows those which are not in the options */
        struct list others; /* feeds of these */
        size_t ending;      /* of which so many are */
        struct controller_host_options options;
        struct net_task run;   /* something has changed */
        struct net_timer wake; /* something is due */
        void (*on_synced)(void *user);
        bool (*may_act)(void *user);
        void (*drained)(void *user); /* NULL: it is not being drained */
        void *user;
        /* What was said of what cannot be watched: each once, for whichever kinds and as often as
         * it is so, until all are watched. */
        uint32_t said[COMPLAINTS_MOST];
        size_t said_count;
        bool complained; /* of a kind of its own, since then */
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
        struct feed *feed;

        if (!host->way->feed_position)
                return;
        for (size_t i = 0; i < host->feed_count; i++)
                told = MIN(told, host->way->feed_position(host->feeds[i].source));
        list_for_each (feed, &host->others, link) {
                if (feed->synced)
                        told = MIN(told, host->way->feed_position(feed->source));
        }
        if (told > 0)
                controllers_advance(host->set, NULL, told);
}

static void free_other(struct feed *feed)
{
        feed->host->way->feed_free(feed->source);
        list_remove(&feed->link);
        feed->host->ending -= feed->ending;
        free(feed);
}

/* A definition goes after its objects, but their deletions may be told later. */
static void end_feeds(struct controller_host *host)
{
        struct feed *feed;

        if (host->ending == 0)
                return;
        list_for_each (feed, &host->others, link) {
                if (feed->ending && controllers_drop_kind(host->set, feed->kind) == 0)
                        free_other(feed);
        }
}

static void run_host(struct controller_host *host)
{
        uint64_t began = clock_monotonic_ns(), wake;
        struct instant now;

        net_timer_stop(&host->wake);
        if (end_drain(host) || (host->may_act && !host->may_act(host->user)))
                return;
        advance(host);
        end_feeds(host);
        do {
                now = now_of_both();
                wake = controllers_run(host->set, now);
                if (host->way->executor_planned)
                        host->way->executor_planned(host->executor);
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
        if (!list_is_empty(&feed->link))
                return;
        host->unsynced--;
        if (host->unsynced == 0 && host->on_synced)
                host->on_synced(host->user);
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
                r = controllers_list_end(host->set, feed->kind, event->resource_version);
                if (r == 0)
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
                log_error("%s of %.*s %.*s was lost, listing anew: %s",
                          event->type == KUBE_LIST_END ? "some" : "an event",
                          STR_FORMAT(feed->kind->plural), STR_FORMAT(event->name), strerror(-r));
                host->way->feed_relist(feed->source);
        }
        net_loop_defer(host->loop, &host->run);
}

/* All feeds are told so, one after the other. */
static void on_aborted(void *user)
{
        struct feed *feed = user;

        controllers_tell_time(feed->host->set, now_of_both());
        controllers_forget(feed->host->set);
}

static void complain(struct feed *feed, struct str message)
{
        if (controller_host_may_say(feed->host, message))
                log_warning("cannot watch %.*s: %.*s", STR_FORMAT(feed->kind->plural),
                            STR_FORMAT(message));
        feed->host->complained = true;
}

/*
 * A kube-apiserver that has just started forbids everything until it has read the roles. Of what
 * was watched already that is said only when it lasts.
 */
static bool may_pass(struct feed *feed, enum kube_reflector_state state)
{
        uint64_t now = clock_monotonic_ns();

        if (state != KUBE_REFLECTOR_FORBIDDEN || !feed->synced)
                return false;
        if (feed->forbidden_ns == 0)
                feed->forbidden_ns = now;
        return now - feed->forbidden_ns < FORBIDDEN_LASTS_NS;
}

static void be_content(struct controller_host *host)
{
        for (size_t i = 0; i < host->feed_count; i++)
                if (host->feeds[i].complained)
                        return;
        if (host->complained)
                log_info("every kind is watched again");
        host->complained = false;
        host->said_count = 0;
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct feed *feed = user;
        bool failing = state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN;

        if (failing && !may_pass(feed, state))
                complain(feed, message);
        if (failing || state == KUBE_REFLECTOR_WATCHING)
                feed->complained = failing;
        if (failing)
                snprintf(feed->trouble, sizeof(feed->trouble), "%.*s", STR_FORMAT(message));
        if (state == KUBE_REFLECTOR_WATCHING) {
                feed->forbidden_ns = 0;
                be_content(feed->host);
        }
}

/* Answers arrive at the executor, which may then have more to send: see to it in this turn. */
static void on_answer(void *user)
{
        struct controller_host *host = user;

        net_loop_defer(host->loop, &host->run);
}

static int start_feed(struct controller_host *host, const struct controller_host_options *options,
                      const struct kind *kind)
{
        struct feed *feed = &host->feeds[host->feed_count];

        *feed = (struct feed){ .host = host, .kind = kind };
        list_init(&feed->link);
        const struct feed_hooks hooks = { on_event, on_aborted, on_state, feed };
        int r = host->way->feed_new(options, kind, &hooks, &feed->source);
        if (r < 0)
                return r;
        host->feed_count++;
        host->unsynced++;
        return 0;
}

static int on_kind_added(void *user, const struct kind *kind)
{
        struct controller_host *host = user;
        struct feed *feed;

        list_for_each (feed, &host->others, link) {
                if (feed->kind == kind) {
                        host->ending -= feed->ending;
                        feed->ending = false;
                        return 0;
                }
        }
        feed = calloc(1, sizeof(*feed));
        if (!feed)
                return -ENOMEM;
        feed->host = host;
        feed->kind = kind;
        const struct feed_hooks hooks = { on_event, on_aborted, on_state, feed };
        int r = controllers_add_kind(host->set, kind);
        if (r == 0)
                r = host->way->feed_new(&host->options, kind, &hooks, &feed->source);
        if (r < 0) {
                free(feed);
                return r;
        }
        list_append(&host->others, &feed->link);
        return 0;
}

static void on_kind_removed(void *user, const struct kind *kind)
{
        struct controller_host *host = user;
        struct feed *feed;

        list_for_each (feed, &host->others, link) {
                if (feed->kind == kind && !feed->ending) {
                        feed->ending = true;
                        host->ending++;
                }
        }
        net_loop_defer(host->loop, &host->run);
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
        list_init(&host->others);
        host->options = *options;
        host->loop = options->loop;
        host->way = options->way;
        host->on_synced = options->on_synced;
        host->may_act = options->may_act;
        host->user = options->user;
        host->run.run = on_run;
        host->wake.expire = on_wake;

        const struct executor_backend *backend;
        struct controllers_options settings = { .plans_per_run = PLANS_A_PIECE,
                                                .awake = options->awake };
        random_bytes(&settings.seed, sizeof(settings.seed));
        r = host->way->executor_new(options, on_answer, host, &host->executor, &backend);
        if (r == 0)
                r = controllers_new(&settings, backend, &host->set);
        if (r == 0)
                r = options->setup(options->user, host->set);
        for (size_t i = 0; r == 0 && i < kinds; i++)
                r = start_feed(host, options, options->kinds[i]);
        const struct kinds_hooks hooks = { on_kind_added, on_kind_removed, host };
        if (r == 0 && host->way->kinds_new)
                r = host->way->kinds_new(options, &hooks, &host->kinds);
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
        for (size_t i = 0; i < host->feed_count; i++)
                host->way->feed_free(host->feeds[i].source);
        while (!list_is_empty(&host->others))
                free_other(list_entry(host->others.next, struct feed, link));
        if (host->executor)
                host->way->executor_free(host->executor);
        if (host->set)
                controllers_free(host->set);
        if (host->kinds)
                host->way->kinds_free(host->kinds);
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

bool controller_host_may_say(struct controller_host *host, struct str trouble)
{
        uint32_t hash = str_fnv1a(trouble);

        for (size_t i = 0; i < host->said_count; i++)
                if (host->said[i] == hash)
                        return false;
        if (host->said_count == COMPLAINTS_MOST)
                return false;
        host->said[host->said_count++] = hash;
        return true;
}

bool controller_host_is_allowed(const struct controller_host *host, char why[static 256])
{
        return !host->way->executor_is_allowed ||
               host->way->executor_is_allowed(host->executor, why);
}

bool controller_host_is_synced(const struct controller_host *host, char why[static 256])
{
        for (size_t i = 0; i < host->feed_count; i++) {
                const struct feed *feed = &host->feeds[i];

                if (feed->synced && !feed->complained)
                        continue;
                snprintf(why, 256, "%.*s are not %s%s%s", STR_FORMAT(feed->kind->plural),
                         feed->synced ? "watched" : "listed yet", feed->complained ? ": " : "",
                         feed->complained ? feed->trouble : "");
                return false;
        }
        return true;
}
