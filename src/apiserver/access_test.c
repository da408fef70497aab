// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <stdlib.h>

/* Who may do what: authentication, RBAC, and the questions about both. */

#define PODS "/api/v1/namespaces/default/pods"
#define RBAC "/apis/rbac.authorization.k8s.io/v1"

static void test_credentials(void **state)
{
        struct test_api *api = *state;

        assert_int_equal(ask(api, NULL, "GET", "/version", NULL, NULL), 200);
        assert_int_equal(ask(api, NULL, "GET", "/healthz", NULL, NULL), 200);
        ask(api, NULL, "GET", PODS, NULL, NULL);
        assert_refused(api, 403, "Forbidden");
        ask(api, NULL, "GET", "/api", NULL, NULL);
        assert_refused(api, 403, "Forbidden");
        ask(api, "wrong", "GET", "/version", NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
        ask(api, "a.b.c", "GET", "/version", NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
        assert_int_equal(ask(api, "dev", "GET", "/api", NULL, NULL), 200);
        ask(api, "dev", "GET", PODS, NULL, NULL);
        assert_refused(api, 403, "Forbidden");
        assert_non_null(strstr(answer_text(api, "message"),
                               "User \"dev\" cannot list resource \"pods\" in API group \"\" in "
                               "the namespace \"default\""));
        /* What is not there is not told to who may not look. */
        ask(api, "dev", "GET", "/apis/no.such/v1/things", NULL, NULL);
        assert_refused(api, 403, "Forbidden");
        get(api, "/apis/no.such/v1/things");
        assert_refused(api, 404, "NotFound");
}

/* What one rule, bound to the group of "dev", lets her do. */
static void test_rules(void **state)
{
        static const struct {
                const char *rule; /* of a ClusterRole, bound in the namespace `in` or everywhere */
                bool everywhere;
                const char *method, *path;
                bool allowed;
        } cases[] = {
                { "'apiGroups':[''],'resources':['pods'],'verbs':['list']", false, "GET", PODS,
                  true },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['get']", false, "GET", PODS,
                  false },
                { "'apiGroups':['apps'],'resources':['pods'],'verbs':['list']", false, "GET", PODS,
                  false },
                { "'apiGroups':['*'],'resources':['*'],'verbs':['*']", false, "GET", PODS, true },
                { "'apiGroups':['*'],'resources':['*'],'verbs':['*']", false, "GET",
                  "/api/v1/namespaces/kube-system/pods", false },
                { "'apiGroups':['*'],'resources':['*'],'verbs':['*']", false, "GET", "/api/v1/pods",
                  false },
                { "'apiGroups':['*'],'resources':['*'],'verbs':['*']", true, "GET", "/api/v1/pods",
                  true },
                { "'apiGroups':['*'],'resources':['*'],'verbs':['*']", true, "GET", "/metrics",
                  false },
                { "'nonResourceURLs':['/metrics'],'verbs':['get']", true, "GET", "/metrics", true },
                { "'nonResourceURLs':['/met*'],'verbs':['get']", true, "GET", "/metrics", true },
                { "'nonResourceURLs':['/metrics'],'verbs':['get']", false, "GET", "/metrics",
                  false },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['get']", false, "GET",
                  PODS "/a/status", false },
                { "'apiGroups':[''],'resources':['pods/status'],'verbs':['get']", false, "GET",
                  PODS "/a/status", true },
                { "'apiGroups':[''],'resources':['*/status'],'verbs':['get']", false, "GET",
                  PODS "/a/status", true },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['get'],'resourceNames':['a']",
                  false, "GET", PODS "/a", true },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['get'],'resourceNames':['a']",
                  false, "GET", PODS "/b", false },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['list'],'resourceNames':['a']",
                  false, "GET", PODS, false },
                { "'apiGroups':[''],'resources':['namespaces'],'verbs':['get']", false, "GET",
                  "/api/v1/namespaces/default", true },
                { "'apiGroups':[''],'resources':['namespaces'],'verbs':['get']", false, "GET",
                  "/api/v1/namespaces/kube-system", false },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['watch']", false, "GET",
                  PODS "?watch=1&timeoutSeconds=1&resourceVersion=0", true },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['list']", false, "GET",
                  PODS "?watch=1", false },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['delete']", false, "DELETE", PODS,
                  false },
                { "'apiGroups':[''],'resources':['pods'],'verbs':['deletecollection']", false,
                  "DELETE", PODS, true },
        };
        struct test_api *api = *state;
        char body[1024];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *bindings = cases[i].everywhere ? RBAC "/clusterrolebindings"
                                                           : RBAC
                                               "/namespaces/default/rolebindings";
                char path[256];

                snprintf(body, sizeof(body), "{'metadata':{'name':'r'},'rules':[{%s}]}",
                         cases[i].rule);
                assert_int_equal(post(api, RBAC "/clusterroles", body), 201);
                assert_int_equal(post(api, bindings,
                                      "{'metadata':{'name':'b'},'roleRef':{'kind':'ClusterRole',"
                                      "'name':'r'},'subjects':[{'kind':'Group','name':'devs'}]}"),
                                 201);
                ask(api, "dev", cases[i].method, cases[i].path, NULL, NULL);
                if ((api->code != 403) != cases[i].allowed)
                        fail_msg("%s: %s %s: %u", cases[i].rule, cases[i].method, cases[i].path,
                                 api->code);
                snprintf(path, sizeof(path), "%s/b", bindings);
                assert_int_equal(delete_it(api, path, NULL), 200);
                assert_int_equal(delete_it(api, RBAC "/clusterroles/r", NULL), 200);
        }
}

