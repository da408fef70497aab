// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/api_client.h"
#include "kube/condition.h"

/* What a name on the command line stands for: "box", "sandbox/box" or "claim/box". */
enum name_kind { NAME_ANY, NAME_SANDBOX, NAME_CLAIM };
struct name {
        enum name_kind kind;
        struct str text;
};

/* Returns 0, or -EINVAL with a sentence. */
int name_parse(const char *text, struct error *error, struct name *ret_name);

/* The Ready condition, status empty when there is none yet. */
struct condition ready_of(struct json_value object);

/* The name of the Sandbox that a claim holds, in either version's spelling; empty: none yet. */
struct str claim_bound_sandbox(struct json_value claim);

/* The name of a Sandbox's Pod: the annotation's, else its own. */
struct str sandbox_pod(struct json_value sandbox);

/* The first Pod address of a Sandbox's or claim's list (strings or {ip}), or empty. */
struct str first_ip(struct json_value ips);

/* The controller among the owners with this kind, or an empty name. */
struct str owner_name(struct json_value object, const struct kind *kind);

/*
 * The Sandbox of that name, else the one that the claim of that name holds. -ENOENT with a
 * sentence if there is neither, -EAGAIN if the claim holds none yet.
 */
int find_sandbox(struct api_client *api, const char *name, struct error *error,
                 struct json_doc **ret_doc);
