// SPDX-License-Identifier: Apache-2.0
#include "cluster/bed_test.h"

#include <errno.h>

/* What collection decides, by what it has been told. */

static const struct kind widget = { .group = STR("example.com"),
                                    .kind = STR("Widget"),
                                    .plural = STR("widgets"),
                                    .namespaced = true };
static const struct kind place = { .group = STR("example.com"),
                                   .kind = STR("Place"),
                                   .plural = STR("places") };

#define OWNER(group, kind, name)                                                                   \
        "{'apiVersion':'" group "v1','kind':'" kind "','name':'" name "','uid':'u-" name "'}"
#define OWNED(...)       "'ownerReferences':[" __VA_ARGS__ "]"
#define OWNER_WIDGET     OWNER("example.com/", "Widget", "w")
#define DELETED_BY(name) "'deletionTimestamp':'2026-11-21T12:00:00Z','finalizers':['" name "']"

/* As "patch a, delete b". */
static const char *plan_for(struct bed *bed, const char *uid)
{
        static const char *const names[] = { "create", "patch", "status", "delete" };
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_plan_ struct plan plan = { 0 };
        size_t length = 0;

        plan_now(bed, collect_plan, &arena, uid, &plan);
        for (size_t i = 0; i < plan.count; i++)
                length += (size_t)snprintf(bed->text + length, sizeof(bed->text) - length,
                                           "%s%s %.*s", i ? ", " : "", names[plan.actions[i].type],
                                           STR_FORMAT(plan.actions[i].name));
        return bed->text;
}

static void absence_is_certain(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin(&bed);
        feed(&bed, &kind_config_map, CACHE_ADDED, "c", OWNED(OWNER_WIDGET));
        /* Nobody serves it: nothing is known, and nothing is waited for. */
        assert_string_equal(plan_for(&bed, "u-c"), "");
        assert_true(bed.come_back_ns == 0);
        assert_int_equal(controllers_add_kind(bed.set, &widget), 0);
        assert_string_equal(plan_for(&bed, "u-c"), "");
        assert_true(bed.come_back_ns > 0);
        /* A list from before the dependent had this owner says nothing. */
        list(&bed, &widget, 10);
        assert_string_equal(plan_for(&bed, "u-c"), "");
        assert_true(bed.come_back_ns > 0);
        controllers_advance(bed.set, &widget, 11);
        assert_string_equal(plan_for(&bed, "u-c"), "delete c");

        /* A kind that is gone takes only what it was seen to take. */
        feed(&bed, &widget, CACHE_ADDED, "w2", "");
        assert_int_equal(controllers_drop_kind(bed.set, &widget), -EBUSY);
        feed(&bed, &widget, CACHE_DELETED, "w2", "");
        assert_int_equal(controllers_drop_kind(bed.set, &widget), 0);
        assert_string_equal(plan_for(&bed, "u-c"), "");
        assert_true(bed.come_back_ns == 0);
        feed(&bed, &kind_config_map, CACHE_ADDED, "d",
             OWNED(OWNER("example.com/", "Widget", "w2")));
        assert_string_equal(plan_for(&bed, "u-d"), "delete d");
}

static void a_kind_that_is_listed_wakes_its_dependents(void **state)
{
        _cleanup_bed_ struct bed bed;
        size_t ready;

        (void)state;
        begin(&bed);
        feed(&bed, &kind_config_map, CACHE_ADDED, "c", OWNED(OWNER_WIDGET));
        feed(&bed, &kind_config_map, CACHE_ADDED, "other", "");
        controllers_run(bed.set, (struct instant){ 1, 1 });
        ready = controllers_queue(bed.set).ready;
        assert_int_equal(controllers_add_kind(bed.set, &widget), 0);
        list(&bed, &widget, 5); /* too old to delete anything */
        assert_int_equal(controllers_queue(bed.set).ready, ready + 1);
        controllers_run(bed.set, (struct instant){ 2, 2 });
        list(&bed, &widget, 6); /* again: nothing new is known */
        assert_int_equal(controllers_queue(bed.set).ready, ready);
}

