// SPDX-License-Identifier: Apache-2.0
#include "control/pod_proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/list.h"
#include "base/log.h"
#include "kube/status.h"
#include "net/address.h"
#include "net/http_client.h"
#include "net/tunnel.h"

enum { NODE_CONNECT_TIMEOUT_MS = 2000 };

struct pod_proxy {
        struct http_client *client;
        struct net_address node;
        struct list passes;
};

/* One request on its way; a tunnel once both ends were taken over. */
struct pass {
        struct list link;
        struct pod_proxy *proxy;
        struct http_exchange *exchange; /* NULL: answered, taken over or gone */
        struct http_call *call;         /* NULL: likewise */
        struct tunnel tunnel;
        bool is_tunnel;
};

static void end_pass(struct pass *pass)
{
        list_remove(&pass->link);
        free(pass);
}

static void refuse(struct http_exchange *exchange, const char *message)
{
        const struct kube_status status =
                kube_status_unavailable(exchange->arena, 1, "%s", message);
        _cleanup_buffer_ struct buffer body = {};

        if (kube_status_write(&status, &body) < 0)
                http_exchange_abort(exchange);
        else
                http_exchange_respond_text(exchange, (unsigned)status.code, "application/json",
                                           buffer_str(&body));
}

/* ---- the node's answer ---- */

static void on_tunnel_closed(struct tunnel *tunnel, void *user)
{
        (void)tunnel;
        end_pass(user);
}

static bool passes_on(struct str name, bool is_upgrade)
{
        if (is_upgrade && str_equal_ignoring_case(name, STR("Upgrade")))
                return true;
        return !http_header_is_hop_by_hop(name) &&
               !str_equal_ignoring_case(name, STR("Content-Length")) &&
               !str_equal_ignoring_case(name, STR("Host")) &&
               !str_equal_ignoring_case(name, STR("Authorization")) &&
               !str_equal_ignoring_case(name, STR("Date"));
}

/* The fields that go on, in `kept` of LIMIT_HEADERS; their number. */
static size_t select_headers(const struct http_headers *headers, bool is_upgrade,
                             struct http_header *kept)
{
        size_t count = 0;

        for (size_t i = 0; i < headers->count; i++)
                if (passes_on(headers->items[i].name, is_upgrade))
                        kept[count++] = headers->items[i];
        return count;
}

static void start_tunnel(struct pass *pass, const struct http_header *headers, size_t count)
{
        struct stream *client, *node;
        struct str from_client, from_node;

        if (http_exchange_upgrade(pass->exchange, headers, count, &client, &from_client) < 0) {
                refuse(pass->exchange, "the connection cannot change its protocol");
                http_call_cancel(pass->call);
                end_pass(pass);
                return;
        }
        pass->exchange = NULL;
        int r = http_call_take_over(pass->call, &node, &from_node);
        pass->call = NULL;
        if (r < 0) {
                stream_close(client);
                end_pass(pass);
                return;
        }
        pass->is_tunnel = true;
        tunnel_start(&pass->tunnel, client, from_client, node, from_node, on_tunnel_closed, pass);
}

static void on_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct pass *pass = user;
        struct http_header headers[LIMIT_HEADERS];
        bool is_upgrade = head->status == 101;
        size_t count = select_headers(&head->headers, is_upgrade, headers);

        (void)call;
        if (is_upgrade)
                start_tunnel(pass, headers, count);
        else
                http_exchange_begin(pass->exchange, head->status, headers, count,
                                    head->content_length);
        if (!is_upgrade)
                http_exchange_flush(pass->exchange);
}

static void on_body(struct http_call *call, void *user, struct str data)
{
        struct pass *pass = user;
        const struct stream_piece piece = { .data = data };

        http_exchange_send(pass->exchange, &piece, 1);
        if (http_exchange_is_congested(pass->exchange))
                http_call_pause(call);
}

static void on_end(struct http_call *call, void *user)
{
        struct pass *pass = user;

        (void)call;
        http_exchange_end(pass->exchange, NULL, 0);
        end_pass(pass);
}

static void on_error(struct http_call *call, void *user, enum http_error error, int code)
{
        struct pass *pass = user;

        (void)call;
        (void)code;
        if (pass->exchange->begun)
                http_exchange_abort(pass->exchange);
        else
                refuse(pass->exchange, error == HTTP_ERROR_DIAL
                                               ? "the node is starting again: try once more"
                                               : "the node ended the connection");
        end_pass(pass);
}

static const struct http_call_callbacks call_callbacks = {
        .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_error = on_error
};

/* ---- the client's request ---- */

static void on_drain(struct http_exchange *exchange, void *user)
{
        struct pass *pass = user;

        (void)exchange;
        if (pass->call)
                http_call_resume(pass->call);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct pass *pass = user;

        (void)exchange;
        (void)error;
        if (pass->call)
                http_call_cancel(pass->call);
        end_pass(pass);
}

static const struct http_exchange_callbacks exchange_callbacks = { .on_drain = on_drain,
                                                                   .on_abort = on_abort };

void pod_proxy_pass(struct pod_proxy *proxy, struct http_exchange *exchange,
                    const struct apiserver_pod_request *request)
{
        struct http_header headers[LIMIT_HEADERS];
        struct pass *pass = calloc(1, sizeof(*pass));
        bool has_query = request->query.length > 0;
        struct str target = arena_printf(exchange->arena, "/pods/%.*s/%.*s/%.*s%s%.*s",
                                         STR_FORMAT(request->name_space), STR_FORMAT(request->name),
                                         STR_FORMAT(request->subresource), has_query ? "?" : "",
                                         STR_FORMAT(request->query));

        if (!pass || !target.data) {
                free(pass);
                refuse(exchange, "out of memory");
                return;
        }
        pass->proxy = proxy;
        pass->exchange = exchange;
        list_append(&proxy->passes, &pass->link);
        http_exchange_start(exchange, &exchange_callbacks, pass);

        const struct http_request forwarded = {
                .origin = { .address = proxy->node },
                .method = exchange->request.method,
                .target = target,
                .host = STR("node"),
                .headers = headers,
                .header_count = select_headers(&exchange->request.headers,
                                               exchange->request.is_upgrade, headers),
                .upgrade = exchange->request.is_upgrade,
                .connect_timeout_ms = NODE_CONNECT_TIMEOUT_MS,
        };
        int r = http_call_start(proxy->client, &forwarded, &call_callbacks, pass, &pass->call);
        if (r < 0) {
                refuse(exchange, "the request cannot be passed on");
                end_pass(pass);
        }
}

int pod_proxy_new(struct net_loop *loop, const char *socket, struct pod_proxy **ret_proxy)
{
        struct pod_proxy *proxy = calloc(1, sizeof(*proxy));

        if (!proxy)
                return -ENOMEM;
        list_init(&proxy->passes);
        int r = net_address_from_path(str_from(socket), &proxy->node);
        if (r == 0)
                r = http_client_new(loop, NULL, &proxy->client);
        if (r < 0) {
                free(proxy);
                return r;
        }
        *ret_proxy = proxy;
        return 0;
}

void pod_proxy_free(struct pod_proxy *proxy)
{
        struct pass *pass;

        if (!proxy)
                return;
        list_for_each (pass, &proxy->passes, link) {
                if (pass->is_tunnel)
                        tunnel_close(&pass->tunnel);
                else
                        http_exchange_abort(pass->exchange);
                end_pass(pass);
        }
        http_client_free(proxy->client);
        free(proxy);
}
