// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "base/limit.h"

/* From an exchange to a call and its handler. */

struct str http_render_error(void *user _unused_, unsigned status, struct str reason,
                             struct buffer *body)
{
        buffer_printf(body,
                      "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                      "\"status\":\"Failure\",\"message\":\"%.*s\",\"reason\":\"%s\",\"code\":%u}",
                      STR_FORMAT(reason),
                      status == 413   ? "RequestEntityTooLarge"
                      : status == 408 ? "Timeout"
                      : status == 503 ? "ServiceUnavailable"
                      : status >= 500 ? "InternalError"
                                      : "BadRequest",
                      status);
        return STR("application/json");
}

static void on_whole(struct http_exchange *exchange _unused_, void *user, struct str body)
{
        struct api_call *call = user;

        if (body.length > 0 || call->verb != API_DELETE) {
                if (admit_decode(call, body) < 0)
                        return;
        }
        route_run(call);
}

static void on_drain(struct http_exchange *exchange _unused_, void *user)
{
        struct api_call *call = user;

        if (call->drain)
                call->drain(call);
}

static void on_abort(struct http_exchange *exchange _unused_, void *user, int error _unused_)
{
        struct api_call *call = user;

        if (call->stream_end)
                call->stream_end(call);
        api_call_release(call);
}

static const struct http_exchange_callbacks whole_callbacks = {
        .on_whole = on_whole,
        .on_drain = on_drain,
        .on_abort = on_abort,
};

static void ignore_body(struct http_exchange *exchange _unused_, void *user _unused_,
                        struct str data _unused_)
{
}

static void ignore_body_end(struct http_exchange *exchange _unused_, void *user _unused_)
{
}

static const struct http_exchange_callbacks bodiless_callbacks = {
        .on_body = ignore_body,
        .on_body_end = ignore_body_end,
        .on_drain = on_drain,
        .on_abort = on_abort,
};

static struct api_call *call_new(struct apiserver *server, struct http_exchange *exchange)
{
        struct api_call *call = arena_new(exchange->arena, struct api_call, 1);
        const struct http_headers *headers = &exchange->request.headers;

        if (!call)
                return NULL;
        call->server = server;
        call->arena = exchange->arena;
        call->exchange = exchange;
        call->method = exchange->request.method;
        call->content_type = http_headers_get(headers, STR("Content-Type"));
        call->user_agent = http_headers_get(headers, STR("User-Agent"));
        call->form = api_accept_parse(http_headers_get(headers, STR("Accept")));
        call->now_ns = clock_realtime_ns();
        return call;
}

void http_on_request(void *user, struct http_exchange *exchange)
{
        struct apiserver *server = user;
        struct api_call *call = call_new(server, exchange);
        int r;

        if (!call) {
                http_exchange_respond_text(exchange, 500, "text/plain", STR("out of memory\n"));
                return;
        }
        r = authenticate(call);
        if (r == -EACCES) {
                struct kube_status status = kube_status_unauthorized();
                api_call_fail(call, &status);
                return;
        }
        if (r == -EPERM) {
                struct kube_status status = kube_status_forbidden(
                        call->arena, NULL, STR_EMPTY,
                        STR("the user may not act as the one in Impersonate-User"));
                api_call_fail(call, &status);
                return;
        }
        if (r < 0) {
                api_call_fail_errno(call, r);
                return;
        }
        switch (route_prepare(call)) {
        case ROUTE_DONE:
                break;
        case ROUTE_BODY:
                http_exchange_collect(exchange, LIMIT_BODY, &whole_callbacks, call);
                break;
        case ROUTE_STREAM:
                route_run(call);
                break;
        case ROUTE_NOW:
                http_exchange_start(exchange, &bodiless_callbacks, call);
                route_run(call);
                break;
        }
}
