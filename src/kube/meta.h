// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "json/json.h"

/* One metadata.ownerReferences element. Views into the document. */
struct owner_ref {
        struct str api_version, kind, name, uid;
        bool controller;
        bool block_owner_deletion;
};

/*
 * metadata as every controller reads it (ObjectMeta of k8s.io/apimachinery). Views into the
 * document, which must outlive it. What is absent or of a wrong type is empty, zero or absent.
 */
struct object_meta {
        struct str name, namespace, uid;
        uint64_t resource_version; /* 0: none, or not a decimal number */
        int64_t generation;
        uint64_t creation_ns; /* realtime; whole seconds */
        uint64_t deletion_ns; /* realtime; 0 unless deletionTimestamp is set */
        struct json_value labels, annotations, owners, finalizers;
};

/* Reads `object`.metadata. Never fails: see above. */
void object_meta_read(struct json_value object, struct object_meta *ret);

static inline bool meta_is_deleting(const struct object_meta *meta)
{
        return meta->deletion_ns != 0;
}

/* The value, or an empty view with NULL data when the key is absent. */
struct str meta_label(const struct object_meta *meta, struct str key);
struct str meta_annotation(const struct object_meta *meta, struct str key);
bool meta_has_label(const struct object_meta *meta, struct str key);
bool meta_has_finalizer(const struct object_meta *meta, struct str name);

/* Reads the reference at `index`; false when there is none. */
bool meta_owner(const struct object_meta *meta, size_t index, struct owner_ref *ret);

/* The reference with controller=true, if there is one. */
bool meta_controller(const struct object_meta *meta, struct owner_ref *ret);

/* Whether any reference, or the controlling one, has this uid. */
bool meta_is_owned_by(const struct object_meta *meta, struct str uid);
bool meta_is_controlled_by(const struct object_meta *meta, struct str uid);

/* "agents.x-k8s.io" of "agents.x-k8s.io/v1beta1", empty of "v1". */
struct str api_version_group(struct str api_version);

/* Whether the reference names this group and kind, whatever its version. */
bool owner_ref_is(const struct owner_ref *owner, struct str group, struct str kind);
