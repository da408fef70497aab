// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "kinds/mirrored.h"

struct runtime;
struct runtime_events;

enum {
        NODE_OVERCOMMIT_CPU = 500,
        NODE_OVERCOMMIT_MEMORY = 16,
        NODE_OVERCOMMIT_MOST = 1000,
};

struct node_config {
        const char *name;           /* of the Node object */
        const char *kubeconfig;     /* path: how to reach the API */
        const char *host_address;   /* dotted: hostIP of the Pods, InternalIP of the Node */
        const char *pod_cidr;       /* "10.244.0.0/16" */
        const char *data_folder;    /* volumes, logs and state, made with mode 0700 if absent */
        const char *libexec_folder; /* static init and sandboxd */
        const char *image_map;      /* path of the map of image names; NULL: none */
        const char *socket_path; /* where the kubelet API listens (a Unix socket); NULL: nowhere */
        unsigned socket_user;    /* who may connect, besides root and the node's own user */
        const char *api_host, *api_port; /* API address as Pods see it; NULL: none */
        const char *dns_address;         /* resolver that ClusterFirst Pods get; NULL: our own */
        /*
         * Of the programs of this machine that are shown as Pods (kinds/mirrored.h), in their
         * order: "127.0.0.1:8080", where port-forward leads to; NULL: nowhere. And the folder that
         * holds their logs; NULL: they have none.
         */
        const char *mirror_addresses[MIRRORED_PROGRAMS];
        const char *mirror_logs;

        int launcher_fd; /* connected socket of the launcher; owned by node_run */
        int ready_fd;    /* gets an "n" when the Node is registered; -1: none */
        unsigned overcommit_cpu, overcommit_memory; /* what the Node offers, times real; from 1 */

        /* Another runtime than the native one behind launcher_fd, for tests; NULL: that one. */
        int (*runtime_new)(void *user, const struct runtime_events *events, void *owner,
                           struct runtime **ret_runtime);
        void *runtime_user;
};

/*
 * Runs the node until SIGTERM or SIGINT, leaving its sandboxes running. Returns 0, or a negative
 * errno with a sentence when it could not begin or cannot go on.
 */
int node_run(const struct node_config *config, struct error *error);
