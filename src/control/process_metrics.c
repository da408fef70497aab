// SPDX-License-Identifier: Apache-2.0
#include "control/process_metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* Counters and gauges without labels that are copied at each look. */
enum figure {
        PLANS,
        EMPTY_PLANS,
        WRITES,
        EVENT_WRITES,
        DROPPED_WRITES,
        WRITES_IN_FLIGHT,
        SYNCED,
        QUEUE_DEPTH,
        QUEUE_DELAYED,
        QUEUE_ADDS,
        REQUESTS,
        REQUEST_RETRIES,
        REQUEST_FAILURES,
        CONNECTIONS,
        CPU_SECONDS,
        RESIDENT_BYTES,
        START_SECONDS,
        OPEN_FDS,
        FIGURES,
};

static const struct metric_description figures[FIGURES] = {
        [PLANS] = { METRIC_COUNTER, "cay_controller_plans_total",
                    "Plans that had something to do." },
        [EMPTY_PLANS] = { METRIC_COUNTER, "cay_controller_empty_plans_total",
                          "Plans that found nothing to do." },
        [WRITES] = { METRIC_COUNTER, "cay_controller_writes_total",
                     "Writes sent to the API server, Events included." },
        [EVENT_WRITES] = { METRIC_COUNTER, "cay_controller_event_writes_total",
                           "Of these writes, Events." },
        [DROPPED_WRITES] = { METRIC_COUNTER, "cay_controller_dropped_writes_total",
                             "Writes that were left out, as they would have changed nothing." },
        [WRITES_IN_FLIGHT] = { METRIC_GAUGE, "cay_controller_writes_in_flight",
                               "Writes that wait for an answer." },
        [SYNCED] = { METRIC_GAUGE, "cay_controller_synced",
                     "1 when every kind was listed and is being watched." },
        [QUEUE_DEPTH] = { METRIC_GAUGE, "cay_controller_queue_depth",
                          "Objects that are to be planned now." },
        [QUEUE_DELAYED] = { METRIC_GAUGE, "cay_controller_queue_delayed",
                            "Objects that are to be planned at a time." },
        [QUEUE_ADDS] = { METRIC_COUNTER, "cay_controller_queue_adds_total",
                         "Times that an object was to be planned." },
        [REQUESTS] = { METRIC_COUNTER, "cay_client_requests_total",
                       "Requests sent to the API server, watches and repetitions included." },
        [REQUEST_RETRIES] = { METRIC_COUNTER, "cay_client_retries_total",
                              "Requests that were repeated." },
        [REQUEST_FAILURES] = { METRIC_COUNTER, "cay_client_failures_total",
                               "Requests that had no answer, or one of 400 and above." },
        [CONNECTIONS] = { METRIC_COUNTER, "cay_client_connections_total",
                          "Connections opened to the API server." },
        [CPU_SECONDS] = { METRIC_COUNTER, "process_cpu_seconds_total",
                          "Total user and system CPU time spent in seconds." },
        [RESIDENT_BYTES] = { METRIC_GAUGE, "process_resident_memory_bytes",
                             "Resident memory size in bytes." },
        [START_SECONDS] = { METRIC_GAUGE, "process_start_time_seconds",
                            "Start time of the process since unix epoch in seconds." },
        [OPEN_FDS] = { METRIC_GAUGE, "process_open_fds", "Number of open file descriptors." },
};

static const struct metric_description write_failures = {
        METRIC_COUNTER,
        "cay_controller_write_failures_total",
        "Writes that failed, by reason.",
        { "reason" },
};
static const char *const reasons[] = { "conflict", "exists", "throttled", "unknown", "refused" };

static const struct metric_description master_status = {
        METRIC_GAUGE,
        "leader_election_master_status",
        "1 when this process holds the lease.",
        { "name" },
};
static const struct metric_description build_info = METRIC_BUILD_INFO("agent_sandbox_build_info");

struct process_metrics {
        struct process_metrics_options options;
        struct metric *figures[FIGURES];
        struct metric *failures[ARRAY_SIZE(reasons)];
        struct metric *master;
};

/* ---- looking ---- */

