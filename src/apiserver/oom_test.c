// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <stdio.h>
#include <stdlib.h>

#include "apiserver/internal_call.h"
#include "apiserver/server.h"
#include "base/failing_allocation.h"
#include "base/test.h"

/*
 * The N-th allocation of a request fails, for every N until all goes well: nothing crashes or
 * leaks, the request is answered, and what is stored is what was there before or what was asked
 * for.
 */

struct fixture {
        uv_loop_t uv;
        struct net_loop *loop;
        struct apiserver *server;
        unsigned code;
        bool done;
        bool was_refused; /* an allocation of the last request */
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));
        struct apiserver_config config = {};

        uv_loop_init(&f->uv);
        assert_int_equal(net_loop_new(&f->uv, &f->loop), 0);
        config.loop = f->loop;
        assert_int_equal(apiserver_new(&config, NULL, &f->server), 0);
        for (int i = 0; i < 10; i++)
                uv_run(&f->uv, UV_RUN_NOWAIT);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        apiserver_free(f->server);
        uv_run(&f->uv, UV_RUN_DEFAULT);
        net_loop_free(f->loop);
        uv_run(&f->uv, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&f->uv), 0);
        free(f);
        return 0;
}

static void on_done(void *user, unsigned code, struct json_doc *doc _unused_)
{
        struct fixture *f = user;

        assert_false(f->done);
        f->done = true;
        f->code = code;
}

/* One request with the `fail`-th allocation failing (< 0: none); its status, or 0. */
static unsigned run(struct fixture *f, enum api_verb verb, const char *plural, const char *name,
                    const char *subresource, const char *body, long fail)
{
        struct internal_request request = {
                .verb = verb,
                .plural = str_from(plural),
                .name_space = STR("default"),
                .name = str_from(name),
                .subresource = str_from(subresource),
                .manager = STR("test"),
                .content_type = STR("application/strategic-merge-patch+json"),
                .done = on_done,
                .user = f,
        };
        int r = 0;

        if (body)
                assert_int_equal(json_doc_parse(str_from(body), NULL, NULL, NULL, &request.body),
                                 0);
        f->done = false;
        f->code = 0;
        allocation_fail_after(fail);
        r = internal_call_start(f->server, &request, NULL);
        for (int i = 0; r == 0 && !f->done && i < 10; i++)
                uv_run(&f->uv, UV_RUN_NOWAIT);
        f->was_refused = allocation_failed();
        assert_true(r < 0 || f->done);
        if (request.body)
                json_doc_unref(request.body);
        return f->code;
}

#define POD                                                                                        \
        "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{"      \
        "\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"E\",\"value\":\"v\"}]}]}}"

static const struct step {
        enum api_verb verb;
        const char *subresource, *body;
        unsigned code;
} steps[] = {
        { API_CREATE, "", POD, 201 },
        { API_PATCH, "", "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"}]}}", 200 },
        { API_CREATE, "binding", "{\"target\":{\"name\":\"n\"}}", 201 },
        { API_PATCH, "status", "{\"status\":{\"phase\":\"Running\"}}", 200 },
        { API_DELETE, "", "{\"gracePeriodSeconds\":7}", 200 },
        { API_DELETE, "", "{\"gracePeriodSeconds\":0}", 200 },
};

static unsigned run_step(struct fixture *f, size_t i, long fail)
{
        return run(f, steps[i].verb, "pods", "p", steps[i].subresource, steps[i].body, fail);
}

/* The Pod as the steps before number `i` leave it. */
static void prepare(struct fixture *f, size_t i)
{
        run_step(f, ARRAY_SIZE(steps) - 1, -1);
        assert_int_equal(storage_count(f->server->pods), 0);
        for (size_t j = 0; j < i; j++)
                assert_int_equal(run_step(f, j, -1), steps[j].code);
}

static void test_every_allocation_fails_once(void **state)
{
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                long n = 0;
                do {
                        prepare(f, i);
                        unsigned code = run_step(f, i, n);
                        assert_true(code == steps[i].code ||
                                    (f->was_refused && (code == 0 || code == 500)));
                        assert_true(++n < 2000);
                } while (f->was_refused);
                assert_true(n > 10);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_every_allocation_fails_once, setup, teardown),
        };

        return run_unit_tests("apiserver_oom", tests);
}
