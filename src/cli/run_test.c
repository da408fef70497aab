// SPDX-License-Identifier: Apache-2.0
#include <pty.h>
#include <termios.h>

#include "base/clock.h"
#include "cli/fake_cluster.h"

const struct command commands[] = { { "run", "", "", command_run, false }, { 0 } };

#define SANDBOXES  "/apis/agents.x-k8s.io/v1beta1/namespaces/default/sandboxes"
#define CLAIMS     "/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/default/sandboxclaims"
#define OLD_CLAIMS "/apis/extensions.agents.x-k8s.io/v1alpha1/namespaces/default/sandboxclaims"
#define PODS       "/api/v1/namespaces/default/pods"

#define MADE                                                                                       \
        "{\"metadata\":{\"name\":\"@name@\",\"uid\":\"u1\",\"labels\":{\"cay.dev/"                 \
        "run\":\"@token@\"}}}"
#define EVENT(type, uid, rest)                                                                     \
        "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"@name@\",\"namespace\":"      \
        "\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"5\"}" rest "}}\n"
#define READY(status, reason)                                                                      \
        "{\"type\":\"Ready\",\"status\":\"" status "\",\"reason\":\"" reason                       \
        "\",\"message\":\"said\"}"
#define CONDITIONS(list) ",\"status\":{\"conditions\":[" list "]}"
#define BECOMES_READY                                                                              \
        EVENT("ADDED", "u1", "")                                                                   \
        FAKE_SYNC EVENT("MODIFIED", "u1", CONDITIONS(READY("False", "DependenciesNotReady")))      \
                EVENT("MODIFIED", "u1", CONDITIONS(READY("True", "DependenciesReady")))
#define NEVER_READY EVENT("ADDED", "u1", "") FAKE_SYNC

#define GOOD_ANSWERS                                                                               \
        { "POST " SANDBOXES, 201, MADE }, { "WATCH " SANDBOXES, 200, BECOMES_READY },              \
                { "WATCH " PODS, 200, FAKE_SYNC },                                                 \
        {                                                                                          \
                "DELETE " SANDBOXES "/@name@", 200, "{}"                                           \
        }

#define DELETED                                                                                    \
        "DELETE " SANDBOXES "/@name@ {\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\","           \
        "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"u1\"}}"

static void a_command_runs_and_its_sandbox_goes(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        c.frames = "1 out\n2 err\n1 put\n3 7";
        assert_int_equal(cluster_run(&c, command_run,
                                     ARGV("run", "--env", "A=b=c", "--", "sh", "-c", "exit 7")),
                         7);
        assert_string_equal(cluster_output(&c), "output");
        assert_string_equal(cluster_error_output(&c), "err");
        assert_int_equal(strncmp(c.name, "run-", 4), 0);
        assert_int_equal(
                cluster_asked(&c,
                              "POST " SANDBOXES
                              " {\"apiVersion\":\"agents.x-k8s.io/v1beta1\",\"kind\":\"Sandbox\""
                              ",\"metadata\":{\"name\":\"@name@\",\"labels\":{\"cay.dev/run\":"
                              "\"@token@\"}},\"spec\":{\"podTemplate\":{\"spec\":{"
                              "\"automountServiceAccountToken\":false,\"restartPolicy\":"
                              "\"Never\",\"terminationGracePeriodSeconds\":1,\"containers\":[{"
                              "\"name\":\"main\",\"image\":\"python-runtime-sandbox:latest\","
                              "\"env\":[{\"name\":\"A\",\"value\":\"b=c\"}]}]}}}}"),
                1);
        assert_int_equal(cluster_asked(&c, "GET " PODS "/@name@/exec?stdout=true&stderr=true&"
                                           "command=sh&command=-c&command=exit%207"),
                         1);
        assert_int_equal(cluster_asked(&c, DELETED), 1);
        cluster_tear_down(&c);
}

