// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/lag.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macro.h"

static const uint64_t bounds_us[LAG_BUCKETS] = { 50,   100,  250,   500,   1000,
                                                 2000, 5000, 10000, 50000, 250000 };

/* Called before the loop waits: since the last time it worked, or waited. */
static void on_prepare(uv_prepare_t *prepare)
{
        struct lag *lag = prepare->data;
        uint64_t now = clock_monotonic_ns(), idle = uv_metrics_idle_time(prepare->loop), busy;
        size_t bucket = 0;

        if (lag->last_ns > 0) {
                busy = now - lag->last_ns;
                busy -= MIN(busy, idle - lag->last_idle_ns);
                while (bucket < LAG_BUCKETS && busy > bounds_us[bucket] * 1000)
                        bucket++;
                lag->counts[bucket]++;
                lag->turns++;
                lag->sum_ns += busy;
                lag->max_ns = MAX(lag->max_ns, busy);
        }
        lag->last_ns = now;
        lag->last_idle_ns = idle;
}

int lag_new(uv_loop_t *loop, struct lag **ret_lag)
{
        struct lag *lag = calloc(1, sizeof(*lag));

        if (!lag)
                return -ENOMEM;
        uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
        uv_prepare_init(loop, &lag->prepare);
        lag->prepare.data = lag;
        uv_prepare_start(&lag->prepare, on_prepare);
        uv_unref((uv_handle_t *)&lag->prepare);
        *ret_lag = lag;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void lag_close(struct lag *lag)
{
        if (lag)
                uv_close((uv_handle_t *)&lag->prepare, on_closed);
}

int lag_render(const struct lag *lag, struct buffer *out)
{
        uint64_t count = 0;
        int r = buffer_append_str(out, STR("# TYPE cay_loop_lag_seconds histogram\n"));

        for (size_t i = 0; r == 0 && i < LAG_BUCKETS; i++) {
                count += lag->counts[i];
                r = buffer_printf(out, "cay_loop_lag_seconds_bucket{le=\"%g\"} %llu\n",
                                  (double)bounds_us[i] / 1e6, (unsigned long long)count);
        }
        if (r == 0)
                r = buffer_printf(out,
                                  "cay_loop_lag_seconds_bucket{le=\"+Inf\"} %llu\n"
                                  "cay_loop_lag_seconds_sum %.9f\n"
                                  "cay_loop_lag_seconds_count %llu\n"
                                  "# TYPE cay_loop_lag_seconds_max gauge\n"
                                  "cay_loop_lag_seconds_max %.9f\n",
                                  (unsigned long long)lag->turns, (double)lag->sum_ns / 1e9,
                                  (unsigned long long)lag->turns, (double)lag->max_ns / 1e9);
        return r;
}
