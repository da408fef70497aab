// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <stdlib.h>

#include "apiserver/local_executor.h"
#include "apiserver/local_feed.h"
#include "apiserver/local_kinds.h"
#include "apiserver/server.h"
#include "apiserver/storage.h"

/*
 * Plans and feeds in the same process. The executor's side is played by the test: a submission of
 * actions made by hand, and submission_done(), which it links in place of the real one.
 */

enum { ACTIONS = 6 };

struct scene {
        struct test_api *api;
        struct local_executor *executor;
        struct action actions[ACTIONS];
        struct submission submission;
        int status[ACTIONS];
        char names[ACTIONS][32];
        uint64_t versions[ACTIONS];
        unsigned answered, told;
};

static struct scene scene;

void submission_done(struct submission *submission, size_t index,
                     const struct action_result *result)
{
        assert_ptr_equal(submission, &scene.submission);
        assert_int_equal(scene.status[index], 0);
        scene.status[index] = result->status;
        scene.answered++;
        if (result->object) {
                struct json_value metadata = json_get(json_root(result->object), "metadata");
                snprintf(scene.names[index], sizeof(scene.names[index]), "%.*s",
                         STR_FORMAT(json_string(json_get(metadata, "name"))));
                str_to_u64(json_string(json_get(metadata, "resourceVersion")), INT64_MAX,
                           &scene.versions[index]);
        }
}

int action_body(const struct action *action, struct json_doc *const *objects, size_t count,
                struct buffer *out)
{
        size_t from = 0;

        for (size_t i = 0; i < action->fixup_count; i++) {
                const struct action_fixup *fixup = &action->fixups[i];
                assert_true((size_t)fixup->action < count);
                if (!objects[fixup->action])
                        return -ENOENT;
                struct str uid =
                        json_string(json_get(json_root(objects[fixup->action]), "metadata", "uid"));
                buffer_append(out, action->body.data + from, fixup->offset - from);
                buffer_printf(out, "\"%.*s\"", STR_FORMAT(uid));
                from = fixup->offset;
        }
        return buffer_append(out, action->body.data + from, action->body.length - from);
}

static void on_answer(void *user)
{
        ((struct scene *)user)->told++;
}

static void add(enum action_type type, const struct kind *kind, const char *name, const char *body,
                int after)
{
        struct action *action = &scene.actions[scene.submission.count++];
        static char bodies[ACTIONS][512];
        char *text = bodies[action - scene.actions];

        snprintf(text, sizeof(bodies[0]), "%s", body);
        for (char *c = text; *c; c++) {
                if (*c == '\'')
                        *c = '"';
        }
        *action = (struct action){ .type = type,
                                   .kind = kind,
                                   .namespace = STR("default"),
                                   .name = str_from(name),
                                   .body = str_from(text),
                                   .after = after };
}

static void run(void)
{
        const struct executor_backend *backend = local_executor_backend(scene.executor);

        assert_true(backend->takes_batches);
        scene.submission.actions = scene.actions;
        backend->submit(backend->context, &scene.submission);
        while (scene.answered < scene.submission.count)
                uv_run(&scene.api->uv, UV_RUN_ONCE);
}

static int setup(void **state)
{
        assert_int_equal(test_api_setup_on_disk(state), 0);
        scene = (struct scene){ .api = *state };
        return local_executor_new(scene.api->server, STR("test"), on_answer, &scene,
                                  &scene.executor);
}

static int teardown(void **state)
{
        local_executor_free(scene.executor);
        return test_api_teardown(state);
}

/* The status of the built-in definitions is written after the start, in transactions of its own. */
static void wait_for_definitions(struct test_api *api)
{
        static const char *const names[] = {
                "sandboxes.agents.x-k8s.io",
                "sandboxclaims.extensions.agents.x-k8s.io",
                "sandboxtemplates.extensions.agents.x-k8s.io",
                "sandboxwarmpools.extensions.agents.x-k8s.io",
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[160];
                snprintf(path, sizeof(path),
                         "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/%s", names[i]);
                do {
                        assert_int_equal(get(api, path), 200);
                } while (json_count(json_get(answer_root(api), "status", "conditions")) == 0);
        }
}

