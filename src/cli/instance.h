// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Unprivileged roles run under numeric ids of their own, so that none can read another's files or
 * signal it. 60578 to 61183 is free on systemd hosts (systemd's "Users, Groups, UIDs and GIDs").
 */
enum {
        UID_CONTROL = 60801,
        UID_NODE = 60802,
        UID_ROUTER = 60803,
};

enum { INSTANCE_ID_SIZE = 9 };

/*
 * One `cay up`: everything it keeps is under `data` (survives a reboot) and `run` (does not).
 * Two instances differ by their data folder; `id` is made from its name, for interfaces and
 * cgroups.
 */
struct instance {
        char data[PATH_MAX];       /* /var/lib/cay: kubeconfig, pki/, control/, node/, router/ */
        char run[64];              /* /run/cay-<id>: the launcher's state, sockets */
        char libexec[PATH_MAX];    /* cay, launcher, init, sandboxd */
        char id[INSTANCE_ID_SIZE]; /* 8 hex digits */
        char kubeconfig[PATH_MAX]; /* the administrator's, mode 0600 */
};

/*
 * Resolves the paths of the instance at `data` (NULL: $CAY_DATA, else /var/lib/cay), making the
 * folders in it if `create`. -ENOENT if it does not exist and is not to be made.
 */
int instance_open(const char *data, bool create, struct error *error,
                  struct instance *ret_instance);

/*
 * Takes the instance's lock, as the one supervisor that may run it. Roles hold it too and outlive a
 * supervisor that was killed by the moment that the kernel needs to end them: that is waited for.
 * Returns the descriptor that holds it, -EBUSY with a sentence (naming its process) if somebody
 * else does, or another errno.
 */
int instance_lock(const struct instance *instance, struct error *error);

/* Writes the supervisor's process id into the locked file. */
int instance_write_pid(int lock, pid_t pid);

/* The process id of the supervisor that holds the lock; 0 if none does. */
int instance_running(const struct instance *instance, pid_t *ret_pid);

/* Makes the run folder, with the lock held and when nothing else can fail before the roles start.
 */
int instance_make_run(const struct instance *instance, struct error *error);

/* Whether there is a run folder: the instance runs, or left something when it was killed. */
bool instance_has_run(const struct instance *instance);

/* Removes the run folder, when nothing of the instance runs any more. */
int instance_remove_run(const struct instance *instance);

/* Removes the run folder if nothing has been put into it yet: after a start that did not begin. */
void instance_remove_unused_run(const struct instance *instance);

/* Where the running instance listens: "127.0.0.1:6443". */
struct instance_addresses {
        char api[64];
        char router[64];
};

/* Kept in the run folder while the instance runs. Return 0 or a negative errno. */
int instance_write_addresses(const struct instance *instance,
                             const struct instance_addresses *addresses);
int instance_read_addresses(const struct instance *instance,
                            struct instance_addresses *ret_addresses);
