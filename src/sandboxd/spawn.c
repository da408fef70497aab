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

struct pipes {
        int out, out_child, err, err_child, in, in_child;
};

static void pipes_close(struct pipes *pipes)
{
        fd_close(pipes->out);
        fd_close(pipes->out_child);
        fd_close(pipes->err);
        fd_close(pipes->err_child);
        fd_close(pipes->in);
        fd_close(pipes->in_child);
}

static int open_pipe(int *ret_read, int *ret_write)
{
        int pair[2];

        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = pair[0];
        *ret_write = pair[1];
        return 0;
}

static int open_pipes(const struct spawn_options *options, struct pipes *pipes)
{
        int r;

        if (options->terminal)
                return 0;
        r = open_pipe(&pipes->out, &pipes->out_child);
        if (r == 0)
                r = open_pipe(&pipes->err, &pipes->err_child);
        if (r == 0 && options->takes_input)
                r = open_pipe(&pipes->in_child, &pipes->in);
        return r;
}

/* Opened after setsid(2), a terminal becomes the controlling one. */
static int set_actions(posix_spawn_file_actions_t *actions, const struct spawn_options *options,
                       const struct pipes *pipes)
{
        int r = posix_spawn_file_actions_addfchdir_np(actions, options->directory);
        int out = options->terminal ? STDIN_FILENO : pipes->out_child;
        int err = options->terminal ? STDIN_FILENO : pipes->err_child;

        if (r == 0 && pipes->in_child >= 0)
                r = posix_spawn_file_actions_adddup2(actions, pipes->in_child, STDIN_FILENO);
        else if (r == 0)
                r = posix_spawn_file_actions_addopen(
                        actions, STDIN_FILENO, options->terminal ? options->terminal : "/dev/null",
                        options->terminal ? O_RDWR : O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(actions, err, STDERR_FILENO);
        return -r;
}

int spawn(const struct spawn_options *options, struct spawned *ret)
{
        _cleanup_(pipes_close) struct pipes pipes = { -1, -1, -1, -1, -1, -1 };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        pid_t pid;
        int r;

        r = open_pipes(options, &pipes);
        if (r < 0)
                return r;
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
                r = set_actions(&actions, options, &pipes);
        if (r == 0)
                r = -posix_spawnp(&pid, options->argv[0], &actions, &attributes, options->argv,
                                  options->environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (r < 0)
                return r;
        *ret = (struct spawned){ .pid = pid,
                                 .out = TAKE_FD(pipes.out),
                                 .err = TAKE_FD(pipes.err),
                                 .in = TAKE_FD(pipes.in) };
        return 0;
}
