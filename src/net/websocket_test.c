// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/test_end.h"
#include "net/websocket.h"

struct side {
        struct websocket *socket;
        struct buffer got; /* "t:text;" for each message, "p" pieces joined */
        unsigned messages, closes, status, pieces, finals;
        struct buffer reason;
};

struct fixture {
        struct test_loop t;
        struct side server, client;
        struct test_end raw; /* instead of a client: bytes by hand */
        struct http_server *http;
        struct http_client *http_client;
        struct listener *listener;
        struct http_call *call;
        char key[WEBSOCKET_KEY_SIZE];
        unsigned status;
        struct str chosen;
};

static void on_message(struct websocket *socket, void *user, enum websocket_opcode opcode,
                       struct str data)
{
        struct side *side = user;

        (void)socket;
        side->messages++;
        assert_int_equal(buffer_printf(&side->got, "%c:", opcode == WEBSOCKET_TEXT ? 't' : 'b'), 0);
        assert_int_equal(buffer_append_str(&side->got, data), 0);
        assert_int_equal(buffer_append_char(&side->got, ';'), 0);
}

static void on_piece(struct websocket *socket, void *user, enum websocket_opcode opcode,
                     struct str data, bool final)
{
        struct side *side = user;

        (void)socket;
        (void)opcode;
        side->pieces++;
        side->finals += final;
        assert_int_equal(buffer_append_str(&side->got, data), 0);
}

static void on_close(struct websocket *socket, void *user, unsigned status, struct str reason)
{
        struct side *side = user;

        assert_ptr_equal(socket, side->socket);
        side->socket = NULL;
        side->closes++;
        side->status = status;
        assert_int_equal(buffer_append_str(&side->reason, reason), 0);
}

static const struct websocket_callbacks whole = { .on_message = on_message, .on_close = on_close };
static const struct websocket_callbacks in_pieces = { .on_piece = on_piece, .on_close = on_close };

static void set_up(struct fixture *f, const struct websocket_callbacks *server, bool raw,
                   struct str leftover)
{
        struct stream *a, *b;
        int pair[2];

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(stream_adopt(f->t.net, pair[0], &a), 0);
        assert_int_equal(stream_adopt(f->t.net, pair[1], &b), 0);
        assert_int_equal(
                websocket_new(a, false, leftover, 1000, server, &f->server, &f->server.socket), 0);
        if (raw) {
                test_end_start(&f->raw, b);
        } else {
                assert_int_equal(websocket_new(b, true, STR_EMPTY, 1000, &whole, &f->client,
                                               &f->client.socket),
                                 0);
        }
}

static void tear_down(struct fixture *f)
{
        http_client_free(f->http_client);
        http_server_free(f->http);
        websocket_free(f->server.socket);
        websocket_free(f->client.socket);
        test_end_close(&f->raw);
        /* Closing handshakes that nobody waits for any more end by themselves. */
        assert_int_equal(uv_run(&f->t.uv, UV_RUN_DEFAULT), 0);
        test_loop_tear_down(&f->t);
        test_end_deinit(&f->raw);
        buffer_deinit(&f->server.got);
        buffer_deinit(&f->client.got);
        buffer_deinit(&f->server.reason);
        buffer_deinit(&f->client.reason);
}

static void messages_go_both_ways(void **state)
{
        struct fixture f;
        char large[900];

        (void)state;
        memset(large, 'x', sizeof(large));
        set_up(&f, &whole, false, STR_EMPTY);
        websocket_send(f.client.socket, WEBSOCKET_TEXT,
                       (struct stream_piece[]){ { STR("hel") }, { STR("lo \xc3\xa9") } }, 2);
        websocket_send(f.client.socket, WEBSOCKET_BINARY, NULL, 0);
        websocket_ping(f.client.socket);
        websocket_send(f.client.socket, WEBSOCKET_BINARY,
                       &(struct stream_piece){ { large, sizeof(large) } }, 1);
        websocket_send(f.server.socket, WEBSOCKET_TEXT, &(struct stream_piece){ STR("back") }, 1);
        test_run_until(&f.t, f.server.messages == 3 && f.client.messages == 1);
        assert_true(str_starts_with(buffer_str(&f.server.got), STR("t:hello \xc3\xa9;b:;b:xxx")));
        assert_true(str_equal(buffer_str(&f.client.got), STR("t:back;")));

        websocket_close(f.client.socket, WEBSOCKET_NORMAL, STR("bye"));
        test_run_until(&f.t, f.server.closes && f.client.closes);
        assert_int_equal(f.server.status, WEBSOCKET_NORMAL);
        assert_int_equal(f.client.status, WEBSOCKET_NORMAL);
        assert_true(str_equal(buffer_str(&f.server.reason), STR("bye")));
        tear_down(&f);
}

