// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static int open_beneath(int directory, const char *path, int flags)
{
        struct open_how how = {
                .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
        };
        long fd;

        /* EAGAIN: somebody renamed on the way (openat2(2)); a few times is no livelock. */
        for (int attempt = 0; attempt < 16; attempt++) {
                fd = syscall(SYS_openat2, directory, path, &how, sizeof(how));
                if (fd >= 0 || errno != EAGAIN)
                        break;
        }
        return fd >= 0 ? (int)fd : -errno;
}

/* Where the kernel says that `fd` is. */
static int path_of_fd(int fd, char ret_path[static PATH_MAX])
{
        char link[64];
        ssize_t length;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        length = readlink(link, ret_path, PATH_MAX);
        if (length < 0)
                return -errno;
        if (length >= PATH_MAX)
                return -ENAMETOOLONG;
        ret_path[length] = '\0';
        return 0;
}

/* What follows the root in an absolute path without links; NULL if it is outside. */
static const char *below_root(const struct root *root, const char *path)
{
        size_t length = strlen(root->path);

        if (length == 1)
                return path[1] ? path + 1 : ".";
        if (strncmp(path, root->path, length) != 0)
                return NULL;
        if (path[length] == '\0')
                return ".";
        return path[length] == '/' ? path + length + 1 : NULL;
}

static int make_directories(const char *path)
{
        char copy[PATH_MAX];

        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);
        for (char *slash = copy; slash;) {
                slash = strchr(slash + 1, '/');
                if (slash)
                        *slash = '\0';
                if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (slash)
                        *slash = '/';
        }
        return 0;
}

int root_open(struct root *root, const char *path, struct error *error)
{
        char resolved[PATH_MAX];
        int r;

        _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) {
                r = make_directories(path);
                if (r < 0)
                        return error_set(error, r, "cannot make the directory %s: %s", path,
                                         strerror(-r));
                fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        if (fd < 0)
                return error_set(error, -errno, "cannot open the directory %s: %s", path,
                                 strerror(errno));
        r = path_of_fd(fd, resolved);
        if (r < 0)
                return error_set(error, r, "cannot find out where %s is, is /proc mounted: %s",
                                 path, strerror(-r));
        char *copy = strdup(resolved);
        if (!copy)
                return error_set(error, -ENOMEM, "out of memory");

        int probe = open_beneath(fd, ".", O_PATH);
        *root = (struct root){ .path = copy, .has_openat2 = probe >= 0 };
        fd_close(probe);
        root->fd = TAKE_FD(fd);
        return 0;
}

void root_close(struct root *root)
{
        root->fd = fd_close(root->fd);
        free(root->path);
        root->path = NULL;
}

int root_clean(const struct root *root, struct str path, bool strip_root,
               char ret_path[static PATH_MAX])
{
        struct str segment;
        size_t length = 0;
        char clean[PATH_MAX];
        bool absolute = path.length > 0 && path.data[0] == '/';

        if (path.length > 0 && memchr(path.data, '\0', path.length))
                return -EINVAL;
        while (path.length > 0) {
                str_cut(path, '/', &segment, &path);
                if (segment.length == 0 || str_equal(segment, STR(".")))
                        continue;
                if (str_equal(segment, STR(".."))) {
                        if (length == 0)
                                return -EXDEV;
                        do
                                length--;
                        while (clean[length] != '/');
                        continue;
                }
                if (segment.length > NAME_MAX || length + segment.length + 2 > sizeof(clean))
                        return -ENAMETOOLONG;
                clean[length++] = '/';
                memcpy(clean + length, segment.data, segment.length);
                length += segment.length;
        }
        clean[length] = '\0';

        const char *below = absolute && strip_root && length > 0 && strlen(root->path) > 1
                                    ? below_root(root, clean)
                                    : NULL;
        if (!below)
                below = length > 0 ? clean + 1 : ".";
        memcpy(ret_path, below, strlen(below) + 1);
        return 0;
}

/*
 * Lets the kernel follow everything, then asks it where that ended. The descriptor pins what was
 * checked, and it is O_PATH: nothing is opened in a way that could act.
 */
static int resolve(const struct root *root, const char *path, char ret_path[static PATH_MAX])
{
        char absolute[PATH_MAX];
        _cleanup_close_ int fd = openat(root->fd, path, O_PATH | O_CLOEXEC);
        const char *below;
        int r;

        if (fd < 0)
                return -errno;
        r = path_of_fd(fd, absolute);
        if (r < 0)
                return r;
        below = below_root(root, absolute);
        if (!below)
                return -EXDEV;
        memcpy(ret_path, below, strlen(below) + 1);
        return 0;
}

int root_open_path(const struct root *root, const char *path, int flags)
{
        char resolved[PATH_MAX];
        int fd, r;

        assert(!(flags & O_CREAT));
        if (root->has_openat2) {
                fd = open_beneath(root->fd, path, flags);
                if (fd != -EXDEV)
                        return fd;
        }
        /* A link that is left as it is would be resolved here: none of the callers asks for that.
         */
        r = resolve(root, path, resolved);
        if (r < 0)
                return root->has_openat2 ? -EXDEV : r;
        if (root->has_openat2)
                return open_beneath(root->fd, resolved, flags);
        fd = openat(root->fd, resolved, flags | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 ? fd : -errno;
}

/* Opens the directory of the first `length` bytes of `path`, making what is missing if asked. */
static int open_parent(const struct root *root, const char *path, size_t length, bool make)
{
        char prefix[PATH_MAX];
        int fd;

        memcpy(prefix, path, length);
        prefix[length] = '\0';
        fd = root_open_path(root, length > 0 ? prefix : ".", O_PATH | O_DIRECTORY);
        if (fd != -ENOENT || !make || length == 0)
                return fd;

        _cleanup_close_ int parent = root_open_path(root, ".", O_PATH | O_DIRECTORY);
        for (char *name = prefix, *slash; parent >= 0 && name; name = slash ? slash + 1 : NULL) {
                slash = strchr(name, '/');
                if (slash)
                        *slash = '\0';
                int next = root_open_path(root, prefix, O_PATH | O_DIRECTORY);
                if (next == -ENOENT && (mkdirat(parent, name, 0755) == 0 || errno == EEXIST))
                        next = root_open_path(root, prefix, O_PATH | O_DIRECTORY);
                else if (next == -ENOENT)
                        next = -errno;
                if (slash)
                        *slash = '/';
                fd_close(parent);
                parent = next;
        }
        return TAKE_FD(parent);
}

int root_find_place(const struct root *root, const char *path, bool follow, bool make_parents,
                    struct root_place *ret_place)
{
        char resolved[PATH_MAX];

        if (follow) {
                _cleanup_close_ int target = root_open_path(root, path, O_PATH);
                if (target < 0 && target != -ENOENT)
                        return target;
                if (target >= 0) {
                        int r = resolve(root, path, resolved);
                        if (r < 0)
                                return r;
                        path = resolved;
                }
        }
        if (strcmp(path, ".") == 0)
                return -EISDIR;

        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        if (strlen(name) > NAME_MAX)
                return -ENAMETOOLONG;
        int directory = open_parent(root, path, slash ? (size_t)(slash - path) : 0, make_parents);
        if (directory < 0)
                return directory;
        ret_place->directory = directory;
        strcpy(ret_place->name, name);
        return 0;
}
