// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http2.h"
#include "net/test_call.h"
#include "net/test_certificates.h"
#include "net/test_end.h"
#include "net/test_frames.h"

enum { CALLS = 40, LARGE = 4 * 1024 * 1024, PING_MS = 60 };

struct fixture {
        struct test_loop t;
        struct test_certificates certificates;
        struct tls_context *server_context, *client_context;
        struct http_server *server;
        struct listener *listener;
        struct http_client *client;
        struct result results[CALLS];

        struct http_exchange *held[CALLS];
        size_t held_count;
        unsigned requests, aborts, body_ends;
        char fields[4096]; /* of the last request, as "name: value\n" */

        /* A server of hand-made frames. */
        struct test_peers peers;
        struct buffer script; /* what it says to a connection's first bytes */
        bool forbidden;
};

/* ---- the server ---- */

static void on_body(struct http_exchange *exchange, void *user, struct str data)
{
        (void)user;
        http_exchange_send(exchange, &(struct stream_piece){ data }, 1);
        http_exchange_flush(exchange);
}

static void on_body_end(struct http_exchange *exchange, void *user)
{
        const struct http_header trailers[] = { { STR("Grpc-Status"), STR("0") },
                                                { STR("X-Sum"), STR("a b") } };
        struct fixture *f = user;

        f->body_ends++;
        if (exchange->begun && str_equal(exchange->request.path, STR("/echo")))
                http_exchange_end(exchange, trailers, 2);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fixture *f = user;

        (void)error;
        f->aborts++;
        for (size_t i = 0; i < f->held_count; i++)
                if (f->held[i] == exchange)
                        f->held[i] = f->held[--f->held_count];
}

static const struct http_exchange_callbacks callbacks = { .on_body = on_body,
                                                          .on_body_end = on_body_end,
                                                          .on_abort = on_abort };

