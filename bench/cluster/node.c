// SPDX-License-Identifier: Apache-2.0
/*
 * bench-node: scheduler and kubelets of a control plane that has none: binds every Pod and says
 * at once that it runs. tests/lib/fake_node.py does more, and costs ten times the processor time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "common.h"

struct node {
        struct bench bench;
        unsigned addresses;
};

static void request_of(struct node *node, const char *method, struct json_value pod,
                       const char *subresource, const char *body, kube_response_fn on_answer)
{
        struct json_value meta = json_get(pod, "metadata");
        _cleanup_buffer_ struct buffer path = {};
        int r = kube_path_append(&path, &kind_pod, json_string(json_get(meta, "namespace")),
                                 json_string(json_get(meta, "name")), str_from(subresource));
        const struct kube_request request = {
                .method = str_from(method),
                .path = buffer_str(&path),
                .body = str_from(body),
                .content_type = strcmp(method, "PATCH") == 0 ? STR("application/merge-patch+json")
                                                             : STR_EMPTY,
                .attempts = 5,
        };

        if (r == 0)
                r = kube_client_request(node->bench.client, &request, on_answer, NULL, NULL);
        if (r < 0)
                bench_fail("%s: %s", method, strerror(-r));
}

/* A Pod that changed before its binding was seen is bound twice. */
static void on_bound(void *user, const struct kube_response *response)
{
        if (response->error != 0 || response->status != 409)
                bench_expect_success(user, response);
}

static void bind_pod(struct node *node, struct json_value pod)
{
        char body[512];

        snprintf(body, sizeof(body),
                 "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"%.*s\"},"
                 "\"target\":{\"kind\":\"Node\",\"name\":\"bench-node\"}}",
                 STR_FORMAT(json_string(json_get(pod, "metadata", "name"))));
        request_of(node, "POST", pod, "binding", body, on_bound);
}

static void run_pod(struct node *node, struct json_value pod)
{
        char body[2048], now[RFC3339_SECONDS_SIZE], address[32];
        static const char *const types[] = { "PodScheduled", "Initialized", "ContainersReady",
                                             "Ready" };
        int length;

        rfc3339_format_seconds(clock_realtime_ns(), now);
        node->addresses++;
        snprintf(address, sizeof(address), "10.%u.%u.%u", 128 + (node->addresses >> 16),
                 node->addresses >> 8 & 255, node->addresses & 255);
        length = snprintf(
                body, sizeof(body),
                "{\"status\":{\"phase\":\"Running\",\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],"
                "\"hostIP\":\"127.0.0.1\",\"startTime\":\"%s\",\"containerStatuses\":[{\"name\":"
                "\"main\",\"image\":\"busybox:latest\",\"imageID\":\"\",\"ready\":true,"
                "\"restartCount\":0,\"state\":{\"running\":{\"startedAt\":\"%s\"}}}],"
                "\"conditions\":[",
                address, address, now, now);
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                length += snprintf(body + length, sizeof(body) - (size_t)length,
                                   "%s{\"type\":\"%s\",\"status\":\"True\","
                                   "\"lastTransitionTime\":\"%s\"}",
                                   i ? "," : "", types[i], now);
        snprintf(body + length, sizeof(body) - (size_t)length, "]}}");
        request_of(node, "PATCH", pod, "status", body, bench_expect_success);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct node *node = user;

        if (event->type == KUBE_LIST_END) {
                printf("watching\n");
                fflush(stdout);
        }
        if (!event->doc || event->type == KUBE_DELETED)
                return;
        struct json_value pod = json_root(event->doc);
        if (json_exists(json_get(pod, "metadata", "deletionTimestamp")))
                request_of(node, "DELETE", pod, "", "{\"gracePeriodSeconds\":0}",
                           bench_expect_success);
        else if (!json_exists(json_get(pod, "spec", "nodeName")))
                bind_pod(node, pod);
        else if (json_string_is(json_get(pod, "status", "phase"), STR("Pending")))
                run_pod(node, pod);
}

int main(int argc, char **argv)
{
        struct node node = {};
        const int64_t connections = 32;
        const struct option_spec options[] = { BENCH_OPTIONS(&node.bench), OPTION_END };

        bench_open(&node.bench, options, argc, argv, &connections);
        struct kube_reflector *watch = bench_watch(&node.bench, &kind_pod, "", on_event, &node);
        uv_run(&node.bench.uv, UV_RUN_DEFAULT);
        kube_reflector_free(watch);
        bench_close(&node.bench);
        return 0;
}
