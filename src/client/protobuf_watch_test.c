// SPDX-License-Identifier: Apache-2.0

/* Watches in protobuf: their frames, and the reflector that asks for them. */
#include <errno.h>

#include "base/protowire.h"
#include "builtin/builtin.h"
#include "client/fake_api.h"
#include "client/heard_test.h"
#include "client/watch_decoder.h"

static struct protobuf_fields *fields;

static int load_fields(void **state _unused_)
{
        return protobuf_fields_new(builtin_core_protobuf(), STR("managedFields"), &fields);
}

static int drop_fields(void **state _unused_)
{
        protobuf_fields_free(fields);
        return 0;
}

/* ---- what a server writes ---- */

static const char magic[] = "k8s";

static void begin_unknown(struct protowire_writer *writer, const char *kind)
{
        assert_int_equal(buffer_append(writer->out, magic, sizeof(magic)), 0);
        size_t meta = protowire_begin(writer, 1);
        protowire_write_bytes(writer, 1, STR("v1"));
        protowire_write_bytes(writer, 2, str_from(kind));
        protowire_end(writer, meta);
}

/* A Pod {name, resourceVersion}, with a manager, a phase and fields that nobody knows. */
static void append_pod(struct buffer *out, const char *name, const char *version, bool ends_list)
{
        struct protowire_writer writer = { .out = out };

        begin_unknown(&writer, "Pod");
        size_t pod = protowire_begin(&writer, 2), meta = protowire_begin(&writer, 1);
        protowire_write_bytes(&writer, 1, str_from(name));
        protowire_write_bytes(&writer, 6, str_from(version));
        if (ends_list) {
                size_t annotation = protowire_begin(&writer, 12);
                protowire_write_bytes(&writer, 1, STR("k8s.io/initial-events-end"));
                protowire_write_bytes(&writer, 2, STR("true"));
                protowire_end(&writer, annotation);
        }
        size_t manager = protowire_begin(&writer, 17);
        protowire_write_bytes(&writer, 1, STR("kubelet"));
        protowire_end(&writer, manager);
        protowire_write_bytes(&writer, 3999, STR("newer"));
        protowire_end(&writer, meta);
        protowire_write_varint(&writer, 99, 1);
        size_t status = protowire_begin(&writer, 3);
        protowire_write_bytes(&writer, 1, STR("Running"));
        protowire_end(&writer, status);
        protowire_end(&writer, pod);
        assert_int_equal(writer.failure, 0);
}

static void append_status(struct buffer *out, unsigned code, const char *message)
{
        struct protowire_writer writer = { .out = out };

        begin_unknown(&writer, "Status");
        size_t status = protowire_begin(&writer, 2);
        protowire_write_bytes(&writer, 3, str_from(message));
        protowire_write_varint(&writer, 6, code);
        protowire_end(&writer, status);
        assert_int_equal(writer.failure, 0);
}

static void append_frame(struct buffer *out, const char *type, struct str object)
{
        _cleanup_buffer_ struct buffer event = {};
        struct protowire_writer writer = { .out = &event };

        protowire_write_bytes(&writer, 1, str_from(type));
        size_t extension = protowire_begin(&writer, 2);
        protowire_write_bytes(&writer, 1, object);
        protowire_end(&writer, extension);
        assert_int_equal(writer.failure, 0);
        const char head[] = { (char)(event.length >> 24), (char)(event.length >> 16),
                              (char)(event.length >> 8), (char)event.length };
        assert_int_equal(buffer_append(out, head, sizeof(head)), 0);
        assert_int_equal(buffer_append_str(out, buffer_str(&event)), 0);
}

static void append_event(struct buffer *out, const char *type, const char *name,
                         const char *version)
{
        _cleanup_buffer_ struct buffer pod = {};

        append_pod(&pod, name, version, false);
        append_frame(out, type, buffer_str(&pod));
}

/* ---- frames ---- */

struct told {
        struct buffer text;
        int result; /* what the handler returns */
};

static int hear(void *user, enum watch_type type, struct json_doc *object)
{
        struct told *told = user;

        assert_int_equal(buffer_printf(&told->text, "%u%.*s;", (unsigned)type,
                                       STR_FORMAT(json_doc_text(object))),
                         0);
        return told->result;
}

#define POD     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{"
#define RUNNING "},\"status\":{\"phase\":\"Running\"}}"

