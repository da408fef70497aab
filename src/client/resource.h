// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"

/* A resource as its URLs name it: {"", "v1", "pods"}, {"apps", "v1", "deployments"}. */
struct kube_resource {
        struct str group; /* empty: the core group */
        struct str version;
        struct str plural;
};

#define KUBE_RESOURCE(group_, version_, plural_)                                                   \
        ((struct kube_resource){ STR(group_), STR(version_), STR(plural_) })

/*
 * Appends the path of a collection (name empty), object or subresource. An empty namespace is a
 * cluster's resource, or all namespaces of a collection. Segments are percent-encoded; "." and
 * ".." are refused. Returns 0, -EINVAL, -ENOMEM.
 *
 *     /api/v1/namespaces/default/pods/a/log
 *     /apis/apps/v1/deployments
 */
int kube_path_append(struct buffer *out, struct kube_resource resource, struct str name_space,
                     struct str name, struct str subresource);

/* Appends "key=value" percent-encoded, with "?" or "&" before it as `out` needs. */
int kube_query_append(struct buffer *out, const char *key, struct str value);