static void a_vanished_peer_is_abnormal(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, &whole, false, STR_EMPTY);
        test_run_turns(&f.t, 3);
        websocket_free(f.client.socket);
        f.client.socket = NULL;
        test_run_until(&f.t, f.server.closes);
        assert_int_equal(f.server.status, WEBSOCKET_ABNORMAL);
        tear_down(&f);
}

/* Frames with a mask of zeroes, which changes nothing, so that tests can be read. */
#define FRAME(first, length, text) first length "\0\0\0\0" text

static void frames_are_put_together(void **state)
{
        static const char text[] = FRAME("\x01", "\x82", "ab") FRAME("\x89", "\x81", "p")
                FRAME("\x00", "\x81", "\xc3") FRAME("\x80", "\x81", "\xa9");

        (void)state;
        for (size_t step = 1; step < sizeof(text); step++) {
                struct fixture f;
                set_up(&f, &whole, true, STR_EMPTY);
                for (size_t at = 0; at < sizeof(text) - 1; at += step) {
                        size_t length = MIN(step, sizeof(text) - 1 - at);
                        stream_write_str(f.raw.stream, (struct str){ text + at, length });
                        test_run_turns(&f.t, 2);
                }
                test_run_until(&f.t, f.server.messages == 1 && f.raw.got.length == 3);
                assert_true(str_equal(buffer_str(&f.server.got), STR("t:ab\xc3\xa9;")));
                assert_true(str_equal(buffer_str(&f.raw.got), STR("\x8a\x01p")));
                tear_down(&f);
        }
        /* The same as pieces, and having come with the handshake. */
        struct fixture f;
        set_up(&f, &in_pieces, true, (struct str){ text, sizeof(text) - 1 });
        test_run_until(&f.t, f.server.finals == 1);
        assert_true(str_equal(buffer_str(&f.server.got), STR("ab\xc3\xa9")));
        assert_int_equal(f.server.pieces, 3);
        tear_down(&f);
}

