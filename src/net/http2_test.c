// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http2.h"
#include "net/test_loop.h"

enum { STREAMS = 8, LARGE = 4 * 1024 * 1024 };

/* What a client saw of one stream. */
struct answer {
        int32_t id;
        int status;
        unsigned informational;
        struct buffer body;
        char fields[1024]; /* "name: value\n", trailers too */
        bool ended, closed;
        uint32_t code;
        const char *upload; /* request body */
        size_t upload_left;
};

struct fixture {
        struct test_loop t;
        struct http_server *server;
        struct listener *listener;
        struct stream *client;
        nghttp2_session *session;
        struct answer answers[STREAMS];
        bool stall; /* uploads do not end */
        bool client_closed, goaway;
        uint32_t goaway_code;

        struct http_exchange *held[STREAMS];
        size_t held_count;
        struct buffer body;
        unsigned requests, ends, aborts, drains;
        int abort_error;
        bool drained;
};

/* ---- the server ---- */

static void on_body(struct http_exchange *exchange, void *user, struct str data)
{
        struct fixture *f = user;

        assert_int_equal(buffer_append_str(&f->body, data), 0);
        if (str_equal(exchange->request.path, STR("/pause")))
                http_exchange_pause(exchange);
}

static void on_body_end(struct http_exchange *exchange, void *user)
{
        (void)exchange;
        ((struct fixture *)user)->ends++;
}

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        (void)user;
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

        (void)exchange;
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

static void on_request(void *user, struct http_exchange *exchange)
{
        struct fixture *f = user;
        struct str path = exchange->request.path;

        f->requests++;
        if (str_equal(path, STR("/now"))) {
                const struct http_header fields[] = { { STR("X-Mixed-Case"), STR("v") },
                                                      { STR("Connection"), STR("close") },
                                                      { STR("Transfer-Encoding"),
                                                        STR("chunked") } };
                http_exchange_respond(exchange, 200, fields, 3,
                                      (struct stream_piece){ STR("now") });
        } else if (str_equal(path, STR("/bad-field"))) {
                const struct http_header evil = { STR("X"), STR("a\r\nb") };
                http_exchange_respond(exchange, 200, &evil, 1, (struct stream_piece){ STR("x") });
        } else if (str_equal(path, STR("/collect"))) {
                http_exchange_collect(exchange, 1000, &callbacks, f);
        } else {
                f->held[f->held_count++] = exchange;
                http_exchange_start(exchange, &callbacks, f);
        }
}

/* ---- the client ---- */

static struct answer *find(struct fixture *f, int32_t id)
{
        for (size_t i = 0; i < STREAMS; i++)
                if (f->answers[i].id == id)
                        return &f->answers[i];
        return NULL;
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_length, const uint8_t *value, size_t value_length,
                         uint8_t flags, void *user)
{
        struct answer *a = find(user, frame->hd.stream_id);
        size_t at;

        (void)session;
        (void)flags;
        if (!a)
                return 0;
        if (name_length == 7 && memcmp(name, ":status", 7) == 0) {
                int status = atoi((const char *)value);
                if (status < 200)
                        a->informational++;
                else
                        a->status = status;
        }
        at = strlen(a->fields);
        snprintf(a->fields + at, sizeof(a->fields) - at, "%.*s: %.*s\n", (int)name_length, name,
                 (int)value_length, value);
        return 0;
}

static int client_body(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t length, void *user)
{
        struct answer *a = find(user, id);

        (void)session;
        (void)flags;
        if (a)
                assert_int_equal(buffer_append(&a->body, data, length), 0);
        return 0;
}

static int client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
        struct fixture *f = user;
        struct answer *a = find(f, frame->hd.stream_id);

        (void)session;
        if (frame->hd.type == NGHTTP2_GOAWAY) {
                f->goaway = true;
                f->goaway_code = frame->goaway.error_code;
        }
        if (a && frame->hd.stream_id > 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                a->ended = true;
        return 0;
}

static int client_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
        struct answer *a = find(user, id);

        (void)session;
        if (a) {
                a->closed = true;
                a->code = code;
        }
        return 0;
}

