// SPDX-License-Identifier: Apache-2.0
#include "router/proxy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/tunnel.h"
#include "router/access_log.h"
#include "router/forward.h"

enum { SHOWN_MAX = 512 }; /* bytes of a path in a span */

struct proxy {
        struct proxy_options options;
        struct access_log log;
        struct trace_source traces;
        struct list tunnels;
        unsigned inflight, tunnel_count;
};

/* One request on its way; lives in its exchange's arena. */
struct passage {
        struct proxy *proxy;
        struct http_exchange *exchange; /* NULL when it is over */
        struct http_call *call;         /* of this attempt */
        struct router_target target;
        struct account account;
        struct str upstream_target;
        struct str host; /* to look up; empty: the address is known */
        struct http_header *headers;
        size_t header_count;
        struct router_authorization authorization;
        struct index_waiter waiter;
        struct net_timer retry, deadline;
        struct net_task flush; /* of the answer's head, when no body came with it */
        uint64_t timeout_ms;
        unsigned attempts;
        uint64_t received;                  /* bytes of the request's body */
        const struct http_header *trailers; /* of the answer; in the exchange's arena */
        size_t trailer_count;
        bool is_upgrade;
        bool is_grpc;
        bool has_body;
        bool body_ended;
        bool by_index;     /* the address came from there */
        bool may_have_run; /* a connection took the request */
        bool repeated;     /* on a fresh connection, because a kept one had been closed */
};

struct upgraded {
        struct tunnel tunnel;
        struct proxy *proxy;
        struct account account;
        struct arena arena;
};

/* ---- the end ---- */

/* Never NULL, and no longer than anybody wants to read. */
static struct str shown(struct str text)
{
        return text.data ? str_slice(text, 0, MIN(text.length, (size_t)SHOWN_MAX)) : STR("");
}

static void record(struct proxy *proxy, const struct account *a, unsigned status, uint64_t took_ns)
{
        uint64_t now = clock_realtime_ns();
        const struct trace_attribute attributes[] = {
                { STR("http.request.method"), shown(a->method) },
                { STR("http.response.status_code"), .number = status },
                { STR("url.path"), shown(a->path) },
                { STR("client.address"), str_from(a->client_ip) },
                { STR("sandbox.id"), shown(a->id) },
                { STR("sandbox.namespace"), shown(a->name_space) },
        };
        const struct trace_span span = {
                .context = a->trace.context,
                .parent = a->trace.parent,
                .name = shown(a->method),
                .kind = TRACE_SERVER,
                .start_ns = now - MIN(took_ns, now),
                .end_ns = now,
                .attributes = attributes,
                .attribute_count = ARRAY_SIZE(attributes),
                .failed = status >= 500,
        };

        tracer_record(proxy->options.tracer, &span);
}

static void settle(struct proxy *proxy, const struct account *a, unsigned status, uint64_t bytes)
{
        uint64_t took_ns = clock_monotonic_ns() - a->begun_ns;

        router_metrics_request(proxy->options.metrics, a->method, status, a->name_space,
                               (double)took_ns / (double)NS_PER_SECOND);
        access_log_add(&proxy->log, a, status, took_ns, bytes);
        if (proxy->options.tracer)
                record(proxy, a, status, took_ns);
}

/* Lets go of everything; what the client is told comes after it, and the account after that. */
static struct http_exchange *leave(struct passage *p)
{
        struct http_exchange *exchange = p->exchange;

        p->exchange = NULL;
        if (p->call)
                http_call_cancel(p->call);
        p->call = NULL;
        router_authorization_cancel(&p->authorization);
        index_waiter_cancel(&p->waiter);
        net_timer_stop(&p->retry);
        net_timer_stop(&p->deadline);
        net_task_cancel(&p->flush);
        p->proxy->inflight--;
        metric_set(p->proxy->options.metrics->inflight, p->proxy->inflight);
        return exchange;
}

