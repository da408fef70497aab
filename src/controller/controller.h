// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/controllers.h"

/*
 * The controllers of the Agent Sandbox API: Sandbox, SandboxTemplate, SandboxWarmPool,
 * SandboxClaim (facts: docs/controllers.md). Each decision is a pure function of what the cache
 * holds (`*_plan`), so this folder is tested by tables and by the simulator.
 */

struct sandbox_options {
        struct str cluster_domain; /* empty: "cluster.local" */
        unsigned pool_batch;       /* members made in one plan; 0: 300 */
        unsigned pool_coming;      /* new members of a pool that start at a time; 0: any number */
        uint64_t pool_readiness_grace_ns; /* 0: 5 min; a member not Ready for longer is replaced */
        uint64_t pool_replenish_delay_ns; /* members are not made sooner after the last one left */
        double pool_refill_rate; /* members a second and pool, 1e-6 at least; 0: no limit */
        bool evictable_members;  /* autoscalers may take what waits in a pool, unless its template
                                  * says something else */
        bool without_claim_events;
        uint64_t pool_status_interval_ns; /* 0: 1 s; status that is not about Ready waits so long */
        uint64_t missing_grace_ns; /* 0: 2 s; before a pool or template is said to be missing */
        const struct str *label_domains; /* that claims may set on Pods; NULL: sandbox.users.io */
        size_t label_domain_count;
        bool without_extensions; /* only the Sandbox controller */
};

struct sandbox_controllers;

/* Registers indexes and controllers. The options are copied, their strings borrowed. Before the
 * first feed. The result lives as long as the set. */
int sandbox_controllers_new(struct controllers *set, const struct sandbox_options *options,
                            struct sandbox_controllers **ret_controllers);
void sandbox_controllers_free(struct sandbox_controllers *controllers);
DEFINE_POINTER_CLEANUP(sandbox_controllers_freep, struct sandbox_controllers,
                       sandbox_controllers_free)

/* The kinds whose events must be fed, NULL-terminated. */
extern const struct kind *const sandbox_controllers_kinds[];
/* The same for sandbox_options.without_extensions. */
extern const struct kind *const sandbox_controllers_core_kinds[];
