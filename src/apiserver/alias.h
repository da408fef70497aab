// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/registry.h"
#include "kube/selector.h"

/*
 * A kind that is served under a second group: the same objects in other words. Events of
 * events.k8s.io are core Events; some guides write SandboxTemplates and SandboxClaims under
 * agents.x-k8s.io/v1alpha1.
 */
struct api_alias {
        struct str group, version, plural;
        struct str target_group, target_version;
        bool made; /* an entry is made of the target's; else core-schema.json has one */

        /* To the target's version, and back. The result is owned by the caller. Returns 0, -EINVAL
         * with a sentence, -ENOMEM. */
        int (*to_target)(struct json_doc *doc, uint64_t now_ns, struct error *error,
                         struct json_doc **ret_doc);
        int (*from_target)(struct json_doc *doc, struct json_doc **ret_doc);

        /* The target's word for a field that is selected by; the same one if there is no other. */
        struct str (*target_field)(struct str path, struct arena *arena);
};

/* Enters the aliases into the registry. Their targets must be there, and stay. */
int aliases_add(struct registry *registry);

/* NULL if the name is no alias. */
const struct api_alias *alias_find(struct str group, struct str plural);
