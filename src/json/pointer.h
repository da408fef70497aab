// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* JSON pointers (RFC 6901), for this folder alone. The public ones stand in edit.h. */

/*
 * Takes the next token from *rest, decoded (in the arena where it has escapes; `arena` may be NULL,
 * then such a token is cut out undecoded). Returns 1, 0 at the end, -EINVAL, -ENOMEM.
 */
int json_pointer_next(struct str *rest, struct arena *arena, struct str *ret_token);

/* An array index: digits without leading zeros. */
bool json_pointer_index(struct str token, size_t *ret_index);

/* How many tokens there are; 0 for "". */
size_t json_pointer_depth(struct str pointer);
