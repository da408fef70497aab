// SPDX-License-Identifier: Apache-2.0
#include "serve/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Before uthash.h: a failed insertion leaves the element out instead of ending the process. */
#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(elem) ((elem)->lost = true)
#include <uthash.h>

struct metric {
        UT_hash_handle hh;
        struct metric_family *family;
        struct metric *next;  /* in the order of first use, as they are shown */
        struct buffer labels; /* as shown: a="b",c="d"; the key */
        bool lost;
        double value;      /* histograms: the sum */
        uint64_t count;    /* histograms: observations */
        uint64_t *buckets; /* histograms: observations of each bucket alone */
};

struct metric_family {
        const struct metric_description *description;
        struct metric_family *next;
        struct metric *by_labels;
        struct metric *first, **last;
        struct metric other; /* where memory or room end */
        bool other_used;
        size_t label_count, bucket_count;
};

struct render_hook {
        void (*render)(void *user);
        void *user;
        struct render_hook *next;
};

struct metrics {
        struct metric_family *first, **last;
        struct render_hook *hooks, **last_hook;
};

int metrics_new(struct metrics **ret_metrics)
{
        struct metrics *metrics = calloc(1, sizeof(*metrics));

        if (!metrics)
                return -ENOMEM;
        metrics->last = &metrics->first;
        metrics->last_hook = &metrics->hooks;
        *ret_metrics = metrics;
        return 0;
}

static void metric_deinit(struct metric *metric)
{
        buffer_deinit(&metric->labels);
        free(metric->buckets);
}

static void family_free(struct metric_family *family)
{
        HASH_CLEAR(hh, family->by_labels);
        for (struct metric *metric = family->first, *next; metric; metric = next) {
                next = metric->next;
                metric_deinit(metric);
                free(metric);
        }
        metric_deinit(&family->other);
        free(family);
}

void metrics_free(struct metrics *metrics)
{
        if (!metrics)
                return;
        for (struct metric_family *family = metrics->first, *next; family; family = next) {
                next = family->next;
                family_free(family);
        }
        for (struct render_hook *hook = metrics->hooks, *next; hook; hook = next) {
                next = hook->next;
                free(hook);
        }
        free(metrics);
}

/* ---- series ---- */

enum { LABELS_ROOM = 128 };

/* Label values show \, " and newline escaped. */
static int append_value(struct buffer *out, struct str value)
{
        size_t done = 0;
        int r = 0;

        /* Mostly there is nothing to escape, and this is done for each request that is counted. */
        for (size_t i = 0; i < value.length && r == 0; i++) {
                char c = value.data[i];
                if (c != '\n' && c != '\\' && c != '"')
                        continue;
                r = buffer_append(out, value.data + done, i - done);
                if (r == 0)
                        r = buffer_append_char(out, '\\');
                if (r == 0)
                        r = buffer_append_char(out, c == '\n' ? 'n' : c);
                done = i + 1;
        }
        return r < 0 ? r : buffer_append_str(out, str_slice(value, done, value.length));
}

static int append_labels(const struct metric_family *family, const struct str *values,
                         struct buffer *out)
{
        int r = 0;

        for (size_t i = 0; i < family->label_count && r == 0; i++) {
                r = i > 0 ? buffer_append_char(out, ',') : buffer_reserve(out, LABELS_ROOM);
                if (r == 0)
                        r = buffer_append_str(out, str_from(family->description->labels[i]));
                if (r == 0)
                        r = buffer_append_str(out, STR("=\""));
                if (r == 0)
                        r = append_value(out, values[i]);
                if (r == 0)
                        r = buffer_append_char(out, '"');
        }
        return r;
}

static int metric_init(struct metric *metric, struct metric_family *family,
                       const struct str *values)
{
        metric->family = family;
        if (family->bucket_count > 0) {
                metric->buckets = calloc(family->bucket_count, sizeof(*metric->buckets));
                if (!metric->buckets)
                        return -ENOMEM;
        }
        return append_labels(family, values, &metric->labels);
}

int metrics_add(struct metrics *metrics, const struct metric_description *description,
                struct metric_family **ret_family)
{
        struct str others[METRIC_LABELS];

        for (struct metric_family *family = metrics->first; family; family = family->next)
                if (strcmp(family->description->name, description->name) == 0)
                        return -EEXIST;
        struct metric_family *family = calloc(1, sizeof(*family));
        if (!family)
                return -ENOMEM;
        family->description = description;
        family->last = &family->first;
        while (family->label_count < METRIC_LABELS && description->labels[family->label_count])
                others[family->label_count++] = STR("other");
        while (family->bucket_count < METRIC_BUCKETS &&
               description->buckets[family->bucket_count] > 0)
                family->bucket_count++;
        int r = metric_init(&family->other, family, others);
        if (r < 0) {
                family_free(family);
                return r;
        }
        *metrics->last = family;
        metrics->last = &family->next;
        *ret_family = family;
        return 0;
}

static struct metric *add_series(struct metric_family *family, const struct str *values)
{
        struct metric *metric = calloc(1, sizeof(*metric));

        if (!metric)
                return NULL;
        if (metric_init(metric, family, values) == 0) {
                HASH_ADD_KEYPTR(hh, family->by_labels, metric->labels.data,
                                (unsigned)metric->labels.length, metric);
                if (!metric->lost) {
                        *family->last = metric;
                        family->last = &metric->next;
                        return metric;
                }
        }
        metric_deinit(metric);
        free(metric);
        return NULL;
}

struct metric *metric_with(struct metric_family *family, const struct str *values)
{
        _cleanup_buffer_ struct buffer labels = {};
        struct metric *metric = NULL;

