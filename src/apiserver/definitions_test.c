// SPDX-License-Identifier: Apache-2.0
#include "apiserver/test_api.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Kinds that are made at run time, and ours, which stay as they are. */

#define CRDS   "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define THINGS "/apis/example.com/v1/namespaces/default/things"

#define NAMES "'names':{'plural':'things','kind':'Thing','shortNames':['th']}"
#define SCHEMA                                                                                     \
        "'schema':{'openAPIV3Schema':{'type':'object','properties':{'spec':{'type':'object',"      \
        "'required':['size'],'properties':{'size':{'type':'integer','minimum':1},'colour':"        \
        "{'type':'string','default':'blue'}}},'status':{'type':'object','properties':{'seen':"     \
        "{'type':'integer'}}}}}}"
#define VERSION(name, more) "{'name':'" name "','served':true," more "," SCHEMA "}"
#define CRD(versions)                                                                              \
        "{'metadata':{'name':'things.example.com'},'spec':{'group':'example.com','scope':"         \
        "'Namespaced'," NAMES ",'versions':[" versions "]}}"
#define STATUS                                                                                     \
        "'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.size',"                    \
        "'statusReplicasPath':'.status.seen'}}"
#define COLUMNS                                                                                    \
        "'additionalPrinterColumns':[{'name':'Size','type':'integer','jsonPath':'.spec.size'}]"

static void wait_for_path(struct test_api *api, const char *path, unsigned code)
{
        for (int i = 0; i < 1000 && get(api, path) != code; i++)
                continue;
        assert_int_equal(api->code, code);
}

static void make_things(struct test_api *api)
{
        assert_int_equal(post(api, CRDS, CRD(VERSION("v1", "'storage':true," STATUS "," COLUMNS))),
                         201);
        wait_for_path(api, THINGS, 200);
}

static void test_a_definition_serves_objects(void **state)
{
        struct test_api *api = *state;

        get(api, THINGS);
        assert_refused(api, 404, "NotFound");
        make_things(api);
        assert_string_equal(answer_text(api, "kind"), "ThingList");
        for (int i = 0; i < 1000; i++) {
                get(api, CRDS "/things.example.com");
                if (json_count(json_get(answer_root(api), "status", "conditions")) > 0)
                        break;
        }
        assert_string_equal(answer_text(api, "status", "acceptedNames", "plural"), "things");
        assert_string_equal(answer_text(api, "spec", "names", "listKind"), "ThingList");

        /* Defaults, pruning, validation, a warning. */
        assert_int_equal(post(api, THINGS,
                              "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':"
                              "'a'},'spec':{'size':3,'unknown':1},'status':{'seen':9}}"),
                         201);
        assert_non_null(strstr(api->warning, "unknown field"));
        assert_string_equal(answer_text(api, "spec", "colour"), "blue");
        assert_int_equal(answer_number(api, "spec", "unknown"), -1);
        assert_int_equal(answer_number(api, "status", "seen"), -1);
        assert_int_equal(answer_number(api, "metadata", "generation"), 1);
        post(api, THINGS,
             "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':'b'},"
             "'spec':{'size':0}}");
        assert_refused(api, 422, "Invalid");
        post(api, THINGS "?fieldValidation=Strict",
             "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':'b'},'spec':{"
             "'size':1,'unknown':1}}");
        assert_refused(api, 400, "BadRequest");
        post(api, THINGS, "{'metadata':{'name':'b'},'spec':{'size':1}}");
        assert_refused(api, 400, "BadRequest"); /* custom objects say what they are */

        /* status apart, scale, Table. */
        assert_int_equal(merge(api, THINGS "/a/status", "{'status':{'seen':2},'spec':{'size':7}}"),
                         200);
        assert_int_equal(answer_number(api, "status", "seen"), 2);
        assert_int_equal(answer_number(api, "spec", "size"), 3);
        assert_int_equal(merge(api, THINGS "/a/scale", "{'spec':{'replicas':5}}"), 200);
        assert_string_equal(answer_text(api, "kind"), "Scale");
        get(api, THINGS "/a");
        assert_int_equal(answer_number(api, "spec", "size"), 5);
        assert_int_equal(answer_number(api, "metadata", "generation"), 2);
        get(api, "/apis/example.com/v1");
        assert_int_equal(json_count(json_get(answer_root(api), "resources")), 3);
        get(api, "/openapi/v3/apis/example.com/v1");
        assert_true(json_exists(
                json_get(answer_root(api), "components", "schemas", "com.example.v1.Thing")));
}

