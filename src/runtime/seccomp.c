// SPDX-License-Identifier: Apache-2.0
#include "runtime/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/macro.h"

/* Allowed whatever the arguments. Names that this libseccomp or architecture lacks are skipped. */
static const char *const allowed[] = {
        "accept",
        "accept4",
        "access",
        "alarm",
        "arch_prctl",
        "bind",
        "brk",
        "capget",
        "capset",
        "cachestat",
        "chdir",
        "chmod",
        "chown",
        "clock_adjtime",
        "clock_getres",
        "clock_gettime",
        "clock_nanosleep",
        "close",
        "close_range",
        "connect",
        "copy_file_range",
        "creat",
        "dup",
        "dup2",
        "dup3",
        "epoll_create",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "epoll_pwait2",
        "epoll_wait",
        "eventfd",
        "eventfd2",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "faccessat",
        "faccessat2",
        "fadvise64",
        "fallocate",
        "fchdir",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "fchownat",
        "fcntl",
        "fdatasync",
        "fgetxattr",
        "flistxattr",
        "flock",
        "fork",
        "fremovexattr",
        "fsetxattr",
        "fstat",
        "fstatfs",
        "fsync",
        "ftruncate",
        "futex",
        "futex_requeue",
        "futex_wait",
        "futex_waitv",
        "futex_wake",
        "futimesat",
        "get_mempolicy",
        "get_robust_list",
        "get_thread_area",
        "getcpu",
        "getcwd",
        "getdents",
        "getdents64",
        "getegid",
        "geteuid",
        "getgid",
        "getgroups",
        "getitimer",
        "getpeername",
        "getpgid",
        "getpgrp",
        "getpid",
        "getppid",
        "getpriority",
        "getrandom",
        "getresgid",
        "getresuid",
        "getrlimit",
        "getrusage",
        "getsid",
        "getsockname",
        "getsockopt",
        "gettid",
        "gettimeofday",
        "getuid",
        "getxattr",
        "inotify_add_watch",
        "inotify_init",
        "inotify_init1",
        "inotify_rm_watch",
        "io_cancel",
        "io_destroy",
        "io_getevents",
        "io_pgetevents",
        "io_setup",
        "io_submit",
        "ioctl",
        "ioprio_get",
        "ioprio_set",
        "kill",
        "landlock_add_rule",
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "lchown",
        "lgetxattr",
        "link",
        "linkat",
        "listen",
        "listxattr",
        "llistxattr",
        "lremovexattr",
        "lseek",
        "lsetxattr",
        "lstat",
        "madvise",
        "map_shadow_stack",
        "mbind",
        "membarrier",
        "memfd_create",
        "memfd_secret",
        "mincore",
        "mkdir",
        "mkdirat",
        "mlock",
        "mlock2",
        "mlockall",
        "mmap",
        "mprotect",
        "mq_getsetattr",
        "mq_notify",
        "mq_open",
        "mq_timedreceive",
        "mq_timedsend",
        "mq_unlink",
        "mremap",
        "mseal",
        "msgctl",
        "msgget",
        "msgrcv",
        "msgsnd",
        "msync",
        "munlock",
        "munlockall",
        "munmap",
        "name_to_handle_at",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "pause",
        "pidfd_getfd",
        "pidfd_open",
        "pidfd_send_signal",
        "pipe",
        "pipe2",
        "pkey_alloc",
        "pkey_free",
        "pkey_mprotect",
        "poll",
        "ppoll",
        "prctl",
        "pread64",
        "preadv",
        "preadv2",
        "prlimit64",
        "process_mrelease",
        "process_vm_readv",
        "process_vm_writev",
        "pselect6",
        "ptrace",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "read",
        "readahead",
        "readlink",
        "readlinkat",
        "readv",
        "recvfrom",
        "recvmmsg",
        "recvmsg",
        "remap_file_pages",
        "removexattr",
        "rename",
        "renameat",
        "renameat2",
        "restart_syscall",
        "rmdir",
        "rseq",
        "rt_sigaction",
        "rt_sigpending",
        "rt_sigprocmask",
        "rt_sigqueueinfo",
        "rt_sigreturn",
        "rt_sigsuspend",
        "rt_sigtimedwait",
        "rt_tgsigqueueinfo",
        "sched_get_priority_max",
        "sched_get_priority_min",
        "sched_getaffinity",
        "sched_getattr",
        "sched_getparam",
        "sched_getscheduler",
        "sched_rr_get_interval",
        "sched_setaffinity",
        "sched_setattr",
        "sched_setparam",
        "sched_setscheduler",
        "sched_yield",
        "seccomp",
        "select",
        "semctl",
        "semget",
        "semop",
        "semtimedop",
        "sendfile",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "set_mempolicy",
        "set_robust_list",
        "set_thread_area",
        "set_tid_address",
        "setfsgid",
        "setfsuid",
        "setgid",
        "setgroups",
        "setitimer",
        "setpgid",
        "setpriority",
        "setregid",
        "setresgid",
        "setresuid",
        "setreuid",
        "setrlimit",
        "setsid",
        "setsockopt",
        "setuid",
        "setxattr",
        "shmat",
        "shmctl",
        "shmdt",
        "shmget",
        "shutdown",
        "sigaltstack",
        "signalfd",
        "signalfd4",
        "socketpair",
        "splice",
        "stat",
        "statfs",
        "statx",
        "symlink",
        "symlinkat",
        "sync",
        "sync_file_range",
        "syncfs",
        "sysinfo",
        "tee",
        "tgkill",
        "time",
        "timer_create",
        "timer_delete",
        "timer_getoverrun",
        "timer_gettime",
        "timer_settime",
        "timerfd_create",
        "timerfd_gettime",
        "timerfd_settime",
        "times",
        "tkill",
        "truncate",
        "umask",
        "uname",
        "unlink",
        "unlinkat",
        "utime",
        "utimensat",
        "utimes",
        "vfork",
        "vmsplice",
        "wait4",
        "waitid",
        "write",
        "writev",
};

