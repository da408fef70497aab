// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/test.h"
#include "net/http1.h"

struct parsed {
        struct arena arena;
        struct http_request_head head;
        struct http1_body body;
        struct http1_connection connection;
        size_t length;
};

static int parse(struct parsed *p, struct str text)
{
        size_t scanned = 0;

        *p = (struct parsed){};
        return http1_parse_request(&p->arena, text, &scanned, &p->head, &p->body, &p->connection,
                                   &p->length);
}

static void a_request_has_its_parts(void **state)
{
        struct parsed p;

        (void)state;
        assert_int_equal(parse(&p, STR("\r\nPOST /a%2Fb//c?x=1&y=%20 HTTP/1.1\r\nHost: h:80\r\n"
                                       "X-Empty:\r\nCONTENT-length: 5 \r\n\r\nhello")),
                         0);
        assert_true(str_equal(p.head.method, STR("POST")));
        assert_true(str_equal(p.head.target, STR("/a%2Fb//c?x=1&y=%20")));
        assert_true(str_equal(p.head.path, STR("/a%2Fb//c")));
        assert_true(str_equal(p.head.query, STR("x=1&y=%20")));
        assert_true(str_equal(p.head.authority, STR("h:80")));
        assert_int_equal(p.head.content_length, 5);
        assert_int_equal(p.head.headers.count, 3);
        assert_true(p.connection.keep_alive);
        assert_int_equal(p.body.framing, HTTP1_LENGTH);
        arena_deinit(&p.arena);
}