static void on_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;
        struct str path = exchange->request.path;

        f->requests++;
        snprintf(f->fields, sizeof(f->fields), ":authority: %.*s\n",
                 STR_FORMAT(exchange->request.authority));
        test_note_fields(&exchange->request.headers, f->fields, sizeof(f->fields));
        if (str_equal(path, STR("/held")) || str_equal(path, STR("/watch"))) {
                f->held[f->held_count++] = exchange;
                http_exchange_start(exchange, &callbacks, f);
                if (str_equal(path, STR("/watch"))) {
                        http_exchange_begin(exchange, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
                        http_exchange_flush(exchange);
                }
        } else if (str_equal(path, STR("/echo"))) {
                http_exchange_start(exchange, &callbacks, f);
                http_exchange_begin(exchange, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
                http_exchange_flush(exchange);
        } else if (str_equal(path, STR("/large"))) {
                char *data = calloc(1, LARGE);
                http_exchange_respond(exchange, 200, NULL, 0,
                                      (struct stream_piece){ { data, LARGE }, free, data });
        } else {
                http_exchange_respond_text(exchange, 200, "text/plain", exchange->request.target);
        }
}

/* ---- a server of hand-made frames ---- */

static void script_got(struct test_end *end, struct str data)
{
        const struct fixture *f = end->user;

        if (end->got.length == data.length)
                stream_write_str(end->stream, buffer_str(&f->script));
}

static unsigned got_frames(const struct fixture *f, unsigned type)
{
        return frames_of(&f->peers.ends[0].got, type);
}

/* ---- the client ---- */

static void call_trailers(struct http_call *call, void *user, const struct http_headers *trailers)
{
        struct result *result = user;

        (void)call;
        test_note_fields(trailers, result->trailers, sizeof(result->trailers));
}

static bool call_may_send(void *user)
{
        return !((struct result *)user)->f->forbidden;
}

static const struct http_call_callbacks call_callbacks = { .on_connected = call_connected,
                                                           .on_head = call_head,
                                                           .on_body = call_body,
                                                           .on_end = call_end,
                                                           .on_drain = call_drain,
                                                           .on_error = call_error,
                                                           .may_send = call_may_send,
                                                           .on_trailers = call_trailers };

enum way { PLAIN, TLS, TLS_HTTP1 };

static void set_up_with(struct fixture *f, enum way way, struct http_client_options options)
{
        struct http_server_options server = { .on_request = on_request,
                                              .user = f,
                                              .http2 = &http2_protocol };
        const struct net_address address = test_loopback();

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        test_certificates_set_up(&f->certificates);
        if (way != PLAIN) {
                f->server_context =
                        test_server_context(&f->certificates, TLS_CLIENT_OFF, way == TLS);
                f->client_context = test_client_context(&f->certificates, false, true);
        }
        assert_int_equal(http_server_new(f->t.net, &server, &f->server), 0);
        assert_int_equal(
                http_server_listen(f->server, &address,
                                   way != PLAIN ? tls_context_filter(f->server_context) : NULL, 0,
                                   NULL, &f->listener),
                0);
        test_peers_listen(&f->peers, &f->t, script_got, f);
        options.http2 = &http2_client_protocol;
        assert_int_equal(http_client_new(f->t.net, &options, &f->client), 0);
        for (size_t i = 0; i < CALLS; i++)
                f->results[i].f = f;
        frame(&f->script, SETTINGS, 0, 0, STR_EMPTY);
        frame(&f->script, SETTINGS, ACK, 0, STR_EMPTY);
}

static void set_up(struct fixture *f, enum way way)
{
        set_up_with(f, way, (struct http_client_options){});
}

static void tear_down(struct fixture *f)
{
        http_client_free(f->client);
        http_server_free(f->server);
        test_peers_close(&f->peers);
        for (size_t i = 0; i < CALLS; i++)
                buffer_deinit(&f->results[i].body);
        buffer_deinit(&f->script);
        tls_context_free(f->server_context);
        tls_context_free(f->client_context);
        test_certificates_tear_down(&f->certificates);
        test_loop_tear_down(&f->t);
}

static struct http_request to(const struct fixture *f, struct listener *listener,
                              const char *target)
{
        return (struct http_request){
                .origin = { .address = *listener_address(listener),
                            .filter = f->client_context ? tls_context_filter(f->client_context)
                                                        : NULL,
                            .server_name = STR("localhost"),
                            .http2 = !f->client_context },
                .target = str_from(target),
        };
}

static struct result *start(struct fixture *f, size_t slot, const struct http_request *request)
{
        struct result *result = &f->results[slot];

        buffer_clear(&result->body);
        *result = (struct result){ .f = f,
                                   .body = result->body,
                                   .pause_in_head = result->pause_in_head,
                                   .cancel_in_body = result->cancel_in_body };
        assert_int_equal(
                http_call_start(f->client, request, &call_callbacks, result, &result->call), 0);
        assert_int_equal(result->connected + result->ends + result->errors, 0);
        return result;
}

static struct result *run(struct fixture *f, size_t slot, const struct http_request *request)
{
        struct result *result = start(f, slot, request);

        test_run_until(&f->t, result->ends || result->errors);
        return result;
}

/* ---- tests ---- */

static void calls_share_one_connection(void **state)
{
        for (enum way way = PLAIN; way <= TLS; way++) {
                struct fixture f;

                (void)state;
                set_up(&f, way);
                struct http_request held = to(&f, f.listener, "/held");
                struct http_request quick = to(&f, f.listener, "/a%2Fb?c");
                for (size_t i = 0; i < CALLS - 1; i++)
                        start(&f, i, &held);
                test_run_until(&f.t, f.held_count == CALLS - 1);
                struct result *result = run(&f, CALLS - 1, &quick);
                assert_int_equal(result->ends, 1);
                assert_int_equal(result->connected, 1);
                assert_true(result->http2);
                assert_int_equal(result->status, 200);
                assert_true(str_equal(buffer_str(&result->body), STR("/a%2Fb?c")));
                while (f.held_count > 0)
                        http_exchange_respond_text(f.held[--f.held_count], 404, "text/plain",
                                                   STR("gone"));
                for (size_t i = 0; i < CALLS - 1; i++) {
                        test_run_until(&f.t, f.results[i].ends);
                        assert_int_equal(f.results[i].connected, 1);
                        assert_int_equal(f.results[i].status, 404);
                        assert_true(str_equal(buffer_str(&f.results[i].body), STR("gone")));
                }
                assert_int_equal(http_client_counters(f.client).connects, 1);
                assert_int_equal(http_client_counters(f.client).http2, 1);
                tear_down(&f);
        }
}

static void servers_without_http2_get_http1(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS_HTTP1);
        struct http_request held = to(&f, f.listener, "/held");
        struct http_request echo = to(&f, f.listener, "/");
        echo.method = STR("POST");
        echo.body = STR("x");
        for (size_t i = 0; i < 4; i++)
                start(&f, i, &held);
        test_run_until(&f.t, f.held_count == 4);
        assert_int_equal(http_client_counters(f.client).connects, 4);
        assert_false(f.results[0].http2);
        for (size_t i = 0; i < 4; i++)
                http_exchange_respond_text(f.held[i], 200, "text/plain", STR("ok"));
        test_run_until(&f.t, f.results[0].ends && f.results[1].ends && f.results[2].ends &&
                                     f.results[3].ends);
        f.held_count = 0;
        /* Kept ones are used again. */
        assert_int_equal(run(&f, 0, &echo)->status, 200);
        assert_int_equal(http_client_counters(f.client).connects, 4);
        assert_int_equal(http_client_counters(f.client).http2, 0);
        assert_non_null(strstr(f.fields, "Content-Length: 1\n"));

        /* A body that was sent before it was known which it would be. */
        http_client_forget(f.client, NULL);
        echo.target = STR("/echo");
        echo.body = STR_EMPTY;
        echo.streamed = true;
        echo.content_length = HTTP_LENGTH_UNKNOWN;
        struct result *result = start(&f, 0, &echo);
        http_call_send(result->call, &(struct stream_piece){ STR("early") }, 1);
        http_call_end(result->call);
        test_run_until(&f.t, result->ends || result->errors);
        assert_int_equal(result->ends, 1);
        assert_true(str_equal(buffer_str(&result->body), STR("early")));
        tear_down(&f);
}

