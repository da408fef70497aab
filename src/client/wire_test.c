// SPDX-License-Identifier: Apache-2.0

/* The reflector and the executor over a real connection; list_watch_test.c has the decisions. */
#include <errno.h>
#include <stdlib.h>

#include "client/executor.h"
#include "client/fake_api.h"
#include "client/heard_test.h"

static const struct kind things = { .group = STR("example.com"),
                                    .version = STR("v1"),
                                    .kind = STR("Thing"),
                                    .plural = STR("things"),
                                    .namespaced = true };

#define PATH "/apis/example.com/v1/things"
#define THING(name, version)                                                                       \
        "{\"kind\":\"Thing\",\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version   \
        "\"}}"

/* ---- the reflector ---- */

static void say(struct fake_api *api, const char *text)
{
        struct stream_piece piece = { str_from(text) };

        http_exchange_send(api->held[0], &piece, 1);
}

static void cut(struct fake_api *api)
{
        struct http_exchange *exchange = api->held[0];

        fake_forget(api, exchange);
        http_exchange_abort(exchange);
}

/* Drops what a watch asks for at random. */
static void asked(struct fake_api *api, const char *expected)
{
        char *at = api->log.data ? memmem(api->log.data, api->log.length, "timeoutSeconds=", 15)
                                 : NULL;

        while (at) {
                char *digit = at + strlen("timeoutSeconds=");
                memcpy(digit, "NNN", 3);
                at = memmem(digit, (size_t)(api->log.data + api->log.length - digit),
                            "timeoutSeconds=", 15);
        }
        fake_asked(api, expected);
}

#define WATCH "?watch=true&allowWatchBookmarks=true&timeoutSeconds=NNN"

static void a_watch_survives_what_happens_to_it(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 422, "{\"kind\":\"Status\",\"reason\":\"Invalid\"}" },
                { FAKE_ANSWER, 200,
                  "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" THING("a", "3") "]}" },
                { FAKE_STREAM },
                { FAKE_CUT },
                { FAKE_STREAM },
                { FAKE_ANSWER, 200, "{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[]}" },
                { FAKE_ANSWER, 403, "{\"kind\":\"Status\",\"message\":\"not you\"}" },
                { FAKE_STREAM },
        };
        struct fake_api api;
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;
        const struct kube_reflector_options options = { .kind = &things,
                                                        .tell_vanished = true,
                                                        .handler = heard_event,
                                                        .on_state = heard_state,
                                                        .user = &heard };

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        struct kube_reflector_options with_client = options;
        with_client.client = api.client;
        assert_int_equal(kube_reflector_new(&with_client, &reflector), 0);
        test_run_until(&api.t, api.held_count == 1);
        assert_true(kube_reflector_is_synced(reflector));
        say(&api, "{\"type\":\"ADDED\",\"object\":" THING("b", "8") "}\n{\"type\":\"BOOK");
        say(&api, "MARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n");
        test_run_until(&api.t, heard_is(&heard, "[0 +a3 ]7 +b8 "));
        assert_int_equal(heard.state, KUBE_REFLECTOR_WATCHING);
        asked(&api, "GET " PATH WATCH "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\n"
                    "GET " PATH "?limit=500\nGET " PATH WATCH "&resourceVersion=7\n");

        /* Lost twice: it goes on from the bookmark. Then too old: it lists, and b is gone. */
        cut(&api);
        test_run_until(&api.t, api.held_count == 1);
        asked(&api, "GET " PATH WATCH "&resourceVersion=9\nGET " PATH WATCH "&resourceVersion=9\n");
        buffer_clear(&heard.text);
        say(&api, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n");
        test_run_until(&api.t, heard.state == KUBE_REFLECTOR_FORBIDDEN);
        assert_string_equal(heard.message, "not you");
        assert_true(heard_is(&heard, "[0 -a0 -b0 ]20 "));
        test_run_until(&api.t, heard.state == KUBE_REFLECTOR_WATCHING);
        asked(&api, "GET " PATH "?limit=500\nGET " PATH WATCH "&resourceVersion=20\nGET " PATH WATCH
                    "&resourceVersion=20\n");
        kube_reflector_free(reflector);
        test_run_until(&api.t, api.held_count == 0);
        buffer_deinit(&heard.text);
        fake_tear_down(&api);
}