/* The same for an answer of which all was sent, or will never be. */
static struct http_exchange *finish(struct passage *p, unsigned status)
{
        struct http_exchange *exchange = leave(p);

        settle(p->proxy, &p->account, status, exchange->sent);
        return exchange;
}

int proxy_append_detail(struct buffer *out, struct str detail)
{
        return buffer_printf(out, "{\"detail\":\"%.*s\"}\n", STR_FORMAT(detail));
}

/* What gRPC's clients understand: 200, and what went wrong after it. */
static void respond_grpc(struct proxy *proxy, const struct account *account,
                         struct http_exchange *exchange, unsigned status, const char *detail,
                         struct str id)
{
        const struct http_header type = { STR("Content-Type"), STR("application/grpc") };
        struct http_header trailers[] = {
                { STR("grpc-status"),
                  arena_printf(exchange->arena, "%u", forward_grpc_status(status)) },
                { STR("grpc-message"),
                  arena_printf(exchange->arena, "%s%.*s", detail, STR_FORMAT(id)) },
        };

        http_exchange_begin(exchange, 200, &type, 1, HTTP_LENGTH_UNKNOWN);
        settle(proxy, account, status, 0);
        http_exchange_end(exchange, trailers, ARRAY_SIZE(trailers));
}

/* The end frees the exchange, and with it the account of a passage. */
static void respond_detail(struct proxy *proxy, const struct account *account,
                           struct http_exchange *exchange, unsigned status, const char *detail,
                           struct str id)
{
        if (forward_is_grpc(&exchange->request)) {
                respond_grpc(proxy, account, exchange, status, detail, id);
                return;
        }
        struct http_header headers[2] = { { STR("Content-Type"), STR("application/json") } };
        struct str body =
                arena_printf(exchange->arena, "{\"detail\":\"%s%.*s\"}\n", detail, STR_FORMAT(id));
        size_t count = 1;

        if (status == 503)
                headers[count++] = (struct http_header){ STR("Retry-After"), STR("1") };
        if (status == 401)
                headers[count++] = (struct http_header){ STR("WWW-Authenticate"), STR("Bearer") };
        http_exchange_begin(exchange, status, headers, count, (int64_t)body.length);
        http_exchange_send(exchange, &(struct stream_piece){ body }, 1);
        settle(proxy, account, status, exchange->sent);
        http_exchange_end(exchange, NULL, 0);
}

/* Ends it with an error, or by cutting off an answer that has begun. */
static void fail_with(struct passage *p, unsigned status, const char *detail, struct str id)
{
        if (p->exchange->begun)
                http_exchange_abort(finish(p, p->exchange->status));
        else
                respond_detail(p->proxy, &p->account, leave(p), status, detail, id);
}

/* The same with the sandbox's name behind it. */
static void fail(struct passage *p, unsigned status, const char *detail)
{
        fail_with(p, status, detail, p->target.id);
}

static bool is_repeatable(const struct passage *p)
{
        static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE" };

        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                if (str_equal(p->account.method, str_from(methods[i])))
                        return true;
        return false;
}

/* `status` if it is true or harmless to repeat what it says has failed. */
static unsigned safe_status(const struct passage *p, unsigned status)
{
        return p->may_have_run && !is_repeatable(p) ? PROXY_STATUS_OUTCOME_UNKNOWN : status;
}

static void time_out(struct net_timer *timer);

/* A gRPC call may be a conversation: its time is that in which nobody says anything. */
static void note_progress(struct passage *p)
{
        if (p->is_grpc)
                net_timer_start(p->proxy->options.loop, &p->deadline, p->timeout_ms, time_out);
}

static void time_out(struct net_timer *timer)
{
        struct passage *p = container_of(timer, struct passage, deadline);
        bool held = !p->call && !net_timer_is_running(&p->retry);

        router_metrics_error(p->proxy->options.metrics, p->target.name_space, "timeout");
        fail(p, held ? 503 : safe_status(p, 504), "Timed out waiting for the backend sandbox: ");
}

