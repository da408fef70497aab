// SPDX-License-Identifier: Apache-2.0
#include "serve/conversion.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/test.h"
#include "json/json.h"

#define REVIEW(desired, objects)                                                                   \
        "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"request\":{"  \
        "\"uid\":\"u-1\",\"desiredAPIVersion\":\"" desired "\",\"objects\":" objects "}}"
#define OBJECT(version, kind, name, more)                                                          \
        "{\"apiVersion\":\"" version "\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name     \
        "\",\"namespace\":\"d\"}" more "}"
#define AGENTS     "agents.x-k8s.io/"
#define EXTENSIONS "extensions.agents.x-k8s.io/"
#define CLAIM(name)                                                                                \
        OBJECT(EXTENSIONS "v1alpha1", "SandboxClaim", name,                                        \
               ",\"spec\":{\"sandboxTemplateRef\":{\"name\":\"t\"},\"warmpool\":\"p\"}")

/* The answer to a review, and in how many steps it came. */
static struct json_doc *answer(const char *body, unsigned *steps)
{
        _cleanup_conversion_review_ struct conversion_review *review = NULL;
        struct error error = {};
        struct json_doc *doc = NULL;
        int r = conversion_review_new(str_from(body), &error, &review);

        if (r < 0)
                fail_msg("%s", error.message);
        for (*steps = 1; (r = conversion_review_step(review, 0)) > 0; ++*steps)
                ;
        assert_int_equal(r, 0);
        assert_int_equal(conversion_review_step(review, 0), 0);
        assert_int_equal(
                json_doc_parse(conversion_review_outcome(review).answer, NULL, NULL, NULL, &doc),
                0);
        assert_true(json_string_is(json_get(json_root(doc), "response", "uid"), STR("u-1")));
        assert_true(json_string_is(json_get(json_root(doc), "apiVersion"),
                                   STR("apiextensions.k8s.io/v1")));
        return doc;
}

static void a_batch_is_converted_in_its_order(void **state _unused_)
{
        unsigned steps;
        _cleanup_doc_ struct json_doc *doc =
                answer(REVIEW(EXTENSIONS "v1beta1",
                              "[" CLAIM("a") "," CLAIM("b") "," OBJECT(
                                      EXTENSIONS "v1alpha1", "SandboxWarmPool", "c",
                                      ",\"spec\":{\"replicas\":2,\"sandboxTemplateRef\":{"
                                      "\"name\":\"t\"}}") "]"),
                       &steps);
        struct json_value response = json_get(json_root(doc), "response");
        struct json_value objects = json_get(response, "convertedObjects");
        static const char *const names[] = { "a", "b", "c" };

        assert_int_equal(steps, 4);
        assert_true(json_string_is(json_get(response, "result", "status"), STR("Success")));
        assert_int_equal(json_count(objects), 3);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct json_value object = json_element(objects, i);
                assert_true(
                        json_string_is(json_get(object, "metadata", "name"), str_from(names[i])));
                assert_true(
                        json_string_is(json_get(object, "apiVersion"), STR(EXTENSIONS "v1beta1")));
        }
        assert_true(json_string_is(
                json_get(json_element(objects, 0), "spec", "warmPoolRef", "name"), STR("p")));
}

static void nothing_is_asked_for_and_given(void **state _unused_)
{
        unsigned steps;
        _cleanup_doc_ struct json_doc *doc = answer(REVIEW(AGENTS "v1beta1", "[]"), &steps);
        struct json_value response = json_get(json_root(doc), "response");

        assert_true(json_string_is(json_get(response, "result", "status"), STR("Success")));

        assert_int_equal(json_type(json_get(response, "convertedObjects")), JSON_ARRAY);
        assert_int_equal(json_count(json_get(response, "convertedObjects")), 0);
}