static void a_handler_may_ask_for_it_all_again(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200,
                  "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" THING("a", "3") "]}" },
                { FAKE_STREAM },
                { FAKE_ANSWER, 200,
                  "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[" THING("a", "8") "]}" },
                { FAKE_STREAM },
        };
        struct fake_api api;
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;
        struct kube_reflector_options options = { .kind = &things,
                                                  .no_watch_list = true,
                                                  .handler = heard_event,
                                                  .on_state = heard_state,
                                                  .user = &heard };

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        options.client = api.client;
        assert_int_equal(kube_reflector_new(&options, &reflector), 0);
        test_run_until(&api.t, heard_is(&heard, "[0 +a3 ]7 ") && api.held_count == 1);
        kube_reflector_relist(reflector);
        test_run_until(&api.t, heard_is(&heard, "[0 +a3 ]7 [0 +a8 ]9 ") && api.held_count == 1);
        asked(&api, "GET " PATH "?limit=500\nGET " PATH WATCH "&resourceVersion=7\n"
                    "GET " PATH "?limit=500\nGET " PATH WATCH "&resourceVersion=9\n");
        kube_reflector_free(reflector);
        buffer_deinit(&heard.text);
        fake_tear_down(&api);
}

static void a_streamed_list_becomes_the_watch(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_STREAM } };
        struct fake_api api;
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        const struct kube_reflector_options options = { .client = api.client,
                                                        .kind = &things,
                                                        .handler = heard_event,
                                                        .on_state = heard_state,
                                                        .user = &heard };
        assert_int_equal(kube_reflector_new(&options, &reflector), 0);
        test_run_until(&api.t, api.held_count == 1);
        say(&api, "{\"type\":\"ADDED\",\"object\":" THING("a", "3") "}\n");
        test_run_until(&api.t, heard_is(&heard, "[0 +a3 "));
        assert_false(kube_reflector_is_synced(reflector));
        assert_int_equal(kube_reflector_state(reflector), KUBE_REFLECTOR_LISTING);
        say(&api, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\","
                  "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
                  "{\"type\":\"DELETED\",\"object\":" THING("a", "8") "}\n");
        test_run_until(&api.t, heard_is(&heard, "[0 +a3 ]7 -a8 "));
        assert_int_equal(kube_reflector_state(reflector), KUBE_REFLECTOR_WATCHING);
        kube_reflector_free(reflector);
        buffer_deinit(&heard.text);
        fake_tear_down(&api);
}

struct pause {
        struct net_timer timer;
        bool over;
};

static void on_over(struct net_timer *timer)
{
        container_of(timer, struct pause, timer)->over = true;
}

static void only_an_unfinished_list_must_not_be_silent(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_STREAM },
                { FAKE_ANSWER, 200, "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}" },
                { FAKE_STREAM },
        };
        struct fake_api api;
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;

        (void)state;
        for (int i = 0; i < 2; i++) {
                bool finished = i == 1;
                struct pause pause = {};
                fake_set_up(&api);
                fake_expect(&api, replies);
                const struct kube_reflector_options options = { .client = api.client,
                                                                .kind = &things,
                                                                .list_silence_ms = 20,
                                                                .handler = heard_event,
                                                                .user = &heard };
                assert_int_equal(kube_reflector_new(&options, &reflector), 0);
                test_run_until(&api.t, api.held_count == 1);
                if (finished)
                        say(&api, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
                                  "\"resourceVersion\":\"7\",\"annotations\":{"
                                  "\"k8s.io/initial-events-end\":\"true\"}}}}\n");
                test_run_until(&api.t, kube_reflector_is_synced(reflector));
                net_timer_start(api.t.net, &pause.timer, 100, on_over);
                test_run_until(&api.t, pause.over);
                assert_int_equal(api.next, finished ? 1 : 3);
                kube_reflector_free(reflector);
                buffer_deinit(&heard.text);
                heard = (struct heard){};
                fake_tear_down(&api);
        }
}

/* ---- the executor ---- */

struct recorded {
        struct submission submission;
        struct action action;
        unsigned count;
        int status;
        bool has_object;
        char reason[32];
};

