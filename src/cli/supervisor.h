// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

enum {
        ROLE_DESCRIPTORS_MAX = 8,
        ROLE_START_ATTEMPTS = 5, /* that many bad starts in a row, and a role is told to fail */
        SUPERVISOR_REPORT_FAILING = 0x80, /* plus the role's index; roles write letters */
};

/* One process that the supervisor keeps running. */
struct role {
        const char *name;
        uid_t uid;               /* user and group of the process; 0 keeps root (the launcher) */
        const char *program;     /* absolute path; NULL: this program */
        const char *const *argv; /* NULL-terminated */
        /* Become descriptors 3, 4, … of the process, in this order. The supervisor keeps its own,
         * so a role that is started again finds the same sockets. */
        int descriptors[ROLE_DESCRIPTORS_MAX];
        size_t descriptor_count;
        const char *log; /* path that stderr is appended to; NULL: the supervisor's own stderr */
};

/*
 * Starts the roles in order and runs them until SIGTERM or SIGINT: starts each again when it ends,
 * with a growing pause if it ends soon after its start. The caller must be single-threaded. The
 * process becomes a subreaper, so that sandboxes whose launcher died become its children; it reads
 * nothing: all that it knows comes from signals.
 *
 * On the way out the roles get SIGTERM in reverse order, each after the one before has ended (or,
 * after ROLE_STOP_SECONDS, SIGKILL). If the supervisor itself dies, the kernel kills the roles;
 * sandboxes stay. Every role holds a copy of `lock` until it ends, so that the lock is free only
 * when nothing of the instance runs; -1: none. A role that has ended soon after each of its last
 * ROLE_START_ATTEMPTS starts is told to `report` (SUPERVISOR_REPORT_FAILING plus its index), and
 * tried on. Returns 0 after an orderly end, or a negative errno if it could not begin.
 */
int supervisor_run(const struct role *roles, size_t count, int lock, int report,
                   struct error *error);