static void fields_are_those_of_http2(void **state)
{
        const struct http_header headers[] = { { STR("X-Mixed"), STR("v") },
                                               { STR("Connection"), STR("close") },
                                               { STR("Host"), STR("evil") },
                                               { STR("TE"), STR("trailers") },
                                               { STR("Transfer-Encoding"), STR("chunked") } };
        const struct http_header evil = { STR("X"), STR("a\r\nb") };
        struct fixture f;
        struct http_call *call;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.listener, "/");
        request.method = STR("POST");
        request.body = STR("123");
        request.headers = headers;
        request.header_count = ARRAY_SIZE(headers);
        run(&f, 0, &request);
        assert_non_null(strstr(f.fields, "x-mixed: v\n"));
        assert_non_null(strstr(f.fields, "te: trailers\n"));
        assert_non_null(strstr(f.fields, "content-length: 3\n"));
        assert_non_null(strstr(f.fields, ":authority: 127.0.0.1:"));
        assert_null(strstr(f.fields, "connection"));
        assert_null(strstr(f.fields, "evil"));
        assert_null(strstr(f.fields, "transfer-encoding"));
        request.host = STR("named:1");
        run(&f, 0, &request);
        assert_non_null(strstr(f.fields, ":authority: named:1\n"));
        request.headers = &evil;
        request.header_count = 1;
        assert_int_equal(http_call_start(f.client, &request, &call_callbacks, NULL, &call),
                         -EINVAL);
        request.header_count = 0;
        request.target = STR("/a b");
        assert_int_equal(http_call_start(f.client, &request, &call_callbacks, NULL, &call),
                         -EINVAL);
        tear_down(&f);
}

