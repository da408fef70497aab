// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "runtime/namespace.h"
#include "runtime/sandbox.h"
#include "runtime/skeleton.h"

struct purged {
        uint64_t call;
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

/* Root only over the ids of volumes: what somebody else owns in there stays. */
static int purge(const struct launcher *launcher, int fd)
{
        if (setns(launcher->volume_owner, CLONE_NEWUSER) < 0 || setresgid(0, 0, 0) < 0 ||
            setresuid(0, 0, 0) < 0)
                return -errno;
        return skeleton_empty(fd);
}

int volume_purge(struct launcher *launcher, uint64_t call, int fd)
{
        struct epoll_event event = { .events = EPOLLIN };
        struct purged purged = { .call = call };
        struct stat info;
        int ends[2];
        int r = check_owned(launcher, fd, &info);

        if (r < 0)
                return r;
        if (!S_ISDIR(info.st_mode))
                return -ENOTDIR;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0) {
                purged.result = purge(launcher, fd);
                _exit(fd_write_full(ends[1], &purged, sizeof(purged)) < 0);
        }
        r = pid < 0 ? -errno : 0;
        close(ends[1]);
        event.data.u64 = watch_data(WATCH_PURGE, (uint32_t)ends[0], 0);
        if (r == 0 && epoll_ctl(launcher->epoll, EPOLL_CTL_ADD, ends[0], &event) < 0)
                r = -errno;
        if (r < 0)
                close(ends[0]);
        return r;
}

void volume_on_purged(struct launcher *launcher, int pipe)
{
        struct purged purged;
        size_t length = 0;

        if (fd_read_full(pipe, &purged, sizeof(purged), &length) == 0 && length == sizeof(purged))
                launcher_answer_result(launcher, purged.call, purged.result, LAUNCHER_STAGE_VOLUME,
                                       0);
        close(pipe);
}
