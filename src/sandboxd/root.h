// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/*
 * A directory that callers' paths cannot leave, neither by `..` nor by a symbolic link. A link to
 * an absolute path is followed as the kernel would, and refused when it ends outside.
 *
 * -EXDEV always means "that would be outside".
 */
struct root {
        int fd;           /* O_PATH */
        char *path;       /* absolute, without links */
        bool has_openat2; /* Linux 5.6; gVisor lacks it */
};

/* Opens the directory, making it and its parents (0755) if they are missing. */
int root_open(struct root *root, const char *path, struct error *error);
void root_close(struct root *root);

/*
 * Cleans a caller's path (RFC 3986 decoding already done) by its letters: no leading or doubled
 * slash, no `.`, no `..`; "." for the root itself. With `strip_root` an absolute path that names
 * something below the root means just that. Returns 0, -EINVAL (NUL byte), -EXDEV (`..` escapes),
 * -ENAMETOOLONG.
 */
int root_clean(const struct root *root, struct str path, bool strip_root,
               char ret_path[static PATH_MAX]);

/*
 * openat(2) of a cleaned path. O_CLOEXEC is added. `flags` must not create. Returns a descriptor
 * or a negative errno.
 */
int root_open_path(const struct root *root, const char *path, int flags);

struct root_place {
        int directory; /* O_PATH; to be closed */
        char name[NAME_MAX + 1];
};

/*
 * The directory and last name of a cleaned path that is no "." (-EISDIR). With `follow` a link in
 * the last place is followed if it leads to something inside (-EXDEV outside); one that dangles is
 * itself the place. With `make_parents` missing directories are made, 0755.
 */
int root_find_place(const struct root *root, const char *path, bool follow, bool make_parents,
                    struct root_place *ret_place);