static void options_shape_what_is_made(void **state)
{
        static const struct {
                char *option, *value;
                const char *part;
        } cases[] = {
                { "--image", "busybox", "\"image\":\"busybox\",\"command\":[\"sleep\"" },
                { "--timeout", "1h", "\"shutdownPolicy\":\"Delete\"" },
                { "--name", "box", "\"metadata\":{\"name\":\"box\"," },
                { "--cpu", "0.5", "\"limits\":{\"cpu\":\"0.5\"}" },
                { "--memory", "1.5Gi", "\"limits\":{\"memory\":\"1.5Gi\"}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer answers[] = { GOOD_ANSWERS };
                struct cluster c;
                cluster_set_up(&c);
                cluster_answers(&c, answers);
                c.frames = "3 0";
                assert_int_equal(cluster_run(&c, command_run,
                                             ARGV("run", cases[i].option, cases[i].value, "true")),
                                 0);
                assert_non_null(
                        memmem(c.log.data, c.log.length, cases[i].part, strlen(cases[i].part)));
                cluster_tear_down(&c);
        }
}

static void what_is_kept_is_named(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        c.frames = "3 0";
        assert_int_equal(
                cluster_run(&c, command_run, ARGV("run", "--keep", "--name", "box", "true")), 0);
        assert_string_equal(cluster_error_output(&c),
                            "cay run: sandbox box is kept; cay rm box deletes it\n");
        assert_int_equal(cluster_asked(&c, "DELETE"), 0);
        assert_null(memmem(c.log.data, c.log.length, "restartPolicy", 13));
        cluster_tear_down(&c);
}

static void input_reaches_the_command(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        struct cluster c;
        _cleanup_buffer_ struct buffer text = {};

        (void)state;
        /* A file, which no poll(2) waits for, longer than one piece; then a pipe. */
        for (int i = 0; i < 300000; i++)
                assert_int_equal(buffer_append_char(&text, (char)('a' + i % 26)), 0);
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        c.echoes = true;
        int file = memfd_create("input", MFD_CLOEXEC);
        assert_int_equal(fd_write_full(file, text.data, text.length), 0);
        lseek(file, 0, SEEK_SET);
        cluster_start(&c, command_run, ARGV("run", "-i", "cat"), file, -1);
        assert_int_equal(cluster_wait(&c), 0);
        fd_close(file);
        _cleanup_buffer_ struct buffer output = {};
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", c.output);
        assert_int_equal(file_read(AT_FDCWD, path, 1024 * 1024, &output), 0);
        assert_true(str_equal(buffer_str(&output), buffer_str(&text)));

        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        c.far_end = ends[1];
        cluster_start(&c, command_run, ARGV("run", "-i", "cat"), ends[0], -1);
        fd_close(ends[0]);
        assert_int_equal(fd_write_full(ends[1], "one", 3), 0);
        test_run_until(&c.t, c.input.length > 0);
        assert_int_equal(fd_write_full(ends[1], "two", 3), 0);
        fd_close(ends[1]);
        assert_int_equal(cluster_wait(&c), 0);
        assert_string_equal(cluster_output(&c), "onetwo");
        cluster_tear_down(&c);
}

static void a_command_that_ends_first_waits_for_no_input(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        struct cluster c;
        int ends[2];

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        c.frames = "3 5";
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        cluster_start(&c, command_run, ARGV("run", "-i", "false"), ends[0], -1);
        assert_int_equal(cluster_wait(&c), 5);
        fd_close(ends[0]);
        fd_close(ends[1]);
        cluster_tear_down(&c);
}

/* Interrupted while it waits, while the command runs, and while its creation is on its way. */
static void signals_take_back_what_was_made(void **state)
{
        static const struct {
                int signal, status;
        } cases[] = { { SIGINT, 130 }, { SIGTERM, 143 } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer waiting[] = { { "WATCH " SANDBOXES, 200, NEVER_READY },
                                                 GOOD_ANSWERS };
                struct fake_answer running[] = { GOOD_ANSWERS };
                struct fake_answer creating[] = { { "POST " SANDBOXES, 0 }, GOOD_ANSWERS };
                struct cluster c;

                cluster_set_up(&c);
                cluster_answers(&c, waiting);
                cluster_start(&c, command_run, ARGV("run", "true"), -1, -1);
                test_run_until(&c.t, cluster_asked(&c, "WATCH " SANDBOXES) > 0);
                kill(c.pid, cases[i].signal);
                assert_int_equal(cluster_wait(&c), cases[i].status);
                assert_int_equal(cluster_asked(&c, DELETED), 1);
                assert_int_equal(c.opens, 0);

                cluster_answers(&c, running);
                cluster_start(&c, command_run, ARGV("run", "true"), -1, -1);
                test_run_until(&c.t, c.opens > 0);
                kill(c.pid, cases[i].signal);
                if (cases[i].signal == SIGINT)
                        kill(c.pid, SIGTERM); /* impatience changes nothing */
                cluster_wait(&c);             /* either may come first */
                assert_true(c.status == cases[i].status || c.status == 143);
                assert_int_equal(cluster_asked(&c, DELETED), 1);
                test_run_until(&c.t, c.closes > 0);

                cluster_answers(&c, creating);
                cluster_start(&c, command_run, ARGV("run", "true"), -1, -1);
                test_run_until(&c.t, c.held);
                kill(c.pid, cases[i].signal);
                test_run_turns(&c.t, 3);
                assert_false(c.ended);
                _cleanup_buffer_ struct buffer made = fake_fill(&c, MADE);
                http_exchange_respond_text(c.held, 201, "application/json", buffer_str(&made));
                assert_int_equal(cluster_wait(&c), cases[i].status);
                assert_int_equal(cluster_asked(&c, DELETED), 1);
                cluster_tear_down(&c);
        }
}

/* The answer to the creation is lost: whether it is ours shows in its label. */
static void a_lost_answer_leaves_nothing_behind(void **state)
{
        static const struct {
                const char *found;
                unsigned deletions;
        } cases[] = {
                { MADE, 1 },
                { "{\"metadata\":{\"name\":\"@name@\",\"uid\":\"u1\",\"labels\":{\"cay.dev/run\":"
                  "\"another\"}}}",
                  0 },
                { "{\"metadata\":{\"name\":\"@name@\",\"uid\":\"u1\"}}", 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer answers[] = {
                        { "POST " SANDBOXES, .is_cut = true },
                        { "GET " SANDBOXES "/@name@", 200, cases[i].found },
                        { "DELETE " SANDBOXES "/@name@", 200, "{}" },
                };
                struct cluster c;
                cluster_set_up(&c);
                cluster_answers(&c, answers);
                assert_int_equal(cluster_run(&c, command_run, ARGV("run", "true")), 1);
                assert_non_null(strstr(cluster_error_output(&c), "the connection was lost"));
                assert_int_equal(cluster_asked(&c, "POST"), 1);
                assert_int_equal(cluster_asked(&c, DELETED), cases[i].deletions);
                cluster_tear_down(&c);
        }
}

static void time_runs_out(void **state)
{
        struct fake_answer waiting[] = { { "WATCH " SANDBOXES, 200, NEVER_READY }, GOOD_ANSWERS };
        struct fake_answer running[] = { GOOD_ANSWERS };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, waiting);
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "--timeout", "200ms", "true")),
                         124);
        assert_non_null(strstr(cluster_error_output(&c), "did not become ready in time"));
        assert_int_equal(cluster_asked(&c, DELETED), 1);

        cluster_answers(&c, running);
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "--timeout", "300ms", "true")),
                         124);
        assert_string_equal(cluster_error_output(&c),
                            "cay run: the command did not end within --timeout\n");
        assert_int_equal(c.opens, 1);
        assert_int_equal(cluster_asked(&c, DELETED), 1);
        cluster_tear_down(&c);
}

