// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/filter.h>

/*
 * The system call filter of containers, an allow-list as container runtimes have it: what programs
 * need is allowed; what opens the kernel wide (new namespaces, mounts, keys, bpf, io_uring,
 * modules, …) is EPERM; what is unknown is ENOSYS, so that libraries fall back. Compiled once.
 */
struct seccomp_filter {
        struct sock_fprog program;
};

/* Returns 0, -ENOMEM or an error of libseccomp. */
int seccomp_filter_compile(struct seccomp_filter *filter);
void seccomp_filter_deinit(struct seccomp_filter *filter);

/* Filters the calling thread from now on; it must have no_new_privs. */
int seccomp_filter_load(const struct seccomp_filter *filter);
