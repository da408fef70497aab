// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/macro.h"

/* Closes a descriptor that is ≥ 0, keeping errno; returns -1, to be assigned. */
int fd_close(int fd);

static inline void fd_closep(int *fd)
{
        fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)

#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int _fd = (fd);                                                                    \
                (fd) = -1;                                                                         \
                _fd;                                                                               \
        })

/* How many descriptors the process may have open (RLIMIT_NOFILE). */
rlim_t fd_limit(void);

/* Raises that to the most that is allowed. For programs that start no others, or set it for them.
 */
void fd_raise_limit(void);

/* All of it or a negative errno; EINTR is repeated. */
int fd_write_full(int fd, const void *data, size_t size);

/* Reads until `size` or end of file; returns 0 and the count, or a negative errno. */
int fd_read_full(int fd, void *data, size_t size, size_t *ret_length);

/* Appends the file at `path` (relative to `directory`, AT_FDCWD for the working one) to `buffer`.
 * -EFBIG if it is larger than `limit`. */
int file_read(int directory, const char *path, size_t limit, struct buffer *buffer);

/*
 * Tells the file system that the folders in this one have nothing to do with each other, so that it
 * need not keep them together ("T" of chattr(1)). ext4 then spreads them over its groups of inodes,
 * and a folder that is made anew again and again does not search through what was just deleted
 * beside it (without a journal it does not give an inode again for minutes). A hint: what knows
 * none ignores it.
 */
void folder_spread(int folder);

/* Writes a new file, fsyncs it and its folder, and puts it in place with rename(2). */
int file_write_atomic(int directory, const char *path, struct str contents, mode_t mode);
