// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "runtime/runtime.h"

/*
 * The cgroups of containers: one folder each, below our own, in every hierarchy that is needed. On
 * a host with v2 that is one hierarchy; where controllers are still v1, those besides (and v2, if
 * it is mounted at all, for cgroup.kill).
 */
enum cgroup_controller {
        CGROUP_CPU = 1 << 0,
        CGROUP_MEMORY = 1 << 1,
        CGROUP_PIDS = 1 << 2,
        CGROUP_FREEZER = 1 << 3, /* v1 only, for killing where there is no v2 */
        CGROUP_ALL = CGROUP_CPU | CGROUP_MEMORY | CGROUP_PIDS
};

enum { CGROUP_HIERARCHIES = 5, CGROUP_NAME = 32 };

struct cgroup_hierarchy {
        int folder; /* our own; owned */
        bool is_v2;
        unsigned controllers; /* of enum cgroup_controller, what it is used for */
        char path[256];       /* of our own folder, for cleaning up */
};

struct cgroup_tree {
        struct cgroup_hierarchy hierarchies[CGROUP_HIERARCHIES];
        size_t count;
};

/*
 * Finds the hierarchies in /proc/self/mounts and makes the folder `name` in each. With `only_v1` v2
 * is left alone. Returns 0 or a negative errno with a sentence.
 */
int cgroup_tree_open(struct cgroup_tree *tree, const char *name, bool only_v1, struct error *error);
void cgroup_tree_close(struct cgroup_tree *tree);

/* Makes, limits, removes one container's cgroups. Removing what is not there succeeds; -EBUSY while
 * a process is in it. */
int cgroup_create(const struct cgroup_tree *tree, const char *name);
int cgroup_set_limits(const struct cgroup_tree *tree, const char *name,
                      const struct container_limits *limits);
int cgroup_remove(const struct cgroup_tree *tree, const char *name);

/* The v2 folder for CLONE_INTO_CGROUP; -ENOENT without v2. */
int cgroup_open_v2(const struct cgroup_tree *tree, const char *name, int *ret_fd);

/*
 * Opens the v1 files through which a process puts itself in by writing "0": the first write to
 * `cpu` takes milliseconds on an idle machine, so it is the new process that waits. Returns their
 * number, or a negative errno.
 */
int cgroup_open_v1(const struct cgroup_tree *tree, const char *name,
                   int ret_fds[static CGROUP_HIERARCHIES]);

/* SIGKILL to everything inside, also to what is being forked now. */
int cgroup_kill(const struct cgroup_tree *tree, const char *name);

/* One process of the cgroup for which `matches` is true, 0 if there is none, or a negative errno.
 */
pid_t cgroup_find(const struct cgroup_tree *tree, const char *name,
                  bool (*matches)(pid_t pid, void *data), void *data);

int cgroup_usage(const struct cgroup_tree *tree, const char *name,
                 struct container_usage *ret_usage);

/*
 * Kills and removes every cgroup below our own but those for which `keeps` is true (NULL: none).
 * All are killed before the first is waited for, so that they end side by side. What does not end
 * is logged, when nothing has ended for CGROUP_PATIENCE_S. Returns 0 or a negative errno.
 */
enum { CGROUP_PATIENCE_S = 5 };
int cgroup_end_all(const struct cgroup_tree *tree, bool (*keeps)(const char *name, void *data),
                   void *data);

/* How many there are below the folder `name`, which nobody need have made. */
size_t cgroup_count(const char *name);

/* Removes our own folders, which must be empty. */
int cgroup_tree_remove(struct cgroup_tree *tree);
