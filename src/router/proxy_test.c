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
#include "net/test_loop.h"
#include "net/websocket.h"
#include "router/proxy.h"
#include "router/router.h"

enum { LARGE = 8 * 1024 * 1024 };

/* What the client was told of one request. */
struct result {
        struct http_call *call;
        int ends, errors;
        unsigned status;
        char retry_after[8], content_type[64];
        struct buffer body;
        struct stream *tunnel;
};

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
        char request[8192]; /* the last one's line and fields */
        struct buffer got;
        struct http_exchange *held;
        unsigned requests, aborts;
        struct stream *taken;
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

static void taken_data(struct stream *stream, void *user, struct str data)
{
        (void)user;
        stream_write_str(stream, data);
}

static void taken_close(struct stream *stream, void *user, int error)
{
        (void)stream;
        (void)error;
        ((struct fixture *)user)->taken = NULL;
}

static const struct stream_callbacks taken_callbacks = { .on_data = taken_data,
                                                         .on_close = taken_close };

static void backend_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;
        const struct http_request_head *head = &exchange->request;
        size_t at = 0;

        f->requests++;
        at += (size_t)snprintf(f->request, sizeof(f->request), "%.*s %.*s\n",
                               STR_FORMAT(head->method), STR_FORMAT(head->target));
        for (size_t i = 0; i < head->headers.count; i++)
                at += (size_t)snprintf(f->request + at, sizeof(f->request) - at, "%.*s: %.*s\n",
                                       STR_FORMAT(head->headers.items[i].name),
                                       STR_FORMAT(head->headers.items[i].value));
        if (head->is_upgrade) {
                const struct http_header upgrade = { STR("Upgrade"), STR("echo") };
                struct str leftover;
                assert_int_equal(http_exchange_upgrade(exchange, &upgrade, 1, &f->taken, &leftover),
                                 0);
                stream_write_str(f->taken, STR("welcome"));
                stream_start(f->taken, &taken_callbacks, f);
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

static void set_up_with(struct fixture *f, struct proxy_options options)
{
        const struct http_server_options front = { .on_request = front_request, .user = f };
        struct net_address address;

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        open_backend(f);
        assert_int_equal(router_index_new(&f->index), 0);
        router_index_set_complete(f->index, true, STR_EMPTY);
        assert_int_equal(router_metrics_init(&f->metrics), 0);
        assert_int_equal(http_client_new(f->t.net, NULL, &f->backend_client), 0);
        assert_int_equal(http_client_new(f->t.net, NULL, &f->client), 0);
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

static void set_up(struct fixture *f)
{
        set_up_with(f, (struct proxy_options){ .retries = 1 });
}

static void tear_down(struct fixture *f)
{
        http_client_free(f->client);
        http_server_free(f->front);
        proxy_free(f->proxy);
        http_client_free(f->backend_client);
        http_server_free(f->backend);
        stream_close(f->taken);
        router_index_free(f->index);
        router_metrics_deinit(&f->metrics);
        buffer_deinit(&f->got);
        test_loop_tear_down(&f->t);
}

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

/* ---- the client ---- */

static void call_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct result *result = user;
        struct str leftover;

        result->status = head->status;
        snprintf(result->retry_after, sizeof(result->retry_after), "%.*s",
                 STR_FORMAT(http_headers_get(&head->headers, STR("retry-after"))));
        snprintf(result->content_type, sizeof(result->content_type), "%.*s",
                 STR_FORMAT(http_headers_get(&head->headers, STR("content-type"))));
        assert_int_equal(http_headers_count(&head->headers, STR("keep-alive")), 0);
        if (head->status != 101)
                return;
        assert_int_equal(http_call_take_over(call, &result->tunnel, &leftover), 0);
        result->call = NULL;
        assert_int_equal(buffer_append_str(&result->body, leftover), 0);
}

static void call_body(struct http_call *call, void *user, struct str data)
{
        (void)call;
        assert_int_equal(buffer_append_str(&((struct result *)user)->body, data), 0);
}

static void call_end(struct http_call *call, void *user)
{
        struct result *result = user;

        (void)call;
        result->call = NULL;
        result->ends++;
}

static void call_error(struct http_call *call, void *user, enum http_error error, int code)
{
        struct result *result = user;

        (void)call;
        (void)error;
        (void)code;
        result->call = NULL;
        result->errors++;
}

static const struct http_call_callbacks call_callbacks = {
        .on_head = call_head, .on_body = call_body, .on_end = call_end, .on_error = call_error
};

enum { FIELDS_MAX = 12 };

struct asked {
        struct http_request request;
        struct http_header fields[FIELDS_MAX];
        char port[8];
};

static void add_field(struct asked *asked, const char *name, const char *value)
{
        assert_true(asked->request.header_count < FIELDS_MAX);
        asked->fields[asked->request.header_count++] =
                (struct http_header){ str_from(name), str_from(value) };
}

/* A request to the sandbox "box" in "ns". */
static void ask(const struct fixture *f, const char *method, const char *target,
                struct asked *asked)
{
        *asked =
                (struct asked){ .request = { .origin.address = *listener_address(f->front_listener),
                                             .method = str_from(method),
                                             .target = str_from(target) } };
        asked->request.headers = asked->fields;
        snprintf(asked->port, sizeof(asked->port), "%u", f->backend_port);
        add_field(asked, "X-Sandbox-ID", "box");
        add_field(asked, "X-Sandbox-Namespace", "ns");
        add_field(asked, "X-Sandbox-Port", asked->port);
}

static void start(struct fixture *f, const struct asked *asked, struct result *result)
{
        struct buffer body = result->body;

        buffer_clear(&body);
        *result = (struct result){ .body = body };
        assert_int_equal(
                http_call_start(f->client, &asked->request, &call_callbacks, result, &result->call),
                0);
}

static void run(struct fixture *f, const struct asked *asked, struct result *result)
{
        start(f, asked, result);
        test_run_until(&f->t, result->ends || result->errors);
}

static bool body_is(const struct result *result, const char *text)
{
        return str_equal(buffer_str(&result->body), str_from(text));
}

/* ---- tests ---- */

static void requests_pass_unchanged_but_for_what_must(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "POST", "/a%2Fb//..%2f?q=%20&r", &asked);
        add_field(&asked, "Authorization", "Bearer secret");
        add_field(&asked, "Proxy-Authorization", "x");
        add_field(&asked, "TE", "trailers");
        add_field(&asked, "Origin", "http://o");
        add_field(&asked, "X-Forwarded-For", "1.2.3.4");
        add_field(&asked, "X-Other", "kept");
        asked.request.host = STR("router.example");
        asked.request.body = STR("payload");
        run(&f, &asked, &result);
        assert_int_equal(result.status, 201);
        assert_true(body_is(&result, "done"));
        assert_true(str_equal(buffer_str(&f.got), STR("payload")));
        assert_true(str_starts_with(str_from(f.request), STR("POST /a%2Fb//..%2f?q=%20&r\n")));
        char host[64];
        snprintf(host, sizeof(host), "\nHost: 127.0.0.1:%u\n", f.backend_port);
        assert_non_null(strstr(f.request, host));
        assert_non_null(strstr(f.request, "\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\n"));
        assert_non_null(strstr(f.request, "\nX-Forwarded-Host: router.example\n"));
        assert_non_null(strstr(f.request, "\nX-Forwarded-Proto: http\n"));
        assert_non_null(strstr(f.request, "\nTraceparent: 00-"));
        assert_non_null(strstr(f.request, "\nX-Other: kept\n"));
        assert_non_null(strstr(f.request, "\nOrigin: http://o\n"));
        assert_non_null(strstr(f.request, "\nX-Sandbox-ID: box\n"));
        assert_non_null(strstr(f.request, "\nContent-Length: 7\n"));
        assert_null(strstr(f.request, "Authorization"));
        assert_null(strstr(f.request, "TE:"));
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void all_ways_of_naming_a_sandbox_work(void **state)
{
        static const char *const ways[][2] = {
                { "X-Sandbox-ID", "box" },
                { "X-Sandbox-ID", "claim" },
                { "X-Sandbox-UID", "uid-box" },
                { "X-Sandbox-Pod-IP", "127.0.0.1" },
        };
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up_with(&f, (struct proxy_options){ .allow_loopback = true });
        put_sandbox(&f);
        put_pod(&f);
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                ask(&f, "GET", "/", &asked);
                if (i < 2)
                        asked.fields[0].value = str_from(ways[i][1]);
                else
                        add_field(&asked, ways[i][0], ways[i][1]);
                if (i >= 2)
                        asked.fields[0].value = STR("whatever");
                run(&f, &asked, &result);
                assert_int_equal(result.status, 201);
        }
        ask(&f, "GET", "/", &asked);
        add_field(&asked, "X-Sandbox-UID", "uid-of-its-predecessor");
        run(&f, &asked, &result);
        assert_int_equal(result.status, 502);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void refusals_have_their_exact_bodies(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up_with(&f, (struct proxy_options){ .retries = 0, .max_body = 10 });
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "GET", "/healthz", &asked);
        asked.request.header_count = 0;
        run(&f, &asked, &result);
        assert_int_equal(result.status, 200);
        assert_true(body_is(&result, "{\"status\":\"ok\"}"));

        ask(&f, "GET", "/", &asked);
        asked.request.header_count = 0;
        run(&f, &asked, &result);
        assert_int_equal(result.status, 400);
        assert_string_equal(result.content_type, "application/json");
        assert_true(body_is(&result, "{\"detail\":\"X-Sandbox-ID header is required.\"}\n"));

        ask(&f, "GET", "/", &asked);
        asked.fields[0].value = STR("nobody");
        run(&f, &asked, &result);
        assert_int_equal(result.status, 502);
        assert_true(body_is(&result,
                            "{\"detail\":\"Could not connect to the backend sandbox: nobody\"}\n"));

        ask(&f, "POST", "/", &asked);
        asked.request.body = STR("01234567890");
        run(&f, &asked, &result);
        assert_int_equal(result.status, 413);
        assert_int_equal(f.requests, 0);
        asked.request.body = STR_EMPTY;
        asked.request.streamed = true;
        asked.request.content_length = HTTP_LENGTH_UNKNOWN;
        start(&f, &asked, &result);
        http_call_send(result.call, &(struct stream_piece){ STR("01234567890") }, 1);
        test_run_until(&f.t, result.ends || result.errors);
        assert_int_equal(result.status, 413);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void a_request_waits_for_a_sandbox_that_is_not_known_yet(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up_with(&f, (struct proxy_options){ .retries = 3 });
        ask(&f, "POST", "/execute", &asked);
        asked.fields[0].value = STR("claim");
        asked.request.body = STR("command");
        start(&f, &asked, &result);
        test_run_until(&f.t, router_index_counters(f.index).waiters == 1);
        /* Each change is felt at once: the first retry would come after 200 ms only. */
        uint64_t before = clock_monotonic_ns();
        put_sandbox(&f);
        test_run_turns(&f.t, 5);
        assert_int_equal(f.requests, 0);
        assert_int_equal(router_index_counters(f.index).waiters, 1);
        put_pod(&f);
        test_run_until(&f.t, result.ends || result.errors);
        assert_true(clock_monotonic_ns() - before < 150 * NS_PER_MS);
        assert_int_equal(result.status, 201);
        assert_true(str_equal(buffer_str(&f.got), STR("command")));
        assert_int_equal(router_index_counters(f.index).waiters, 0);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void a_sandbox_that_does_not_become_ready_is_given_up(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        ask(&f, "POST", "/execute", &asked);
        add_field(&asked, "X-Sandbox-Timeout", "0.05");
        run(&f, &asked, &result);
        assert_int_equal(result.status, 503);
        assert_string_equal(result.retry_after, "1");
        assert_true(body_is(&result,
                            "{\"detail\":\"Timed out waiting for the backend sandbox: box\"}\n"));
        assert_int_equal(router_index_counters(f.index).waiters, 0);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void connecting_is_tried_again_and_the_body_kept(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up_with(&f, (struct proxy_options){ .retries = 3 });
        put_sandbox(&f);
        put_pod(&f);
        close_backend(&f);
        ask(&f, "POST", "/", &asked);
        asked.request.body = STR("kept");
        start(&f, &asked, &result);
        const struct str name_space = STR("ns");
        test_run_until(&f.t, metric_value(metric_with(f.metrics.retries, &name_space)) > 0);
        assert_true(metric_value(metric_with(f.metrics.invalidations, &name_space)) > 0);
        open_backend(&f);
        test_run_until(&f.t, result.ends || result.errors);
        assert_int_equal(result.status, 201);
        assert_true(str_equal(buffer_str(&f.got), STR("kept")));
        assert_int_equal(f.requests, 1);

        /* 200 + 400 + 800 ms, then it is over. */
        close_backend(&f);
        http_client_forget(f.backend_client, NULL);
        uint64_t before = clock_monotonic_ns();
        run(&f, &asked, &result);
        uint64_t took_ms = (clock_monotonic_ns() - before) / NS_PER_MS;
        assert_int_equal(result.status, 502);
        assert_true(took_ms >= 1350 && took_ms < 3000);
        buffer_deinit(&result.body);
        tear_down(&f);
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
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        put_pod(&f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                ask(&f, cases[i].method, cases[i].path, &asked);
                add_field(&asked, "X-Sandbox-Timeout", "0.1");
                f.requests = 0;
                run(&f, &asked, &result);
                if (result.status != cases[i].status)
                        fail_msg("%s %s: %u", cases[i].method, cases[i].path, result.status);
                assert_int_equal(f.requests, 1);
        }
        /* An answer that breaks off breaks off for the client too. */
        ask(&f, "GET", "/cut-inside", &asked);
        run(&f, &asked, &result);
        assert_int_equal(result.errors, 1);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void bodies_stream_both_ways(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "PUT", "/", &asked);
        asked.request.streamed = true;
        asked.request.content_length = HTTP_LENGTH_UNKNOWN;
        start(&f, &asked, &result);
        http_call_send(result.call, &(struct stream_piece){ { data, LARGE } }, 1);
        http_call_end(result.call);
        test_run_until(&f.t, result.ends);
        assert_int_equal(f.got.length, LARGE);

        /* A client that does not read stops the sandbox. */
        ask(&f, "GET", "/large", &asked);
        start(&f, &asked, &result);
        http_call_pause(result.call);
        test_run_until(&f.t, result.status == 200);
        test_run_turns(&f.t, 50);
        assert_true(result.body.length < LARGE / 2);
        http_call_resume(result.call);
        test_run_until(&f.t, result.ends);
        assert_int_equal(result.body.length, LARGE);
        buffer_deinit(&result.body);
        free(data);
        tear_down(&f);
}

static void events_arrive_as_they_are_sent(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "GET", "/held", &asked);
        start(&f, &asked, &result);
        test_run_until(&f.t, f.held != NULL);
        http_exchange_begin(f.held, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(f.held);
        test_run_until(&f.t, result.status == 200);
        http_exchange_send(f.held, &(struct stream_piece){ STR("one") }, 1);
        test_run_until(&f.t, body_is(&result, "one"));
        http_exchange_send(f.held, &(struct stream_piece){ STR("two") }, 1);
        test_run_until(&f.t, body_is(&result, "onetwo"));
        http_exchange_end(f.held, NULL, 0);
        test_run_until(&f.t, result.ends);

        /* A client that goes away takes its request with it. */
        start(&f, &asked, &result);
        f.held = NULL;
        test_run_until(&f.t, f.held != NULL);
        http_call_cancel(result.call);
        test_run_until(&f.t, f.aborts == 1);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void tunnel_data(struct stream *stream, void *user, struct str data)
{
        (void)stream;
        assert_int_equal(buffer_append_str(&((struct result *)user)->body, data), 0);
}

static void tunnel_close_(struct stream *stream, void *user, int error)
{
        (void)stream;
        (void)error;
        ((struct result *)user)->tunnel = NULL;
}

static const struct stream_callbacks tunnel_callbacks = { .on_data = tunnel_data,
                                                          .on_close = tunnel_close_ };

static void upgrades_become_tunnels(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up_with(&f, (struct proxy_options){ .timeout_ms = 50 });
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "GET", "/ws?x", &asked);
        add_field(&asked, "Upgrade", "echo");
        add_field(&asked, "Origin", "http://o");
        asked.request.upgrade = true;
        start(&f, &asked, &result);
        test_run_until(&f.t, result.tunnel != NULL);
        assert_non_null(strstr(f.request, "\nUpgrade: echo\n"));
        assert_null(strstr(f.request, "Origin"));
        stream_start(result.tunnel, &tunnel_callbacks, &result);
        test_run_until(&f.t, body_is(&result, "welcome"));
        assert_int_equal(proxy_tunnels(f.proxy), 1);

        /* It outlives the timeout of requests. */
        uint64_t until = clock_monotonic_ns() + 80 * NS_PER_MS;
        while (clock_monotonic_ns() < until)
                uv_run(&f.t.uv, UV_RUN_NOWAIT);
        stream_write_str(result.tunnel, STR("ping"));
        test_run_until(&f.t, body_is(&result, "welcomeping"));
        stream_write_str(result.tunnel, (struct str){ data, LARGE });
        test_run_until(&f.t, result.body.length == LARGE + 11);
        stream_shutdown(result.tunnel);
        test_run_until(&f.t, proxy_tunnels(f.proxy) == 0);
        free(data);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void dns_is_asked_without_an_index(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;

        (void)state;
        set_up_with(&f, (struct proxy_options){ .retries = 0 });
        router_index_set_complete(f.index, false, STR_EMPTY);
        ask(&f, "GET", "/", &asked);
        run(&f, &asked, &result);
        assert_int_equal(result.status, 502);
        buffer_deinit(&result.body);
        tear_down(&f);
}

static void figures_are_counted(void **state)
{
        struct fixture f;
        struct result result = {};
        struct asked asked;
        _cleanup_buffer_ struct buffer page = {};

        (void)state;
        set_up(&f);
        put_sandbox(&f);
        put_pod(&f);
        ask(&f, "GET", "/", &asked);
        run(&f, &asked, &result);
        ask(&f, "INVENTED", "/", &asked);
        run(&f, &asked, &result);
        assert_int_equal(metrics_render(f.metrics.metrics, &page), 0);
        assert_int_equal(buffer_append_char(&page, '\0'), 0);
        assert_non_null(strstr(page.data,
                               "sandbox_router_requests_total{method=\"GET\",code=\"201\","
                               "sandbox_namespace=\"ns\"} 1\n"));
        assert_non_null(strstr(page.data, "method=\"other\""));
        assert_non_null(strstr(page.data, "sandbox_router_inflight_requests 0\n"));
        assert_non_null(strstr(page.data, "sandbox_router_request_duration_seconds_bucket"));
        buffer_deinit(&result.body);
        tear_down(&f);
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
                cmocka_unit_test(events_arrive_as_they_are_sent),
                cmocka_unit_test(upgrades_become_tunnels),
                cmocka_unit_test(dns_is_asked_without_an_index),
                cmocka_unit_test(figures_are_counted),
                cmocka_unit_test(the_process_serves_and_ends),
        };

        return run_unit_tests("router_proxy", tests);
}