static void what_cannot_become_ready_fails_at_once(void **state)
{
        static const struct {
                const char *sandbox, *pod, *message;
        } cases[] = {
                { EVENT("ADDED", "u1",
                        CONDITIONS(READY("False",
                                         "PodFailed") ","
                                                      "{\"type\":\"Finished\",\"status\":\"True\","
                                                      "\"reason\":"
                                                      "\"PodFailed\",\"message\":\"it broke\"}"))
                          FAKE_SYNC,
                  FAKE_SYNC, "cannot become ready: PodFailed: it broke\n" },
                { NEVER_READY,
                  EVENT("ADDED", "p",
                        ",\"status\":{\"containerStatuses\":[{\"state\":{\"waiting\":{\"reason\":"
                        "\"ErrImageNeverPull\",\"message\":\"no image\"}}}]}") FAKE_SYNC,
                  "cannot start: ErrImageNeverPull: no image\n" },
                { NEVER_READY EVENT("DELETED", "u1", ""), FAKE_SYNC,
                  "was deleted before it was ready\n" },
                { EVENT("ADDED", "u2", CONDITIONS(READY("True", "DependenciesReady"))) FAKE_SYNC,
                  FAKE_SYNC, "was deleted before it was ready\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer answers[] = {
                        { "POST " SANDBOXES, 201, MADE },
                        { "WATCH " SANDBOXES, 200, cases[i].sandbox },
                        { "WATCH " PODS, 200, cases[i].pod },
                        { "DELETE " SANDBOXES "/@name@", 200, "{}" },
                };
                struct cluster c;
                cluster_set_up(&c);
                cluster_answers(&c, answers);
                assert_int_equal(cluster_run(&c, command_run, ARGV("run", "true")), 1);
                assert_non_null(strstr(cluster_error_output(&c), cases[i].message));
                assert_int_equal(cluster_asked(&c, DELETED), 1);
                assert_int_equal(c.opens, 0);
                cluster_tear_down(&c);
        }
}

