// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <stdlib.h>

/* What kube-apiserver does for its own kinds beyond their schemas; bodies that are no good. */

#define PODS "/api/v1/namespaces/default/pods"
#define POD(name, more)                                                                            \
        "{'metadata':{'name':'" name "'},'spec':{'containers':[{'name':'c','image':'i:1'}]" more   \
        "}}"

static void test_pod_defaults_and_account(void **state)
{
        struct test_api *api = *state;
        struct json_value container;

        assert_int_equal(post(api, PODS, POD("a", "")), 201);
        container = json_element(json_get(answer_root(api), "spec", "containers"), 0);
        assert_string_equal(answer_text(api, "spec", "restartPolicy"), "Always");
        assert_int_equal(answer_number(api, "spec", "terminationGracePeriodSeconds"), 30);
        assert_string_equal(answer_text(api, "spec", "serviceAccountName"), "default");
        assert_string_equal(answer_text(api, "status", "phase"), "Pending");
        assert_string_equal(answer_text(api, "status", "qosClass"), "BestEffort");
        assert_true(json_string_is(json_get(container, "imagePullPolicy"), STR("IfNotPresent")));
        assert_int_equal(json_count(json_get(answer_root(api), "spec", "volumes")), 1);
        assert_int_equal(json_count(json_get(container, "volumeMounts")), 1);

        assert_int_equal(post(api, PODS, POD("b", ",'automountServiceAccountToken':false")), 201);
        assert_false(json_exists(json_get(answer_root(api), "spec", "volumes")));
        post(api, PODS, POD("c", ",'serviceAccountName':'nobody'"));
        assert_refused(api, 403, "Forbidden");
        post(api, "/api/v1/namespaces/none/pods", POD("c", ""));
        assert_refused(api, 404, "NotFound");
}

static void test_pod_rules(void **state)
{
        static const char *const bad[] = {
                "{'metadata':{'name':'a'},'spec':{'containers':[]}}",
                "{'metadata':{'name':'a'},'spec':{'containers':[{'name':'C','image':'i'}]}}",
                "{'metadata':{'name':'a'},'spec':{'containers':[{'name':'c'}]}}",
                "{'metadata':{'name':'a'},'spec':{'containers':[{'name':'c','image':'i'},"
                "{'name':'c','image':'i'}]}}",
                "{'metadata':{'name':'a'},'spec':{'containers':[{'name':'c','image':'i',"
                "'volumeMounts':[{'name':'v','mountPath':'/v'}]}]}}",
                "{'metadata':{'name':'A_'},'spec':{'containers':[{'name':'c','image':'i'}]}}",
        };
        struct test_api *api = *state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                post(api, PODS, bad[i]);
                assert_refused(api, 422, "Invalid");
        }
        assert_int_equal(post(api, PODS, POD("a", "")), 201);
        merge(api, PODS "/a", "{'spec':{'restartPolicy':'Never'}}");
        assert_refused(api, 422, "Invalid");
        assert_int_equal(merge(api, PODS "/a", "{'spec':{'activeDeadlineSeconds':5}}"), 200);
        assert_int_equal(ask(api, "admin", "PATCH", PODS "/a",
                             "application/strategic-merge-patch+json",
                             "{'spec':{'containers':[{'name':'c','image':'i:2'}]}}"),
                         200);
        assert_true(json_string_is(
                json_get(json_element(json_get(answer_root(api), "spec", "containers"), 0),
                         "image"),
                STR("i:2")));
}

