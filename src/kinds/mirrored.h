// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * The programs of one machine that are shown in the API as what they stand for: a Deployment and a
 * Pod each, as static Pods have mirror Pods. The control process makes the objects, the node
 * answers for the Pods.
 */
#define MIRRORED_NAMESPACE "agent-sandbox-system"

struct mirrored_program {
        const char *role; /* its own name: "router"; log files are called so */
        const char *deployment;
        const char *pod;
        const char *label; /* app=… */
        const char *container;
        const char *image;
        const char *service; /* NULL: none */
        uint16_t port;       /* of the Pod, wherever it really listens */
};

enum { MIRRORED_CONTROL, MIRRORED_ROUTER, MIRRORED_PROGRAMS };

extern const struct mirrored_program mirrored_programs[MIRRORED_PROGRAMS];

/* The one whose Pod this is, as an index, or -ENOENT. */
int mirrored_find(struct str name_space, struct str pod);
