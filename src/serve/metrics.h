// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/macro.h"
#include "base/str.h"

/*
 * Counters, gauges and histograms, shown as Prometheus text (exposition format 0.0.4). One thread
 * owns a registry. Folders below this one count in structs of their own; the role shows those
 * through metrics_on_render().
 */
struct metrics;

int metrics_new(struct metrics **ret_metrics);
void metrics_free(struct metrics *metrics);
DEFINE_POINTER_CLEANUP(metrics_freep, struct metrics, metrics_free)
#define _cleanup_metrics_ _cleanup_(metrics_freep)

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum { METRIC_LABELS = 8, METRIC_BUCKETS = 24, METRIC_SERIES = 4096 };

/* One family: a name and the names of its labels. All strings are static. */
struct metric_description {
        enum metric_type type;
        const char *name;
        const char *help;
        const char *labels[METRIC_LABELS]; /* NULL-terminated when fewer */
        double buckets[METRIC_BUCKETS];    /* histograms: rising upper bounds, 0 ends them */
};

struct metric_family;
struct metric; /* one series: a family and values of its labels */

/* Adds a family; the description is borrowed for ever. Returns 0, -EEXIST or -ENOMEM. */
int metrics_add(struct metrics *metrics, const struct metric_description *description,
                struct metric_family **ret_family);

/* What a program was built from, with the labels of upstream's programs. */
#define METRIC_BUILD_INFO(name)                                                                    \
        {                                                                                          \
                METRIC_GAUGE, name, "What this program was built from; always 1.",                 \
                {                                                                                  \
                        "git_version", "git_commit", "build_date", "go_version", "compiler",       \
                                "platform"                                                         \
                }                                                                                  \
        }

/* Adds a METRIC_BUILD_INFO and its only series. */
int metrics_add_build_info(struct metrics *metrics, const struct metric_description *description,
                           struct str version);

/*
 * The series with these label values (as many as the family has labels), made on first use.
 * Without memory, or beyond METRIC_SERIES of a family, it is a shared series whose label values are
 * all "other", so it is never NULL.
 */
struct metric *metric_with(struct metric_family *family, const struct str *values);

void metric_add(struct metric *metric, double value); /* counters: value ≥ 0 */
void metric_set(struct metric *metric, double value);
void metric_observe(struct metric *metric, double value);
double metric_value(const struct metric *metric); /* a histogram's: count of observations */

/* Sets every gauge or counter of the family to 0. */
void metric_family_reset(struct metric_family *family);

/* `render` is called before each metrics_render(), to copy figures kept elsewhere. */
int metrics_on_render(struct metrics *metrics, void (*render)(void *user), void *user);

/* Appends the whole page. Families without a series are left out. */
int metrics_render(struct metrics *metrics, struct buffer *out);
