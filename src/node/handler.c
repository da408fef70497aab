// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "node/grpc_check.h"
#include "node/internal.h"

#define PROBE_USER_AGENT "kube-probe/1.33"

enum { HANDLER_MESSAGE = 256 };

void handler_stop(struct node_handler *handler)
{
        net_timer_stop(&handler->timer);
        if (handler->http)
                http_call_cancel(handler->http);
        if (handler->tcp)
                stream_close(handler->tcp);
        grpc_check_free(handler->grpc);
        container_leave(&handler->user);
        handler->http = NULL;
        handler->tcp = NULL;
        handler->grpc = NULL;
        handler->is_asking = false;
}

static void answer(struct node_handler *handler, bool success, const char *why)
{
        if (!handler->is_asking)
                return;
        handler_stop(handler);
        handler->answered(handler, success, why);
}

static void time_ran_out(struct net_timer *timer)
{
        struct node_handler *handler = container_of(timer, struct node_handler, timer);

        if (handler->wanted->kind == POD_HANDLER_SLEEP)
                answer(handler, true, NULL);
        else
                answer(handler, false,
                       "context deadline exceeded: no answer within timeoutSeconds");
}

/* ---- HTTP ---- */

static void on_http_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        char why[HANDLER_MESSAGE];

        (void)call;
        struct node_handler *handler = user;
        bool is_fine = handler->takes_any_status || (head->status >= 200 && head->status < 400);
        snprintf(why, sizeof(why), "HTTP probe failed with statuscode: %u", head->status);
        answer(handler, is_fine, why);
}

static void on_http_body(struct http_call *call, void *user, struct str data)
{
        (void)call, (void)user, (void)data;
}

static void on_http_end(struct http_call *call, void *user)
{
        (void)call;
        struct node_handler *handler = user;

        handler->http = NULL;
        answer(handler, false, "the answer had no head");
}

static void on_http_error(struct http_call *call, void *user, enum http_error error, int code)
{
        struct node_handler *handler = user;
        char why[HANDLER_MESSAGE];

        (void)call, (void)error;
        handler->http = NULL;
        snprintf(why, sizeof(why), "Get \"%s://…:%u%.*s\": %s",
                 handler->wanted->https ? "https" : "http", handler->wanted->port,
                 (int)MIN(handler->wanted->path.length, (size_t)100), handler->wanted->path.data,
                 strerror(-code));
        answer(handler, false, why);
}

static const struct http_call_callbacks http_callbacks = {
        .on_head = on_http_head,
        .on_body = on_http_body,
        .on_end = on_http_end,
        .on_error = on_http_error,
};

static int target_address(const struct node_handler *handler, struct net_address *ret_address)
{
        const struct pod_handler *wanted = handler->wanted;
        char text[ADDRESS_TEXT_SIZE];

        if (wanted->host.length > 0)
                return net_address_from_ip(wanted->host, wanted->port, ret_address);
        address_format(handler->container->pod->address, text);
        return net_address_from_ip(str_from(text), wanted->port, ret_address);
}

static int ask_http(struct node_handler *handler)
{
        const struct pod_handler *wanted = handler->wanted;
        struct node *node = handler->container->pod->node;
        struct http_header headers[64 + 2];
        struct http_request request = { .target = wanted->path, .headers = headers, .fresh = true };
        bool has_agent = false, has_accept = false;

        int r = target_address(handler, &request.origin.address);
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
        request.connect_timeout_ms = handler->connect_timeout_ms;
        if (wanted->https)
                request.origin.filter = node->probe_filter;
        return http_call_start(node->http, &request, &http_callbacks, handler, &handler->http);
}

/* ---- TCP and gRPC ---- */

static void flush_grpc(struct node_handler *handler)
{
        struct buffer *output = grpc_check_output(handler->grpc);

        if (output->length == 0)
                return;
        stream_write_str(handler->tcp, buffer_str(output));
        buffer_consume(output, output->length);
}

static void begin_grpc(struct node_handler *handler)
{
        char address[ADDRESS_TEXT_SIZE], authority[ADDRESS_TEXT_SIZE + 8];

        address_format(handler->container->pod->address, address);
        snprintf(authority, sizeof(authority), "%s:%u", address, handler->wanted->port);
        int r = grpc_check_new(str_from(authority), handler->wanted->service, &handler->grpc);
        if (r < 0) {
                answer(handler, false, strerror(-r));
                return;
        }
        net_timer_start(handler->container->pod->node->loop, &handler->timer, handler->timeout_ms,
                        time_ran_out);
        flush_grpc(handler);
}

