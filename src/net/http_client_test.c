// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/test_call.h"
#include "net/test_certificates.h"
#include "net/test_end.h"

struct fixture {
        struct test_loop t;
        struct test_certificates certificates;
        struct tls_context *server_context, *client_context;
        struct http_server *server;
        struct listener *listener;
        struct http_client *client;
        struct result result;

        struct buffer got; /* the last request's body */
        char fields[4096]; /* of the last request, as "name: value\n" */
        struct http_exchange *held;
        unsigned requests, aborts;
        struct test_end taken; /* by an upgrade; echoes */

        /* A server that says what a test wants, whatever it is asked. */
        struct test_peers peers;
        const char *script;
        bool script_closes;
};

/* ---- the server ---- */

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct fixture *f = user;

        buffer_clear(&f->got);
        assert_int_equal(buffer_append_str(&f->got, body), 0);
        if (str_equal(exchange->request.path, STR("/held"))) {
                f->held = exchange;
                return;
        }
        if (str_equal(exchange->request.path, STR("/large"))) {
                enum { SIZE = 4 * 1024 * 1024 };
                char *data = calloc(1, SIZE);
                http_exchange_respond(exchange, 200, NULL, 0,
                                      (struct stream_piece){ { data, SIZE }, free, data });
                return;
        }
        http_exchange_respond_text(exchange, 200, "text/plain",
                                   body.length > 0 ? body : exchange->request.target);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fixture *f = user;

        (void)exchange;
        (void)error;
        f->aborts++;
        f->held = NULL;
}

static const struct http_exchange_callbacks exchange_callbacks = { .on_whole = on_whole,
                                                                   .on_abort = on_abort };

static void on_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;

        f->requests++;
        f->fields[0] = '\0';
        test_note_fields(&exchange->request.headers, f->fields, sizeof(f->fields));
        if (str_equal(exchange->request.path, STR("/early"))) {
                http_exchange_respond_text(exchange, 403, "text/plain", STR("no"));
        } else if (exchange->request.is_upgrade) {
                struct http_header upgrade = { STR("Upgrade"), STR("echo") };
                struct stream *stream;
                struct str leftover;
                assert_int_equal(http_exchange_upgrade(exchange, &upgrade, 1, &stream, &leftover),
                                 0);
                stream_write_str(stream, STR("hello"));
                f->taken.on_got = test_end_echo;
                test_end_start(&f->taken, stream);
        } else {
                http_exchange_collect(exchange, 64 * 1024 * 1024, &exchange_callbacks, f);
        }
}

static void script_got(struct test_end *end, struct str data _unused_)
{
        const struct fixture *f = end->user;

        if (f->script)
                stream_write_str(end->stream, str_from(f->script));
        if (f->script_closes)
                stream_shutdown(end->stream);
}

static void set_up(struct fixture *f, bool tls)
{
        struct http_server_options options = { .on_request = on_request, .user = f };
        const struct net_address address = test_loopback();

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        test_certificates_set_up(&f->certificates);
        if (tls) {
                f->server_context = test_server_context(&f->certificates, TLS_CLIENT_OFF, false);
                f->client_context = test_client_context(&f->certificates, false, false);
        }
        assert_int_equal(http_server_new(f->t.net, &options, &f->server), 0);
        assert_int_equal(http_server_listen(f->server, &address,
                                            tls ? tls_context_filter(f->server_context) : NULL, 0,
                                            NULL, &f->listener),
                         0);
        test_peers_listen(&f->peers, &f->t, script_got, f);
        assert_int_equal(http_client_new(f->t.net, NULL, &f->client), 0);
}

static void tear_down(struct fixture *f)
{
        http_client_free(f->client);
        http_server_free(f->server);
        test_peers_close(&f->peers);
        test_end_deinit(&f->taken);
        buffer_deinit(&f->got);
        buffer_deinit(&f->result.body);
        tls_context_free(f->server_context);
        tls_context_free(f->client_context);
        test_certificates_tear_down(&f->certificates);
        test_loop_tear_down(&f->t);
}
#define _cleanup_fixture_ _cleanup_(tear_down)

/* ---- the client ---- */

static const struct http_call_callbacks call_callbacks = { call_connected, call_head,  call_body,
                                                           call_end,       call_drain, call_error };

static struct http_request to(const struct fixture *f, struct listener *listener,
                              const char *target)
{
        return (struct http_request){
                .origin = { .address = *listener_address(listener),
                            .filter = f->client_context ? tls_context_filter(f->client_context)
                                                        : NULL,
                            .server_name = STR("localhost") },
                .target = str_from(target),
        };
}

