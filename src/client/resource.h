// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"
#include "kinds/kind.h"

/*
 * Appends the path of a kind's collection (name empty), object or subresource. An empty namespace
 * is a cluster's resource, or all namespaces of a collection. Segments are percent-encoded; "."
 * and ".." are refused. Returns 0, -EINVAL, -ENOMEM.
 *
 *     /api/v1/namespaces/default/pods/a/log
 *     /apis/apps/v1/deployments
 */
int kube_path_append(struct buffer *out, const struct kind *kind, struct str name_space,
                     struct str name, struct str subresource);

/* Appends "key=value" percent-encoded, with "?" or "&" before it as `out` needs. */
int kube_query_append(struct buffer *out, const char *key, struct str value);