static void frames_are_decoded_wherever_the_bytes_are_cut(void **state _unused_)
{
        static const struct str expected =
                STR("0" POD "\"name\":\"a\",\"resourceVersion\":\"4\"" RUNNING ";"
                    "1" POD "\"name\":\"a\",\"resourceVersion\":\"5\"" RUNNING ";"
                    "2" POD "\"name\":\"a\",\"resourceVersion\":\"6\"" RUNNING ";"
                    "3" POD "\"resourceVersion\":\"7\",\"annotations\":{"
                    "\"k8s.io/initial-events-end\":\"true\"}" RUNNING ";"
                    "4{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"message\":\"too old\","
                    "\"code\":410};");
        _cleanup_buffer_ struct buffer body = {}, bookmark = {}, status = {};

        append_event(&body, "ADDED", "a", "4");
        append_event(&body, "MODIFIED", "a", "5");
        append_event(&body, "DELETED", "a", "6");
        append_pod(&bookmark, "", "7", true);
        append_frame(&body, "BOOKMARK", buffer_str(&bookmark));
        append_status(&status, 410, "too old");
        append_frame(&body, "ERROR", buffer_str(&status));
        for (size_t piece = 1; piece <= body.length; piece++) {
                struct watch_decoder decoder;
                struct told told = {};

                watch_decoder_init(&decoder, 0);
                watch_decoder_expect_protobuf(&decoder, fields);
                for (size_t at = 0; at < body.length; at += piece) {
                        size_t end = MIN(at + piece, body.length);
                        assert_int_equal(watch_decoder_feed(&decoder,
                                                            str_slice(buffer_str(&body), at, end),
                                                            NULL, hear, &told),
                                         0);
                }
                if (!str_equal(buffer_str(&told.text), expected))
                        fail_msg("in pieces of %zu: %.*s", piece,
                                 STR_FORMAT(buffer_str(&told.text)));
                assert_true(watch_decoder_is_complete(&decoder));
                watch_decoder_deinit(&decoder);
                buffer_deinit(&told.text);
        }
}

static void what_is_no_frame_is_refused(void **state _unused_)
{
        static const struct {
                struct str bytes;
                int result;
        } cases[] = {
                { { "\0\0\0\0", 4 }, -EBADMSG },                        /* nothing in it */
                { { "\0\0\0\7\n\5ADDED", 11 }, -EBADMSG },              /* no object */
                { { "\0\0\0\6\n\4GONE\0\0", 12 }, -EBADMSG },           /* no such type */
                { { "\0\0\0\2\x08\1", 6 }, -EBADMSG },                  /* the type is a number */
                { { "\0\0\0\2\n\5ADDED", 11 }, -EBADMSG },              /* longer than its frame */
                { { "\0\0\0\11\n\5ADDED\x12\7", 13 }, -EBADMSG },       /* so is the object */
                { { "\0\0\0\11\n\5ADDED\x10\1", 13 }, -EBADMSG },       /* the object is a number */
                { { "\0\0\0\15\n\5ADDED\x12\4\n\2{}", 17 }, -EBADMSG }, /* JSON within */
                { { "\0\0\1\1", 4 }, -EFBIG },                          /* said before it comes */
                { { "\xff\xff\xff\xff", 4 }, -EFBIG },
                { STR("{\"type\":\"ADDED\",\"object\":{}}\n"), -EFBIG },
                { STR("<html>\n"), -EFBIG },
        };
        _cleanup_buffer_ struct buffer unknown = {}, woop = {}, two = {};

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                for (size_t piece = 1; piece <= cases[i].bytes.length; piece++) {
                        struct watch_decoder decoder;
                        struct told told = {};
                        struct error error = {};
                        int r = 0;

                        watch_decoder_init(&decoder, 256);
                        watch_decoder_expect_protobuf(&decoder, fields);
                        for (size_t at = 0; at < cases[i].bytes.length && r == 0; at += piece) {
                                size_t end = MIN(at + piece, cases[i].bytes.length);
                                r = watch_decoder_feed(&decoder, str_slice(cases[i].bytes, at, end),
                                                       &error, hear, &told);
                        }
                        if (r != cases[i].result || error.code != r || error.message[0] == 0)
                                fail_msg("case %zu in pieces of %zu: %d", i, piece, r);
                        assert_int_equal(told.text.length, 0);
                        watch_decoder_deinit(&decoder);
                }
        }

        struct protowire_writer writer = { .out = &woop };
        struct watch_decoder decoder;
        struct told told = {};
        watch_decoder_init(&decoder, 0);
        watch_decoder_expect_protobuf(&decoder, fields);
        begin_unknown(&writer, "Woop");
        append_frame(&unknown, "ADDED", buffer_str(&woop));
        assert_int_equal(watch_decoder_feed(&decoder, buffer_str(&unknown), NULL, hear, &told),
                         -EBADMSG);

        /* A handler ends it at once, and what has only begun is not complete. */
        told.result = 7;
        append_event(&two, "ADDED", "a", "4");
        append_event(&two, "ADDED", "b", "5");
        assert_int_equal(watch_decoder_feed(&decoder, buffer_str(&two), NULL, hear, &told), 7);
        assert_true(str_equal(buffer_str(&told.text),
                              STR("0" POD "\"name\":\"a\",\"resourceVersion\":\"4\"" RUNNING ";")));
        told.result = 0;
        assert_int_equal(watch_decoder_feed(&decoder, STR("\xff"), NULL, hear, &told), 0);
        assert_false(watch_decoder_is_complete(&decoder));
        watch_decoder_deinit(&decoder);
        buffer_deinit(&told.text);
}

