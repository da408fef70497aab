// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "node/internal.h"

#define PROBE_USER_AGENT "kube-probe/1.33"

enum {
        PROBE_MESSAGE = 256,
        /* While it is asked again and again anyway: a first packet that is lost costs a second. */
        QUICK_CONNECT_MS = 30,
};

static void ask(struct node_probe *probe);

static void wait_expired(struct net_timer *timer)
{
        ask(container_of(timer, struct node_probe, timer));
}

static void wait_until_due(struct node_probe *probe)
{
        uint64_t now = clock_monotonic_ns(), due = probe->schedule.due;
        uint64_t delay = due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0;

        net_timer_start(probe->container->pod->node->loop, &probe->timer, delay, wait_expired);
}

static void forget_attempt(struct node_probe *probe)
{
        net_timer_stop(&probe->timer);
        if (probe->http)
                http_call_cancel(probe->http);
        if (probe->tcp)
                stream_close(probe->tcp);
        container_leave(&probe->user);
        probe->http = NULL;
        probe->tcp = NULL;
        probe->is_asking = false;
}

/* One answer is there. The worker may stop the probe on hearing of it. */
static void answer(struct node_probe *probe, bool success, const char *why)
{
        struct node_container *container = probe->container;
        enum pod_probe_role role = probe->role;

        if (!probe->is_asking)
                return;
        forget_attempt(probe);
        bool is_news = probe_schedule_answer(&probe->schedule, success, clock_monotonic_ns());
        wait_until_due(probe);
        if (!is_news)
                return;
        const struct pod_event event = { .type = POD_EVENT_PROBE,
                                         .container = container->index,
                                         .attempt = container->attempt,
                                         .role = role,
                                         .healthy = success,
                                         .message = why };
        pod_tell(container->pod, &event);
}

static void time_ran_out(struct net_timer *timer)
{
        answer(container_of(timer, struct node_probe, timer), false,
               "context deadline exceeded: no answer within timeoutSeconds");
}

/* ---- HTTP ---- */

static void on_http_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        char why[PROBE_MESSAGE];

        (void)call;
        snprintf(why, sizeof(why), "HTTP probe failed with statuscode: %u", head->status);
        answer(user, head->status >= 200 && head->status < 400, why);
}

static void on_http_body(struct http_call *call, void *user, struct str data)
{
        (void)call, (void)user, (void)data;
}

static void on_http_end(struct http_call *call, void *user)
{
        (void)call;
        struct node_probe *probe = user;

        probe->http = NULL;
        answer(probe, false, "the answer had no head");
}

static void on_http_error(struct http_call *call, void *user, enum http_error error, int code)
{
        struct node_probe *probe = user;
        char why[PROBE_MESSAGE];

        (void)call, (void)error;
        probe->http = NULL;
        snprintf(why, sizeof(why), "Get \"%s://…:%u%.*s\": %s",
                 probe->schedule.probe->https ? "https" : "http", probe->schedule.probe->port,
                 (int)MIN(probe->schedule.probe->path.length, (size_t)100),
                 probe->schedule.probe->path.data, strerror(-code));
        answer(probe, false, why);
}

static const struct http_call_callbacks http_callbacks = {
        .on_head = on_http_head,
        .on_body = on_http_body,
        .on_end = on_http_end,
        .on_error = on_http_error,
};

static int target_address(const struct node_probe *probe, struct net_address *ret_address)
{
        const struct pod_probe *wanted = probe->schedule.probe;
        char text[ADDRESS_TEXT_SIZE];

        if (wanted->host.length > 0)
                return net_address_from_ip(wanted->host, wanted->port, ret_address);
        address_format(probe->container->pod->address, text);
        return net_address_from_ip(str_from(text), wanted->port, ret_address);
}

static int ask_http(struct node_probe *probe)
{
        const struct pod_probe *wanted = probe->schedule.probe;
        struct node *node = probe->container->pod->node;
        struct http_header headers[64 + 2];
        struct http_request request = { .target = wanted->path, .headers = headers, .fresh = true };
        bool has_agent = false, has_accept = false;

        int r = target_address(probe, &request.origin.address);
        if (r < 0)
                return r;
        for (size_t i = 0; i < wanted->header_count && i < 64; i++) {
                const struct pod_header *header = &wanted->headers[i];
                if (str_equal_ignoring_case(header->name, STR("host"))) {
                        request.host = header->value;
                        continue;
                }
                has_agent |= str_equal_ignoring_case(header->name, STR("user-agent"));
                has_accept |= str_equal_ignoring_case(header->name, STR("accept"));
                headers[request.header_count++] =
                        (struct http_header){ header->name, header->value };
        }
        if (!has_agent)
                headers[request.header_count++] =
                        (struct http_header){ STR("User-Agent"), STR(PROBE_USER_AGENT) };
        if (!has_accept)
                headers[request.header_count++] = (struct http_header){ STR("Accept"), STR("*/*") };
        if (probe->schedule.retry_ns > 0)
                request.connect_timeout_ms = QUICK_CONNECT_MS;
        if (wanted->https)
                request.origin.filter = node->probe_filter;
        return http_call_start(node->http, &request, &http_callbacks, probe, &probe->http);
}