        if (append_labels(family, values, &labels) == 0) {
                HASH_FIND(hh, family->by_labels, labels.data, labels.length, metric);
                if (!metric && HASH_COUNT(family->by_labels) < METRIC_SERIES)
                        metric = add_series(family, values);
        }
        if (!metric) {
                metric = &family->other;
                family->other_used = true;
        }
        return metric;
}

void metric_add(struct metric *metric, double value)
{
        metric->value += value;
}

void metric_set(struct metric *metric, double value)
{
        metric->value = value;
}

void metric_observe(struct metric *metric, double value)
{
        const struct metric_family *family = metric->family;

        metric->value += value;
        metric->count++;
        for (size_t i = 0; i < family->bucket_count; i++)
                if (value <= family->description->buckets[i]) {
                        metric->buckets[i]++;
                        return;
                }
}

double metric_value(const struct metric *metric)
{
        return metric->family->description->type == METRIC_HISTOGRAM ? (double)metric->count
                                                                     : metric->value;
}

void metric_family_reset(struct metric_family *family)
{
        for (struct metric *metric = family->first; metric; metric = metric->next)
                metric->value = 0;
        family->other.value = 0;
}

/* ---- the page ---- */

int metrics_on_render(struct metrics *metrics, void (*render)(void *user), void *user)
{
        struct render_hook *hook = calloc(1, sizeof(*hook));

        if (!hook)
                return -ENOMEM;
        hook->render = render;
        hook->user = user;
        *metrics->last_hook = hook;
        metrics->last_hook = &hook->next;
        return 0;
}

/* The fewest digits that give the same number again, as Go prints it. */
static int append_number(struct buffer *out, double value)
{
        char text[32];

        if (isnan(value))
                return buffer_append_str(out, STR("NaN"));
        if (isinf(value))
                return buffer_append_str(out, value > 0 ? STR("+Inf") : STR("-Inf"));
        for (int digits = 15; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        return buffer_append_str(out, str_from(text));
}

/* One line: name, suffix, labels with `extra` behind them, value. */
static int append_sample(struct buffer *out, const struct metric *metric, const char *suffix,
                         struct str extra, double value)
{
        struct str labels = buffer_str(&metric->labels);
        bool braces = labels.length > 0 || extra.length > 0;
        int r = buffer_printf(out, "%s%s%s%.*s%s%.*s%s ", metric->family->description->name, suffix,
                              braces ? "{" : "", STR_FORMAT(labels),
                              labels.length > 0 && extra.length > 0 ? "," : "", STR_FORMAT(extra),
                              braces ? "}" : "");

        if (r == 0)
                r = append_number(out, value);
        return r < 0 ? r : buffer_append_char(out, '\n');
}

static int append_histogram(struct buffer *out, const struct metric *metric)
{
        const struct metric_family *family = metric->family;
        uint64_t total = 0;
        int r = 0;

        for (size_t i = 0; i < family->bucket_count && r == 0; i++) {
                _cleanup_buffer_ struct buffer bound = {};
                total += metric->buckets[i];
                r = buffer_append_str(&bound, STR("le=\""));
                if (r == 0)
                        r = append_number(&bound, family->description->buckets[i]);
                if (r == 0)
                        r = buffer_append_char(&bound, '"');
                if (r == 0)
                        r = append_sample(out, metric, "_bucket", buffer_str(&bound),
                                          (double)total);
        }
        if (r == 0)
                r = append_sample(out, metric, "_bucket", STR("le=\"+Inf\""),
                                  (double)metric->count);
        if (r == 0)
                r = append_sample(out, metric, "_sum", STR_EMPTY, metric->value);
        if (r == 0)
                r = append_sample(out, metric, "_count", STR_EMPTY, (double)metric->count);
        return r;
}

static int append_series(struct buffer *out, const struct metric *metric)
{
        if (metric->family->description->type == METRIC_HISTOGRAM)
                return append_histogram(out, metric);
        return append_sample(out, metric, "", STR_EMPTY, metric->value);
}

static int append_family(struct buffer *out, const struct metric_family *family)
{
        static const char *const types[] = { [METRIC_COUNTER] = "counter",
                                             [METRIC_GAUGE] = "gauge",
                                             [METRIC_HISTOGRAM] = "histogram" };
        const struct metric_description *description = family->description;

        if (!family->first && !family->other_used)
                return 0;
        int r = buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", description->name,
                              description->help, description->name, types[description->type]);
        for (const struct metric *metric = family->first; metric && r == 0; metric = metric->next)
                r = append_series(out, metric);
        if (r == 0 && family->other_used)
                r = append_series(out, &family->other);
        return r;
}

int metrics_render(struct metrics *metrics, struct buffer *out)
{
        int r = 0;

        for (struct render_hook *hook = metrics->hooks; hook; hook = hook->next)
                hook->render(hook->user);
        for (struct metric_family *family = metrics->first; family && r == 0; family = family->next)
                r = append_family(out, family);
        return r;
}

/* ---- what the program is ---- */

#if defined(__x86_64__)
#define PLATFORM "linux/amd64"
#elif defined(__aarch64__)
#define PLATFORM "linux/arm64"
#else
#define PLATFORM "linux/unknown"
#endif

int metrics_add_build_info(struct metrics *metrics, const struct metric_description *description,
                           struct str version)
{
        const struct str values[] = { version,     STR("unknown"),        STR("unknown"),
                                      STR("none"), STR("C " __VERSION__), STR(PLATFORM) };
        struct metric_family *family;

        int r = metrics_add(metrics, description, &family);
        if (r == 0)
                metric_set(metric_with(family, values), 1);
        return r;
}
