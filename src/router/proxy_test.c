// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "net/http2.h"
#include "net/test_call.h"
#include "net/test_end.h"
#include "net/test_frames.h"
#include "net/websocket.h"
#include "router/proxy.h"
#include "router/router.h"

enum { LARGE = 8 * 1024 * 1024 };

enum { FIELDS_MAX = 12 };

struct fixture {
        struct test_loop t;
        struct http_server *backend, *front;
        struct listener *backend_listener, *front_listener;
        struct http_client *backend_client, *client;
        struct router_index *index;
        struct router_metrics metrics;
        struct proxy *proxy;
        uint16_t backend_port;

        /* The sandbox. */
        char seen[8192]; /* the last request's line and fields */
        struct buffer got;
        struct http_exchange *held;
        unsigned requests, aborts;
        struct test_end taken; /* by an upgrade; echoes */

        /* What it is asked, and what the client was told. */
        struct http_request request;
        struct http_header fields[FIELDS_MAX];
        char port[8];
        struct result result;
        char retry_after[8], content_type[64];
        struct test_end tunnel;
};

/* ---- the sandbox ---- */

static void backend_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct fixture *f = user;
        struct str path = exchange->request.path;

        buffer_clear(&f->got);
        assert_int_equal(buffer_append_str(&f->got, body), 0);
        if (str_equal(path, STR("/held"))) {
                f->held = exchange;
        } else if (str_equal(path, STR("/cut"))) {
                http_exchange_abort(exchange);
        } else if (str_equal(path, STR("/cut-inside"))) {
                http_exchange_begin(exchange, 200, NULL, 0, 100);
                http_exchange_send(exchange, &(struct stream_piece){ STR("half") }, 1);
                http_exchange_abort(exchange);
        } else if (str_equal(path, STR("/large"))) {
                char *data = calloc(1, LARGE);
                http_exchange_respond(exchange, 200, NULL, 0,
                                      (struct stream_piece){ { data, LARGE }, free, data });
        } else {
                const struct http_header fields[] = { { STR("X-From"), STR("sandbox") },
                                                      { STR("Keep-Alive"), STR("timeout=5") } };
                http_exchange_respond(exchange, 201, fields, 2,
                                      (struct stream_piece){ STR("done") });
        }
}

static void backend_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fixture *f = user;

        (void)exchange;
        (void)error;
        f->aborts++;
        f->held = NULL;
}

static const struct http_exchange_callbacks backend_callbacks = { .on_whole = backend_whole,
                                                                  .on_abort = backend_abort };

static void backend_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;
        const struct http_request_head *head = &exchange->request;

        f->requests++;
        snprintf(f->seen, sizeof(f->seen), "%.*s %.*s\n", STR_FORMAT(head->method),
                 STR_FORMAT(head->target));
        test_note_fields(&head->headers, f->seen, sizeof(f->seen));
        if (head->is_upgrade) {
                const struct http_header upgrade = { STR("Upgrade"), STR("echo") };
                struct stream *stream;
                struct str leftover;
                assert_int_equal(http_exchange_upgrade(exchange, &upgrade, 1, &stream, &leftover),
                                 0);
                stream_write_str(stream, STR("welcome"));
                f->taken.on_got = test_end_echo;
                test_end_start(&f->taken, stream);
                return;
        }
        http_exchange_collect(exchange, 2 * LARGE, &backend_callbacks, f);
}

/* ---- the router ---- */

static void front_request(void *user, struct http_exchange *exchange)
{
        proxy_handle(((struct fixture *)user)->proxy, exchange);
}

static void open_backend(struct fixture *f)
{
        const struct http_server_options options = { .on_request = backend_request, .user = f };
        struct net_address address;

        assert_int_equal(http_server_new(f->t.net, &options, &f->backend), 0);
        assert_int_equal(net_address_from_ip(STR("127.0.0.1"), f->backend_port, &address), 0);
        assert_int_equal(
                http_server_listen(f->backend, &address, NULL, 0, NULL, &f->backend_listener), 0);
        f->backend_port = net_address_port(listener_address(f->backend_listener));
}

