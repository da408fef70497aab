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
 * Which number stands for which field is data: api/core-protobuf.json, given as `fields`.
 */

/* Whether the bytes begin as such a body does. */
bool protobuf_is_body(struct str body);

/*
 * Appends the object as JSON, with its apiVersion and kind. Unknown numbers are passed over, as
 * protobuf wants. Returns 0, -EBADMSG (not well-formed), -ENOENT (a kind without fields),
 * -E2BIG (nested deeper than LIMIT_DEPTH), -ENOMEM; `error` gets the sentence.
 */
int protobuf_to_json(struct json_value fields, struct str body, struct error *error,
                     struct buffer *out);
