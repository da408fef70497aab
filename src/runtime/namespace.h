// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>
#include <sys/types.h>

/*
 * Small tools for namespaces. All are for a process with one thread and root's rights.
 */

/* One line of a uid_map or gid_map (user_namespaces(7)). */
struct id_range {
        uint32_t inside, outside, count;
};

/* Writes both maps of the process. */
int namespace_map_ids(pid_t pid, const struct id_range *users, size_t user_count,
                      const struct id_range *groups, size_t group_count);

/* A user namespace with these maps and no process in it: for id-mapped mounts. */
int namespace_user_new(const struct id_range *users, size_t user_count,
                       const struct id_range *groups, size_t group_count, int *ret_fd);

/* Opens /proc/<pid>/ns/<name>. */
int namespace_open(pid_t pid, const char *name, int *ret_fd);

/* Moves into the network namespace `there`, and back home; home cannot fail or the process ends. */
int namespace_enter_net(int there);
void namespace_return_net(int home);

/* The same for mount namespaces (the working directory becomes the root). */
int namespace_enter_mount(int there);
void namespace_return_mount(int home);

/* Mounts a proc of our own, nowhere but in the descriptor. */
int namespace_proc_new(int *ret_proc);

/* The same of a PID namespace that has ended: it shows no process, and never will. */
int namespace_proc_ended(int *ret_proc);

/* Writes a file below sys/ of the present namespaces, of `proc` (-1: that in /proc). */
int namespace_sysctl(int proc, const char *name, const char *value);