static void start(struct fixture *f, const struct http_request *request)
{
        struct result *result = &f->result;

        buffer_clear(&result->body);
        *result = (struct result){ .body = result->body, .pause_in_head = result->pause_in_head };
        assert_int_equal(
                http_call_start(f->client, request, &call_callbacks, result, &result->call), 0);
        assert_int_equal(result->connected + result->ends + result->errors, 0);
}

static void run(struct fixture *f, const struct http_request *request)
{
        start(f, request);
        test_run_until(&f->t, f->result.ends || f->result.errors);
}

static void connections_are_kept_and_used_again(void **state)
{
        for (int tls = 0; tls < 2; tls++) {
                _cleanup_fixture_ struct fixture f;

                (void)state;
                set_up(&f, tls);
                struct http_request request = to(&f, f.listener, "/a%2Fb?c");
                for (int i = 0; i < 3; i++) {
                        run(&f, &request);
                        assert_int_equal(f.result.ends, 1);
                        assert_int_equal(f.result.connected, 1);
                        assert_int_equal(f.result.status, 200);
                        assert_true(str_equal(buffer_str(&f.result.body), STR("/a%2Fb?c")));
                        assert_int_equal(f.result.reused, i > 0);
                }
                assert_int_equal(http_client_counters(f.client).connects, 1);
                assert_int_equal(http_client_counters(f.client).idle, 1);
                request.fresh = true;
                run(&f, &request);
                assert_false(f.result.reused);
                http_client_forget(f.client, listener_address(f.listener));
                assert_int_equal(http_client_counters(f.client).idle, 0);
        }
}

static void requests_have_their_fields(void **state)
{
        _cleanup_fixture_ struct fixture f;
        const struct http_header headers[] = { { STR("X-A"), STR("b") },
                                               { STR("Connection"), STR("close") },
                                               { STR("Content-Length"), STR("77") } };

        (void)state;
        set_up(&f, false);
        struct http_request request = to(&f, f.listener, "/");
        request.method = STR("POST");
        request.headers = headers;
        request.header_count = 3;
        run(&f, &request);
        assert_non_null(strstr(f.fields, "X-A: b\n"));
        assert_non_null(strstr(f.fields, "Content-Length: 0\n"));
        assert_non_null(strstr(f.fields, "Host: 127.0.0.1:"));
        assert_null(strstr(f.fields, "Connection"));
        request.host = STR("named");
        request.body = STR("body");
        run(&f, &request);
        assert_non_null(strstr(f.fields, "Host: named\n"));
        assert_true(str_equal(buffer_str(&f.result.body), STR("body")));
        request.method = STR("GET");
        request.body = STR_EMPTY;
        run(&f, &request);
        assert_null(strstr(f.fields, "Content-Length"));

        const struct http_header evil = { STR("X"), STR("a\r\nb: c") };
        request.headers = &evil;
        request.header_count = 1;
        assert_int_equal(
                http_call_start(f.client, &request, &call_callbacks, &f.result, &f.result.call),
                -EINVAL);
}

static void bodies_are_streamed(void **state)
{
        static const int64_t lengths[] = { HTTP_LENGTH_UNKNOWN, 11 };
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, false);
        for (size_t i = 0; i < 2; i++) {
                struct http_request request = to(&f, f.listener, "/");
                request.method = STR("POST");
                request.streamed = true;
                request.content_length = lengths[i];
                /* The first call sends before it is connected, the second on a kept connection. */
                start(&f, &request);
                const struct stream_piece pieces[] = { { STR("hello") }, { STR(" ") } };
                http_call_send(f.result.call, pieces, 2);
                test_run_until(&f.t, f.result.connected);
                http_call_send(f.result.call, &(struct stream_piece){ STR("world") }, 1);
                http_call_end(f.result.call);
                test_run_until(&f.t, f.result.ends || f.result.errors);
                assert_true(str_equal(buffer_str(&f.result.body), STR("hello world")));
        }
        assert_int_equal(http_client_counters(f.client).connects, 1);

        /* What was announced must come. */
        struct http_request request = to(&f, f.listener, "/");
        request.streamed = true;
        request.content_length = 3;
        start(&f, &request);
        http_call_send(f.result.call, &(struct stream_piece){ STR("four") }, 1);
        test_run_until(&f.t, f.result.errors);
        assert_int_equal(f.result.error, HTTP_ERROR_PROTOCOL);
        start(&f, &request);
        http_call_end(f.result.call);
        test_run_until(&f.t, f.result.errors);
        assert_int_equal(f.result.code, -EINVAL);
}