static void bodies_stream_both_ways_and_end_with_trailers(void **state)
{
        enum { PIECE = 64 * 1024, PIECES = 16 };
        static char piece[PIECE];
        struct fixture f;

        (void)state;
        set_up(&f, TLS);
        struct http_request request = to(&f, f.listener, "/echo");
        request.method = STR("POST");
        request.streamed = true;
        request.content_length = HTTP_LENGTH_UNKNOWN;
        struct result *result = start(&f, 0, &request);
        http_call_send(result->call, &(struct stream_piece){ STR("a") }, 1);
        test_run_until(&f.t, result->body.length == 1);
        assert_int_equal(result->status, 200);
        size_t before = result->body.length;
        for (int i = 0; i < PIECES; i++)
                http_call_send(result->call, &(struct stream_piece){ { piece, PIECE } }, 1);
        assert_true(http_call_is_congested(result->call));
        test_run_until(&f.t, result->drains == 1 && result->body.length == before + PIECE * PIECES);
        const struct http_header trailer = { STR("X-Last"), STR("1") };
        http_call_end_with(result->call, &trailer, 1);
        test_run_until(&f.t, result->ends || result->errors);
        assert_int_equal(result->ends, 1);
        assert_int_equal(f.body_ends, 1);
        assert_string_equal(result->trailers, "grpc-status: 0\nx-sum: a b\n");
        tear_down(&f);
}

static void an_announced_length_is_kept(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.listener, "/echo");
        request.method = STR("POST");
        request.streamed = true;
        request.content_length = 2;
        struct result *result = start(&f, 0, &request);
        http_call_send(result->call, &(struct stream_piece){ STR("abc") }, 1);
        test_run_until(&f.t, result->errors);
        assert_int_equal(result->error, HTTP_ERROR_PROTOCOL);
        result = start(&f, 0, &request);
        http_call_end(result->call);
        test_run_until(&f.t, result->errors);
        assert_int_equal(result->error, HTTP_ERROR_PROTOCOL);
        tear_down(&f);
}

static void a_paused_call_holds_back_only_itself(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS);
        struct http_request large = to(&f, f.listener, "/large");
        struct http_request quick = to(&f, f.listener, "/quick");
        f.results[0].pause_in_head = true;
        struct result *paused = start(&f, 0, &large);
        test_run_until(&f.t, paused->status);
        for (size_t i = 1; i < 10; i++)
                assert_int_equal(run(&f, i, &quick)->status, 200);
        assert_int_equal(run(&f, 10, &large)->body.length, LARGE);
        assert_int_equal(paused->body.length, 0);
        assert_int_equal(paused->ends, 0);
        http_call_resume(paused->call);
        test_run_until(&f.t, paused->ends);
        assert_int_equal(paused->body.length, LARGE);

        /* What ends while it is held back, and what is given up then. */
        f.results[1].pause_in_head = true;
        for (int i = 0; i < 2; i++) {
                struct result *result = start(&f, 1, &quick);
                test_run_until(&f.t, result->status);
                assert_int_equal(run(&f, 2, &quick)->status, 200);
                assert_int_equal(result->ends, 0);
                if (i == 0) {
                        http_call_resume(result->call);
                        test_run_until(&f.t, result->ends);
                        assert_true(str_equal(buffer_str(&result->body), STR("/quick")));
                } else {
                        http_call_cancel(result->call);
                }
        }
        assert_int_equal(run(&f, 3, &quick)->status, 200);
        assert_int_equal(http_client_counters(f.client).connects, 1);
        tear_down(&f);
}

static void a_cancelled_call_resets_its_stream_only(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request watch = to(&f, f.listener, "/watch");
        struct http_request quick = to(&f, f.listener, "/");
        struct result *first = start(&f, 0, &watch), *second = start(&f, 1, &watch);
        test_run_until(&f.t, first->status && second->status);
        http_call_cancel(first->call);
        test_run_until(&f.t, f.aborts == 1);
        assert_int_equal(run(&f, 2, &quick)->status, 200);
        f.results[1].cancel_in_body = true;
        http_exchange_send(f.held[0], &(struct stream_piece){ STR("event") }, 1);
        http_exchange_flush(f.held[0]);
        test_run_until(&f.t, f.aborts == 2);
        assert_true(str_equal(buffer_str(&second->body), STR("event")));
        assert_int_equal(first->ends + first->errors + second->ends + second->errors, 0);
        /* Before anything was sent. */
        http_call_cancel(start(&f, 3, &quick)->call);
        assert_int_equal(run(&f, 4, &quick)->status, 200);
        assert_int_equal(http_client_counters(f.client).connects, 1);
        tear_down(&f);
}

