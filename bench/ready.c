// SPDX-License-Identifier: Apache-2.0
/*
 * bench-ready: how long one client waits for one sandbox, as it sees it over HTTPS.
 *
 *     bench-ready --pool NAME --members N [--api v1alpha1]    warm: claims from a pool of N
 *     bench-ready                                             cold: bare Sandboxes
 *
 * A round: wait until the namespace is at rest (N members ready, no other Pod); the floor, a POST
 * and a PATCH of a ConfigMap one after the other, each durable when it is answered; then the POST
 * on a kept connection, timed until a watch that is open already shows Ready=True. The same pause
 * stands before either, so that both begin from idle. Then it is deleted.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "common.h"

enum { SETTLE_POLL_MS = 2 };

enum step { STEP_SYNC, STEP_SETTLE, STEP_FLOOR, STEP_READY };

struct ready {
        struct bench bench;
        int64_t count, members, pause_ms;
        int64_t done;
        enum step step;
        uint64_t began; /* monotonic ns */
        char name[BENCH_NAME];
        struct net_timer timer;
        struct samples floor, answered, ready;
};

static void on_settled(struct net_timer *timer);
static void poll_pods(struct net_timer *timer);

static void after(struct ready *ready, int64_t ms, void (*expire)(struct net_timer *timer))
{
        net_timer_start(ready->bench.loop, &ready->timer, (uint64_t)ms, expire);
}

/* A member carries its pool's label until it is claimed. */
static void on_pods(void *user, const struct kube_response *response)
{
        struct ready *ready = user;
        int64_t members = 0, others = 0;

        bench_expect_success(NULL, response);
        json_for_each (it, json_get(json_root(response->doc), "items")) {
                struct json_value labels = json_get(it.value, "metadata", "labels");
                if (json_exists(json_get(labels, "agents.x-k8s.io/warm-pool-sandbox")))
                        members += bench_is_ready(it.value);
                else
                        others++;
        }
        if (members == ready->members && others == 0)
                after(ready, ready->pause_ms, on_settled);
        else
                after(ready, SETTLE_POLL_MS, poll_pods);
}

static void poll_pods(struct net_timer *timer)
{
        struct ready *ready = container_of(timer, struct ready, timer);

        bench_request(&ready->bench, "GET", &kind_pod, "", "", STR_EMPTY, on_pods, ready);
}

static void settle(struct ready *ready)
{
        ready->step = STEP_SETTLE;
        after(ready, 0, poll_pods);
}

static void on_deleted(void *user, const struct kube_response *response)
{
        struct ready *ready = user;

        bench_expect_success(NULL, response);
        if (ready->done == ready->count)
                uv_stop(&ready->bench.uv);
        else
                settle(ready);
}

static void on_created(void *user, const struct kube_response *response)
{
        struct ready *ready = user;

        bench_expect_success(NULL, response);
        samples_add(&ready->answered, clock_monotonic_ns() - ready->began);
}

static void create(struct net_timer *timer)
{
        struct ready *ready = container_of(timer, struct ready, timer);

        ready->step = STEP_READY;
        ready->began = clock_monotonic_ns();
        bench_create(&ready->bench, ready->name, on_created, ready);
}

static void on_floor_deleted(void *user, const struct kube_response *response)
{
        struct ready *ready = user;

        bench_expect_success(NULL, response);
        after(ready, ready->pause_ms, create);
}

static void on_floor_patched(void *user, const struct kube_response *response)
{
        struct ready *ready = user;

        bench_expect_success(NULL, response);
        samples_add(&ready->floor, clock_monotonic_ns() - ready->began);
        bench_request(&ready->bench, "DELETE", &kind_config_map, ready->name, "", STR_EMPTY,
                      on_floor_deleted, ready);
}

static void on_floor_posted(void *user, const struct kube_response *response)
{
        struct ready *ready = user;

        bench_expect_success(NULL, response);
        bench_request(&ready->bench, "PATCH", &kind_config_map, ready->name, "",
                      STR("{\"data\":{\"n\":\"2\"}}"), on_floor_patched, ready);
}

static void on_settled(struct net_timer *timer)
{
        struct ready *ready = container_of(timer, struct ready, timer);
        char body[256];

        snprintf(ready->name, sizeof(ready->name), "bench-%d-%d", (int)getpid(), (int)ready->done);
        snprintf(body, sizeof(body),
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},"
                 "\"data\":{\"n\":\"1\"}}",
                 ready->name);
        ready->step = STEP_FLOOR;
        ready->began = clock_monotonic_ns();
        bench_request(&ready->bench, "POST", &kind_config_map, "", "", str_from(body),
                      on_floor_posted, ready);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct ready *ready = user;

        if (event->type == KUBE_LIST_END && ready->step == STEP_SYNC)
                settle(ready);
        if (ready->step != STEP_READY || !event->doc || event->type == KUBE_DELETED ||
            !str_equal(event->name, str_from(ready->name)) ||
            !bench_is_ready(json_root(event->doc)))
                return;
        samples_add(&ready->ready, clock_monotonic_ns() - ready->began);
        ready->done++;
        ready->step = STEP_SETTLE;
        bench_request(&ready->bench, "DELETE", ready->bench.kind, ready->name, "", STR_EMPTY,
                      on_deleted, ready);
}

int main(int argc, char **argv)
{
        struct ready ready = { .count = 200, .members = 0, .pause_ms = 20 };
        const int64_t connections = 1;
        const struct option_spec options[] = {
                BENCH_OPTIONS(&ready.bench),
                OPTION_NUMBER("members", 0, &ready.members, "N", "size of the pool"),
                OPTION_NUMBER("count", 0, &ready.count, "N", "how many rounds"),
                OPTION_NUMBER("pause", 0, &ready.pause_ms, "MS", "rest before each measurement"),
                OPTION_END,
        };

        bench_open(&ready.bench, options, argc, argv, &connections);
        struct kube_reflector *watch =
                bench_watch(&ready.bench, ready.bench.kind, "", on_event, &ready);
        if (ready.count > 0)
                uv_run(&ready.bench.uv, UV_RUN_DEFAULT);
        samples_print(&ready.ready, "ready");
        samples_print(&ready.answered, "answered");
        samples_print(&ready.floor, "floor");
        samples_deinit(&ready.ready);
        samples_deinit(&ready.answered);
        samples_deinit(&ready.floor);
        kube_reflector_free(watch);
        bench_close(&ready.bench);
        return 0;
}