static unsigned answers;

/* Stands for plan/executor.c, of which this is all that a backend knows. */
void submission_done(struct submission *submission, size_t index,
                     const struct action_result *result)
{
        struct recorded *recorded = container_of(submission, struct recorded, submission);

        assert_int_equal(index, 0);
        recorded->count++;
        recorded->status = result->status;
        recorded->has_object = result->object != NULL;
        snprintf(recorded->reason, sizeof(recorded->reason), "%.*s", STR_FORMAT(result->reason));
}

static void on_answer(void *user)
{
        (*(unsigned *)user)++;
}

/* Hands in one action on the thing "x" in "n", and waits for what `reply` makes of it. */
static struct recorded act(struct fake_api *api, struct wire_executor *executor,
                           enum action_type type, const struct fake_reply *reply)
{
        const struct executor_backend *backend = wire_executor_backend(executor);
        struct recorded recorded = { .action = { .type = type,
                                                 .kind = &things,
                                                 .namespace = STR("n"),
                                                 .name = STR("x"),
                                                 .body = STR("{}") } };

        recorded.submission = (struct submission){ .actions = &recorded.action, .count = 1 };
        api->replies = reply;
        api->reply_count = 1;
        api->next = 0;
        backend->submit(backend->context, &recorded.submission);
        test_run_until(&api->t, recorded.count == 1);
        return recorded;
}

static void actions_become_requests(void **state)
{
        static const char *const show[] = { "content-type", NULL };
        const struct {
                enum action_type type;
                struct fake_reply reply;
                const char *asked;
                int status;
                bool has_object;
        } cases[] = {
                { ACTION_CREATE,
                  { FAKE_ANSWER, 201, THING("x", "1") },
                  "POST /apis/example.com/v1/namespaces/n/things content-type=application/json "
                  "{}\n",
                  201,
                  true },
                { ACTION_PATCH,
                  { FAKE_ANSWER, 200, THING("x", "2") },
                  "PATCH /apis/example.com/v1/namespaces/n/things/x "
                  "content-type=application/merge-patch+json {}\n",
                  200,
                  true },
                { ACTION_PATCH_STATUS,
                  { FAKE_ANSWER, 409, "{\"reason\":\"Conflict\"}" },
                  "PATCH /apis/example.com/v1/namespaces/n/things/x/status "
                  "content-type=application/merge-patch+json {}\n",
                  409,
                  false },
                { ACTION_DELETE,
                  { FAKE_ANSWER, 200, "{\"kind\":\"Status\"}" },
                  "DELETE /apis/example.com/v1/namespaces/n/things/x "
                  "content-type=application/json {}\n",
                  200,
                  false },
                { ACTION_DELETE,
                  { FAKE_ANSWER, 200, THING("x", "3") },
                  "DELETE /apis/example.com/v1/namespaces/n/things/x "
                  "content-type=application/json {}\n",
                  200,
                  true },
                { ACTION_BIND,
                  { FAKE_ANSWER, 201, "{\"kind\":\"Status\"}" },
                  "POST /apis/example.com/v1/namespaces/n/things/x/binding "
                  "content-type=application/json {}\n",
                  201,
                  true },
                { ACTION_CREATE,
                  { FAKE_CUT },
                  "POST /apis/example.com/v1/namespaces/n/things content-type=application/json "
                  "{}\n",
                  -ETIMEDOUT,
                  false },
        };
        struct wire_executor *executor = NULL;
        struct fake_api api;

        (void)state;
        fake_set_up(&api);
        api.show = show;
        assert_int_equal(wire_executor_new(api.client, on_answer, &answers, &executor), 0);
        const struct executor_backend *backend = wire_executor_backend(executor);
        assert_false(backend->takes_batches);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                answers = 0;
                struct recorded recorded = act(&api, executor, cases[i].type, &cases[i].reply);
                assert_int_equal(recorded.status, cases[i].status);
                assert_int_equal(recorded.has_object, cases[i].has_object);
                assert_int_equal(answers, 1);
                fake_asked(&api, cases[i].asked);
        }

        struct recorded bad = { .action = { .type = ACTION_PATCH,
                                            .kind = &things,
                                            .name = STR(".."),
                                            .body = STR("{}") } };
        bad.submission = (struct submission){ .actions = &bad.action, .count = 1 };
        backend->submit(backend->context, &bad.submission);
        assert_int_equal(bad.status, -EINVAL);

        http_server_free(api.server);
        api.server = NULL;
        struct recorded refused = {
                .action = { .type = ACTION_CREATE, .kind = &things, .body = STR("{}") }
        };
        refused.submission = (struct submission){ .actions = &refused.action, .count = 1 };
        backend->submit(backend->context, &refused.submission);
        test_run_until(&api.t, refused.count == 1);
        assert_int_equal(refused.status, -ECONNREFUSED);

        struct recorded withdrawn = refused;
        withdrawn.count = 0;
        withdrawn.submission.actions = &withdrawn.action;
        backend->submit(backend->context, &withdrawn.submission);
        wire_executor_free(executor);
        assert_int_equal(withdrawn.count, 0);
        fake_tear_down(&api);
}

