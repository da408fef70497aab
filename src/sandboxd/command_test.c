// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/test.h"
#include "sandboxd/command.h"

static char *environment[] = { (char *)(uintptr_t) "PATH=/usr/bin:/bin",
                               (char *)(uintptr_t) "GREETING=hello", NULL };

struct outcome {
        unsigned count;
        struct buffer out, err;
        uint64_t dropped;
        int exit_code;
        bool timed_out;
};

static void on_done(void *owner, struct command_result *result)
{
        struct outcome *outcome = owner;

        outcome->count++;
        outcome->out = result->out.text;
        outcome->err = result->err.text;
        result->out.text = result->err.text = (struct buffer){};
        outcome->dropped = result->out.dropped;
        outcome->exit_code = result->exit_code;
        outcome->timed_out = result->timed_out;
}

static int run(char *const *argv, uint64_t timeout_ms, struct outcome *ret)
{
        _cleanup_close_ int directory = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const struct command_options options = { .argv = argv, .timeout_ms = timeout_ms };
        struct children children;
        struct commands commands;
        uv_loop_t loop;
        int r;

        *ret = (struct outcome){};
        assert_int_equal(uv_loop_init(&loop), 0);
        assert_int_equal(children_init(&children, &loop), 0);
        commands_init(&commands, &children, directory, environment);
        r = command_start(&commands, &options, on_done, ret, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        children_close(&children);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(ret->count, r == 0);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        return r;
}

static void outcome_free(struct outcome *outcome)
{
        buffer_deinit(&outcome->out);
        buffer_deinit(&outcome->err);
}
#define _cleanup_outcome_ _cleanup_(outcome_free)

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })
#define SHELL(script)                                                                              \
        ARGV((char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)(script))

static void output_and_exit_code_are_kept(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};

        (void)state;
        assert_int_equal(
                run(SHELL("pwd; echo $GREETING; echo bad >&2; cat; exit 7"), 60000, &outcome), 0);
        assert_true(str_equal(buffer_str(&outcome.out), STR("/usr\nhello\n")));
        assert_true(str_equal(buffer_str(&outcome.err), STR("bad\n")));
        assert_int_equal(outcome.exit_code, 7);
        assert_false(outcome.timed_out);
}

static void death_by_signal_is_negative(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};

        (void)state;
        assert_int_equal(run(SHELL("kill -TERM $$"), 60000, &outcome), 0);
        assert_int_equal(outcome.exit_code, -SIGTERM);
}

static void what_cannot_start_says_why(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};

        (void)state;
        assert_int_equal(run(ARGV((char *)(uintptr_t) "no-such-program"), 60000, &outcome),
                         -ENOENT);
        assert_int_equal(run(ARGV((char *)(uintptr_t) "/etc/passwd"), 60000, &outcome), -EACCES);
}

/* The pipe tells: it is closed only when every process of the group has died. */
static void a_time_out_kills_the_group(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};
        char script[128];
        int pair[2];
        char byte;

        (void)state;
        assert_int_equal(pipe(pair), 0);
        snprintf(script, sizeof(script), "echo begun; sleep 1000 <&%d & sleep 1000", pair[1]);
        assert_int_equal(run(SHELL(script), 100, &outcome), 0);
        assert_true(outcome.timed_out);
        assert_int_equal(outcome.exit_code, -SIGKILL);
        assert_true(str_equal(buffer_str(&outcome.out), STR("begun\n")));
        fd_close(pair[1]);
        assert_int_equal(read(pair[0], &byte, 1), 0);
        fd_close(pair[0]);
}

static void a_background_child_is_waited_for(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};

        (void)state;
        assert_int_equal(run(SHELL("(sleep 0.1; echo late) & echo early"), 60000, &outcome), 0);
        assert_true(str_equal(buffer_str(&outcome.out), STR("early\nlate\n")));

        /* One that left the group holds the pipe only until the limit. */
        uint64_t start = clock_monotonic_ns();
        outcome_free(&outcome);
        assert_int_equal(run(SHELL("setsid sleep 3 & exit 3"), 200, &outcome), 0);
        assert_true(clock_monotonic_ns() - start < 2 * NS_PER_SECOND);
        assert_true(outcome.timed_out);
        assert_int_equal(outcome.exit_code, 3);
}

static void output_is_bounded(void **state)
{
        _cleanup_outcome_ struct outcome outcome = {};

        (void)state;
        assert_int_equal(run(SHELL("head -c 20000000 /dev/zero"), 60000, &outcome), 0);
        assert_int_equal(outcome.out.length, LIMIT_COMMAND_OUTPUT);
        assert_int_equal(outcome.out.length + outcome.dropped, 20000000);
        assert_int_equal(outcome.exit_code, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(output_and_exit_code_are_kept),
                cmocka_unit_test(death_by_signal_is_negative),
                cmocka_unit_test(what_cannot_start_says_why),
                cmocka_unit_test(a_time_out_kills_the_group),
                cmocka_unit_test(a_background_child_is_waited_for),
                cmocka_unit_test(output_is_bounded),
        };
        return run_unit_tests("command", tests);
}