static void close_backend(struct fixture *f)
{
        http_server_free(f->backend);
        f->backend = NULL;
}

static void set_up(struct fixture *f, struct proxy_options options)
{
        const struct http_server_options front = { .on_request = front_request,
                                                   .user = f,
                                                   .http2 = &http2_protocol };
        const struct http_client_options client = { .http2 = &http2_client_protocol };
        struct net_address address;

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        open_backend(f);
        assert_int_equal(router_index_new(&f->index), 0);
        router_index_set_complete(f->index, true, STR_EMPTY);
        assert_int_equal(router_metrics_init(&f->metrics), 0);
        assert_int_equal(http_client_new(f->t.net, &client, &f->backend_client), 0);
        assert_int_equal(http_client_new(f->t.net, &client, &f->client), 0);
        options.loop = f->t.net;
        options.client = f->backend_client;
        options.index = f->index;
        options.metrics = &f->metrics;
        options.cluster_domain = STR("cluster.invalid");
        assert_int_equal(proxy_new(&options, &f->proxy), 0);
        assert_int_equal(http_server_new(f->t.net, &front, &f->front), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(f->front, &address, NULL, 0, NULL, &f->front_listener),
                         0);
}

static void tear_down(struct fixture *f)
{
        http_client_free(f->client);
        http_server_free(f->front);
        proxy_free(f->proxy);
        http_client_free(f->backend_client);
        http_server_free(f->backend);
        test_end_deinit(&f->taken);
        test_end_deinit(&f->tunnel);
        router_index_free(f->index);
        router_metrics_deinit(&f->metrics);
        buffer_deinit(&f->got);
        buffer_deinit(&f->result.body);
        test_loop_tear_down(&f->t);
}
#define _cleanup_fixture_ _cleanup_(tear_down)

static void put_sandbox(struct fixture *f)
{
        const struct index_sandbox sandbox = { .name_space = STR("ns"),
                                               .name = STR("box"),
                                               .uid = STR("uid-box"),
                                               .claim = STR("claim"),
                                               .running = true };

        assert_int_equal(router_index_put_sandbox(f->index, &sandbox), 0);
}

static void put_pod(struct fixture *f)
{
        const struct index_pod pod = { STR("ns"), STR("box"), STR("uid-box"), STR("127.0.0.1"),
                                       true };

        assert_int_equal(router_index_put_pod(f->index, &pod), 0);
}

/* With the sandbox "box" of the claim "claim" in "ns", and its Pod. */
static void set_up_ready(struct fixture *f, struct proxy_options options)
{
        set_up(f, options);
        put_sandbox(f);
        put_pod(f);
}

/* ---- the client ---- */

static void answer_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct result *result = user;
        struct fixture *f = result->f;
        struct stream *stream;
        struct str leftover;

        call_head(call, user, head);
        snprintf(f->retry_after, sizeof(f->retry_after), "%.*s",
                 STR_FORMAT(http_headers_get(&head->headers, STR("retry-after"))));
        snprintf(f->content_type, sizeof(f->content_type), "%.*s",
                 STR_FORMAT(http_headers_get(&head->headers, STR("content-type"))));
        assert_int_equal(http_headers_count(&head->headers, STR("keep-alive")), 0);
        if (head->status != 101)
                return;
        assert_int_equal(http_call_take_over(call, &stream, &leftover), 0);
        result->call = NULL;
        assert_int_equal(buffer_append_str(&f->tunnel.got, leftover), 0);
        test_end_start(&f->tunnel, stream);
}

static const struct http_call_callbacks call_callbacks = { .on_connected = call_connected,
                                                           .on_head = answer_head,
                                                           .on_body = call_body,
                                                           .on_end = call_end,
                                                           .on_drain = call_drain,
                                                           .on_error = call_error };

