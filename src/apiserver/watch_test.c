// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <stdlib.h>

/* Watches and lists as clients see them. */

#define MAPS "/api/v1/namespaces/default/configmaps"

static void make(struct test_api *api, const char *name, const char *label)
{
        char body[256];

        snprintf(body, sizeof(body), "{'metadata':{'name':'%s','labels':{'l':'%s'}},'data':{}}",
                 name, label);
        assert_int_equal(post(api, MAPS, body), 201);
}

static void relabel(struct test_api *api, const char *name, const char *label)
{
        char path[128], body[128];

        snprintf(path, sizeof(path), MAPS "/%s", name);
        snprintf(body, sizeof(body), "{'metadata':{'labels':{'l':'%s'}}}", label);
        assert_int_equal(merge(api, path, body), 200);
}

static void test_selectors_turn_changes_into_events(void **state)
{
        struct test_api *api = *state;
        struct test_watch all, some, one;

        test_watch_open(&all, api, MAPS "?watch=1");
        test_watch_open(&some, api, MAPS "?watch=1&labelSelector=l%3Dx");
        test_watch_open(&one, api, MAPS "?watch=1&fieldSelector=metadata.name%3Db");
        assert_int_equal(all.status, 200);
        make(api, "a", "x");
        make(api, "b", "y");
        relabel(api, "a", "z");
        relabel(api, "b", "x");
        relabel(api, "b", "x"); /* no change, no event */
        assert_int_equal(delete_it(api, MAPS "/b", NULL), 200);
        assert_int_equal(delete_it(api, MAPS "/a", NULL), 200);

        static const char *const for_all[] = { "A:a", "A:b", "M:a", "M:b", "D:b", "D:a" };
        for (size_t i = 0; i < ARRAY_SIZE(for_all); i++)
                assert_string_equal(test_watch_next(&all), for_all[i]);
        static const char *const for_some[] = { "A:a", "D:a", "A:b", "D:b" };
        for (size_t i = 0; i < ARRAY_SIZE(for_some); i++)
                assert_string_equal(test_watch_next(&some), for_some[i]);
        static const char *const for_one[] = { "A:b", "M:b", "D:b" };
        for (size_t i = 0; i < ARRAY_SIZE(for_one); i++)
                assert_string_equal(test_watch_next(&one), for_one[i]);
        test_watch_close(&all);
        test_watch_close(&some);
        test_watch_close(&one);
}

static void test_where_a_watch_begins(void **state)
{
        struct test_api *api = *state;
        struct test_watch watch;
        char path[256], version[32];

        make(api, "a", "x");
        snprintf(version, sizeof(version), "%s", answer_text(api, "metadata", "resourceVersion"));
        make(api, "b", "x");

        snprintf(path, sizeof(path), MAPS "?watch=1&resourceVersion=%s", version);
        test_watch_open(&watch, api, path);
        assert_string_equal(test_watch_next(&watch), "A:b");
        test_watch_close(&watch);

        test_watch_open(&watch, api, MAPS "?watch=1&resourceVersion=0");
        assert_string_equal(test_watch_next(&watch), "A:a");
        assert_string_equal(test_watch_next(&watch), "A:b");
        test_watch_close(&watch);

        test_watch_open(&watch, api,
                        MAPS "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
                             "allowWatchBookmarks=true");
        assert_string_equal(test_watch_next(&watch), "A:a");
        assert_string_equal(test_watch_next(&watch), "A:b");
        assert_int_equal(test_watch_next(&watch)[0], 'B');
        make(api, "c", "x");
        assert_string_equal(test_watch_next(&watch), "A:c");
        test_watch_close(&watch);

        /* Too old, not yet given, nonsense, and options that do not go together. */
        test_watch_open(&watch, api, MAPS "?watch=1&resourceVersion=9999999");
        assert_string_equal(test_watch_next(&watch), "E:504");
        assert_string_equal(test_watch_next(&watch), "");
        test_watch_close(&watch);
        get(api, MAPS "?watch=1&resourceVersion=x");
        assert_refused(api, 400, "BadRequest");
        get(api, MAPS "?watch=1&sendInitialEvents=true");
        assert_refused(api, 400, "BadRequest");
        get(api, MAPS "?watch=1&fieldSelector=data.k%3Dv");
        assert_refused(api, 400, "BadRequest");
}

static void test_a_watch_of_before_the_start_is_gone(void **state)
{
        struct test_api *api = *state;
        struct test_watch watch;

        make(api, "a", "x");
        make(api, "b", "x");
        test_api_restart(api);
        test_watch_open(&watch, api, MAPS "?watch=1&resourceVersion=3");
        assert_string_equal(test_watch_next(&watch), "E:410");
        assert_string_equal(test_watch_next(&watch), "");
        test_watch_close(&watch);
        get(api, MAPS "?limit=1&resourceVersion=3&resourceVersionMatch=Exact");
        assert_refused(api, 410, "Expired");
}

static void test_a_watch_ends_at_its_time(void **state)
{
        struct test_api *api = *state;
        struct test_watch watch;

        test_watch_open(&watch, api, MAPS "?watch=1&timeoutSeconds=1");
        assert_string_equal(test_watch_next(&watch), "");
        assert_true(watch.ended);
        test_watch_close(&watch);
}

/* ---- lists ---- */

enum { MANY = 1500 };