static void the_first_call_connects_for_all(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS);
        struct http_request quick = to(&f, f.listener, "/");
        struct result *first = start(&f, 0, &quick);
        start(&f, 1, &quick);
        start(&f, 2, &quick);
        assert_int_equal(http_client_counters(f.client).connects, 1);
        /* Without it another goes on. */
        http_call_cancel(first->call);
        test_run_until(&f.t, f.results[1].ends && f.results[2].ends);
        assert_int_equal(http_client_counters(f.client).connects, 2);
        assert_int_equal(http_client_counters(f.client).http2, 1);

        /* If it fails, all do. */
        struct net_address address = *listener_address(f.listener);
        http_client_forget(f.client, &address);
        test_run_turns(&f.t, 3);
        assert_int_equal(http_client_counters(f.client).http2, 0);
        http_server_free(f.server);
        f.server = NULL;
        for (size_t i = 0; i < 3; i++)
                start(&f, i, &quick);
        test_run_until(&f.t, f.results[0].errors && f.results[1].errors && f.results[2].errors);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(f.results[i].error, HTTP_ERROR_DIAL);
        assert_int_equal(http_client_counters(f.client).connects, 3);
        tear_down(&f);
}

static void a_call_may_be_withheld_at_the_last_moment(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request quick = to(&f, f.listener, "/");
        run(&f, 0, &quick);
        unsigned before = f.requests;
        struct result *result = start(&f, 0, &quick);
        f.forbidden = true;
        test_run_until(&f.t, result->errors);
        assert_int_equal(result->error, HTTP_ERROR_DIAL);
        assert_int_equal(result->code, -ECANCELED);
        f.forbidden = false;
        assert_int_equal(run(&f, 1, &quick)->status, 200);
        assert_int_equal(f.requests, before + 1);
        tear_down(&f);
}

static void streams_above_a_goaway_are_refused(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.peers.listener, "/");
        struct result *first = start(&f, 0, &request), *second = start(&f, 1, &request);
        test_run_until(&f.t, got_frames(&f, HEADERS) == 2);
        assert_int_equal(f.peers.count, 1);
        struct buffer out = {};
        frame(&out, GOAWAY, 0, 0, BYTES("\0\0\0\1\0\0\0\0"));
        stream_write_str(f.peers.ends[0].stream, buffer_str(&out));
        test_run_until(&f.t, second->errors);
        assert_int_equal(second->error, HTTP_ERROR_REFUSED);
        assert_int_equal(first->errors, 0);
        /* New calls have a new connection, the old one is used to its end. */
        start(&f, 2, &request);
        test_run_until(&f.t, f.peers.count == 2);
        buffer_clear(&out);
        frame(&out, HEADERS, END_HEADERS | END_STREAM, 1, STATUS_200);
        stream_write_str(f.peers.ends[0].stream, buffer_str(&out));
        test_run_until(&f.t, first->ends && f.peers.ends[0].ended);
        assert_int_equal(first->status, 200);
        assert_int_equal(http_client_counters(f.client).http2, 1);
        buffer_deinit(&out);
        tear_down(&f);
}

