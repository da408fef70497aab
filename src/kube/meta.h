// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "kube/name.h"
#include "json/json.h"

struct field_errors;

/*
 * metav1.ObjectMeta, read once from an object; views into its document. What is absent or of a
 * wrong type is empty or zero.
 */
struct object_meta {
        struct json_value value; /* the metadata object */
        struct str name, generate_name, namespace, uid;
        uint64_t resource_version;      /* 0: absent or no number */
        int64_t generation;             /* 0: absent */
        uint64_t creation_ns;           /* realtime; 0: absent */
        uint64_t deletion_ns;           /* realtime, deletionTimestamp; 0: not being deleted */
        int64_t deletion_grace_seconds; /* -1: absent */
        struct json_value labels, annotations, finalizers, owner_references, managed_fields;
};

void object_meta_read(struct json_value object, struct object_meta *ret_meta);

static inline bool object_meta_is_deleting(const struct object_meta *meta)
{
        return meta->deletion_ns != 0;
}

/* Empty when absent; *_exists by json_exists(json_member(meta->labels, key)). */
struct str object_meta_label(const struct object_meta *meta, struct str key);
struct str object_meta_annotation(const struct object_meta *meta, struct str key);
bool object_meta_has_finalizer(const struct object_meta *meta, struct str finalizer);

/* One entry of metadata.ownerReferences. Views. */
struct owner_reference {
        struct str group; /* of apiVersion; empty for the core group */
        struct str version;
        struct str kind, name, uid;
        bool controller, block_owner_deletion;
};

/*
 *     struct json_iterator it = json_iterate(meta->owner_references);
 *     while (owner_reference_next(&it, &owner)) …
 */
bool owner_reference_next(struct json_iterator *iterator, struct owner_reference *ret_owner);

/* The owner with controller: true. Returns whether there is one. */
bool object_meta_controller(const struct object_meta *meta, struct owner_reference *ret_owner);

/* Whether the object with `uid` is among the owners. */
bool object_meta_is_owned_by(const struct object_meta *meta, struct str uid);

/* "v1" → "", "v1"; "apps/v1" → "apps", "v1". Views; always succeeds. */
void api_version_split(struct str api_version, struct str *ret_group, struct str *ret_version);

/*
 * What kube-apiserver checks of every object's metadata on create and update: name (by the kind's
 * rule), namespace, labels, annotations with LIMIT_ANNOTATIONS, finalizers, ownerReferences, and
 * generateName. A name may be absent where generateName stands. Causes go to `errors`.
 */
void object_meta_validate(struct json_value object, bool namespaced, name_check_fn check_name,
                          struct field_errors *errors);