/* ---- TCP ---- */

static void on_tcp_open(struct stream *stream, void *user)
{
        (void)stream;
        answer(user, true, NULL);
}

static void on_tcp_data(struct stream *stream, void *user, struct str data)
{
        (void)stream, (void)user, (void)data;
}

static void on_tcp_close(struct stream *stream, void *user, int error)
{
        struct node_probe *probe = user;
        char why[PROBE_MESSAGE];

        (void)stream;
        probe->tcp = NULL;
        snprintf(why, sizeof(why), "dial tcp :%u: connect: %s", probe->schedule.probe->port,
                 strerror(error < 0 ? -error : ECONNRESET));
        answer(probe, false, why);
}

static const struct stream_callbacks tcp_callbacks = {
        .on_open = on_tcp_open,
        .on_data = on_tcp_data,
        .on_close = on_tcp_close,
};

static int ask_tcp(struct node_probe *probe)
{
        struct net_address address;

        int r = target_address(probe, &address);
        if (r < 0)
                return r;
        r = stream_connect(probe->container->pod->node->loop, &address, &probe->tcp);
        if (r >= 0)
                stream_start(probe->tcp, &tcp_callbacks, probe);
        return r;
}

/* ---- exec ---- */

static void on_exec_ended(struct container_user *user, const struct initproto_exit *exit)
{
        struct node_probe *probe = container_of(user, struct node_probe, user);
        char why[PROBE_MESSAGE];

        if (exit)
                snprintf(why, sizeof(why), "command exited with code %u", exit->code);
        else
                snprintf(why, sizeof(why), "the connection to the container ended");
        answer(probe, exit && exit->code == 0, why);
}

static void on_exec_failed(struct container_user *user, int error, struct str reason)
{
        struct node_probe *probe = container_of(user, struct node_probe, user);
        char why[PROBE_MESSAGE];

        snprintf(why, sizeof(why), "%.*s (%s)", (int)MIN(reason.length, (size_t)180), reason.data,
                 strerror(error < 0 ? -error : error));
        answer(probe, false, why);
}

static void on_exec_output(struct container_user *user, enum initproto_channel channel,
                           struct str data)
{
        container_consumed(user, channel, data.length);
}

static const struct container_user_events exec_events = { .output = on_exec_output,
                                                          .ended = on_exec_ended,
                                                          .failed = on_exec_failed };

static int ask_exec(struct node_probe *probe)
{
        const struct pod_strings *command = &probe->schedule.probe->command;
        struct initproto_process process = *container_process(probe->container);
        _cleanup_buffer_ struct buffer argv = {};

        for (size_t i = 0; i < command->count; i++) {
                int r = initproto_append_string(&argv, command->items[i]);
                if (r < 0)
                        return r;
        }
        process.flags = 0;
        process.argv_count = (uint32_t)command->count;
        process.argv = buffer_str(&argv);
        return container_exec(probe->container, &process, &exec_events, &probe->user);
}

/* ---- all ---- */

static void ask(struct node_probe *probe)
{
        const struct pod_probe *wanted = probe->schedule.probe;
        bool is_quick_dial = wanted->kind == POD_PROBE_TCP && probe->schedule.retry_ns > 0;
        uint64_t timeout_ms = (uint64_t)MAX(wanted->timeout_s, 1) * 1000;
        int r = -EINVAL;

        probe->is_asking = true;
        net_timer_start(probe->container->pod->node->loop, &probe->timer,
                        is_quick_dial ? QUICK_CONNECT_MS : timeout_ms, time_ran_out);
        if (wanted->kind == POD_PROBE_HTTP)
                r = ask_http(probe);
        else if (wanted->kind == POD_PROBE_TCP)
                r = ask_tcp(probe);
        else if (wanted->kind == POD_PROBE_EXEC)
                r = ask_exec(probe);
        if (r < 0)
                answer(probe, false, strerror(-r));
}

static const struct pod_probe *wanted_probe(const struct node_container *container,
                                            enum pod_probe_role role)
{
        const struct pod_container *spec =
                &pod_spec_of(container->pod)->containers[container->index];

        return role == POD_PROBE_STARTUP    ? &spec->startup
               : role == POD_PROBE_LIVENESS ? &spec->liveness
                                            : &spec->readiness;
}

void probe_respec(struct node_container *container)
{
        for (unsigned role = 0; role < POD_PROBE_ROLES; role++)
                if (container->probes[role])
                        container->probes[role]->schedule.probe =
                                wanted_probe(container, (enum pod_probe_role)role);
}

void probe_start(struct node_container *container, enum pod_probe_role role)
{
        probe_stop(container, role);
        struct node_probe *probe = calloc(1, sizeof(*probe));
        if (!probe)
                return;
        container->probes[role] = probe;
        probe->container = container;
        probe->role = role;
        probe_schedule_init(&probe->schedule, wanted_probe(container, role), role,
                            clock_monotonic_ns());
        wait_until_due(probe);
}

void probe_stop(struct node_container *container, enum pod_probe_role role)
{
        struct node_probe *probe = container->probes[role];

        if (!probe)
                return;
        container->probes[role] = NULL;
        forget_attempt(probe);
        free(probe);
}
