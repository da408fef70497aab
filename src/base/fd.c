// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

int fd_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;
                close(fd);
                errno = saved;
        }
        return -1;
}

rlim_t fd_limit(void)
{
        struct rlimit limit = {};

        return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : limit.rlim_cur;
}

void fd_raise_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int fd_write_full(int fd, const void *data, size_t size)
{
        const char *next = data;

        while (size > 0) {
                ssize_t written = write(fd, next, size);
                if (written < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                next += written;
                size -= (size_t)written;
        }
        return 0;
}

int fd_read_full(int fd, void *data, size_t size, size_t *ret_length)
{
        size_t length = 0;

        while (length < size) {
                ssize_t got = read(fd, (char *)data + length, size - length);
                if (got < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (got == 0)
                        break;
                length += (size_t)got;
        }
        *ret_length = length;
        return 0;
}

int file_read(int directory, const char *path, size_t limit, struct buffer *buffer)
{
        enum { PIECE = 16384 };
        _cleanup_close_ int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
        size_t total = 0, got;

        if (fd < 0)
                return -errno;
        do {
                int r = buffer_reserve(buffer, PIECE);
                if (r < 0)
                        return r;
                r = fd_read_full(fd, buffer->data + buffer->length, PIECE, &got);
                if (r < 0)
                        return r;
                total += got;
                if (total > limit)
                        return -EFBIG;
                buffer->length += got;
        } while (got == PIECE);
        return 0;
}

static int sync_parent(int directory, const char *path)
{
        const char *slash = strrchr(path, '/');
        char parent[PATH_MAX] = ".";

        if (slash)
                snprintf(parent, sizeof(parent), "%.*s", (int)MAX(slash - path, 1), path);
        _cleanup_close_ int fd = openat(directory, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

int file_write_atomic(int directory, const char *path, struct str contents, mode_t mode)
{
        char temporary[PATH_MAX], suffix[NAME_SUFFIX_LENGTH + 1];
        int r;

        random_name_suffix(suffix);
        if ((size_t)snprintf(temporary, sizeof(temporary), "%s.%s", path, suffix) >=
            sizeof(temporary))
                return -ENAMETOOLONG;
        _cleanup_close_ int fd =
                openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;

        r = fd_write_full(fd, contents.data, contents.length);
        if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
                       renameat(directory, temporary, directory, path) < 0))
                r = -errno;
        if (r < 0) {
                unlinkat(directory, temporary, 0);
                return r;
        }
        return sync_parent(directory, path);
}

void folder_spread(int folder)
{
        int flags;

        if (ioctl(folder, FS_IOC_GETFLAGS, &flags) < 0 || flags & FS_TOPDIR_FL)
                return;
        flags |= FS_TOPDIR_FL;
        ioctl(folder, FS_IOC_SETFLAGS, &flags);
}
