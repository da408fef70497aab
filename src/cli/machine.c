// SPDX-License-Identifier: Apache-2.0
#include "cli/machine.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/instance.h"

static bool is_root(void)
{
        return geteuid() == 0;
}

/* What the launcher and the supervisor do: mounts, namespaces, interfaces, users, others' files. */
static bool has_capabilities(void)
{
        static const unsigned needed[] = { CAP_SYS_ADMIN, CAP_NET_ADMIN,    CAP_SETUID, CAP_SETGID,
                                           CAP_CHOWN,     CAP_DAC_OVERRIDE, CAP_KILL };

        if (capng_get_caps_process() != 0)
                return false;
        for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
                if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i]))
                        return false;
        return true;
}

/* In a user namespace there are only the ids that it maps. */
static bool has_role_ids(void)
{
        unsigned inside, outside, count;
        bool found = false;
        FILE *map = fopen("/proc/self/uid_map", "re");

        if (!map)
                return true;
        while (!found && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3)
                found = UID_CONTROL >= inside && UID_ROUTER - inside < count;
        fclose(map);
        return found;
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

const struct machine_need machine_needs[] = {
        { "root", is_root,
          "run it with sudo (namespaces, cgroups and the Pod network need root; the roles drop it "
          "again)",
          true },
        { "user ids 60801 to 60803", has_role_ids,
          "run it outside of a user namespace (a rootless container has too few users)", true },
        { "root's capabilities", has_capabilities,
          "run it on the machine itself, or in a container with --privileged", true },
        { "Linux 5.14 or newer", kernel_is_recent, "boot a newer kernel of your distribution",
          false },
        { "namespaces", has_namespaces,
          "run a kernel with user namespaces, and set user.max_user_namespaces above 0 (sysctl)",
          false },
        { "cgroups (v2, or v1 with memory)", has_cgroups,
          "mount /sys/fs/cgroup (mount -t cgroup2 none /sys/fs/cgroup)", false },
        { "overlayfs", has_overlay, "modprobe overlay", false },
        { "seccomp", has_seccomp, "run a kernel with CONFIG_SECCOMP_FILTER", false },
        { "nft", has_nft, "install the package nftables", false },
        { "python3 for the python-runtime-sandbox image", has_python, "install the package python3",
          false },
        { 0 },
};

const struct machine_need *machine_lacks(bool before_start)
{
        for (const struct machine_need *need = machine_needs; need->name; need++)
                if ((need->before_start || !before_start) && !need->holds())
                        return need;
        return NULL;
}