static void on_tcp_open(struct stream *stream, void *user)
{
        struct node_handler *handler = user;

        (void)stream;
        if (handler->wanted->kind == POD_HANDLER_GRPC)
                begin_grpc(handler);
        else
                answer(handler, true, NULL);
}

static void on_tcp_data(struct stream *stream, void *user, struct str data)
{
        struct node_handler *handler = user;
        char why[GRPC_CHECK_MESSAGE] = "error: health rpc failed: the answer is no HTTP/2";

        (void)stream;
        if (!handler->grpc)
                return;
        int r = grpc_check_receive(handler->grpc, data);
        if (r == 0)
                flush_grpc(handler);
        else
                answer(handler, r > 0 && grpc_check_is_serving(handler->grpc, why), why);
}

static void on_tcp_close(struct stream *stream, void *user, int error)
{
        struct node_handler *handler = user;
        char why[HANDLER_MESSAGE];

        (void)stream;
        handler->tcp = NULL;
        snprintf(why, sizeof(why), "%s tcp :%u: %s", handler->grpc ? "read" : "dial",
                 handler->wanted->port, strerror(error < 0 ? -error : ECONNRESET));
        answer(handler, false, why);
}

static const struct stream_callbacks tcp_callbacks = {
        .on_open = on_tcp_open,
        .on_data = on_tcp_data,
        .on_close = on_tcp_close,
};

static int ask_tcp(struct node_handler *handler)
{
        struct net_address address;

        int r = target_address(handler, &address);
        if (r < 0)
                return r;
        r = stream_connect(handler->container->pod->node->loop, &address, &handler->tcp);
        if (r >= 0)
                stream_start(handler->tcp, &tcp_callbacks, handler);
        return r;
}

/* ---- exec ---- */

static void on_exec_ended(struct container_user *user, const struct initproto_exit *exit)
{
        struct node_handler *handler = container_of(user, struct node_handler, user);
        char why[HANDLER_MESSAGE];

        if (exit)
                snprintf(why, sizeof(why), "command exited with code %u", exit->code);
        else
                snprintf(why, sizeof(why), "the connection to the container ended");
        answer(handler, exit && exit->code == 0, why);
}

static void on_exec_failed(struct container_user *user, int error, struct str reason)
{
        struct node_handler *handler = container_of(user, struct node_handler, user);
        char why[HANDLER_MESSAGE];

        snprintf(why, sizeof(why), "%.*s (%s)", (int)MIN(reason.length, (size_t)180), reason.data,
                 strerror(error < 0 ? -error : error));
        answer(handler, false, why);
}

static void on_exec_output(struct container_user *user, enum initproto_channel channel,
                           struct str data)
{
        container_consumed(user, channel, data.length);
}

static const struct container_user_events exec_events = { .output = on_exec_output,
                                                          .ended = on_exec_ended,
                                                          .failed = on_exec_failed };

static int ask_exec(struct node_handler *handler)
{
        const struct pod_strings *command = &handler->wanted->command;
        struct initproto_process process = *container_process(handler->container);
        _cleanup_buffer_ struct buffer argv = {};

        for (size_t i = 0; i < command->count; i++) {
                int r = initproto_append_string(&argv, command->items[i]);
                if (r < 0)
                        return r;
        }
        process.flags = 0;
        process.argv_count = (uint32_t)command->count;
        process.argv = buffer_str(&argv);
        return container_exec(handler->container, &process, &exec_events, &handler->user);
}

void handler_ask(struct node_handler *handler)
{
        struct net_loop *loop = handler->container->pod->node->loop;
        bool dials = handler->wanted->kind == POD_HANDLER_TCP ||
                     handler->wanted->kind == POD_HANDLER_GRPC;
        uint64_t timeout_ms = handler->timeout_ms;
        int r = -EINVAL;

        handler->is_asking = true;
        if (dials && handler->connect_timeout_ms > 0)
                timeout_ms = handler->connect_timeout_ms;
        if (handler->wanted->kind == POD_HANDLER_SLEEP)
                timeout_ms = MAX((uint64_t)handler->wanted->sleep_s * 1000, UINT64_C(1));
        if (timeout_ms > 0)
                net_timer_start(loop, &handler->timer, timeout_ms, time_ran_out);
        switch (handler->wanted->kind) {
        case POD_HANDLER_HTTP:
                r = ask_http(handler);
                break;
        case POD_HANDLER_TCP:
        case POD_HANDLER_GRPC:
                r = ask_tcp(handler);
                break;
        case POD_HANDLER_EXEC:
                r = ask_exec(handler);
                break;
        case POD_HANDLER_SLEEP:
                r = 0;
                break;
        case POD_HANDLER_NONE:
                break;
        }
        if (r < 0)
                answer(handler, false, strerror(-r));
}
