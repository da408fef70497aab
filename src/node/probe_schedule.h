// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/pod_spec.h"

enum pod_probe_role { POD_PROBE_STARTUP, POD_PROBE_LIVENESS, POD_PROBE_READINESS, POD_PROBE_ROLES };

/*
 * When a probe of a running container is next due, and what its answers mean. No I/O; times are
 * monotonic nanoseconds.
 *
 * A Pod's readiness is on its user's path: until the first success, startup and readiness probes
 * are repeated after 1, 2, 4 … ms up to their period (a refused connection costs microseconds),
 * while failures count towards failureThreshold once a period only. Exec probes, which cost a
 * process each, begin at 50 ms.
 */
struct probe_schedule {
        const struct pod_probe *probe; /* borrowed */
        enum pod_probe_role role;
        uint64_t due;         /* when to ask next */
        uint64_t counts_from; /* failures before this do not count */
        uint64_t retry_ns;    /* the next quick repetition; 0: by period */
        uint32_t successes, failures;
        bool known;   /* a verdict was given */
        bool healthy; /* the last verdict */
};

void probe_schedule_init(struct probe_schedule *schedule, const struct pod_probe *probe,
                         enum pod_probe_role role, uint64_t now);

/*
 * Takes one answer and sets `due`. Returns whether the verdict changed (or was given for the first
 * time); a liveness or startup verdict that is unhealthy is final.
 */
bool probe_schedule_answer(struct probe_schedule *schedule, bool success, uint64_t now);