static void refusals_are_told(void **state)
{
        struct fake_answer answers[] = {
                { "POST " SANDBOXES, 403,
                  "{\"kind\":\"Status\",\"code\":403,\"reason\":\"Forbidden\",\"message\":\"you "
                  "may "
                  "not\"}" },
        };
        struct fake_answer stays[] = { { "DELETE " SANDBOXES "/@name@", 403,
                                         "{\"kind\":\"Status\",\"code\":403,\"reason\":"
                                         "\"Forbidden\",\"message\":\"nor that\"}" },
                                       GOOD_ANSWERS };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "true")), 1);
        assert_string_equal(cluster_error_output(&c), "you may not\n");
        assert_int_equal(cluster_asked(&c, "DELETE"), 0);

        cluster_answers(&c, stays);
        c.frames = "3 3";
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "--name", "box", "true")), 3);
        assert_string_equal(cluster_error_output(&c),
                            "cay run: sandbox box is left behind (nor that): delete it with cay rm "
                            "box\n");
        cluster_tear_down(&c);
}

/* Its reader is gone, as with `cay run … | head -1`. */
static void output_that_nobody_reads_ends_it(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        struct cluster c;
        int ends[2];

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        c.frames = "1 out";
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        fd_close(ends[0]);
        cluster_start(&c, command_run, ARGV("run", "yes"), -1, ends[1]);
        fd_close(ends[1]);
        assert_int_equal(cluster_wait(&c), 128 + SIGPIPE);
        assert_int_equal(cluster_asked(&c, DELETED), 1);
        cluster_tear_down(&c);
}

/* Turns for as long as something that must not happen might take to happen. */
static void run_a_while(struct cluster *c)
{
        uint64_t until = clock_monotonic_ns() + 200 * NS_PER_MS;

        while (clock_monotonic_ns() < until)
                uv_run(&c->t.uv, UV_RUN_NOWAIT);
}