static void test_pod_binding_and_deletion(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(post(api, PODS, POD("a", "")), 201);
        assert_int_equal(post(api, PODS "/a/binding", "{'target':{'name':'one'}}"), 201);
        get(api, PODS "/a");
        assert_string_equal(answer_text(api, "spec", "nodeName"), "one");
        post(api, PODS "/a/binding", "{'target':{'name':'two'}}");
        assert_refused(api, 409, "Conflict");

        /* Bound: it has its time, which can only become shorter; then the node ends it. */
        assert_int_equal(delete_it(api, PODS "/a", NULL), 200);
        assert_int_equal(answer_number(api, "metadata", "deletionGracePeriodSeconds"), 30);
        assert_int_equal(delete_it(api, PODS "/a", "{'gracePeriodSeconds':60}"), 200);
        assert_int_equal(answer_number(api, "metadata", "deletionGracePeriodSeconds"), 30);
        assert_int_equal(delete_it(api, PODS "/a", "{'gracePeriodSeconds':5}"), 200);
        assert_int_equal(answer_number(api, "metadata", "deletionGracePeriodSeconds"), 5);
        delete_it(api, PODS "/a", "{'gracePeriodSeconds':0,'preconditions':{'uid':'other'}}");
        assert_refused(api, 409, "Conflict");
        assert_int_equal(delete_it(api, PODS "/a", "{'gracePeriodSeconds':0}"), 200);
        get(api, PODS "/a");
        assert_refused(api, 404, "NotFound");

        /* Unbound, or finished: at once. */
        assert_int_equal(post(api, PODS, POD("b", "")), 201);
        assert_int_equal(delete_it(api, PODS "/b", NULL), 200);
        get(api, PODS "/b");
        assert_refused(api, 404, "NotFound");
        assert_int_equal(post(api, PODS, POD("c", ",'nodeName':'one'")), 201);
        assert_int_equal(merge(api, PODS "/c/status", "{'status':{'phase':'Succeeded'}}"), 200);
        assert_int_equal(post(api, PODS "/c/eviction", "{}"), 201);
        get(api, PODS "/c");
        assert_refused(api, 404, "NotFound");
}

static void test_pod_streams_need_a_node(void **state)
{
        struct test_api *api = *state;

        get(api, PODS "/a/log");
        assert_refused(api, 404, "NotFound");
        assert_int_equal(post(api, PODS, POD("a", "")), 201);
        get(api, PODS "/a/log");
        assert_refused(api, 400, "BadRequest");
        assert_int_equal(post(api, PODS, POD("b", ",'nodeName':'one'")), 201);
        get(api, PODS "/b/log");
        assert_refused(api, 503, "ServiceUnavailable");
}

static void test_services(void **state)
{
#define SERVICES "/api/v1/namespaces/default/services"
        struct test_api *api = *state;
        char address[32];

        assert_int_equal(
                post(api, SERVICES, "{'metadata':{'name':'a'},'spec':{'ports':[{'port':80}]}}"),
                201);
        snprintf(address, sizeof(address), "%s", answer_text(api, "spec", "clusterIP"));
        assert_int_equal(strncmp(address, "10.96.", 6), 0);
        assert_int_equal(
                json_int64_or(json_get(json_element(json_get(answer_root(api), "spec", "ports"), 0),
                                       "targetPort"),
                              0),
                80);
        merge(api, SERVICES "/a", "{'spec':{'clusterIP':'10.96.1.1'}}");
        assert_refused(api, 422, "Invalid");
        /* An update that leaves it out keeps it. */
        assert_int_equal(ask(api, "admin", "PUT", SERVICES "/a", NULL,
                             "{'metadata':{'name':'a'},'spec':{'ports':[{'port':81}]}}"),
                         200);
        assert_string_equal(answer_text(api, "spec", "clusterIP"), address);
        assert_int_equal(
                post(api, SERVICES, "{'metadata':{'name':'b'},'spec':{'clusterIP':'None'}}"), 201);
        assert_string_equal(answer_text(api, "spec", "clusterIP"), "None");
}

