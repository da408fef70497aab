// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "control/host.h"
#include "serve/metrics.h"

/*
 * What a controller process shows about itself: agent_sandbox_build_info and
 * leader_election_master_status as upstream's controller does; process_*; and counts of plans,
 * writes and requests that are ours (cay_*, docs/cluster.md). Figures are read when asked for.
 */
struct process_metrics;

struct process_metrics_options {
        struct metrics *metrics; /* borrowed, as all here; must outlive the result's use */
        struct controller_host *host;
        struct kube_client *client;
        const char *version;
        const char *lease; /* its name; NULL: no election */
        bool (*is_leading)(void *user);
        void *user;
};

/* Returns 0 or -ENOMEM. No metrics_render() may follow process_metrics_free(). */
int process_metrics_new(const struct process_metrics_options *options,
                        struct process_metrics **ret_metrics);
void process_metrics_free(struct process_metrics *metrics);