static void large_bodies_obey_back_pressure(void **state)
{
        enum { SIZE = 16 * 1024 * 1024 };
        _cleanup_fixture_ struct fixture f;
        char *data = calloc(1, SIZE);

        (void)state;
        set_up(&f, false);
        struct http_request request = to(&f, f.listener, "/large");
        f.result.pause_in_head = true;
        for (int i = 0; i < 2; i++) {
                start(&f, &request);
                test_run_until(&f.t, f.result.status == 200);
                test_run_turns(&f.t, 50);
                assert_true(f.result.body.length == 0);
                http_call_resume(f.result.call);
                test_run_until(&f.t, f.result.ends);
                assert_int_equal(f.result.body.length, 4 * 1024 * 1024);
        }

        request = to(&f, f.listener, "/");
        request.method = STR("PUT");
        request.streamed = true;
        request.content_length = SIZE;
        f.result.pause_in_head = false;
        start(&f, &request);
        http_call_send(f.result.call, &(struct stream_piece){ { data, SIZE } }, 1);
        assert_true(http_call_is_congested(f.result.call));
        test_run_until(&f.t, f.result.drains == 1);
        http_call_end(f.result.call);
        test_run_until(&f.t, f.result.ends);
        assert_int_equal(f.got.length, SIZE);
        free(data);
}

static void early_answers_end_the_connection(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, false);
        struct http_request request = to(&f, f.listener, "/early");
        request.streamed = true;
        request.content_length = HTTP_LENGTH_UNKNOWN;
        run(&f, &request);
        assert_int_equal(f.result.status, 403);
        assert_true(str_equal(buffer_str(&f.result.body), STR("no")));
        assert_int_equal(http_client_counters(f.client).idle, 0);
}

static void failures_have_their_class(void **state)
{
        static const struct {
                const char *answer;
                bool closes;
                enum http_error error;
        } cases[] = {
                { NULL, true, HTTP_ERROR_CLOSED },
                { "HTTP/1.1 200", true, HTTP_ERROR_EOF },
                { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", true, HTTP_ERROR_EOF },
                { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true,
                  HTTP_ERROR_EOF },
                { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false,
                  HTTP_ERROR_PROTOCOL },
                { "SSH-2.0-OpenSSH\r\n", false, HTTP_ERROR_PROTOCOL },
                { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false,
                  HTTP_ERROR_PROTOCOL },
                { NULL, false, HTTP_ERROR_TIMEOUT },
                { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false, HTTP_ERROR_TIMEOUT },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_fixture_ struct fixture f;
                set_up(&f, false);
                f.script = cases[i].answer;
                f.script_closes = cases[i].closes;
                struct http_request request = to(&f, f.peers.listener, "/");
                if (cases[i].error == HTTP_ERROR_TIMEOUT)
                        request.head_timeout_ms = request.idle_timeout_ms = 30;
                run(&f, &request);
                if (f.result.errors != 1 || f.result.error != cases[i].error)
                        fail_msg("case %zu: error %d", i, f.result.error);
                assert_true(f.result.code < 0);
                assert_int_equal(http_client_counters(f.client).calls, 0);
        }
}

static void dialing_failures_are_told_apart(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, true);
        /* TLS to a server without it. */
        f.script = "HTTP/1.1 400 Bad Request\r\n\r\n";
        struct http_request request = to(&f, f.peers.listener, "/");
        run(&f, &request);
        assert_int_equal(f.result.error, HTTP_ERROR_TLS);
        /* A certificate for another name. */
        request = to(&f, f.listener, "/");
        request.origin.server_name = STR("elsewhere");
        run(&f, &request);
        assert_int_equal(f.result.error, HTTP_ERROR_TLS);
        assert_int_equal(f.result.code, -EKEYREJECTED);
        /* Nobody. */
        request = to(&f, f.peers.listener, "/");
        listener_close(f.peers.listener);
        f.peers.listener = NULL;
        run(&f, &request);
        assert_int_equal(f.result.error, HTTP_ERROR_DIAL);
        assert_int_equal(f.result.code, -ECONNREFUSED);
        /* A server that accepts and says nothing, by TLS. */
        tear_down(&f);
        set_up(&f, true);
        request = to(&f, f.peers.listener, "/");
        request.connect_timeout_ms = 30;
        run(&f, &request);
        assert_int_equal(f.result.error, HTTP_ERROR_DIAL);
        assert_int_equal(f.result.code, -ETIMEDOUT);
}

