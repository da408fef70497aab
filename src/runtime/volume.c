// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "runtime/namespace.h"
#include "runtime/sandbox.h"
#include "runtime/skeleton.h"

struct walked {
        uint64_t call, bytes;
        int32_t result;
};

int volume_owner_new(struct launcher *launcher)
{
        const struct id_range users[] = { { 0, launcher->config.node_user, 1 },
                                          { 1, launcher->id_base + 1, IDS_PER_SLOT - 1 } };
        const struct id_range groups[] = { { 0, launcher->config.node_group, 1 },
                                           { 1, launcher->id_base + 1, IDS_PER_SLOT - 1 } };

        return namespace_user_new(users, ARRAY_SIZE(users), groups, ARRAY_SIZE(groups),
                                  &launcher->volume_owner);
}

/* Whether the node, or a container by way of a volume, owns it. */
static int check_owned(const struct launcher *launcher, int fd, struct stat *info)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fstat(fd, info) < 0)
                return -errno;
        if (flags & O_PATH)
                return -EACCES;
        bool is_volumes =
                info->st_uid > launcher->id_base && info->st_uid < launcher->id_base + IDS_PER_SLOT;
        return info->st_uid == launcher->config.node_user || is_volumes ? 0 : -EACCES;
}

int volume_own(struct launcher *launcher, const struct launcher_request *request, int fd)
{
        uint32_t user = request->own.user, group = request->own.group;
        struct stat info;
        int r = check_owned(launcher, fd, &info);

        if (r < 0)
                return r;
        if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
                return -EINVAL;
        if (fchown(fd, user ? launcher->id_base + user : launcher->config.node_user,
                   group ? launcher->id_base + group : launcher->config.node_group) < 0 ||
            fchmod(fd, request->own.mode) < 0)
                return -errno;
        return 0;
}

/* ---- volumes in memory ---- */

