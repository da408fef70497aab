// SPDX-License-Identifier: Apache-2.0
#include "runtime/lending.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/test.h"

enum { OTHERS = 200 };

struct world {
        struct lending lending;
        int others[OTHERS]; /* what a launcher has open */
        int pipe[2];
};

static int setup(void **state)
{
        static struct world world;

        world = (struct world){ .lending = { .null = -1, .borrower = -1 } };
        assert_int_equal(lending_init(&world.lending, -1), 0);
        assert_int_equal(pipe2(world.pipe, O_CLOEXEC), 0);
        for (int i = 0; i < OTHERS; i++) {
                world.others[i] = fcntl(world.pipe[0], F_DUPFD_CLOEXEC, 3);
                assert_true(world.others[i] >= (int)world.lending.end);
        }
        *state = &world;
        return 0;
}

static int teardown(void **state)
{
        struct world *world = *state;

        for (int i = 0; i < OTHERS; i++)
                close(world->others[i]);
        fd_close(world->pipe[0]);
        fd_close(world->pipe[1]);
        lending_deinit(&world->lending);
        return 0;
}

/* Runs `body` in a process that shares the descriptors, as children of the launcher do. */
static pid_t start(struct world *world, void (*body)(struct world *world, int lent), int lent,
                   int *ret_pidfd)
{
        int pidfd = -1;
        struct clone_args arguments = { .flags = CLONE_FILES | CLONE_PIDFD,
                                        .exit_signal = SIGCHLD,
                                        .pidfd = (uint64_t)(uintptr_t)&pidfd };
        pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));

        if (pid == 0) {
                body(world, lent);
                _exit(2);
        }
        assert_true(pid > 0);
        assert_int_equal(lending_begin(&world->lending, pidfd), 0);
        *ret_pidfd = pidfd;
        return pid;
}

static int wait_for(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Writes whether it has any of the others, then closes all. */
static void look_for_others(struct world *world, int lent)
{
        unsigned char found = 0;

        lending_come_apart(&world->lending);
        for (int i = 0; i < OTHERS; i++)
                found |= fcntl(world->others[i], F_GETFD) >= 0;
        _exit(write(lent, &found, 1) == 1 && close_range(3, ~0U, 0) == 0 ? 0 : 1);
}

static void a_child_has_what_was_lent_and_nothing_else(void **state)
{
        struct world *world = *state;
        char found = 1;
        int pidfd;

        for (int turn = 0; turn < 3; turn++) {
                int lent = lending_put(&world->lending, 3, world->pipe[1]);
                assert_true(lent >= 0 && lent < (int)world->lending.end);
                pid_t pid = start(world, look_for_others, lent, &pidfd);
                lending_end(&world->lending);
                assert_int_equal(wait_for(pid), 0);
                close(pidfd);
                assert_int_equal(read(world->pipe[0], &found, 1), 1);
                assert_int_equal(found, 0);
                /* What the child closed is still open here. */
                for (int i = 0; i < OTHERS; i++)
                        assert_true(fcntl(world->others[i], F_GETFD) >= 0);
        }
        /* Nothing is kept of what was lent: the end of the one writer is the end of the pipe. */
        world->pipe[1] = fd_close(world->pipe[1]);
        assert_int_equal(read(world->pipe[0], &found, 1), 0);
}

static void end_at_once(struct world *world, int lent)
{
        (void)world, (void)lent;
        _exit(3);
}

static void a_child_that_ends_first_holds_nobody_up(void **state)
{
        struct world *world = *state;
        int pidfd, lent = lending_put(&world->lending, 0, world->pipe[1]);
        pid_t pid = start(world, end_at_once, lent, &pidfd);
        uint64_t began = clock_monotonic_ns();

        lending_end(&world->lending);
        assert_true(clock_monotonic_ns() - began < 4 * NS_PER_SECOND);
        assert_int_equal(wait_for(pid), 3);
        close(pidfd);
}

static void stand_still(struct world *world, int lent)
{
        (void)world, (void)lent;
        raise(SIGSTOP);
}

static void a_child_that_does_not_run_is_killed(void **state)
{
        struct world *world = *state;
        int pidfd, lent = lending_put(&world->lending, 0, world->pipe[1]);
        pid_t pid = start(world, stand_still, lent, &pidfd);

        lending_end(&world->lending);
        assert_int_equal(wait_for(pid), -SIGKILL);
        close(pidfd);
}

static void what_nobody_took_comes_back(void **state)
{
        struct world *world = *state;
        char byte;

        assert_true(lending_put(&world->lending, 0, world->pipe[1]) >= 0);
        lending_end(&world->lending);
        lending_end(&world->lending);
        world->pipe[1] = fd_close(world->pipe[1]);
        assert_int_equal(read(world->pipe[0], &byte, 1), 0);
}

int main(void)
{
#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                IN_WORLD(a_child_has_what_was_lent_and_nothing_else),
                IN_WORLD(a_child_that_ends_first_holds_nobody_up),
                IN_WORLD(a_child_that_does_not_run_is_killed),
                IN_WORLD(what_nobody_took_comes_back),
        };

        return run_unit_tests("lending", tests);
}
