// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/options.h"

/* The controller as a Deployment of a cluster runs it. Strings are borrowed. */
struct cluster_controller_config {
        const char *kubeconfig;     /* NULL: $KUBECONFIG, in a cluster, ~/.kube/config */
        const char *name_space;     /* only this one; NULL: all */
        const char *cluster_domain; /* NULL: cluster.local */
        bool extensions;            /* SandboxTemplate, SandboxWarmPool and SandboxClaim too */
        int64_t pool_batch;         /* 0: 300 */
        uint64_t replenish_delay_ns;
        int64_t refill_rate;         /* members a second and pool; 0: no limit */
        uint64_t readiness_grace_ns; /* 0: 5 min */
};

/*
 * Runs the controllers of the Agent Sandbox API against an API server until SIGTERM or SIGINT.
 * Returns 0 after an orderly end, or a negative errno with a sentence when it could not begin.
 */
int cluster_controller_run(const struct cluster_controller_config *config, struct error *error);
