// SPDX-License-Identifier: Apache-2.0
/*
 * bench-claims: how fast claims on a cluster become Ready, as a client with a watch sees it.
 *
 *     bench-claims --count 60 --clients 1 --pause 100      one at a time, after as many bare POSTs
 *     bench-claims --count 300 --clients 300               a burst
 *     bench-claims --seconds 20 --clients 20               each client goes on to the next claim
 *     bench-claims --seconds 60 --rate 25                  so many a second, whatever becomes of
 * them
 *
 * With --floor the controller's writes are sent too, as they were recorded, so that no controller
 * runs: the physical limit. --fill has the floor make the pool's members first. What was made
 * stays.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "cluster/floor.h"

enum { COUNT_MAX = 1000 * 1000, PATIENCE_MS = 60 * 1000 };

struct claim {
        struct claims *claims;
        uint64_t began; /* 0: not begun, or Ready */
};

struct claims {
        struct bench bench;
        const char *floor_writes, *floor_kubeconfig;
        int64_t count, clients, connections, pause_ms, seconds, rate, fill, rest_ms;
        bool refills;
        struct floor *floor;
        struct claim *list;
        int64_t begun, ready;
        bool watching, warm, ended;
        uint64_t first, last;
        struct net_timer timer, patience;
        struct samples bare, answered, took;
        double waiting[2]; /* sums of what was not Ready yet, over the looks of each half */
        int64_t looks[2];
};

static uint64_t since_first(const struct claims *claims)
{
        return clock_monotonic_ns() - claims->first;
}

static void end_run(struct claims *claims)
{
        claims->ended = true;
        uv_stop(&claims->bench.uv);
}

static void on_created(void *user, const struct kube_response *response)
{
        struct claim *claim = user;
        struct claims *claims = claim->claims;

        bench_expect_success(NULL, response);
        if (claim->began)
                samples_add(&claims->answered, clock_monotonic_ns() - claim->began);
        if (claims->floor)
                floor_give(claims->floor, json_root(response->doc));
}

static void begin_claim(struct claims *claims)
{
        char name[BENCH_NAME];
        struct claim *claim = &claims->list[claims->begun];

        snprintf(name, sizeof(name), "claim-%d", (int)claims->begun);
        claims->begun++;
        *claim = (struct claim){ .claims = claims, .began = clock_monotonic_ns() };
        if (claims->begun == 1)
                claims->first = claim->began;
        bench_create(&claims->bench, name, on_created, claim);
}

/* ---- one at a time ---- */

static void after_pause(struct claims *claims, void (*expire)(struct net_timer *timer))
{
        net_timer_start(claims->bench.loop, &claims->timer, (uint64_t)claims->pause_ms, expire);
}

static void begin_after_pause(struct net_timer *timer)
{
        begin_claim(container_of(timer, struct claims, timer));
}

static void say_begin(void)
{
        printf("begin 0\n");
        fflush(stdout);
}

static void begin_bare(struct net_timer *timer);

static void on_bare_deleted(void *user, const struct kube_response *response)
{
        struct claims *claims = user;

        bench_expect_success(NULL, response);
        if (claims->bare.count < (size_t)claims->count) {
                after_pause(claims, begin_bare);
                return;
        }
        say_begin();
        after_pause(claims, begin_after_pause);
}

static void on_bare_created(void *user, const struct kube_response *response)
{
        struct claim *claim = user;
        struct claims *claims = claim->claims;
        char name[BENCH_NAME];

        bench_expect_success(NULL, response);
        snprintf(name, sizeof(name), "bare-%zu", claims->bare.count);
        samples_add(&claims->bare, clock_monotonic_ns() - claim->began);
        claim->began = 0;
        bench_request(&claims->bench, "DELETE", claims->bench.kind, name, "", STR_EMPTY,
                      on_bare_deleted, claims);
}

/*
 * A claim from a pool that does not exist: a controller is silent about that for two seconds. All
 * of them come before what is counted, as a controller looks at them.
 */
