// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "runtime/policy.h"
#include "json/json.h"

/*
 * Which of a node's Pods may talk to which, as rules for the fabric: from Pods, Namespaces and the
 * NetworkPolicies that belong to SandboxTemplates. What both ends allow is open, all else closed:
 * - A Pod that a policy selects may do in that direction what its policies allow.
 * - Without one: a router (label app=sandbox-router, no sandbox itself) may reach every Pod and the
 *   API, a sandbox may be reached by routers of its own namespace and of agent-sandbox-system, and
 *   all other Pods neither reach anybody nor are reached.
 * Answers to what is open always pass; what leaves the Pod network never does.
 */
struct policy_set;

struct policy_set_options {
        uint32_t network, mask; /* of the Pods' addresses; host byte order, as all here */
        uint32_t api_address;   /* the API as Pods see it; 0: none */
        uint16_t api_port;
};

int policy_set_new(const struct policy_set_options *options, struct policy_set **ret_set);
void policy_set_free(struct policy_set *set);

/*
 * What there is now; documents are referenced. Each returns 0 or -ENOMEM; then some of what should
 * be open is not. A policy may also be -EINVAL (with a sentence: what it says is not understood, so
 * it allows nothing), or 1: it is not enforced, being no template's.
 */
int policy_set_put_policy(struct policy_set *set, struct json_doc *policy, struct error *error);
void policy_set_remove_policy(struct policy_set *set, struct str name_space, struct str name);
int policy_set_put_namespace(struct policy_set *set, struct json_doc *name_space);
void policy_set_remove_namespace(struct policy_set *set, struct str name);
int policy_set_put_pod(struct policy_set *set, struct json_doc *pod, uint32_t address);
void policy_set_remove_pod(struct policy_set *set, struct str uid);

/* Where rules are in force; as the functions of runtime/policy.h. */
struct policy_sink {
        int (*change)(void *user, const struct policy_rule *removed, size_t removed_count,
                      const struct policy_rule *added, size_t added_count);
        int (*replace)(void *user, const struct policy_rule *rules, size_t count);
        void *user;
};

/* Whether anything has changed since it was last applied. */
bool policy_set_is_dirty(const struct policy_set *set);

/*
 * Puts into force what has changed. What is closed is closed first. Returns 0, -ENOMEM or what the
 * sink returned; then the rest is still to be applied.
 */
int policy_set_apply(struct policy_set *set, const struct policy_sink *sink);

/* Puts all of it into force, whatever was before. */
int policy_set_apply_all(struct policy_set *set, const struct policy_sink *sink);

/* Rules that are wanted now. */
size_t policy_set_count(const struct policy_set *set);
