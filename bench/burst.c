// SPDX-License-Identifier: Apache-2.0
/*
 * bench-burst: how fast many clients together get their sandboxes.
 *
 *     bench-burst --pool NAME --count 2000 --clients 32    drains a pool that is ready
 *     bench-burst --count 100 --clients 100                cold Sandboxes, all at once
 *
 * Each client POSTs, waits for Ready=True, and goes on to the next. The clients share one watch and
 * keep their connections, made before the clock starts. With a pool it then waits until as many
 * members are ready as before, which it begins to watch only now: the refill's rate is taken from
 * the first POST to there, and from the last claim's Ready. What was made stays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "common.h"

enum { COUNT_MAX = 100 * 1000, REFILL_PATIENCE_MS = 120 * 1000 };

struct burst {
        struct bench bench;
        int64_t count, clients, connections;
        int64_t warmed, started, done;
        uint64_t *began; /* of each; 0: not running */
        uint64_t first, last;
        struct samples ready;
        bool watching;
        struct kube_reflector *members;
        int64_t wanted, found;     /* of the pool's members */
        char (*names)[BENCH_NAME]; /* of those found ready */
        uint64_t whole;
        struct net_timer patience;
};

static void start_next(struct burst *burst)
{
        char name[BENCH_NAME];

        snprintf(name, sizeof(name), "bench-%d-%d", (int)getpid(), (int)burst->started);
        burst->began[burst->started++] = clock_monotonic_ns();
        bench_create(&burst->bench, name, bench_expect_success, NULL);
}

static void start(struct burst *burst)
{
        if (!burst->watching || burst->warmed < burst->connections ||
            (burst->bench.pool && burst->wanted == 0))
                return;
        burst->first = clock_monotonic_ns();
        while (burst->started < MIN(burst->clients, burst->count))
                start_next(burst);
}

static void on_warm(void *user, const struct kube_response *response)
{
        struct burst *burst = user;

        bench_expect_success(NULL, response);
        burst->warmed++;
        start(burst);
}

static void give_up(struct net_timer *timer)
{
        (void)timer;
        bench_fail("the pool is not whole again after %d s", REFILL_PATIENCE_MS / 1000);
}

/* The number at the end of one of our names, or -1. */
static int64_t number_of(const struct burst *burst, struct str name)
{
        char prefix[BENCH_NAME];
        uint64_t number;

        snprintf(prefix, sizeof(prefix), "bench-%d-", (int)getpid());
        if (!str_starts_with(name, str_from(prefix)) ||
            str_to_u64(str_slice(name, strlen(prefix), name.length), (uint64_t)burst->started - 1,
                       &number) < 0)
                return -1;
        return (int64_t)number;
}

static bool is_found(const struct burst *burst, struct str name)
{
        for (int64_t i = 0; i < burst->found; i++)
                if (str_equal(name, str_from(burst->names[i])))
                        return true;
        return false;
}

static void on_member(void *user, const struct kube_event *event)
{
        struct burst *burst = user;

        if (!event->doc || event->type == KUBE_DELETED || burst->found == burst->wanted ||
            !bench_is_ready(json_root(event->doc)) || is_found(burst, event->name))
                return;
        snprintf(burst->names[burst->found++], BENCH_NAME, "%.*s", STR_FORMAT(event->name));
        if (burst->found < burst->wanted)
                return;
        burst->whole = clock_monotonic_ns();
        uv_stop(&burst->bench.uv);
}