static void resets_say_what_may_have_happened(void **state)
{
        static const struct {
                const char *head, *code;
                enum http_error error;
        } cases[] = {
                { "", "\0\0\0\7", HTTP_ERROR_REFUSED },  { "", "\0\0\0\2", HTTP_ERROR_CLOSED },
                { "\x88", "\0\0\0\2", HTTP_ERROR_EOF },  { "\x88", "\0\0\0\7", HTTP_ERROR_EOF },
                { "", "\0\0\0\1", HTTP_ERROR_PROTOCOL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;

                (void)state;
                set_up(&f, PLAIN);
                struct http_request request = to(&f, f.peers.listener, "/");
                struct result *result = start(&f, 0, &request);
                test_run_until(&f.t, got_frames(&f, HEADERS) == 1);
                struct buffer out = {};
                if (*cases[i].head)
                        frame(&out, HEADERS, END_HEADERS, 1, str_from(cases[i].head));
                frame(&out, RST, 0, 1, (struct str){ cases[i].code, 4 });
                stream_write_str(f.peers.ends[0].stream, buffer_str(&out));
                test_run_until(&f.t, result->errors);
                assert_int_equal(result->error, cases[i].error);
                buffer_deinit(&out);
                tear_down(&f);
        }
}

static void a_lost_connection_is_told_to_each_call(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.peers.listener, "/");
        frame(&f.script, HEADERS, END_HEADERS, 1, STATUS_200);
        struct result *first = start(&f, 0, &request), *second = start(&f, 1, &request);
        test_run_until(&f.t, first->status && got_frames(&f, HEADERS) == 2);
        test_end_close(&f.peers.ends[0]);
        test_run_until(&f.t, first->errors && second->errors);
        assert_int_equal(first->error, HTTP_ERROR_EOF);
        assert_int_equal(second->error, HTTP_ERROR_CLOSED);
        assert_int_equal(http_client_counters(f.client).http2, 0);
        tear_down(&f);
}

/* Paused, but nothing more could go wrong with it. */
static void a_complete_answer_outlives_its_connection(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.peers.listener, "/");
        frame(&f.script, HEADERS, END_HEADERS, 1, STATUS_200);
        frame(&f.script, DATA, END_STREAM, 1, STR("whole"));
        frame(&f.script, HEADERS, END_HEADERS, 3, STATUS_200);
        frame(&f.script, DATA, 0, 3, STR("half"));
        f.results[0].pause_in_head = f.results[1].pause_in_head = true;
        struct result *whole = start(&f, 0, &request), *half = start(&f, 1, &request);
        test_run_until(&f.t, whole->status && half->status);
        assert_int_equal(whole->body.length, 0);
        test_end_close(&f.peers.ends[0]);
        test_run_until(&f.t, whole->ends && half->errors);
        assert_true(str_equal(buffer_str(&whole->body), STR("whole")));
        assert_int_equal(half->error, HTTP_ERROR_EOF);
        tear_down(&f);
}

static void a_server_that_is_silent_is_asked_and_given_up(void **state)
{
        const struct http_client_options options = { .ping_after_ms = PING_MS,
                                                     .ping_timeout_ms = PING_MS };
        struct fixture f;

        (void)state;
        set_up_with(&f, PLAIN, options);
        struct http_request request = to(&f, f.peers.listener, "/");
        struct result *result = start(&f, 0, &request);
        test_run_until(&f.t, result->errors);
        assert_int_equal(result->error, HTTP_ERROR_CLOSED);
        assert_int_equal(result->code, -ETIMEDOUT);
        assert_int_equal(got_frames(&f, PING), 1);

        /* One that answers is waited for. */
        struct http_request watch = to(&f, f.listener, "/watch");
        uint64_t begun = net_loop_now_ms(f.t.net);
        result = start(&f, 0, &watch);
        test_run_until(&f.t, net_loop_now_ms(f.t.net) - begun > 6 * PING_MS);
        assert_int_equal(result->errors, 0);
        tear_down(&f);
}

/* A time-out of the caller's is the first sign that nobody is there any more. */
static void giving_up_on_a_silent_server_asks_for_a_sign(void **state)
{
        const struct http_client_options options = { .ping_timeout_ms = PING_MS };
        struct fixture f;

        (void)state;
        set_up_with(&f, PLAIN, options);
        struct http_request request = to(&f, f.peers.listener, "/");
        run(&f, 1,
            &(struct http_request){
                    .origin = request.origin, .target = STR("/"), .head_timeout_ms = 20 });
        assert_int_equal(f.results[1].error, HTTP_ERROR_TIMEOUT);
        /* Meanwhile others go elsewhere. */
        start(&f, 2, &request);
        test_run_until(&f.t, f.peers.count == 2);
        test_run_until(&f.t, f.peers.ends[0].ended);
        tear_down(&f);
}