static void test_namespaces(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(post(api, "/api/v1/namespaces", "{'metadata':{'name':'n'}}"), 201);
        assert_string_equal(answer_text(api, "status", "phase"), "Active");
        /* A Pod may come at once. */
        assert_int_equal(get(api, "/api/v1/namespaces/n/serviceaccounts/default"), 200);
        assert_int_equal(post(api, "/apis/policy/v1/namespaces/n/poddisruptionbudgets",
                              "{'metadata':{'name':'held','finalizers':['example.com/hold']}}"),
                         201);
        /* Nothing goes because of a finalizer of a namespace that stays. */
        assert_int_equal(ask(api, "admin", "PUT", "/api/v1/namespaces/n/finalize", NULL,
                             "{'metadata':{'name':'n'},'spec':{'finalizers':['kubernetes']}}"),
                         200);
        assert_int_equal(delete_it(api, "/api/v1/namespaces/n", NULL), 200);
        assert_string_equal(answer_text(api, "status", "phase"), "Terminating");
        assert_int_equal(get(api, "/api/v1/namespaces/n/serviceaccounts/default"), 200);
        post(api, "/api/v1/namespaces/n/configmaps", "{'metadata':{'name':'c'}}");
        assert_refused(api, 403, "Forbidden");
        /* All in it goes first, of every kind, and what is held is waited for. */
        for (int i = 0; i < 1000 && get(api, "/api/v1/namespaces/n/serviceaccounts/default") == 200;
             i++) {
                ask(api, "admin", "PUT", "/api/v1/namespaces/n/finalize", NULL,
                    "{'metadata':{'name':'n'},'spec':{}}");
                assert_refused(api, 409, "Conflict");
        }
        assert_int_equal(get(api, "/api/v1/namespaces/n/serviceaccounts/default"), 404);
        assert_int_equal(get(api, "/apis/policy/v1/namespaces/n/poddisruptionbudgets/held"), 200);
        assert_true(json_exists(json_get(answer_root(api), "metadata", "deletionTimestamp")));
        ask(api, "admin", "PUT", "/api/v1/namespaces/n/finalize", NULL,
            "{'metadata':{'name':'n'},'spec':{}}");
        assert_refused(api, 409, "Conflict");
        assert_int_equal(merge(api, "/apis/policy/v1/namespaces/n/poddisruptionbudgets/held",
                               "{'metadata':{'finalizers':null}}"),
                         200);
        assert_int_equal(ask(api, "admin", "PUT", "/api/v1/namespaces/n/finalize", NULL,
                             "{'metadata':{'name':'n'},'spec':{}}"),
                         200);
        get(api, "/api/v1/namespaces/n");
        assert_refused(api, 404, "NotFound");
}

static void test_secrets(void **state)
{
#define SECRETS "/api/v1/namespaces/default/secrets"
        struct test_api *api = *state;

        assert_int_equal(post(api, SECRETS,
                              "{'metadata':{'name':'a'},'stringData':{'k':'value'},"
                              "'immutable':true}"),
                         201);
        assert_string_equal(answer_text(api, "data", "k"), "dmFsdWU=");
        assert_string_equal(answer_text(api, "type"), "Opaque");
        assert_false(json_exists(json_get(answer_root(api), "stringData")));
        merge(api, SECRETS "/a", "{'data':{'k':'eA=='}}");
        assert_refused(api, 422, "Invalid");
        post(api, SECRETS, "{'metadata':{'name':'b'},'data':{'no/such':'eA=='}}");
        assert_refused(api, 422, "Invalid");
}

static void test_bad_bodies(void **state)
{
#define MAPS "/api/v1/namespaces/default/configmaps"
        static const struct {
                const char *body, *type;
                unsigned code;
                const char *reason;
        } cases[] = {
                { "", NULL, 400, "BadRequest" },
                { "{", NULL, 400, "BadRequest" },
                { "[]", NULL, 400, "BadRequest" },
                { "5", NULL, 400, "BadRequest" },
                { "{'metadata':{'name':'\xff'}}", NULL, 400, "BadRequest" },
                { "{'metadata':{'name':'a'}}", "text/plain", 415, "UnsupportedMediaType" },
                { "{'kind':'Secret','metadata':{'name':'a'}}", NULL, 400, "BadRequest" },
                { "{'apiVersion':'apps/v1','metadata':{'name':'a'}}", NULL, 400, "BadRequest" },
                { "{'metadata':{}}", NULL, 422, "Invalid" },
                { "{'metadata':{'name':'a','namespace':'other'}}", NULL, 400, "BadRequest" },
                { "{'metadata':{'name':'a'},'data':5}", NULL, 400, "BadRequest" },
                { "{'metadata':5}", NULL, 400, "BadRequest" },
                { "{'metadata':{'name':'a','labels':['k']}}", NULL, 400, "BadRequest" },
        };
        struct test_api *api = *state;
        char *deep = malloc(60000);
        size_t length = 0;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                ask(api, "admin", "POST", MAPS, cases[i].type, cases[i].body);
                assert_refused(api, cases[i].code, cases[i].reason);
        }
        for (int i = 0; i < 10000; i++)
                length += (size_t)snprintf(deep + length, 8, "{'a':");
        post(api, MAPS, deep);
        assert_refused(api, 400, "BadRequest");
        free(deep);
        get(api, MAPS);
        assert_int_equal(json_count(json_get(answer_root(api), "items")), 0);
}