/* Members carry the pool's label until they are claimed. */
static void wait_for_refill(struct burst *burst)
{
        char label[BENCH_NAME];

        snprintf(label, sizeof(label), "agents.x-k8s.io/warm-pool-sandbox=%08x",
                 str_fnv1a(str_from(burst->bench.pool)));
        burst->names = calloc((size_t)burst->wanted, sizeof(*burst->names));
        if (!burst->names)
                bench_fail("out of memory");
        burst->members = bench_watch(&burst->bench,
                                     strcmp(burst->bench.version, "v1alpha1") == 0 ? &kind_pod
                                                                                   : &kind_sandbox,
                                     label, on_member, burst);
        net_timer_start(burst->bench.loop, &burst->patience, REFILL_PATIENCE_MS, give_up);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct burst *burst = user;

        if (event->type == KUBE_LIST_END && !burst->watching) {
                burst->watching = true;
                start(burst);
                return;
        }
        if (burst->started == 0 || !event->doc || event->type == KUBE_DELETED)
                return;
        int64_t number = number_of(burst, event->name);
        if (number < 0 || burst->began[number] == 0 || !bench_is_ready(json_root(event->doc)))
                return;
        burst->last = clock_monotonic_ns();
        samples_add(&burst->ready, burst->last - burst->began[number]);
        burst->began[number] = 0;
        if (burst->started < burst->count)
                start_next(burst);
        if (++burst->done < burst->count)
                return;
        if (burst->bench.pool)
                wait_for_refill(burst);
        else
                uv_stop(&burst->bench.uv);
}

static void on_pool(void *user, const struct kube_response *response)
{
        struct burst *burst = user;

        bench_expect_success(NULL, response);
        burst->wanted = json_int64_or(json_get(json_root(response->doc), "spec", "replicas"), 1);
        if (burst->wanted < 1)
                bench_fail("the pool wants no members");
        start(burst);
}

static void print_result(struct burst *burst)
{
        double seconds = (double)(burst->last - burst->first) / (double)NS_PER_SECOND;

        samples_print(&burst->ready, "ready");
        figure_print("all_ready", seconds * 1000, "ms");
        figure_print("rate", (double)burst->count / seconds, "/s");
        if (!burst->bench.pool)
                return;
        seconds = (double)(burst->whole - burst->first) / (double)NS_PER_SECOND;
        figure_print("refill", (double)burst->count / seconds, "/s");
        seconds = (double)(burst->whole - burst->last) / (double)NS_PER_SECOND;
        figure_print("refill_after", (double)burst->count / seconds, "/s");
}

int main(int argc, char **argv)
{
        _cleanup_arena_ struct arena arena = {};
        struct burst burst = { .count = 100, .clients = 32, .connections = 32 };
        struct kube_reflector *watch;
        const struct option_spec options[] = {
                BENCH_OPTIONS(&burst.bench),
                OPTION_NUMBER("count", 0, &burst.count, "N", "how many in all"),
                OPTION_NUMBER("clients", 0, &burst.clients, "N", "how many wait at a time"),
                OPTION_NUMBER("connections", 0, &burst.connections, "N", "for their requests"),
                OPTION_END,
        };

        bench_open(&burst.bench, options, argc, argv, &burst.connections);
        if (burst.count < 1 || burst.count > COUNT_MAX || burst.clients < 1 ||
            burst.connections < 1)
                bench_fail("--count is 1 to %d, --clients and --connections at least 1", COUNT_MAX);
        burst.began = arena_new(&arena, uint64_t, (size_t)burst.count);
        if (!burst.began)
                bench_fail("out of memory");
        watch = bench_watch(&burst.bench, burst.bench.kind, "", on_event, &burst);
        if (burst.bench.pool)
                bench_request(&burst.bench, "GET", &kind_sandbox_warm_pool, burst.bench.pool, "",
                              STR_EMPTY, on_pool, &burst);
        for (int64_t i = 0; i < burst.connections; i++)
                bench_request(&burst.bench, "GET", &kind_config_map, "", "?limit=1", STR_EMPTY,
                              on_warm, &burst);
        uv_run(&burst.bench.uv, UV_RUN_DEFAULT);
        print_result(&burst);
        samples_deinit(&burst.ready);
        free(burst.names);
        if (burst.members)
                kube_reflector_free(burst.members);
        kube_reflector_free(watch);
        bench_close(&burst.bench);
        return 0;
}
