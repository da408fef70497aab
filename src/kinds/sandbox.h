// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kube/meta.h"
#include "json/json.h"

/* A boolean that may be left out. */
enum tristate { TRISTATE_UNSET, TRISTATE_FALSE, TRISTATE_TRUE };

/* The part that Sandbox.spec and SandboxTemplate.spec share. */
struct blueprint {
        struct json_value pod_spec;               /* podTemplate.spec */
        struct json_value pod_labels;             /* podTemplate.metadata.labels */
        struct json_value pod_annotations;        /* podTemplate.metadata.annotations */
        struct json_value volume_claim_templates; /* array */
        enum tristate service;
};

/* The generation of an object's behaviour (docs/api.md, "Two generations"). */
enum generation { GENERATION_UNKNOWN, GENERATION_V1ALPHA1, GENERATION_V1BETA1 };

/* agents.x-k8s.io/v1beta1 Sandbox. Views into its document. */
struct sandbox {
        struct blueprint blueprint;
        bool suspended;        /* operatingMode: Suspended */
        uint64_t shutdown_ns;  /* shutdownTime, realtime; 0: none */
        bool shutdown_deletes; /* shutdownPolicy: Delete */
        struct json_value status;
        struct json_value conditions; /* status.conditions */
        struct json_value pod_ips;    /* status.podIPs */
        struct str node_name;         /* status.nodeName */
        bool ready;                   /* Ready is True */
        enum generation generation;
};
void sandbox_read(struct json_value object, void *ret_sandbox);

enum network_management { NETWORK_MANAGED, NETWORK_UNMANAGED };
enum injection_policy { INJECTION_DISALLOWED, INJECTION_ALLOWED, INJECTION_OVERRIDES };

/* extensions.agents.x-k8s.io/v1beta1 SandboxTemplate. */
struct sandbox_template {
        struct blueprint blueprint;
        struct json_value network_policy; /* {ingress, egress}; absent: the default policy */
        enum network_management network_management;
        enum injection_policy env_policy;
        enum injection_policy volume_policy;
};
void sandbox_template_read(struct json_value object, void *ret_template);

/* extensions.agents.x-k8s.io/v1beta1 SandboxWarmPool. */
struct sandbox_warm_pool {
        int64_t replicas;
        struct str template_name;
        bool recreate; /* updateStrategy.type: Recreate */
        struct json_value status;
        enum generation generation;
};
void sandbox_warm_pool_read(struct json_value object, void *ret_pool);

enum claim_shutdown { CLAIM_SHUTDOWN_RETAIN, CLAIM_SHUTDOWN_DELETE, CLAIM_SHUTDOWN_FOREGROUND };

/* extensions.agents.x-k8s.io/v1beta1 SandboxClaim. */
struct sandbox_claim {
        struct str pool_name; /* warmPoolRef.name */
        uint64_t shutdown_ns;
        int64_t ttl_seconds; /* after Finished; -1: none */
        enum claim_shutdown shutdown;
        struct json_value extra_labels, extra_annotations; /* additionalPodMetadata */
        struct json_value env;
        struct json_value volume_claim_templates;
        struct json_value status;
        struct json_value conditions;
        struct str sandbox_name; /* status.sandbox.name */
        bool ready;
        enum generation generation;
        /* v1alpha1: the claim names a template and takes from any pool of it; the hub form has
         * "shadow-pool-<template>" as its pool. */
        bool by_template;
        struct str template_name; /* if by_template */
        bool cold_only;           /* if by_template: warmpool "none" */
};
void sandbox_claim_read(struct json_value object, void *ret_claim);

/*
 * The generation by the annotation of ours, else by the API version of the managedFields entry that
 * created the object, else by the state annotation of a conversion; else unknown.
 */
enum generation generation_read(const struct object_meta *meta, struct json_value object);
