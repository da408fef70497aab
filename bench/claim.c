// SPDX-License-Identifier: Apache-2.0
/*
 * claim: what a user waits for a warm sandbox, measured over HTTPS as a client sees it.
 *
 *     claim --kubeconfig FILE --pool NAME [--count N] [--namespace NS]
 *
 * For each claim: POST it on a kept connection, and take the time until a watch that is already
 * open shows Ready=True. Beside it, in the same run and interleaved, the floor: a POST and a PATCH
 * of a ConfigMap, one after the other, each durable when it is answered. One client, one at a time;
 * claims are deleted and the pool is whole again before the next.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/options.h"
#include "client/client.h"
#include "client/reflector.h"
#include "client/resource.h"

enum step {
        STEP_POOL,        /* until the pool is whole */
        STEP_CLAIM,       /* until the claim is Ready */
        STEP_FLOOR_POST,  /* until the ConfigMap is there */
        STEP_FLOOR_PATCH, /* until it is changed */
};

enum { WATCHES = 3, MEMBERS_MAX = 4096, NAME_SIZE = 64 };

/* A Sandbox that carries the pool's label. */
struct member {
        char name[NAME_SIZE];
        bool ready;
};

struct bench {
        uv_loop_t uv;
        struct net_loop *loop;
        struct kube_client *client;
        const char *name_space, *pool;
        int64_t count, done;
        enum step step;
        uint64_t began; /* monotonic ns */
        struct member members[MEMBERS_MAX];
        size_t member_count;
        int64_t wanted; /* replicas of the pool; 0: not known yet */
        char name[NAME_SIZE];
        uint64_t *claim_ns, *floor_ns;
        unsigned synced; /* of the three watches */
};

static void fail(const char *what, const struct kube_response *response)
{
        fprintf(stderr, "claim: %s: %.*s\n", what, STR_FORMAT(response->message));
        exit(1);
}

static void request(struct bench *bench, const char *method, const struct kind *kind,
                    const char *name, struct str body, const char *content_type,
                    kube_response_fn callback)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = kube_path_append(&path, kind, str_from(bench->name_space), str_from(name),
                                 STR_EMPTY);
        const struct kube_request request = {
                .method = str_from(method),
                .path = buffer_str(&path),
                .body = body,
                .content_type = str_from(content_type),
        };

        if (r == 0)
                r = kube_client_request(bench->client, &request, callback, bench, NULL);
        if (r < 0) {
                fprintf(stderr, "claim: %s\n", strerror(-r));
                exit(1);
        }
}

static void advance(struct bench *bench);

static void on_deleted(void *user, const struct kube_response *response)
{
        (void)user;
        if (!kube_response_ok(response))
                fail("DELETE", response);
}

static void on_claim_posted(void *user, const struct kube_response *response)
{
        (void)user;
        if (!kube_response_ok(response))
                fail("POST of a claim", response);
}

static void on_patched(void *user, const struct kube_response *response)
{
        struct bench *bench = user;

        if (!kube_response_ok(response))
                fail("PATCH of a ConfigMap", response);
        bench->floor_ns[bench->done++] = clock_monotonic_ns() - bench->began;
        request(bench, "DELETE", &kind_config_map, bench->name, STR_EMPTY, "", on_deleted);
        bench->step = STEP_POOL;
        advance(bench);
}

static void on_config_map_posted(void *user, const struct kube_response *response)
{
        struct bench *bench = user;

        if (!kube_response_ok(response))
                fail("POST of a ConfigMap", response);
        bench->step = STEP_FLOOR_PATCH;
        request(bench, "PATCH", &kind_config_map, bench->name, STR("{\"data\":{\"n\":\"2\"}}"),
                "application/merge-patch+json", on_patched);
}

