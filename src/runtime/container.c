// SPDX-License-Identifier: Apache-2.0
#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

enum {
        SOCKET_FD = 3, /* while the child prepares; later init's listener */
        INIT_FD = 4,
        LISTENER_FD = 3,
        RING_FD = 4,
        FIRST_FREE_FD = 5,
        DESCRIPTORS_SOFT = 65536,
        NAMESPACES = 4,
};

#define STORAGE_DEFAULT (UINT64_C(1) << 30)

/* Says what went wrong and ends. */
static _Noreturn void fail(int socket, enum launcher_stage stage, int error, uint32_t index)
{
        struct container_report report = { .result = error, .stage = stage, .index = index };

        message_send(socket, &report, sizeof(report), NULL, 0, 0);
        _exit(1);
}

static void close_all_but_two(int a, int b)
{
        unsigned low = (unsigned)MIN(a, b), high = (unsigned)MAX(a, b);

        if (low > FIRST_FREE_FD)
                close_range(FIRST_FREE_FD, low - 1, 0);
        if (high > low + 1)
                close_range(MAX(low + 1, (unsigned)FIRST_FREE_FD), high - 1, 0);
        close_range(MAX(high + 1, (unsigned)FIRST_FREE_FD), ~0U, 0);
}

/* Leaves standard descriptors on /dev/null, the socket on 3 and init on 4. */
static int settle_fds(const struct container_child *child)
{
        int socket = fcntl(child->socket, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        int init = fcntl(child->init, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

        if (socket < 0 || init < 0)
                return -errno;
        for (int fd = 0; fd < 3; fd++) {
                if (dup2(child->null, fd) < 0)
                        return -errno;
        }
        close_all_but_two(socket, init);
        if (dup3(socket, SOCKET_FD, O_CLOEXEC) < 0 || dup3(init, INIT_FD, O_CLOEXEC) < 0)
                return -errno;
        close_range(FIRST_FREE_FD, ~0U, 0);
        return 0;
}

static int join_cgroups(const struct container_child *child)
{
        for (int i = 0; i < child->cgroup_count; i++) {
                int r = fd_write_full(child->cgroups[i], "0", 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int place(int tree, const char *path)
{
        if (move_mount(tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;
        return 0;
}

/* In the order in which the order has their texts. */
static const char *const etc_files[] = { "hosts", "hostname", "resolv.conf" };

/* The files that are written when it is known what for: as long as there is no layer below, that
 * costs no copies. */
static int make_etc(void)
{
        if (mkdir(CONTAINER_UPPER "/u/etc", 0755) < 0)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(etc_files); i++) {
                char path[64];
                snprintf(path, sizeof(path), CONTAINER_UPPER "/u/etc/%s", etc_files[i]);
                int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
                if (fd < 0)
                        return -errno;
                close(fd);
        }
        return 0;
}

/* The writable layer on a tmpfs (charged to whoever writes, so to the container) over the
 * skeleton; /usr on top. *ret_upper stays open so that its size can still be changed. */
static int mount_layers(const int *trees, int *ret_upper)
{
        if (mount("tmpfs", CONTAINER_UPPER, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755") < 0 ||
            mkdir(CONTAINER_UPPER "/u", 0755) < 0 || mkdir(CONTAINER_UPPER "/w", 0755) < 0)
                return -errno;
        int r = make_etc();
        if (r == 0)
                r = place(trees[CONTAINER_TREE_SKELETON], CONTAINER_LOWER);
        if (r < 0)
                return r;
        if (mount("overlay", CONTAINER_ROOT, "overlay", MS_NODEV | MS_NOSUID,
                  "lowerdir=" CONTAINER_LOWER ",upperdir=" CONTAINER_UPPER
                  "/u,workdir=" CONTAINER_UPPER "/w,userxattr,volatile") < 0)
                return -errno;
        r = place(trees[CONTAINER_TREE_USR], CONTAINER_ROOT "/usr");
        if (r < 0)
                return r;
        *ret_upper = open(CONTAINER_UPPER, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return *ret_upper < 0 ? -errno : 0;
}

/* What container runtimes hide of /proc, and what they make read-only. */
static int mask_proc(void)
{
        static const char *const hidden_files[] = { "kcore",       "keys",       "latency_stats",
                                                    "sched_debug", "timer_list", "timer_stats" };
        static const char *const hidden_folders[] = { "proc/acpi", "proc/asound", "proc/scsi" };
        static const char *const read_only[] = { "bus", "fs", "irq", "sys", "sysrq-trigger" };
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
        char path[64];

        for (size_t i = 0; i < ARRAY_SIZE(read_only); i++) {
                snprintf(path, sizeof(path), "proc/%s", read_only[i]);
                if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
                        if (errno == ENOENT)
                                continue;
                        return -errno;
                }
                if (mount_setattr(AT_FDCWD, path, 0, &attributes, sizeof(attributes)) < 0)
                        return -errno;
        }
        for (size_t i = 0; i < ARRAY_SIZE(hidden_files); i++) {
                snprintf(path, sizeof(path), "proc/%s", hidden_files[i]);
                if (mount("dev/null", path, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
                        return -errno;
        }
        for (size_t i = 0; i < ARRAY_SIZE(hidden_folders); i++) {
                if (mount("tmpfs", hidden_folders[i], "tmpfs",
                          MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                          "size=4k,nr_inodes=2") < 0 &&
                    errno != ENOENT)
                        return -errno;
        }
        return 0;
}

static int mount_proc(const int *trees)
{
        enum { NOTHING_RUNS = MS_NOSUID | MS_NODEV | MS_NOEXEC };

        if (mount("proc", "proc", "proc", NOTHING_RUNS, NULL) < 0)
                return -errno;
        int r = mask_proc();
        return r < 0 ? r : place(trees[CONTAINER_TREE_SYSFS], "sys");
}

static int mount_devices(const int *trees)
{
        int r = place(trees[CONTAINER_TREE_DEVICES], "dev");

        if (r < 0)
                return r;
        if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                  "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0 ||
            mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  "mode=1777,size=64m") < 0)
                return -errno;
        return 0;
}

static int set_process_limits(void)
{
        struct rlimit files, none = {};

        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return -errno;
        files.rlim_cur = MIN(files.rlim_max, (rlim_t)DESCRIPTORS_SOFT);
        if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
                return -errno;
        /* What runs here can get back none of them; what is left to do still has its own. */
        for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
                if (prctl(PR_CAPBSET_DROP, capability) < 0)
                        return -errno;
        }
        return 0;
}

static void reset_signals(void)
{
        sigset_t none;

        for (int signal = 1; signal < NSIG; signal++)
                sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All that does not depend on the order. */
static void prepare(const int *trees, int *ret_upper)
{
        int r;

        /* Signals of a terminal that the launcher was started from do not come here. */
        setsid();
        if (unshare(CLONE_NEWCGROUP) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_NAMESPACES, -errno, 0);
        if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_USER_MAP, -errno, 0);
        umask(022);
        reset_signals();
        r = set_process_limits();
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_PRIVILEGE, r, 0);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_ROOT_LAYERS, -errno, 0);
        r = mount_layers(trees, ret_upper);
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_ROOT_LAYERS, r, 0);
        if (chdir(CONTAINER_ROOT) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_PIVOT, -errno, 0);
        r = mount_devices(trees);
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_DEV, r, 0);
        r = mount_proc(trees);
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_PROC, r, 0);
        /* On top of the first root, in which there is nothing. pivot_root(2) would look through all
         * tasks of the machine for those that have the old one: milliseconds, if there are
         * thousands of sandboxes. */
        if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_PIVOT, -errno, 0);
}

