// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limit.h"

DEFINE_POINTER_CLEANUP(closedirp, DIR, closedir)

static int open_directory(int fd, DIR **ret_directory)
{
        DIR *directory = fdopendir(fd);

        if (!directory) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        *ret_directory = directory;
        return 0;
}

static bool is_dots(const char *name)
{
        return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Next name that is no dots; 0 at the end. */
static int read_name(DIR *directory, const char **ret_name)
{
        const struct dirent *entry;

        do {
                errno = 0;
                entry = readdir(directory);
                if (!entry)
                        return -errno;
        } while (is_dots(entry->d_name));
        *ret_name = entry->d_name;
        return 1;
}

/* Returns 1, 0 if the entry is to be left out, or -ENAMETOOLONG. */
static int stat_entry(const struct root *root, const char *path, int directory, const char *name,
                      bool confined, struct stat *ret_stat)
{
        char child[PATH_MAX];

        if (fstatat(directory, name, ret_stat, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        if (!S_ISLNK(ret_stat->st_mode))
                return 1;
        if (!confined) {
                struct stat target;
                if (fstatat(directory, name, &target, 0) == 0)
                        *ret_stat = target;
                return 1;
        }
        if ((size_t)snprintf(child, sizeof(child), "%s/%s", path, name) >= sizeof(child))
                return -ENAMETOOLONG;
        _cleanup_close_ int fd = root_open_path(root, child, O_PATH);
        return fd >= 0 && fstat(fd, ret_stat) == 0;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct tree_entry *)a)->name, ((const struct tree_entry *)b)->name);
}

struct entry_link {
        struct entry_link *next;
        struct tree_entry entry;
};

int tree_list(const struct root *root, const char *path, bool confined, struct arena *arena,
              struct tree_entry **ret_entries, size_t *ret_count)
{
        _cleanup_(closedirp) DIR *directory = NULL;
        struct entry_link *first = NULL;
        struct tree_entry *entries;
        const char *name = NULL;
        size_t count = 0, at = 0;
        int fd, r;

        fd = root_open_path(root, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd;
        r = open_directory(fd, &directory);
        if (r < 0)
                return r;
        while ((r = read_name(directory, &name)) > 0) {
                struct stat stat;

                r = stat_entry(root, path, dirfd(directory), name, confined, &stat);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                if (count == LIMIT_DIRECTORY_ENTRIES)
                        return -EOVERFLOW;
                struct entry_link *link = arena_new(arena, struct entry_link, 1);
                struct str copy = arena_str(arena, str_from(name));
                if (!link || !copy.data)
                        return -ENOMEM;
                *link = (struct entry_link){ first, { copy.data, stat } };
                first = link;
                count++;
        }
        if (r < 0)
                return r;
        entries = arena_new(arena, struct tree_entry, MAX(count, 1u));
        if (!entries)
                return -ENOMEM;
        for (struct entry_link *link = first; link; link = link->next)
                entries[at++] = link->entry;
        qsort(entries, count, sizeof(*entries), by_name);
        *ret_entries = entries;
        *ret_count = count;
        return 0;
}

enum { REMOVE_DEPTH = 64 };

struct removal {
        int top;
        unsigned moved;
};

/*
 * Empties a directory, of which `fd` is taken. Below REMOVE_DEPTH a directory is not entered but
 * moved up into the top one, whose loop finds it again: descriptors and stack stay bounded.
 */
static int empty_directory(struct removal *removal, int fd, unsigned depth)
{
        _cleanup_(closedirp) DIR *directory = NULL;
        const char *name;
        int r;

        r = open_directory(fd, &directory);
        if (r < 0)
                return r;
        while ((r = read_name(directory, &name)) > 0) {
                if (unlinkat(dirfd(directory), name, 0) == 0 || errno == ENOENT)
                        continue;
                if (errno != EISDIR)
                        return -errno;
                if (unlinkat(dirfd(directory), name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                        continue;
                if (errno != ENOTEMPTY && errno != EEXIST)
                        return -errno;
                if (depth == REMOVE_DEPTH) {
                        char moved[64];
                        snprintf(moved, sizeof(moved), ".sandboxd-removed-%u-%d", removal->moved++,
                                 (int)getpid());
                        if (renameat(dirfd(directory), name, removal->top, moved) < 0)
                                return -errno;
                        continue;
                }
                int child = openat(dirfd(directory), name,
                                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child < 0 && errno == ENOENT)
                        continue;
                if (child < 0)
                        return -errno;
                r = empty_directory(removal, child, depth + 1);
                if (r < 0)
                        return r;
                if (unlinkat(dirfd(directory), name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                        return -errno;
        }
        return r;
}

static int empty_tree(int directory, const char *name)
{
        struct removal removal = { .top = -1 };
        unsigned moved;
        int r;

        removal.top = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (removal.top < 0)
                return -errno;
        do {
                /* Each pass may move deep directories up to where the next one finds them. */
                moved = removal.moved;
                int fd = openat(removal.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd >= 0 ? empty_directory(&removal, fd, 0) : -errno;
        } while (r == 0 && removal.moved != moved);
        fd_close(removal.top);
        return r;
}

int tree_remove(const struct root *root, const char *path, bool recursive)
{
        _cleanup_close_ int target = -1, directory = -1;
        struct root_place place;
        struct stat stat;
        int r;

        if (strcmp(path, ".") == 0)
                return recursive ? empty_tree(root->fd, ".") : -ENOTEMPTY;
        target = root_open_path(root, path, O_PATH);
        if (target < 0 && target != -ENOENT)
                return target;
        r = root_find_place(root, path, false, false, &place);
        if (r < 0)
                return r;
        directory = place.directory;
        if (fstatat(directory, place.name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISDIR(stat.st_mode))
                return unlinkat(directory, place.name, 0) < 0 ? -errno : 0;
        if (recursive) {
                r = empty_tree(directory, place.name);
                if (r < 0)
                        return r;
        }
        if (unlinkat(directory, place.name, AT_REMOVEDIR) < 0)
                return errno == EEXIST ? -ENOTEMPTY : -errno;
        return 0;
}
