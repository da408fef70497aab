// SPDX-License-Identifier: Apache-2.0
#include "serve/webhook.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/log.h"
#include "net/http2.h"
#include "net/tls.h"
#include "serve/conversion.h"

/* API servers use one connection each, over HTTP/2. */
enum { CONNECTIONS = 256, BUDGET_NS = 1000 * 1000 };

struct webhook {
        struct net_loop *loop;
        struct http_server *server;
        struct listener *listener;
        struct tls_context *tls;
        size_t held; /* bytes of bodies */
        struct webhook_counters counters;
};

/* One request, from its head to its answer; lives in the exchange's arena. */
struct call {
        struct webhook *webhook;
        struct http_exchange *exchange;
        struct buffer body;
        struct conversion_review *review;
        struct net_task step;
};

static void drop_body(struct call *call)
{
        call->webhook->held -= call->body.length;
        buffer_deinit(&call->body);
        call->body = (struct buffer){};
}

/* Before the exchange ends, whose memory the call is in. */
static void release(struct call *call)
{
        net_task_cancel(&call->step);
        conversion_review_free(call->review);
        call->review = NULL;
        drop_body(call);
}

static void respond_text(struct call *call, unsigned status, struct str text)
{
        struct http_exchange *exchange = call->exchange;

        release(call);
        http_exchange_respond_text(exchange, status, "text/plain; charset=utf-8", text);
}

/* ---- converting ---- */

static void answer(struct call *call)
{
        struct webhook_counters *counters = &call->webhook->counters;
        struct conversion_outcome outcome = conversion_review_outcome(call->review);

        counters->reviews++;
        counters->objects += outcome.objects;
        if (outcome.why.length > 0) {
                counters->refused++;
                log_warning("a conversion is refused: %.*s", STR_FORMAT(outcome.why));
        }
        /* The call goes with the exchange. */
        struct conversion_review *review = TAKE_POINTER(call->review);
        http_exchange_respond_text(call->exchange, 200, "application/json", outcome.answer);
        conversion_review_free(review);
}

static void on_step(struct net_task *task)
{
        struct call *call = container_of(task, struct call, step);

        int r = conversion_review_step(call->review, BUDGET_NS);
        if (r > 0)
                net_loop_defer(call->webhook->loop, &call->step);
        else if (r == 0)
                answer(call);
        else
                respond_text(call, 503, STR("out of memory\n"));
}

static void on_body_end(struct http_exchange *exchange _unused_, void *user)
{
        struct call *call = user;
        struct error error = {};

        int r = conversion_review_new(buffer_str(&call->body), &error, &call->review);
        drop_body(call);
        if (r == -ENOMEM) {
                respond_text(call, 503, STR("out of memory\n"));
        } else if (r < 0) {
                call->webhook->counters.invalid++;
                respond_text(call, 400, str_from(error.message));
        } else {
                on_step(&call->step);
        }
}

/* ---- receiving ---- */

static void on_body(struct http_exchange *exchange _unused_, void *user, struct str data)
{
        struct call *call = user;
        struct webhook *webhook = call->webhook;

        if (call->body.length + data.length > LIMIT_CONVERSION) {
                respond_text(call, 413, STR("a ConversionReview must be shorter\n"));
                return;
        }
        if (webhook->held + data.length > LIMIT_CONVERSIONS ||
            buffer_append_str(&call->body, data) < 0) {
                respond_text(call, 503, STR("too many conversions at once\n"));
                return;
        }
        webhook->held += data.length;
}

static void on_abort(struct http_exchange *exchange _unused_, void *user, int error _unused_)
{
        release(user);
}

static const struct http_exchange_callbacks callbacks = { .on_body = on_body,
                                                          .on_body_end = on_body_end,
                                                          .on_abort = on_abort };

static bool is_json(struct str type)
{
        struct str head, tail;

        str_cut(type, ';', &head, &tail);
        return str_equal_ignoring_case(str_trim(head), STR("application/json"));
}

static void on_request(void *user, struct http_exchange *exchange)
{
        struct webhook *webhook = user;
        const struct http_request_head *request = &exchange->request;
        const struct http_header allow = { STR("Allow"), STR("POST") };

        if (!str_equal(request->path, STR("/convert"))) {
                http_exchange_respond_text(exchange, 404, "text/plain; charset=utf-8",
                                           STR("only /convert is served\n"));
                return;
        }
        if (!str_equal(request->method, STR("POST"))) {
                http_exchange_respond(exchange, 405, &allow, 1, (struct stream_piece){});
                return;
        }
        if (!is_json(http_headers_get(&request->headers, STR("Content-Type")))) {
                http_exchange_respond_text(
                        exchange, 415, "text/plain; charset=utf-8",
                        STR("a ConversionReview as application/json is taken\n"));
                return;
        }
        struct call *call = arena_new(exchange->arena, struct call, 1);
        if (!call) {
                http_exchange_respond_text(exchange, 503, "text/plain; charset=utf-8",
                                           STR("out of memory\n"));
                return;
        }
        *call = (struct call){ .webhook = webhook, .exchange = exchange, .step.run = on_step };
        http_exchange_start(exchange, &callbacks, call);
}

/* ---- making ---- */

int webhook_new(const struct webhook_options *options, struct error *error,
                struct webhook **ret_webhook)
{
        struct webhook *webhook = calloc(1, sizeof(*webhook));
        const struct tls_server_options tls = { .certificate = options->certificate,
                                                .key = options->key,
                                                .http2 = true };
        const struct http_server_options server = { .on_request = on_request,
                                                    .user = webhook,
                                                    .http2 = &http2_protocol,
                                                    .max_connections = CONNECTIONS };

        if (!webhook)
                return error_set(error, -ENOMEM, "out of memory");
        webhook->loop = options->loop;
        int r = tls_server_new(&tls, error, &webhook->tls);
        if (r == 0) {
                r = http_server_new(options->loop, &server, &webhook->server);
                if (r < 0)
                        error_set(error, r, "cannot make a server for the conversion webhook");
        }
        if (r == 0)
                r = http_server_listen(webhook->server, &options->address,
                                       tls_context_filter(webhook->tls), 0, error,
                                       &webhook->listener);
        if (r < 0) {
                webhook_free(webhook);
                return r;
        }
        *ret_webhook = webhook;
        return 0;
}

void webhook_free(struct webhook *webhook)
{
        if (!webhook)
                return;
        if (webhook->server)
                http_server_free(webhook->server);
        tls_context_free(webhook->tls);
        free(webhook);
}

int webhook_reload(struct webhook *webhook, struct str certificate, struct str key,
                   struct error *error)
{
        return tls_server_reload(webhook->tls, certificate, key, STR_EMPTY, error);
}

const struct net_address *webhook_address(const struct webhook *webhook)
{
        return listener_address(webhook->listener);
}

struct webhook_counters webhook_counters(const struct webhook *webhook)
{
        return webhook->counters;
}
