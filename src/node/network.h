// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * The network of a node's Pods: who may reach whom (policy_set.h, put into force in the fabric) and
 * under which names (dns_server.h). It watches Services, NetworkPolicies and Namespaces, and is
 * told of Pods. Without the native runtime there is none: `node->network` is NULL, and everything
 * here does nothing.
 */
struct network;
struct node;
struct node_pod;

/* Where Pods find the resolver: the fabric's gateway, runtime/launcher.h. */
#define NETWORK_RESOLVER "169.254.1.1"

/* Needs the runtime, whose launcher gives the sockets. */
int network_new(struct node *node, struct error *error, struct network **ret_network);
void network_free(struct network *network);

/*
 * Begins to watch; calls `known` once, from the loop, when everything but the Pods is known or
 * cannot be. Returns 0 or a negative errno.
 */
int network_begin(struct node *node, void (*known)(struct node *node));

/* All Pods are known: from now on what is in force is just what should be, and pod_begin() is
 * called for those that waited. */
void network_pods_known(struct node *node);

/* Whether new sandboxes may be made: rules that an earlier process left are gone. */
bool network_is_in_force(const struct node *node);

/* The Pod's object, address or readiness may have changed. */
void network_pod_changed(struct node_pod *pod);

/* Before the Pod's sandbox is made: puts into force what it may. Returns 0 or a negative errno. */
int network_admit(struct node_pod *pod);

/* Before the Pod's address is given back, and when the Pod is gone. */
void network_pod_gone(struct node_pod *pod);
