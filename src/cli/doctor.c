// SPDX-License-Identifier: Apache-2.0
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "cli/command.h"

/* One thing that sandboxes need of the machine, and what to do where it is missing. */
struct check {
        const char *name;
        bool (*holds)(void);
        const char *cure;
};

static bool is_root(void)
{
        return geteuid() == 0;
}

static bool kernel_is_recent(void)
{
        struct utsname kernel;
        int major, minor;

        /* 5.12 has id-mapped mounts; cgroup.kill is 5.14. */
        return uname(&kernel) == 0 && sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
               (major > 5 || (major == 5 && minor >= 14));
}

/* Tries something in a child, so that this process stays as it is. */
static bool succeeds(int (*try)(void))
{
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(try() == 0 ? 0 : 1);
        return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
               WEXITSTATUS(status) == 0;
}

static int try_namespaces(void)
{
        return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC |
                       CLONE_NEWUTS | CLONE_NEWCGROUP);
}

static bool has_namespaces(void)
{
        return succeeds(try_namespaces);
}

static bool has_cgroups(void)
{
        return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ||
               access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) == 0;
}

static bool has_overlay(void)
{
        char line[128];
        bool found = access("/sys/module/overlay", F_OK) == 0;
        FILE *list = fopen("/proc/filesystems", "re");

        while (list && !found && fgets(line, sizeof(line), list))
                found = strstr(line, "\toverlay\n") != NULL;
        if (list)
                fclose(list);
        return found;
}

static bool has_nft(void)
{
        return access("/usr/sbin/nft", X_OK) == 0 || access("/usr/bin/nft", X_OK) == 0 ||
               access("/sbin/nft", X_OK) == 0;
}

static bool has_seccomp(void)
{
        return access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0;
}

static bool has_python(void)
{
        return access("/usr/bin/python3", X_OK) == 0;
}

static const struct check checks[] = {
        { "root", is_root, "run it with sudo: namespaces, cgroups and the Pod network need root" },
        { "Linux 5.14 or newer", kernel_is_recent, "boot a newer kernel of your distribution" },
        { "namespaces", has_namespaces,
          "a kernel with user namespaces, and user.max_user_namespaces above 0 (sysctl)" },
        { "cgroups (v2, or v1 with memory)", has_cgroups, "mount /sys/fs/cgroup" },
        { "overlayfs", has_overlay, "modprobe overlay" },
        { "seccomp", has_seccomp, "a kernel with CONFIG_SECCOMP_FILTER" },
        { "nft", has_nft, "install the package nftables" },
        { "python3 for the python-runtime-sandbox image", has_python,
          "install the package python3" },
};

int command_doctor(int argc, char **argv, struct error *error)
{
        unsigned missing = 0;

        (void)error;
        if (command_help(command_find("doctor"), NULL, argc, argv))
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
                bool holds = checks[i].holds();
                printf("%s  %s\n", holds ? "ok     " : "missing", checks[i].name);
                if (!holds)
                        printf("         %s\n", checks[i].cure);
                missing += !holds;
        }
        if (missing == 0)
                printf("This machine has what cay needs.\n");
        return missing == 0 ? 0 : 1;
}