static void test_a_plan_is_one_transaction(void **state)
{
        static struct action_fixup fixup = { .action = 0, .field = ACTION_FIELD_UID };
        struct test_api *api = *state;
        struct storage *storage = apiserver_storage(api->server);
        char body[] = "{'metadata':{'name':'b','ownerReferences':[{'apiVersion':'v1','kind':"
                      "'ConfigMap','name':'a','uid':}]}}";

        add(ACTION_CREATE, &kind_config_map, "a", "{'metadata':{'name':'a'}}", ACTION_NONE);
        add(ACTION_CREATE, &kind_config_map, "b", body, 0);
        fixup.offset = (size_t)(strstr(body, "'uid':") - body) + 6;
        scene.actions[1].fixups = &fixup;
        scene.actions[1].fixup_count = 1;
        add(ACTION_PATCH, &kind_config_map, "a", "{'data':{'k':'v'}}", 1);
        add(ACTION_DELETE, &kind_config_map, "b", "{}", 2);
        wait_for_definitions(api);
        uint64_t before = storage_counters(storage).transactions;
        run();

        assert_int_equal(scene.status[0], 201);
        assert_int_equal(scene.status[1], 201);
        assert_int_equal(scene.status[2], 200);
        assert_int_equal(scene.status[3], 200);
        assert_true(scene.versions[0] < scene.versions[1] && scene.versions[1] < scene.versions[2]);
        assert_string_equal(scene.names[1], "b");
        assert_int_equal(storage_counters(storage).transactions, before + 1);
        assert_true(scene.told > 0);
        assert_int_equal(get(api, "/api/v1/namespaces/default/configmaps/a"), 200);
        assert_string_equal(answer_text(api, "data", "k"), "v");
        get(api, "/api/v1/namespaces/default/configmaps/b");
        assert_refused(api, 404, "NotFound");
}

static void test_what_depends_on_a_failure_is_not_done(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(
                post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'a'}}"),
                201);
        add(ACTION_CREATE, &kind_config_map, "a", "{'metadata':{'name':'a'}}", ACTION_NONE);
        add(ACTION_CREATE, &kind_config_map, "b", "{'metadata':{'name':'b'}}", 0);
        add(ACTION_CREATE, &kind_config_map, "c", "{'metadata':{'name':'c'}}", 1);
        add(ACTION_CREATE, &kind_config_map, "d", "{'metadata':{'name':'d'}}", ACTION_NONE);
        add(ACTION_PATCH, &kind_config_map, "d", "{'metadata':{'resourceVersion':'1'}}", 3);
        run();
        assert_int_equal(scene.status[0], 409);
        assert_int_equal(scene.status[1], -ECANCELED);
        assert_int_equal(scene.status[2], -ECANCELED);
        assert_int_equal(scene.status[3], 201);
        assert_int_equal(scene.status[4], 409);
}

/* Whether it exists is not known until the deletion before it is on disk; then the rest goes on. */
static void test_a_plan_waits_where_it_must(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(
                post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'a'}}"),
                201);
        add(ACTION_DELETE, &kind_config_map, "a", "{}", ACTION_NONE);
        add(ACTION_PATCH, &kind_config_map, "a", "{'data':{'k':'v'}}", ACTION_NONE);
        add(ACTION_CREATE, &kind_config_map, "b", "{'metadata':{'name':'b'}}", 1);
        add(ACTION_CREATE, &kind_config_map, "c", "{'metadata':{'name':'c'}}", 0);
        run();
        assert_int_equal(scene.status[0], 200);
        assert_int_equal(scene.status[1], 404);
        assert_int_equal(scene.status[2], -ECANCELED);
        assert_int_equal(scene.status[3], 201);
}

