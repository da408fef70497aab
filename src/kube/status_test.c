// SPDX-License-Identifier: Apache-2.0
#include "kube/status.h"

#include <errno.h>

#include "base/test.h"

static const struct kube_resource sandboxes = { .group = STR("agents.x-k8s.io"),
                                                .resource = STR("sandboxes"),
                                                .kind = STR("Sandbox") };
static const struct kube_resource pods = { .resource = STR("pods"), .kind = STR("Pod") };

static void assert_status(struct kube_status status, const char *expected)
{
        _cleanup_buffer_ struct buffer out = {};

        assert_int_equal(kube_status_write(&status, &out), 0);
        if (!str_equal(buffer_str(&out), str_from(expected)))
                fail_msg("\n%.*s is not\n%s", STR_FORMAT(buffer_str(&out)), expected);
}

#define FAILURE(rest)                                                                              \
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\"," rest  \
        "}"

static void failures_are_worded_as_kubernetes_does(void **state)
{
        _cleanup_arena_ struct arena arena = {};

        (void)state;
        assert_status(
                kube_status_not_found(&arena, &sandboxes, STR("x")),
                FAILURE("\"message\":\"sandboxes.agents.x-k8s.io \\\"x\\\" not found\","
                        "\"reason\":\"NotFound\",\"details\":{\"name\":\"x\","
                        "\"group\":\"agents.x-k8s.io\",\"kind\":\"sandboxes\"},\"code\":404"));
        assert_status(kube_status_not_found(&arena, &pods, STR("x")),
                      FAILURE("\"message\":\"pods \\\"x\\\" not found\",\"reason\":\"NotFound\","
                              "\"details\":{\"name\":\"x\",\"kind\":\"pods\"},\"code\":404"));
        assert_status(kube_status_no_such_path(),
                      FAILURE("\"message\":\"the server could not find the requested resource\","
                              "\"reason\":\"NotFound\",\"details\":{},\"code\":404"));
        assert_status(kube_status_already_exists(&arena, &pods, STR("x")),
                      FAILURE("\"message\":\"pods \\\"x\\\" already exists\","
                              "\"reason\":\"AlreadyExists\",\"details\":{\"name\":\"x\","
                              "\"kind\":\"pods\"},\"code\":409"));
        assert_status(kube_status_conflict(&arena, &pods, STR("x"), STR_EMPTY),
                      FAILURE("\"message\":\"Operation cannot be fulfilled on pods \\\"x\\\": the "
                              "object has been modified; please apply your changes to the latest "
                              "version and try again\",\"reason\":\"Conflict\",\"details\":{"
                              "\"name\":\"x\",\"kind\":\"pods\"},\"code\":409"));
        assert_status(kube_status_forbidden(&arena, &pods, STR_EMPTY, STR("User \"u\" cannot")),
                      FAILURE("\"message\":\"pods is forbidden: User \\\"u\\\" cannot\","
                              "\"reason\":\"Forbidden\",\"details\":{\"kind\":\"pods\"},"
                              "\"code\":403"));
        assert_status(
                kube_status_forbidden(&arena, NULL, STR_EMPTY, STR("no")),
                FAILURE("\"message\":\"forbidden: no\",\"reason\":\"Forbidden\",\"code\":403"));
        assert_status(kube_status_unauthorized(), FAILURE("\"message\":\"Unauthorized\","
                                                          "\"reason\":\"Unauthorized\","
                                                          "\"code\":401"));
        assert_status(kube_status_too_many_requests(&arena, 1, "try %s", "later"),
                      FAILURE("\"message\":\"try later\",\"reason\":\"TooManyRequests\","
                              "\"details\":{\"retryAfterSeconds\":1},\"code\":429"));
        assert_status(kube_status_internal(&arena, "%d%%", 5),
                      FAILURE("\"message\":\"Internal error occurred: 5%\","
                              "\"reason\":\"InternalError\",\"code\":500"));
        assert_status(kube_status_expired(&arena, "too old resource version: %d (%d)", 1, 5),
                      FAILURE("\"message\":\"too old resource version: 1 (5)\","
                              "\"reason\":\"Expired\",\"code\":410"));
        assert_status(kube_status_method_not_allowed(&arena, &pods, STR("patch")),
                      FAILURE("\"message\":\"patch is not supported on resources of kind "
                              "\\\"pods\\\"\",\"reason\":\"MethodNotAllowed\",\"details\":{"
                              "\"kind\":\"pods\"},\"code\":405"));
        assert_status(kube_status_unsupported_media_type(&arena, STR("application/json")),
                      FAILURE("\"message\":\"the body of the request was in an unknown format - "
                              "accepted media types include: application/json\","
                              "\"reason\":\"UnsupportedMediaType\",\"code\":415"));
        assert_status(kube_status_from_errno(&arena, -ENOMEM),
                      FAILURE("\"message\":\"Internal error occurred: Cannot allocate memory\","
                              "\"reason\":\"InternalError\",\"code\":500"));
        assert_status(kube_status_success(),
                      "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                      "\"status\":\"Success\",\"code\":200}");
}

