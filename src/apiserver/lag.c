// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/lag.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/macro.h"

static const uint64_t bounds_us[LAG_BUCKETS] = { 50,   100,  250,   500,   1000,
                                                 2000, 5000, 10000, 50000, 250000 };

static void observe(struct lag_histogram *histogram, uint64_t ns)
{
        size_t bucket = 0;

        while (bucket < LAG_BUCKETS && ns > bounds_us[bucket] * 1000)
                bucket++;
        histogram->counts[bucket]++;
        histogram->turns++;
        histogram->sum_ns += ns;
        histogram->max_ns = MAX(histogram->max_ns, ns);
}

static uint64_t cpu_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Called before the loop waits: since the last time it worked, or waited. */
static void on_prepare(uv_prepare_t *prepare)
{
        struct lag *lag = prepare->data;
        uint64_t now = clock_monotonic_ns(), cpu = cpu_ns();
        uint64_t idle = uv_metrics_idle_time(prepare->loop);

        if (lag->last_ns > 0) {
                uint64_t busy = now - lag->last_ns;
                observe(&lag->clock, busy - MIN(busy, idle - lag->last_idle_ns));
                observe(&lag->cpu, cpu - lag->last_cpu_ns);
        }
        lag->last_ns = now;
        lag->last_idle_ns = idle;
        lag->last_cpu_ns = cpu;
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

static int render(const struct lag_histogram *histogram, const char *name, struct buffer *out)
{
        uint64_t count = 0;
        int r = buffer_printf(out, "# TYPE %s_seconds histogram\n", name);

        for (size_t i = 0; r == 0 && i < LAG_BUCKETS; i++) {
                count += histogram->counts[i];
                r = buffer_printf(out, "%s_seconds_bucket{le=\"%g\"} %llu\n", name,
                                  (double)bounds_us[i] / 1e6, (unsigned long long)count);
        }
        if (r == 0)
                r = buffer_printf(out,
                                  "%s_seconds_bucket{le=\"+Inf\"} %llu\n"
                                  "%s_seconds_sum %.9f\n"
                                  "%s_seconds_count %llu\n"
                                  "# TYPE %s_seconds_max gauge\n"
                                  "%s_seconds_max %.9f\n",
                                  name, (unsigned long long)histogram->turns, name,
                                  (double)histogram->sum_ns / 1e9, name,
                                  (unsigned long long)histogram->turns, name, name,
                                  (double)histogram->max_ns / 1e9);
        return r;
}

int lag_render(const struct lag *lag, struct buffer *out)
{
        int r = render(&lag->clock, "cay_loop_lag", out);

        return r < 0 ? r : render(&lag->cpu, "cay_loop_cpu", out);
}