/* ---- finding and connecting ---- */

static void attempt(struct passage *p);

static void retry_now(struct net_timer *timer)
{
        struct passage *p = container_of(timer, struct passage, retry);

        index_waiter_cancel(&p->waiter);
        attempt(p);
}

static void index_changed(struct index_waiter *waiter)
{
        struct passage *p = container_of(waiter, struct passage, waiter);
        struct net_address ignored;

        /* Not there yet: neither an attempt nor a reason to give up waiting. */
        if (router_index_find(p->proxy->options.index, &p->target, &ignored) == -ENOENT &&
            net_timer_is_running(&p->retry)) {
                router_index_wait(p->proxy->options.index, &p->target, &p->waiter);
                return;
        }
        net_timer_stop(&p->retry);
        attempt(p);
}

/* Until the index knows better, or `delay_ms` are over (0: however long that takes). */
static void wait(struct passage *p, uint64_t delay_ms)
{
        const struct proxy_options *options = &p->proxy->options;

        if (delay_ms > 0)
                net_timer_start(options->loop, &p->retry, delay_ms, retry_now);
        if (options->index && p->target.pod_ip.length == 0)
                router_index_wait(options->index, &p->target, &p->waiter);
}

static void dialing_failed(struct passage *p)
{
        const struct proxy_options *options = &p->proxy->options;

        router_metrics_error(options->metrics, p->target.name_space, "dial");
        if (p->by_index)
                router_metrics_invalidation(options->metrics, p->target.name_space);
        if (p->attempts > options->retries) {
                fail(p, 502, "Could not connect to the backend sandbox: ");
                return;
        }
        router_metrics_retry(options->metrics, p->target.name_space);
        wait(p, MIN(options->retry_first_ms << MIN(p->attempts - 1, 16u), options->retry_max_ms));
}

static const struct http_call_callbacks call_callbacks;

static uint32_t clamp_ms(uint64_t ms)
{
        return (uint32_t)MIN(ms, (uint64_t)UINT32_MAX);
}

static void dial(struct passage *p, const struct net_address *address, struct str host, bool fresh)
{
        const struct proxy_options *options = &p->proxy->options;
        const struct http_request_head *head = &p->exchange->request;
        struct http_request request = {
                .origin = { .address = *address,
                            .host = host,
                            .port = p->target.port,
                            .http2 = p->is_grpc },
                .method = head->method,
                .target = p->upstream_target,
                .headers = p->headers,
                .header_count = p->header_count,
                .streamed = p->has_body,
                .content_length = head->content_length,
                .upgrade = p->is_upgrade,
                .fresh = fresh || p->is_upgrade,
                .connect_timeout_ms = PROXY_CONNECT_TIMEOUT_MS,
                .head_timeout_ms = p->is_grpc ? 0 : clamp_ms(options->head_timeout_ms),
        };

        int r = http_call_start(options->client, &request, &call_callbacks, p, &p->call);
        if (r < 0) {
                router_metrics_error(options->metrics, p->target.name_space, "other");
                fail(p, 502, "Could not connect to the backend sandbox: ");
        }
}

static void attempt(struct passage *p)
{
        const struct proxy_options *options = &p->proxy->options;
        struct net_address address = p->target.pod_ip;
        int r = 0;

        p->by_index = false;
        p->host = STR_EMPTY;
        if (address.length == 0) {
                r = options->index ? router_index_find(options->index, &p->target, &address)
                                   : -ENODATA;
                p->by_index = r == 0;
        }
        switch (r) {
        case -EINPROGRESS:
                wait(p, 0);
                return;
        case -ENOENT:
                p->attempts++;
                dialing_failed(p);
                return;
        case -ENODATA:
                address.length = 0;
                p->host = arena_printf(p->exchange->arena, "%.*s.%.*s.svc.%.*s",
                                       STR_FORMAT(p->target.id), STR_FORMAT(p->target.name_space),
                                       STR_FORMAT(options->cluster_domain));
                break;
        default:
                break;
        }
        p->attempts++;
        dial(p, &address, p->host, false);
}