static void client_flush(struct fixture *f)
{
        const uint8_t *data;
        ssize_t n;

        while (f->client && (n = nghttp2_session_mem_send(f->session, &data)) > 0)
                stream_write_str(f->client, (struct str){ (const char *)data, (size_t)n });
}

static void client_data(struct stream *stream, void *user, struct str data)
{
        struct fixture *f = user;

        (void)stream;
        assert_true(nghttp2_session_mem_recv(f->session, (const uint8_t *)data.data, data.length) >=
                    0);
        client_flush(f);
}

static void client_close(struct stream *stream, void *user, int error)
{
        struct fixture *f = user;

        (void)stream;
        (void)error;
        f->client = NULL;
        f->client_closed = true;
}

static const struct stream_callbacks client_callbacks = { .on_data = client_data,
                                                          .on_close = client_close };

static ssize_t read_upload(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
        struct answer *a = source->ptr;
        size_t length = MIN(size, a->upload_left);

        (void)session;
        (void)id;
        if (length == 0 && ((struct fixture *)user)->stall)
                return NGHTTP2_ERR_DEFERRED;
        memcpy(out, a->upload, length);
        a->upload += length;
        a->upload_left -= length;
        if (a->upload_left == 0 && !((struct fixture *)user)->stall)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)length;
}

