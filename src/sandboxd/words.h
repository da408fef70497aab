// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/str.h"

/*
 * Splits a command line into words exactly as Python's shlex.split() does with its defaults (POSIX
 * mode, no comments): quotes join, a backslash keeps the next character, inside double quotes only
 * before `"` and `\`. Nothing is expanded.
 *
 * *ret_words is a NULL-terminated vector in `arena`. Returns 0, -EINVAL with *ret_problem naming
 * what is wrong in Python's words ("No closing quotation", "No escaped character", "embedded null
 * byte"), or -ENOMEM.
 */
int words_split(struct arena *arena, struct str line, char ***ret_words, size_t *ret_count,
                const char **ret_problem);