static void causes_are_listed_and_summed_up(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        static struct field_errors errors;

        (void)state;
        assert_int_equal(json_doc_parse(STR("[-1]"), NULL, NULL, NULL, &doc), 0);
        struct json_value minus = json_element(json_root(doc), 0), none = {};
        field_errors_init(&errors, &arena);
        assert_true(field_errors_none(&errors));
        field_errors_add(&errors, FIELD_INVALID, STR("spec.replicas"), minus, "must be %s",
                         "large");
        assert_status(
                kube_status_invalid(&arena, &sandboxes, STR("x"), &errors),
                FAILURE("\"message\":\"Sandbox.agents.x-k8s.io \\\"x\\\" is invalid: "
                        "spec.replicas: Invalid value: -1: must be large\",\"reason\":\"Invalid\","
                        "\"details\":{\"name\":\"x\",\"group\":\"agents.x-k8s.io\","
                        "\"kind\":\"Sandbox\",\"causes\":[{\"reason\":\"FieldValueInvalid\","
                        "\"message\":\"Invalid value: -1: must be large\","
                        "\"field\":\"spec.replicas\"}]},\"code\":422"));

        field_errors_add(&errors, FIELD_REQUIRED, STR("spec.a"), minus, "%s", "");
        field_errors_add(&errors, FIELD_REQUIRED, STR("spec.a"), none, "%s", "");
        field_errors_add_string(&errors, FIELD_NOT_SUPPORTED, STR("m"), STR("a\"b"), "supported");
        struct kube_status status = kube_status_invalid(&arena, &pods, STR("x"), &errors);
        assert_true(str_equal(status.message,
                              STR("Pod \"x\" is invalid: [spec.replicas: Invalid value: -1: must "
                                  "be large, spec.a: Required value, m: Unsupported value: "
                                  "\"a\\\"b\": supported]")));
        assert_int_equal(status.cause_count, 4);

        for (int i = 0; i < 100; i++)
                field_errors_add(&errors, FIELD_TOO_MANY, STR("l"), none, "%d", i);
        assert_int_equal(errors.total, 104);
        assert_int_equal(errors.count, FIELD_ERRORS_MAX);
        assert_false(field_errors_none(&errors));
}

static void a_status_is_read(void **state)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer out = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct kube_status status = kube_status_too_many_requests(&arena, 3, "m");
        struct kube_status_view view;

        (void)state;
        assert_int_equal(kube_status_write(&status, &out), 0);
        assert_int_equal(json_doc_from_buffer(&out, &doc), 0);
        kube_status_read(json_root(doc), &view);
        assert_int_equal(view.code, 429);
        assert_int_equal(view.retry_after_seconds, 3);
        assert_true(str_equal(view.reason, STR("TooManyRequests")));
        assert_true(str_equal(view.message, STR("m")));
        kube_status_read((struct json_value){}, &view);
        assert_int_equal(view.code, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(failures_are_worded_as_kubernetes_does),
                cmocka_unit_test(causes_are_listed_and_summed_up),
                cmocka_unit_test(a_status_is_read),
        };

        return run_unit_tests("status", tests);
}
