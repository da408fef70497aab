// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* `cay controller drain`. Strings are borrowed. */
struct cluster_drain_config {
        const char *kubeconfig;  /* NULL: $KUBECONFIG, in a cluster, ~/.kube/config */
        const char *name_space;  /* only this one; NULL: all */
        const char *lease_space; /* NULL: CLUSTER_LEASE_NAMESPACE */
        bool dry_run;            /* only says what it would do */
        bool deletes;            /* Pods are deleted instead of handed over */
        uint64_t timeout_ns;
};

/*
 * Prepares the way back to upstream's controller (controller/hand_over.h) while it holds the Lease,
 * so that no controller acts, and says on standard output what it did. Done again, it finds nothing
 * to do. Returns 0, or a negative errno with a sentence.
 */
int cluster_drain_run(const struct cluster_drain_config *config, struct error *error);
