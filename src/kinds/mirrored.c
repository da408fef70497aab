// SPDX-License-Identifier: Apache-2.0
#include "kinds/mirrored.h"

#include <errno.h>

const struct mirrored_program mirrored_programs[MIRRORED_PROGRAMS] = {
        [MIRRORED_CONTROL] = { .role = "control",
                               .deployment = "agent-sandbox-controller",
                               .pod = "agent-sandbox-controller-0",
                               .label = "agent-sandbox-controller",
                               .container = "manager",
                               .image = "agent-sandbox-controller:built-in",
                               .port = 6443 },
        [MIRRORED_ROUTER] = { .role = "router",
                              .deployment = "sandbox-router",
                              .pod = "sandbox-router-0",
                              .label = "sandbox-router",
                              .container = "router",
                              .image = "sandbox-router:local",
                              .service = "sandbox-router-svc",
                              .port = 8080 },
};

int mirrored_find(struct str name_space, struct str pod)
{
        if (!str_equal(name_space, STR(MIRRORED_NAMESPACE)))
                return -ENOENT;
        for (int i = 0; i < MIRRORED_PROGRAMS; i++)
                if (str_equal(pod, str_from(mirrored_programs[i].pod)))
                        return i;
        return -ENOENT;
}
