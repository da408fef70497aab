// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json/json.h"

/*
 * The patches of the Kubernetes API. Each makes a new document owned by the caller, or the old one
 * with one more reference if nothing changed. Results are bounded by LIMIT_BODY and LIMIT_DEPTH.
 * Errors: -EBADMSG (the patch itself is malformed), -ENOENT (a path is absent), -EILSEQ (a "test"
 * failed), -EFBIG, -E2BIG, -ENOMEM; `error` gets the sentence.
 */

/* JSON merge patch, RFC 7396. */
int json_merge_patch(const struct json_doc *doc, struct json_value patch, struct error *error,
                     struct json_doc **ret_doc);

/* JSON patch, RFC 6902: add, remove, replace, move, copy, test; ≤ LIMIT_PATCH_OPERATIONS. */
int json_patch(const struct json_doc *doc, struct json_value patch, struct error *error,
               struct json_doc **ret_doc);

/*
 * What strategic merge must know of the list or object at one place; found by walking the kind's
 * schema (kube/schema.h) alongside the document.
 */
struct json_strategy {
        const char *merge_key; /* lists of objects merged by this key; NULL: not so */
        bool merge_set;        /* lists of scalars merged as sets */
        bool retain_keys;      /* x-kubernetes-patch-strategy: retainKeys */
        const void *schema; /* of this place, for the walk; NULL: unknown, treated as merge patch */
};

/* Gives the strategy of member `key` of the place with `schema`, or of a list's elements (key
 * empty). */
typedef struct json_strategy (*json_strategy_fn)(const void *schema, struct str key);

/*
 * Strategic merge patch: $patch (replace, delete, merge), $deleteFromPrimitiveList/,
 * $setElementOrder/, $retainKeys (Kubernetes' strategic-merge-patch.md).
 */
int json_strategic_patch(const struct json_doc *doc, struct json_value patch,
                         json_strategy_fn strategy, const void *root_schema, struct error *error,
                         struct json_doc **ret_doc);

/*
 * The smallest merge patch that turns `before` into `after` (objects; arrays are replaced whole).
 * Writes nothing but "{}" when they are equal.
 */
int json_merge_diff(struct json_value before, struct json_value after, struct buffer *out);
