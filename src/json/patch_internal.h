// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "json/json.h"

/* Shared by the three kinds of patches; for this folder alone. */

/* Writes `"key":`, after a comma unless it is the first. */
int patch_begin_member(struct buffer *out, bool *first, struct str key);

/* The document of the result, or `before` again when the text is the same. */
int patch_finish(const struct json_doc *before, const struct buffer *text, struct error *error,
                 struct json_doc **ret_doc);
