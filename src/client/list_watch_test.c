// SPDX-License-Identifier: Apache-2.0
#include "client/list_watch.h"

#include <errno.h>
#include <stdio.h>

#include "base/test.h"
#include "client/list_decoder.h"
#include "client/resource.h"

static const struct kind things = { .group = STR("example.com"),
                                    .version = STR("v1"),
                                    .kind = STR("Thing"),
                                    .plural = STR("things"),
                                    .namespaced = true };
static const struct kind pods = {
        .version = STR("v1"), .kind = STR("Pod"), .plural = STR("pods"), .namespaced = true
};

/* ---- paths ---- */

static void paths_name_collections_objects_and_subresources(void **state)
{
        const struct {
                const struct kind *kind;
                struct str name_space, name, subresource;
                const char *path; /* NULL: refused */
        } cases[] = {
                { &pods, STR(""), STR(""), STR(""), "/api/v1/pods" },
                { &pods, STR("a"), STR(""), STR(""), "/api/v1/namespaces/a/pods" },
                { &pods, STR("a"), STR("b"), STR("log"), "/api/v1/namespaces/a/pods/b/log" },
                { &things, STR(""), STR(""), STR(""), "/apis/example.com/v1/things" },
                { &things, STR("a"), STR("system:b c/d"), STR(""),
                  "/apis/example.com/v1/namespaces/a/things/system:b%20c%2Fd" },
                { &things, STR(".."), STR("b"), STR(""), NULL },
                { &things, STR("a"), STR("."), STR(""), NULL },
                { &things, STR("a"), STR(""), STR("status"), NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer path = {};
                int r = kube_path_append(&path, cases[i].kind, cases[i].name_space, cases[i].name,
                                         cases[i].subresource);
                assert_int_equal(r, cases[i].path ? 0 : -EINVAL);
                assert_true(str_equal(buffer_str(&path), str_from(cases[i].path)));
        }
        _cleanup_buffer_ struct buffer path = {};
        assert_int_equal(buffer_append_str(&path, STR("/x")), 0);
        assert_int_equal(kube_query_append(&path, "labelSelector", STR("a=b,c in (d)")), 0);
        assert_int_equal(kube_query_append(&path, "limit", STR("5")), 0);
        assert_true(str_equal(buffer_str(&path),
                              STR("/x?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5")));
}

/* ---- the decoder ---- */

struct heard {
        char text[1024];
        int result; /* what the handler returns */
};

static int hear_event(void *user, enum watch_type type, struct json_doc *object)
{
        struct heard *heard = user;
        size_t used = strlen(heard->text);

        snprintf(heard->text + used, sizeof(heard->text) - used, "%u%.*s;", (unsigned)type,
                 STR_FORMAT(json_doc_text(object)));
        return heard->result;
}

static void events_are_decoded_wherever_the_bytes_are_cut(void **state)
{
        static const char body[] = "{\"type\":\"ADDED\",\"object\":{\"a\":\"}\\n\"}}\n"
                                   "\r\n\n"
                                   "{ \"object\": {\"b\" : 1}, \"type\": \"DELETED\" }\r\n"
                                   "{\"type\":\"BOOKMARK\",\"object\":{},\"more\":{}}\n"
                                   "{\"type\":\"ADDED\",\"object\":{},\"type\":\"MODIFIED\"}\n";
        static const char expected[] = "0{\"a\":\"}\\n\"};2{\"b\":1};3{};1{};";

        (void)state;
        for (size_t piece = 1; piece < sizeof(body); piece++) {
                struct watch_decoder decoder;
                struct heard heard = {};
                watch_decoder_init(&decoder, 0);
                for (size_t at = 0; at < sizeof(body) - 1; at += piece) {
                        size_t length = MIN(piece, sizeof(body) - 1 - at);
                        assert_int_equal(watch_decoder_feed(&decoder,
                                                            (struct str){ body + at, length }, NULL,
                                                            hear_event, &heard),
                                         0);
                }
                assert_string_equal(heard.text, expected);
                assert_true(watch_decoder_is_complete(&decoder));
                watch_decoder_deinit(&decoder);
        }
}

static void what_is_no_event_is_refused(void **state)
{
        static const struct {
                struct str line;
                int result;
        } cases[] = {
                { STR("<html>\n"), -EBADMSG },
                { STR("{}\n"), -EBADMSG },
                { STR("[]\n"), -EBADMSG },
                { STR("{\"type\":\"RENAMED\",\"object\":{}}\n"), -EBADMSG },
                { STR("{\"type\":\"ADDED\",\"object\":1}\n"), -EBADMSG },
                { STR("{\"type\":\"ADDED\",\"object\":null}\n"), -EBADMSG },
                { STR("{\"type\":\"ADDED\",\"object\":{}\n"), -EBADMSG },
                { STR("{\"type\":\"ADDED\",\"object\":{}}}\n"), -EBADMSG },
                { STR("{\"type\":\"ADDED\",\"object\":{\"a\":"
                      "\"0123456789012345678901234567890123456"
                      "789\"}}\n"),
                  -EFBIG },
                { STR("0123456789012345678901234567890123456789012345678901234567890123456789"),
                  -EFBIG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct watch_decoder decoder;
                struct heard heard = {};
                struct error error = {};
                watch_decoder_init(&decoder, 64);
                assert_int_equal(
                        watch_decoder_feed(&decoder, cases[i].line, &error, hear_event, &heard),
                        cases[i].result);
                assert_int_equal(error.code, cases[i].result);
                assert_string_equal(heard.text, "");
                watch_decoder_deinit(&decoder);
        }

        struct watch_decoder decoder;
        struct heard heard = { .result = 7 };
        struct str two = STR("{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"ADDED\",\"object\":{}"
                             "}\n{\"type\"");
        watch_decoder_init(&decoder, 0);
        assert_int_equal(watch_decoder_feed(&decoder, two, NULL, hear_event, &heard), 7);
        assert_string_equal(heard.text, "0{};");
        heard.result = 0;
        assert_int_equal(watch_decoder_feed(&decoder, STR("{\"type\""), NULL, hear_event, &heard),
                         0);
        assert_false(watch_decoder_is_complete(&decoder));
        watch_decoder_deinit(&decoder);
}

static int hear_item(void *user, struct str item)
{
        struct heard *heard = user;
        size_t used = strlen(heard->text);

        snprintf(heard->text + used, sizeof(heard->text) - used, "%.*s;", STR_FORMAT(item));
        return heard->result;
}

static void lists_are_decoded_wherever_the_bytes_are_cut(void **state)
{
        static const struct {
                const char *body, *items, *rest;
        } cases[] = {
                { "{\"kind\":\"L\",\"items\":[{\"a\":\"}]\\\"\\\\\"},{\"b\":[{}]}],\"metadata\":{}}"
                  "\n",
                  "{\"a\":\"}]\\\"\\\\\"};{\"b\":[{}]};",
                  "{\"kind\":\"L\",\"items\":[],\"metadata\":{}}" },
                { " { \"items\" : [ { \"a\" : 1 } , {} ] , \"c\" : \"d e\" } ", "{ \"a\" : 1 };{};",
                  "{\"items\":[],\"c\":\"d e\"}" },
                { "{\"x\":{\"items\":[{}]},\"y\":\",\\\"items\\\":[{\",\"z\":[{}],\"items\":[]}",
                  "",
                  "{\"x\":{\"items\":[{}]},\"y\":\",\\\"items\\\":[{\",\"z\":[{}],\"items\":[]}" },
                { "{\"metadata\":{},\"items\":null}", "", "{\"metadata\":{},\"items\":null}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str body = str_from(cases[i].body);
                for (size_t piece = 1; piece <= body.length; piece++) {
                        struct list_decoder decoder;
                        struct heard heard = {};
                        list_decoder_init(&decoder, 0);
                        for (size_t at = 0; at < body.length; at += piece)
                                assert_int_equal(
                                        list_decoder_feed(
                                                &decoder,
                                                str_slice(body, at, MIN(at + piece, body.length)),
                                                NULL, hear_item, &heard),
                                        0);
                        assert_string_equal(heard.text, cases[i].items);
                        assert_true(str_equal(buffer_str(&decoder.rest), str_from(cases[i].rest)));
                        list_decoder_deinit(&decoder);
                }
        }
}

static void what_is_no_list_is_refused(void **state)
{
        static const struct {
                const char *body;
                int result; /* of the item's handler: 7 */
        } cases[] = {
                { "]", -EBADMSG },
                { "{\"items\":[1]}", -EBADMSG },
                { "{\"items\":[\"a\"]}", -EBADMSG },
                { "{\"items\":[{}]}", 7 },
                { "{\"items\":[{\"a\":\"01234567890123456789012345678901234567890123456789\"}]}",
                  -EFBIG },
                { "{\"items\":\"012345678901234567890123456789012345678901234567890123456789\"}",
                  -EFBIG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str body = str_from(cases[i].body);
                for (size_t piece = 1; piece <= body.length; piece += body.length - 1) {
                        struct list_decoder decoder;
                        struct heard heard = { .result = 7 };
                        struct error error = {};
                        int r = 0;
                        list_decoder_init(&decoder, 48);
                        for (size_t at = 0; at < body.length && r == 0; at += piece)
                                r = list_decoder_feed(
                                        &decoder, str_slice(body, at, MIN(at + piece, body.length)),
                                        &error, hear_item, &heard);
                        assert_int_equal(r, cases[i].result);
                        assert_int_equal(error.code, MIN(r, 0));
                        list_decoder_deinit(&decoder);
                        if (body.length == 1)
                                break;
                }
        }
}

/* ---- the machine ---- */

/* Writes events as "+a/b@5 " (added), "~" (modified), "-", "[" (list begins), "]7 ". */
static void hear(void *user, const struct kube_event *event)
{
        static const char marks[] = { [KUBE_LIST_BEGIN] = '[',
                                      [KUBE_ADDED] = '+',
                                      [KUBE_MODIFIED] = '~',
                                      [KUBE_DELETED] = '-',
                                      [KUBE_LIST_END] = ']' };
        struct heard *heard = user;
        size_t used = strlen(heard->text);

        snprintf(heard->text + used, sizeof(heard->text) - used, "%c%.*s%s%.*s%s%.0lu ",
                 marks[event->type], STR_FORMAT(event->name_space), event->name.length ? "/" : "",
                 STR_FORMAT(event->name), event->name.length && event->doc ? "@" : "",
                 event->resource_version);
}

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

/* As the reflector does. */
static int page(struct list_watch *lw, const char *text)
{
        _cleanup_doc_ struct json_doc *rest = NULL;
        struct list_decoder decoder;

        list_decoder_init(&decoder, 0);
        list_watch_begun(lw);
        int r = list_decoder_feed(&decoder, str_from(text), NULL, list_watch_item, lw);
        if (r == 0)
                r = json_doc_parse(buffer_str(&decoder.rest), NULL, NULL, NULL, &rest);
        list_decoder_deinit(&decoder);
        return r < 0 ? r : list_watch_page(lw, rest);
}

static int event(struct list_watch *lw, enum watch_type type, const char *text)
{
        _cleanup_doc_ struct json_doc *doc = parse(text);

        return list_watch_event(lw, type, doc);
}

#define THING(name, version)                                                                       \
        "{\"kind\":\"Thing\",\"metadata\":{\"namespace\":\"n\",\"name\":\"" name                   \
        "\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, more, items)                                                                 \
        "{\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" more                  \
        "\"},\"items\":[" items "]}"
#define BOOKMARK(version) "{\"metadata\":{\"resourceVersion\":\"" version "\"}}"
#define END_OF_LIST(version)                                                                       \
        "{\"metadata\":{\"resourceVersion\":\"" version                                            \
        "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}"

static void expect_path(const struct list_watch *lw, const char *expected)
{
        _cleanup_buffer_ struct buffer path = {};

        assert_int_equal(list_watch_path(lw, 300, &path), 0);
        assert_int_equal(buffer_append_char(&path, '\0'), 0);
        assert_string_equal(path.data, expected);
}

static void expect_heard(struct heard *heard, const char *expected)
{
        assert_string_equal(heard->text, expected);
        heard->text[0] = '\0';
}

static void begin(struct list_watch *lw, struct heard *heard, bool no_watch_list,
                  bool tell_vanished)
{
        const struct kube_reflector_options options = { .kind = &things,
                                                        .name_space = STR("n"),
                                                        .label_selector = STR("a=b"),
                                                        .chunk = 2,
                                                        .no_watch_list = no_watch_list,
                                                        .tell_vanished = tell_vanished,
                                                        .handler = hear,
                                                        .user = heard };

        assert_int_equal(list_watch_init(lw, &options), 0);
}

#define BASE  "/apis/example.com/v1/namespaces/n/things?labelSelector=a%3Db"
#define WATCH "&watch=true&allowWatchBookmarks=true&timeoutSeconds=300"

static void a_list_in_chunks_is_followed_by_a_watch(void **state)
{
        struct list_watch lw;
        struct heard heard = {};
        enum kube_reflector_state next;

        (void)state;
        begin(&lw, &heard, true, false);
        assert_int_equal(list_watch_step(&lw), LIST_WATCH_GET);
        expect_path(&lw, BASE "&limit=2");
        assert_int_equal(page(&lw, LIST("7", "t/1", THING("a", "1") "," THING("b", "5"))), 0);
        assert_false(lw.synced);
        expect_path(&lw, BASE "&limit=2&continue=t%2F1");
        assert_int_equal(page(&lw, LIST("7", "", THING("c", "3"))), 0);
        expect_heard(&heard, "[ +n/a@1 +n/b@5 +n/c@3 ]7 ");
        assert_true(lw.synced);

        assert_int_equal(list_watch_step(&lw), LIST_WATCH_WATCH);
        expect_path(&lw, BASE WATCH "&resourceVersion=7");
        list_watch_begun(&lw);
        assert_int_equal(event(&lw, WATCH_MODIFIED, THING("a", "8")), 0);
        assert_int_equal(event(&lw, WATCH_DELETED, THING("b", "9")), 0);
        expect_heard(&heard, "~n/a@8 -n/b@9 ");
        expect_path(&lw, BASE WATCH "&resourceVersion=9");
        assert_int_equal(event(&lw, WATCH_BOOKMARK, BOOKMARK("20")), 0);

        /* The server ends it, and then the connection is lost: from where it was, nothing told. */
        assert_int_equal(list_watch_ended(&lw, 5), 0);
        expect_path(&lw, BASE WATCH "&resourceVersion=20");
        struct list_watch_failure lost = { .error = KUBE_LOST };
        assert_in_range(list_watch_failed(&lw, &lost, &next), 25, 50);
        assert_int_equal(next, KUBE_REFLECTOR_WAITING);
        assert_in_range(list_watch_failed(&lw, &lost, &next), 50, 100);
        expect_path(&lw, BASE WATCH "&resourceVersion=20");
        expect_heard(&heard, "");
        list_watch_deinit(&lw);
}

static void a_list_streams_in_where_the_server_has_it(void **state)
{
        struct list_watch lw;
        struct heard heard = {};
        enum kube_reflector_state next;

        (void)state;
        begin(&lw, &heard, false, false);
        assert_int_equal(list_watch_step(&lw), LIST_WATCH_WATCH);
        expect_path(&lw, BASE WATCH "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        list_watch_begun(&lw);
        assert_int_equal(event(&lw, WATCH_ADDED, THING("b", "5")), 0);

        /* Lost before its end: from the start again. */
        struct list_watch_failure lost = { .error = KUBE_LOST };
        assert_true(list_watch_failed(&lw, &lost, &next) > 0);
        expect_path(&lw, BASE WATCH "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        list_watch_begun(&lw);
        assert_int_equal(event(&lw, WATCH_ADDED, THING("b", "5")), 0);
        assert_int_equal(event(&lw, WATCH_BOOKMARK, BOOKMARK("6")), 0);
        assert_false(lw.synced);
        assert_int_equal(event(&lw, WATCH_BOOKMARK, END_OF_LIST("7")), 0);
        assert_int_equal(event(&lw, WATCH_MODIFIED, THING("b", "8")), 0);
        expect_heard(&heard, "[ +n/b@5 [ +n/b@5 ]7 ~n/b@8 ");
        expect_path(&lw, BASE WATCH "&resourceVersion=8");
        list_watch_deinit(&lw);
}

static void a_server_without_streamed_lists_is_listed(void **state)
{
        static const struct list_watch_failure refusals[] = {
                { .status = 422 }, { .status = 400 }, { .error = KUBE_LOST, .silent = true }
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                struct list_watch lw;
                struct heard heard = {};
                enum kube_reflector_state next;
                begin(&lw, &heard, false, false);
                assert_int_equal(list_watch_failed(&lw, &refusals[i], &next), 0);
                assert_int_equal(next, KUBE_REFLECTOR_LISTING);
                expect_path(&lw, BASE "&limit=2");
                assert_int_equal(page(&lw, LIST("7", "", "")), 0);
                expect_heard(&heard, "[ ]7 ");
                list_watch_deinit(&lw);
        }
}

static void an_expired_watch_lists_again_and_tells_what_vanished(void **state)
{
        struct list_watch lw;
        struct heard heard = {};
        enum kube_reflector_state next;
        struct list_watch_failure expired = { .status = 410 };

        (void)state;
        begin(&lw, &heard, true, true);
        assert_int_equal(page(&lw, LIST("7", "", THING("a", "1") "," THING("b", "5"))), 0);
        list_watch_begun(&lw);
        assert_int_equal(event(&lw, WATCH_ADDED, THING("c", "8")), 0);
        assert_int_equal(event(&lw, WATCH_ADDED, THING("d", "9")), 0);
        assert_int_equal(event(&lw, WATCH_DELETED, THING("a", "10")), 0);
        assert_int_equal(event(&lw, WATCH_ERROR, "{\"kind\":\"Status\",\"code\":410}"),
                         LIST_WATCH_AGAIN);
        assert_int_equal(list_watch_failed(&lw, &expired, &next), 0);
        assert_int_equal(next, KUBE_REFLECTOR_LISTING);
        expect_heard(&heard, "[ +n/a@1 +n/b@5 ]7 +n/c@8 +n/d@9 -n/a@10 ");

        /* The second page expires: then all at once, and only its end tells deletions. */
        expect_path(&lw, BASE "&limit=2");
        assert_int_equal(page(&lw, LIST("20", "t", THING("b", "5"))), 0);
        assert_int_equal(list_watch_failed(&lw, &expired, &next), 0);
        expect_path(&lw, BASE);
        assert_int_equal(page(&lw, LIST("21", "", THING("d", "9"))), 0);
        expect_heard(&heard, "[ +n/b@5 [ +n/d@9 -n/b -n/c ]21 ");

        /* A server for which everything is always expired is not asked in a circle. */
        assert_int_equal(list_watch_failed(&lw, &expired, &next), 0);
        assert_true(list_watch_failed(&lw, &expired, &next) > 0);
        list_watch_deinit(&lw);
}

static void failures_wait_as_long_as_the_server_says(void **state)
{
        static const struct {
                struct list_watch_failure failure;
                uint64_t least, most;
                enum kube_reflector_state state;
                bool lists_again;
        } cases[] = {
                { { .status = 429, .retry_after_s = 3 },
                  3000,
                  3000,
                  KUBE_REFLECTOR_WAITING,
                  false },
                { { .status = 403 }, 25, 50, KUBE_REFLECTOR_FORBIDDEN, false },
                { { .status = 401 }, 25, 50, KUBE_REFLECTOR_FORBIDDEN, false },
                { { .status = 404 }, 25, 50, KUBE_REFLECTOR_WAITING, true },
                { { .status = 500 }, 25, 50, KUBE_REFLECTOR_WAITING, false },
                { { .status = 504 }, 25, 50, KUBE_REFLECTOR_WAITING, true },
                { { .error = -EBADMSG }, 25, 50, KUBE_REFLECTOR_WAITING, true },
                { { .error = KUBE_LOST, .silent = true }, 25, 50, KUBE_REFLECTOR_WAITING, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct list_watch lw;
                struct heard heard = {};
                enum kube_reflector_state next;
                begin(&lw, &heard, true, false);
                assert_int_equal(page(&lw, LIST("7", "", "")), 0);
                list_watch_begun(&lw);
                assert_in_range(list_watch_failed(&lw, &cases[i].failure, &next), cases[i].least,
                                cases[i].most);
                assert_int_equal(next, cases[i].state);
                assert_int_equal(list_watch_step(&lw),
                                 cases[i].lists_again ? LIST_WATCH_GET : LIST_WATCH_WATCH);
                list_watch_deinit(&lw);
        }

        struct list_watch lw;
        struct heard heard = {};
        enum kube_reflector_state next;
        struct list_watch_failure lost = { .error = KUBE_UNREACHABLE };
        uint64_t delay = 0;
        begin(&lw, &heard, true, false);
        for (int i = 0; i < 40; i++)
                delay = list_watch_failed(&lw, &lost, &next);
        assert_in_range(delay, 1000, 2000);
        lost.error = KUBE_LOST;
        assert_in_range(list_watch_failed(&lw, &lost, &next), 7500, 15000);
        assert_int_equal(next, KUBE_REFLECTOR_WAITING);

        /* A list that broke off is told; a watch that went well is not, the first time. */
        lost.lasted_ms = 2000;
        assert_int_equal(page(&lw, LIST("7", "t", "")), 0);
        list_watch_failed(&lw, &lost, &next);
        assert_int_equal(next, KUBE_REFLECTOR_WAITING);
        assert_int_equal(page(&lw, LIST("7", "", "")), 0);
        assert_in_range(list_watch_failed(&lw, &lost, &next), 25, 50);
        assert_int_equal(next, KUBE_REFLECTOR_WATCHING);
        list_watch_begun(&lw);
        assert_in_range(list_watch_ended(&lw, 10), 50, 100);
        assert_int_equal(list_watch_ended(&lw, 400000), 0);
        list_watch_deinit(&lw);
}

static void odd_pages_are_refused(void **state)
{
        static const char *const bad[] = {
                "[]",
                "{}",
                "{\"metadata\":{\"resourceVersion\":\"1\"}}",
                "{\"metadata\":{},\"items\":[]}",
                "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[1]}",
                "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"metadata\":{}}]}",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct list_watch lw;
                struct heard heard = {};
                begin(&lw, &heard, true, false);
                assert_int_equal(page(&lw, bad[i]), -EBADMSG);
                assert_false(lw.synced);
                list_watch_deinit(&lw);
        }

        struct list_watch lw;
        struct heard heard = {};
        begin(&lw, &heard, true, false);
        assert_int_equal(page(&lw, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":null}"), 0);
        expect_heard(&heard, "[ ]1 ");
        list_watch_deinit(&lw);
}

static void keep_doc(void *user, const struct kube_event *event)
{
        struct heard *heard = user;

        if (event->doc)
                snprintf(heard->text, sizeof(heard->text), "%.*s",
                         STR_FORMAT(json_doc_text(event->doc)));
}

static void items_of_core_kinds_get_their_kind(void **state)
{
        struct list_watch lw;
        struct heard heard = {};
        const struct kube_reflector_options options = {
                .kind = &pods, .no_watch_list = true, .handler = keep_doc, .user = &heard
        };

        (void)state;
        assert_int_equal(list_watch_init(&lw, &options), 0);
        assert_int_equal(page(&lw, LIST("1", "", "{\"metadata\":{\"name\":\"a\"}}")), 0);
        assert_string_equal(
                heard.text,
                "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}");
        list_watch_deinit(&lw);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_name_collections_objects_and_subresources),
                cmocka_unit_test(events_are_decoded_wherever_the_bytes_are_cut),
                cmocka_unit_test(what_is_no_event_is_refused),
                cmocka_unit_test(lists_are_decoded_wherever_the_bytes_are_cut),
                cmocka_unit_test(what_is_no_list_is_refused),
                cmocka_unit_test(a_list_in_chunks_is_followed_by_a_watch),
                cmocka_unit_test(a_list_streams_in_where_the_server_has_it),
                cmocka_unit_test(a_server_without_streamed_lists_is_listed),
                cmocka_unit_test(an_expired_watch_lists_again_and_tells_what_vanished),
                cmocka_unit_test(failures_wait_as_long_as_the_server_says),
                cmocka_unit_test(odd_pages_are_refused),
                cmocka_unit_test(items_of_core_kinds_get_their_kind),
        };
        return run_unit_tests("list_watch", tests);
}