/* Swagger 2.0 cannot say it all; one member too many and kubectl refuses the whole document. */
static void test_openapi_v2_leaves_out_what_it_cannot_say(void **state)
{
        static const struct {
                const char *schema, *expected;
        } cases[] = {
                { "{'type':'string','nullable':true}", "{}" },
                { "{'type':'object','nullable':true,'properties':{'b':{'type':'string'}}}", "{}" },
                { "{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{'b':"
                  "{'type':'string'}}}",
                  "{'x-kubernetes-preserve-unknown-fields':true}" },
                { "{'x-kubernetes-int-or-string':true,'anyOf':[{'type':'integer'},{'type':"
                  "'string'}]}",
                  "{'x-kubernetes-int-or-string':true}" },
                { "{'type':'object','required':['b','c'],'properties':{'b':{'type':'string',"
                  "'nullable':true},'c':{'type':'string'},'nullable':{'type':'integer'}}}",
                  "{'type':'object','required':['c'],'properties':{'b':{},'c':{'type':'string'},"
                  "'nullable':{'type':'integer'}}}" },
                { "{'type':'array','items':{'type':'string','nullable':true}}",
                  "{'type':'array','items':{}}" },
                { "{'type':'object','additionalProperties':{'type':'integer','minimum':1}}",
                  "{'type':'object','additionalProperties':{'type':'integer','minimum':1}}" },
        };
        struct test_api *api = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char crd[2048], expected[512];
                struct json_value found;
                snprintf(crd, sizeof(crd),
                         "{'metadata':{'name':'w%zus.example.com'},'spec':{'group':'example.com',"
                         "'scope':'Namespaced','names':{'plural':'w%zus','kind':'W%zu'},'versions':"
                         "[{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':"
                         "{'type':'object','properties':{'a':%s}}}}]}}",
                         i, i, i, cases[i].schema);
                assert_int_equal(post(api, CRDS, crd), 201);
                snprintf(crd, sizeof(crd), "/apis/example.com/v1/w%zus", i);
                wait_for_path(api, crd, 200);
                assert_int_equal(get(api, "/openapi/v2"), 200);
                snprintf(crd, sizeof(crd), "com.example.v1.W%zu", i);
                found = json_get(answer_root(api), "definitions", crd, "properties", "a");
                snprintf(expected, sizeof(expected), "%s", cases[i].expected);
                for (char *c = expected; *c; c++)
                        *c = *c == '\'' ? '"' : *c;
                assert_true(str_equal(json_text(found), str_from(expected)));
        }
        assert_true(json_exists(json_get(answer_root(api), "paths",
                                         "/apis/example.com/v1/namespaces/{namespace}/w0s/{name}",
                                         "patch", "consumes")));
}

/* Every definition that is named stands in the document. */
static void check_references(struct json_value value, struct json_value definitions)
{
        json_for_each (it, value) {
                struct str name = json_string(it.value);
                if (str_equal(it.key, STR("$ref")) && json_type(it.value) == JSON_STRING) {
                        assert_true(str_starts_with(name, STR("#/definitions/")));
                        name = str_slice(name, strlen("#/definitions/"), name.length);
                        assert_true(json_exists(json_member(definitions, name)));
                }
                check_references(it.value, definitions);
        }
}

static void test_openapi_v2_is_whole(void **state)
{
        struct test_api *api = *state;
        struct json_value definitions;

        assert_int_equal(get(api, "/openapi/v2"), 200);
        definitions = json_get(answer_root(api), "definitions");
        assert_true(json_count(definitions) > 300);
        check_references(definitions, definitions);
        assert_true(json_string_is(json_get(definitions,
                                            "io.k8s.apimachinery.pkg.util.intstr."
                                            "IntOrString",
                                            "type"),
                                   STR("string")));
}