/* ---- the reflector ---- */

#define FRAMES "application/vnd.kubernetes.protobuf;stream=watch"

struct fixture {
        struct fake_api api;
        struct heard heard;
        struct kube_reflector *reflector;
};

static void begin(struct fixture *f, const struct fake_reply *replies, size_t count,
                  const struct kind *kind, bool has_fields)
{
        static const char *const show[] = { "accept", NULL };

        *f = (struct fixture){};
        fake_listen(&f->api, NULL);
        fake_connect(&f->api, "http", "", "token: secret",
                     (struct kube_client_options){ .protobuf = has_fields ? fields : NULL });
        f->api.replies = replies;
        f->api.reply_count = count;
        f->api.show = show;
        const struct kube_reflector_options options = { .client = f->api.client,
                                                        .kind = kind,
                                                        .protobuf = true,
                                                        .tell_bookmarks = true,
                                                        .handler = heard_event,
                                                        .on_state = heard_state,
                                                        .user = &f->heard };
        assert_int_equal(kube_reflector_new(&options, &f->reflector), 0);
        test_run_until(&f->api.t, f->api.held_count == 1);
}

static void end(struct fixture *f)
{
        kube_reflector_free(f->reflector);
        buffer_deinit(&f->heard.text);
        fake_tear_down(&f->api);
}

/* What the requests so far accepted. */
static void accepted(struct fixture *f, unsigned protobuf, unsigned json)
{
        struct str log = buffer_str(&f->api.log), line, rest;

        while (str_cut(log, '\n', &line, &rest)) {
                if (str_ends_with(line, STR(" accept=" FRAMES ",application/vnd.kubernetes.protobuf"
                                            ",application/json")))
                        protobuf--;
                else if (str_ends_with(line, STR(" accept=application/json")))
                        json--;
                else
                        fail_msg("%.*s", STR_FORMAT(line));
                log = rest;
        }
        assert_int_equal(protobuf, 0);
        assert_int_equal(json, 0);
}

static void say(struct fixture *f, struct str bytes)
{
        struct stream_piece piece = { bytes };

        http_exchange_send(f->api.held[0], &piece, 1);
}

static void until_heard(struct fixture *f, const char *expected)
{
        test_run_until(&f->api.t, str_equal(buffer_str(&f->heard.text), str_from(expected)));
}