static void begin_bare(struct net_timer *timer)
{
        struct claims *claims = container_of(timer, struct claims, timer);
        struct claim *claim = &claims->list[0];
        const char *pool = claims->bench.pool;
        char name[BENCH_NAME];

        snprintf(name, sizeof(name), "bare-%zu", claims->bare.count);
        *claim = (struct claim){ .claims = claims, .began = clock_monotonic_ns() };
        claims->bench.pool = "absent";
        bench_create(&claims->bench, name, on_bare_created, claim);
        claims->bench.pool = pool;
}

/* ---- by the clock ---- */

static void look_at_backlog(struct claims *claims)
{
        size_t half = since_first(claims) * 2 > (uint64_t)claims->seconds * NS_PER_SECOND;

        claims->waiting[half] += (double)(claims->begun - claims->ready);
        claims->looks[half]++;
}

static void begin_by_rate(struct net_timer *timer)
{
        struct claims *claims = container_of(timer, struct claims, timer);

        net_timer_start(claims->bench.loop, &claims->timer, 1, begin_by_rate);
        if (claims->begun == 0)
                begin_claim(claims);
        uint64_t now = since_first(claims);
        if (now >= (uint64_t)claims->seconds * NS_PER_SECOND) {
                net_timer_stop(&claims->timer);
                if (claims->ready == claims->begun)
                        end_run(claims);
                claims->ended = true;
                return;
        }
        while ((uint64_t)claims->begun * NS_PER_SECOND <= now * (uint64_t)claims->rate)
                begin_claim(claims);
        look_at_backlog(claims);
}

static void on_time(struct net_timer *timer)
{
        end_run(container_of(timer, struct claims, timer));
}

/* ---- the run ---- */

static void start(struct claims *claims)
{
        if (!claims->watching || !claims->warm)
                return;
        if (claims->pause_ms) {
                after_pause(claims, begin_bare);
                return;
        }
        say_begin();
        if (claims->rate) {
                begin_by_rate(&claims->timer);
                return;
        }
        if (claims->seconds)
                net_timer_start(claims->bench.loop, &claims->timer,
                                (uint64_t)claims->seconds * 1000, on_time);
        while (claims->begun < MIN(claims->clients, claims->count))
                begin_claim(claims);
}

static void on_ready(struct claims *claims, struct claim *claim)
{
        claims->last = clock_monotonic_ns();
        samples_add(&claims->took, claims->last - claim->began);
        claim->began = 0;
        claims->ready++;
        if (claims->rate) {
                if (claims->ended && claims->ready == claims->begun)
                        end_run(claims);
        } else if (claims->ready == claims->count) {
                end_run(claims);
        } else if (claims->begun == claims->count) {
                return;
        } else if (claims->pause_ms) {
                after_pause(claims, begin_after_pause);
        } else {
                begin_claim(claims);
        }
}

static void on_event(void *user, const struct kube_event *event)
{
        struct claims *claims = user;
        uint64_t number;

        if (event->type == KUBE_LIST_END && !claims->watching) {
                claims->watching = true;
                start(claims);
                return;
        }
        if (!event->doc || event->type == KUBE_DELETED || claims->begun == 0 ||
            !str_starts_with(event->name, STR("claim-")) ||
            str_to_u64(str_slice(event->name, 6, event->name.length), (uint64_t)claims->begun - 1,
                       &number) < 0)
                return;
        struct claim *claim = &claims->list[number];
        if (claim->began && bench_is_ready(json_root(event->doc)))
                on_ready(claims, claim);
}

static void become_warm(void *user)
{
        struct claims *claims = user;

        claims->warm = true;
        start(claims);
}

static void give_up(struct net_timer *timer)
{
        struct claims *claims = container_of(timer, struct claims, patience);

        bench_fail("%d of %d claims are Ready after %d s more", (int)claims->ready,
                   (int)claims->begun, PATIENCE_MS / 1000);
}

static void open_floor(struct claims *claims)
{
        const struct floor_options options = {
                .bench = &claims->bench,
                .kubeconfig = claims->floor_kubeconfig,
                .pool = claims->bench.pool,
                .writes = claims->floor_writes,
                .refills = claims->refills,
        };

        claims->floor = floor_new(&options);
        if (claims->fill)
                floor_fill(claims->floor, claims->fill, become_warm, claims);
}