static void broken_frames_end_the_connection(void **state)
{
        static const struct {
                struct str bytes;
                unsigned status;
        } cases[] = {
                { { "\x81\x01x", 3 }, WEBSOCKET_PROTOCOL_ERROR },         /* not masked */
                { { "\xc1\x81\0\0\0\0x", 7 }, WEBSOCKET_PROTOCOL_ERROR }, /* reserved bit */
                { { "\x83\x81\0\0\0\0x", 7 }, WEBSOCKET_PROTOCOL_ERROR }, /* opcode */
                { { "\x80\x81\0\0\0\0x", 7 }, WEBSOCKET_PROTOCOL_ERROR }, /* continues nothing */
                { { "\x01\x81\0\0\0\0x\x81\x81\0\0\0\0x", 14 }, WEBSOCKET_PROTOCOL_ERROR },
                { { "\x09\x81\0\0\0\0x", 7 }, WEBSOCKET_PROTOCOL_ERROR }, /* ping in fragments */
                { { "\x89\xfe\x00\x7e\0\0\0\0", 8 }, WEBSOCKET_PROTOCOL_ERROR }, /* long ping */
                { { "\x82\xfe\x00\x05\0\0\0\0", 8 }, WEBSOCKET_PROTOCOL_ERROR }, /* not minimal */
                { { "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14 }, WEBSOCKET_PROTOCOL_ERROR },
                { { "\x82\xfe\x03\xe9\0\0\0\0", 8 }, WEBSOCKET_TOO_BIG },
                { { "\x81\x81\0\0\0\0\xff", 7 }, WEBSOCKET_BAD_DATA },
                { { "\x81\x81\0\0\0\0\xc3", 7 }, WEBSOCKET_BAD_DATA },
                { { "\x81\x83\0\0\0\0\xed\xa0\x80", 9 }, WEBSOCKET_BAD_DATA }, /* surrogate */
                { { "\x88\x81\0\0\0\0\x03", 7 }, WEBSOCKET_PROTOCOL_ERROR },
                { { "\x88\x82\0\0\0\0\x03\xed", 8 }, WEBSOCKET_PROTOCOL_ERROR }, /* status 1005 */
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;
                set_up(&f, &whole, true, STR_EMPTY);
                stream_write_str(f.raw.stream, cases[i].bytes);
                test_run_until(&f.t, f.server.closes && (f.raw.ended || f.raw.closed));
                if (f.server.status != cases[i].status)
                        fail_msg("case %zu: %u", i, f.server.status);
                assert_int_equal(f.server.messages, 0);
                assert_int_equal((uint8_t)f.raw.got.data[0], 0x88);
                assert_int_equal((uint8_t)f.raw.got.data[2] << 8 | (uint8_t)f.raw.got.data[3],
                                 cases[i].status);
                tear_down(&f);
        }
}

static void closing_by_the_peer_is_answered(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, &whole, true, STR_EMPTY);
        stream_write_str(f.raw.stream, STR("\x88\x80\0\0\0\0"));
        test_run_until(&f.t, f.server.closes && (f.raw.ended || f.raw.closed));
        assert_int_equal(f.server.status, WEBSOCKET_NO_STATUS);
        assert_true(str_equal(buffer_str(&f.raw.got), STR("\x88\x00")));
        tear_down(&f);
}

static void the_published_example_of_the_handshake(void **state)
{
        char accept[WEBSOCKET_ACCEPT_SIZE];

        (void)state;
        websocket_accept_value(STR("dGhlIHNhbXBsZSBub25jZQ=="), accept);
        assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* ---- over HTTP ---- */

static void on_request(void *user, struct http_exchange *exchange)
{
        static const struct str offered[] = { { "v5.channel.k8s.io", 17 },
                                              { "v4.channel.k8s.io", 17 } };
        struct fixture *f = user;
        int chosen = websocket_choose_protocol(&exchange->request, offered, 2);

        int r = websocket_accept(exchange, chosen < 0 ? STR_EMPTY : offered[chosen], 0, &whole,
                                 &f->server, &f->server.socket);
        if (r < 0)
                http_exchange_respond_text(exchange, r == -EBADMSG ? 400 : 426, "text/plain",
                                           STR("no"));
}

static void call_head(struct http_call *call, void *user, const struct http_response_head *head)
{
        struct fixture *f = user;

        f->status = head->status;
        if (head->status != 101)
                return;
        f->call = NULL;
        assert_int_equal(websocket_from_call(call, head, STR("AAAAAAAAAAAAAAAAAAAAAA=="), 0, &whole,
                                             &f->client, &f->client.socket),
                         -EBADMSG);
        f->chosen = http_headers_get(&head->headers, STR("sec-websocket-protocol"));
        assert_true(str_equal(f->chosen, STR("v5.channel.k8s.io")));
        assert_int_equal(websocket_from_call(call, head, str_from(f->key), 0, &whole, &f->client,
                                             &f->client.socket),
                         0);
}

static void call_error(struct http_call *call, void *user, enum http_error error, int code)
{
        (void)call;
        (void)user;
        fail_msg("error %d, %d", (int)error, code);
}

static const struct http_call_callbacks call_callbacks = { .on_head = call_head,
                                                           .on_error = call_error };

static void the_handshake_goes_over_http(void **state)
{
        struct fixture f = {};
        struct net_address address;
        struct http_server_options options = { .on_request = on_request, .user = &f };

        (void)state;
        test_loop_set_up(&f.t);
        assert_int_equal(http_server_new(f.t.net, &options, &f.http), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(f.http, &address, NULL, 0, NULL, &f.listener), 0);
        assert_int_equal(http_client_new(f.t.net, NULL, &f.http_client), 0);
        websocket_make_key(f.key);
        struct http_header headers[] = {
                { STR("Upgrade"), STR("websocket") },
                { STR("Sec-WebSocket-Version"), STR("13") },
                { STR("Sec-WebSocket-Key"), str_from(f.key) },
                { STR("Sec-WebSocket-Protocol"), STR("v4.channel.k8s.io, v5.channel.k8s.io") },
        };
        struct http_request request = { .origin.address = *listener_address(f.listener),
                                        .target = STR("/"),
                                        .headers = headers,
                                        .header_count = 4,
                                        .upgrade = true };
        assert_int_equal(http_call_start(f.http_client, &request, &call_callbacks, &f, &f.call), 0);
        test_run_until(&f.t, f.client.socket != NULL);
        websocket_send(f.client.socket, WEBSOCKET_TEXT, &(struct stream_piece){ STR("over") }, 1);
        websocket_send(f.server.socket, WEBSOCKET_TEXT, &(struct stream_piece){ STR("http") }, 1);
        test_run_until(&f.t, f.client.messages && f.server.messages);

        static const struct {
                const char *version, *key;
                unsigned status;
        } bad[] = { { "8", "dGhlIHNhbXBsZSBub25jZQ==", 400 },
                    { "13", "short", 400 },
                    { "13", "dGhlIHNhbXBsZSBub25jZQ=!", 400 } };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                headers[1].value = str_from(bad[i].version);
                headers[2].value = str_from(bad[i].key);
                f.status = 0;
                assert_int_equal(
                        http_call_start(f.http_client, &request, &call_callbacks, &f, &f.call), 0);
                test_run_until(&f.t, f.status == bad[i].status);
        }
        request.upgrade = false;
        assert_int_equal(http_call_start(f.http_client, &request, &call_callbacks, &f, &f.call), 0);
        test_run_until(&f.t, f.status == 426);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_go_both_ways),
                cmocka_unit_test(a_vanished_peer_is_abnormal),
                cmocka_unit_test(frames_are_put_together),
                cmocka_unit_test(broken_frames_end_the_connection),
                cmocka_unit_test(closing_by_the_peer_is_answered),
                cmocka_unit_test(the_published_example_of_the_handshake),
                cmocka_unit_test(the_handshake_goes_over_http),
        };

        return run_unit_tests("websocket", tests);
}