static void add_field(struct fixture *f, const char *name, const char *value)
{
        assert_true(f->request.header_count < FIELDS_MAX);
        f->fields[f->request.header_count++] =
                (struct http_header){ str_from(name), str_from(value) };
}

/* Prepares a request to the sandbox "box" in "ns". */
static void ask(struct fixture *f, const char *method, const char *target)
{
        f->request = (struct http_request){ .origin.address = *listener_address(f->front_listener),
                                            .method = str_from(method),
                                            .target = str_from(target),
                                            .headers = f->fields };
        snprintf(f->port, sizeof(f->port), "%u", f->backend_port);
        add_field(f, "X-Sandbox-ID", "box");
        add_field(f, "X-Sandbox-Namespace", "ns");
        add_field(f, "X-Sandbox-Port", f->port);
}

static void start(struct fixture *f)
{
        struct result *result = &f->result;

        buffer_clear(&result->body);
        *result = (struct result){ .f = f, .body = result->body };
        assert_int_equal(
                http_call_start(f->client, &f->request, &call_callbacks, result, &result->call), 0);
}

static void wait_for_end(struct fixture *f)
{
        test_run_until(&f->t, f->result.ends || f->result.errors);
}

static void run(struct fixture *f)
{
        start(f);
        wait_for_end(f);
}

static bool body_is(const struct fixture *f, const char *text)
{
        return str_equal(buffer_str(&f->result.body), str_from(text));
}

/* ---- tests ---- */

static void requests_pass_unchanged_but_for_what_must(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 1 });
        ask(&f, "POST", "/a%2Fb//..%2f?q=%20&r");
        add_field(&f, "Authorization", "Bearer secret");
        add_field(&f, "Proxy-Authorization", "x");
        add_field(&f, "TE", "trailers");
        add_field(&f, "Origin", "http://o");
        add_field(&f, "X-Forwarded-For", "1.2.3.4");
        add_field(&f, "X-Other", "kept");
        f.request.host = STR("router.example");
        f.request.body = STR("payload");
        run(&f);
        assert_int_equal(f.result.status, 201);
        assert_true(body_is(&f, "done"));
        assert_true(str_equal(buffer_str(&f.got), STR("payload")));
        assert_true(str_starts_with(str_from(f.seen), STR("POST /a%2Fb//..%2f?q=%20&r\n")));
        char host[64];
        snprintf(host, sizeof(host), "\nHost: 127.0.0.1:%u\n", f.backend_port);
        assert_non_null(strstr(f.seen, host));
        assert_non_null(strstr(f.seen, "\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\n"));
        assert_non_null(strstr(f.seen, "\nX-Forwarded-Host: router.example\n"));
        assert_non_null(strstr(f.seen, "\nX-Forwarded-Proto: http\n"));
        assert_non_null(strstr(f.seen, "\nTraceparent: 00-"));
        assert_non_null(strstr(f.seen, "\nX-Other: kept\n"));
        assert_non_null(strstr(f.seen, "\nOrigin: http://o\n"));
        assert_non_null(strstr(f.seen, "\nX-Sandbox-ID: box\n"));
        assert_non_null(strstr(f.seen, "\nContent-Length: 7\n"));
        assert_null(strstr(f.seen, "Authorization"));
        assert_null(strstr(f.seen, "TE:"));
}

static void all_ways_of_naming_a_sandbox_work(void **state)
{
        static const char *const ways[][2] = {
                { "X-Sandbox-ID", "box" },
                { "X-Sandbox-ID", "claim" },
                { "X-Sandbox-UID", "uid-box" },
                { "X-Sandbox-Pod-IP", "127.0.0.1" },
        };
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .allow_loopback = true });
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                ask(&f, "GET", "/");
                if (i < 2)
                        f.fields[0].value = str_from(ways[i][1]);
                else
                        add_field(&f, ways[i][0], ways[i][1]);
                if (i >= 2)
                        f.fields[0].value = STR("whatever");
                run(&f);
                assert_int_equal(f.result.status, 201);
        }
        ask(&f, "GET", "/");
        add_field(&f, "X-Sandbox-UID", "uid-of-its-predecessor");
        run(&f);
        assert_int_equal(f.result.status, 502);
}

