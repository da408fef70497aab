// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "sandboxd/root.h"

struct tree_entry {
        const char *name;
        struct stat stat; /* of what a link leads to */
};

/*
 * The entries of a directory, sorted bytewise, in `arena`. A link is what it leads to; with
 * `confined` links that lead outside or nowhere are left out, else those that lead nowhere are
 * themselves. `path` is a cleaned one.
 * Returns 0, -ENOTDIR, -EOVERFLOW (over LIMIT_DIRECTORY_ENTRIES), or what opening gave.
 */
int tree_list(const struct root *root, const char *path, bool confined, struct arena *arena,
              struct tree_entry **ret_entries, size_t *ret_count);

/*
 * Removes what a cleaned path names: a link itself, never its target; with `recursive` everything
 * below a directory, however deep; of the root only the contents. Returns 0, -ENOENT, -ENOTEMPTY
 * (also for the root without `recursive`), -EXDEV (outside, or a link to there), or another errno.
 */
int tree_remove(const struct root *root, const char *path, bool recursive);