static void test_a_definition_changes_and_goes(void **state)
{
        struct test_api *api = *state;

        make_things(api);
        assert_int_equal(post(api, THINGS,
                              "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':"
                              "'a'},'spec':{'size':3}}"),
                         201);
        get(api, "/apis/example.com/v2/namespaces/default/things");
        assert_refused(api, 404, "NotFound");
        assert_int_equal(
                ask(api, "admin", "PUT", CRDS "/things.example.com", NULL,
                    CRD(VERSION("v1", "'storage':true") "," VERSION("v2", "'storage':false"))),
                200);
        wait_for_path(api, "/apis/example.com/v2/namespaces/default/things/a", 200);
        assert_string_equal(answer_text(api, "apiVersion"), "example.com/v2");
        get(api, "/apis/example.com");
        assert_string_equal(answer_text(api, "preferredVersion", "version"), "v2");

        assert_int_equal(delete_it(api, CRDS "/things.example.com", NULL), 200);
        wait_for_path(api, THINGS, 404);
        /* What it held went with it. */
        make_things(api);
        for (int i = 0; i < 1000 && get(api, THINGS "/a") != 404; i++)
                continue;
        assert_refused(api, 404, "NotFound");
}

/* What a definition holds goes before it does, and may take its time. */
static void test_objects_go_before_their_definition(void **state)
{
        struct test_api *api = *state;

        make_things(api);
        for (int i = 0; i < 300; i++) {
                char thing[256];
                snprintf(thing, sizeof(thing),
                         "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':'t%d'"
                         "%s},'spec':{'size':3}}",
                         i, i == 7 ? ",'finalizers':['example.com/hold']" : "");
                assert_int_equal(post(api, THINGS, thing), 201);
        }
        assert_int_equal(delete_it(api, CRDS "/things.example.com", NULL), 200);
        assert_string_equal(answer_text(api, "kind"), "CustomResourceDefinition");
        assert_true(strlen(answer_text(api, "metadata", "deletionTimestamp")) > 0);
        for (int i = 0; i < 3000; i++) {
                get(api, THINGS);
                if (json_count(json_get(answer_root(api), "items")) == 1)
                        break;
        }
        assert_int_equal(json_count(json_get(answer_root(api), "items")), 1);
        assert_int_equal(get(api, THINGS "/t7"), 200);
        assert_true(strlen(answer_text(api, "metadata", "deletionTimestamp")) > 0);
        post(api, THINGS,
             "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':'new'},"
             "'spec':{'size':3}}");
        assert_refused(api, 403, "Forbidden");
        assert_int_equal(get(api, CRDS "/things.example.com"), 200);

        /* A start in between goes on with it. */
        test_api_restart(api);
        assert_int_equal(get(api, CRDS "/things.example.com"), 200);
        post(api, THINGS,
             "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':'new'},"
             "'spec':{'size':3}}");
        assert_refused(api, 403, "Forbidden");
        assert_int_equal(merge(api, THINGS "/t7", "{'metadata':{'finalizers':null}}"), 200);
        for (int i = 0; i < 100000 && get(api, CRDS "/things.example.com") != 404; i++)
                continue;
        assert_refused(api, 404, "NotFound");
        wait_for_path(api, THINGS, 404);
}

static void test_bad_definitions(void **state)
{
        static const char *const cases[] = {
                /* no storage version, two, another name, no names */
                CRD(VERSION("v1", "'storage':false")),
                CRD(VERSION("v1", "'storage':true") "," VERSION("v2", "'storage':true")),
                "{'metadata':{'name':'x.example.com'},'spec':{'group':'example.com','scope':"
                "'Namespaced'," NAMES ",'versions':[" VERSION("v1", "'storage':true") "]}}",
        };
        struct test_api *api = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                post(api, CRDS, cases[i]);
                assert_refused(api, 422, "Invalid");
        }
        get(api, THINGS);
        assert_refused(api, 404, "NotFound");
}

static void test_definitions_come_back(void **state)
{
        struct test_api *api = *state;

        make_things(api);
        assert_int_equal(post(api, THINGS,
                              "{'apiVersion':'example.com/v1','kind':'Thing','metadata':{'name':"
                              "'a'},'spec':{'size':3}}"),
                         201);
        test_api_restart(api);
        assert_int_equal(get(api, THINGS "/a"), 200);
        assert_int_equal(answer_number(api, "spec", "size"), 3);
}