static void refusals_have_their_exact_bodies(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 0, .max_body = 10 });
        ask(&f, "GET", "/healthz");
        f.request.header_count = 0;
        run(&f);
        assert_int_equal(f.result.status, 200);
        assert_true(body_is(&f, "{\"status\":\"ok\"}"));

        ask(&f, "GET", "/");
        f.request.header_count = 0;
        run(&f);
        assert_int_equal(f.result.status, 400);
        assert_string_equal(f.content_type, "application/json");
        assert_true(body_is(&f, "{\"detail\":\"X-Sandbox-ID header is required.\"}\n"));

        ask(&f, "GET", "/");
        f.fields[0].value = STR("nobody");
        run(&f);
        assert_int_equal(f.result.status, 502);
        assert_true(
                body_is(&f, "{\"detail\":\"Could not connect to the backend sandbox: nobody\"}\n"));

        ask(&f, "POST", "/");
        f.request.body = STR("01234567890");
        run(&f);
        assert_int_equal(f.result.status, 413);
        assert_int_equal(f.requests, 0);
        f.request.body = STR_EMPTY;
        f.request.streamed = true;
        f.request.content_length = HTTP_LENGTH_UNKNOWN;
        start(&f);
        http_call_send(f.result.call, &(struct stream_piece){ STR("01234567890") }, 1);
        wait_for_end(&f);
        assert_int_equal(f.result.status, 413);
}

static void a_request_waits_for_a_sandbox_that_is_not_known_yet(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, (struct proxy_options){ .retries = 3 });
        ask(&f, "POST", "/execute");
        f.fields[0].value = STR("claim");
        f.request.body = STR("command");
        start(&f);
        test_run_until(&f.t, router_index_counters(f.index).waiters == 1);
        /* Each change is felt at once: the first retry would come after 200 ms only. */
        uint64_t before = clock_monotonic_ns();
        put_sandbox(&f);
        test_run_turns(&f.t, 5);
        assert_int_equal(f.requests, 0);
        assert_int_equal(router_index_counters(f.index).waiters, 1);
        put_pod(&f);
        wait_for_end(&f);
        assert_true(clock_monotonic_ns() - before < 150 * NS_PER_MS);
        assert_int_equal(f.result.status, 201);
        assert_true(str_equal(buffer_str(&f.got), STR("command")));
        assert_int_equal(router_index_counters(f.index).waiters, 0);
}

static void a_sandbox_that_does_not_become_ready_is_given_up(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, (struct proxy_options){ .retries = 1 });
        put_sandbox(&f);
        ask(&f, "POST", "/execute");
        add_field(&f, "X-Sandbox-Timeout", "0.05");
        run(&f);
        assert_int_equal(f.result.status, 503);
        assert_string_equal(f.retry_after, "1");
        assert_true(
                body_is(&f, "{\"detail\":\"Timed out waiting for the backend sandbox: box\"}\n"));
        assert_int_equal(router_index_counters(f.index).waiters, 0);
}

static void connecting_is_tried_again_and_the_body_kept(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 3 });
        close_backend(&f);
        ask(&f, "POST", "/");
        f.request.body = STR("kept");
        start(&f);
        const struct str name_space = STR("ns");
        test_run_until(&f.t, metric_value(metric_with(f.metrics.retries, &name_space)) > 0);
        assert_true(metric_value(metric_with(f.metrics.invalidations, &name_space)) > 0);
        open_backend(&f);
        wait_for_end(&f);
        assert_int_equal(f.result.status, 201);
        assert_true(str_equal(buffer_str(&f.got), STR("kept")));
        assert_int_equal(f.requests, 1);

        /* 200 + 400 + 800 ms, then it is over. */
        close_backend(&f);
        http_client_forget(f.backend_client, NULL);
        uint64_t before = clock_monotonic_ns();
        run(&f);
        uint64_t took_ms = (clock_monotonic_ns() - before) / NS_PER_MS;
        assert_int_equal(f.result.status, 502);
        assert_true(took_ms >= 1350 && took_ms < 3000);
}

