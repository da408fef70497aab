// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/controllers.h"

/*
 * What kube-controller-manager and the scheduler do on a cluster, for the API server in this
 * process: garbage collection by ownerReferences, the end of namespaces, binding Pods to the node,
 * default ServiceAccounts. Plan functions as in src/controller.
 */

struct cluster_options {
        struct str
                ca_certificate; /* PEM, for the ConfigMap kube-root-ca.crt; empty: none is made */
        /* Workloads with this annotation stand for something that runs elsewhere: left alone. */
        struct str mirror_annotation; /* empty: "cay.dev/mirror" */
};

struct cluster_controllers;

/* As sandbox_controllers_new(). `options` may be NULL. */
int cluster_controllers_new(struct controllers *set, const struct cluster_options *options,
                            struct cluster_controllers **ret_controllers);
void cluster_controllers_free(struct cluster_controllers *controllers);
DEFINE_POINTER_CLEANUP(cluster_controllers_freep, struct cluster_controllers,
                       cluster_controllers_free)

/* The kinds whose events must be fed, NULL-terminated; garbage is collected of these. */
extern const struct kind *const cluster_controllers_kinds[];