/* Upstream's own CRDs, older or newer, may be applied: they never narrow what is served. */
static void test_our_kinds_stay(void **state)
{
#define OURS "/apis/agents.x-k8s.io/v1beta1/namespaces/default/sandboxes"
        struct test_api *api = *state;

        assert_int_equal(get(api, CRDS "/sandboxes.agents.x-k8s.io"), 200);
        assert_int_equal(json_count(json_get(answer_root(api), "status", "conditions")), 2);
        assert_int_equal(merge(api, CRDS "/sandboxes.agents.x-k8s.io",
                               "{'spec':{'versions':[{'name':'v1alpha1','served':true,'storage':"
                               "true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}"),
                         200);
        assert_int_equal(get(api, OURS), 200);
        for (int i = 0; i < 1000; i++) {
                get(api, CRDS "/sandboxes.agents.x-k8s.io");
                if (json_count(json_get(answer_root(api), "status", "conditions")) == 3)
                        break;
        }
        struct json_value told =
                json_element(json_get(answer_root(api), "status", "conditions"), 2);
        assert_true(json_string_is(json_get(told, "type"), STR("ServedAsWritten")));
        assert_true(json_string_is(json_get(told, "status"), STR("False")));
        assert_int_equal(post(api, OURS,
                              "{'apiVersion':'agents.x-k8s.io/v1beta1','kind':'Sandbox',"
                              "'metadata':{'name':'a'},'spec':{'podTemplate':{'spec':{'containers'"
                              ":[{'name':'c','image':'i'}]}}}}"),
                         201);
        assert_string_equal(answer_text(api, "spec", "operatingMode"), "Running");
}

/* A kind that is served has its definition; nobody loses all sandboxes by a `kubectl delete crd`.
 */
static void test_our_definitions_stay(void **state)
{
        static const char *const ours[] = {
                "sandboxes.agents.x-k8s.io",
                "sandboxclaims.extensions.agents.x-k8s.io",
                "sandboxtemplates.extensions.agents.x-k8s.io",
                "sandboxwarmpools.extensions.agents.x-k8s.io",
        };
        struct test_api *api = *state;
        char path[160];

        make_things(api);
        for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
                snprintf(path, sizeof(path), CRDS "/%s", ours[i]);
                delete_it(api, path, NULL);
                assert_refused(api, 403, "Forbidden");
                assert_non_null(strstr(answer_text(api, "message"), "is built in and stays"));
                assert_non_null(strstr(answer_text(api, "message"), ours[i]));
                delete_it(api, path, "{'propagationPolicy':'Foreground','gracePeriodSeconds':0}");
                assert_refused(api, 403, "Forbidden");
                assert_int_equal(get(api, path), 200);
                assert_string_equal(answer_text(api, "metadata", "deletionTimestamp"), "");
        }
        delete_it(api, CRDS, NULL);
        assert_refused(api, 403, "Forbidden");
        get(api, CRDS);
        assert_true(json_count(json_get(answer_root(api), "items")) >= ARRAY_SIZE(ours));

        /* One for the name that guides use defines nothing, and goes as it came. */
        assert_int_equal(post(api, CRDS,
                              "{'metadata':{'name':'sandboxclaims.agents.x-k8s.io'},'spec':{"
                              "'group':'agents.x-k8s.io','scope':'Namespaced','names':{'plural':"
                              "'sandboxclaims','kind':'SandboxClaim'},'versions':[" VERSION(
                                      "v1alpha1", "'storage':true") "]}}"),
                         201);
        assert_int_equal(delete_it(api, CRDS "/sandboxclaims.agents.x-k8s.io", NULL), 200);
        get(api, CRDS "/sandboxclaims.agents.x-k8s.io");
        assert_refused(api, 404, "NotFound");
}

