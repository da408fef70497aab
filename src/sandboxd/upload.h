// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "sandboxd/root.h"

enum { UPLOAD_KEEP_MODE = -1 }; /* that of the file replaced; 0644 less the umask for a new one */

/*
 * A file that becomes visible whole or not at all: written under a temporary name in the target's
 * directory, then put in place by rename(2). All zero but `fd` = -1 is none. Every call may block.
 */
struct upload {
        struct root_place place; /* `directory` is valid while `fd` is */
        char temporary[NAME_MAX + 1];
        int fd;
};

/*
 * Makes missing parents and the temporary file. `path` is a cleaned one. `mode` is the file's
 * permission bits or UPLOAD_KEEP_MODE. Returns 0, -EISDIR, -EXDEV or another errno.
 */
int upload_begin(struct upload *upload, const struct root *root, const char *path, int mode);

int upload_write(struct upload *upload, const void *data, size_t length);

/* Puts the file in place; with `durable` it is on disk before, as far as fsync(2) knows. */
int upload_commit(struct upload *upload, bool durable);

/* Removes the temporary file, if there is one; does nothing after a commit. */
void upload_abort(struct upload *upload);