/* Who may make roles and bindings still gives nothing away that she does not have. */
static void test_no_right_is_given_that_is_not_had(void **state)
{
#define ROLES    RBAC "/namespaces/default/roles"
#define BINDINGS RBAC "/namespaces/default/rolebindings"
        static const struct {
                const char *path, *body;
                bool allowed;
        } cases[] = {
                { ROLES,
                  "{'metadata':{'name':'x'},'rules':[{'apiGroups':[''],'resources':['pods'],"
                  "'verbs':['get']}]}",
                  true },
                { ROLES,
                  "{'metadata':{'name':'x'},'rules':[{'apiGroups':[''],'resources':['pods'],"
                  "'verbs':['get'],'resourceNames':['a']}]}",
                  true },
                { ROLES,
                  "{'metadata':{'name':'x'},'rules':[{'apiGroups':[''],'resources':['pods'],"
                  "'verbs':['get','delete']}]}",
                  false },
                { ROLES,
                  "{'metadata':{'name':'x'},'rules':[{'apiGroups':['*'],'resources':['*'],"
                  "'verbs':['*']}]}",
                  false },
                { ROLES,
                  "{'metadata':{'name':'x'},'rules':[{'apiGroups':[''],'resources':['pods/exec'],"
                  "'verbs':['get']}]}",
                  false },
                { BINDINGS,
                  "{'metadata':{'name':'x'},'roleRef':{'kind':'ClusterRole','name':"
                  "'cluster-admin'},'subjects':[{'kind':'User','name':'dev'}]}",
                  false },
                { BINDINGS,
                  "{'metadata':{'name':'x'},'roleRef':{'kind':'Role','name':'own'},"
                  "'subjects':[{'kind':'User','name':'friend'}]}",
                  true },
                { BINDINGS,
                  "{'metadata':{'name':'x'},'roleRef':{'kind':'Role','name':'not-there'},"
                  "'subjects':[{'kind':'User','name':'friend'}]}",
                  false },
        };
        struct test_api *api = *state;

        assert_int_equal(post(api, ROLES,
                              "{'metadata':{'name':'own'},'rules':[{'apiGroups':[''],'resources':"
                              "['pods'],'verbs':['get','list']},{'apiGroups':["
                              "'rbac.authorization.k8s.io'],'resources':['roles','rolebindings'],"
                              "'verbs':['create','delete','update','patch']}]}"),
                         201);
        assert_int_equal(post(api, BINDINGS,
                              "{'metadata':{'name':'own'},'roleRef':{'kind':'Role','name':'own'},"
                              "'subjects':[{'kind':'User','name':'dev'}]}"),
                         201);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char path[256];

                ask(api, "dev", "POST", cases[i].path, NULL, cases[i].body);
                if (api->code != (cases[i].allowed ? 201u : 403u))
                        fail_msg("%s: %u", cases[i].body, api->code);
                snprintf(path, sizeof(path), "%s/x", cases[i].path);
                delete_it(api, path, NULL);
        }
        ask(api, "dev", "PATCH", ROLES "/own", "application/merge-patch+json",
            "{'rules':[{'apiGroups':['*'],'resources':['*'],'verbs':['*']}]}");
        assert_refused(api, 403, "Forbidden");
        assert_int_equal(ask(api, "dev", "PATCH", ROLES "/own", "application/merge-patch+json",
                             "{'metadata':{'labels':{'a':'b'}}}"),
                         200);
}