static void look_at_plans(struct process_metrics *ours)
{
        struct controllers *set = controller_host_set(ours->options.host);
        const struct executor_counters *counters = controllers_counters(set);
        const struct queue_figures queue = controllers_queue(set);
        const uint64_t failed[] = { counters->conflicts, counters->exists, counters->throttled,
                                    counters->unknown, counters->failures };
        char why[256];

        metric_set(ours->figures[PLANS], (double)counters->plans);
        metric_set(ours->figures[EMPTY_PLANS], (double)counters->empty_plans);
        metric_set(ours->figures[WRITES], (double)counters->writes);
        metric_set(ours->figures[EVENT_WRITES], (double)counters->events);
        metric_set(ours->figures[DROPPED_WRITES], (double)counters->dropped_writes);
        metric_set(ours->figures[WRITES_IN_FLIGHT], (double)controllers_in_flight(set));
        metric_set(ours->figures[QUEUE_DEPTH], (double)queue.ready);
        metric_set(ours->figures[QUEUE_DELAYED], (double)queue.delayed);
        metric_set(ours->figures[QUEUE_ADDS], (double)queue.added);
        metric_set(ours->figures[SYNCED], controller_host_is_synced(ours->options.host, why));
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                metric_set(ours->failures[i], (double)failed[i]);
}

static void look_at_client(struct process_metrics *ours)
{
        const struct kube_client_counters counters = kube_client_counters(ours->options.client);

        metric_set(ours->figures[REQUESTS], (double)counters.requests);
        metric_set(ours->figures[REQUEST_RETRIES], (double)counters.retries);
        metric_set(ours->figures[REQUEST_FAILURES], (double)counters.failures);
        metric_set(ours->figures[CONNECTIONS], (double)counters.connects);
}

static double seconds_of(struct timeval time)
{
        return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static size_t count_descriptors(void)
{
        DIR *folder = opendir("/proc/self/fd");
        size_t count = 0;

        if (!folder)
                return 0;
        while (readdir(folder))
                count++;
        closedir(folder);
        return count - 3; /* ".", "..", and the folder itself */
}

static void look_at_process(struct process_metrics *ours)
{
        _cleanup_buffer_ struct buffer text = {};
        struct rusage usage;
        unsigned long long size, resident;

        if (getrusage(RUSAGE_SELF, &usage) == 0)
                metric_set(ours->figures[CPU_SECONDS],
                           seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
        if (file_read(AT_FDCWD, "/proc/self/statm", 256, &text) == 0 &&
            buffer_append_char(&text, '\0') == 0 &&
            sscanf(text.data, "%llu %llu", &size, &resident) == 2)
                metric_set(ours->figures[RESIDENT_BYTES],
                           (double)resident * (double)sysconf(_SC_PAGESIZE));
        metric_set(ours->figures[OPEN_FDS], (double)count_descriptors());
}

static void look(void *user)
{
        struct process_metrics *ours = user;

        look_at_plans(ours);
        look_at_client(ours);
        look_at_process(ours);
        if (ours->master)
                metric_set(ours->master, ours->options.is_leading(ours->options.user));
}

/* ---- making ---- */

static int add_labelled(struct process_metrics *ours)
{
        struct metrics *metrics = ours->options.metrics;
        struct metric_family *family;

        int r = metrics_add_build_info(metrics, &build_info, str_from(ours->options.version));
        if (r < 0)
                return r;
        r = metrics_add(metrics, &write_failures, &family);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                ours->failures[i] =
                        metric_with(family, &(struct str){ reasons[i], strlen(reasons[i]) });
        if (!ours->options.lease)
                return 0;
        r = metrics_add(metrics, &master_status, &family);
        if (r < 0)
                return r;
        const struct str lease = str_from(ours->options.lease);
        ours->master = metric_with(family, &lease);
        return 0;
}

int process_metrics_new(const struct process_metrics_options *options,
                        struct process_metrics **ret_metrics)
{
        struct process_metrics *ours = calloc(1, sizeof(*ours));
        struct metric_family *family;
        int r = 0;

        if (!ours)
                return -ENOMEM;
        ours->options = *options;
        for (size_t i = 0; r == 0 && i < FIGURES; i++) {
                r = metrics_add(options->metrics, &figures[i], &family);
                if (r == 0)
                        ours->figures[i] = metric_with(family, NULL);
        }
        if (r == 0)
                r = add_labelled(ours);
        if (r == 0)
                r = metrics_on_render(options->metrics, look, ours);
        if (r < 0) {
                free(ours);
                return r;
        }
        metric_set(ours->figures[START_SECONDS], (double)clock_realtime_ns() / 1e9);
        *ret_metrics = ours;
        return 0;
}

void process_metrics_free(struct process_metrics *metrics)
{
        free(metrics);
}
