// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "json/json.h"

/*
 * Kubernetes' protobuf bodies of core kinds ("application/vnd.kubernetes.protobuf"), turned into
 * the JSON that the same client would have sent. Typed clients of client-go ≥ 0.32 and kubectl
 * ≥ 1.32 write so. A body is the magic "k8s\0" and a runtime.Unknown that names the kind and
 * carries the object (k8s.io/apimachinery/pkg/runtime/serializer/protobuf).
 *
 * Which number stands for which field is data: api/core-protobuf.json.
 */
struct protobuf_fields;

/*
 * Reads that table. A member named `without` is left out of all that is decoded with it; empty:
 * none is. Returns 0, -EBADMSG (no such table), -ENOMEM.
 */
int protobuf_fields_new(struct str table, struct str without, struct protobuf_fields **ret_fields);
void protobuf_fields_free(struct protobuf_fields *fields);

/* Whether bodies of this kind can be decoded: of "v1" or "apps/v1", and "Pod". */
bool protobuf_knows(const struct protobuf_fields *fields, struct str api_version, struct str kind);

/* Whether the bytes begin as such a body does. */
bool protobuf_is_body(struct str body);

/*
 * Appends the object as JSON, with its apiVersion and kind. Unknown numbers are passed over, as
 * protobuf wants. Returns 0, -EBADMSG (not well-formed), -ENOENT (a kind without fields),
 * -E2BIG (nested deeper than LIMIT_DEPTH), -ENOMEM; `error` gets the sentence.
 */
int protobuf_to_json(const struct protobuf_fields *fields, struct str body, struct error *error,
                     struct buffer *out);