enum { LARGE = 64 * 1024, MUCH = 64 * 1024 * 1024 };

/* Its reader is slow: the command is held back, and a signal is taken all the same. */
static void a_slow_reader_holds_the_command_back(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        static char large[LARGE];
        struct cluster c;
        size_t sent = 0, before;
        int ends[2];

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        memset(large, 'y', sizeof(large));
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        cluster_start(&c, command_run, ARGV("run", "yes"), -1, ends[1]);
        fd_close(ends[1]);
        test_run_until(&c.t, c.opens > 0);
        do {
                before = sent;
                while (websocket_pending(c.socket) < LARGE && sent < MUCH) {
                        fake_say(&c, 1, (struct str){ large, sizeof(large) });
                        sent += sizeof(large);
                }
                run_a_while(&c);
        } while (sent > before && sent < MUCH);
        assert_true(sent < MUCH);
        kill(c.pid, SIGTERM);
        assert_int_equal(cluster_wait(&c), 143);
        assert_int_equal(cluster_asked(&c, DELETED), 1);
        fd_close(ends[0]);
        cluster_tear_down(&c);
}

static void a_slow_command_holds_its_input_back(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        static char large[LARGE];
        struct cluster c;
        size_t sent = 0, before;
        int ends[2];

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        cluster_start(&c, command_run, ARGV("run", "-i", "sleep"), ends[0], -1);
        fd_close(ends[0]);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        test_run_until(&c.t, c.opens > 0);
        websocket_pause(c.socket);
        do {
                before = sent;
                ssize_t length;
                while (sent < MUCH && (length = write(ends[1], large, sizeof(large))) > 0)
                        sent += (size_t)length;
                run_a_while(&c);
        } while (sent > before && sent < MUCH);
        assert_true(sent < MUCH);
        kill(c.pid, SIGTERM);
        assert_int_equal(cluster_wait(&c), 143);
        fd_close(ends[1]);
        cluster_tear_down(&c);
}

#define CLAIM_READY                                                                                \
        EVENT("ADDED", "u1", CONDITIONS(READY("False", "SandboxCreatePending")))                   \
        FAKE_SYNC EVENT(                                                                           \
                "MODIFIED", "u1",                                                                  \
                ",\"status\":{\"conditions\":[" READY(                                             \
                        "True", "DependenciesReady") "],\"sandbox\":{\"name\":\"warm-1\"}}")
#define CLAIM_ANSWERS                                                                              \
        { "WATCH " CLAIMS, 200, CLAIM_READY },                                                     \
                { "GET " SANDBOXES "/warm-1", 200,                                                 \
                  "{\"metadata\":{\"name\":\"warm-1\",\"annotations\":{"                           \
                  "\"agents.x-k8s.io/pod-name\":\"pod-1\"}}}" },                                   \
        {                                                                                          \
                "DELETE " CLAIMS "/@name@", 200, "{}"                                              \
        }

