// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

#include "base/str.h"

/* api/core-schema.json: {"resources": […], "definitions": {…}}. */
struct str builtin_core_schema(void);

/* api/core-protobuf.json: the table for kube/protobuf.h. */
struct str builtin_core_protobuf(void);

/* The CustomResourceDefinitions of api/crds as compact JSON, one call each; count first. */
size_t builtin_crd_count(void);
struct str builtin_crd(size_t index);
