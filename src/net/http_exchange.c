// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/log.h"
#include "net/http_connection.h"

/* What every protocol's exchanges have in common. */

void http_exchange_start(struct http_exchange *exchange,
                         const struct http_exchange_callbacks *callbacks, void *user)
{
        exchange->on = callbacks;
        exchange->user = user;
}

void http_exchange_collect(struct http_exchange *exchange, size_t limit,
                           const struct http_exchange_callbacks *callbacks, void *user)
{
        http_exchange_start(exchange, callbacks, user);
        exchange->collecting = true;
        exchange->collect_limit = limit;
}

void http_exchange_pause(struct http_exchange *exchange)
{
        exchange->ops->pause(exchange, true);
}

void http_exchange_resume(struct http_exchange *exchange)
{
        exchange->ops->pause(exchange, false);
}

/* ---- answering ---- */

void http_exchange_begin(struct http_exchange *exchange, unsigned status,
                         const struct http_header *headers, size_t count, int64_t length)
{
        assert(exchange->active && !exchange->begun);
        exchange->begun = true;
        exchange->status = status;
        int r = exchange->ops->begin(exchange, status, headers, count, length);
        if (r == 0)
                return;
        log_error("an answer to %.*s %.*s had a field that cannot be sent: %s",
                  STR_FORMAT(exchange->request.method), STR_FORMAT(exchange->request.path),
                  r == -EINVAL ? "malformed" : "no memory");
        exchange->refused = true;
        exchange->status = 500;
        (void)exchange->ops->begin(exchange, 500, NULL, 0, 0);
}

void http_exchange_send(struct http_exchange *exchange, const struct stream_piece *pieces,
                        size_t count)
{
        assert(exchange->active && exchange->begun && count <= HTTP_PIECES_MAX);
        if (exchange->refused) {
                stream_release_pieces(pieces, count);
                return;
        }
        exchange->ops->send(exchange, pieces, count);
}

void http_exchange_flush(struct http_exchange *exchange)
{
        assert(exchange->active && exchange->begun);
        exchange->ops->flush(exchange);
}

void http_exchange_end(struct http_exchange *exchange, const struct http_header *trailers,
                       size_t count)
{
        assert(exchange->active && exchange->begun);
        exchange->ops->end(exchange, trailers, count);
}

void http_exchange_respond(struct http_exchange *exchange, unsigned status,
                           const struct http_header *headers, size_t count,
                           struct stream_piece body)
{
        http_exchange_begin(exchange, status, headers, count, (int64_t)body.data.length);
        http_exchange_send(exchange, &body, 1);
        http_exchange_end(exchange, NULL, 0);
}

void http_exchange_respond_text(struct http_exchange *exchange, unsigned status,
                                const char *content_type, struct str body)
{
        const struct http_header type = { STR("Content-Type"), str_from(content_type) };

        http_exchange_respond(exchange, status, &type, 1, (struct stream_piece){ body });
}

void http_exchange_abort(struct http_exchange *exchange)
{
        assert(exchange->active);
        exchange->ops->abort(exchange);
}

bool http_exchange_is_congested(struct http_exchange *exchange)
{
        return exchange->ops->is_congested(exchange);
}

size_t http_exchange_pending(const struct http_exchange *exchange)
{
        return exchange->ops->pending(exchange);
}

int http_exchange_take_over(struct http_exchange *exchange, unsigned status,
                            const struct http_header *headers, size_t count,
                            struct stream **ret_stream, struct str *ret_leftover)
{
        assert(exchange->active);
        if (exchange->begun || !exchange->ops->take_over)
                return -EOPNOTSUPP;
        return exchange->ops->take_over(exchange, status, headers, count, ret_stream, ret_leftover);
}

int http_exchange_upgrade(struct http_exchange *exchange, const struct http_header *headers,
                          size_t count, struct stream **ret_stream, struct str *ret_leftover)
{
        enum { UPGRADE_HEADERS_MAX = 16 };
        struct http_header all[UPGRADE_HEADERS_MAX];

        if (!exchange->request.is_upgrade)
                return -EOPNOTSUPP;
        if (count >= UPGRADE_HEADERS_MAX)
                return -E2BIG;
        all[0] = (struct http_header){ STR("Connection"), STR("Upgrade") };
        if (count > 0)
                memcpy(all + 1, headers, count * sizeof(*headers));
        return http_exchange_take_over(exchange, 101, all, count + 1, ret_stream, ret_leftover);
}