static void a_claim_gives_a_warm_sandbox(void **state)
{
        static const struct {
                char *option;
                const char *post;
        } cases[] = {
                { "--pool=p", "POST " CLAIMS " {\"apiVersion\":\"extensions.agents.x-k8s.io/"
                              "v1beta1\",\"kind\":\"SandboxClaim\",\"metadata\":{\"name\":"
                              "\"@name@\",\"labels\":{\"cay.dev/run\":\"@token@\"}},\"spec\":{"
                              "\"warmPoolRef\":{\"name\":\"p\"}}}" },
                { "--template=p",
                  "POST " OLD_CLAIMS " {\"apiVersion\":\"extensions.agents.x-k8s.io/v1alpha1\","
                  "\"kind\":\"SandboxClaim\",\"metadata\":{\"name\":\"@name@\",\"labels\":{"
                  "\"cay.dev/run\":\"@token@\"}},\"spec\":{\"sandboxTemplateRef\":{\"name\":"
                  "\"p\"}}}" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_answer answers[] = { { "POST " CLAIMS, 201, MADE },
                                                 { "POST " OLD_CLAIMS, 201, MADE },
                                                 CLAIM_ANSWERS };
                struct cluster c;
                cluster_set_up(&c);
                cluster_answers(&c, answers);
                c.frames = "1 hi\n3 0";
                assert_int_equal(cluster_run(&c, command_run,
                                             ARGV("run", cases[i].option, "-e", "A=b", "--", "ls")),
                                 0);
                assert_string_equal(cluster_output(&c), "hi");
                assert_int_equal(cluster_asked(&c, cases[i].post), 1);
                assert_int_equal(cluster_asked(&c, "GET " PODS "/pod-1/exec?stdout=true&stderr="
                                                   "true&command=env&command=A%3Db&command=ls"),
                                 1);
                assert_int_equal(cluster_asked(&c, "DELETE " CLAIMS "/@name@ "), 1);
                cluster_tear_down(&c);
        }
}

static void claims_fail_at_once_too(void **state)
{
        struct fake_answer absent[] = {
                { "POST " CLAIMS, 201, MADE },
                { "WATCH " CLAIMS, 200,
                  EVENT("ADDED", "u1", CONDITIONS(READY("False", "WarmPoolNotFound"))) FAKE_SYNC },
                { "DELETE " CLAIMS "/@name@", 200, "{}" },
        };
        struct fake_answer nothing[] = { { "GET /", 200, "{}" } };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        cluster_answers(&c, absent);
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "--pool", "p", "true")), 1);
        assert_non_null(strstr(cluster_error_output(&c), "WarmPoolNotFound: said"));
        assert_int_equal(cluster_asked(&c, "DELETE " CLAIMS "/@name@ "), 1);

        cluster_answers(&c, nothing);
        assert_int_equal(cluster_run(&c, command_run, ARGV("run", "--template", "p", "true")), 1);
        assert_non_null(strstr(cluster_error_output(&c), "serves no claims by template"));
        cluster_tear_down(&c);
}

static void a_terminal_is_passed_on_and_given_back(void **state)
{
        struct fake_answer answers[] = { GOOD_ANSWERS };
        const struct winsize size = { .ws_col = 91, .ws_row = 33 }, larger = { 40, 120, 0, 0 };
        struct termios before, meanwhile, after;
        struct cluster c;
        int master, slave;

        (void)state;
        assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
        assert_int_equal(tcgetattr(slave, &before), 0);
        cluster_set_up(&c);
        cluster_answers(&c, answers);
        cluster_start(&c, command_run, ARGV("run", "-it", "sh"), slave, -1);
        test_run_until(&c.t, c.input.length > 0);
        assert_true(str_equal(buffer_str(&c.input), STR("4:{\"Width\":91,\"Height\":33};")));
        assert_int_equal(
                cluster_asked(&c, "GET " PODS "/@name@/exec?stdin=true&stdout=true&tty=true&"), 1);
        assert_int_equal(tcgetattr(slave, &meanwhile), 0);
        assert_int_equal(meanwhile.c_lflag & (tcflag_t)(ICANON | ECHO | ISIG), 0);

        buffer_clear(&c.input);
        assert_int_equal(ioctl(master, TIOCSWINSZ, &larger), 0);
        kill(c.pid, SIGWINCH);
        test_run_until(&c.t, c.input.length > 0);
        assert_true(str_equal(buffer_str(&c.input), STR("4:{\"Width\":120,\"Height\":40};")));

        buffer_clear(&c.input);
        assert_int_equal(fd_write_full(master, "\3", 1), 0);
        test_run_until(&c.t, c.input.length > 0);
        assert_true(str_equal(buffer_str(&c.input), STR("0:\3;")));
        fake_exit(&c, "130");
        assert_int_equal(cluster_wait(&c), 130);
        assert_int_equal(tcgetattr(slave, &after), 0);
        assert_int_equal(after.c_lflag, before.c_lflag);
        fd_close(master);
        fd_close(slave);
        cluster_tear_down(&c);
}