static void requests_are_refused(void **state)
{
        static const struct {
                const char *text;
                int result;
        } cases[] = {
                { "GET / HTTP/1.1\nHost: h\n\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", -EBADMSG },
                { "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET a HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET * HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET /\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET / http/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET / HTTP/2.0\r\nHost: h\r\n\r\n", -EPROTONOSUPPORT },
                { "G@T / HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { " GET / HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "\x16\x03\x01", -EBADMSG },
                { "GET / HTTP/1.1\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", -EBADMSG },
                { "GET / HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                  -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
                  -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n",
                  -EBADMSG },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                  -EOPNOTSUPP },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
                  -EOPNOTSUPP },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n",
                  -EOPNOTSUPP },
                { "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG },
                { "GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
                { "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct parsed p;
                int r = parse(&p, str_from(cases[i].text));
                if (r != cases[i].result)
                        fail_msg("%s: %d instead of %d", cases[i].text, r, cases[i].result);
                arena_deinit(&p.arena);
        }
        struct parsed p;
        assert_int_equal(parse(&p, STR("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n")), -EBADMSG);
        arena_deinit(&p.arena);
}

static void every_beginning_of_a_head_asks_for_more(void **state)
{
        struct str text = STR("GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
        size_t kept = 0;

        (void)state;
        for (size_t i = 0; i < text.length; i++) {
                struct parsed p = {};
                assert_int_equal(parse(&p, str_slice(text, 0, i)), HTTP1_MORE);
                assert_int_equal(http1_parse_request(&p.arena, str_slice(text, 0, i), &kept,
                                                     &p.head, &p.body, &p.connection, &p.length),
                                 HTTP1_MORE);
                arena_deinit(&p.arena);
        }
        struct parsed p = {};
        assert_int_equal(http1_parse_request(&p.arena, text, &kept, &p.head, &p.body, &p.connection,
                                             &p.length),
                         0);
        assert_int_equal(p.length, text.length);
        arena_deinit(&p.arena);
}

static void forms_of_targets_and_connections(void **state)
{
        struct parsed p;

        (void)state;
        assert_int_equal(parse(&p, STR("GET http://x.y:1?q HTTP/1.1\r\nHost: z\r\n\r\n")), 0);
        assert_true(str_equal(p.head.authority, STR("x.y:1")));
        assert_true(str_equal(p.head.path, STR("/")));
        assert_true(str_equal(p.head.query, STR("q")));
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("OPTIONS * HTTP/1.1\r\nHost: z\r\n\r\n")), 0);
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("GET / HTTP/1.0\r\n\r\n")), 0);
        assert_false(p.connection.keep_alive);
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n\r\n")), 0);
        assert_true(p.connection.keep_alive);
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("GET / HTTP/1.1\r\nHost: h\r\nConnection: x,Upgrade\r\n"
                                       "Upgrade: websocket\r\nExpect: 100-Continue\r\n\r\n")),
                         0);
        assert_true(p.head.is_upgrade);
        assert_true(p.head.expects_continue);
        arena_deinit(&p.arena);
        assert_int_equal(parse(&p, STR("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
                         0);
        assert_false(p.connection.keep_alive);
        assert_int_equal(p.body.framing, HTTP1_NO_BODY);
        arena_deinit(&p.arena);
}

static void heads_are_limited(void **state)
{
        _cleanup_buffer_ struct buffer text = {};
        struct parsed p;

        (void)state;
        assert_int_equal(buffer_append_str(&text, STR("GET / HTTP/1.1\r\nHost: h\r\n")), 0);
        for (int i = 0; i < LIMIT_HEADERS - 1; i++)
                assert_int_equal(buffer_append_str(&text, STR("a: b\r\n")), 0);
        size_t before = text.length;
        assert_int_equal(buffer_append_str(&text, STR("\r\n")), 0);
        assert_int_equal(parse(&p, buffer_str(&text)), 0);
        arena_deinit(&p.arena);
        text.length = before;
        assert_int_equal(buffer_append_str(&text, STR("a: b\r\n\r\n")), 0);
        assert_int_equal(parse(&p, buffer_str(&text)), -EMSGSIZE);
        arena_deinit(&p.arena);

        text.length = 0;
        assert_int_equal(buffer_append_str(&text, STR("GET /")), 0);
        while (text.length <= LIMIT_HEAD)
                assert_int_equal(buffer_append_char(&text, 'a'), 0);
        assert_int_equal(parse(&p, buffer_str(&text)), -EMSGSIZE);
        arena_deinit(&p.arena);
}

/* Decodes `text` in steps of `step` bytes into `out`. Returns END, MORE or an error. */
static int decode(struct http1_body body, struct str text, size_t step, struct buffer *out,
                  size_t *ret_rest)
{
        int r = HTTP1_MORE;

        for (size_t at = 0; at < text.length && r == HTTP1_MORE; at += step) {
                struct str input = str_slice(text, at, MIN(at + step, text.length)), piece;
                while ((r = http1_body_next(&body, &input, &piece)) == HTTP1_PIECE)
                        assert_int_equal(buffer_append_str(out, piece), 0);
                *ret_rest = text.length - MIN(at + step, text.length) + input.length;
        }
        return r;
}

static void chunked_bodies(void **state)
{
        static const struct {
                const char *text;
                int result;
                const char *body;
                size_t rest;
        } cases[] = {
                { "5\r\nhello\r\n0\r\n\r\n", HTTP1_END, "hello", 0 },
                { "5;a=\"b\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nGET",
                  HTTP1_END, "hello0123456789", 3 },
                { "5\r\nhel", HTTP1_MORE, "hel", 0 },
                { "5\nhello\r\n0\r\n\r\n", -EBADMSG, "", 0 },
                { "5\r\nhelloX\n0\r\n\r\n", -EBADMSG, "hello", 0 },
                { "5 \r\nhello\r\n0\r\n\r\n", -EBADMSG, "", 0 },
                { "-5\r\nhello", -EBADMSG, "", 0 },
                { "\r\n", -EBADMSG, "", 0 },
                { "0x5\r\nhello\r\n", -EBADMSG, "", 0 },
                { "fffffffffffffffff\r\n", -EBADMSG, "", 0 },
                { "0\r\nX\r\n\r\n", -EBADMSG, "", 0 },
                { "0\r\n X: y\r\n\r\n", -EBADMSG, "", 0 },
                { "0\r\nX: y\n\r\n", -EBADMSG, "", 0 },
                { "5\rhello", -EBADMSG, "", 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                for (size_t step = 1; step < 40; step++) {
                        _cleanup_buffer_ struct buffer out = {};
                        struct http1_body body = { .framing = HTTP1_CHUNKED };
                        size_t rest = 0;
                        int r = decode(body, str_from(cases[i].text), step, &out, &rest);
                        if (r != cases[i].result)
                                fail_msg("%s by %zu: %d", cases[i].text, step, r);
                        assert_true(str_equal(buffer_str(&out), str_from(cases[i].body)));
                        if (r == HTTP1_END)
                                assert_int_equal(rest, cases[i].rest);
                }
        }
}

static void bodies_of_a_length(void **state)
{
        struct http1_body body = { .framing = HTTP1_LENGTH, .left = 4 };
        _cleanup_buffer_ struct buffer out = {};
        size_t rest = 0;

        (void)state;
        assert_false(http1_body_may_end(&body));
        assert_int_equal(decode(body, STR("abcdNEXT"), 3, &out, &rest), HTTP1_END);
        assert_true(str_equal(buffer_str(&out), STR("abcd")));
        assert_int_equal(rest, 4);
}

static void responses(void **state)
{
        static const struct {
                const char *text, *method;
                int result;
                unsigned status;
                enum http1_framing framing;
                int64_t length;
                bool keep_alive;
        } cases[] = {
                { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "GET", 0, 200, HTTP1_LENGTH, 2,
                  true },
                { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD", 0, 200, HTTP1_NO_BODY, 2,
                  true },
                { "HTTP/1.1 200 \r\n\r\n", "GET", 0, 200, HTTP1_UNTIL_CLOSE, -1, false },
                { "HTTP/1.0 404 No way\r\n\r\n", "GET", 0, 404, HTTP1_UNTIL_CLOSE, -1, false },
                { "HTTP/1.1 204 No Content\r\n\r\n", "GET", 0, 204, HTTP1_NO_BODY, 0, true },
                { "HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", "GET", 0, 304, HTTP1_NO_BODY, 7,
                  true },
                { "HTTP/1.1 100 Continue\r\n\r\n", "POST", 0, 100, HTTP1_NO_BODY, 0, true },
                { "HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n", "GET", 0, 101, HTTP1_NO_BODY, 0, false },
                { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", 0, 200,
                  HTTP1_CHUNKED, -1, true },
                { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                  "GET", -EBADMSG },
                { "HTTP/1.1 20 OK\r\n\r\n", "GET", -EBADMSG },
                { "HTTP/1.1 2000 OK\r\n\r\n", "GET", -EBADMSG },
                { "HTTP/1.1 099 OK\r\n\r\n", "GET", -EBADMSG },
                { "ICY 200 OK\r\n\r\n", "GET", -EBADMSG },
                { "SSH-2.0", "GET", -EBADMSG },
                { "\r\nHTTP/1.1 200 OK\r\n\r\n", "GET", -EBADMSG },
                { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "GET",
                  -EBADMSG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(arena_deinit) struct arena arena = {};
                struct http_response_head head;
                struct http1_body body;
                struct http1_connection connection;
                size_t scanned = 0, length;
                int r = http1_parse_response(&arena, str_from(cases[i].text), &scanned,
                                             str_from(cases[i].method), &head, &body, &connection,
                                             &length);
                if (r != cases[i].result)
                        fail_msg("%s: %d", cases[i].text, r);
                if (r < 0)
                        continue;
                assert_int_equal(head.status, cases[i].status);
                assert_int_equal(body.framing, cases[i].framing);
                assert_int_equal(head.content_length, cases[i].length);
                assert_int_equal(connection.keep_alive, cases[i].keep_alive);
        }
}

static void heads_are_not_injected(void **state)
{
        _cleanup_buffer_ struct buffer out = {};

        (void)state;
        assert_int_equal(http1_append_field(&out, STR("X"), STR("a\r\nB: c")), -EINVAL);
        assert_int_equal(http1_append_field(&out, STR("X Y"), STR("a")), -EINVAL);
        assert_int_equal(http1_append_request_line(&out, STR("GET"), STR("/ HTTP/1.1\r\n")),
                         -EINVAL);
        assert_int_equal(out.length, 0);
        assert_int_equal(http1_append_status_line(&out, 404, STR("Not Found")), 0);
        assert_int_equal(http1_append_field(&out, STR("X"), STR("y")), 0);
        assert_true(str_equal(buffer_str(&out), STR("HTTP/1.1 404 Not Found\r\nX: y\r\n")));
}

static void queries_and_escapes(void **state)
{
        _cleanup_(arena_deinit) struct arena arena = {};
        struct str value;

        (void)state;
        assert_int_equal(http_query_get(&arena, STR("a=1&&b=x%2By+z&c"), STR("b"), &value), 1);
        assert_true(str_equal(value, STR("x+y z")));
        assert_int_equal(http_query_get(&arena, STR("a=1&c"), STR("c"), &value), 1);
        assert_int_equal(value.length, 0);
        assert_int_equal(http_query_get(&arena, STR("a=1"), STR("d"), &value), 0);
        assert_int_equal(http_query_get(&arena, STR("a=%zz"), STR("a"), &value), -EINVAL);
        assert_int_equal(http_percent_decode(&arena, STR("a%00"), false, &value), -EINVAL);
        assert_int_equal(http_percent_decode(&arena, STR("a%4"), false, &value), -EINVAL);
        assert_int_equal(http_percent_decode(&arena, STR("a+%2f"), false, &value), 0);
        assert_true(str_equal(value, STR("a+/")));

        _cleanup_buffer_ struct buffer out = {};
        assert_int_equal(http_percent_encode(&out, STR("a/b c~\xff"), "/"), 0);
        assert_true(str_equal(buffer_str(&out), STR("a/b%20c~%FF")));
}

static void header_lists(void **state)
{
        _cleanup_(arena_deinit) struct arena arena = {};
        struct http_headers headers = {};
        char date[HTTP_DATE_SIZE];

        (void)state;
        assert_int_equal(http_headers_add(&headers, &arena, STR("Connection"), STR("a , B")), 0);
        assert_int_equal(http_headers_add(&headers, &arena, STR("connection"), STR("c")), 0);
        assert_true(http_headers_has_token(&headers, STR("CONNECTION"), STR("b")));
        assert_true(http_headers_has_token(&headers, STR("CONNECTION"), STR("C")));
        assert_false(http_headers_has_token(&headers, STR("CONNECTION"), STR("a , b")));
        assert_true(str_equal(http_headers_get(&headers, STR("connection")), STR("a , B")));
        assert_true(http_header_is_hop_by_hop(STR("TE")));
        assert_false(http_header_is_hop_by_hop(STR("Host")));
        http_date_format(UINT64_C(784111777) * 1000000000, date);
        assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_request_has_its_parts),
                cmocka_unit_test(requests_are_refused),
                cmocka_unit_test(every_beginning_of_a_head_asks_for_more),
                cmocka_unit_test(forms_of_targets_and_connections),
                cmocka_unit_test(heads_are_limited),
                cmocka_unit_test(chunked_bodies),
                cmocka_unit_test(bodies_of_a_length),
                cmocka_unit_test(responses),
                cmocka_unit_test(heads_are_not_injected),
                cmocka_unit_test(queries_and_escapes),
                cmocka_unit_test(header_lists),
        };

        return run_unit_tests("http1", tests);
}
