// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "common.h"

void bench_fail(const char *format, ...)
{
        va_list arguments;

        fprintf(stderr, "%s: ", program_invocation_short_name);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        exit(1);
}

void bench_open(struct bench *bench, const struct option_spec *options, int argc, char **argv,
                const int64_t *connections)
{
        struct error error = {};
        int operands;

        bench->name_space = "default";
        bench->version = "v1beta1";
        if (options_parse(options, argc, argv, false, &error, &operands) < 0)
                bench_fail("%s", error.message);
        bench->kind_of_version = bench->pool ? kind_sandbox_claim : kind_sandbox;
        bench->kind_of_version.version = str_from(bench->version);
        bench->kind = &bench->kind_of_version;

        if (kube_config_find(bench->kubeconfig, STR_EMPTY, &error, &bench->config) < 0)
                bench_fail("%s", error.message);
        int r = uv_loop_init(&bench->uv);
        if (r == 0)
                r = net_loop_new(&bench->uv, &bench->loop);
        const struct kube_client_options client = {
                .loop = bench->loop,
                .config = &bench->config,
                .user_agent = STR("cay-bench"),
                .in_flight_limit = (unsigned)*connections,
        };
        if (r == 0)
                r = kube_client_new(&client, &error, &bench->client);
        if (r < 0)
                bench_fail("%s", error.message[0] ? error.message : strerror(-r));
}

void bench_close(struct bench *bench)
{
        kube_client_free(bench->client);
        kube_config_deinit(&bench->config);
}

void bench_request(struct bench *bench, const char *method, const struct kind *kind,
                   const char *name, const char *query, struct str body, kube_response_fn callback,
                   void *user)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = kube_path_append(&path, kind, str_from(bench->name_space), str_from(name),
                                 STR_EMPTY);

        if (r == 0)
                r = buffer_append(&path, query, strlen(query));
        const struct kube_request request = {
                .method = str_from(method),
                .path = buffer_str(&path),
                .body = body,
                .content_type = strcmp(method, "PATCH") == 0 ? STR("application/merge-patch+json")
                                                             : STR_EMPTY,
        };
        if (r == 0)
                r = kube_client_request(bench->client, &request, callback, user, NULL);
        if (r < 0)
                bench_fail("%s: %s", method, strerror(-r));
}

void bench_expect_success(void *user, const struct kube_response *response)
{
        (void)user;
        if (!kube_response_ok(response))
                bench_fail("%u %.*s", response->status, STR_FORMAT(response->message));
}

static void on_watch_state(void *user, enum kube_reflector_state state, struct str message)
{
        (void)user;
        if (state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN)
                bench_fail("cannot watch: %.*s", STR_FORMAT(message));
}

struct kube_reflector *bench_watch(struct bench *bench, const struct kind *kind,
                                   const char *label_selector, kube_event_fn handler, void *user)
{
        const struct kube_reflector_options options = {
                .client = bench->client,
                .kind = kind,
                .name_space = str_from(bench->name_space),
                .label_selector = str_from(label_selector),
                .handler = handler,
                .on_state = on_watch_state,
                .user = user,
        };
        struct kube_reflector *reflector;
        int r = kube_reflector_new(&options, &reflector);

        if (r < 0)
                bench_fail("cannot watch: %s", strerror(-r));
        return reflector;
}

void bench_create(struct bench *bench, const char *name, kube_response_fn callback, void *user)
{
        char body[1024], api_version[128];
        int length;

        kind_api_version(bench->kind, api_version);
        if (!bench->pool)
                length = snprintf(
                        body, sizeof(body),
                        "{\"apiVersion\":\"%s\",\"kind\":\"Sandbox\",\"metadata\":{\"name\":\"%s\"}"
                        ",\"spec\":{\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"main\","
                        "\"image\":\"python-runtime-sandbox:latest\","
                        "\"imagePullPolicy\":\"IfNotPresent\"}]}}}}",
                        api_version, name);
        else
                length = snprintf(body, sizeof(body),
                                  strcmp(bench->version, "v1alpha1") == 0
                                          ? "{\"apiVersion\":\"%s\",\"kind\":\"SandboxClaim\","
                                            "\"metadata\":{\"name\":\"%s\"},"
                                            "\"spec\":{\"sandboxTemplateRef\":{\"name\":\"%s\"}}}"
                                          : "{\"apiVersion\":\"%s\",\"kind\":\"SandboxClaim\","
                                            "\"metadata\":{\"name\":\"%s\"},"
                                            "\"spec\":{\"warmPoolRef\":{\"name\":\"%s\"}}}",
                                  api_version, name, bench->pool);
        if (length < 0 || (size_t)length >= sizeof(body))
                bench_fail("a name is too long");
        bench_request(bench, "POST", bench->kind, "", "", (struct str){ body, (size_t)length },
                      callback, user);
}

bool bench_is_ready(struct json_value object)
{
        json_for_each (it, json_get(object, "status", "conditions"))
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        return false;
}

void samples_add(struct samples *samples, uint64_t ns)
{
        if (samples->count == samples->capacity) {
                samples->capacity = MAX((size_t)256, samples->capacity * 2);
                samples->ns = reallocarray(samples->ns, samples->capacity, sizeof(*samples->ns));
                if (!samples->ns)
                        bench_fail("out of memory");
        }
        samples->ns[samples->count++] = ns;
}

void samples_deinit(struct samples *samples)
{
        free(samples->ns);
        *samples = (struct samples){};
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

double samples_quantile_ms(struct samples *samples, double quantile)
{
        qsort(samples->ns, samples->count, sizeof(*samples->ns), compare);
        return (double)samples->ns[(size_t)((double)(samples->count - 1) * quantile)] /
               (double)NS_PER_MS;
}

void samples_print(struct samples *samples, const char *name)
{
        char figure[BENCH_NAME];

        snprintf(figure, sizeof(figure), "%s.p50", name);
        figure_print(figure, samples_quantile_ms(samples, 0.5), "ms");
        snprintf(figure, sizeof(figure), "%s.p99", name);
        figure_print(figure, samples_quantile_ms(samples, 0.99), "ms");
}

void figure_print(const char *name, double value, const char *unit)
{
        printf("%s %.4f %s\n", name, value, unit);
}
