// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/registry.h"
#include "json/writer.h"

/* How kinds are described: what stands in the documents of openapi.c. */

/* What one document describes so far: its generation, and the definitions that it refers to. */
struct openapi_schemas {
        bool v2;                       /* Swagger 2.0; else OpenAPI 3.0 */
        struct json_value definitions; /* of Kubernetes' own types, by name */
        struct arena memory;           /* of names */

        struct str *names; /* in the order in which they were met, each once */
        size_t count, capacity;
        uint32_t *slots; /* a hash of them: index + 1 */
        size_t slot_count;
        int failure; /* -ENOMEM once there was none */
};

void openapi_schemas_init(struct openapi_schemas *schemas, bool v2, struct json_value definitions);
void openapi_schemas_deinit(struct openapi_schemas *schemas);

/* Notes that a definition stands in the document or must; names live as long as the registry. */
void openapi_need(struct openapi_schemas *schemas, struct str name);

/* "io.x-k8s.agents.v1beta1.Sandbox": the group's labels backwards, as kube-apiserver names them. */
struct str openapi_definition_name(struct openapi_schemas *schemas,
                                   const struct api_resource *resource,
                                   const struct api_version *version);

/* Writes the definitions of a served kind and of its list: "name": schema, twice. */
void openapi_write_kind(struct openapi_schemas *schemas, struct json_writer *writer,
                        const struct api_resource *resource, const struct api_version *version);

/* Writes the definition that was noted as the `index`th, if it is one of Kubernetes' own. */
void openapi_write_needed(struct openapi_schemas *schemas, struct json_writer *writer,
                          size_t index);

/* Writes what may be done with a kind: "/apis/…": operations, for each of its paths. */
void openapi_write_paths(const struct openapi_schemas *schemas, struct json_writer *writer,
                         const struct api_resource *resource, const struct api_version *version);