static void post(struct bench *bench, const struct kind *kind, const char *format,
                 kube_response_fn callback)
{
        _cleanup_arena_ struct arena arena = {};
        struct str body;

        bench->began = clock_monotonic_ns();
        body = strstr(format, "SandboxClaim")
                       ? arena_printf(&arena,
                                      "{\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\","
                                      "\"kind\":\"SandboxClaim\",\"metadata\":{\"name\":\"%s\"},"
                                      "\"spec\":{\"warmPoolRef\":{\"name\":\"%s\"}}}",
                                      bench->name, bench->pool)
                       : arena_printf(&arena,
                                      "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
                                      "\"metadata\":{\"name\":\"%s\"},\"data\":{\"n\":\"1\"}}",
                                      bench->name);
        request(bench, "POST", kind, "", body, "application/json", callback);
}

static int64_t count_ready(const struct bench *bench)
{
        int64_t ready = 0;

        for (size_t i = 0; i < bench->member_count; i++)
                ready += bench->members[i].ready;
        return ready;
}

/* Goes on when what the present step waits for is there. */
static void advance(struct bench *bench)
{
        if (bench->step != STEP_POOL || bench->synced < WATCHES || bench->wanted == 0 ||
            count_ready(bench) < bench->wanted)
                return;
        if (bench->done == bench->count) {
                uv_stop(&bench->uv);
                return;
        }
        snprintf(bench->name, sizeof(bench->name), "bench-%d-%d", (int)getpid(), (int)bench->done);
        bench->step = STEP_CLAIM;
        post(bench, &kind_sandbox_claim, "SandboxClaim", on_claim_posted);
}

static bool is_ready(struct json_value object)
{
        json_for_each (it, json_get(object, "status", "conditions"))
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        return false;
}

static void on_claim_event(void *user, const struct kube_event *event)
{
        struct bench *bench = user;

        if (event->type == KUBE_LIST_END) {
                bench->synced++;
                advance(bench);
                return;
        }
        if (bench->step != STEP_CLAIM || event->type == KUBE_DELETED ||
            event->type == KUBE_LIST_BEGIN || !str_equal(event->name, str_from(bench->name)) ||
            !is_ready(json_root(event->doc)))
                return;
        bench->claim_ns[bench->done] = clock_monotonic_ns() - bench->began;
        request(bench, "DELETE", &kind_sandbox_claim, bench->name, STR_EMPTY, "", on_deleted);
        bench->step = STEP_FLOOR_POST;
        post(bench, &kind_config_map, "ConfigMap", on_config_map_posted);
}

static void on_pool_event(void *user, const struct kube_event *event)
{
        struct bench *bench = user;

        if (event->type == KUBE_LIST_END)
                bench->synced++;
        if (event->doc && event->type != KUBE_DELETED)
                bench->wanted =
                        json_int64_or(json_get(json_root(event->doc), "spec", "replicas"), 1);
        advance(bench);
}

