// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"

/*
 * How long the loop works without a pause: the time of every turn but for its waiting. Nothing
 * should hold it for more than a millisecond, for everybody else waits that long. Told twice: by
 * the clock, as others wait, and by the processor's time, which other processes do not disturb.
 */
enum { LAG_BUCKETS = 10 };

struct lag_histogram {
        uint64_t counts[LAG_BUCKETS + 1]; /* turns, by the first bound that they kept */
        uint64_t turns, sum_ns, max_ns;
};

struct lag {
        uv_prepare_t prepare;
        uint64_t last_ns, last_idle_ns, last_cpu_ns;
        struct lag_histogram clock, cpu;
};

/* Allocates; released by lag_close() when the loop has run its closing callbacks. */
int lag_new(uv_loop_t *loop, struct lag **ret_lag);
void lag_close(struct lag *lag);

/* Appends the histograms and gauges of the longest turns in Prometheus' text format. */
int lag_render(const struct lag *lag, struct buffer *out);
