// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <stdio.h>

#include "base/clock.h"
#include "kinds/core.h"
#include "kinds/sandbox.h"
#include "kube/condition.h"
#include "world.h"

/*
 * One story, again and again, in each of which the process ends with another of its requests:
 * before it is sent, on its way, or when it was done and not answered. The next one takes over from
 * what is true, and the story ends as it always does. Then the same with a Lease.
 */

enum { WAYS_TO_END = 6, STORY_SECONDS = 120 };

static void done(struct outcome outcome)
{
        assert_true(outcome.status < 300);
        if (outcome.object)
                json_doc_unref(outcome.object);
}

#define CLAIM(name)                                                                                \
        STR("{\"metadata\":{\"name\":\"" name                                                      \
            "\",\"namespace\":\"n\"},\"spec\":{\"warmPoolRef\":{\"name\":\"p\"}}}")

static void begin(struct world *world)
{
        done(api_create(world->api, &kind_sandbox_template,
                        STR("{\"metadata\":{\"name\":\"t\",\"namespace\":\"n\"},\"spec\":{"
                            "\"service\":true,\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":"
                            "\"c\",\"image\":\"i\"}]}}}}")));
        done(api_create(world->api, &kind_sandbox_warm_pool,
                        STR("{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{"
                            "\"replicas\":2,\"sandboxTemplateRef\":{\"name\":\"t\"}}}")));
        done(api_create(world->api, &kind_sandbox,
                        STR("{\"metadata\":{\"name\":\"s\",\"namespace\":\"n\"},\"spec\":{"
                            "\"podTemplate\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}}}")));
}

/* Warm claims, then one more than there are members, then the end of one. */
static void go_on(struct world *world)
{
        world_pass(world, 8 * NS_PER_SECOND);
        done(api_create(world->api, &kind_sandbox_claim, CLAIM("a")));
        done(api_create(world->api, &kind_sandbox_claim, CLAIM("b")));
        done(api_create(world->api, &kind_sandbox_claim, CLAIM("c")));
        world_pass(world, 8 * NS_PER_SECOND);
        done(api_delete(world->api, &kind_sandbox_claim, STR("n"), STR("a"), STR("{}")));
        done(api_patch(world->api, &kind_sandbox, STR("n"), STR("s"),
                       STR("{\"spec\":{\"operatingMode\":\"Suspended\"}}"), false));
        world_pass(world, STORY_SECONDS * NS_PER_SECOND);
}

static void count_one(void *context, struct json_doc *doc)
{
        (void)doc;
        ++*(unsigned *)context;
}

static unsigned count(struct world *world, const struct kind *kind)
{
        unsigned number = 0;

        api_each(world->api, kind, count_one, &number);
        return number;
}

/* Returns how many requests there were. */
static unsigned tell_story(const struct world_options *options, char failure[static 512])
{
        struct world world;
        unsigned requests;

        world_open(&world, options);
        users_prepare(&world);
        world_pass(&world, NS_PER_SECOND);
        begin(&world);
        go_on(&world);
        checker_end(world.checker);
        /* Two claims with a Sandbox each, two members, and the suspended one without a Pod. */
        if (count(&world, &kind_sandbox) != 5 || count(&world, &kind_pod) != 4 ||
            count(&world, &kind_service) != 4)
                world_fail(&world, "%u Sandboxes, %u Pods, %u Services",
                           count(&world, &kind_sandbox), count(&world, &kind_pod),
                           count(&world, &kind_service));
        snprintf(failure, 512, "%s", world.failure);
        requests = (unsigned)world.writes;
        world_close(&world);
        return requests;
}

static void end_at_each_action(bool elects)
{
        struct world_options options = { .seed = 1, .elects = elects };
        char failure[512];
        unsigned requests = tell_story(&options, failure);

        assert_string_equal(failure, "");
        assert_true(requests > 40);
        for (unsigned at = 1; at <= requests; at++) {
                for (unsigned way = 0; way < WAYS_TO_END; way++) {
                        options.seed = 1 + way;
                        options.ends_at = at;
                        (void)tell_story(&options, failure);
                        if (failure[0])
                                fail_msg("ended at %u of %u, seed %u: %s", at, requests, way + 1,
                                         failure);
                }
        }
}

static void ends_well_after_a_restart_at_each_action(void **state)
{
        (void)state;
        end_at_each_action(false);
}

static void ends_well_after_a_change_of_leaders_at_each_action(void **state)
{
        (void)state;
        end_at_each_action(true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ends_well_after_a_restart_at_each_action),
                cmocka_unit_test(ends_well_after_a_change_of_leaders_at_each_action),
        };

        return run_unit_tests("restart", tests);
}