static void test_other_actions(void **state)
{
        struct test_api *api = *state;

        add(ACTION_CREATE, &kind_pod, "p",
            "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]}}",
            ACTION_NONE);
        add(ACTION_BIND, &kind_pod, "p", "{'target':{'name':'one'}}", 0);
        add(ACTION_PATCH_STATUS, &kind_pod, "p", "{'status':{'phase':'Running'}}", 1);
        add(ACTION_CREATE, &kind_sandbox, "s",
            "{'apiVersion':'agents.x-k8s.io/v1beta1','kind':'Sandbox','metadata':{'name':'s'},"
            "'spec':{'podTemplate':{'spec':{'containers':[{'name':'c','image':'i'}]}}}}",
            ACTION_NONE);
        add(ACTION_CREATE, &kind_pod, "q", "{'metadata':{'name':'q'},'spec':{}}", ACTION_NONE);
        run();
        assert_int_equal(scene.status[0], 201);
        assert_int_equal(scene.status[1], 201);
        assert_int_equal(scene.status[2], 200);
        assert_int_equal(scene.status[3], 201);
        assert_int_equal(scene.status[4], 422);
        get(api, "/api/v1/namespaces/default/pods/p");
        assert_string_equal(answer_text(api, "status", "phase"), "Running");
        assert_string_equal(answer_text(api, "spec", "nodeName"), "one");
}

/* ---- feeds ---- */

static void test_a_feed(void **state)
{
        struct test_api *api = *state;

        post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'a'}}");
        struct local_feed *feed = test_feed_start(api, NULL);
        post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'b'}}");
        post(api, "/api/v1/namespaces/kube-system/configmaps", "{'metadata':{'name':'x'}}");
        merge(api, "/api/v1/namespaces/default/configmaps/a", "{'data':{'k':'v'}}");
        delete_it(api, "/api/v1/namespaces/default/configmaps/b", NULL);
        assert_string_equal(fed, "begin +a end +b ~a -b ");
        assert_true(local_feed_position(feed) == storage_revision(api->server->storage));

        /* A handler that could not take it is told all of it again, and then what comes. */
        fed[0] = '\0';
        local_feed_relist(feed);
        assert_string_equal(fed, "");
        get(api, "/version");
        merge(api, "/api/v1/namespaces/default/configmaps/a", "{'data':{'k':'w'}}");
        assert_string_equal(fed, "begin +a end ~a ");
        local_feed_free(feed);
}

static struct net_task answering;

static void answer_it(struct net_task *task _unused_)
{
        const struct executor_backend *backend = local_executor_backend(scene.executor);

        scene.submission.actions = scene.actions;
        backend->submit(backend->context, &scene.submission);
        local_executor_commit(scene.executor);
}

static void on_event_answered(void *user, const struct kube_event *event)
{
        test_feed_event(user, event);
        if (event->type == KUBE_ADDED && str_equal(event->name, STR("a")))
                net_loop_defer(scene.api->loop, &answering);
}

/* As a claim and its adoption: the POST's answer comes with what was made of it. */
static void test_what_a_feed_tells_is_committed_with_its_answer(void **state)
{
        struct test_api *api = *state;
        struct storage *storage = apiserver_storage(api->server);

        answering = (struct net_task){ .run = answer_it };
        wait_for_definitions(api);
        struct local_feed *feed = test_feed_start(api, on_event_answered);
        add(ACTION_CREATE, &kind_config_map, "b", "{'metadata':{'name':'b'}}", ACTION_NONE);
        add(ACTION_PATCH, &kind_config_map, "a", "{'data':{'k':'v'}}", 0);
        uint64_t before = storage_counters(storage).transactions;
        assert_int_equal(
                post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'a'}}"),
                201);
        assert_int_equal(scene.answered, 2);
        assert_int_equal(scene.status[0], 201);
        assert_int_equal(scene.status[1], 200);
        assert_int_equal(storage_counters(storage).transactions, before + 1);
        assert_string_equal(fed, "begin end +a +b ~a ");
        local_feed_free(feed);
}

/* Nobody answers: the write goes to the disk when the loop has turned. */
static void test_a_write_that_nobody_answers_is_not_held(void **state)
{
        struct test_api *api = *state;
        struct local_feed *feed = test_feed_start(api, NULL);

        assert_int_equal(
                post(api, "/api/v1/namespaces/default/configmaps", "{'metadata':{'name':'a'}}"),
                201);
        local_feed_free(feed);
}