static void idle_connections_are_closed(void **state)
{
        const struct http_client_options options = { .idle_timeout_ms = 30 };
        struct fixture f;

        (void)state;
        set_up_with(&f, PLAIN, options);
        struct http_request request = to(&f, f.listener, "/");
        run(&f, 0, &request);
        assert_int_equal(http_client_counters(f.client).http2, 1);
        test_run_until(&f.t, http_client_counters(f.client).http2 == 0);
        run(&f, 0, &request);
        assert_int_equal(http_client_counters(f.client).connects, 2);
        tear_down(&f);
}

static void more_streams_than_a_server_takes_have_a_connection_more(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, PLAIN);
        struct http_request request = to(&f, f.peers.listener, "/");
        frame(&f.script, SETTINGS, 0, 0, BYTES("\0\3\0\0\0\1")); /* MAX_CONCURRENT_STREAMS 1 */
        start(&f, 0, &request);
        test_run_until(&f.t, got_frames(&f, SETTINGS) == 3);
        start(&f, 1, &request);
        test_run_until(&f.t, f.peers.count == 2);
        assert_int_equal(http_client_counters(f.client).connects, 2);
        tear_down(&f);
}

/* Sends what makes a hostile server, and expects the call to end as it says. */
static void meet(const struct buffer *script, enum http_error error, bool connection_ends)
{
        struct fixture f;

        set_up(&f, PLAIN);
        assert_int_equal(buffer_append_str(&f.script, buffer_str(script)), 0);
        struct http_request request = to(&f, f.peers.listener, "/");
        struct result *result = run(&f, 0, &request);
        assert_int_equal(result->errors, 1);
        assert_int_equal(result->error, error);
        if (connection_ends)
                test_run_until(&f.t, http_client_counters(f.client).http2 == 0);
        assert_int_equal(http_client_counters(f.client).http2, !connection_ends);
        tear_down(&f);
}

static void floods_end_the_connection(void **state)
{
        static const struct {
                unsigned type, flags;
                uint32_t id;
                struct str body;
        } cases[] = {
                { PING, 0, 0, BYTES("12345678") },
                { SETTINGS, 0, 0, BYTES("\0\4\0\0\xff\xff") },
                { DATA, 0, 1, BYTES("") },
                { RST, 0, 3, BYTES("\0\0\0\0") },
                { PRIORITY, 0, 1, BYTES("\0\0\0\3\1") },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct buffer script = {};
                frame(&script, HEADERS, END_HEADERS, 1, STATUS_200);
                for (int n = 0; n < 1200; n++)
                        frame(&script, cases[i].type, cases[i].flags, cases[i].id, cases[i].body);
                meet(&script, HTTP_ERROR_PROTOCOL, true);
                buffer_deinit(&script);
        }
}

static void heads_are_limited(void **state)
{
        struct buffer script = {}, block = {};

        (void)state;
        /* A field in plain text, made again and again by its index in the table. */
        assert_int_equal(buffer_append(&block, "\x88\x40\x01x\x7f\xd1\x0e", 7), 0);
        for (int i = 0; i < 2000; i++)
                assert_int_equal(buffer_append_char(&block, 'v'), 0);
        for (int i = 0; i < 100; i++)
                assert_int_equal(buffer_append_char(&block, (char)0xbe), 0);
        frame(&script, HEADERS, END_HEADERS, 1, buffer_str(&block));
        meet(&script, HTTP_ERROR_PROTOCOL, false);

        /* More fields than we take. */
        buffer_clear(&script);
        buffer_clear(&block);
        assert_int_equal(buffer_append(&block, "\x88\x40\x01x\x01y", 6), 0);
        for (int i = 0; i < 200; i++)
                assert_int_equal(buffer_append_char(&block, (char)0xbe), 0);
        frame(&script, HEADERS, END_HEADERS, 1, buffer_str(&block));
        meet(&script, HTTP_ERROR_PROTOCOL, false);

        /* Informational heads without an end. */
        buffer_clear(&script);
        for (int i = 0; i < 40; i++)
                frame(&script, HEADERS, END_HEADERS, 1,
                      BYTES("\x08\x03"
                            "103"));
        meet(&script, HTTP_ERROR_PROTOCOL, false);
        buffer_deinit(&block);
        buffer_deinit(&script);
}