/* ---- the answer ---- */

static void call_connected(struct http_call *call, void *user)
{
        struct passage *p = user;

        p->may_have_run = true;
        if (p->body_ended)
                http_call_end(call);
        else if (p->has_body)
                http_exchange_resume(p->exchange);
}

static void tunnel_closed(struct tunnel *tunnel, void *user)
{
        struct upgraded *u = user;
        struct proxy *proxy = u->proxy;

        list_remove(&tunnel->link);
        proxy->tunnel_count--;
        metric_set(proxy->options.metrics->tunnels, proxy->tunnel_count);
        settle(proxy, &u->account, 101, tunnel->bytes[1]);
        arena_deinit(&u->arena);
        free(u);
        if (proxy->tunnel_count == 0 && proxy->options.on_idle)
                proxy->options.on_idle(proxy->options.user);
}

static struct upgraded *new_upgraded(const struct passage *p)
{
        struct upgraded *u = calloc(1, sizeof(*u));

        if (!u)
                return NULL;
        u->proxy = p->proxy;
        u->account = p->account;
        struct str *texts[] = { &u->account.method, &u->account.path, &u->account.user_agent,
                                &u->account.id, &u->account.name_space };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                *texts[i] = arena_str(&u->arena, *texts[i]);
                if (!texts[i]->data) {
                        arena_deinit(&u->arena);
                        free(u);
                        return NULL;
                }
        }
        return u;
}

/* Both connections become one tunnel; from here on the bytes are nobody's HTTP. */
static void switch_protocols(struct passage *p, const struct http_header *headers, size_t count)
{
        struct proxy *proxy = p->proxy;
        struct upgraded *u = new_upgraded(p);
        struct stream *client, *sandbox;
        struct str from_client, from_sandbox;

        int r = u ? http_exchange_take_over(p->exchange, 101, headers, count, &client, &from_client)
                  : -ENOMEM;
        if (r < 0) {
                if (u)
                        arena_deinit(&u->arena);
                free(u);
                fail(p, PROXY_STATUS_OUTCOME_UNKNOWN, "Could not upgrade the connection to: ");
                return;
        }
        r = http_call_take_over(p->call, &sandbox, &from_sandbox);
        assert(r == 0);
        p->call = NULL;
        index_waiter_cancel(&p->waiter);
        net_timer_stop(&p->deadline);
        p->exchange = NULL;
        proxy->inflight--;
        metric_set(proxy->options.metrics->inflight, proxy->inflight);
        list_append(&proxy->tunnels, &u->tunnel.link);
        metric_set(proxy->options.metrics->tunnels, ++proxy->tunnel_count);
        tunnel_start(&u->tunnel, client, from_client, sandbox, from_sandbox, tunnel_closed, u);
}

static void flush_head(struct net_task *task)
{
        http_exchange_flush(container_of(task, struct passage, flush)->exchange);
}

static void call_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct passage *p = user;
        struct http_header *headers;
        size_t count;

        (void)call;
        if (forward_response_headers(p->exchange->arena, head, &headers, &count) < 0) {
                fail(p, safe_status(p, 502), "Could not connect to the backend sandbox: ");
                return;
        }
        if (head->status == 101) {
                switch_protocols(p, headers, count);
                return;
        }
        int64_t length = head->content_length;
        if (p->is_grpc) {
                struct http_header *trailers =
                        arena_new(p->exchange->arena, struct http_header, GRPC_TRAILERS);
                if (trailers) {
                        p->trailer_count = forward_take_grpc_status(headers, &count, trailers);
                        p->trailers = trailers;
                }
                length = HTTP_LENGTH_UNKNOWN;
        }
        note_progress(p);
        http_exchange_begin(p->exchange, head->status, headers, count, length);
        p->flush.run = flush_head;
        net_loop_defer(p->proxy->options.loop, &p->flush);
}

