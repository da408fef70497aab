// SPDX-License-Identifier: Apache-2.0
#include "kube/condition.h"

#include "base/clock.h"
#include "base/test.h"

#define NOW (UINT64_C(1795255200) * NS_PER_SECOND) /* 2026-11-21T10:00:00Z */

static const struct condition ready = { .type = STR("Ready"),
                                        .status = STR("True"),
                                        .reason = STR("R"),
                                        .message = STR("m"),
                                        .observed_generation = 2 };
static const struct condition finished = {
        .type = STR("Finished"), .status = STR("False"), .reason = STR("F"), .message = STR("")
};

#define WRITTEN(type, status, generation, time, reason, message)                                   \
        "{\"type\":\"" type "\",\"status\":\"" status "\"" generation                              \
        ",\"lastTransitionTime\":\"" time "\",\"reason\":\"" reason "\",\"message\":\"" message    \
        "\"}"
#define READY(time)    WRITTEN("Ready", "True", ",\"observedGeneration\":2", time, "R", "m")
#define FINISHED(time) WRITTEN("Finished", "False", "", time, "F", "")
#define THEN           "2026-01-01T00:00:00Z"
#define NOW_TEXT       "2026-11-21T10:00:00Z"

static void conditions_are_put_in(void **state)
{
        static const char *const remove_finished[] = { "Finished", NULL };
        static const struct {
                const char *old;
                const struct condition *set;
                size_t count;
                const char *const *remove;
                const char *new;
        } cases[] = {
                { "null", &ready, 1, NULL, "[" READY(NOW_TEXT) "]" },
                { "[]", &ready, 0, NULL, "[]" },
                /* the same: as it was, whatever its order */
                { "[{\"lastTransitionTime\":\"" THEN "\",\"type\":\"Ready\",\"status\":\"True\","
                  "\"reason\":\"R\",\"message\":\"m\",\"observedGeneration\":2}]",
                  &ready, 1, NULL,
                  "[{\"lastTransitionTime\":\"" THEN "\",\"type\":\"Ready\",\"status\":\"True\","
                  "\"reason\":\"R\",\"message\":\"m\",\"observedGeneration\":2}]" },
                /* reason and generation change, the time does not */
                { "[" WRITTEN("Ready", "True", "", THEN, "old", "m") "]", &ready, 1, NULL,
                  "[" READY(THEN) "]" },
                /* the status flips */
                { "[" WRITTEN("Ready", "False", ",\"observedGeneration\":2", THEN, "R", "m") "]",
                  &ready, 1, NULL, "[" READY(NOW_TEXT) "]" },
                /* others stay, in place, with what we do not know of them */
                { "[{\"type\":\"Mine\",\"x\":1}," WRITTEN("Ready", "True", "", THEN, "o",
                                                          "m") "," FINISHED(THEN) "]",
                  &ready, 1, NULL,
                  "[{\"type\":\"Mine\",\"x\":1}," READY(THEN) "," FINISHED(THEN) "]" },
                { "[" FINISHED(THEN) "," READY(THEN) "]", &ready, 1, remove_finished,
                  "[" READY(THEN) "]" },
                { "[]", &finished, 1, remove_finished, "[]" },
                /* an entry without a time gets one */
                { "[{\"type\":\"Finished\",\"status\":\"False\",\"reason\":\"F\",\"message\":\"\"}"
                  "]",
                  &finished, 1, NULL, "[" FINISHED(NOW_TEXT) "]" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_doc_ struct json_doc *old = NULL;
                _cleanup_buffer_ struct buffer out = {};
                struct json_writer writer;

                assert_int_equal(json_doc_parse(str_from(cases[i].old), NULL, NULL, NULL, &old), 0);
                json_writer_init(&writer, &out);
                conditions_write(&writer, json_root(old), cases[i].set, cases[i].count,
                                 cases[i].remove, NOW);
                assert_int_equal(json_writer_finish(&writer), 0);
                if (!str_equal(buffer_str(&out), str_from(cases[i].new)))
                        fail_msg("case %zu gives %.*s", i, STR_FORMAT(buffer_str(&out)));
        }
}

static void conditions_are_found_and_compared(void **state)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct condition found = {};

        (void)state;
        assert_int_equal(json_doc_parse(STR("[" FINISHED(THEN) "," READY(THEN) ",1]"), NULL, NULL,
                                        NULL, &doc),
                         0);
        struct json_value conditions = json_root(doc);
        assert_true(condition_find(conditions, STR("Ready"), &found));
        assert_true(condition_same(&found, &ready));
        assert_true(str_equal(found.last_transition, STR(THEN)));
        assert_true(condition_is_true(conditions, STR("Ready")));
        assert_false(condition_is_true(conditions, STR("Finished")));
        assert_false(condition_is_true(conditions, STR("Other")));
        assert_false(condition_find(conditions, STR("Other"), &found));
        assert_false(condition_same(&ready, &finished));
        assert_false(condition_find((struct json_value){}, STR("Ready"), &found));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(conditions_are_put_in),
                cmocka_unit_test(conditions_are_found_and_compared),
        };

        return run_unit_tests("condition", tests);
}
