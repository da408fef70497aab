// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"

static int create_temporary(struct upload *upload, mode_t mode)
{
        char suffix[2 * NAME_SUFFIX_LENGTH + 1];

        for (int attempt = 0; attempt < 8; attempt++) {
                random_name_suffix(suffix);
                random_name_suffix(suffix + NAME_SUFFIX_LENGTH);
                snprintf(upload->temporary, sizeof(upload->temporary), ".sandboxd-tmp-%s", suffix);
                upload->fd = openat(upload->place.directory, upload->temporary,
                                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
                if (upload->fd >= 0 || errno != EEXIST)
                        break;
        }
        return upload->fd >= 0 ? 0 : -errno;
}

int upload_begin(struct upload *upload, const struct root *root, const char *path, int mode)
{
        struct stat stat;
        int r;

        *upload = (struct upload){ .fd = -1 };
        r = root_find_place(root, path, true, true, &upload->place);
        if (r < 0)
                return r;
        bool exists = fstatat(upload->place.directory, upload->place.name, &stat,
                              AT_SYMLINK_NOFOLLOW) == 0;
        if (exists && S_ISDIR(stat.st_mode))
                r = -EISDIR;
        else
                r = create_temporary(upload, 0644);
        if (r == 0 && mode == UPLOAD_KEEP_MODE && exists && S_ISREG(stat.st_mode))
                mode = stat.st_mode & 07777;
        if (r == 0 && mode != UPLOAD_KEEP_MODE && fchmod(upload->fd, (mode_t)mode) < 0)
                r = -errno;
        if (r < 0 && upload->fd >= 0)
                upload_abort(upload);
        else if (r < 0)
                upload->place.directory = fd_close(upload->place.directory);
        return r;
}

int upload_write(struct upload *upload, const void *data, size_t length)
{
        return fd_write_full(upload->fd, data, length);
}

int upload_commit(struct upload *upload, bool durable)
{
        int directory = upload->place.directory;

        if ((durable && fsync(upload->fd) < 0) ||
            renameat(directory, upload->temporary, directory, upload->place.name) < 0)
                return -errno;
        upload->fd = fd_close(upload->fd);
        upload->place.directory = fd_close(directory);
        return 0;
}

void upload_abort(struct upload *upload)
{
        if (upload->fd < 0)
                return;
        unlinkat(upload->place.directory, upload->temporary, 0);
        upload->fd = fd_close(upload->fd);
        upload->place.directory = fd_close(upload->place.directory);
}