static void what_may_have_run_is_never_answered_repeatably(void **state)
{
        static const struct {
                const char *method, *path;
                unsigned status;
        } cases[] = {
                { "GET", "/cut", 502 },   { "POST", "/cut", PROXY_STATUS_OUTCOME_UNKNOWN },
                { "PUT", "/cut", 502 },   { "PATCH", "/cut", PROXY_STATUS_OUTCOME_UNKNOWN },
                { "GET", "/held", 504 },  { "POST", "/held", PROXY_STATUS_OUTCOME_UNKNOWN },
                { "HEAD", "/held", 504 },
        };
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 1 });
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                ask(&f, cases[i].method, cases[i].path);
                add_field(&f, "X-Sandbox-Timeout", "0.1");
                f.requests = 0;
                run(&f);
                if (f.result.status != cases[i].status)
                        fail_msg("%s %s: %u", cases[i].method, cases[i].path, f.result.status);
                assert_int_equal(f.requests, 1);
        }
        /* An answer that breaks off breaks off for the client too. */
        ask(&f, "GET", "/cut-inside");
        run(&f);
        assert_int_equal(f.result.errors, 1);
}

static void bodies_stream_both_ways(void **state)
{
        _cleanup_fixture_ struct fixture f;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 1 });
        ask(&f, "PUT", "/");
        f.request.streamed = true;
        f.request.content_length = HTTP_LENGTH_UNKNOWN;
        start(&f);
        http_call_send(f.result.call, &(struct stream_piece){ { data, LARGE } }, 1);
        http_call_end(f.result.call);
        test_run_until(&f.t, f.result.ends);
        assert_int_equal(f.got.length, LARGE);

        /* A client that does not read stops the sandbox. */
        ask(&f, "GET", "/large");
        start(&f);
        http_call_pause(f.result.call);
        test_run_until(&f.t, f.result.status == 200);
        test_run_turns(&f.t, 50);
        assert_true(f.result.body.length < LARGE / 2);
        http_call_resume(f.result.call);
        test_run_until(&f.t, f.result.ends);
        assert_int_equal(f.result.body.length, LARGE);
        buffer_deinit(&f.result.body);
        free(data);
}

/* A sandbox that refuses the first stream, once that has so many frames of DATA, and takes the
 * next.
 */
struct refusing {
        struct test_peers peers;
        unsigned data; /* frames that it waits for */
        bool refused, answered;
};

static void refuse_first(struct test_end *end, struct str data _unused_)
{
        struct refusing *r = end->user;
        _cleanup_buffer_ struct buffer out = {};

        if (!r->refused && frames_of(&end->got, HEADERS) == 1 &&
            frames_of(&end->got, DATA) == r->data) {
                r->refused = true;
                frame(&out, SETTINGS, 0, 0, STR_EMPTY);
                frame(&out, SETTINGS, ACK, 0, STR_EMPTY);
                frame(&out, RST, 0, 1, BYTES("\0\0\0\7")); /* REFUSED_STREAM */
        }
        if (!r->answered && frames_of(&end->got, HEADERS) == 2 &&
            frames_of(&end->got, DATA) == r->data + 1) {
                r->answered = true;
                frame(&out, HEADERS, END_HEADERS | END_STREAM, 3, STATUS_200);
        }
        stream_write_str(end->stream, buffer_str(&out));
}