static bool is_mount_point(int folder, const char *name)
{
        struct statx info;

        return statx(folder, name, name[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, 0, &info) == 0 &&
               (info.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int make_tmpfs(const struct launcher *launcher, uint64_t size, int *ret_tree)
{
        char bytes[32], user[16], group[16];
        _cleanup_close_ int config = fsopen("tmpfs", FSOPEN_CLOEXEC);

        snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
        snprintf(user, sizeof(user), "%u", launcher->config.node_user);
        snprintf(group, sizeof(group), "%u", launcher->config.node_group);
        if (config < 0 ||
            fsconfig(config, FSCONFIG_SET_STRING, "source", launcher->config.cgroup, 0) < 0 ||
            fsconfig(config, FSCONFIG_SET_STRING, "mode", "0777", 0) < 0 ||
            fsconfig(config, FSCONFIG_SET_STRING, "uid", user, 0) < 0 ||
            fsconfig(config, FSCONFIG_SET_STRING, "gid", group, 0) < 0 ||
            (size > 0 && fsconfig(config, FSCONFIG_SET_STRING, "size", bytes, 0) < 0) ||
            fsconfig(config, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        *ret_tree = fsmount(config, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        return *ret_tree < 0 ? -errno : 0;
}

/*
 * The mount stands in the host's namespace, over the volume's folder: so it is found there by a
 * later node and launcher, and everything else treats it as any volume. Nothing runs from it but by
 * way of a container's own mount of it.
 */
int volume_memory(struct launcher *launcher, uint64_t size, int fd)
{
        _cleanup_close_ int tree = -1;
        struct stat info;
        int r = check_owned(launcher, fd, &info);

        if (r < 0)
                return r;
        if (!S_ISDIR(info.st_mode))
                return -ENOTDIR;
        if (is_mount_point(fd, ""))
                return 0;
        r = make_tmpfs(launcher, size, &tree);
        if (r == 0)
                r = namespace_enter_mount(launcher->host_mount);
        if (r < 0)
                return r;
        if (move_mount(tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                r = -errno;
        namespace_return_mount(launcher->own_mount);
        return r;
}

/* A folder that something is mounted on can't be removed. With the folder as working directory, in
 * the host's namespace. */
static void unmount_entries(int folder)
{
        DIR *entries = fdopendir(fcntl(folder, F_DUPFD_CLOEXEC, 3));
        struct dirent *entry;

        if (!entries)
                return;
        while ((entry = readdir(entries))) {
                struct statfs info;
                if (entry->d_name[0] == '.' || !is_mount_point(folder, entry->d_name))
                        continue;
                if (statfs(entry->d_name, &info) == 0 && info.f_type == TMPFS_MAGIC)
                        umount2(entry->d_name, MNT_DETACH | UMOUNT_NOFOLLOW);
        }
        closedir(entries);
}

static int unmount_memory(struct launcher *launcher, int folder)
{
        int r = namespace_enter_mount(launcher->host_mount);

        if (r < 0)
                return r;
        if (fchdir(folder) < 0)
                r = -errno;
        else
                unmount_entries(folder);
        namespace_return_mount(launcher->own_mount);
        return r;
}

/* Undoes the octal escapes of proc_pid_mountinfo(5), in place. */
static void unescape(char *text)
{
        char *to = text;

        for (const char *from = text; *from; to++) {
                unsigned code;
                if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
                        *to = (char)code;
                        from += 4;
                } else {
                        *to = *from++;
                }
        }
        *to = '\0';
}

int volume_unmount_all(const char *name)
{
        _cleanup_buffer_ struct buffer mounts = {};
        char path[4096];
        int r = file_read(AT_FDCWD, "/proc/self/mounts", LIMIT_BODY, &mounts);

        for (struct str rest = buffer_str(&mounts), line; r >= 0 && rest.length > 0;) {
                struct str source, place;
                str_cut(rest, '\n', &line, &rest);
                str_cut(line, ' ', &source, &line);
                str_cut(line, ' ', &place, &line);
                if (!str_equal(source, str_from(name)) || !str_starts_with(line, STR("tmpfs ")) ||
                    place.length >= sizeof(path))
                        continue;
                snprintf(path, sizeof(path), "%.*s", STR_FORMAT(place));
                unescape(path);
                if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
                        r = -errno;
        }
        return MIN(r, 0);
}

/* ---- walking through a folder ---- */

/* Root only over the ids of volumes: what somebody else owns in there stays. */
static int become_volume_owner(const struct launcher *launcher)
{
        if (setns(launcher->volume_owner, CLONE_NEWUSER) < 0 || setresgid(0, 0, 0) < 0 ||
            setresuid(0, 0, 0) < 0)
                return -errno;
        return 0;
}

/* Whatever its depth: fts(3) goes there one folder at a time. */
static int measure(int fd, uint64_t *ret_bytes)
{
        char *const here[] = { (char[]){ "." }, NULL };
        uint64_t blocks = 0;

        setpriority(PRIO_PROCESS, 0, 10);
        if (fchdir(fd) < 0)
                return -errno;
        FTS *walk = fts_open(here, FTS_PHYSICAL | FTS_XDEV, NULL);
        if (!walk)
                return -errno;
        for (FTSENT *entry; (entry = fts_read(walk));) {
                if (entry->fts_info != FTS_DP && entry->fts_info != FTS_NS)
                        blocks += (uint64_t)entry->fts_statp->st_blocks;
        }
        fts_close(walk);
        *ret_bytes = blocks * 512;
        return 0;
}

static int walk(const struct launcher *launcher, uint32_t operation, int fd, uint64_t *ret_bytes)
{
        int r = become_volume_owner(launcher);

        if (r < 0)
                return r;
        return operation == LAUNCHER_MEASURE ? measure(fd, ret_bytes) : skeleton_empty(fd);
}

int volume_walk(struct launcher *launcher, const struct launcher_request *request, int fd)
{
        struct epoll_event event = { .events = EPOLLIN };
        struct walked walked = { .call = request->id };
        struct stat info;
        int ends[2];
        int r = check_owned(launcher, fd, &info);

        if (r == 0 && !S_ISDIR(info.st_mode))
                r = -ENOTDIR;
        if (r == 0 && request->operation == LAUNCHER_PURGE)
                r = unmount_memory(launcher, fd);
        if (r < 0)
                return r;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0) {
                walked.result = walk(launcher, request->operation, fd, &walked.bytes);
                _exit(fd_write_full(ends[1], &walked, sizeof(walked)) < 0);
        }
        r = pid < 0 ? -errno : 0;
        close(ends[1]);
        event.data.u64 = watch_data(WATCH_WALK, (uint32_t)ends[0], 0);
        if (r == 0 && epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, ends[0], &event) < 0)
                r = -errno;
        if (r < 0)
                close(ends[0]);
        return r;
}

void volume_on_walked(struct launcher *launcher, int pipe)
{
        struct walked walked;
        size_t length = 0;

        if (fd_read_full(pipe, &walked, sizeof(walked), &length) == 0 && length == sizeof(walked)) {
                struct launcher_reply reply = { .id = walked.call,
                                                .result = walked.result,
                                                .stage = LAUNCHER_STAGE_VOLUME,
                                                .bytes = walked.bytes };
                launcher_answer(launcher, &reply, -1);
        }
        close(pipe);
}
