// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "plan/controllers.h"
#include "plan/observer.h"

/*
 * A set with one controller, whose plan function the test gives, before a backend that the test
 * answers by hand.
 */

enum { SENT_MAX = 64 };

struct sent {
        struct submission *submission;
        size_t index;
        char text[256]; /* "create a body" */
};

struct bed {
        struct controllers *set;
        struct executor_backend backend;
        struct controller controller;
        struct sent sent[SENT_MAX];
        size_t sent_count;
        uint64_t now_ns;
        unsigned plans;
        void (*plan)(struct bed *bed, const struct view *seen, struct plan *plan);
};

static const char *const type_names[] = { "create", "patch", "status", "delete", "bind" };

static void note(struct bed *bed, struct submission *submission, size_t index)
{
        const struct action *action = &submission->actions[index];
        struct sent *sent = &bed->sent[bed->sent_count++];

        assert_true(bed->sent_count < SENT_MAX);
        sent->submission = submission;
        sent->index = index;
        snprintf(sent->text, sizeof(sent->text), "%s %.*s %.*s", type_names[action->type],
                 STR_FORMAT(action->name), STR_FORMAT(action->body));
}

static void submit(void *context, struct submission *submission)
{
        for (size_t i = 0; i < submission->count; i++)
                note(context, submission, i);
}

static void plan(const struct view *seen, struct plan *ret_plan)
{
        struct bed *bed = (struct bed *)seen->context;

        bed->plans++;
        bed->plan(bed, seen, ret_plan);
}

static void map(struct controllers *set, const struct controller *controller,
                const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;

        controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
}

static const struct kind *const kinds[] = { &kind_config_map, NULL };

static struct json_doc *object(const char *name, unsigned version, const char *more)
{
        char text[512];
        struct json_doc *doc = NULL;

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u-%s\",\"namespace\":\"n\","
                 "\"resourceVersion\":\"%u\"}%s}",
                 name, name, version, more);
        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static void feed(struct bed *bed, const char *name, unsigned version, const char *more)
{
        _cleanup_doc_ struct json_doc *doc = object(name, version, more);

        assert_true(controllers_feed(bed->set, &kind_config_map, CACHE_MODIFIED, doc) >= 0);
}

static uint64_t run(struct bed *bed)
{
        return controllers_run(bed->set, (struct instant){ bed->now_ns, bed->now_ns });
}

static void begin(struct bed *bed, bool batches,
                  void (*function)(struct bed *, const struct view *, struct plan *))
{
        const struct controllers_options options = { .seed = 1 };

        *bed = (struct bed){
                .backend = { .submit = submit, .takes_batches = batches },
                .controller = { .name = "test", .kinds = kinds, .map = map, .plan = plan },
                .now_ns = 1000 * NS_PER_SECOND,
                .plan = function,
        };
        bed->backend.context = bed;
        bed->controller.context = bed;
        assert_int_equal(controllers_new(&options, &bed->backend, &bed->set), 0);
        assert_int_equal(controllers_add(bed->set, &bed->controller), 0);
        run(bed);
        controllers_list_begin(bed->set, &kind_config_map);
        controllers_list_end(bed->set, &kind_config_map, 1);
}

static void end(struct bed *bed)
{
        controllers_free(bed->set);
}

/* Answers what was sent as number `sent`. */
static void answer(struct bed *bed, size_t sent, int status, const char *name, unsigned version)
{
        _cleanup_doc_ struct json_doc *doc = name ? object(name, version, "") : NULL;
        struct action_result result = { .status = status,
                                        .message = STR("refused"),
                                        .object = doc };

        submission_done(bed->sent[sent].submission, bed->sent[sent].index, &result);
}

static void create(struct plan *ret_plan, const char *name, int after)
{
        struct json_writer *writer = plan_body(ret_plan);

        json_begin_object(writer);
        json_end_object(writer);
        plan_create(ret_plan, &kind_config_map, STR("n"), str_from(name), after);
}