/* ---- kinds ---- */

static const struct kind *thing;
static unsigned kinds_told;
static int refuse;

static int on_added(void *user _unused_, const struct kind *kind)
{
        assert_null(kind_find_plural(kind->group, kind->plural));
        if (refuse) {
                refuse--;
                return -ENOMEM;
        }
        kinds_told++;
        if (str_equal(kind->plural, STR("things")))
                thing = kind;
        return 0;
}

static void on_removed(void *user _unused_, const struct kind *kind)
{
        assert_ptr_equal(kind, thing);
        kinds_told--;
        thing = NULL;
}

static void define(struct test_api *api, const char *scope)
{
        char body[512];

        snprintf(body, sizeof(body),
                 "{'metadata':{'name':'things.example.com'},'spec':{'group':'example.com','scope':"
                 "'%s','names':{'plural':'things','kind':'Thing'},'versions':[{'name':'v1',"
                 "'served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}",
                 scope);
        assert_int_equal(post(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body),
                         201);
}

static void undefine(struct test_api *api)
{
        static const char path[] =
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com";

        assert_int_equal(delete_it(api, path, NULL), 200);
        for (int i = 0; i < 1000 && get(api, path) == 200; i++)
                continue;
        assert_int_equal(api->code, 404);
        while (thing)
                uv_run(&api->uv, UV_RUN_ONCE);
}

static void test_kinds_come_and_go(void **state)
{
        struct test_api *api = *state;
        struct local_kinds_options options = { .server = api->server,
                                               .except = kinds_known,
                                               .added = on_added,
                                               .removed = on_removed };
        const struct kind *first;
        struct local_kinds *kinds;
        unsigned before;

        thing = NULL;
        kinds_told = 0;
        assert_int_equal(local_kinds_new(&options, &kinds), 0);
        before = kinds_told;
        assert_true(before > 10);
        define(api, "Namespaced");
        while (!thing)
                uv_run(&api->uv, UV_RUN_ONCE);
        assert_int_equal(kinds_told, before + 1);
        assert_true(thing->namespaced && str_equal(thing->kind, STR("Thing")) &&
                    str_equal(thing->group, STR("example.com")) && thing->version.length == 0);

        /* What its feed tells is as it is stored. */
        struct local_feed_options fed_by = { .server = api->server,
                                             .kind = thing,
                                             .handler = test_feed_event };
        struct local_feed *feed;
        fed[0] = '\0';
        assert_int_equal(local_feed_new(&fed_by, &feed), 0);
        assert_int_equal(post(api, "/apis/example.com/v1/namespaces/default/things",
                              "{'apiVersion':'example.com/v1','kind':'Thing',"
                              "'metadata':{'name':'a'}}"),
                         201);
        while (!strstr(fed, "+a") || !strstr(fed, "end"))
                uv_run(&api->uv, UV_RUN_ONCE);
        local_feed_free(feed);

        /* The same kind is the same, one of another scope is another. */
        first = thing;
        undefine(api);
        assert_int_equal(kinds_told, before);
        refuse = 1;
        define(api, "Namespaced");
        while (!thing)
                uv_run(&api->uv, UV_RUN_ONCE);
        assert_ptr_equal(thing, first);
        undefine(api);
        define(api, "Cluster");
        while (!thing)
                uv_run(&api->uv, UV_RUN_ONCE);
        assert_true(thing != first && !thing->namespaced);
        local_kinds_free(kinds);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_a_plan_is_one_transaction),
                TEST(test_what_depends_on_a_failure_is_not_done),
                TEST(test_a_plan_waits_where_it_must),
                TEST(test_other_actions),
                TEST(test_a_feed),
                TEST(test_what_a_feed_tells_is_committed_with_its_answer),
                TEST(test_a_write_that_nobody_answers_is_not_held),
                TEST(test_kinds_come_and_go),
        };

        return run_unit_tests("apiserver_local", tests);
}
