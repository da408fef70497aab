// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "net/http_server.h"
#include "net/test_end.h"

/* What the handler does with a request, by its path. */
struct fixture {
        struct test_loop t;
        struct http_server *server;
        struct listener *listener;
        struct test_end client;

        struct http_exchange *held; /* for the test to answer */
        struct buffer body;         /* of the last request */
        unsigned requests, ends, aborts, drains;
        int abort_error;
        bool drained;
        struct test_end taken; /* by an upgrade; answers anything with "pong" */
};

static void on_body(struct http_exchange *exchange, void *user, struct str data)
{
        struct fixture *f = user;

        assert_int_equal(buffer_append_str(&f->body, data), 0);
        if (str_equal(exchange->request.path, STR("/pause")))
                http_exchange_pause(exchange);
}

static void on_body_end(struct http_exchange *exchange, void *user)
{
        struct fixture *f = user;

        f->ends++;
        if (str_equal(exchange->request.path, STR("/echo")))
                http_exchange_respond_text(exchange, 200, "text/plain", buffer_str(&f->body));
}

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct fixture *f = user;

        f->ends++;
        http_exchange_respond_text(exchange, 200, "text/plain", body);
}

static void on_drain(struct http_exchange *exchange, void *user)
{
        (void)exchange;
        ((struct fixture *)user)->drains++;
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fixture *f = user;

        if (f->held == exchange)
                f->held = NULL;
        f->aborts++;
        f->abort_error = error;
}

static const struct http_exchange_callbacks callbacks = {
        .on_body = on_body,
        .on_body_end = on_body_end,
        .on_whole = on_whole,
        .on_drain = on_drain,
        .on_abort = on_abort,
};

static void taken_got(struct test_end *end, struct str data _unused_)
{
        stream_write_str(end->stream, STR("pong"));
}

static void on_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;
        struct str path = exchange->request.path;

        f->requests++;
        buffer_clear(&f->body);
        if (str_equal(path, STR("/now"))) {
                http_exchange_respond_text(exchange, 200, "text/plain", STR("now"));
                /* The request stays readable until the handler returns. */
                assert_true(str_equal(exchange->request.path, STR("/now")));
        } else if (str_equal(path, STR("/bad-field"))) {
                struct http_header evil = { STR("X"), STR("a\r\nSet-Cookie: b") };
                http_exchange_respond(exchange, 200, &evil, 1, (struct stream_piece){ STR("x") });
        } else if (str_equal(path, STR("/collect"))) {
                http_exchange_collect(exchange, 10, &callbacks, f);
        } else if (str_equal(path, STR("/none"))) {
                http_exchange_respond(exchange, 204, NULL, 0, (struct stream_piece){});
        } else if (str_equal(path, STR("/upgrade"))) {
                struct http_header upgrade = { STR("Upgrade"), STR("x") };
                struct stream *stream;
                struct str leftover;
                if (http_exchange_upgrade(exchange, &upgrade, 1, &stream, &leftover) < 0) {
                        http_exchange_respond_text(exchange, 426, "text/plain", STR("no"));
                        return;
                }
                assert_int_equal(buffer_append_str(&f->taken.got, leftover), 0);
                f->taken.on_got = taken_got;
                test_end_start(&f->taken, stream);
        } else {
                f->held = exchange;
                http_exchange_start(exchange, &callbacks, f);
        }
}

static void connect_client(struct fixture *f)
{
        test_end_deinit(&f->client);
        f->client = (struct test_end){};
        test_end_connect(&f->client, &f->t, f->listener);
}

static void set_up_with(struct fixture *f, struct http_server_options options)
{
        const struct net_address address = test_loopback();

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        options.on_request = on_request;
        options.user = f;
        assert_int_equal(http_server_new(f->t.net, &options, &f->server), 0);
        assert_int_equal(http_server_listen(f->server, &address, NULL, 7, NULL, &f->listener), 0);
        connect_client(f);
}

