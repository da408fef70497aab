// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/options.h"
#include "control/webhook_role.h"

/* The Lease of upstream's controller, so that the two never act at the same time. */
#define CLUSTER_LEASE_NAME "a3317529.agent-sandbox.x-k8s.io"

/* Where it stands if neither an option nor a Pod's ServiceAccount says. */
#define CLUSTER_LEASE_NAMESPACE "agent-sandbox-system"

/* The controller as a Deployment of a cluster runs it. Strings are borrowed. */
struct cluster_controller_config {
        const char *version;
        const char *kubeconfig;     /* NULL: $KUBECONFIG, in a cluster, ~/.kube/config */
        const char *name_space;     /* only this one; NULL: all */
        const char *cluster_domain; /* NULL: cluster.local */
        bool extensions;            /* SandboxTemplate, SandboxWarmPool and SandboxClaim too */

        bool elects;             /* acts only while it holds the Lease */
        const char *lease_space; /* NULL or empty: the Pod's, else CLUSTER_LEASE_NAMESPACE */
        uint64_t lease_ns, renew_deadline_ns, retry_ns;

        bool traces; /* sent as the OpenTelemetry variables of the environment say */

        const char *metrics_address, *health_address; /* ":8080"; "0" or empty: none */

        int64_t pool_batch; /* 0: 300 */
        uint64_t replenish_delay_ns;
        double refill_rate;          /* members a second and pool; 0: no limit */
        uint64_t readiness_grace_ns; /* 0: 5 min */
        bool evictable_members;      /* as in struct sandbox_options, like the next one */
        bool without_claim_events;

        struct webhook_role_config webhook;
};

/*
 * Runs the controllers of the Agent Sandbox API against an API server until SIGTERM or SIGINT:
 * then it plans nothing more, waits for the answers to what is on its way (10 s at most) and gives
 * the Lease up. Returns 0 after that, or a negative errno with a sentence: -ESTALE when leadership
 * was lost, -EINTR when a second signal came, or when it could not begin.
 */
int cluster_controller_run(const struct cluster_controller_config *config, struct error *error);