/* Creates "made" once, then a child that has its uid, then a third without dependence. */
static void plan_family(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        struct json_writer *writer;

        if (bed->plans > 1 || !cache_get(seen->cache, &kind_config_map, STR("n"), STR("a")))
                return;
        create(ret_plan, "parent", ACTION_NONE);
        writer = plan_body(ret_plan);
        json_begin_object(writer);
        json_key(writer, STR("owner"));
        plan_write_result(ret_plan, 0, ACTION_FIELD_UID);
        json_key(writer, STR("version"));
        plan_write_result(ret_plan, 0, ACTION_FIELD_RESOURCE_VERSION);
        json_end_object(writer);
        plan_create(ret_plan, &kind_config_map, STR("n"), STR("child"), 0);
        create(ret_plan, "other", ACTION_NONE);
}

static void sends_what_depends_after_its_answer(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_family);
        feed(&bed, "a", 1, "");
        run(&bed);
        assert_int_equal(bed.sent_count, 2);
        assert_string_equal(bed.sent[0].text, "create parent {}");
        assert_string_equal(bed.sent[1].text, "create other {}");
        answer(&bed, 0, 201, "parent", 7);
        assert_int_equal(bed.sent_count, 3);
        assert_string_equal(bed.sent[2].text,
                            "create child {\"owner\":\"u-parent\",\"version\":\"7\"}");
        /* What was acknowledged is seen, before any watch tells. */
        assert_non_null(
                cache_get(controllers_cache(bed.set), &kind_config_map, STR("n"), STR("parent")));
        answer(&bed, 2, 201, "child", 8);
        answer(&bed, 1, 201, "other", 9);
        assert_int_equal(controllers_in_flight(bed.set), 0);
        end(&bed);
}

/* ---- the observer: writes down what it is told ---- */

static void *on_begin(void *context, const struct observed_plan *observed, struct arena *arena)
{
        struct buffer *told = context;

        assert_ptr_equal(observed->object,
                         cache_get(observed->cache, &kind_config_map, STR("n"), STR("a")));
        assert_non_null(arena_alloc(arena, 1));
        assert_int_equal(buffer_printf(told, "%s %.*s/%.*s:", observed->controller->name,
                                       STR_FORMAT(observed->namespace), STR_FORMAT(observed->name)),
                         0);
        for (size_t i = 0; i < observed->count; i++)
                assert_int_equal(buffer_printf(told, " %.*s for %.*s,",
                                               STR_FORMAT(observed->actions[i].name),
                                               STR_FORMAT(observed->actions[i].subject->meta.name)),
                                 0);
        return told;
}

static void on_sent(void *context, void *observed, size_t action)
{
        assert_ptr_equal(context, observed);
        assert_int_equal(buffer_printf(context, " sent %zu", action), 0);
}

static void on_answer(void *context, void *observed, size_t action,
                      const struct action_result *result)
{
        assert_ptr_equal(context, observed);
        assert_int_equal(buffer_printf(context, " got %zu %d", action, result->status), 0);
}

static void on_end(void *context, void *observed, int status)
{
        assert_ptr_equal(context, observed);
        assert_int_equal(buffer_printf(context, " end %d", status), 0);
}

static void plan_for_a(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        ret_plan->subject = cache_get(seen->cache, &kind_config_map, STR("n"), STR("a"));
        plan_family(bed, seen, ret_plan);
}

static void an_observer_hears_of_every_try(void **state)
{
        _cleanup_buffer_ struct buffer told = { 0 };
        const struct plan_observer observer = { &told, on_begin, on_sent, on_answer, on_end };
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_for_a);
        bed.controller.object = &kind_config_map;
        controllers_observe(bed.set, &observer);
        feed(&bed, "a", 1, "");
        run(&bed);
        answer(&bed, 0, -ETIMEDOUT, NULL, 0);
        answer(&bed, 1, 500, NULL, 0);
        bed.now_ns += NS_PER_SECOND;
        run(&bed);
        answer(&bed, 2, 201, "parent", 7);
        answer(&bed, 3, 201, "child", 8);
        assert_true(str_equal(buffer_str(&told),
                              STR("test n/a: parent for a, child for a, other for a, sent 0 sent 2 "
                                  "got 0 -110 got 2 500 sent 0 got 0 201 sent 1 got 1 201 "
                                  "end 500")));
        end(&bed);

        buffer_clear(&told);
        begin(&bed, true, plan_for_a);
        bed.controller.object = &kind_config_map;
        controllers_observe(bed.set, &observer);
        feed(&bed, "a", 1, "");
        run(&bed);
        answer(&bed, 0, 409, NULL, 0);
        answer(&bed, 1, -ECANCELED, NULL, 0);
        answer(&bed, 2, -ECANCELED, NULL, 0);
        assert_true(str_equal(buffer_str(&told),
                              STR("test n/a: parent for a, child for a, other for a, sent 0 sent 1 "
                                  "sent 2 got 0 409 got 1 -125 got 2 -125 end 409")));
        end(&bed);
}

