// SPDX-License-Identifier: Apache-2.0
/*
 * bench-burst: how fast many clients together get their sandboxes.
 *
 *     bench-burst --pool NAME --count 2000 --clients 32    drains a pool that is ready
 *     bench-burst --count 100 --clients 100                cold Sandboxes, all at once
 *
 * Each client POSTs, waits for Ready=True, and goes on to the next. The clients share one watch and
 * keep their connections, made before the clock starts. With a pool it then waits until the
 * pool is whole again: the refill's rate is taken from the emptiest state that the pool told to
 * the first whole one after it. What was made stays.
 */
#include <stdio.h>
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
        int64_t wanted, lowest; /* of the pool's members */
        uint64_t lowest_at, whole_at;
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
        if (!burst->watching || burst->warmed < burst->connections)
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

static void end_if_whole(struct burst *burst)
{
        if (burst->done == burst->count && (!burst->bench.pool || burst->whole_at > 0))
                uv_stop(&burst->bench.uv);
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
                net_timer_start(burst->bench.loop, &burst->patience, REFILL_PATIENCE_MS, give_up);
        end_if_whole(burst);
}

static void on_pool_event(void *user, const struct kube_event *event)
{
        struct burst *burst = user;

        if (!event->doc || event->type == KUBE_DELETED)
                return;
        struct json_value pool = json_root(event->doc);
        int64_t ready = json_int64_or(json_get(pool, "status", "readyReplicas"), 0);
        burst->wanted = json_int64_or(json_get(pool, "spec", "replicas"), 1);
        if (burst->started == 0)
                return;
        if (ready < burst->wanted) {
                burst->whole_at = 0;
                if (burst->lowest_at == 0 || ready <= burst->lowest) {
                        burst->lowest = ready;
                        burst->lowest_at = clock_monotonic_ns();
                }
        } else if (burst->lowest_at > 0 && burst->whole_at == 0) {
                burst->whole_at = clock_monotonic_ns();
                end_if_whole(burst);
        }
}

static void print_result(struct burst *burst)
{
        double seconds = (double)(burst->last - burst->first) / (double)NS_PER_SECOND;

        samples_print(&burst->ready, "ready");
        figure_print("all_ready", seconds * 1000, "ms");
        figure_print("rate", (double)burst->count / seconds, "/s");
        if (!burst->bench.pool)
                return;
        seconds = (double)(burst->whole_at - burst->lowest_at) / (double)NS_PER_SECOND;
        figure_print("refilled", (double)(burst->wanted - burst->lowest), "members");
        figure_print("refill", (double)(burst->wanted - burst->lowest) / seconds, "/s");
}

int main(int argc, char **argv)
{
        _cleanup_arena_ struct arena arena = {};
        struct burst burst = { .count = 100, .clients = 32, .connections = 32 };
        struct kube_reflector *watches[2] = {};
        char field[BENCH_NAME + sizeof("metadata.name=")];
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
        watches[0] = bench_watch(&burst.bench, burst.bench.kind, "", on_event, &burst);
        if (burst.bench.pool) {
                snprintf(field, sizeof(field), "metadata.name=%s", burst.bench.pool);
                watches[1] = bench_watch(&burst.bench, &kind_sandbox_warm_pool, field,
                                         on_pool_event, &burst);
        }
        for (int64_t i = 0; i < burst.connections; i++)
                bench_request(&burst.bench, "GET", &kind_config_map, "", "?limit=1", STR_EMPTY,
                              on_warm, &burst);
        uv_run(&burst.bench.uv, UV_RUN_DEFAULT);
        print_result(&burst);
        samples_deinit(&burst.ready);
        for (size_t i = 0; i < ARRAY_SIZE(watches); i++)
                if (watches[i])
                        kube_reflector_free(watches[i]);
        bench_close(&burst.bench);
        return 0;
}