static void unusual_answers_are_understood(void **state)
{
        static const struct {
                const char *answer;
                bool closes;
                unsigned status;
                const char *body;
                unsigned idle;
        } cases[] = {
                { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                  false, 200, "ok", 1 },
                { "HTTP/1.0 200 OK\r\n\r\nuntil the end", true, 200, "until the end", 0 },
                { "HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", 1 },
                { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false, 200,
                  "ok", 0 },
                { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokMORE", false, 200, "ok", 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_fixture_ struct fixture f;
                set_up(&f, false);
                f.script = cases[i].answer;
                f.script_closes = cases[i].closes;
                struct http_request request = to(&f, f.peers.listener, "/");
                run(&f, &request);
                assert_int_equal(f.result.ends, 1);
                assert_int_equal(f.result.status, cases[i].status);
                assert_true(str_equal(buffer_str(&f.result.body), str_from(cases[i].body)));
                assert_int_equal(http_client_counters(f.client).idle, cases[i].idle);
        }
}

static void a_connection_that_the_server_closed_is_not_used(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, false);
        f.script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        struct http_request request = to(&f, f.peers.listener, "/");
        run(&f, &request);
        assert_int_equal(http_client_counters(f.client).idle, 1);
        /* It has closed, and the client's loop has not seen it yet. */
        test_end_close(&f.peers.ends[0]);
        run(&f, &request);
        assert_int_equal(f.result.ends, 1);
        assert_false(f.result.reused);
}

static void calls_can_be_cancelled(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, false);
        struct http_request request = to(&f, f.listener, "/held");
        start(&f, &request);
        http_call_cancel(f.result.call);
        start(&f, &request);
        test_run_until(&f.t, f.held != NULL);
        http_call_cancel(f.result.call);
        test_run_until(&f.t, f.aborts == 1);
        assert_int_equal(f.result.ends + f.result.errors, 0);
        /* And by freeing the client, also while a name is looked up. */
        request.origin = (struct http_origin){ .host = STR("localhost"), .port = 1 };
        start(&f, &request);
}

static void names_are_looked_up(void **state)
{
        _cleanup_fixture_ struct fixture f;

        (void)state;
        set_up(&f, false);
        struct http_request request = { .origin = { .host = STR("localhost"),
                                                    .port = net_address_port(
                                                            listener_address(f.listener)) },
                                        .target = STR("/x") };
        run(&f, &request);
        assert_int_equal(f.result.ends, 1);
        assert_non_null(strstr(f.fields, "Host: localhost:"));
        run(&f, &request);
        assert_true(f.result.reused);
        request.origin.host = STR("no-such-name.invalid");
        run(&f, &request);
        assert_int_equal(f.result.error, HTTP_ERROR_DIAL);
}

static void upgrades_give_the_stream_away(void **state)
{
        _cleanup_fixture_ struct fixture f;
        struct test_end tunnel = {};
        struct stream *stream;
        const struct http_header upgrade = { STR("Upgrade"), STR("echo") };
        struct str leftover;

        (void)state;
        set_up(&f, false);
        struct http_request request = to(&f, f.listener, "/");
        request.upgrade = true;
        request.headers = &upgrade;
        request.header_count = 1;
        start(&f, &request);
        assert_int_equal(http_call_take_over(f.result.call, &stream, &leftover), -EOPNOTSUPP);
        test_run_until(&f.t, f.result.status == 101);
        assert_int_equal(http_call_take_over(f.result.call, &stream, &leftover), 0);
        assert_int_equal(buffer_append_str(&tunnel.got, leftover), 0);
        test_end_start(&tunnel, stream);
        stream_write_str(tunnel.stream, STR("echo"));
        test_run_until(&f.t, tunnel.got.length == 9);
        assert_true(str_equal(buffer_str(&tunnel.got), STR("helloecho")));
        test_end_deinit(&tunnel);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(connections_are_kept_and_used_again),
                cmocka_unit_test(requests_have_their_fields),
                cmocka_unit_test(bodies_are_streamed),
                cmocka_unit_test(large_bodies_obey_back_pressure),
                cmocka_unit_test(early_answers_end_the_connection),
                cmocka_unit_test(failures_have_their_class),
                cmocka_unit_test(dialing_failures_are_told_apart),
                cmocka_unit_test(unusual_answers_are_understood),
                cmocka_unit_test(a_connection_that_the_server_closed_is_not_used),
                cmocka_unit_test(calls_can_be_cancelled),
                cmocka_unit_test(names_are_looked_up),
                cmocka_unit_test(upgrades_give_the_stream_away),
        };

        return run_unit_tests("http_client", tests);
}