static void failure_ends_what_depends(void **state)
{
        struct bed bed;
        uint64_t wake;

        (void)state;
        begin(&bed, false, plan_family);
        feed(&bed, "a", 1, "");
        run(&bed);
        answer(&bed, 0, 500, NULL, 0);
        answer(&bed, 1, 201, "other", 9);
        assert_int_equal(bed.sent_count, 2);
        assert_int_equal(controllers_counters(bed.set)->failures, 1);
        /* Planned anew after a while, a little random and not at once. */
        wake = run(&bed);
        assert_true(wake > bed.now_ns && wake < bed.now_ns + NS_PER_SECOND);
        end(&bed);
}

static void batches_are_whole(void **state)
{
        struct bed bed;
        struct json_doc *made[3] = { NULL };
        _cleanup_buffer_ struct buffer body = { 0 };

        (void)state;
        begin(&bed, true, plan_family);
        feed(&bed, "a", 1, "");
        run(&bed);
        assert_int_equal(bed.sent_count, 3);
        assert_ptr_equal(bed.sent[0].submission, bed.sent[2].submission);
        assert_int_equal(bed.sent[0].submission->actions[1].after, 0);
        made[0] = object("parent", 7, "");
        assert_int_equal(action_body(&bed.sent[0].submission->actions[1], made, 1, &body), 0);
        assert_true(
                str_equal(buffer_str(&body), STR("{\"owner\":\"u-parent\",\"version\":\"7\"}")));
        buffer_clear(&body);
        assert_int_equal(action_body(&bed.sent[0].submission->actions[1], made + 1, 1, &body),
                         -ENOENT);
        json_doc_unref(made[0]);
        answer(&bed, 0, 201, "parent", 7);
        answer(&bed, 1, 201, "child", 8);
        answer(&bed, 2, 201, "other", 9);
        assert_int_equal(controllers_in_flight(bed.set), 0);
        end(&bed);
}

static void patch(struct bed *bed, const struct view *seen, struct plan *ret_plan,
                  const char *value)
{
        const struct cache_entry *entry =
                cache_get(seen->cache, &kind_config_map, STR("n"), seen->name);
        struct json_writer *writer;

        (void)bed;
        writer = plan_patch_body(ret_plan, &entry->meta, EXPECT_VERSION);
        json_end_object(writer);
        json_field_string(writer, "data", str_from(value));
        plan_patch(ret_plan, &kind_config_map, &entry->meta, json_root(entry->doc), ACTION_NONE);
}

static void plan_patch_x(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        patch(bed, seen, ret_plan, "x");
}

static void drops_what_changes_nothing(void **state)
{
        struct bed bed;

        (void)state;
        for (int batches = 0; batches < 2; batches++) {
                begin(&bed, batches, plan_patch_x);
                feed(&bed, "a", 1, ",\"data\":\"x\"");
                run(&bed);
                assert_int_equal(bed.sent_count, 0);
                assert_int_equal(controllers_counters(bed.set)->dropped_writes, 1);
                feed(&bed, "a", 2, ",\"data\":\"y\"");
                run(&bed);
                assert_int_equal(bed.sent_count, 1);
                end(&bed);
        }
}

static void one_plan_a_key(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_patch_x);
        feed(&bed, "a", 1, "");
        run(&bed);
        assert_int_equal(bed.plans, 1);
        feed(&bed, "a", 2, "");
        feed(&bed, "a", 3, "");
        run(&bed);
        assert_int_equal(bed.plans, 1);
        /* Others go on. */
        feed(&bed, "b", 4, "");
        run(&bed);
        assert_int_equal(bed.plans, 2);
        answer(&bed, 0, 200, NULL, 0);
        run(&bed);
        assert_int_equal(bed.plans, 3);
        end(&bed);
}

/* Every key wants to patch "shared". */
static void plan_shared(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        struct view shared = *seen;

        if (cache_get(seen->cache, &kind_config_map, STR("n"), STR("shared")) &&
            !str_equal(seen->name, STR("shared"))) {
                shared.name = STR("shared");
                patch(bed, &shared, ret_plan, "x");
        }
}

