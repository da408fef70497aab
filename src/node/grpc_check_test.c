// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "base/test.h"
#include "node/grpc_check.h"

/* A server that answers one call as the case says. */
struct answer {
        const char *status, *grpc_status, *message; /* NULL: left out */
        const char *body;
        size_t body_length;
        bool is_serving;
        const char *why; /* begins so */
};

struct server {
        nghttp2_session *session;
        const struct answer *answer;
        char request[64], path[64], type[32];
        size_t request_length, sent;
};

#define FIELD(key, text)                                                                           \
        (nghttp2_nv)                                                                               \
        {                                                                                          \
                (uint8_t *)(key), (uint8_t *)(uintptr_t)(text), strlen(key), strlen(text),         \
                        NGHTTP2_NV_FLAG_NONE                                                       \
        }

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
        struct server *server = source->ptr;
        const struct answer *answer = server->answer;

        (void)user;
        assert_true(size >= answer->body_length);
        memcpy(to, answer->body, answer->body_length);
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (answer->grpc_status) {
                nghttp2_nv trailers[] = { FIELD("grpc-status", answer->grpc_status),
                                          FIELD("grpc-message",
                                                answer->message ? answer->message : "") };
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                assert_int_equal(nghttp2_submit_trailer(session, stream, trailers, 2), 0);
        }
        return (ssize_t)answer->body_length;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *user)
{
        struct server *server = user;

        (void)session, (void)frame, (void)flags;
        if (str_equal((struct str){ (const char *)name, name_length }, STR(":path")))
                memcpy(server->path, value, MIN(value_length, sizeof(server->path) - 1));
        if (str_equal((struct str){ (const char *)name, name_length }, STR("content-type")))
                memcpy(server->type, value, MIN(value_length, sizeof(server->type) - 1));
        return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t length, void *user)
{
        struct server *server = user;

        (void)session, (void)flags, (void)stream;
        assert_true(server->request_length + length <= sizeof(server->request));
        memcpy(server->request + server->request_length, data, length);
        server->request_length += length;
        return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
        struct server *server = user;
        const nghttp2_data_provider body = { .source.ptr = server, .read_callback = read_body };

        if (frame->hd.type != NGHTTP2_DATA || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        if (!server->answer->status) {
                nghttp2_submit_rst_stream(session, 0, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
                return 0;
        }
        const nghttp2_nv fields[] = { FIELD(":status", server->answer->status),
                                      FIELD("content-type", "application/grpc") };
        assert_int_equal(nghttp2_submit_response(session, frame->hd.stream_id, fields, 2, &body),
                         0);
        return 0;
}

static void server_start(struct server *server, const struct answer *answer)
{
        nghttp2_session_callbacks *callbacks;

        *server = (struct server){ .answer = answer };
        assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        assert_int_equal(nghttp2_session_server_new(&server->session, callbacks, server), 0);
        nghttp2_session_callbacks_del(callbacks);
        assert_int_equal(nghttp2_submit_settings(server->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

/* Carries bytes between the two, a few at a time, until the check is done. */
static int talk(struct grpc_check *check, struct server *server)
{
        for (int turn = 0; turn < 100; turn++) {
                struct buffer *out = grpc_check_output(check);
                const uint8_t *bytes;
                assert_int_equal(nghttp2_session_mem_recv(server->session,
                                                          (const uint8_t *)out->data, out->length),
                                 out->length);
                buffer_consume(out, out->length);
                ssize_t length = nghttp2_session_mem_send(server->session, &bytes);
                assert_true(length >= 0);
                for (ssize_t i = 0; i < length; i++) {
                        int r = grpc_check_receive(check,
                                                   (struct str){ (const char *)bytes + i, 1 });
                        if (r != 0)
                                return r;
                }
        }
        return 0;
}

#define BODY(text) (text), sizeof(text) - 1

static const struct answer answers[] = {
        { "200", "0", NULL, BODY("\0\0\0\0\2\x08\1"), true, "" },
        { "200", "0", NULL, BODY("\0\0\0\0\5\x12\1x\x08\1"), true, "" },
        { "200", "0", NULL, BODY("\0\0\0\0\2\x08\2"), false,
          "service unhealthy (responded with \"NOT_SERVING\")" },
        { "200", "0", NULL, BODY("\0\0\0\0\0"), false,
          "service unhealthy (responded with \"UNKNOWN\")" },
        { "200", "0", NULL, BODY("\0\0\0\0\3\x08\xe7\7"), false,
          "service unhealthy (responded with \"?\")" },
        { "200", "0", NULL, BODY("\0\0\0\0\x09\x08\1"), false, "error: health rpc failed: the an" },
        { "200", "0", NULL, BODY("\1\0\0\0\2\x08\1"), false, "error: health rpc failed: the an" },
        { "200", "0", NULL, BODY("\0\0\0\0\2\x0d\1"), false, "error: health rpc failed: the an" },
        { "200", "0", NULL, BODY("\0\0"), false, "error: health rpc failed: the answer is no" },
        { "200", "12", "what?", BODY(""), false,
          "error: this server does not implement the grpc health protocol "
          "(grpc.health.v1.Health): what?" },
        { "200", "5", "un\xffknown", BODY(""), false,
          "error: health rpc failed: code 5: un?known" },
        { "200", NULL, NULL, BODY("\0\0\0\0\2\x08\1"), false,
          "error: health rpc failed: no grpc-status" },
        { "200", "x", NULL, BODY("\0\0\0\0\2\x08\1"), false,
          "error: health rpc failed: no grpc-status" },
        { "503", NULL, NULL, BODY(""), false,
          "error: health rpc failed: unexpected HTTP status code 503" },
        { NULL, NULL, NULL, BODY(""), false,
          "error: health rpc failed: unexpected HTTP status code 0 stream ended with REFUSED" },
};

static void answers_are_understood(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
                char why[GRPC_CHECK_MESSAGE] = "";
                struct grpc_check *check;
                struct server server;
                assert_int_equal(grpc_check_new(STR("10.0.0.1:80"), STR("a.b"), &check), 0);
                server_start(&server, &answers[i]);
                assert_int_equal(talk(check, &server), 1);
                assert_string_equal(server.path, "/grpc.health.v1.Health/Check");
                assert_string_equal(server.type, "application/grpc");
                assert_int_equal(server.request_length, 10);
                assert_memory_equal(server.request, "\0\0\0\0\5\x0a\3a.b", 10);
                assert_int_equal(grpc_check_is_serving(check, why), answers[i].is_serving);
                if (strncmp(why, answers[i].why, strlen(answers[i].why)) != 0)
                        fail_msg("%zu: \"%s\"", i, why);
                nghttp2_session_del(server.session);
                grpc_check_free(check);
        }
}

static void long_service_names_are_framed(void **state)
{
        struct grpc_check *check;
        struct server server;
        char name[201] = "";

        (void)state;
        memset(name, 's', 40);
        assert_int_equal(grpc_check_new(STR("a"), str_from(name), &check), 0);
        server_start(&server, &answers[0]);
        assert_int_equal(talk(check, &server), 1);
        assert_memory_equal(server.request, "\0\0\0\0\x2a\x0a\x28s", 8);
        nghttp2_session_del(server.session);
        grpc_check_free(check);
        memset(name, 's', 200);
        assert_int_equal(grpc_check_new(STR("a"), str_from(name), &check), 0);
        struct str out = buffer_str(grpc_check_output(check));
        assert_non_null(memmem(out.data, out.length, "\0\0\0\0\xcb\x0a\xc8\1ss", 10));
        grpc_check_free(check);
}

static void what_is_no_http2_is_refused(void **state)
{
        static const char settings[] = "\0\0\0\4\0\0\0\0\0",
                          ping[] = "\0\0\x08\6\1\0\0\0\0--------";
        struct grpc_check *check;

        (void)state;
        assert_int_equal(grpc_check_new(STR("a"), STR(""), &check), 0);
        assert_int_equal(grpc_check_receive(check, STR("HTTP/1.1 400 Bad Request\r\n\r\n")),
                         -EPROTO);
        grpc_check_free(check);
        assert_int_equal(grpc_check_new(STR("a"), STR(""), &check), 0);
        assert_int_equal(grpc_check_receive(check, (struct str){ settings, 9 }), 0);
        int r = 0;
        size_t sent = 0;
        for (; r == 0; sent += 17)
                r = grpc_check_receive(check, (struct str){ ping, 17 });
        assert_int_equal(r, -EPROTO);
        assert_true(sent < GRPC_CHECK_BYTES + 100);
        grpc_check_free(check);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_are_understood),
                cmocka_unit_test(long_service_names_are_framed),
                cmocka_unit_test(what_is_no_http2_is_refused),
        };
        return run_unit_tests("grpc_check", tests);
}