static void a_refused_grpc_call_is_sent_again_with_its_body(void **state)
{
        static const struct {
                const char *body;
                unsigned data; /* frames of it before the refusal */
        } cases[] = { { "body", 0 }, { "", 1 } };
        const struct str name_space = STR("ns");

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_fixture_ struct fixture f;
                struct refusing refusing = { .data = cases[i].data };

                set_up_ready(&f, (struct proxy_options){ .retries = 1 });
                test_peers_listen(&refusing.peers, &f.t, refuse_first, &refusing);
                ask(&f, "POST", "/");
                snprintf(f.port, sizeof(f.port), "%u",
                         net_address_port(listener_address(refusing.peers.listener)));
                f.fields[2].value = str_from(f.port);
                add_field(&f, "Content-Type", "application/grpc");
                f.request.origin.http2 = true;
                f.request.streamed = true;
                f.request.content_length = HTTP_LENGTH_UNKNOWN;
                start(&f);
                test_run_until(&f.t, frames_of(&refusing.peers.ends[0].got, HEADERS) == 1);
                if (cases[i].data > 0)
                        http_call_end(f.result.call);
                test_run_until(&f.t, metric_value(metric_with(f.metrics.retries, &name_space)) > 0);
                if (cases[i].data == 0) {
                        struct stream_piece piece = { str_from(cases[i].body) };
                        http_call_send(f.result.call, &piece, 1);
                        http_call_end(f.result.call);
                        test_run_turns(&f.t, 5);
                }
                wait_for_end(&f);
                assert_int_equal(f.result.status, 200);
                assert_true(refusing.answered);
                test_peers_close(&refusing.peers);
        }
}

static void events_arrive_as_they_are_sent(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 1 });
        ask(&f, "GET", "/held");
        start(&f);
        test_run_until(&f.t, f.held != NULL);
        http_exchange_begin(f.held, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(f.held);
        test_run_until(&f.t, f.result.status == 200);
        http_exchange_send(f.held, &(struct stream_piece){ STR("one") }, 1);
        test_run_until(&f.t, body_is(&f, "one"));
        http_exchange_send(f.held, &(struct stream_piece){ STR("two") }, 1);
        test_run_until(&f.t, body_is(&f, "onetwo"));
        http_exchange_end(f.held, NULL, 0);
        test_run_until(&f.t, f.result.ends);

        /* A client that goes away takes its request with it. */
        start(&f);
        f.held = NULL;
        test_run_until(&f.t, f.held != NULL);
        http_call_cancel(f.result.call);
        test_run_until(&f.t, f.aborts == 1);
}

static void upgrades_become_tunnels(void **state)
{
        _cleanup_fixture_ struct fixture f;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .timeout_ms = 50 });
        ask(&f, "GET", "/ws?x");
        add_field(&f, "Upgrade", "echo");
        add_field(&f, "Origin", "http://o");
        f.request.upgrade = true;
        start(&f);
        test_run_until(&f.t, f.tunnel.stream);
        assert_non_null(strstr(f.seen, "\nUpgrade: echo\n"));
        assert_null(strstr(f.seen, "Origin"));
        test_run_until(&f.t, str_equal(buffer_str(&f.tunnel.got), STR("welcome")));
        assert_int_equal(proxy_tunnels(f.proxy), 1);

        /* It outlives the timeout of requests. */
        uint64_t until = clock_monotonic_ns() + 80 * NS_PER_MS;
        while (clock_monotonic_ns() < until)
                uv_run(&f.t.uv, UV_RUN_NOWAIT);
        stream_write_str(f.tunnel.stream, STR("ping"));
        test_run_until(&f.t, str_equal(buffer_str(&f.tunnel.got), STR("welcomeping")));
        stream_write_str(f.tunnel.stream, (struct str){ data, LARGE });
        test_run_until(&f.t, f.tunnel.got.length == LARGE + 11);

        /* Each side ends for itself. */
        stream_shutdown(f.tunnel.stream);
        test_run_until(&f.t, f.taken.ended);
        assert_int_equal(proxy_tunnels(f.proxy), 1);
        stream_shutdown(f.taken.stream);
        test_run_until(&f.t, proxy_tunnels(f.proxy) == 0);
        free(data);
}