/* What is kept in annotations for the other version is the client's to write. */
static void test_what_is_converted_is_valid_in_its_version(void **state)
{
#define OLD_CLAIMS "/apis/extensions.agents.x-k8s.io/v1alpha1/namespaces/default/sandboxclaims"
#define OLD_CLAIM(templates)                                                                       \
        "{'apiVersion':'extensions.agents.x-k8s.io/v1alpha1','kind':'SandboxClaim','metadata':{"   \
        "'generateName':'t','annotations':{'api.agents.x-k8s.io/v1beta1-sandboxclaim-state':'{"    \
        "\\'spec\\':{\\'warmPoolRef\\':{\\'name\\':\\'p\\'},\\'volumeClaimTemplates\\':" templates \
        "}}'}},'spec':{'sandboxTemplateRef':{'name':'p'},'warmpool':'p'}}"
        struct test_api *api = *state;

        assert_int_equal(post(api, OLD_CLAIMS,
                              OLD_CLAIM("[{\\'metadata\\':{\\'name\\':\\'v\\'},\\'spec\\':{}}]")),
                         201);
        post(api, OLD_CLAIMS,
             OLD_CLAIM("[{\\'metadata\\':{\\'name\\':\\'v\\'},\\'spec\\':{\\'accessModes\\':7}}]"));
        assert_refused(api, 422, "Invalid");
}

static void test_both_versions_of_a_sandbox(void **state)
{
#define OLD "/apis/agents.x-k8s.io/v1alpha1/namespaces/default/sandboxes"
        struct test_api *api = *state;

        assert_int_equal(post(api, OLD,
                              "{'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'Sandbox',"
                              "'metadata':{'name':'a'},'spec':{'replicas':0,'podTemplate':{'spec':"
                              "{'containers':[{'name':'c','image':'i'}]}}}}"),
                         201);
        assert_non_null(strstr(api->warning, "deprecated"));
        assert_int_equal(answer_number(api, "spec", "replicas"), 0);
        struct json_value manager =
                json_element(json_get(answer_root(api), "metadata", "managedFields"), 0);
        assert_true(
                json_string_is(json_get(manager, "apiVersion"), STR("agents.x-k8s.io/v1alpha1")));
        get(api, OURS "/a");
        assert_string_equal(answer_text(api, "spec", "operatingMode"), "Suspended");
        /* A write that changes nothing but labels leaves the generation, in either version. */
        assert_int_equal(merge(api, OURS "/a", "{'metadata':{'labels':{'x':'y'}}}"), 200);
        assert_int_equal(answer_number(api, "metadata", "generation"), 1);
        assert_int_equal(merge(api, OLD "/a", "{'metadata':{'labels':{'x':'z'}}}"), 200);
        assert_int_equal(answer_number(api, "metadata", "generation"), 1);
        assert_int_equal(merge(api, OLD "/a/scale", "{'spec':{'replicas':1}}"), 200);
        get(api, OURS "/a");
        assert_string_equal(answer_text(api, "spec", "operatingMode"), "Running");
        assert_int_equal(answer_number(api, "metadata", "generation"), 2);
}

/* The words of some guides are the extensions' own objects. */
static void test_the_dialect_of_guides(void **state)
{
#define DIALECT    "/apis/agents.x-k8s.io/v1alpha1/namespaces/default"
#define EXTENSIONS "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/default"
        struct test_api *api = *state;

        assert_int_equal(post(api, DIALECT "/sandboxtemplates",
                              "{'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'SandboxTemplate',"
                              "'metadata':{'name':'t'},'spec':{'podTemplate':{'spec':{'containers':"
                              "[{'name':'c','image':'i'}]}}}}"),
                         201);
        assert_string_equal(answer_text(api, "apiVersion"), "agents.x-k8s.io/v1alpha1");
        assert_int_equal(get(api, EXTENSIONS "/sandboxtemplates/t"), 200);
        assert_string_equal(answer_text(api, "apiVersion"), "extensions.agents.x-k8s.io/v1beta1");
        assert_int_equal(post(api, DIALECT "/sandboxclaims",
                              "{'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'SandboxClaim',"
                              "'metadata':{'name':'c'},'spec':{'templateRef':{'name':'t'},'ttl':"
                              "'1h'}}"),
                         201);
        assert_int_equal(get(api, "/apis/extensions.agents.x-k8s.io/v1alpha1/namespaces/default/"
                                  "sandboxclaims/c"),
                         200);
        assert_string_equal(answer_text(api, "spec", "sandboxTemplateRef", "name"), "t");
        assert_string_equal(answer_text(api, "spec", "lifecycle", "shutdownPolicy"), "Delete");
        char end[32];
        snprintf(end, sizeof(end), "%s", answer_text(api, "spec", "lifecycle", "shutdownTime"));
        /* What `kubectl apply` of the same file sends: the claim's time does not begin anew. */
        for (time_t second = time(NULL); time(NULL) < second + 2;)
                usleep(10 * 1000);
        assert_int_equal(merge(api, DIALECT "/sandboxclaims/c", "{'spec':{'ttl':'1h'}}"), 200);
        assert_int_equal(get(api, EXTENSIONS "/sandboxclaims/c"), 200);
        assert_string_equal(answer_text(api, "spec", "lifecycle", "shutdownTime"), end);
        assert_int_equal(
                merge(api, DIALECT "/sandboxclaims/c", "{'metadata':{'labels':{'x':'y'}}}"), 200);
        assert_int_equal(get(api, DIALECT "/sandboxclaims?labelSelector=x%3Dy"), 200);
        assert_int_equal(json_count(json_get(answer_root(api), "items")), 1);
        post(api, DIALECT "/sandboxclaims",
             "{'apiVersion':'agents.x-k8s.io/v1alpha1','kind':'SandboxClaim','metadata':{'name':"
             "'d'},'spec':{'templateRef':{'name':'t'},'ttl':'soon'}}");
        assert_refused(api, 422, "Invalid");
        assert_int_equal(delete_it(api, DIALECT "/sandboxclaims/c", NULL), 200);
        get(api, EXTENSIONS "/sandboxclaims/c");
        assert_refused(api, 404, "NotFound");
}

