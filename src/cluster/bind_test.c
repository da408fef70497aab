// SPDX-License-Identifier: Apache-2.0
#include "cluster/bed_test.h"

/* Which Pods get a node, and what leaves room for them. */

static void feed_node(struct bed *bed, const char *name, const char *cpu, const char *memory,
                      const char *pods)
{
        char rest[256];

        snprintf(rest, sizeof(rest),
                 "'status':{'conditions':[{'type':'Ready','status':'True'}],"
                 "'allocatable':{'cpu':'%s','memory':'%s','pods':'%s'}}",
                 cpu, memory, pods);
        feed_with(bed, &kind_node, CACHE_MODIFIED, name, "", rest);
}

/* `node` "" is none yet. */
static void feed_pod(struct bed *bed, const char *name, const char *node, const char *cpu,
                     const char *memory, const char *phase)
{
        char rest[384];

        snprintf(rest, sizeof(rest),
                 "'spec':{'nodeName':'%s','containers':[{'resources':"
                 "{'requests':{'cpu':'%s','memory':'%s'}}}]},'status':{'phase':'%s'}",
                 node, cpu, memory, phase);
        feed_with(bed, &kind_pod, CACHE_MODIFIED, name, "", rest);
}

/* As "a: n1, b: -", with - for one that finds no room. */
static const char *plan_all(struct bed *bed)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_plan_ struct plan plan = { 0 };
        size_t length = 0;

        plan_now(bed, bind_plan, &arena, "all", &plan);
        for (size_t i = 0; i < plan.count; i++) {
                const struct action *action = &plan.actions[i];
                _cleanup_doc_ struct json_doc *body = NULL;
                struct str node = STR("-");

                if (action->best_effort)
                        continue;
                assert_int_equal(json_doc_parse(action->body, NULL, NULL, NULL, &body), 0);
                if (action->type == ACTION_BIND)
                        node = json_string(json_get(json_root(body), "target", "name"));
                length += (size_t)snprintf(bed->text + length, sizeof(bed->text) - length,
                                           "%s%.*s: %.*s", length ? ", " : "",
                                           STR_FORMAT(action->name), STR_FORMAT(node));
        }
        return bed->text;
}

static void a_node_has_room_for_what_it_says(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin(&bed);
        assert_string_equal(plan_all(&bed), "");
        feed_pod(&bed, "a", "", "600m", "1", "Pending");
        assert_string_equal(plan_all(&bed), "a: -");
        feed_node(&bed, "n1", "1", "1000", "3");
        assert_string_equal(plan_all(&bed), "a: n1");
        feed_pod(&bed, "b", "", "600m", "1", "Pending");
        assert_string_equal(plan_all(&bed), "a: n1, b: -");
        feed_pod(&bed, "b", "", "400m", "1000", "Pending");
        assert_string_equal(plan_all(&bed), "a: n1, b: -");
        feed_pod(&bed, "b", "", "400m", "999", "Pending");
        assert_string_equal(plan_all(&bed), "a: n1, b: n1");
}

static void what_is_bound_takes_room_until_it_ends(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin(&bed);
        feed_node(&bed, "n1", "1", "1000", "2");
        feed_pod(&bed, "a", "n1", "600m", "10", "Running");
        feed_pod(&bed, "b", "", "500m", "10", "Pending");
        assert_string_equal(plan_all(&bed), "b: -");
        feed_pod(&bed, "a", "n1", "500m", "10", "Running");
        assert_string_equal(plan_all(&bed), "b: n1");
        feed_pod(&bed, "a", "n1", "500m", "991", "Running");
        assert_string_equal(plan_all(&bed), "b: -");
        feed_pod(&bed, "a", "n1", "500m", "991", "Succeeded");
        assert_string_equal(plan_all(&bed), "b: n1");
        /* Two that ask for nothing are as many as the node takes. */
        feed_pod(&bed, "c", "n1", "0", "0", "Running");
        feed_pod(&bed, "d", "n1", "0", "0", "Running");
        assert_string_equal(plan_all(&bed), "b: -");
        feed(&bed, &kind_pod, CACHE_DELETED, "c", "");
        assert_string_equal(plan_all(&bed), "b: n1");
}

static void nobody_asks_for_more_or_less_than_can_be_added_up(void **state)
{
        _cleanup_bed_ struct bed bed;
        char name[] = "p0";

        (void)state;
        begin(&bed);
        feed_node(&bed, "n1", "4", "1000", "100");
        for (; name[1] <= '9'; name[1]++)
                feed_pod(&bed, name, "n1", "9e18", "9e18", "Running");
        feed_pod(&bed, "less", "n1", "-9e18", "-9e18", "Running");
        feed_pod(&bed, "a", "", "1", "1", "Pending");
        assert_string_equal(plan_all(&bed), "a: -");
        while (--name[1] >= '0')
                feed(&bed, &kind_pod, CACHE_DELETED, name, "");
        assert_string_equal(plan_all(&bed), "a: n1");
        feed_pod(&bed, "a", "", "5", "1", "Pending");
        assert_string_equal(plan_all(&bed), "a: -");
}

static void the_emptiest_node_is_taken(void **state)
{
        _cleanup_bed_ struct bed bed;

        (void)state;
        begin(&bed);
        feed_node(&bed, "n1", "4", "1000", "100");
        feed_node(&bed, "n2", "4", "1000", "100");
        feed_pod(&bed, "x", "n1", "0", "0", "Running");
        feed_pod(&bed, "y", "n1", "0", "0", "Running");
        feed_pod(&bed, "a", "", "1", "1", "Pending");
        feed_pod(&bed, "b", "", "1", "1", "Pending");
        assert_string_equal(plan_all(&bed), "a: n2, b: n2");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_node_has_room_for_what_it_says),
                cmocka_unit_test(what_is_bound_takes_room_until_it_ends),
                cmocka_unit_test(nobody_asks_for_more_or_less_than_can_be_added_up),
                cmocka_unit_test(the_emptiest_node_is_taken),
        };

        return run_unit_tests("bind", tests);
}