static void set_up(struct fixture *f)
{
        set_up_with(f, (struct http_server_options){});
}

static void tear_down(struct fixture *f)
{
        http_server_free(f->server);
        test_end_deinit(&f->client);
        test_end_deinit(&f->taken);
        buffer_deinit(&f->body);
        test_loop_tear_down(&f->t);
}

static bool has(const struct buffer *buffer, const char *text)
{
        return buffer->length > 0 && memmem(buffer->data, buffer->length, text, strlen(text));
}

static unsigned count(const struct buffer *buffer, const char *text)
{
        unsigned n = 0;
        const char *at = buffer->data, *end = buffer->data + buffer->length;

        while (at && (at = memmem(at, (size_t)(end - at), text, strlen(text)))) {
                n++;
                at++;
        }
        return n;
}

static void say(struct fixture *f, const char *text)
{
        stream_write_str(f->client.stream, str_from(text));
}

static void an_answer_has_its_fields(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "now"));
        assert_true(has(&f.client.got, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: "));
        assert_true(has(&f.client.got, "\r\nContent-Length: 3\r\n\r\nnow"));
        assert_false(has(&f.client.got, "Connection"));
        tear_down(&f);
}

static void requests_are_answered_in_order(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n"
                "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
                "HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        test_run_turns(&f.t, 5);
        assert_int_equal(f.requests, 1);
        assert_int_equal(f.client.got.length, 0);
        http_exchange_respond_text(f.held, 404, "text/plain", STR("first"));
        test_run_until(&f.t, f.requests == 4 && count(&f.client.got, "Content-Length: 3") == 2);
        assert_true(has(&f.client.got, "first"));
        assert_true(strstr(f.client.got.data, "first") < strstr(f.client.got.data, "now"));
        assert_true(strstr(f.client.got.data, "now") < strstr(f.client.got.data, "body"));
        assert_int_equal(count(&f.client.got, "now"), 1);
        assert_int_equal(http_server_counters(f.server).exchanges, 0);
        assert_int_equal(http_server_counters(f.server).requests, 4);
        tear_down(&f);
}

static void a_request_may_come_byte_by_byte(void **state)
{
        static const char text[] = "POST /echo HTTP/1.1\r\nHost: h\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        struct fixture f;

        (void)state;
        set_up(&f);
        for (size_t i = 0; i < sizeof(text) - 1; i++) {
                stream_write_str(f.client.stream, (struct str){ text + i, 1 });
                test_run_turns(&f.t, 2);
        }
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\nabc"));
        tear_down(&f);
}

static void bad_requests_are_refused_and_closed(void **state)
{
        static const struct {
                const char *text, *status;
        } cases[] = {
                { "GET / HTTP/1.1\n\n", "400" },
                { "GET / HTTP/3.0\r\nHost: h\r\n\r\n", "505" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "501" },
                { "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz", "400" },
                { "\x16\x03\x01\x02", "400" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;
                set_up(&f);
                say(&f, cases[i].text);
                test_run_until(&f.t, f.client.ended || f.client.closed);
                assert_int_equal(strncmp(f.client.got.data + 9, cases[i].status, 3), 0);
                assert_true(has(&f.client.got, "Connection: close"));
                assert_int_equal(http_server_counters(f.server).refused, 1);
                tear_down(&f);
        }
}

static void large_heads_are_refused(void **state)
{
        struct fixture f;
        char *text = malloc(70000);

        (void)state;
        set_up(&f);
        memset(text, 'a', 70000);
        say(&f, "GET / HTTP/1.1\r\nX: ");
        stream_write_str(f.client.stream, (struct str){ text, 70000 });
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "HTTP/1.1 431 "));
        tear_down(&f);
        free(text);
}