static void on_rested(struct net_timer *timer)
{
        become_warm(container_of(timer, struct claims, timer));
}

static void rest(struct claims *claims)
{
        claims->warm = false;
        net_timer_start(claims->bench.loop, &claims->timer, (uint64_t)claims->rest_ms, on_rested);
}

static void print_result(struct claims *claims)
{
        double seconds = (double)(claims->last - claims->first) / (double)NS_PER_SECOND;

        if (claims->took.count == 0)
                bench_fail("no claim became Ready");
        samples_print(&claims->took, "ready");
        samples_print(&claims->answered, "answered");
        if (claims->bare.count)
                samples_print(&claims->bare, "bare");
        figure_print("all_ready", seconds * 1000, "ms");
        figure_print("rate", (double)claims->ready / seconds, "/s");
        figure_print("claims", (double)claims->ready, "");
        for (size_t i = 0; i < 2; i++)
                if (claims->looks[i])
                        figure_print(i ? "waiting.second" : "waiting.first",
                                     claims->waiting[i] / (double)claims->looks[i], "");
}

int main(int argc, char **argv)
{
        _cleanup_arena_ struct arena arena = {};
        struct claims claims = { .count = 0, .clients = 1, .connections = 64 };
        const struct option_spec options[] = {
                BENCH_OPTIONS(&claims.bench),
                OPTION_NUMBER("count", 0, &claims.count, "N", "how many claims"),
                OPTION_NUMBER("clients", 0, &claims.clients, "N", "how many wait at a time"),
                OPTION_NUMBER("connections", 0, &claims.connections, "N", "for their requests"),
                OPTION_NUMBER("pause", 0, &claims.pause_ms, "MS", "rest before each claim"),
                OPTION_NUMBER("seconds", 0, &claims.seconds, "N", "instead of --count"),
                OPTION_NUMBER("rate", 0, &claims.rate, "N", "claims a second, with --seconds"),
                OPTION_STRING("floor", 0, &claims.floor_writes, "FILE", "the recorded writes"),
                OPTION_STRING("floor-kubeconfig", 0, &claims.floor_kubeconfig, "FILE",
                              "as whom they are written"),
                OPTION_NUMBER("fill", 0, &claims.fill, "N", "members that the floor makes first"),
                OPTION_FLAG("refill", 0, &claims.refills, "the floor replaces members"),
                OPTION_NUMBER("rest", 0, &claims.rest_ms, "MS", "before the first claim"),
                OPTION_END,
        };

        bench_open(&claims.bench, options, argc, argv, &claims.connections);
        if (!claims.bench.pool)
                bench_fail("--pool is needed");
        if (claims.seconds)
                claims.count = COUNT_MAX;
        claims.list = arena_new(&arena, struct claim, (size_t)claims.count + 1);
        if (!claims.list)
                bench_fail("out of memory");
        if (claims.floor_writes)
                open_floor(&claims);
        while (claims.fill && !claims.warm)
                uv_run(&claims.bench.uv, UV_RUN_ONCE);
        if (claims.count == 0)
                return 0;
        rest(&claims);
        struct kube_reflector *watch =
                bench_watch(&claims.bench, claims.bench.kind, "", on_event, &claims);
        net_timer_start(claims.bench.loop, &claims.patience,
                        (uint64_t)claims.seconds * 1000 + PATIENCE_MS, give_up);
        while (!claims.ended || (claims.rate && claims.ready < claims.begun))
                uv_run(&claims.bench.uv, UV_RUN_ONCE);
        print_result(&claims);
        samples_deinit(&claims.took);
        samples_deinit(&claims.answered);
        samples_deinit(&claims.bare);
        net_timer_stop(&claims.patience);
        net_timer_stop(&claims.timer);
        kube_reflector_free(watch);
        if (claims.floor)
                floor_free(claims.floor);
        bench_close(&claims.bench);
        return 0;
}