/* Whom nobody has told of must not be taken for not there. */
static void the_last_finalizer_waits_for_all_kinds(void **state)
{
        static const char *const finalizers[] = { DELETED_BY("orphan"),
                                                  DELETED_BY("foregroundDeletion") };
        static const char *const plans[] = { "patch d, patch w", "" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(finalizers); i++) {
                _cleanup_bed_ struct bed bed;

                begin(&bed);
                assert_int_equal(controllers_add_kind(bed.set, &widget), 0);
                assert_int_equal(controllers_add_kind(bed.set, &place), 0);
                list(&bed, &widget, 1);
                feed(&bed, &widget, CACHE_ADDED, "w", finalizers[i]);
                assert_string_equal(plan_for(&bed, "u-w"), ""); /* places are not listed */
                assert_true(bed.come_back_ns > 0);
                list(&bed, &place, 1);
                controllers_advance(bed.set, NULL, 10);
                assert_string_equal(plan_for(&bed, "u-w"), ""); /* nor told as far */
                assert_true(bed.come_back_ns > 0);
                controllers_advance(bed.set, NULL, 11);
                assert_string_equal(plan_for(&bed, "u-w"), "patch w");
                feed(&bed, &place, CACHE_ADDED, "d",
                     OWNED("{'apiVersion':'example.com/v1','kind':'Widget','name':'w',"
                           "'uid':'u-w','blockOwnerDeletion':true}"));
                assert_string_equal(plan_for(&bed, "u-w"), plans[i]);
        }
}

static void of_the_cluster_and_of_namespaces(void **state)
{
        static const struct {
                const struct kind *kind; /* of the dependent */
                const char *owners, *plan;
        } cases[] = {
                { &place, OWNED(OWNER("example.com/", "Widget", "absent")), "" },
                { &place, OWNED(OWNER("example.com/", "Widget", "gone")), "" },
                { &place, OWNED(OWNER("", "ConfigMap", "absent")), "" },
                { &place, OWNED(OWNER("example.com/", "Place", "absent")), "delete x" },
                { &place, OWNED(OWNER("example.com/", "Place", "here")), "" },
                { &widget, OWNED(OWNER("example.com/", "Place", "here")), "" },
                { &widget, OWNED(OWNER("example.com/", "Place", "absent")), "delete x" },
                { &widget, OWNED(OWNER("example.com/", "Widget", "gone")), "delete x" },
                { &widget,
                  OWNED(OWNER("example.com/", "Widget", "gone") "," OWNER("example.com/", "Place",
                                                                          "here")),
                  "patch x" },
                { &widget, OWNED(OWNER("other.com/", "Place", "absent")), "" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_bed_ struct bed bed;

                begin(&bed);
                assert_int_equal(controllers_add_kind(bed.set, &widget), 0);
                assert_int_equal(controllers_add_kind(bed.set, &place), 0);
                list(&bed, &widget, 1);
                list(&bed, &place, 1);
                feed(&bed, &place, CACHE_ADDED, "here", "");
                feed(&bed, &widget, CACHE_ADDED, "gone", "");
                feed(&bed, &widget, CACHE_DELETED, "gone", "");
                feed(&bed, cases[i].kind, CACHE_ADDED, "x", cases[i].owners);
                controllers_advance(bed.set, NULL, 100);
                assert_string_equal(plan_for(&bed, "u-x"), cases[i].plan);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(absence_is_certain),
                cmocka_unit_test(a_kind_that_is_listed_wakes_its_dependents),
                cmocka_unit_test(the_last_finalizer_waits_for_all_kinds),
                cmocka_unit_test(of_the_cluster_and_of_namespaces),
        };

        return run_unit_tests("collect", tests);
}