static void slow_heads_and_idle_connections_end(void **state)
{
        struct fixture f;

        (void)state;
        set_up_with(&f, (struct http_server_options){ .head_timeout_ms = 40,
                                                      .idle_timeout_ms = 40,
                                                      .body_timeout_ms = 40 });
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_int_equal(f.client.got.length, 0);

        connect_client(&f);
        say(&f, "GET / HT");
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "HTTP/1.1 408 "));

        connect_client(&f);
        say(&f, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "HTTP/1.1 200 "));

        connect_client(&f);
        say(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nb");
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "HTTP/1.1 408 "));
        assert_int_equal(f.aborts, 1);
        assert_int_equal(f.abort_error, -ETIMEDOUT);
        tear_down(&f);
}

static void bodies_are_collected_up_to_a_limit(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "POST /collect HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789");
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\n0123456789"));
        buffer_clear(&f.client.got);
        /* Announced: refused before it comes, and the connection goes on. */
        say(&f, "POST /collect HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n01234567890"
                "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "now"));
        assert_true(has(&f.client.got, "HTTP/1.1 413 "));
        assert_int_equal(f.abort_error, -EFBIG);
        buffer_clear(&f.client.got);
        say(&f, "POST /collect HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                "6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n");
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "HTTP/1.1 413 "));
        assert_int_equal(f.aborts, 2);
        tear_down(&f);
}

static void expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                "Content-Length: 2\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "HTTP/1.1 100 Continue\r\n\r\n"));
        say(&f, "ok");
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\nok"));
        buffer_clear(&f.client.got);
        say(&f, "POST /now HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                "Content-Length: 2\r\n\r\n");
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_false(has(&f.client.got, "100 Continue"));
        assert_true(has(&f.client.got, "Connection: close"));
        tear_down(&f);
}

static void answers_are_streamed(void **state)
{
        struct fixture f;
        const struct http_header fields[] = { { STR("X-A"), STR("b") },
                                              { STR("Content-Length"), STR("999") },
                                              { STR("Connection"), STR("close") } };

        (void)state;
        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_exchange_begin(f.held, 200, fields, 3, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(f.held);
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\n"));
        assert_true(has(&f.client.got, "X-A: b\r\n"));
        assert_true(has(&f.client.got, "Transfer-Encoding: chunked\r\n"));
        assert_false(has(&f.client.got, "999"));
        assert_false(has(&f.client.got, "Connection"));
        struct stream_piece pieces[] = { { STR("hello ") }, { STR("world") } };
        http_exchange_send(f.held, pieces, 2);
        http_exchange_send(f.held, pieces, 0);
        const struct http_header trailer = { STR("T"), STR("v") };
        http_exchange_end(f.held, &trailer, 1);
        test_run_until(&f.t, has(&f.client.got, "b\r\nhello world\r\n0\r\nT: v\r\n\r\n"));

        buffer_clear(&f.client.got);
        say(&f, "GET /held HTTP/1.0\r\n\r\n");
        test_run_until(&f.t, f.ends == 2);
        http_exchange_begin(f.held, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        http_exchange_send(f.held, pieces, 2);
        http_exchange_end(f.held, NULL, 0);
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "\r\n\r\nhello world"));
        tear_down(&f);
}

static void a_short_answer_is_cut_off(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_exchange_begin(f.held, 200, NULL, 0, 10);
        http_exchange_send(f.held, &(struct stream_piece){ STR("hello") }, 1);
        http_exchange_end(f.held, NULL, 0);
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_int_equal(f.aborts, 0);
        tear_down(&f);
}

static void a_field_cannot_be_injected(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /bad-field HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\n"));
        assert_true(has(&f.client.got, "HTTP/1.1 500 "));
        assert_false(has(&f.client.got, "Set-Cookie"));
        say(&f, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "HTTP/1.1 204 "));
        assert_int_equal(count(&f.client.got, "Content-Length"), 1);
        tear_down(&f);
}