#define CPU_WANTED    "--cpu takes an amount such as 2 or 500m, not "
#define MEMORY_WANTED "--memory takes an amount such as 512Mi or 2Gi, and 1Mi at least, not "

static void bad_command_lines_are_refused(void **state)
{
        const struct {
                char *const *argv;
                const char *message;
        } cases[] = {
                { ARGV("run"), "name a command: cay run -- COMMAND\n" },
                { ARGV("run", "--"), "name a command: cay run -- COMMAND\n" },
                { ARGV("run", "--pool", "a", "--image", "b", "x"),
                  "--pool, --template and --image exclude each other\n" },
                { ARGV("run", "-e", "1A=b", "x"), "--env takes NAME=VALUE, not '1A=b'\n" },
                { ARGV("run", "-e", "A", "x"), "--env takes NAME=VALUE, not 'A'\n" },
                { ARGV("run", "-t", "x"),
                  "--tty needs a terminal as standard input: leave it out\n" },
                { ARGV("run", "--cpu", "-1", "x"), CPU_WANTED "'-1'\n" },
                { ARGV("run", "--cpu", "0", "x"), CPU_WANTED "'0'\n" },
                { ARGV("run", "--cpu", "2x", "x"), CPU_WANTED "'2x'\n" },
                { ARGV("run", "--cpu", "", "x"), CPU_WANTED "''\n" },
                { ARGV("run", "--memory", "1Xi", "x"), MEMORY_WANTED "'1Xi'\n" },
                { ARGV("run", "--memory", "-1Gi", "x"), MEMORY_WANTED "'-1Gi'\n" },
                { ARGV("run", "--memory", "512m", "x"), MEMORY_WANTED "'512m'\n" },
                { ARGV("run", "--memory", "512", "x"), MEMORY_WANTED "'512'\n" },
                { ARGV("run", "--name", "Box", "x"),
                  "--name takes lower-case letters, digits and '-' between them, not 'Box'\n" },
                { ARGV("run", "stray", "--", "x"), "'stray' before -- has no meaning here\n" },
                { ARGV("run", "--nope", "x"), "there is no option --nope; see --help\n" },
        };
        struct cluster c;

        (void)state;
        cluster_set_up(&c);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(cluster_run(&c, command_run, (char **)cases[i].argv), 2);
                assert_string_equal(cluster_error_output(&c), cases[i].message);
                assert_int_equal(c.log.length, 0);
        }
        cluster_tear_down(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_command_runs_and_its_sandbox_goes),
                cmocka_unit_test(options_shape_what_is_made),
                cmocka_unit_test(what_is_kept_is_named),
                cmocka_unit_test(input_reaches_the_command),
                cmocka_unit_test(a_command_that_ends_first_waits_for_no_input),
                cmocka_unit_test(signals_take_back_what_was_made),
                cmocka_unit_test(a_lost_answer_leaves_nothing_behind),
                cmocka_unit_test(time_runs_out),
                cmocka_unit_test(what_cannot_become_ready_fails_at_once),
                cmocka_unit_test(refusals_are_told),
                cmocka_unit_test(output_that_nobody_reads_ends_it),
                cmocka_unit_test(a_slow_reader_holds_the_command_back),
                cmocka_unit_test(a_slow_command_holds_its_input_back),
                cmocka_unit_test(a_claim_gives_a_warm_sandbox),
                cmocka_unit_test(claims_fail_at_once_too),
                cmocka_unit_test(a_terminal_is_passed_on_and_given_back),
                cmocka_unit_test(bad_command_lines_are_refused),
        };

        return run_unit_tests("run", tests);
}
