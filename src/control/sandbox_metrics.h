// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/controllers.h"
#include "serve/metrics.h"

/*
 * The metrics of upstream's controller about Sandboxes and claims, by the same names, labels and
 * buckets (docs of kubernetes-sigs/agent-sandbox, "Controller Metrics Reference"), counted from
 * what becomes visible in the cache. Nothing is written for them: a claim's time until Ready is
 * told once, by the process that saw it wait.
 */
struct sandbox_metrics;

struct sandbox_metrics_options {
        struct metrics *metrics;    /* borrowed, as all here; no metrics_render() after the end */
        struct controllers *set;    /* before its first feed */
        bool extensions;            /* of claims, too */
        bool (*counts)(void *user); /* whether this process acts: else another one counts */
        void *user;
};

/* Returns 0 or -ENOMEM. To be freed after the set. */
int sandbox_metrics_new(const struct sandbox_metrics_options *options,
                        struct sandbox_metrics **ret_metrics);
void sandbox_metrics_free(struct sandbox_metrics *metrics);
