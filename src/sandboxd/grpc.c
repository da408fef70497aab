// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/grpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"

enum { FRAME_HEAD = 5, TIMEOUT_DIGITS = 8 };

/* ---- answering ---- */

static void begin(struct grpc_call *call)
{
        static const struct http_header headers[] = {
                { { "content-type", 12 }, { "application/grpc", 16 } },
        };

        if (call->begun)
                return;
        call->begun = true;
        http_exchange_begin(call->exchange, 200, headers, ARRAY_SIZE(headers), HTTP_LENGTH_UNKNOWN);
}

void grpc_send(struct grpc_call *call, struct str message)
{
        const uint32_t length = (uint32_t)message.length;
        const char head[FRAME_HEAD] = { 0, (char)(length >> 24), (char)(length >> 16),
                                        (char)(length >> 8), (char)length };
        const struct stream_piece pieces[] = { { { head, sizeof(head) } }, { message } };

        begin(call);
        http_exchange_send(call->exchange, pieces, message.length > 0 ? 2 : 1);
}

bool grpc_is_congested(struct grpc_call *call)
{
        return http_exchange_is_congested(call->exchange);
}

/* Frees the call. */
static void finish(struct grpc_call *call, enum grpc_status status, struct str message)
{
        struct http_exchange *exchange = call->exchange;
        _cleanup_buffer_ struct buffer encoded = { 0 };
        char number[12];

        snprintf(number, sizeof(number), "%d", (int)status);
        /* The specification's percent-encoding leaves more as it is, but decodes to the same. */
        if (message.length > 0)
                (void)http_percent_encode(&encoded, message, " !\"#$&'()*+,/:;<=>?@[\\]^`{|}");
        const struct http_header trailers[] = {
                { STR("grpc-status"), str_from(number) },
                { STR("grpc-message"), buffer_str(&encoded) },
        };
        begin(call);
        net_timer_stop(&call->deadline);
        free(call);
        http_exchange_end(exchange, trailers, encoded.length > 0 ? 2 : 1);
}

void grpc_end(struct grpc_call *call)
{
        finish(call, GRPC_OK, STR_EMPTY);
}

void grpc_reply(struct grpc_call *call, struct str message)
{
        grpc_send(call, message);
        grpc_end(call);
}

void grpc_fail(struct grpc_call *call, enum grpc_status status, const char *format, ...)
{
        _cleanup_buffer_ struct buffer text = { 0 };
        va_list arguments;

        va_start(arguments, format);
        (void)buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        finish(call, status, buffer_str(&text));
}

/* ---- the request ---- */

static void cancel(struct grpc_call *call)
{
        if (call->on_cancel)
                call->on_cancel(call, call->user);
}

static void on_deadline(struct net_timer *timer)
{
        struct grpc_call *call = container_of(timer, struct grpc_call, deadline);

        cancel(call);
        grpc_fail(call, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
}

static void on_abort(struct http_exchange *exchange _unused_, void *user, int error _unused_)
{
        struct grpc_call *call = user;

        cancel(call);
        net_timer_stop(&call->deadline);
        free(call);
}

static void on_drain(struct http_exchange *exchange _unused_, void *user)
{
        struct grpc_call *call = user;

        if (call->on_drain)
                call->on_drain(call, call->user);
}

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct grpc_call *call = user;
        const struct grpc_methods *methods = call->methods;
        const uint8_t *head = (const uint8_t *)body.data;

        if (body.length < FRAME_HEAD) {
                grpc_fail(call, GRPC_INTERNAL, "the request has no message");
                return;
        }
        size_t length = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 |
                        (size_t)head[4];
        if (head[0] != 0) {
                grpc_fail(call, GRPC_UNIMPLEMENTED, "compressed messages are not taken");
                return;
        }
        if (body.length - FRAME_HEAD != length) {
                grpc_fail(call, GRPC_INTERNAL, "the request is not one whole message");
                return;
        }
        struct str message = str_slice(body, FRAME_HEAD, body.length);
        for (size_t i = 0; i < methods->count; i++) {
                if (str_equal(exchange->request.path, str_from(methods->list[i].path))) {
                        methods->list[i].handle(call, methods->context, message);
                        return;
                }
        }
        grpc_fail(call, GRPC_UNIMPLEMENTED, "there is no method %.*s",
                  STR_FORMAT(exchange->request.path));
}

/* "250m", "60S": at most eight digits and a unit. 0: none. */
static int read_timeout(struct str text, uint64_t *ret_ms)
{
        static const struct {
                char unit;
                uint64_t ns;
        } units[] = {
                { 'H', UINT64_C(3600000000000) }, { 'M', UINT64_C(60000000000) },
                { 'S', UINT64_C(1000000000) },    { 'm', UINT64_C(1000000) },
                { 'u', UINT64_C(1000) },          { 'n', UINT64_C(1) },
        };
        uint64_t value;

        *ret_ms = 0;
        if (text.length == 0)
                return 0;
        if (text.length < 2 || text.length > TIMEOUT_DIGITS + 1 ||
            str_to_u64(str_slice(text, 0, text.length - 1), UINT32_MAX, &value) < 0)
                return -EINVAL;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
                if (text.data[text.length - 1] != units[i].unit)
                        continue;
                *ret_ms = MAX(value * (units[i].ns / 1000) / 1000, UINT64_C(1));
                if (units[i].ns == 1)
                        *ret_ms = MAX(value / 1000000, UINT64_C(1));
                return 0;
        }
        return -EINVAL;
}

static bool is_grpc(const struct http_request_head *request)
{
        struct str type = http_headers_get(&request->headers, STR("content-type"));

        return str_equal(type, STR("application/grpc")) ||
               str_equal(type, STR("application/grpc+proto")) ||
               str_starts_with(type, STR("application/grpc;"));
}

void grpc_handle(const struct grpc_methods *methods, struct http_exchange *exchange)
{
        static const struct http_exchange_callbacks callbacks = {
                .on_whole = on_whole,
                .on_drain = on_drain,
                .on_abort = on_abort,
        };
        const struct http_request_head *request = &exchange->request;
        uint64_t timeout_ms;

        if (request->version < 20) {
                http_exchange_respond_text(exchange, 505, "text/plain", STR("gRPC needs HTTP/2\n"));
                return;
        }
        if (!str_equal(request->method, STR("POST"))) {
                http_exchange_respond_text(exchange, 405, "text/plain", STR("gRPC is POSTed\n"));
                return;
        }
        if (!is_grpc(request)) {
                http_exchange_respond_text(exchange, 415, "text/plain",
                                           STR("application/grpc is taken\n"));
                return;
        }
        if (read_timeout(http_headers_get(&request->headers, STR("grpc-timeout")), &timeout_ms) <
            0) {
                http_exchange_respond_text(exchange, 400, "text/plain",
                                           STR("grpc-timeout is malformed\n"));
                return;
        }
        struct grpc_call *call = calloc(1, sizeof(*call));
        if (!call) {
                http_exchange_respond_text(exchange, 503, "text/plain", STR("out of memory\n"));
                return;
        }
        call->exchange = exchange;
        call->methods = methods;
        call->loop = methods->loop;
        if (timeout_ms > 0)
                net_timer_start(call->loop, &call->deadline, timeout_ms, on_deadline);
        http_exchange_collect(exchange, LIMIT_GRPC_MESSAGE + FRAME_HEAD, &callbacks, call);
}