static void a_paused_body_waits_in_the_network(void **state)
{
        enum { SIZE = 16 * 1024 * 1024 };
        struct fixture f;
        char *data = calloc(1, SIZE);
        char head[100];

        (void)state;
        set_up(&f);
        snprintf(head, sizeof(head),
                 "POST /pause HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", SIZE);
        say(&f, head);
        stream_write_str(f.client.stream, (struct str){ data, SIZE });
        test_run_until(&f.t, f.body.length > 0);
        size_t before = f.body.length;
        test_run_turns(&f.t, 50);
        assert_int_equal(f.body.length, before);
        assert_true(stream_pending(f.client.stream) > SIZE / 4);
        while (f.ends == 0) {
                http_exchange_resume(f.held);
                uv_run(&f.t.uv, UV_RUN_ONCE);
        }
        assert_int_equal(f.body.length, SIZE);
        http_exchange_respond_text(f.held, 200, "text/plain", STR("done"));
        test_run_until(&f.t, has(&f.client.got, "done"));
        tear_down(&f);
        free(data);
}

static void pipelined_requests_wait_in_the_network(void **state)
{
        enum { SIZE = 32 * 1024 * 1024 };
        struct fixture f;
        char *data = malloc(SIZE);

        (void)state;
        memset(data, 'a', SIZE);
        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        stream_write_str(f.client.stream, (struct str){ data, SIZE });
        test_run_until(&f.t, f.ends == 1);
        test_run_turns(&f.t, 500);
        assert_true(stream_pending(f.client.stream) > 0);
        http_exchange_respond_text(f.held, 200, "text/plain", STR("first"));
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "first"));
        tear_down(&f);
        free(data);
}

static void a_slow_client_is_felt_and_told_of(void **state)
{
        enum { SIZE = 16 * 1024 * 1024 };
        struct fixture f;
        char *data = calloc(1, SIZE);

        (void)state;
        set_up(&f);
        stream_pause(f.client.stream);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_exchange_begin(f.held, 200, NULL, 0, SIZE);
        http_exchange_send(f.held, &(struct stream_piece){ { data, SIZE } }, 1);
        assert_true(http_exchange_is_congested(f.held));
        assert_true(http_exchange_pending(f.held) > 0);
        assert_int_equal(f.drains, 0);
        stream_resume(f.client.stream);
        test_run_until(&f.t, f.drains == 1);
        http_exchange_end(f.held, NULL, 0);
        test_run_until(&f.t, f.client.got.length > SIZE);
        tear_down(&f);
        free(data);
}

static void a_client_that_takes_nothing_is_dropped(void **state)
{
        enum { SIZE = 16 * 1024 * 1024 };
        struct fixture f;
        char *data = calloc(1, SIZE);

        (void)state;
        set_up_with(&f, (struct http_server_options){ .write_timeout_ms = 30 });
        stream_pause(f.client.stream);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_exchange_begin(f.held, 200, NULL, 0, SIZE);
        http_exchange_send(f.held, &(struct stream_piece){ { data, SIZE } }, 1);
        test_run_until(&f.t, f.aborts == 1);
        assert_int_equal(f.abort_error, -ETIMEDOUT);
        tear_down(&f);
        free(data);
}

static void a_vanished_client_aborts(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        test_end_close(&f.client);
        test_run_until(&f.t, f.aborts == 1);
        assert_int_equal(f.abort_error, -ECONNRESET);
        assert_int_equal(http_server_counters(f.server).connections, 0);
        connect_client(&f);
        say(&f, "POST /held HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n1");
        test_run_until(&f.t, f.body.length == 1);
        stream_shutdown(f.client.stream);
        test_run_until(&f.t, f.aborts == 2);
        tear_down(&f);
}