/* A Sandbox that is claimed loses the label, and so is told as deleted. */
static void on_member_event(void *user, const struct kube_event *event)
{
        struct bench *bench = user;
        size_t i = 0;

        if (event->type == KUBE_LIST_END)
                bench->synced++;
        if (event->doc) {
                while (i < bench->member_count &&
                       !str_equal(event->name, str_from(bench->members[i].name)))
                        i++;
                if (event->type == KUBE_DELETED && i < bench->member_count) {
                        bench->members[i] = bench->members[--bench->member_count];
                } else if (event->type != KUBE_DELETED && i < MEMBERS_MAX) {
                        struct member *member = &bench->members[i];
                        snprintf(member->name, sizeof(member->name), "%.*s",
                                 STR_FORMAT(event->name));
                        member->ready = is_ready(json_root(event->doc));
                        bench->member_count = MAX(bench->member_count, i + 1);
                }
        }
        advance(bench);
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static double quantile_ms(uint64_t *samples, int64_t count, double q)
{
        qsort(samples, (size_t)count, sizeof(*samples), compare);
        return (double)samples[(int64_t)((double)(count - 1) * q)] / (double)NS_PER_MS;
}

static void print_result(struct bench *bench)
{
        double claim50 = quantile_ms(bench->claim_ns, bench->count, 0.5);
        double floor50 = quantile_ms(bench->floor_ns, bench->count, 0.5);

        printf("warm claim, POST to Ready event   p50 %.3f ms  p99 %.3f ms  (%d claims)\n", claim50,
               quantile_ms(bench->claim_ns, bench->count, 0.99), (int)bench->count);
        printf("floor: POST + durable PATCH       p50 %.3f ms  p99 %.3f ms\n", floor50,
               quantile_ms(bench->floor_ns, bench->count, 0.99));
        printf("ratio                             p50 %.2f\n", claim50 / floor50);
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        (void)user;
        if (state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN)
                fprintf(stderr, "claim: cannot watch: %.*s\n", STR_FORMAT(message));
}

static int watch(struct bench *bench, const struct kind *kind, struct str label, struct str field,
                 kube_event_fn handler, struct kube_reflector **ret_reflector)
{
        const struct kube_reflector_options options = {
                .client = bench->client,
                .kind = kind,
                .name_space = str_from(bench->name_space),
                .label_selector = label,
                .field_selector = field,
                .handler = handler,
                .on_state = on_state,
                .user = bench,
        };

        return kube_reflector_new(&options, ret_reflector);
}

static int run(struct bench *bench, struct error *error)
{
        _cleanup_arena_ struct arena arena = {};
        struct kube_reflector *watches[WATCHES] = {};
        struct str field = arena_printf(&arena, "metadata.name=%s", bench->pool);
        struct str label = arena_printf(&arena, "agents.x-k8s.io/warm-pool-sandbox=%08x",
                                        str_fnv1a(str_from(bench->pool)));

        bench->claim_ns = arena_new(&arena, uint64_t, (size_t)bench->count);
        bench->floor_ns = arena_new(&arena, uint64_t, (size_t)bench->count);
        if (!field.data || !label.data || !bench->claim_ns || !bench->floor_ns)
                return -ENOMEM;
        int r = watch(bench, &kind_sandbox_claim, STR_EMPTY, STR_EMPTY, on_claim_event,
                      &watches[0]);
        if (r == 0)
                r = watch(bench, &kind_sandbox_warm_pool, STR_EMPTY, field, on_pool_event,
                          &watches[1]);
        if (r == 0)
                r = watch(bench, &kind_sandbox, label, STR_EMPTY, on_member_event, &watches[2]);
        if (r < 0)
                return error_set(error, r, "cannot watch: %s", strerror(-r));
        uv_run(&bench->uv, UV_RUN_DEFAULT);
        print_result(bench);
        for (size_t i = 0; i < WATCHES; i++)
                kube_reflector_free(watches[i]);
        return 0;
}

int main(int argc, char **argv)
{
        _cleanup_kube_config_ struct kube_config config = {};
        struct bench bench = { .name_space = "default", .pool = "bench", .count = 200 };
        struct error error = {};
        const char *kubeconfig = NULL;
        const struct option_spec specs[] = {
                OPTION_STRING("kubeconfig", 0, &kubeconfig, "FILE", "the cluster ($KUBECONFIG)"),
                OPTION_STRING("namespace", 'n', &bench.name_space, "NAME", "where the pool is"),
                OPTION_STRING("pool", 0, &bench.pool, "NAME", "the SandboxWarmPool"),
                OPTION_NUMBER("count", 0, &bench.count, "N", "how many claims"),
                OPTION_END,
        };
        int operands;

        int r = options_parse(specs, argc, argv, false, &error, &operands);
        if (r == 0)
                r = kube_config_find(kubeconfig, STR_EMPTY, &error, &config);
        if (r == 0)
                r = uv_loop_init(&bench.uv);
        if (r == 0)
                r = net_loop_new(&bench.uv, &bench.loop);
        const struct kube_client_options options = { .loop = bench.loop,
                                                     .config = &config,
                                                     .user_agent = STR("cay-bench") };
        if (r == 0)
                r = kube_client_new(&options, &error, &bench.client);
        if (r == 0 && bench.count > 0)
                r = run(&bench, &error);
        if (r < 0) {
                fprintf(stderr, "claim: %s\n", error.message[0] ? error.message : strerror(-r));
                return 1;
        }
        kube_client_free(bench.client);
        return 0;
}
