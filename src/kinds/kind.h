// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "json/json.h"

/*
 * What must be known of a kind to address it. The ones that controllers read stand in kind.c;
 * others (from CRDs) are made at run time and live as long as their users. Compared by pointer.
 */
struct kind {
        struct str group;   /* empty for the core group */
        struct str version; /* empty: whichever is stored, inside of the API server's process */
        struct str kind;    /* "Sandbox" */
        struct str plural;  /* "sandboxes", the resource in paths */
        bool namespaced;
        bool has_status; /* a status subresource */
        /* What the cache keeps decoded beside the document: bytes, and the reader, which cannot
         * fail. Both zero where nobody reads more than metadata. */
        unsigned typed_size;
        void (*read)(struct json_value object, void *ret_typed);
};

/* Ours, in their storage version v1beta1. */
extern const struct kind kind_sandbox, kind_sandbox_claim, kind_sandbox_template,
        kind_sandbox_warm_pool;

/* Of Kubernetes. */
extern const struct kind kind_pod, kind_service, kind_persistent_volume_claim,
        kind_persistent_volume, kind_storage_class, kind_network_policy, kind_event, kind_namespace,
        kind_node, kind_service_account, kind_config_map, kind_secret, kind_endpoint_slice,
        kind_deployment, kind_replica_set;

/* All of the above, NULL-terminated. */
extern const struct kind *const kinds_known[];

/* The known kind with this group and plural (or kind name), whatever the version; or NULL. */
const struct kind *kind_find_plural(struct str group, struct str plural);
const struct kind *kind_find(struct str group, struct str kind);

/* "v1" or "agents.x-k8s.io/v1beta1", as apiVersion has it, NUL-terminated in `text`; cut to fit. */
struct str kind_api_version(const struct kind *kind, char text[static 128]);
