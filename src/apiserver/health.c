// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>

#include "apiserver/lag.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "serve/health.h"
#include "json/writer.h"

/* /healthz, /livez, /readyz, /version, /metrics and the token issuer's documents. */

bool health_is_path(struct str path)
{
        static const struct str prefixes[] = { STR("/healthz"), STR("/livez"),
                                               STR("/readyz"),  STR("/version"),
                                               STR("/metrics"), STR("/.well-known/"),
                                               STR("/openid/") };

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
                if (str_starts_with(path, prefixes[i]))
                        return true;
        }
        return false;
}

static void answer_version(struct api_call *call)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;
        char started[RFC3339_SECONDS_SIZE];
        struct str git = arena_printf(call->arena, "v1.34.0+cay-%.*s",
                                      STR_FORMAT(call->server->config.build_version));

        rfc3339_format_seconds(call->server->started_ns, started);
        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "major", STR("1"));
        json_field_string(&writer, "minor", STR("34"));
        json_field_string(&writer, "gitVersion", git);
        json_field_string(&writer, "gitCommit", STR(""));
        json_field_string(&writer, "gitTreeState", STR("clean"));
        json_field_string(&writer, "buildDate", str_from(started));
        json_field_string(&writer, "goVersion", STR("none"));
        json_field_string(&writer, "compiler", STR("cc"));
        json_field_string(&writer, "platform", STR("linux/amd64"));
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                api_call_fail_errno(call, -ENOMEM);
        else
                api_call_respond_buffer(call, 200, &text);
}

static bool check_storage(void *user, char why[static 128])
{
        struct apiserver *server = user;

        if (server->ready)
                return true;
        snprintf(why, 128, "the data are not open for writing");
        return false;
}

static bool check_rest(void *user, char why[static 128])
{
        struct apiserver *server = user;

        return !server->config.ready || server->config.ready(server->config.user, why);
}

static void answer_health(struct api_call *call)
{
        const struct http_request_head *request = &call->exchange->request;
        struct health health = {};
        struct buffer text = {};
        int r;

        r = health_add(&health, "storage", HEALTH_READY | HEALTH_LIVE, check_storage, call->server);
        if (r == 0)
                r = health_add(&health, "controllers", HEALTH_READY, check_rest, call->server);
        if (r == 0)
                r = health_answer(&health, request->path, request->query, &text);
        health_deinit(&health);
        if (r < 0) {
                api_call_fail_errno(call, r);
        } else {
                struct str copy = arena_str(call->arena, buffer_str(&text));
                api_call_respond_text(call, (unsigned)r, "text/plain; charset=utf-8", copy);
        }
        buffer_deinit(&text);
}

static void add_metric(struct buffer *out, const char *name, const char *type, uint64_t value)
{
        buffer_printf(out, "# TYPE %s %s\n%s %llu\n", name, type, name, (unsigned long long)value);
}

static void answer_metrics(struct api_call *call)
{
        struct apiserver *server = call->server;
        struct storage_counters storage = storage_counters(server->storage);
        struct http_server_counters http = http_server_counters(server->http);
        _cleanup_buffer_ struct buffer out = {};

        add_metric(&out, "cay_apiserver_requests_total", "counter", http.requests);
        add_metric(&out, "cay_apiserver_failures_total", "counter", server->counters.failures);
        add_metric(&out, "cay_apiserver_refused_total", "counter", server->counters.refused);
        add_metric(&out, "cay_apiserver_connections", "gauge", http.connections);
        add_metric(&out, "cay_apiserver_requests_in_progress", "gauge", http.exchanges);
        add_metric(&out, "cay_apiserver_watches", "gauge", server->counters.watches);
        add_metric(&out, "cay_storage_objects", "gauge", storage.objects);
        add_metric(&out, "cay_storage_writes_total", "counter", storage.accepted);
        add_metric(&out, "cay_storage_refused_total", "counter", storage.refused);
        add_metric(&out, "cay_storage_unchanged_total", "counter", storage.kept);
        add_metric(&out, "cay_storage_aborted_total", "counter", storage.aborted);
        add_metric(&out, "cay_storage_waiting", "gauge", storage.waiting);
        add_metric(&out, "cay_storage_transactions_total", "counter", storage.transactions);
        add_metric(&out, "cay_storage_commit_nanoseconds_total", "counter", storage.commit_ns);
        add_metric(&out, "cay_storage_checkpoints_total", "counter", storage.checkpoints);
        add_metric(&out, "cay_storage_log_frames", "gauge", storage.log_frames);
        add_metric(&out, "cay_storage_watch_log_events", "gauge", storage.log_events);
        add_metric(&out, "cay_storage_watch_log_bytes", "gauge", storage.log_bytes);
        if (lag_render(server->lag, &out) < 0 ||
            (server->config.metrics && server->config.metrics(server->config.user, &out) < 0)) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        api_call_respond_text(call, 200, "text/plain; version=0.0.4; charset=utf-8",
                              arena_str(call->arena, buffer_str(&out)));
}

void health_answer_call(struct api_call *call)
{
        struct str path = call->exchange->request.path;
        struct kube_status status = kube_status_no_such_path();

        if (str_equal(path, STR("/version")) || str_equal(path, STR("/version/")))
                answer_version(call);
        else if (str_equal(path, STR("/metrics")))
                answer_metrics(call);
        else if (str_starts_with(path, STR("/.well-known/")) ||
                 str_starts_with(path, STR("/openid/")))
                issuer_answer(call);
        else if (str_starts_with(path, STR("/version")))
                api_call_fail(call, &status);
        else
                answer_health(call);
}
