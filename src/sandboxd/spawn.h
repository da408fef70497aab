// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

struct spawned {
        pid_t pid; /* leads a session and process group of its own */
        int out;   /* the reading ends of its standard output and error, close-on-exec */
        int err;
};

/*
 * Starts a program, looked up in PATH, with `directory` (a descriptor) as its working directory,
 * standard input from /dev/null, default signal dispositions, and no other descriptor that is
 * close-on-exec. The caller waits only for execve(2) (a vfork-sized child).
 * Returns 0 or the errno, negative, of what failed, execve(2) included.
 */
int spawn(char *const *argv, char *const *environment, int directory, struct spawned *ret);