static void call_body(struct http_call *call, void *user, struct str data)
{
        struct passage *p = user;

        note_progress(p);
        http_exchange_send(p->exchange, &(struct stream_piece){ data }, 1);
        if (http_exchange_is_congested(p->exchange))
                http_call_pause(call);
}

/* They are the call's, which ends before the exchange does. */
static void call_trailers(struct http_call *call, void *user, const struct http_headers *trailers)
{
        struct passage *p = user;
        struct arena *arena = p->exchange->arena;
        struct http_header *copies = arena_new(arena, struct http_header, trailers->count);

        (void)call;
        p->trailer_count = 0;
        for (size_t i = 0; copies && i < trailers->count; i++) {
                copies[i].name = arena_str(arena, trailers->items[i].name);
                copies[i].value = arena_str(arena, trailers->items[i].value);
                if (!copies[i].name.data || !copies[i].value.data)
                        return;
                p->trailers = copies;
                p->trailer_count = i + 1;
        }
}

static void call_end(struct http_call *call, void *user)
{
        struct passage *p = user;
        const struct http_header *trailers = p->trailers;
        size_t count = p->trailer_count;

        (void)call;
        p->call = NULL;
        http_exchange_end(finish(p, p->exchange->status), trailers, count);
}

static void call_drain(struct http_call *call, void *user)
{
        struct passage *p = user;

        (void)call;
        http_exchange_resume(p->exchange);
}

static void call_error(struct http_call *call, void *user, enum http_error error, int code)
{
        static const char *const reasons[] = {
                [HTTP_ERROR_DIAL] = "dial",    [HTTP_ERROR_TLS] = "tls",
                [HTTP_ERROR_CLOSED] = "eof",   [HTTP_ERROR_TIMEOUT] = "timeout",
                [HTTP_ERROR_EOF] = "eof",      [HTTP_ERROR_PROTOCOL] = "other",
                [HTTP_ERROR_MEMORY] = "other", [HTTP_ERROR_REFUSED] = "other",
        };
        struct passage *p = user;
        struct net_address address = p->target.pod_ip;
        bool reused = http_call_is_reused(call);

        p->call = NULL;
        if (error == HTTP_ERROR_DIAL) {
                log_debug("sandbox %.*s/%.*s: %s", STR_FORMAT(p->target.name_space),
                          STR_FORMAT(p->target.id), strerror(-code));
                dialing_failed(p);
                return;
        }
        /* It said so itself. What has been passed on of a body cannot be had again. */
        if (error == HTTP_ERROR_REFUSED) {
                p->may_have_run = false;
                if (p->received == 0) {
                        if (p->has_body)
                                http_exchange_pause(p->exchange);
                        dialing_failed(p);
                        return;
                }
        }
        /* A kept connection that was closed as we used it says nothing about the sandbox. */
        if (error == HTTP_ERROR_CLOSED && reused && !p->has_body && is_repeatable(p) &&
            !p->repeated &&
            (!p->by_index ||
             router_index_find(p->proxy->options.index, &p->target, &address) == 0)) {
                p->repeated = true;
                dial(p, &address, p->host, true);
                return;
        }
        router_metrics_error(p->proxy->options.metrics, p->target.name_space, reasons[error]);
        if (error == HTTP_ERROR_TIMEOUT)
                fail(p, safe_status(p, 504), "Timed out waiting for the backend sandbox: ");
        else
                fail(p, safe_status(p, 502), "Could not connect to the backend sandbox: ");
}

static const struct http_call_callbacks call_callbacks = {
        .on_connected = call_connected,
        .on_head = call_head,
        .on_body = call_body,
        .on_trailers = call_trailers,
        .on_end = call_end,
        .on_drain = call_drain,
        .on_error = call_error,
};