static void what_is_unknown_is_refused_by_name(void **state _unused_)
{
        static const struct {
                const char *body, *why;
        } cases[] = {
                { REVIEW(EXTENSIONS "v2", "[" CLAIM("a") "]"),
                  "group extensions.agents.x-k8s.io has no version \"v2\": v1alpha1 and v1beta1 "
                  "are known" },
                { REVIEW("example.org/v1", "[]"), "group \"example.org\" is not converted here" },
                { REVIEW("v1beta1", "[]"), "group \"\" is not converted here" },
                { REVIEW(EXTENSIONS "v1beta1",
                         "[" CLAIM("a") "," OBJECT(EXTENSIONS "v3", "SandboxClaim", "b", "") "]"),
                  "SandboxClaim d/b: SandboxClaim has no conversion from v3 to v1beta1" },
                { REVIEW(EXTENSIONS "v1beta1",
                         "[" CLAIM("a") "," OBJECT(EXTENSIONS "v1alpha1", "Claim", "b", "") "]"),
                  "kind \"Claim\" of \"extensions.agents.x-k8s.io/v1alpha1\" is not converted to "
                  "extensions.agents.x-k8s.io/v1beta1" },
                { REVIEW(AGENTS "v1beta1", "[" CLAIM("a") "]"),
                  "kind \"SandboxClaim\" of \"extensions.agents.x-k8s.io/v1alpha1\" is not "
                  "converted to agents.x-k8s.io/v1beta1" },
                { REVIEW(AGENTS "v1beta1", "[7]"),
                  "kind \"\" of \"\" is not converted to agents.x-k8s.io/v1beta1" },
                { REVIEW(AGENTS "v1beta1", "{}"), "the request has no array of objects" },
                { REVIEW(AGENTS "v1beta1", "[{\"apiVersion\":\"agents.x-k8s.io/v1alpha1\","
                                           "\"kind\":\"Sandbox\",\"metadata\":7}]"),
                  "Sandbox /: metadata must be an object" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                unsigned steps;
                _cleanup_doc_ struct json_doc *doc = answer(cases[i].body, &steps);
                struct json_value response = json_get(json_root(doc), "response");
                struct str why = json_string(json_get(response, "result", "message"));
                if (!str_equal(why, str_from(cases[i].why)))
                        fail_msg("%s: %.*s", cases[i].why, STR_FORMAT(why));
                assert_true(json_string_is(json_get(response, "result", "status"), STR("Failure")));
                assert_int_equal(json_count(json_get(response, "convertedObjects")), 0);
        }
}

static void what_is_no_review_is_no_request(void **state _unused_)
{
        static const struct {
                const char *body;
                int result;
        } cases[] = {
                { "", -EBADMSG },
                { "{\"kind\":", -EBADMSG },
                { "[]", -EINVAL },
                { "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\"}",
                  -EINVAL },
                { "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1beta1\","
                  "\"request\":{\"uid\":\"a\",\"objects\":[]}}",
                  -EINVAL },
                { "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\","
                  "\"request\":{\"uid\":7}}",
                  -EINVAL },
        };
        struct conversion_review *review = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct error error = {};
                assert_int_equal(conversion_review_new(str_from(cases[i].body), &error, &review),
                                 cases[i].result);
                assert_true(error.message[0] != '\0');
                assert_null(review);
        }
}

/* An object stands three levels deep in a review. */
static void depth_and_size_are_bounded(void **state _unused_)
{
        struct conversion_review *review = NULL;
        struct buffer body = {};

        for (unsigned depth = LIMIT_DEPTH - 3; depth <= LIMIT_DEPTH - 2; depth++) {
                buffer_clear(&body);
                assert_int_equal(buffer_printf(&body,
                                               "{\"kind\":\"ConversionReview\",\"apiVersion\":"
                                               "\"apiextensions.k8s.io/v1\",\"request\":{\"uid\":"
                                               "\"u\",\"desiredAPIVersion\":\"" AGENTS
                                               "v1beta1\",\"objects\":["),
                                 0);
                for (unsigned i = 0; i < depth; i++)
                        assert_int_equal(buffer_append_str(&body, STR("{\"a\":")), 0);
                assert_int_equal(buffer_append_char(&body, '1'), 0);
                for (unsigned i = 0; i < depth; i++)
                        assert_int_equal(buffer_append_char(&body, '}'), 0);
                assert_int_equal(buffer_append_str(&body, STR("]}}")), 0);
                assert_int_equal(conversion_review_new(buffer_str(&body), NULL, &review),
                                 depth <= LIMIT_DEPTH - 3 ? 0 : -E2BIG);
                conversion_review_free(review);
                review = NULL;
        }
        buffer_deinit(&body);

        char *large = calloc(1, LIMIT_CONVERSION + 1);
        assert_non_null(large);
        memset(large, ' ', LIMIT_CONVERSION + 1);
        assert_int_equal(
                conversion_review_new((struct str){ large, LIMIT_CONVERSION + 1 }, NULL, &review),
                -EFBIG);
        free(large);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_batch_is_converted_in_its_order),
                cmocka_unit_test(nothing_is_asked_for_and_given),
                cmocka_unit_test(what_is_unknown_is_refused_by_name),
                cmocka_unit_test(what_is_no_review_is_no_request),
                cmocka_unit_test(depth_and_size_are_bounded),
        };

        return run_unit_tests("conversion", tests);
}
