// SPDX-License-Identifier: Apache-2.0
#include "runtime/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

static int write_map(pid_t pid, const char *file, const struct id_range *ranges, size_t count)
{
        char path[64], text[256];
        size_t used = 0;

        for (size_t i = 0; i < count; i++) {
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%u %u %u\n",
                                         ranges[i].inside, ranges[i].outside, ranges[i].count);
                if (used >= sizeof(text))
                        return -E2BIG;
        }
        snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fd_write_full(fd, text, used);
}

int namespace_map_ids(pid_t pid, const struct id_range *users, size_t user_count,
                      const struct id_range *groups, size_t group_count)
{
        int r = write_map(pid, "uid_map", users, user_count);

        return r < 0 ? r : write_map(pid, "gid_map", groups, group_count);
}

int namespace_open(pid_t pid, const char *name, int *ret_fd)
{
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/*
 * Stays until it is killed, or the maker dies: it shares the maker's descriptors, so everything of
 * the launcher's would stay open with it.
 */
static int holder(void *data)
{
        const pid_t *maker = data;

        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != *maker)
                return 1;
        for (;;)
                pause();
}

/* Until the holder before has gone, the stack is its; that it goes nobody else need wait for. */
static void wait_for_end(int *pidfd)
{
        siginfo_t info;

        while (*pidfd >= 0 && waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED) < 0 && errno == EINTR)
                ;
        *pidfd = fd_close(*pidfd);
}

int namespace_user_new(const struct id_range *users, size_t user_count,
                       const struct id_range *groups, size_t group_count, int *ret_fd)
{
        static _Alignas(16) char stack[16384];
        static int last = -1;
        static pid_t maker;
        int fd = -1;

        wait_for_end(&last);
        maker = getpid();
        /* Shares memory and descriptors, so neither page tables nor thousands of descriptors are
         * copied. */
        pid_t pid = clone(holder, stack + sizeof(stack),
                          CLONE_VM | CLONE_FILES | CLONE_NEWUSER | CLONE_PIDFD | SIGCHLD, &maker,
                          &last);
        if (pid < 0)
                return -errno;
        int r = namespace_map_ids(pid, users, user_count, groups, group_count);
        if (r == 0)
                r = namespace_open(pid, "user", &fd);
        syscall(SYS_pidfd_send_signal, last, SIGKILL, NULL, 0);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int namespace_enter_net(int there)
{
        return setns(there, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* Going on in a namespace of somebody else would do its work in the wrong place. */
static void must(int result, const char *what)
{
        if (result == 0)
                return;
        log_error("cannot return to the launcher's %s namespace: %s", what, strerror(errno));
        abort();
}

void namespace_return_net(int home)
{
        must(setns(home, CLONE_NEWNET), "network");
}

int namespace_enter_mount(int there)
{
        return setns(there, CLONE_NEWNS) < 0 ? -errno : 0;
}

void namespace_return_mount(int home)
{
        must(setns(home, CLONE_NEWNS), "mount");
}

int namespace_proc_new(int *ret_proc)
{
        _cleanup_close_ int context = fsopen("proc", FSOPEN_CLOEXEC);

        if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int proc = fsmount(context, FSMOUNT_CLOEXEC,
                           MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        if (proc < 0)
                return -errno;
        *ret_proc = proc;
        return 0;
}

struct ended_proc {
        int fd, result;
};

static int mount_and_end(void *data)
{
        struct ended_proc *ended = data;

        ended->result = namespace_proc_new(&ended->fd);
        return 0;
}

int namespace_proc_ended(int *ret_proc)
{
        static _Alignas(16) char stack[16384];
        struct ended_proc ended = { .fd = -1, .result = -ECHILD };
        pid_t pid = clone(mount_and_end, stack + sizeof(stack),
                          CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWPID | SIGCHLD, &ended);

        if (pid < 0)
                return -errno;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        if (ended.result < 0)
                return ended.result;
        *ret_proc = ended.fd;
        return 0;
}

int namespace_sysctl(int proc, const char *name, const char *value)
{
        char path[128];

        snprintf(path, sizeof(path), "%ssys/%s", proc < 0 ? "/proc/" : "", name);
        _cleanup_close_ int fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fd_write_full(fd, value, strlen(value));
}
