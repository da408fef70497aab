// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * The launcher: the only working process with privilege. Single-threaded, in a small mount
 * namespace of its own; it takes requests of one fixed size with descriptors (runtime/request.h)
 * from the node and parses nothing else. Sandboxes live on without it: the next one finds them by
 * its run folder, their cgroups and /proc.
 */
struct launcher_config {
        const char *run;  /* folder for state and pins; absolute, made if absent (0700) */
        const char *init; /* absolute path of the static init */
        /* Where the skeleton root stands if the kernel maps no ids on tmpfs (before Linux 6.3): a
         * folder on ext4, xfs or btrfs, made if absent. NULL: then the launcher cannot begin. */
        const char *skeleton;
        bool skeleton_on_disk; /* even where tmpfs would do */
        const char *cgroup;    /* name of our cgroups below each hierarchy, e.g. "cay-0001" */
        const char *interface; /* host's end of the wire to the fabric, at most 15 bytes */
        uid_t node_user;       /* who owns the fabric and is root inside volumes; not 0 */
        gid_t node_group;
        uint32_t pod_network;  /* host byte order */
        uint32_t pod_prefix;   /* 8 … 29 */
        uint32_t host_address; /* of the host's end, inside or outside the Pod network */
        uint32_t id_base;      /* first of the user ids; 0: 0x70000000 */
        uint32_t slots;        /* sandboxes at most; 0: 4000 */
        uint32_t pool;         /* prepared sandboxes; 0: none */
        bool cgroup_v1;        /* use v1 hierarchies only, even where v2 would do */
};

/* The address that Pods have as their router and resolver; in the fabric only. */
#define LAUNCHER_GATEWAY UINT32_C(0xa9fe0101) /* 169.254.1.1 */

/* How nice it is, unless it was begun with another niceness than 0; its children begin with 0. */
enum { LAUNCHER_NICE = -10 };

/*
 * Serves requests on `socket` (SOCK_SEQPACKET, connected) until SIGTERM or end of file, then
 * returns 0 with sandboxes running. Call it in a process of its own with root's rights and one
 * thread: it changes namespaces, signal dispositions and descriptors of the process for good.
 * Returns a negative errno with a sentence when it could not begin.
 */
int launcher_run(int socket, const struct launcher_config *config, struct error *error);

/*
 * Kills and removes everything that launchers with this configuration left: processes, cgroups,
 * interfaces, rules, pins, state. With no launcher running. Idempotent.
 */
int launcher_cleanup(const struct launcher_config *config, struct error *error);
