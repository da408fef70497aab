// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"

/* What a plain YAML scalar means (YAML 1.1 as Go's yaml.v2 resolves it); for this folder alone. */
enum yaml_scalar {
        YAML_SCALAR_STRING,
        YAML_SCALAR_NULL,
        YAML_SCALAR_BOOL,
        YAML_SCALAR_INTEGER,
        YAML_SCALAR_FLOAT,
        YAML_SCALAR_SPECIAL_FLOAT, /* .inf and .nan: without a JSON form */
        YAML_SCALAR_MERGE,         /* << */
};

/*
 * Resolves it; for null, booleans and numbers the JSON text is appended to `json` unless that is
 * NULL. Returns the scalar's kind or -ENOMEM.
 */
int yaml_resolve(struct str text, struct buffer *json);

/* Whether a string must be quoted to stay a string for readers of YAML 1.1. */
bool yaml_needs_quotes(struct str text);
