// SPDX-License-Identifier: Apache-2.0
#include "serve/endpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "net/stream.h"

struct endpoint {
        struct http_server *server;
        struct listener *listener;
        const struct health *health;
        struct metrics *metrics;
};

static bool is_health(struct str path)
{
        struct str head, tail;

        if (path.length == 0)
                return false;
        str_cut(str_slice(path, 1, path.length), '/', &head, &tail);
        return str_equal(head, STR("healthz")) || str_equal(head, STR("livez")) ||
               str_equal(head, STR("readyz"));
}

static bool is_read(struct str method)
{
        return str_equal(method, STR("GET")) || str_equal(method, STR("HEAD"));
}

bool endpoint_answer(struct http_exchange *exchange, const struct health *health,
                     struct metrics *metrics)
{
        const struct http_request_head *request = &exchange->request;
        _cleanup_buffer_ struct buffer page = {};
        bool of_metrics = metrics && str_equal(request->path, STR("/metrics"));
        int status;

        if (!of_metrics && !(health && is_health(request->path)))
                return false;
        if (!is_read(request->method)) {
                struct http_header allow = { STR("Allow"), STR("GET, HEAD") };
                http_exchange_respond(exchange, 405, &allow, 1, (struct stream_piece){});
                return true;
        }
        if (of_metrics)
                status = metrics_render(metrics, &page) < 0 ? 500 : 200;
        else
                status = health_answer(health, request->path, request->query, &page);
        http_exchange_respond_text(exchange, status < 0 ? 500 : (unsigned)status,
                                   of_metrics ? "text/plain; version=0.0.4; charset=utf-8"
                                              : "text/plain; charset=utf-8",
                                   buffer_str(&page));
        return true;
}

static void on_request(void *user, struct http_exchange *exchange)
{
        struct endpoint *endpoint = user;

        if (!endpoint_answer(exchange, endpoint->health, endpoint->metrics))
                http_exchange_respond_text(exchange, 404, "text/plain; charset=utf-8",
                                           STR("404 page not found\n"));
}

int endpoint_new(const struct endpoint_options *options, struct error *error,
                 struct endpoint **ret_endpoint)
{
        struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
        struct http_server_options server = { .on_request = on_request, .user = endpoint };

        if (!endpoint)
                return error_set(error, -ENOMEM, "out of memory");
        endpoint->health = options->health;
        endpoint->metrics = options->metrics;
        int r = http_server_new(options->loop, &server, &endpoint->server);
        if (r < 0) {
                free(endpoint);
                return error_set(error, r, "cannot make a server for health and metrics");
        }
        r = http_server_listen(endpoint->server, &options->address, options->filter, 0, error,
                               &endpoint->listener);
        if (r < 0) {
                endpoint_free(endpoint);
                return r;
        }
        *ret_endpoint = endpoint;
        return 0;
}

void endpoint_free(struct endpoint *endpoint)
{
        if (!endpoint)
                return;
        http_server_free(endpoint->server);
        free(endpoint);
}

const struct net_address *endpoint_address(const struct endpoint *endpoint)
{
        return listener_address(endpoint->listener);
}
