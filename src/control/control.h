// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* The control process of one machine. Strings are borrowed. */
struct control_config {
        const char *data; /* folder: state, tls.crt, tls.key, ca.crt, tokens.json, kubeconfig */
        const char *node_socket;  /* the node's kubelet API: log, exec, attach, portforward */
        const char *node_name;    /* of this machine's Node */
        const char *host_address; /* of this machine among Pods; NULL: it has none */
        int socket;               /* listening; owned by control_run */
        int pods_socket;          /* the same, for Pods; -1: none */
        int ready; /* gets one byte when the API serves and controllers run; -1: none */
        bool wire; /* controllers reach the API over HTTPS, as on a cluster; else in the process */
};

/* How controllers reach the API: "in-process" or "wire". -EINVAL with a sentence for another. */
int control_parse_controllers(const char *text, bool *ret_wire, struct error *error);

/*
 * Serves the Kubernetes API over `socket` and runs controllers and cluster parts against it, until
 * SIGTERM. Returns 0 after an orderly end, or a negative errno with a sentence when it could not
 * begin or when it is not known what is on disk (then it is to be started again).
 */
int control_run(const struct control_config *config, struct error *error);