static void a_watch_in_protobuf_tells_what_one_in_json_does(void **state _unused_)
{
        static const struct fake_reply replies[] = {
                { FAKE_STREAM, .type = FRAMES },
                { FAKE_STREAM, .type = FRAMES },
                { FAKE_STREAM, .type = "application/json" },
        };
        _cleanup_buffer_ struct buffer first = {}, last = {}, more = {};
        struct fixture f;

        begin(&f, replies, ARRAY_SIZE(replies), &kind_pod, true);
        append_event(&first, "ADDED", "a", "4");
        append_pod(&last, "", "7", true);
        append_frame(&first, "BOOKMARK", buffer_str(&last));
        say(&f, buffer_str(&first));
        until_heard(&f, "[0 +a4 ]7 ");
        assert_true(kube_reflector_is_synced(f.reflector));
        assert_int_equal(f.heard.state, KUBE_REFLECTOR_WATCHING);
        append_event(&more, "MODIFIED", "a", "8");
        append_event(&more, "DELETED", "a", "9");
        buffer_clear(&last);
        append_pod(&last, "", "10", false);
        append_frame(&more, "BOOKMARK", buffer_str(&last));
        say(&f, buffer_str(&more));
        until_heard(&f, "[0 +a4 ]7 ~a8 -a9 =10 ");
        accepted(&f, 1, 0);

        /* ERROR: too old, it lists anew. */
        buffer_clear(&last);
        buffer_clear(&more);
        buffer_clear(&f.api.log);
        append_status(&last, 410, "too old");
        append_frame(&more, "ERROR", buffer_str(&last));
        struct http_exchange *old = f.api.held[0];
        say(&f, buffer_str(&more));
        test_run_until(&f.api.t, f.api.held_count == 1 && f.api.held[0] != old);
        accepted(&f, 1, 0);

        /* A broken frame: in JSON from then on. */
        buffer_clear(&f.api.log);
        old = f.api.held[0];
        say(&f, (struct str){ "\0\0\0\2\n\5", 6 });
        test_run_until(&f.api.t, f.api.next == 3 && f.api.held_count == 1 && f.api.held[0] != old);
        accepted(&f, 0, 1);
        assert_string_equal(f.heard.message, "this is no watch event");
        buffer_clear(&f.heard.text);
        say(&f, STR("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\","
                    "\"resourceVersion\":\"11\"}}}\n"));
        test_run_until(&f.api.t, f.heard.text.length > 0 &&
                                         str_ends_with(buffer_str(&f.heard.text), STR("+b11 ")));
        end(&f);
}

static void a_server_may_answer_with_json(void **state _unused_)
{
        static const struct fake_reply replies[] = {
                { FAKE_STREAM, .type = "application/json" },
        };
        struct fixture f;

        begin(&f, replies, 1, &kind_pod, true);
        say(&f, STR("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\","
                    "\"resourceVersion\":\"11\"}}}\n"));
        until_heard(&f, "[0 +b11 ");
        accepted(&f, 1, 0);
        end(&f);
}

static void protobuf_is_asked_for_what_can_be_read(void **state _unused_)
{
        static const struct kind other_version = {
                .version = STR("v9"), .kind = STR("Pod"), .plural = STR("pods"), .namespaced = true
        };
        static const struct {
                const struct kind *kind;
                bool has_fields;
        } cases[] = { { &kind_sandbox, true }, { &other_version, true }, { &kind_pod, false } };
        static const struct fake_reply replies[] = { { FAKE_STREAM } };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                begin(&f, replies, 1, cases[i].kind, cases[i].has_fields);
                accepted(&f, 0, 1);
                end(&f);
        }
}

/* kube-apiserver refuses in the encoding that it would have answered in. */
static void a_refusal_in_protobuf_is_read(void **state _unused_)
{
        _cleanup_buffer_ struct buffer refusal = {};
        struct fixture f;
        static struct fake_reply replies[] = {
                { FAKE_HOLD },
                { FAKE_STREAM, .type = FRAMES },
        };

        append_status(&refusal, 403, "pods is forbidden: not you");
        begin(&f, replies, 2, &kind_pod, true);
        const struct http_header type = { STR("Content-Type"),
                                          STR("application/vnd.kubernetes.protobuf") };
        struct http_exchange *held = f.api.held[--f.api.held_count];
        http_exchange_respond(held, 403, &type, 1, (struct stream_piece){ buffer_str(&refusal) });
        test_run_until(&f.api.t, f.heard.state == KUBE_REFLECTOR_FORBIDDEN);
        assert_string_equal(f.heard.message, "pods is forbidden: not you");
        test_run_until(&f.api.t, f.api.held_count == 1);
        accepted(&f, 2, 0);
        end(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_are_decoded_wherever_the_bytes_are_cut),
                cmocka_unit_test(what_is_no_frame_is_refused),
                cmocka_unit_test(a_watch_in_protobuf_tells_what_one_in_json_does),
                cmocka_unit_test(a_server_may_answer_with_json),
                cmocka_unit_test(protobuf_is_asked_for_what_can_be_read),
                cmocka_unit_test(a_refusal_in_protobuf_is_read),
        };

        cmocka_set_message_output(CM_OUTPUT_TAP);
        return cmocka_run_group_tests_name("protobuf_watch", tests, load_fields, drop_fields);
}