static void make_account(struct test_api *api, char *token, size_t size)
{
        assert_int_equal(post(api, "/api/v1/namespaces/default/serviceaccounts",
                              "{'metadata':{'name':'bot'}}"),
                         201);
        assert_int_equal(
                post(api, "/api/v1/namespaces/default/serviceaccounts/bot/token",
                     "{'apiVersion':'authentication.k8s.io/v1','kind':'TokenRequest','spec':{}}"),
                201);
        snprintf(token, size, "%s", answer_text(api, "status", "token"));
        assert_true(token[0] != '\0');
}

static void test_service_account_tokens(void **state)
{
        struct test_api *api = *state;
        char token[4096], body[5000];

        make_account(api, token, sizeof(token));
        ask(api, token, "GET", PODS, NULL, NULL);
        assert_refused(api, 403, "Forbidden");
        assert_non_null(strstr(answer_text(api, "message"), "system:serviceaccount:default:bot"));
        assert_int_equal(post(api, RBAC "/namespaces/default/rolebindings",
                              "{'metadata':{'name':'b'},'roleRef':{'kind':'ClusterRole','name':"
                              "'view'},'subjects':[{'kind':'ServiceAccount','name':'bot',"
                              "'namespace':'default'}]}"),
                         201);
        assert_int_equal(ask(api, token, "GET", PODS, NULL, NULL), 200);
        ask(api, token, "GET", "/api/v1/namespaces/default/secrets", NULL, NULL);
        assert_refused(api, 403, "Forbidden");

        snprintf(body, sizeof(body), "{'spec':{'token':'%s'}}", token);
        post(api, "/apis/authentication.k8s.io/v1/tokenreviews", body);
        assert_string_equal(answer_text(api, "status", "user", "username"),
                            "system:serviceaccount:default:bot");
        post(api, "/apis/authentication.k8s.io/v1/tokenreviews", "{'spec':{'token':'nonsense'}}");
        assert_false(json_bool_or(json_get(answer_root(api), "status", "authenticated"), false));

        /* For somebody else, or changed by one letter, it is no good here. */
        token[strlen(token) - 2] = token[strlen(token) - 2] == 'A' ? 'B' : 'A';
        ask(api, token, "GET", PODS, NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
        assert_int_equal(post(api, "/api/v1/namespaces/default/serviceaccounts/bot/token",
                              "{'spec':{'audiences':['vault']}}"),
                         201);
        snprintf(token, sizeof(token), "%s", answer_text(api, "status", "token"));
        ask(api, token, "GET", PODS, NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
}

static void test_tokens_end_with_what_they_are_bound_to(void **state)
{
        struct test_api *api = *state;
        char token[4096], bound[4096];

        make_account(api, token, sizeof(token));
        assert_int_equal(post(api, PODS,
                              "{'metadata':{'name':'p'},'spec':{'serviceAccountName':'bot',"
                              "'containers':[{'name':'c','image':'i'}]}}"),
                         201);
        assert_int_equal(post(api, "/api/v1/namespaces/default/serviceaccounts/bot/token",
                              "{'spec':{'boundObjectRef':{'kind':'Pod','apiVersion':'v1',"
                              "'name':'p'}}}"),
                         201);
        snprintf(bound, sizeof(bound), "%s", answer_text(api, "status", "token"));
        assert_int_equal(ask(api, bound, "GET", "/api", NULL, NULL), 200);
        assert_int_equal(post(api, "/api/v1/namespaces/default/serviceaccounts/bot/token",
                              "{'spec':{'boundObjectRef':{'kind':'Pod','apiVersion':'v1',"
                              "'name':'p','uid':'other'}}}"),
                         409);
        post(api, "/api/v1/namespaces/default/serviceaccounts/bot/token",
             "{'spec':{'expirationSeconds':10}}");
        assert_refused(api, 422, "Invalid");

        assert_int_equal(delete_it(api, PODS "/p", NULL), 200);
        ask(api, bound, "GET", "/api", NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
        assert_int_equal(ask(api, token, "GET", "/api", NULL, NULL), 200);
        delete_it(api, "/api/v1/namespaces/default/serviceaccounts/bot", NULL);
        ask(api, token, "GET", "/api", NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
        /* Another account of that name is not the one that was trusted. */
        assert_int_equal(post(api, "/api/v1/namespaces/default/serviceaccounts",
                              "{'metadata':{'name':'bot'}}"),
                         201);
        ask(api, token, "GET", "/api", NULL, NULL);
        assert_refused(api, 401, "Unauthorized");
}

static bool allowed(struct test_api *api, const char *token, const char *path, const char *spec)
{
        char body[512];

        snprintf(body, sizeof(body), "{'spec':%s}", spec);
        assert_int_equal(ask(api, token, "POST", path, NULL, body), 201);
        return json_bool_or(json_get(answer_root(api), "status", "allowed"), false);
}

static void test_access_reviews(void **state)
{
#define SELF "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#define ANY  "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        struct test_api *api = *state;

        assert_true(allowed(api, "admin", SELF,
                            "{'resourceAttributes':{'verb':'delete','resource':'pods'}}"));
        assert_false(allowed(api, "dev", SELF,
                             "{'resourceAttributes':{'verb':'list','resource':'pods',"
                             "'namespace':'default'}}"));
        assert_true(allowed(api, "dev", SELF,
                            "{'nonResourceAttributes':{'verb':'get','path':'/version'}}"));
        assert_true(allowed(api, "admin", ANY,
                            "{'user':'system:node:x','groups':['system:nodes'],"
                            "'resourceAttributes':{'verb':'patch','resource':'pods',"
                            "'subresource':'status','namespace':'default'}}"));
        assert_false(allowed(api, "admin", ANY,
                             "{'user':'x','resourceAttributes':{'verb':'get',"
                             "'resource':'nodes'}}"));
        ask(api, "dev", "POST", ANY, NULL, "{'spec':{'user':'admin'}}");
        assert_refused(api, 403, "Forbidden");
        post(api, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}");
        assert_string_equal(answer_text(api, "status", "userInfo", "username"), "admin");
        assert_int_equal(ask(api, "dev", "POST",
                             "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", NULL,
                             "{'spec':{'namespace':'default'}}"),
                         201);
        assert_true(json_count(json_get(answer_root(api), "status", "nonResourceRules")) > 0);
}

static void test_issuer(void **state)
{
        struct test_api *api = *state;

        get(api, "/.well-known/openid-configuration");
        assert_string_equal(answer_text(api, "issuer"), "https://kubernetes.default.svc");
        get(api, "/openid/v1/jwks");
        assert_int_equal(json_count(json_get(answer_root(api), "keys")), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_credentials),
                TEST(test_rules),
                TEST(test_no_right_is_given_that_is_not_had),
                TEST(test_service_account_tokens),
                TEST(test_tokens_end_with_what_they_are_bound_to),
                TEST(test_access_reviews),
                TEST(test_issuer),
        };

        return run_unit_tests("apiserver_access", tests);
}