static void test_events_have_two_names(void **state)
{
#define NEW_EVENTS "/apis/events.k8s.io/v1/namespaces/default/events"
#define EVENTS     "/api/v1/namespaces/default/events"
        struct test_api *api = *state;

        assert_int_equal(post(api, NEW_EVENTS,
                              "{'metadata':{'name':'e'},'regarding':{'kind':'Pod','name':'p'},"
                              "'note':'hello','reason':'R','type':'Normal','action':'A',"
                              "'reportingController':'c','reportingInstance':'i','eventTime':"
                              "'2026-11-21T10:00:00.000000Z'}"),
                         201);
        assert_string_equal(answer_text(api, "note"), "hello");
        assert_int_equal(get(api, EVENTS "/e"), 200);
        assert_string_equal(answer_text(api, "message"), "hello");
        assert_string_equal(answer_text(api, "involvedObject", "name"), "p");
        assert_string_equal(answer_text(api, "reportingComponent"), "c");
        assert_int_equal(post(api, EVENTS,
                              "{'metadata':{'name':'f'},'involvedObject':{'kind':'Pod','name':"
                              "'q'},'message':'m','reason':'R','type':'Normal'}"),
                         201);
        assert_int_equal(get(api, NEW_EVENTS "?fieldSelector=regarding.name%3Dq"), 200);
        assert_int_equal(json_count(json_get(answer_root(api), "items")), 1);
        assert_int_equal(get(api, EVENTS "?fieldSelector=involvedObject.name%3Dp"), 200);
        assert_int_equal(json_count(json_get(answer_root(api), "items")), 1);
        assert_int_equal(get(api, NEW_EVENTS "/f"), 200);
        assert_string_equal(answer_text(api, "apiVersion"), "events.k8s.io/v1");
        assert_string_equal(answer_text(api, "regarding", "name"), "q");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_api_setup, test_api_teardown)
#define DISK_TEST(name)                                                                            \
        cmocka_unit_test_setup_teardown(name, test_api_setup_on_disk, test_api_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_a_definition_serves_objects),
                TEST(test_openapi_v2_leaves_out_what_it_cannot_say),
                TEST(test_openapi_v2_is_whole),
                TEST(test_a_definition_changes_and_goes),
                DISK_TEST(test_objects_go_before_their_definition),
                TEST(test_bad_definitions),
                DISK_TEST(test_definitions_come_back),
                TEST(test_our_kinds_stay),
                TEST(test_our_definitions_stay),
                TEST(test_both_versions_of_a_sandbox),
                TEST(test_what_is_converted_is_valid_in_its_version),
                TEST(test_the_dialect_of_guides),
                TEST(test_events_have_two_names),
        };

        return run_unit_tests("apiserver_definitions", tests);
}
