// SPDX-License-Identifier: Apache-2.0
#include "node/probe_schedule.h"

#include "base/clock.h"

#define RETRY_FIRST      NS_PER_MS
#define RETRY_FIRST_EXEC (50 * NS_PER_MS)

static uint64_t period_ns(const struct probe_schedule *schedule)
{
        return MAX(schedule->probe->period_s, 1) * NS_PER_SECOND;
}

void probe_schedule_init(struct probe_schedule *schedule, const struct pod_probe *probe,
                         enum pod_probe_role role, uint64_t now)
{
        *schedule = (struct probe_schedule){ .probe = probe, .role = role };
        schedule->due = now + probe->initial_delay_s * NS_PER_SECOND;
        schedule->counts_from = schedule->due;
        if (role != POD_PROBE_LIVENESS)
                schedule->retry_ns =
                        probe->handler.kind == POD_HANDLER_EXEC ? RETRY_FIRST_EXEC : RETRY_FIRST;
}

static bool give_verdict(struct probe_schedule *schedule, bool healthy)
{
        bool is_news = !schedule->known || schedule->healthy != healthy;

        schedule->known = true;
        schedule->healthy = healthy;
        return is_news;
}

/*
 * A failure in between the periods says only that it is not yet so. Those that count fall due
 * exactly once a period.
 */
static void plan_retry(struct probe_schedule *schedule, bool counted, uint64_t now)
{
        if (counted)
                schedule->counts_from = now + period_ns(schedule);
        schedule->due = schedule->counts_from;
        if (schedule->retry_ns > 0 && now + schedule->retry_ns < schedule->counts_from) {
                schedule->due = now + schedule->retry_ns;
                schedule->retry_ns *= 2;
        }
}

bool probe_schedule_answer(struct probe_schedule *schedule, bool success, uint64_t now)
{
        const struct pod_probe *probe = schedule->probe;

        if (success) {
                schedule->failures = 0;
                schedule->retry_ns = 0;
                schedule->due = schedule->counts_from = now + period_ns(schedule);
                if (schedule->successes < probe->success_threshold)
                        schedule->successes++;
                if (schedule->successes < probe->success_threshold)
                        return false;
                return give_verdict(schedule, true);
        }
        bool counted = now >= schedule->counts_from;
        schedule->successes = 0;
        plan_retry(schedule, counted, now);
        if (!counted)
                return false;
        if (schedule->failures < probe->failure_threshold)
                schedule->failures++;
        if (schedule->failures < probe->failure_threshold)
                return false;
        return give_verdict(schedule, false);
}
