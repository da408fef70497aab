// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>

#include "apiserver/call.h"
#include "base/test.h"

/* What a request's path, query and Accept say. */

static void test_paths(void **state _unused_)
{
        static const struct {
                const char *path;
                int r;
                const char *parts; /* group|version|resource|namespace|name|subresource|rest */
        } cases[] = {
                { "/api/v1/pods", 0, "|v1|pods||||" },
                { "/api/v1/namespaces", 0, "|v1|namespaces||||" },
                { "/api/v1/namespaces/a", 0, "|v1|namespaces||a||" },
                { "/api/v1/namespaces/a/", 0, "|v1|namespaces||a||" },
                { "/api/v1/namespaces/a/status", 0, "|v1|namespaces||a|status|" },
                { "/api/v1/namespaces/a/finalize", 0, "|v1|namespaces||a|finalize|" },
                { "/api/v1/namespaces/a/pods", 0, "|v1|pods|a|||" },
                { "/api/v1/namespaces/a/pods/b/log", 0, "|v1|pods|a|b|log|" },
                { "/api/v1/namespaces/a/services/b/proxy/c/d", 0, "|v1|services|a|b|proxy|c/d" },
                { "/apis/apps/v1/namespaces/a/deployments/b/scale", 0,
                  "apps|v1|deployments|a|b|scale|" },
                { "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", 0,
                  "rbac.authorization.k8s.io|v1|clusterroles||system:node||" },
                /* no resources */
                { "/api", 0, NULL },
                { "/api/v1", 0, NULL },
                { "/api/v1/", 0, NULL },
                { "/apis/apps", 0, NULL },
                { "/apis/apps/v1", 0, NULL },
                { "/apis//v1/x", 0, NULL },
                { "/healthz", 0, NULL },
                { "/", 0, NULL },
                { "*", 0, NULL },
                /* what must not reach a handler */
                { "/api/v1/namespaces/../secrets", -EINVAL, NULL },
                { "/api/v1/namespaces/%2e%2e/pods/x", -EINVAL, NULL },
                { "/api/v1/namespaces/a/pods/..", -EINVAL, NULL },
                { "/api/v1/namespaces/a/pods/b%2Fc", -EINVAL, NULL },
                { "/api/v1/namespaces/a/pods/b%00", -EINVAL, NULL },
                { "/api/v1/namespaces/a/pods/b%zz", -EINVAL, NULL },
                { "/api/v1/namespaces//pods/x", -EINVAL, NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                struct api_path path;
                char parts[256];

                assert_int_equal(api_path_parse(str_from(cases[i].path), &arena, &path),
                                 cases[i].r);
                if (cases[i].r < 0)
                        continue;
                if (path.is_resource != (cases[i].parts != NULL))
                        fail_msg("%s", cases[i].path);
                if (!path.is_resource)
                        continue;
                snprintf(parts, sizeof(parts), "%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s",
                         STR_FORMAT(path.group), STR_FORMAT(path.version),
                         STR_FORMAT(path.resource), STR_FORMAT(path.name_space),
                         STR_FORMAT(path.name), STR_FORMAT(path.subresource),
                         STR_FORMAT(path.rest));
                assert_string_equal(parts, cases[i].parts);
        }
}

static void test_good_queries(void **state _unused_)
{
        _cleanup_arena_ struct arena arena = {};
        struct kube_status status;
        struct api_options o;

        assert_int_equal(api_options_parse(STR(""), &arena, &o, &status), 0);
        assert_int_equal(o.grace_seconds, -1);
        assert_false(o.watch || o.dry_run || o.has_resource_version || o.has_selector);

        assert_int_equal(
                api_options_parse(STR("watch=True&resourceVersion=12&resourceVersionMatch="
                                      "NotOlderThan&sendInitialEvents=true&allowWatchBookmarks=1&"
                                      "timeoutSeconds=30&unknown=x&labelSelector=a%3Db%2Cc+in+"
                                      "%28d%2Ce%29&fieldSelector=metadata.name%3Dn"),
                                  &arena, &o, &status),
                0);
        assert_true(o.watch && o.bookmarks && o.send_initial && o.has_send_initial);
        assert_true(o.has_resource_version && o.resource_version == 12);
        assert_int_equal(o.match, MATCH_NOT_OLDER);
        assert_int_equal(o.timeout_seconds, 30);
        assert_int_equal(o.labels.count, 2);
        assert_int_equal(o.fields.count, 1);

        assert_int_equal(api_options_parse(STR("limit=500&continue=abc&resourceVersion=0&dryRun=All"
                                               "&fieldValidation=Strict&fieldManager=k&"
                                               "gracePeriodSeconds=0&propagationPolicy=Orphan"),
                                           &arena, &o, &status),
                         0);
        assert_true(o.limit == 500 && o.dry_run && o.has_resource_version);
        assert_int_equal(o.validation, VALIDATE_STRICT);
        assert_int_equal(o.grace_seconds, 0);
        assert_int_equal(o.propagation, PROPAGATE_ORPHAN);
        assert_true(str_equal(o.field_manager, STR("k")) &&
                    str_equal(o.continue_token, STR("abc")));
}

static void test_bad_queries(void **state _unused_)
{
        static const char *const cases[] = {
                "limit=-1",
                "limit=x",
                "resourceVersion=abc",
                "timeoutSeconds=1s",
                "dryRun=true",
                "fieldValidation=strict",
                "labelSelector=a=b=c",
                "labelSelector=a%20in",
                "fieldSelector=a",
                "propagationPolicy=None",
                "resourceVersionMatch=Latest",
                "x=%zz",
                "gracePeriodSeconds=-1",
                "limit=99999999999999999999",
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                struct kube_status status = {};
                struct api_options o;

                if (api_options_parse(str_from(cases[i]), &arena, &o, &status) != -EINVAL)
                        fail_msg("%s", cases[i]);
                assert_int_equal(status.code, 400);
        }
}

static void test_accept(void **state _unused_)
{
        static const struct {
                const char *accept;
                enum api_form form;
        } cases[] = {
                { "", FORM_OBJECT },
                { "*/*", FORM_OBJECT },
                { "application/json", FORM_OBJECT },
                { "application/json, */*", FORM_OBJECT },
                { "application/vnd.kubernetes.protobuf,application/json", FORM_OBJECT },
                { "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", FORM_TABLE },
                { "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
                  FORM_OBJECT },
                { "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
                  "application/json",
                  FORM_PARTIAL },
                { "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
                  "application/json",
                  FORM_DISCOVERY_V2 },
                { "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
                  "application/json",
                  FORM_OBJECT },
                { "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                  FORM_PROTOBUF_ONLY },
                { "text/html", FORM_PROTOBUF_ONLY },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                if (api_accept_parse(str_from(cases[i].accept)) != cases[i].form)
                        fail_msg("%s", cases[i].accept);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_good_queries),
                cmocka_unit_test(test_bad_queries),
                cmocka_unit_test(test_accept),
        };

        return run_unit_tests("apiserver_request", tests);
}
