// SPDX-License-Identifier: Apache-2.0
#include "runtime/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/macro.h"
#include "base/test.h"

enum { KILLS = 60, GONE_WITHIN_MS = 10 * 1000 };

/* A launcher that does nothing but make user namespaces. */
static void make_namespaces(int report)
{
        const struct id_range range = { 0, 0, 1 };
        int fd;

        while (namespace_user_new(&range, 1, &range, 1, &fd) == 0) {
                if (report >= 0 && write(report, "", 1) != 1)
                        break;
                report = -1;
                close(fd);
        }
}

/*
 * Whoever holds the other end of `alive` shares the maker's descriptors, the instance's lock among
 * them. Without the holder's death signal in namespace.c one in a few of these kills leaves it.
 */
static void a_killed_maker_leaves_no_process(void **state)
{
        (void)state;
        for (int turn = 0; turn < KILLS; turn++) {
                int alive[2], report[2];
                char byte;

                assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
                assert_int_equal(pipe2(report, O_CLOEXEC), 0);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(alive[0]);
                        make_namespaces(report[1]);
                        _exit(1);
                }
                close(alive[1]);
                close(report[1]);
                assert_int_equal(read(report[0], &byte, 1), 1);
                usleep((unsigned)turn * 17); /* the moment is what is tried */
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
                struct pollfd gone = { .fd = alive[0], .events = POLLIN };
                assert_int_equal(poll(&gone, 1, GONE_WITHIN_MS), 1);
                assert_int_equal(read(alive[0], &byte, 1), 0);
                close(alive[0]);
                close(report[0]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_killed_maker_leaves_no_process),
        };

        return run_unit_tests("namespace", tests);
}
