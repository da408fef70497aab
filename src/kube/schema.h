// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "kube/status.h"
#include "json/json.h"
#include "json/patch.h"

/*
 * Structural schemas (Kubernetes' dialect of OpenAPI v3), compiled from JSON. A set owns them: the
 * definitions of the core kinds, and what is added for each CRD version. Immutable once compiled;
 * any number of threads may read.
 */
struct schema_set;
struct schema;

/*
 * `definitions` maps names to schemas, which may refer to each other by "$ref": the bare name, or
 * "#/definitions/…", "#/components/schemas/…" before it; absent: no definitions. Nothing is
 * borrowed. Returns 0, -EINVAL (what is wrong, where), -ENOMEM.
 */
int schema_set_new(struct json_value definitions, struct error *error, struct schema_set **ret_set);
void schema_set_free(struct schema_set *set);
DEFINE_POINTER_CLEANUP(schema_set_freep, struct schema_set, schema_set_free)

/* A definition by name, or NULL. */
const struct schema *schema_set_find(const struct schema_set *set, struct str name);

/*
 * Compiles one more: a CRD version's openAPIV3Schema. `definitions` may be another set whose
 * definitions "$ref" and metadata use; it must outlive this one. The root's metadata is read by the
 * definition of ObjectMeta there, if there is one. Errors as above.
 */
int schema_set_new_crd(struct json_value openapi_schema, const struct schema_set *definitions,
                       struct error *error, struct schema_set **ret_set,
                       const struct schema **ret_schema);

/* Bytes of all that the set holds. */
size_t schema_set_size(const struct schema_set *set);

/* ---- the operations on an object ---- */

/*
 * Adds every cause to `errors`, worded as kube-apiserver does for custom resources. Unknown fields
 * are not its concern. Allocates only for causes (and to find duplicates in long lists). Lists are
 * held to x-kubernetes-list-type in custom resources only, as core kinds are not there. Patterns
 * that need more than POSIX expressions have, or that would unroll without bound, are not enforced.
 */
void schema_validate(const struct schema *schema, struct json_value object,
                     struct field_errors *errors);

/* The same for a value that is not the root of an object, at `field` ("spec"). */
void schema_validate_at(const struct schema *schema, struct json_value value, struct str field,
                        struct field_errors *errors);

/*
 * Removes the fields that the schema does not know; each is told to `unknown` as a line
 * `unknown field "spec.foo"` (NULL: not wanted). apiVersion, kind and metadata of the root and of
 * embedded resources always stay. The result is the old document with one more reference when
 * nothing is unknown. Returns 0, -ENOMEM, -E2BIG.
 */
int schema_prune(const struct schema *schema, const struct json_doc *doc, struct buffer *unknown,
                 struct json_doc **ret_doc);

/*
 * Puts in defaults where fields are absent, or null and not nullable; null members that are not
 * nullable and have no default are left out. Result and errors as above. Before validation.
 */
int schema_default(const struct schema *schema, const struct json_doc *doc,
                   struct json_doc **ret_doc);

/* The json_strategy_fn of schemas, for json_strategic_patch(): root_schema is the struct schema. */
struct json_strategy schema_strategy(const void *schema, struct str key);

/* ---- walking, for explain, OpenAPI and others ---- */

/* The schema of a property (or of additionalProperties), or of items when `key` is empty; NULL. */
const struct schema *schema_member(const struct schema *schema, struct str key);

/* The schema at a dotted path from the root ("spec.replicas"), list items implied; NULL. */
const struct schema *schema_at(const struct schema *schema, struct str path);

enum schema_type {
        SCHEMA_ANY,
        SCHEMA_OBJECT,
        SCHEMA_ARRAY,
        SCHEMA_STRING,
        SCHEMA_INTEGER,
        SCHEMA_NUMBER,
        SCHEMA_BOOLEAN,
        SCHEMA_INT_OR_STRING,
};
enum schema_type schema_type(const struct schema *schema);
