// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct spawn_options {
        char *const *argv;
        char *const *environment;
        int directory;        /* a descriptor: its working directory */
        bool takes_input;     /* a pipe as its standard input; else /dev/null */
        const char *terminal; /* the path of one for all three, which becomes its controlling one */
};

struct spawned {
        pid_t pid; /* leads a session and process group of its own */
        int out;   /* the reading ends of its standard output and error, close-on-exec; */
        int err;   /* -1 with a terminal */
        int in;    /* the writing end of its standard input; -1 without */
};

/*
 * Starts a program, looked up in PATH, with default signal dispositions and no other descriptor
 * that is close-on-exec. The caller waits only for execve(2) (a vfork-sized child).
 * Returns 0 or the errno, negative, of what failed, execve(2) included.
 */
int spawn(const struct spawn_options *options, struct spawned *ret);