/* ---- for protocols ---- */

void http_exchange_close(struct http_exchange *exchange)
{
        if (!exchange->active)
                return;
        exchange->active = false;
        exchange->on = NULL;
        exchange->server->counters.exchanges--;
}

void http_exchange_refuse(struct http_exchange *exchange, unsigned status, struct str reason,
                          int error)
{
        const struct http_exchange_callbacks *on = exchange->on;
        void *user = exchange->user;

        exchange->server->counters.refused++;
        if (exchange->begun) {
                exchange->ops->abort(exchange);
        } else {
                _cleanup_buffer_ struct buffer body = {};
                const struct http_header type = {
                        STR("Content-Type"),
                        http_server_render_error(exchange->server, status, reason, &body),
                };
                http_exchange_respond(exchange, status, &type, 1,
                                      (struct stream_piece){ buffer_str(&body) });
        }
        if (on && on->on_abort)
                on->on_abort(exchange, user, error);
}

void http_exchange_fail(struct http_exchange *exchange, int error)
{
        const struct http_exchange_callbacks *on = exchange->on;
        void *user = exchange->user;

        if (!exchange->active)
                return;
        http_exchange_close(exchange);
        if (on && on->on_abort)
                on->on_abort(exchange, user, error);
}

static void refuse_size(struct http_exchange *exchange)
{
        http_exchange_refuse(exchange, 413, STR("The request body is too large."), -EFBIG);
}

/* The connection is one too many, and still is: it is told so, and closed after that. */
static void refuse_surplus(struct http_exchange *exchange, struct http_connection *connection)
{
        _cleanup_buffer_ struct buffer body = {};
        struct http_header headers[] = {
                { STR("Content-Type"), STR_EMPTY },
                { STR("Retry-After"), STR("1") },
        };

        headers[0].value = http_server_render_error(
                exchange->server, 503, STR("There are too many connections; try again later."),
                &body);
        exchange->server->counters.refused++;
        connection->ops->drain(connection);
        http_exchange_respond(exchange, 503, headers, ARRAY_SIZE(headers),
                              (struct stream_piece){ buffer_str(&body) });
}

void http_exchange_open(struct http_exchange *exchange, struct http_connection *connection)
{
        struct http_server *server = connection->server;

        exchange->server = server;
        exchange->active = true;
        server->counters.requests++;
        server->counters.exchanges++;
        connection->surplus &= server->counters.connections > server->options.max_connections;
        if (connection->surplus) {
                refuse_surplus(exchange, connection);
                return;
        }
        server->options.on_request(server->options.user, exchange);
        if (!exchange->active)
                return;
        if (!exchange->on) {
                log_error("a handler neither answered nor started %.*s %.*s",
                          STR_FORMAT(exchange->request.method), STR_FORMAT(exchange->request.path));
                http_exchange_refuse(exchange, 500, STR("Internal error."), -EPROTO);
        } else if (exchange->collecting && exchange->request.content_length > 0 &&
                   (uint64_t)exchange->request.content_length > exchange->collect_limit) {
                refuse_size(exchange);
        }
}

void http_exchange_deliver(struct http_exchange *exchange, struct str data)
{
        if (!exchange->active)
                return;
        if (!exchange->collecting) {
                if (exchange->on->on_body)
                        exchange->on->on_body(exchange, exchange->user, data);
                return;
        }
        if (data.length > exchange->collect_limit - exchange->collected.length) {
                refuse_size(exchange);
                return;
        }
        if (buffer_append_str(&exchange->collected, data) < 0)
                http_exchange_refuse(exchange, 503, STR("Out of memory."), -ENOMEM);
}

void http_exchange_deliver_end(struct http_exchange *exchange)
{
        if (!exchange->active)
                return;
        if (exchange->collecting)
                exchange->on->on_whole(exchange, exchange->user, buffer_str(&exchange->collected));
        else if (exchange->on->on_body_end)
                exchange->on->on_body_end(exchange, exchange->user);
}

void http_exchange_deliver_drain(struct http_exchange *exchange)
{
        if (exchange->active && exchange->on && exchange->on->on_drain)
                exchange->on->on_drain(exchange, exchange->user);
}
