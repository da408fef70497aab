// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"

/*
 * Shows this process and the router as what they stand for: a Deployment and a Pod each in
 * agent-sandbox-system, and the router's Service, so that guides and tools that look for the
 * controller there find it. The Pods are mirrors: no node runs them, and the Deployments are marked
 * so that no controller of ours acts on them. What is deleted is made again in a moment.
 */
struct mirror;

struct mirror_options {
        struct net_loop *loop;    /* borrowed */
        struct apiserver *server; /* borrowed */
        struct str node_name;     /* borrowed; of this machine's Node */
        struct str address;       /* borrowed; the Node's, which its Pods have too; empty: none */

        /* Called once, when everything was answered, perhaps from within mirror_new(). */
        void (*done)(void *user);
        void *user;
};

/* Makes what is missing, or brings its status up to date. Failures are logged. 0 or -ENOMEM. */
int mirror_new(const struct mirror_options *options, struct mirror **ret_mirror);
void mirror_free(struct mirror *mirror);