static void broken_frames_end_the_connection(void **state)
{
        static const struct {
                unsigned type, flags;
                uint32_t id;
                struct str body;
        } cases[] = {
                { HEADERS, END_HEADERS, 1, BYTES("\xff\xff\xff\xff\xff\xff\xff") },
                { HEADERS, END_HEADERS, 2, BYTES("\x88") },
                { DATA, 0, 0, BYTES("x") },
                { CONTINUATION, 0, 1, BYTES("x") },
                { PUSH, END_HEADERS, 1, BYTES("\0\0\0\2\x82") },
                { SETTINGS, 0, 0, BYTES("12345") },
                { WINDOW, 0, 0, BYTES("\0\0\0\0") },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct buffer script = {};
                frame(&script, cases[i].type, cases[i].flags, cases[i].id, cases[i].body);
                meet(&script, HTTP_ERROR_PROTOCOL, true);
                buffer_deinit(&script);
        }
}

static void a_server_that_speaks_something_else_is_told_apart(void **state)
{
        static const char *const scripts[] = {
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nhello",
                "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
                struct fixture f;

                set_up(&f, PLAIN);
                buffer_clear(&f.script);
                assert_int_equal(buffer_append_str(&f.script, str_from(scripts[i])), 0);
                struct http_request request = to(&f, f.peers.listener, "/");
                struct result *result = run(&f, 0, &request);
                assert_int_equal(result->error, HTTP_ERROR_PROTOCOL);
                tear_down(&f);
        }
}

static void a_client_may_go_at_any_time(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, TLS);
        struct http_request watch = to(&f, f.listener, "/watch");
        struct http_request fresh = to(&f, f.listener, "/watch");
        fresh.fresh = true;
        for (size_t i = 0; i < 3; i++)
                start(&f, i, &watch);
        test_run_until(&f.t, f.results[2].status);
        start(&f, 3, &watch);
        start(&f, 4, &fresh);
        start(&f, 5, &watch);
        assert_int_equal(http_client_counters(f.client).connects, 2);
        tear_down(&f);
        for (size_t i = 0; i < 6; i++)
                assert_int_equal(f.results[i].errors + f.results[i].ends, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(calls_share_one_connection),
                cmocka_unit_test(servers_without_http2_get_http1),
                cmocka_unit_test(fields_are_those_of_http2),
                cmocka_unit_test(bodies_stream_both_ways_and_end_with_trailers),
                cmocka_unit_test(an_announced_length_is_kept),
                cmocka_unit_test(a_paused_call_holds_back_only_itself),
                cmocka_unit_test(a_cancelled_call_resets_its_stream_only),
                cmocka_unit_test(the_first_call_connects_for_all),
                cmocka_unit_test(a_call_may_be_withheld_at_the_last_moment),
                cmocka_unit_test(streams_above_a_goaway_are_refused),
                cmocka_unit_test(resets_say_what_may_have_happened),
                cmocka_unit_test(a_lost_connection_is_told_to_each_call),
                cmocka_unit_test(a_complete_answer_outlives_its_connection),
                cmocka_unit_test(a_server_that_is_silent_is_asked_and_given_up),
                cmocka_unit_test(giving_up_on_a_silent_server_asks_for_a_sign),
                cmocka_unit_test(idle_connections_are_closed),
                cmocka_unit_test(more_streams_than_a_server_takes_have_a_connection_more),
                cmocka_unit_test(floods_end_the_connection),
                cmocka_unit_test(heads_are_limited),
                cmocka_unit_test(broken_frames_end_the_connection),
                cmocka_unit_test(a_server_that_speaks_something_else_is_told_apart),
                cmocka_unit_test(a_client_may_go_at_any_time),
        };

        return run_unit_tests("http2_client", tests);
}