/* ---- the request ---- */

static void exchange_body(struct http_exchange *exchange, void *user, struct str data)
{
        struct passage *p = user;
        uint64_t limit = p->proxy->options.max_body;

        p->received += data.length;
        if (limit > 0 && p->received > limit) {
                fail_with(p, 413, "Request body too large.", STR_EMPTY);
                return;
        }
        note_progress(p);
        http_call_send(p->call, &(struct stream_piece){ data }, 1);
        if (http_call_is_congested(p->call))
                http_exchange_pause(exchange);
}

static void exchange_body_end(struct http_exchange *exchange, void *user)
{
        struct passage *p = user;

        (void)exchange;
        p->body_ended = true;
        if (p->has_body && p->call)
                http_call_end(p->call);
}

static void exchange_drain(struct http_exchange *exchange, void *user)
{
        struct passage *p = user;

        (void)exchange;
        if (p->call)
                http_call_resume(p->call);
}

/* 499, as nginx calls it: nobody is there to hear of an answer. */
static void exchange_abort(struct http_exchange *exchange, void *user, int error)
{
        struct passage *p = user;

        (void)exchange;
        (void)error;
        if (p->exchange)
                (void)finish(p, exchange->begun ? exchange->status : 499);
}

static const struct http_exchange_callbacks exchange_callbacks = {
        .on_body = exchange_body,
        .on_body_end = exchange_body_end,
        .on_drain = exchange_drain,
        .on_abort = exchange_abort,
};

static void account_open(struct proxy *proxy, struct account *a,
                         const struct http_exchange *exchange)
{
        a->method = exchange->request.method;
        a->path = exchange->request.path;
        a->user_agent = http_headers_get(&exchange->request.headers, STR("user-agent"));
        a->begun_ns = clock_monotonic_ns();
        net_address_format_ip(&stream_peer(exchange->connection)->address, a->client_ip);
        trace_begin(&exchange->request.headers, proxy->options.tracer, &proxy->traces, &a->trace);
}

/* Answers what never gets as far as a sandbox. */
static void refuse(struct proxy *proxy, struct http_exchange *exchange, unsigned status,
                   const char *detail)
{
        struct account account = {};

        account_open(proxy, &account, exchange);
        respond_detail(proxy, &account, exchange, status, detail, STR_EMPTY);
}

/* ---- whether it may ---- */

static void take_verdict(struct passage *p, enum verdict verdict)
{
        struct router_metrics *metrics = p->proxy->options.metrics;

        switch (verdict) {
        case VERDICT_ALLOWED:
                router_metrics_decision(metrics, p->target.name_space, "allow");
                attempt(p);
                return;
        case VERDICT_UNAUTHENTICATED:
                router_metrics_decision(metrics, p->target.name_space, "deny");
                fail_with(p, 401, "unauthenticated", STR_EMPTY);
                return;
        case VERDICT_FORBIDDEN:
                router_metrics_decision(metrics, p->target.name_space, "deny");
                fail_with(p, 403, "forbidden", STR_EMPTY);
                return;
        case VERDICT_UNKNOWN:
                router_metrics_decision(metrics, p->target.name_space, "error");
                fail_with(p, 503, "Tokens cannot be reviewed now.", STR_EMPTY);
                return;
        case VERDICT_PENDING:
                return;
        }
}

static void decided(struct router_authorization *authorization, enum verdict verdict)
{
        take_verdict(container_of(authorization, struct passage, authorization), verdict);
}

static void authorize(struct passage *p)
{
        struct router_authorizer *authorizer = p->proxy->options.authorizer;

        p->authorization.decided = decided;
        take_verdict(p, authorizer
                                ? router_authorizer_ask(authorizer, &p->exchange->request.headers,
                                                        &p->target, &p->authorization)
                                : VERDICT_ALLOWED);
}