static void plans_of_one_object_wait_for_each_other(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_shared);
        feed(&bed, "shared", 1, "");
        feed(&bed, "a", 2, "");
        feed(&bed, "b", 3, "");
        run(&bed);
        assert_int_equal(bed.sent_count, 1);
        answer(&bed, 0, 200, NULL, 0);
        run(&bed);
        assert_int_equal(bed.sent_count, 2);
        end(&bed);
}

static void conflict_waits_for_the_cache(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_patch_x);
        feed(&bed, "a", 5, "");
        run(&bed);
        answer(&bed, 0, 409, NULL, 0);
        assert_int_equal(controllers_counters(bed.set)->conflicts, 1);
        /* What we see is old: a plan made of it would conflict again. */
        bed.now_ns += 5 * NS_PER_SECOND;
        run(&bed);
        assert_int_equal(bed.plans, 1);
        feed(&bed, "a", 6, "");
        assert_true(controllers_is_due(bed.set, (struct instant){ bed.now_ns, bed.now_ns }));
        run(&bed);
        bed.now_ns += NS_PER_SECOND;
        run(&bed);
        assert_int_equal(bed.plans, 2);
        answer(&bed, 1, 409, NULL, 0);
        /* But not for ever. */
        bed.now_ns += 11 * NS_PER_SECOND;
        run(&bed);
        bed.now_ns += NS_PER_SECOND;
        run(&bed);
        assert_int_equal(bed.plans, 3);
        end(&bed);
}

static void repeats_until_the_answer_is_certain(void **state)
{
        static const struct {
                int status;
                bool again;
        } steps[] = { { -ETIMEDOUT, true },
                      { 500, true },
                      { 429, true },
                      { -ECONNREFUSED, true },
                      { 201, false } };
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_family);
        feed(&bed, "a", 1, "");
        run(&bed);
        answer(&bed, 1, 201, "other", 3);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                size_t before = bed.sent_count;

                answer(&bed, i == 0 ? 0 : before - 1, steps[i].status,
                       steps[i].again ? NULL : "parent", 9);
                bed.now_ns += NS_PER_SECOND;
                run(&bed);
                assert_int_equal(bed.sent_count, before + 1);
                assert_string_equal(bed.sent[before].text,
                                    steps[i].again ? "create parent {}"
                                                   : "create child {\"owner\":\"u-parent\","
                                                     "\"version\":\"9\"}");
        }
        assert_int_equal(bed.plans, 3); /* of a, other and parent: never of another name */
        end(&bed);
}

static void stops(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_family);
        feed(&bed, "a", 1, "");
        run(&bed);
        controllers_stop(bed.set);
        answer(&bed, 0, 201, "parent", 7);
        answer(&bed, 1, -ETIMEDOUT, NULL, 0);
        assert_int_equal(bed.sent_count, 2);
        assert_int_equal(controllers_in_flight(bed.set), 0);
        feed(&bed, "b", 9, "");
        bed.now_ns += 100 * NS_PER_SECOND;
        assert_true(run(&bed) == UINT64_MAX);
        assert_int_equal(bed.sent_count, 2);
        end(&bed);
}

static void plan_nothing(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        (void)bed;
        plan_note(ret_plan, "looked at %.*s", STR_FORMAT(seen->name));
        plan_come_back(ret_plan, seen->now.realtime_ns + 10 * NS_PER_SECOND);
}

static void comes_back_and_tells_why(void **state)
{
        struct bed bed;
        _cleanup_buffer_ struct buffer why = { 0 };

        (void)state;
        begin(&bed, false, plan_nothing);
        feed(&bed, "a", 1, "");
        assert_true(run(&bed) == bed.now_ns + 10 * NS_PER_SECOND);
        bed.now_ns += 9 * NS_PER_SECOND;
        run(&bed);
        assert_int_equal(bed.plans, 1);
        bed.now_ns += NS_PER_SECOND;
        run(&bed);
        assert_int_equal(bed.plans, 2);
        assert_int_equal(controllers_why(bed.set, STR("n"), STR("b"), &why), 0);
        assert_int_equal(why.length, 0);
        assert_int_equal(controllers_why(bed.set, STR("n"), STR("a"), &why), 0);
        assert_int_equal(buffer_append_char(&why, '\0'), 0);
        assert_non_null(strstr(why.data, "\"looked at a\""));
        end(&bed);
}

