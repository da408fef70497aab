// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"

/*
 * Shows this process and the router as what they stand for: a Deployment and a Pod each in
 * agent-sandbox-system, and the router's Service, so that guides and tools that look for the
 * controller there find it. The Pods are mirrors: no node runs them, and the Deployments are marked
 * so that no controller of ours acts on them. What is deleted is made again.
 */
struct mirror;

/*
 * Makes what is missing, or brings its status up to date. `done` is called once, when everything
 * was answered, perhaps from within; failures are logged. 0 or -ENOMEM.
 */
int mirror_new(struct apiserver *server, struct str node_name, void (*done)(void *user), void *user,
               struct mirror **ret_mirror);
void mirror_free(struct mirror *mirror);
