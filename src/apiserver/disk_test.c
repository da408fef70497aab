// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/test_api.h"
#include "store/fault_vfs.h"

/* What clients are told when the disk is full or fails, and what is there afterwards. */

#define MAPS "/api/v1/namespaces/default/configmaps"

static void test_a_full_disk(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'a'},'data':{'k':'1'}}"), 201);
        fault_vfs.full = true;
        fault_vfs.lasting = true;
        fault_vfs.countdown = 1;
        post(api, MAPS, "{'metadata':{'name':'b'}}");
        assert_refused(api, 500, "InternalError");
        assert_non_null(strstr(answer_text(api, "message"), "no space"));
        merge(api, MAPS "/a", "{'data':{'k':'2'}}");
        assert_refused(api, 500, "InternalError");
        /* What changes nothing needs no space; what is there can be read. */
        assert_int_equal(merge(api, MAPS "/a", "{'data':{'k':'1'}}"), 200);
        get(api, MAPS "/b");
        assert_refused(api, 404, "NotFound");

        fault_vfs_reset();
        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'b'}}"), 201);
        assert_int_equal(api->failed, 0);
        test_api_restart(api);
        assert_int_equal(get(api, MAPS "/a"), 200);
        assert_string_equal(answer_text(api, "data", "k"), "1");
        assert_int_equal(get(api, MAPS "/b"), 200);
}

/* A feed has told of what is not so: it says so, and a second later tells all of it anew. */
static void test_a_feed_on_a_full_disk(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'a'}}"), 201);
        struct local_feed *feed = test_feed_start(api, NULL);
        fault_vfs.full = true;
        fault_vfs.countdown = 1;
        post(api, MAPS, "{'metadata':{'name':'b'}}");
        assert_refused(api, 500, "InternalError");
        assert_int_equal(local_feed_position(feed), 0);
        delete_it(api, MAPS "/a", NULL);
        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'c'}}"), 201);
        while (local_feed_position(feed) == 0)
                uv_run(&api->uv, UV_RUN_ONCE);
        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'d'}}"), 201);
        assert_string_equal(fed, "begin +a end +b aborted begin +c end +d ");
        local_feed_free(feed);
}

static void test_a_failing_disk(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'a'},'data':{'k':'1'}}"), 201);
        fault_vfs.countdown = 1;
        merge(api, MAPS "/a", "{'data':{'k':'2'}}");
        assert_refused(api, 500, "InternalError");
        assert_int_equal(api->failed, -EIO);
        post(api, MAPS, "{'metadata':{'name':'b'}}");
        assert_refused(api, 500, "InternalError");
        assert_int_equal(get(api, "/readyz"), 500);

        fault_vfs_reset();
        api->failed = 0;
        test_api_restart(api);
        assert_int_equal(get(api, MAPS "/a"), 200);
        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'b'}}"), 201);
}

/* Versions rise through restarts, also past a deletion that was the last thing to happen. */
static void test_versions_are_never_given_twice(void **state)
{
        struct test_api *api = *state;
        int64_t last = 0;

        for (int i = 0; i < 5; i++) {
                assert_int_equal(post(api, MAPS, "{'metadata':{'name':'a'}}"), 201);
                int64_t version = atoll(answer_text(api, "metadata", "resourceVersion"));
                assert_true(version > last);
                assert_int_equal(delete_it(api, MAPS "/a", NULL), 200);
                last = version + 1; /* the deletion's */
                test_api_restart(api);
        }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup_faulty, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_a_full_disk),
                TEST(test_a_feed_on_a_full_disk),
                TEST(test_a_failing_disk),
                TEST(test_versions_are_never_given_twice),
        };

        if (fault_vfs_register() < 0)
                return 1;
        return run_unit_tests("apiserver_disk", tests);
}