/* mkdir -p of everything before the last slash; then the last part as what is mounted there. */
static int make_target(const char *target, bool is_folder)
{
        char path[RUNTIME_PATH];

        snprintf(path, sizeof(path), "%s", target);
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *slash = '/';
        }
        if (is_folder)
                return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
        return fd < 0 ? -errno : 0;
}

static int write_etc(const struct launcher_launch *launch)
{
        const char *text = launch->etc, *end = text + launch->etc_size;

        for (size_t i = 0; i < ARRAY_SIZE(etc_files) && text < end; i++) {
                char path[32];
                size_t length = strlen(text);
                snprintf(path, sizeof(path), "/etc/%s", etc_files[i]);
                _cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                int r = fd_write_full(fd, text, length);
                if (r < 0)
                        return r;
                text += length + 1;
        }
        return 0;
}

static int mount_volume(int tree, const struct launcher_mount *mount)
{
        struct stat info;

        if (fstat(tree, &info) < 0)
                return -errno;
        int r = make_target(mount->target, S_ISDIR(info.st_mode));
        if (r < 0)
                return r;
        if (move_mount(tree, "", AT_FDCWD, mount->target,
                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
                return -errno;
        return 0;
}

static int set_storage(int upper, const struct launcher_launch *launch)
{
        uint64_t size = launch->limits.storage;
        char text[32];

        if (size == 0)
                size = launch->limits.memory ? launch->limits.memory / 2 : STORAGE_DEFAULT;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
        _cleanup_close_ int config = fspick(upper, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
        if (config < 0 || fsconfig(config, FSCONFIG_SET_STRING, "size", text, 0) < 0 ||
            fsconfig(config, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
                return -errno;
        return 0;
}

/* From here on the process has the container's user and no capability, and can never get one. */
static int drop_privileges(const struct launcher_launch *launch)
{
        enum {
                LOCKED_BITS = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                              SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                              SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
        };
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
        gid_t groups[RUNTIME_GROUPS];

        for (uint32_t i = 0; i < launch->group_count; i++)
                groups[i] = launch->groups[i];
        if (setgroups(launch->group_count, groups) < 0)
                return -errno;
        if (prctl(PR_SET_SECUREBITS, LOCKED_BITS) < 0)
                return -errno;
        if (setresgid(launch->group, launch->group, launch->group) < 0 ||
            setresuid(launch->user, launch->user, launch->user) < 0)
                return -errno;
        /* Not by libcap-ng, which remembers what the launcher told it of itself. */
        if (syscall(SYS_capset, &header, none) < 0)
                return -errno;
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* What the order says; `fds` are those that came with it. */
static _Noreturn void finish(const struct container_child *child,
                             const struct container_order *order, int *fds, int upper)
{
        const struct launcher_launch *launch = &order->launch;
        struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
        char *const argv[] = { "init", NULL };
        char *const env[] = { NULL };
        int r = set_storage(upper, launch);

        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_LIMITS, r, 0);
        if (order->hostname[0] && sethostname(order->hostname, strlen(order->hostname)) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_NAMESPACES, -errno, 0);
        r = write_etc(launch);
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_ETC, r, 0);
        for (uint32_t i = 0; i < launch->mount_count; i++) {
                r = mount_volume(fds[LAUNCHER_FIXED_FDS + i], &launch->mounts[i]);
                if (r < 0)
                        fail(SOCKET_FD, LAUNCHER_STAGE_TARGET, r, i);
        }
        if (launch->read_only_root &&
            mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof(read_only)) < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_ROOT, -errno, 0);
        r = drop_privileges(launch);
        if (r < 0)
                fail(SOCKET_FD, LAUNCHER_STAGE_PRIVILEGE, r, 0);

        /* What came is above 4: out of the way of the places it goes to. */
        int socket = fcntl(SOCKET_FD, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        int init = fcntl(INIT_FD, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if (socket < 0 || init < 0 || dup2(fds[0], LISTENER_FD) < 0 || dup2(fds[1], RING_FD) < 0)
                fail(socket, LAUNCHER_STAGE_EXEC, -errno, 0);
        close_range(FIRST_FREE_FD, ~0U, CLOSE_RANGE_CLOEXEC);
        r = seccomp_filter_load(child->filter);
        if (r < 0)
                fail(socket, LAUNCHER_STAGE_SECCOMP, r, 0);
        execveat(init, "", argv, env, AT_EMPTY_PATH);
        fail(socket, LAUNCHER_STAGE_EXEC, -errno, 0);
}

_Noreturn void container_child_run(const struct container_child *child)
{
        struct container_report ready = {};
        struct container_go go;
        struct container_order order;
        int fds[LAUNCHER_MESSAGE_FDS], upper = -1;
        size_t count, length;
        int r = join_cgroups(child);

        prctl(PR_SET_NAME, "cay-prepared");
        if (r < 0)
                fail(child->socket, LAUNCHER_STAGE_CGROUP, r, 0);
        r = settle_fds(child);
        if (r < 0)
                fail(child->socket, LAUNCHER_STAGE_NAMESPACES, r, 0);
        /* End of file: the launcher has no use for it, or is gone. */
        r = message_receive(SOCKET_FD, &go, sizeof(go), fds, &count, &length, 0);
        if (r < 0 || length != sizeof(go) || count != CONTAINER_TREES)
                _exit(1);
        prepare(fds, &upper);
        for (size_t i = 0; i < count; i++)
                close(fds[i]);
        message_send(SOCKET_FD, &ready, sizeof(ready), NULL, 0, 0);

        r = message_receive(SOCKET_FD, &order, sizeof(order), fds, &count, &length, 0);
        if (r < 0 || length != sizeof(order) ||
            count != LAUNCHER_FIXED_FDS + order.launch.mount_count)
                _exit(1);
        finish(child, &order, fds, upper);
}

_Noreturn void container_join_run(const struct container_child *child,
                                  const int namespaces[static NAMESPACES])
{
        struct clone_args arguments = { .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_PARENT |
                                                 CLONE_PIDFD };
        struct container_child inner = *child;
        struct container_report report = {};
        int pidfd = -1;
        int r = join_cgroups(child);

        if (r < 0)
                fail(child->socket, LAUNCHER_STAGE_CGROUP, r, 0);
        for (int i = 0; i < NAMESPACES; i++) {
                if (setns(namespaces[i], 0) < 0)
                        fail(child->socket, LAUNCHER_STAGE_NAMESPACES, -errno, 0);
        }
        arguments.pidfd = (uint64_t)(uintptr_t)&pidfd;
        long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
        if (pid < 0)
                fail(child->socket, LAUNCHER_STAGE_NAMESPACES, -errno, 0);
        if (pid == 0) {
                inner.cgroup_count = 0;
                container_child_run(&inner);
        }
        message_send(child->socket, &report, sizeof(report), &pidfd, 1, 0);
        _exit(0);
}
