// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/test.h"
#include "node/probe_schedule.h"

#define SECOND NS_PER_SECOND
#define MS     NS_PER_MS

static const struct pod_probe http = {
        .handler.kind = POD_HANDLER_HTTP,
        .period_s = 10,
        .timeout_s = 1,
        .success_threshold = 1,
        .failure_threshold = 3,
};

static void waits_for_the_initial_delay(void **state)
{
        struct pod_probe probe = http;
        struct probe_schedule schedule;

        (void)state;
        probe.initial_delay_s = 5;
        probe_schedule_init(&schedule, &probe, POD_PROBE_READINESS, 7 * SECOND);
        assert_int_equal(schedule.due, 12 * SECOND);
}

static void repeats_quickly_until_the_first_success(void **state)
{
        struct probe_schedule schedule;
        uint64_t now = SECOND, gap = MS;

        (void)state;
        probe_schedule_init(&schedule, &http, POD_PROBE_READINESS, now);
        assert_int_equal(schedule.due, now);
        for (int i = 0; i < 10; i++) {
                assert_false(probe_schedule_answer(&schedule, false, now));
                assert_int_equal(schedule.due, now + gap);
                now = schedule.due;
                gap *= 2;
        }
        assert_true(probe_schedule_answer(&schedule, true, now));
        assert_int_equal(schedule.due, now + 10 * SECOND);
        now = schedule.due;
        assert_false(probe_schedule_answer(&schedule, false, now));
        assert_int_equal(schedule.due, now + 10 * SECOND);
}

static void counts_failures_once_a_period(void **state)
{
        struct probe_schedule schedule;
        uint64_t now = SECOND;
        unsigned asked = 0;

        (void)state;
        probe_schedule_init(&schedule, &http, POD_PROBE_STARTUP, now);
        while (!probe_schedule_answer(&schedule, false, now)) {
                now = schedule.due;
                asked++;
                assert_true(asked < 40);
        }
        assert_int_equal(now, 21 * SECOND);
        assert_false(schedule.healthy);
}

static void liveness_is_by_period_alone(void **state)
{
        struct probe_schedule schedule;
        uint64_t now = SECOND;

        (void)state;
        probe_schedule_init(&schedule, &http, POD_PROBE_LIVENESS, now);
        assert_false(probe_schedule_answer(&schedule, false, now));
        assert_int_equal(schedule.due, 11 * SECOND);
        assert_false(probe_schedule_answer(&schedule, false, 11 * SECOND));
        assert_true(probe_schedule_answer(&schedule, false, 21 * SECOND));
        assert_false(schedule.healthy);
}

static void thresholds_are_kept(void **state)
{
        struct pod_probe probe = http;
        struct probe_schedule schedule;

        (void)state;
        probe.success_threshold = 2;
        probe.failure_threshold = 2;
        probe_schedule_init(&schedule, &probe, POD_PROBE_READINESS, 0);
        assert_false(probe_schedule_answer(&schedule, true, 0));
        assert_true(probe_schedule_answer(&schedule, true, 10 * SECOND));
        assert_false(probe_schedule_answer(&schedule, false, 20 * SECOND));
        assert_true(schedule.healthy);
        assert_true(probe_schedule_answer(&schedule, false, 30 * SECOND));
        assert_false(probe_schedule_answer(&schedule, true, 40 * SECOND));
        assert_false(probe_schedule_answer(&schedule, false, 50 * SECOND));
        assert_false(probe_schedule_answer(&schedule, true, 60 * SECOND));
        assert_true(probe_schedule_answer(&schedule, true, 70 * SECOND));
}

static void exec_is_repeated_less(void **state)
{
        struct pod_probe probe = http;
        struct probe_schedule schedule;

        (void)state;
        probe.handler.kind = POD_HANDLER_EXEC;
        probe_schedule_init(&schedule, &probe, POD_PROBE_READINESS, 0);
        assert_false(probe_schedule_answer(&schedule, false, 0));
        assert_int_equal(schedule.due, 50 * MS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(waits_for_the_initial_delay),
                cmocka_unit_test(repeats_quickly_until_the_first_success),
                cmocka_unit_test(counts_failures_once_a_period),
                cmocka_unit_test(liveness_is_by_period_alone),
                cmocka_unit_test(thresholds_are_kept),
                cmocka_unit_test(exec_is_repeated_less),
        };

        return run_unit_tests("probe_schedule", tests);
}