static void make_many(struct test_api *api)
{
        char body[512], padding[256];

        memset(padding, 'p', sizeof(padding) - 1);
        padding[sizeof(padding) - 1] = '\0';
        for (int i = 0; i < MANY; i++) {
                snprintf(body, sizeof(body),
                         "{'metadata':{'name':'m%05d','labels':{'l':'%d'}},'data':{'p':'%s'}}", i,
                         i % 10, padding);
                assert_int_equal(post(api, MAPS, body), 201);
        }
}

static size_t items(struct test_api *api)
{
        return json_count(json_get(answer_root(api), "items"));
}

static void test_large_lists_and_pages(void **state)
{
        struct test_api *api = *state;
        char path[512], version[32];
        size_t total = 0;
        int pages = 0;

        make_many(api);
        assert_int_equal(get(api, MAPS), 200); /* in pieces: larger than one */
        assert_int_equal(items(api), MANY);
        assert_int_equal(get(api, MAPS "?labelSelector=l%3D3"), 200);
        assert_int_equal(items(api), MANY / 10);
        assert_int_equal(get(api, "/api/v1/configmaps?limit=2"), 200);
        assert_int_equal(items(api), 2);

        /* Pages show one revision, whatever happens between them. */
        snprintf(path, sizeof(path), MAPS "?limit=400");
        do {
                assert_int_equal(get(api, path), 200);
                total += items(api);
                if (pages++ == 0)
                        snprintf(version, sizeof(version), "%s",
                                 answer_text(api, "metadata", "resourceVersion"));
                assert_string_equal(answer_text(api, "metadata", "resourceVersion"), version);
                snprintf(path, sizeof(path), MAPS "?limit=400&continue=%s",
                         answer_text(api, "metadata", "continue"));
                if (pages == 1) {
                        assert_int_equal(delete_it(api, MAPS "/m01400", NULL), 200);
                        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'m01400x'}}"), 201);
                        assert_int_equal(merge(api, MAPS "/m01401", "{'data':{'p':'new'}}"), 200);
                        get(api, path);
                }
        } while (!str_ends_with(str_from(path), STR("continue=")));
        assert_int_equal(pages, 4);
        assert_int_equal(total, MANY);

        get(api, MAPS "?continue=nonsense");
        assert_refused(api, 400, "BadRequest");
        get(api, MAPS "?resourceVersionMatch=Exact");
        assert_refused(api, 400, "BadRequest");
        get(api, MAPS "?resourceVersion=99999999");
        assert_refused(api, 504, "Timeout");
        snprintf(path, sizeof(path), MAPS "?resourceVersion=%s&resourceVersionMatch=Exact",
                 version);
        assert_int_equal(get(api, path), 200);
        assert_int_equal(items(api), MANY);
        assert_int_equal(ask(api, "admin", "DELETE", MAPS "?labelSelector=l%3D3", NULL, NULL), 200);
        assert_int_equal(get(api, MAPS), 200);
        assert_int_equal(items(api), MANY - MANY / 10);
}

/* A client that reads nothing costs no memory but the log's, and is told to begin anew. */
static void test_a_slow_client(void **state)
{
        enum { SIZE = 900 * 1024, WRITES = 60 };
        struct test_api *api = *state;
        char *body = malloc(SIZE + 256);
        struct test_watch watch;
        const char *event;

        test_watch_open(&watch, api, MAPS "?watch=1");
        http_call_pause(watch.call);
        make(api, "a", "x");
        for (int i = 0; i < WRITES; i++) {
                int length = snprintf(body, 100, "{'data':{'k':'%d", i);
                memset(body + length, 'x', SIZE);
                strcpy(body + length + SIZE, "'}}");
                assert_int_equal(merge(api, MAPS "/a", body), 200);
        }
        free(body);
        http_call_resume(watch.call);
        do
                event = test_watch_next(&watch);
        while (strcmp(event, "A:a") == 0 || strcmp(event, "M:a") == 0);
        assert_string_equal(event, "E:410");
        test_watch_close(&watch);
}

/* Clients that go away in the middle of something leave nothing behind. */
static void test_vanishing_clients(void **state)
{
        struct test_api *api = *state;
        struct test_watch watches[8];

        make_many(api);
        for (int round = 0; round < 5; round++) {
                for (size_t i = 0; i < ARRAY_SIZE(watches); i++)
                        test_watch_open(&watches[i], api,
                                        i % 2 ? MAPS : MAPS "?watch=1&resourceVersion=0");
                uv_run(&api->uv, UV_RUN_NOWAIT);
                for (size_t i = 0; i < ARRAY_SIZE(watches); i++)
                        test_watch_close(&watches[i]);
                relabel(api, "m00001", round % 2 ? "odd" : "even");
        }
        for (int i = 0; i < 1000; i++) {
                get(api, "/metrics");
                if (strstr(api->body.data, "cay_apiserver_watches 0\n"))
                        break;
        }
        assert_non_null(strstr(api->body.data, "cay_apiserver_watches 0\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup, test_api_teardown)
#define DISK_TEST(name)                                                                            \
        cmocka_unit_test_setup_teardown(name, test_api_setup_on_disk, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_selectors_turn_changes_into_events),
                TEST(test_where_a_watch_begins),
                DISK_TEST(test_a_watch_of_before_the_start_is_gone),
                TEST(test_a_watch_ends_at_its_time),
                TEST(test_large_lists_and_pages),
                TEST(test_a_slow_client),
                TEST(test_vanishing_clients),
        };

        return run_unit_tests("apiserver_watch", tests);
}