static nghttp2_nv field(const char *name, const char *value)
{
        return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                             strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static struct answer *ask_more(struct fixture *f, size_t slot, const char *method, const char *path,
                               const char *upload, size_t upload_size, const nghttp2_nv *more,
                               size_t more_count)
{
        struct answer *a = &f->answers[slot];
        nghttp2_nv nv[200] = { field(":method", method), field(":scheme", "http"),
                               field(":authority", "h"), field(":path", path) };
        nghttp2_data_provider provider = { .source.ptr = a, .read_callback = read_upload };

        buffer_deinit(&a->body);
        *a = (struct answer){ .upload = upload, .upload_left = upload_size };
        for (size_t i = 0; i < more_count; i++)
                nv[4 + i] = more[i];
        a->id = nghttp2_submit_request(f->session, NULL, nv, 4 + more_count,
                                       upload ? &provider : NULL, NULL);
        assert_true(a->id > 0);
        client_flush(f);
        return a;
}

static struct answer *ask(struct fixture *f, size_t slot, const char *method, const char *path,
                          const char *upload, size_t upload_size)
{
        return ask_more(f, slot, method, path, upload, upload_size, NULL, 0);
}

static void set_up_with(struct fixture *f, struct http_server_options options)
{
        struct net_address address;
        nghttp2_session_callbacks *session_callbacks;

        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        options.on_request = on_request;
        options.user = f;
        options.http2 = &http2_protocol;
        assert_int_equal(http_server_new(f->t.net, &options, &f->server), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(f->server, &address, NULL, 0, NULL, &f->listener), 0);
        assert_int_equal(stream_connect(f->t.net, listener_address(f->listener), &f->client), 0);
        stream_start(f->client, &client_callbacks, f);

        assert_int_equal(nghttp2_session_callbacks_new(&session_callbacks), 0);
        nghttp2_session_callbacks_set_on_header_callback(session_callbacks, client_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(session_callbacks, client_body);
        nghttp2_session_callbacks_set_on_frame_recv_callback(session_callbacks, client_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(session_callbacks,
                                                               client_stream_close);
        assert_int_equal(nghttp2_session_client_new(&f->session, session_callbacks, f), 0);
        nghttp2_session_callbacks_del(session_callbacks);
        assert_int_equal(nghttp2_submit_settings(f->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void set_up(struct fixture *f)
{
        set_up_with(f, (struct http_server_options){});
}

static void tear_down(struct fixture *f)
{
        http_server_free(f->server);
        stream_close(f->client);
        nghttp2_session_del(f->session);
        for (size_t i = 0; i < STREAMS; i++)
                buffer_deinit(&f->answers[i].body);
        buffer_deinit(&f->body);
        test_loop_tear_down(&f->t);
}

/* ---- tests ---- */

static void answers_have_their_fields(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        struct answer *a = ask(&f, 0, "GET", "/now?q", NULL, 0);
        struct answer *head = ask(&f, 1, "HEAD", "/now", NULL, 0);
        test_run_until(&f.t, a->closed && head->closed);
        assert_int_equal(a->status, 200);
        assert_true(str_equal(buffer_str(&a->body), STR("now")));
        assert_non_null(strstr(a->fields, "x-mixed-case: v\n"));
        assert_non_null(strstr(a->fields, "content-length: 3\n"));
        assert_non_null(strstr(a->fields, "date: "));
        assert_null(strstr(a->fields, "connection"));
        assert_null(strstr(a->fields, "transfer-encoding"));
        assert_int_equal(head->body.length, 0);
        assert_non_null(strstr(head->fields, "content-length: 3\n"));

        a = ask(&f, 0, "GET", "/bad-field", NULL, 0);
        test_run_until(&f.t, a->closed);
        assert_int_equal(a->status, 500);
        assert_int_equal(http_server_counters(f.server).exchanges, 0);
        tear_down(&f);
}

static void streams_do_not_wait_for_each_other(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        struct answer *slow = ask(&f, 0, "GET", "/held", NULL, 0);
        struct answer *quick = ask(&f, 1, "GET", "/now", NULL, 0);
        test_run_until(&f.t, quick->closed);
        assert_false(slow->closed);
        assert_int_equal(f.ends, 1);
        http_exchange_begin(f.held[0], 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(f.held[0]);
        test_run_until(&f.t, slow->status == 200);
        http_exchange_send(f.held[0], &(struct stream_piece){ STR("one") }, 1);
        test_run_until(&f.t, slow->body.length == 3);
        const struct http_header trailer = { STR("Grpc-Status"), STR("0") };
        http_exchange_send(f.held[0], &(struct stream_piece){ STR("two") }, 1);
        http_exchange_end(f.held[0], &trailer, 1);
        test_run_until(&f.t, slow->closed);
        assert_true(str_equal(buffer_str(&slow->body), STR("onetwo")));
        assert_non_null(strstr(slow->fields, "grpc-status: 0\n"));
        assert_int_equal(slow->code, NGHTTP2_NO_ERROR);
        tear_down(&f);
}

static void bodies_are_collected_up_to_a_limit(void **state)
{
        struct fixture f;
        char *data = calloc(1, LARGE);
        const nghttp2_nv expect = field("expect", "100-continue");

        (void)state;
        set_up(&f);
        struct answer *a = ask_more(&f, 0, "POST", "/collect", "body", 4, &expect, 1);
        test_run_until(&f.t, a->closed);
        assert_true(str_equal(buffer_str(&a->body), STR("body")));
        a = ask(&f, 0, "POST", "/collect", data, LARGE);
        test_run_until(&f.t, a->closed);
        assert_int_equal(a->status, 413);
        /* The rest of the upload is not wanted. */
        assert_int_equal(a->code, NGHTTP2_NO_ERROR);
        assert_true(a->upload_left > 0);
        assert_int_equal(f.abort_error, -EFBIG);
        tear_down(&f);
        free(data);
}

static void a_paused_body_stops_at_its_window(void **state)
{
        struct fixture f;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up(&f);
        struct answer *a = ask(&f, 0, "PUT", "/pause", data, LARGE);
        test_run_until(&f.t, f.body.length > 0);
        test_run_turns(&f.t, 30);
        assert_true(f.body.length < 64 * 1024);
        assert_true(a->upload_left > LARGE / 2);
        /* Another stream is not held up by that. */
        struct answer *other = ask(&f, 1, "POST", "/collect", "x", 1);
        test_run_until(&f.t, other->closed);
        while (f.ends == 0) {
                http_exchange_resume(f.held[0]);
                uv_run(&f.t.uv, UV_RUN_ONCE);
        }
        assert_int_equal(f.body.length, LARGE);
        http_exchange_respond_text(f.held[0], 200, "text/plain", STR("done"));
        test_run_until(&f.t, a->closed);
        tear_down(&f);
        free(data);
}

static int released;
static void release(void *user)
{
        (void)user;
        released++;
}

static void a_slow_client_is_felt(void **state)
{
        struct fixture f;
        char *data = calloc(1, LARGE);

        (void)state;
        set_up(&f);
        struct answer *a = ask(&f, 0, "GET", "/held", NULL, 0);
        test_run_until(&f.t, f.ends == 1);
        stream_pause(f.client);
        released = 0;
        http_exchange_begin(f.held[0], 200, NULL, 0, LARGE);
        http_exchange_send(f.held[0], &(struct stream_piece){ { data, LARGE }, release, NULL }, 1);
        assert_true(http_exchange_is_congested(f.held[0]));
        test_run_turns(&f.t, 30);
        assert_int_equal(released + (int)f.drains, 0);
        stream_resume(f.client);
        test_run_until(&f.t, f.drains == 1);
        http_exchange_end(f.held[0], NULL, 0);
        test_run_until(&f.t, a->closed);
        assert_int_equal(a->body.length, LARGE);
        assert_int_equal(released, 1);

        /* A stream that dies with bytes queued lets go of them, and its handler hears of it. */
        ask(&f, 0, "GET", "/held", NULL, 0);
        test_run_until(&f.t, f.ends == 2);
        http_exchange_begin(f.held[1], 200, NULL, 0, LARGE);
        http_exchange_send(f.held[1], &(struct stream_piece){ { data, LARGE }, release, NULL }, 1);
        nghttp2_submit_rst_stream(f.session, NGHTTP2_FLAG_NONE, f.answers[0].id, NGHTTP2_CANCEL);
        client_flush(&f);
        test_run_until(&f.t, f.aborts == 1);
        assert_int_equal(f.abort_error, -ECONNRESET);
        assert_int_equal(released, 2);
        tear_down(&f);
        free(data);
}

static void short_answers_and_aborts_reset_the_stream(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        struct answer *a = ask(&f, 0, "GET", "/held", NULL, 0);
        struct answer *b = ask(&f, 1, "GET", "/held", NULL, 0);
        test_run_until(&f.t, f.ends == 2);
        http_exchange_begin(f.held[0], 200, NULL, 0, 10);
        http_exchange_send(f.held[0], &(struct stream_piece){ STR("hello") }, 1);
        http_exchange_end(f.held[0], NULL, 0);
        http_exchange_abort(f.held[1]);
        test_run_until(&f.t, a->closed && b->closed);
        assert_int_equal(a->code, NGHTTP2_INTERNAL_ERROR);
        assert_int_equal(b->code, NGHTTP2_INTERNAL_ERROR);
        assert_int_equal(f.aborts, 0);
        tear_down(&f);
}

static void a_vanished_client_aborts_all(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        for (size_t i = 0; i < 3; i++)
                ask(&f, i, "GET", "/held", NULL, 0);
        test_run_until(&f.t, f.ends == 3);
        stream_close(f.client);
        f.client = NULL;
        test_run_until(&f.t, f.aborts == 3);
        assert_int_equal(http_server_counters(f.server).connections, 0);
        assert_int_equal(http_server_counters(f.server).exchanges, 0);
        tear_down(&f);
}

static void heads_are_limited(void **state)
{
        struct fixture f;
        nghttp2_nv many[150];

        (void)state;
        set_up(&f);
        for (size_t i = 0; i < 150; i++)
                many[i] = field("x", "y");
        struct answer *a = ask_more(&f, 0, "GET", "/now", NULL, 0, many, 150);
        test_run_until(&f.t, a->closed);
        assert_int_equal(a->status, 431);
        a = ask(&f, 0, "GET", "/a b", NULL, 0);
        test_run_until(&f.t, a->closed);
        assert_int_not_equal(a->status, 200);
        assert_int_equal(f.requests, 0);
        tear_down(&f);
}

static void floods_end_the_connection(void **state)
{
        static const char *const kinds[] = { "ping", "reset" };

        (void)state;
        for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
                struct fixture f;
                set_up(&f);
                for (int i = 0; i < 1200 && !f.client_closed; i++) {
                        if (kind == 0) {
                                nghttp2_submit_ping(f.session, NGHTTP2_FLAG_NONE, NULL);
                        } else {
                                ask(&f, 0, "GET", "/now", NULL, 0);
                                nghttp2_submit_rst_stream(f.session, NGHTTP2_FLAG_NONE,
                                                          f.answers[0].id, NGHTTP2_CANCEL);
                        }
                        client_flush(&f);
                        test_run_turns(&f.t, kind == 0 ? 0 : 1);
                }
                test_run_until(&f.t, f.client_closed);
                tear_down(&f);
        }
}

static void slow_bodies_and_idle_connections_end(void **state)
{
        struct fixture f;

        (void)state;
        set_up_with(&f,
                    (struct http_server_options){ .body_timeout_ms = 30, .idle_timeout_ms = 60 });
        f.stall = true;
        struct answer *a = ask(&f, 0, "POST", "/held", "half", 4);
        test_run_until(&f.t, f.aborts == 1 && a->closed);
        assert_int_equal(f.abort_error, -ETIMEDOUT);
        assert_int_equal(a->status, 408);
        assert_true(str_equal(buffer_str(&f.body), STR("half")));
        test_run_until(&f.t, f.goaway || f.client_closed);
        tear_down(&f);
}

static void connections_beyond_the_limit_are_told_so(void **state)
{
        struct fixture f;
        struct stream *other;

        (void)state;
        set_up_with(&f, (struct http_server_options){ .max_connections = 1 });
        stream_close(f.client);
        assert_int_equal(stream_connect(f.t.net, listener_address(f.listener), &other), 0);
        stream_start(other, &(struct stream_callbacks){}, NULL);
        assert_int_equal(stream_connect(f.t.net, listener_address(f.listener), &f.client), 0);
        stream_start(f.client, &client_callbacks, &f);
        struct answer *a = ask(&f, 0, "GET", "/now", NULL, 0);
        test_run_until(&f.t, a->closed && f.client_closed);
        assert_int_equal(a->status, 503);
        assert_non_null(strstr(a->fields, "retry-after: 1\n"));
        stream_close(other);
        tear_down(&f);
}

static void on_drained(void *user)
{
        ((struct fixture *)user)->drained = true;
}

static void draining_finishes_what_is_in_progress(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        struct answer *a = ask(&f, 0, "GET", "/held", NULL, 0);
        test_run_until(&f.t, f.ends == 1);
        http_server_drain(f.server, 4000, on_drained, &f);
        test_run_until(&f.t, f.goaway);
        assert_int_equal(f.goaway_code, NGHTTP2_NO_ERROR);
        assert_false(f.drained);
        http_exchange_respond_text(f.held[0], 200, "text/plain", STR("done"));
        test_run_until(&f.t, a->closed && f.drained);
        assert_true(str_equal(buffer_str(&a->body), STR("done")));
        tear_down(&f);
}

static void http1_is_still_spoken(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        /* A request whose first letters are those of HTTP/2's preface. */
        stream_write_str(f.client, STR("PR"));
        test_run_turns(&f.t, 3);
        assert_int_equal(http_server_counters(f.server).connections, 1);
        stream_write_str(f.client, STR("OPFIND / HTTP/1.0\r\n\r\n"));
        stream_close(f.client);
        f.client = NULL;
        test_run_until(&f.t, http_server_counters(f.server).connections == 0);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_have_their_fields),
                cmocka_unit_test(streams_do_not_wait_for_each_other),
                cmocka_unit_test(bodies_are_collected_up_to_a_limit),
                cmocka_unit_test(a_paused_body_stops_at_its_window),
                cmocka_unit_test(a_slow_client_is_felt),
                cmocka_unit_test(short_answers_and_aborts_reset_the_stream),
                cmocka_unit_test(a_vanished_client_aborts_all),
                cmocka_unit_test(heads_are_limited),
                cmocka_unit_test(floods_end_the_connection),
                cmocka_unit_test(slow_bodies_and_idle_connections_end),
                cmocka_unit_test(connections_beyond_the_limit_are_told_so),
                cmocka_unit_test(draining_finishes_what_is_in_progress),
                cmocka_unit_test(http1_is_still_spoken),
        };

        return run_unit_tests("http2", tests);
}