static void upgrades_give_the_stream_away(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        say(&f, "GET /upgrade HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "HTTP/1.1 426 "));
        buffer_clear(&f.client.got);
        say(&f,
            "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
        test_run_until(&f.t, f.taken.stream);
        assert_true(str_equal(buffer_str(&f.taken.got), STR("early")));
        say(&f, "late");
        test_run_until(&f.t, has(&f.client.got, "pong"));
        assert_true(has(&f.client.got, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                                       "Upgrade: x\r\n\r\n"));
        assert_int_equal(http_server_counters(f.server).connections, 0);
        tear_down(&f);
}

static void connections_beyond_the_limit_are_told_so(void **state)
{
        struct fixture f;
        struct stream *first;

        (void)state;
        set_up_with(&f, (struct http_server_options){ .max_connections = 1 });
        say(&f, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\nnow"));
        first = f.client.stream;
        stream_detach(first);
        f.client.stream = NULL;

        connect_client(&f);
        say(&f, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        test_run_until(&f.t, f.client.ended);
        assert_true(has(&f.client.got, "HTTP/1.1 503 Service Unavailable\r\n"));
        assert_true(has(&f.client.got, "\r\nRetry-After: 1\r\n"));
        assert_true(has(&f.client.got, "\r\nConnection: close\r\n"));
        assert_int_equal(f.requests, 1);

        /* One that waited until there was room again is served. */
        connect_client(&f);
        test_run_until(&f.t, http_server_counters(f.server).connections > 1);
        stream_close(first);
        test_run_until(&f.t, http_server_counters(f.server).connections == 1);
        say(&f, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
        test_run_until(&f.t, has(&f.client.got, "\r\n\r\nnow"));
        tear_down(&f);
}

static void on_drained(void *user)
{
        ((struct fixture *)user)->drained = true;
}

static void draining_finishes_what_is_in_progress(void **state)
{
        struct fixture f;
        struct net_address address;

        (void)state;
        set_up(&f);
        address = *listener_address(f.listener);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_server_drain(f.server, 4000, on_drained, &f);
        struct stream *refused;
        assert_int_equal(stream_connect(f.t.net, &address, &refused), 0);
        stream_close(refused);
        test_run_turns(&f.t, 5);
        assert_false(f.drained);
        http_exchange_respond_text(f.held, 200, "text/plain", STR("done"));
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_true(has(&f.client.got, "Connection: close"));
        test_end_close(&f.client);
        test_run_until(&f.t, f.drained);
        tear_down(&f);

        set_up(&f);
        say(&f, "GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        test_run_until(&f.t, f.ends == 1);
        http_server_drain(f.server, 20, on_drained, &f);
        test_run_until(&f.t, f.drained);
        assert_int_equal(f.abort_error, -ECANCELED);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_answer_has_its_fields),
                cmocka_unit_test(requests_are_answered_in_order),
                cmocka_unit_test(a_request_may_come_byte_by_byte),
                cmocka_unit_test(bad_requests_are_refused_and_closed),
                cmocka_unit_test(large_heads_are_refused),
                cmocka_unit_test(slow_heads_and_idle_connections_end),
                cmocka_unit_test(bodies_are_collected_up_to_a_limit),
                cmocka_unit_test(expect_continue_is_answered_when_the_body_is_wanted),
                cmocka_unit_test(answers_are_streamed),
                cmocka_unit_test(a_short_answer_is_cut_off),
                cmocka_unit_test(a_field_cannot_be_injected),
                cmocka_unit_test(a_paused_body_waits_in_the_network),
                cmocka_unit_test(pipelined_requests_wait_in_the_network),
                cmocka_unit_test(a_slow_client_is_felt_and_told_of),
                cmocka_unit_test(a_client_that_takes_nothing_is_dropped),
                cmocka_unit_test(a_vanished_client_aborts),
                cmocka_unit_test(upgrades_give_the_stream_away),
                cmocka_unit_test(connections_beyond_the_limit_are_told_so),
                cmocka_unit_test(draining_finishes_what_is_in_progress),
        };

        return run_unit_tests("http_server", tests);
}