static void test_duplicate_fields(void **state)
{
#define TWICE "{'metadata':{'name':'%s'},'data':{'k':'1','k':'2'}}"
        static const struct {
                const char *query, *name;
                unsigned code;
                bool warned;
        } cases[] = {
                { "?fieldValidation=Strict", "a", 400, false },
                { "?fieldValidation=Warn", "b", 201, true },
                { "", "c", 201, true },
                { "?fieldValidation=Ignore", "d", 201, false },
        };
        struct test_api *api = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char path[128], body[128];
                snprintf(path, sizeof(path), MAPS "%s", cases[i].query);
                snprintf(body, sizeof(body), TWICE, cases[i].name);
                assert_int_equal(post(api, path, body), cases[i].code);
                assert_int_equal(strstr(api->warning, "duplicate field \\\"data.k\\\"") != NULL,
                                 cases[i].warned);
                if (api->code == 201)
                        assert_string_equal(answer_text(api, "data", "k"), "2");
        }
}

static void test_large_bodies(void **state)
{
        struct test_api *api = *state;
        char *body = malloc(4 * 1024 * 1024);
        int length = snprintf(body, 100, "{'metadata':{'name':'a'},'data':{'k':'");

        memset(body + length, 'x', 3 * 1024 * 1024 + 1024);
        strcpy(body + length + 3 * 1024 * 1024 + 1024, "'}}");
        post(api, MAPS, body);
        assert_refused(api, 413, "RequestEntityTooLarge");
        /* Below the limit of bodies, above that of objects. */
        strcpy(body + length + 2 * 1024 * 1024, "'}}");
        post(api, MAPS, body);
        assert_refused(api, 413, "RequestEntityTooLarge");
        strcpy(body + length + 900 * 1024, "'}}");
        assert_int_equal(post(api, MAPS, body), 201);
        free(body);
}

static void test_patches(void **state)
{
        static const struct {
                const char *type, *patch;
                unsigned code;
        } cases[] = {
                { "application/merge-patch+json", "{'data':{'k':'2'}}", 200 },
                { "application/merge-patch+json", "[]", 400 },
                { "application/json-patch+json",
                  "[{'op':'test','path':'/data/k','value':'2'},"
                  "{'op':'remove','path':'/data/k'}]",
                  200 },
                { "application/json-patch+json", "[{'op':'test','path':'/data/k','value':'2'}]",
                  422 },
                { "application/json-patch+json", "[{'op':'remove','path':'/data/none'}]", 422 },
                { "application/json-patch+json", "[{'op':'jump'}]", 400 },
                { "application/json-patch+json", "{}", 400 },
                { "application/strategic-merge-patch+json", "{'data':{'k':'3'}}", 200 },
                { "application/apply-patch+yaml", "{}", 415 },
                { "application/json", "{}", 415 },
                { "application/merge-patch+json", "{'metadata':{'name':'other'}}", 400 },
                { "application/merge-patch+json", "{'metadata':{'uid':'other'}}", 409 },
                { "application/merge-patch+json", "{'metadata':{'resourceVersion':'1'}}", 409 },
                { "application/merge-patch+json", "{'data':{'k':5}}", 422 },
        };
        struct test_api *api = *state;

        assert_int_equal(post(api, MAPS, "{'metadata':{'name':'a'},'data':{'k':'1'}}"), 201);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                ask(api, "admin", "PATCH", MAPS "/a", cases[i].type, cases[i].patch);
                if (api->code != cases[i].code)
                        fail_msg("%s: %u %.*s", cases[i].patch, api->code,
                                 STR_FORMAT(buffer_str(&api->body)));
        }
        assert_int_equal(get(api, MAPS "/a"), 200);
        assert_string_equal(answer_text(api, "data", "k"), "3");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_pod_defaults_and_account),
                TEST(test_pod_rules),
                TEST(test_pod_binding_and_deletion),
                TEST(test_pod_streams_need_a_node),
                TEST(test_services),
                TEST(test_namespaces),
                TEST(test_secrets),
                TEST(test_bad_bodies),
                TEST(test_duplicate_fields),
                TEST(test_large_bodies),
                TEST(test_patches),
        };

        return run_unit_tests("apiserver_objects", tests);
}