static void plan_and_rest(struct bed *bed, const struct view *seen, struct plan *ret_plan)
{
        (void)bed;
        (void)seen;
        ret_plan->rest_ns = NS_PER_MS;
}

static void rests(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, false, plan_and_rest);
        feed(&bed, "a", 1, "");
        run(&bed);
        feed(&bed, "a", 2, "");
        uint64_t due = bed.now_ns + NS_PER_MS;
        assert_true(run(&bed) == due);
        feed(&bed, "a", 3, "");
        bed.now_ns = due - 1;
        assert_true(run(&bed) == due);
        assert_int_equal(bed.plans, 1);
        bed.now_ns = due;
        assert_true(run(&bed) == UINT64_MAX);
        assert_int_equal(bed.plans, 2);
        end(&bed);
}

static void waits_until_all_is_listed(void **state)
{
        struct bed bed = {
                .backend = { .submit = submit },
                .controller = { .name = "test", .kinds = kinds, .map = map, .plan = plan },
                .plan = plan_nothing
        };

        (void)state;
        bed.backend.context = &bed;
        bed.controller.context = &bed;
        assert_int_equal(controllers_new(NULL, &bed.backend, &bed.set), 0);
        assert_int_equal(controllers_add(bed.set, &bed.controller), 0);
        controllers_list_begin(bed.set, &kind_config_map);
        feed(&bed, "a", 1, "");
        run(&bed);
        assert_int_equal(bed.plans, 0);
        controllers_list_end(bed.set, &kind_config_map, 1);
        run(&bed);
        assert_int_equal(bed.plans, 1);
        end(&bed);
}

static void refuses_too_much(void **state)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_plan_ struct plan many = { 0 };

        (void)state;
        plan_init(&many, &arena, 1);
        for (unsigned i = 0; i <= PLAN_ACTIONS_MAX; i++)
                create(&many, "x", ACTION_NONE);
        assert_int_equal(many.failure, -E2BIG);
}

static void names_are_like_kubernetes(void **state)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_plan_ struct plan one = { 0 };
        char text[6];

        (void)state;
        plan_init(&one, &arena, 1);
        for (unsigned i = 0; i < 1000; i++) {
                plan_name_suffix(&one, text);
                assert_int_equal(strlen(text), 5);
                assert_int_equal(strspn(text, "bcdfghjklmnpqrstvwxz2456789"), 5);
        }
}

/* What was told may never have been: nothing is planned before it was told anew. */
static void forgotten_is_as_never_told(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, true, plan_nothing);
        feed(&bed, "a", 2, "");
        run(&bed);
        assert_int_equal(bed.plans, 1);
        controllers_forget(bed.set);
        assert_int_equal(cache_count(controllers_cache(bed.set), &kind_config_map), 0);
        feed(&bed, "b", 3, "");
        run(&bed);
        assert_int_equal(bed.plans, 1);
        controllers_list_begin(bed.set, &kind_config_map);
        controllers_list_end(bed.set, &kind_config_map, 3);
        run(&bed);
        assert_int_equal(bed.plans, 3); /* one finds that `a` is gone */
        end(&bed);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sends_what_depends_after_its_answer),
                cmocka_unit_test(an_observer_hears_of_every_try),
                cmocka_unit_test(failure_ends_what_depends),
                cmocka_unit_test(batches_are_whole),
                cmocka_unit_test(drops_what_changes_nothing),
                cmocka_unit_test(one_plan_a_key),
                cmocka_unit_test(plans_of_one_object_wait_for_each_other),
                cmocka_unit_test(conflict_waits_for_the_cache),
                cmocka_unit_test(repeats_until_the_answer_is_certain),
                cmocka_unit_test(stops),
                cmocka_unit_test(comes_back_and_tells_why),
                cmocka_unit_test(rests),
                cmocka_unit_test(waits_until_all_is_listed),
                cmocka_unit_test(forgotten_is_as_never_told),
                cmocka_unit_test(refuses_too_much),
                cmocka_unit_test(names_are_like_kubernetes),
        };

        return run_unit_tests("plan", tests);
}