/* Known, and refused to containers. */
static const char *const refused[] = {
        "acct",
        "add_key",
        "adjtimex",
        "bpf",
        "chroot",
        "clock_settime",
        "delete_module",
        "fanotify_init",
        "fanotify_mark",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "lsm_get_self_attr",
        "lsm_set_self_attr",
        "migrate_pages",
        "mknod",
        "mknodat",
        "modify_ldt",
        "mount",
        "mount_setattr",
        "move_mount",
        "move_pages",
        "nfsservctl",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "process_madvise",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "request_key",
        "set_mempolicy_home_node",
        "setdomainname",
        "sethostname",
        "setns",
        "settimeofday",
        "swapoff",
        "swapon",
        "syslog",
        "umount2",
        "userfaultfd",
        "vhangup",
};

enum {
        NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                         CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
};

static int rule(scmp_filter_ctx context, uint32_t action, const char *name, unsigned count,
                const struct scmp_arg_cmp *arguments)
{
        int number = seccomp_syscall_resolve_name(name);

        if (number == __NR_SCMP_ERROR)
                return 0;
        int r = seccomp_rule_add_array(context, action, number, count, arguments);
        /* Not on this architecture. */
        return r == -EDOM ? 0 : r;
}

static int add_lists(scmp_filter_ctx context)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
                r = rule(context, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++)
                r = rule(context, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
        return r;
}

/* Calls that depend on their arguments. */
static int add_conditional(scmp_filter_ctx context)
{
        static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
        static const uint64_t personalities[] = { PER_LINUX, ADDR_NO_RANDOMIZE, 0xffffffff };
        const struct scmp_arg_cmp no_namespaces =
                SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0);
        int r = rule(context, SCMP_ACT_ALLOW, "clone", 1, &no_namespaces);

        if (r == 0)
                r = rule(context, SCMP_ACT_ALLOW, "unshare", 1, &no_namespaces);
        for (unsigned bit = 0; r == 0 && bit < 32; bit++) {
                uint64_t flag = UINT64_C(1) << bit;
                if (!(flag & (unsigned)NEW_NAMESPACES))
                        continue;
                const struct scmp_arg_cmp has = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, flag, flag);
                r = rule(context, SCMP_ACT_ERRNO(EPERM), "clone", 1, &has);
                if (r == 0)
                        r = rule(context, SCMP_ACT_ERRNO(EPERM), "unshare", 1, &has);
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
                const struct scmp_arg_cmp is =
                        SCMP_CMP64(0, SCMP_CMP_EQ, (scmp_datum_t)families[i]);
                r = rule(context, SCMP_ACT_ALLOW, "socket", 1, &is);
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(personalities); i++) {
                const struct scmp_arg_cmp is = SCMP_CMP64(0, SCMP_CMP_EQ, personalities[i]);
                r = rule(context, SCMP_ACT_ALLOW, "personality", 1, &is);
        }
        return r;
}

static int export(scmp_filter_ctx context, struct seccomp_filter *filter)
{
        _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
        struct stat info;
        size_t length;

        if (fd < 0)
                return -errno;
        int r = seccomp_export_bpf(context, fd);
        if (r < 0)
                return r;
        if (fstat(fd, &info) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        size_t size = (size_t)info.st_size;
        struct sock_filter *code = malloc(size);
        if (!code)
                return -ENOMEM;
        r = fd_read_full(fd, code, size, &length);
        if (r == 0 && (length != size || size / sizeof(*code) > UINT16_MAX))
                r = -EIO;
        if (r < 0) {
                free(code);
                return r;
        }
        filter->program = (struct sock_fprog){ .len = (unsigned short)(size / sizeof(*code)),
                                               .filter = code };
        return 0;
}

static void release(scmp_filter_ctx *context)
{
        if (*context)
                seccomp_release(*context);
}

int seccomp_filter_compile(struct seccomp_filter *filter)
{
        _cleanup_(release) scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
        int r;

        if (!context)
                return -ENOMEM;
        /* Programs of another architecture's calls (i386 on amd64) would get past the names. */
        r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
        /* A tree instead of a list: 8 comparisons a call instead of 300. */
        if (r == 0)
                r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r == 0)
                r = add_lists(context);
        if (r == 0)
                r = add_conditional(context);
        return r < 0 ? r : export(context, filter);
}

void seccomp_filter_deinit(struct seccomp_filter *filter)
{
        free(filter->program.filter);
        filter->program = (struct sock_fprog){};
}

int seccomp_filter_load(const struct seccomp_filter *filter)
{
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter->program) < 0 ? -errno : 0;
}