static void dns_is_asked_without_an_index(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, (struct proxy_options){ .retries = 0 });
        router_index_set_complete(f.index, false, STR_EMPTY);
        ask(&f, "GET", "/");
        run(&f);
        assert_int_equal(f.result.status, 502);
}

static void figures_are_counted(void **state)
{
        _cleanup_fixture_ struct fixture f;
        _cleanup_buffer_ struct buffer page = {};

        (void)state;
        set_up_ready(&f, (struct proxy_options){ .retries = 1 });
        ask(&f, "GET", "/");
        run(&f);
        ask(&f, "INVENTED", "/");
        run(&f);
        assert_int_equal(metrics_render(f.metrics.metrics, &page), 0);
        assert_int_equal(buffer_append_char(&page, '\0'), 0);
        assert_non_null(strstr(page.data,
                               "sandbox_router_requests_total{method=\"GET\",code=\"201\","
                               "sandbox_namespace=\"ns\"} 1\n"));
        assert_non_null(strstr(page.data, "method=\"other\""));
        assert_non_null(strstr(page.data, "sandbox_router_inflight_requests 0\n"));
        assert_non_null(strstr(page.data, "sandbox_router_request_duration_seconds_bucket"));
}

/* ---- the whole process ---- */

static pid_t spawn_router(int listener, int ready)
{
        char socket_text[16], ready_text[16];
        char *argv[] = { "router",
                         "--socket",
                         socket_text,
                         "--ready",
                         ready_text,
                         "--cache-enabled=false",
                         "--access-log=false",
                         NULL };
        struct error error = {};
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        snprintf(socket_text, sizeof(socket_text), "%d", listener);
        snprintf(ready_text, sizeof(ready_text), "%d", ready);
        int r = router_main(7, argv, &error);
        if (r < 0)
                fprintf(stderr, "%s\n", error.message);
        _exit(r < 0);
}

static void the_process_serves_and_ends(void **state)
{
        struct net_address address;
        socklen_t length = sizeof(address.un);
        char byte, answer[512] = {};
        int ready[2], status;

        (void)state;
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        address = test_loopback();
        assert_int_equal(bind(listener, &address.generic, address.length), 0);
        assert_int_equal(listen(listener, 16), 0);
        assert_int_equal(getsockname(listener, &address.generic, &length), 0);
        assert_int_equal(pipe(ready), 0);
        pid_t pid = spawn_router(listener, ready[1]);
        assert_true(pid > 0);
        fd_close(ready[1]);
        fd_close(listener);
        assert_int_equal(read(ready[0], &byte, 1), 1);

        int client = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(client, &address.generic, length), 0);
        static const char request[] = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_int_equal(fd_write_full(client, request, sizeof(request) - 1), 0);
        assert_true(read(client, answer, sizeof(answer) - 1) > 0);
        assert_non_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        fd_close(client);
        fd_close(ready[0]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_pass_unchanged_but_for_what_must),
                cmocka_unit_test(all_ways_of_naming_a_sandbox_work),
                cmocka_unit_test(refusals_have_their_exact_bodies),
                cmocka_unit_test(a_request_waits_for_a_sandbox_that_is_not_known_yet),
                cmocka_unit_test(a_sandbox_that_does_not_become_ready_is_given_up),
                cmocka_unit_test(connecting_is_tried_again_and_the_body_kept),
                cmocka_unit_test(what_may_have_run_is_never_answered_repeatably),
                cmocka_unit_test(bodies_stream_both_ways),
                cmocka_unit_test(a_refused_grpc_call_is_sent_again_with_its_body),
                cmocka_unit_test(events_arrive_as_they_are_sent),
                cmocka_unit_test(upgrades_become_tunnels),
                cmocka_unit_test(dns_is_asked_without_an_index),
                cmocka_unit_test(figures_are_counted),
                cmocka_unit_test(the_process_serves_and_ends),
        };

        return run_unit_tests("router_proxy", tests);
}
