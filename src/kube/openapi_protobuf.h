// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "json/json.h"

/*
 * Appends an OpenAPI 2.0 document as the protobuf message openapi.v2.Document (OpenAPIv2.proto of
 * github.com/google/gnostic-models), which is all that kubectl takes of /openapi/v2. Members that
 * the message does not know are left out. A document may be made in parts, each with some of its
 * definitions and paths: protobuf merges messages that are put behind one another.
 * Returns 0 or -ENOMEM; on failure what was appended is of no use.
 */
int openapi_v2_to_protobuf(struct json_value document, struct buffer *out);