void proxy_handle(struct proxy *proxy, struct http_exchange *exchange)
{
        const struct proxy_options *options = &proxy->options;
        const struct http_request_head *head = &exchange->request;
        struct router_target target;

        if (str_equal(head->path, STR("/healthz")) && str_equal(head->method, STR("GET"))) {
                http_exchange_respond_text(exchange, 200, "application/json",
                                           STR("{\"status\":\"ok\"}"));
                return;
        }
        const char *detail = router_target_read(&head->headers, options->allow_loopback, &target);
        if (detail) {
                refuse(proxy, exchange, 400, detail);
                return;
        }
        if (str_equal(head->method, STR("CONNECT"))) {
                refuse(proxy, exchange, 405, "Method not allowed.");
                return;
        }
        if (options->max_body > 0 && head->content_length > 0 &&
            (uint64_t)head->content_length > options->max_body) {
                refuse(proxy, exchange, 413, "Request body too large.");
                return;
        }

        struct passage *p = arena_new(exchange->arena, struct passage, 1);
        if (!p) {
                refuse(proxy, exchange, 503, "Out of memory.");
                return;
        }
        p->proxy = proxy;
        p->exchange = exchange;
        p->target = target;
        p->waiter.wake = index_changed;
        p->has_body = head->content_length != 0;
        p->is_upgrade = head->is_upgrade && !p->has_body;
        p->is_grpc = forward_is_grpc(head);
        account_open(proxy, &p->account, exchange);
        p->account.id = target.id;
        p->account.name_space = target.name_space;
        p->upstream_target = forward_target(exchange->arena, head);
        if (!p->upstream_target.data ||
            forward_request_headers(exchange, &p->account.trace, str_from(p->account.client_ip),
                                    p->is_upgrade, p->is_grpc, &p->headers, &p->header_count) < 0) {
                refuse(proxy, exchange, 503, "Out of memory.");
                return;
        }
        metric_set(options->metrics->inflight, ++proxy->inflight);
        http_exchange_start(exchange, &exchange_callbacks, p);
        if (p->has_body)
                http_exchange_pause(exchange);
        p->timeout_ms = target.timeout_ms ? MIN(target.timeout_ms, options->timeout_ms)
                                          : options->timeout_ms;
        net_timer_start(options->loop, &p->deadline, p->timeout_ms, time_out);
        authorize(p);
}

/* ---- the proxy ---- */

int proxy_new(const struct proxy_options *options, struct proxy **ret_proxy)
{
        struct proxy *proxy = calloc(1, sizeof(*proxy));

        if (!proxy)
                return -ENOMEM;
        proxy->options = *options;
        if (proxy->options.timeout_ms == 0)
                proxy->options.timeout_ms = PROXY_TIMEOUT_MS;
        if (proxy->options.head_timeout_ms == 0)
                proxy->options.head_timeout_ms = proxy->options.timeout_ms;
        if (proxy->options.retry_first_ms == 0)
                proxy->options.retry_first_ms = PROXY_RETRY_FIRST_MS;
        if (proxy->options.retry_max_ms == 0)
                proxy->options.retry_max_ms = PROXY_RETRY_MAX_MS;
        list_init(&proxy->tunnels);
        access_log_init(&proxy->log, options->loop, options->access_log);
        *ret_proxy = proxy;
        return 0;
}

unsigned proxy_tunnels(const struct proxy *proxy)
{
        return proxy->tunnel_count;
}

void proxy_close_tunnels(struct proxy *proxy)
{
        while (!list_is_empty(&proxy->tunnels)) {
                struct tunnel *tunnel = list_entry(proxy->tunnels.next, struct tunnel, link);
                tunnel_close(tunnel);
                tunnel_closed(tunnel, tunnel->user);
        }
}

void proxy_free(struct proxy *proxy)
{
        if (!proxy)
                return;
        proxy->options.on_idle = NULL;
        proxy_close_tunnels(proxy);
        access_log_deinit(&proxy->log);
        free(proxy);
}
