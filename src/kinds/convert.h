// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "kinds/kind.h"
#include "json/json.h"

/*
 * Conversion of our four kinds between v1alpha1 and v1beta1, the hub (spec/api.md). Lossless both
 * ways: what the other version cannot say is kept in annotations. `to_version` is "v1alpha1" or
 * "v1beta1"; the document says its own. The result is owned by the caller; it may be `doc` again.
 * Returns 0, -EINVAL (another kind or version, with a sentence), -E2BIG (annotations full),
 * -ENOMEM.
 */
int kind_convert(const struct kind *kind, struct json_doc *doc, struct str to_version,
                 struct error *error, struct json_doc **ret_doc);
