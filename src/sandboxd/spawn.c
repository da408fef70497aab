// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include "base/fd.h"

static int set_attributes(posix_spawnattr_t *attributes)
{
        sigset_t all, none;
        int r;

        sigfillset(&all);
        sigemptyset(&none);
        r = posix_spawnattr_setsigdefault(attributes, &all);
        if (r == 0)
                r = posix_spawnattr_setsigmask(attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID |
                                                                 POSIX_SPAWN_SETSIGDEF |
                                                                 POSIX_SPAWN_SETSIGMASK);
        return -r;
}

static int set_actions(posix_spawn_file_actions_t *actions, int directory, int out, int err)
{
        int r = posix_spawn_file_actions_addfchdir_np(actions, directory);

        if (r == 0)
                r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY,
                                                     0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, err, STDERR_FILENO);
        return -r;
}

int spawn(char *const *argv, char *const *environment, int directory, struct spawned *ret)
{
        _cleanup_close_ int out = -1, out_child = -1, err = -1, err_child = -1;
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int pair[2], r;
        pid_t pid;

        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        out = pair[0];
        out_child = pair[1];
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        err = pair[0];
        err_child = pair[1];

        r = -posix_spawn_file_actions_init(&actions);
        if (r < 0)
                return r;
        r = -posix_spawnattr_init(&attributes);
        if (r < 0) {
                posix_spawn_file_actions_destroy(&actions);
                return r;
        }
        r = set_attributes(&attributes);
        if (r == 0)
                r = set_actions(&actions, directory, out_child, err_child);
        if (r == 0)
                r = -posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (r < 0)
                return r;
        *ret = (struct spawned){ .pid = pid, .out = TAKE_FD(out), .err = TAKE_FD(err) };
        return 0;
}
