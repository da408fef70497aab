// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json/json.h"

/*
 * Reads YAML (by libyaml, YAML 1.1 scalars as sigs.k8s.io/yaml resolves them) into documents.
 * JSON is YAML, so either may be given. Anchors and aliases are expanded up to LIMIT_BODY; tags
 * other than the standard ones, non-string keys other than scalars and merge keys "<<" are refused.
 *
 * Takes the next document of a stream: *offset is where to begin and is moved behind it.
 * Returns 1 with a document (owned by the caller), 0 at the end, or -EBADMSG, -EFBIG, -E2BIG,
 * -ENOMEM with a sentence that names the line. Empty documents are skipped.
 */
int yaml_next(struct str text, size_t *offset, struct error *error, struct json_doc **ret_doc);

/* Writes a value as block-style YAML as kubectl prints it (keys sorted only if they were). */
int yaml_write(struct json_value value, struct buffer *out);