/* A denial by RBAC counts until the same is allowed; what quotas and policies refuse does not. */
static void missing_rights_are_remembered(void **state)
{
        static const struct {
                enum action_type type;
                struct fake_reply reply;
                bool allowed;
        } steps[] = {
                { ACTION_CREATE, { FAKE_ANSWER, 201, THING("x", "1") }, true },
                { ACTION_CREATE,
                  { FAKE_ANSWER, 403,
                    "{\"message\":\"things x is forbidden: exceeded quota: q\"}" },
                  true },
                { ACTION_CREATE,
                  { FAKE_ANSWER, 403,
                    "{\"message\":\"things is forbidden: User \\\"u\\\" cannot create resource "
                    "\\\"things\\\" in API group \\\"example.com\\\"\"}" },
                  false },
                { ACTION_DELETE, { FAKE_ANSWER, 200, THING("x", "3") }, false },
                { ACTION_CREATE, { FAKE_ANSWER, 409, "{}" }, false },
                { ACTION_CREATE, { FAKE_ANSWER, 201, THING("x", "4") }, true },
        };
        struct wire_executor *executor = NULL;
        char why[WIRE_EXECUTOR_WHY_SIZE];
        struct fake_api api;

        (void)state;
        fake_set_up(&api);
        assert_int_equal(wire_executor_new(api.client, on_answer, &answers, &executor), 0);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                act(&api, executor, steps[i].type, &steps[i].reply);
                assert_int_equal(wire_executor_is_allowed(executor, why), steps[i].allowed);
                if (!steps[i].allowed)
                        assert_non_null(strstr(why, "cannot create resource \"things\""));
        }
        wire_executor_free(executor);
        fake_tear_down(&api);
}

static struct buffer complaints;

static void note_complaint(void *user, enum kube_reflector_state state, struct str message)
{
        (void)user;
        (void)state;
        if (message.length > 0)
                assert_int_equal(buffer_append_str(&complaints, message), 0);
}

static void a_kind_that_is_not_served_is_named(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404, "404 page not found\n", "text/plain" },
                { FAKE_HOLD },
        };
        struct fake_api api;
        struct kube_reflector *reflector;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        const struct kube_reflector_options options = { .client = api.client,
                                                        .kind = &things,
                                                        .handler = heard_event,
                                                        .on_state = note_complaint };
        assert_int_equal(kube_reflector_new(&options, &reflector), 0);
        test_run_until(&api.t, api.held_count == 1);
        assert_true(str_equal(buffer_str(&complaints),
                              STR("the API server has no things of version v1: is the CRD "
                                  "things.example.com installed, in that version?")));
        kube_reflector_free(reflector);
        buffer_deinit(&complaints);
        fake_tear_down(&api);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_watch_survives_what_happens_to_it),
                cmocka_unit_test(a_handler_may_ask_for_it_all_again),
                cmocka_unit_test(a_streamed_list_becomes_the_watch),
                cmocka_unit_test(only_an_unfinished_list_must_not_be_silent),
                cmocka_unit_test(actions_become_requests),
                cmocka_unit_test(missing_rights_are_remembered),
                cmocka_unit_test(a_kind_that_is_not_served_is_named),
        };
        return run_unit_tests("wire", tests);
}
