// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/cgroup.h"
#include "runtime/request.h"
#include "runtime/seccomp.h"

/*
 * The child's side of a container: the process that becomes PID 1. It is cloned into its
 * namespaces, prepares its root file system while nobody waits, and when it is told what the
 * container is to be, finishes and runs init. It talks with the launcher over one socket: `go` with
 * trees comes in, a report goes out; the order comes in; a report if it failed, end of file when
 * init runs.
 */

/* Folders of the root that the child begins with (rootfs.c), as places to mount at. */
#define CONTAINER_UPPER "/m/upper"
#define CONTAINER_LOWER "/m/lower"
#define CONTAINER_ROOT  "/m/root"

/* Detached mounts that come with `go`, in this order. */
enum {
        CONTAINER_TREE_SKELETON,
        CONTAINER_TREE_USR,
        CONTAINER_TREE_DEVICES,
        CONTAINER_TREE_SYSFS,
        CONTAINER_TREES
};

struct container_go {
        uint32_t version;
};

/* Comes with init's listening socket, the log ring and the mounts. */
struct container_order {
        char hostname[RUNTIME_HOSTNAME]; /* empty: the sandbox has its name already */
        struct launcher_launch launch;
};

struct container_report {
        int32_t result;
        uint32_t stage; /* enum launcher_stage */
        uint32_t index; /* of a mount */
};

struct container_child {
        int socket;                      /* to the launcher */
        int init;                        /* the init program */
        int null;                        /* /dev/null */
        int cgroups[CGROUP_HIERARCHIES]; /* cgroup.procs files to write "0" to */
        int cgroup_count;
        const struct seccomp_filter *filter;
};

/* Never returns. In a new PID and mount namespace, of the sandbox's user namespace. */
_Noreturn void container_child_run(const struct container_child *child);

/*
 * The first half for a sandbox that exists: joins its namespaces (user, net, ipc, uts) and cgroups,
 * makes the process that runs container_child_run() as the launcher's own child, and ends. Sends
 * one report with the pidfd of that process, or the failure. Never returns.
 */
_Noreturn void container_join_run(const struct container_child *child,
                                  const int namespaces[static 4]);
