// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/test.h"
#include "initproto/client.h"
#include "initproto/logring.h"

enum { DEADLINE_MS = 20000 };

static const char *init_path;

/* One stream as the test sees it. */
struct watched {
        bool started, failed, exited;
        int error;
        uint32_t pid;
        struct initproto_exit exit;
        struct buffer output[INITPROTO_CHANNELS];
        bool ended[INITPROTO_CHANNELS];
        bool keeps_window; /* does not give room back */
};

/* init as a process of its own, with the node's end in here. */
struct fixture {
        pid_t pid;
        int ring, socket;
        struct sockaddr_un address;
        struct initproto_client *client;
        struct initproto_hello hello;
        bool has_hello;
        uint64_t log_end;
        struct watched main;
};

static struct watched *watched_of(struct fixture *fixture, struct initproto_stream *stream)
{
        return stream->owner ? stream->owner : &fixture->main;
}

static void on_hello(void *owner, const struct initproto_hello *hello)
{
        struct fixture *fixture = owner;

        fixture->hello = *hello;
        fixture->has_hello = true;
}

static void on_started(void *owner, struct initproto_stream *stream, uint32_t pid, uint64_t time_ns)
{
        watched_of(owner, stream)->started = true;
        watched_of(owner, stream)->pid = pid;
        assert_true(time_ns > 0);
}

static void on_failed(void *owner, struct initproto_stream *stream, int error, struct str reason)
{
        watched_of(owner, stream)->failed = true;
        watched_of(owner, stream)->error = error;
        assert_true(reason.length > 0);
}

static void on_output(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                      struct str data)
{
        struct fixture *fixture = owner;
        struct watched *watched = watched_of(fixture, stream);

        assert_int_equal(buffer_append_str(&watched->output[channel], data), 0);
        if (data.length == 0)
                watched->ended[channel] = true;
        if (!watched->keeps_window)
                assert_int_equal(
                        initproto_client_consumed(fixture->client, stream, channel, data.length),
                        0);
}

static void on_exited(void *owner, struct initproto_stream *stream,
                      const struct initproto_exit *exit)
{
        watched_of(owner, stream)->exited = true;
        watched_of(owner, stream)->exit = *exit;
}

static void on_log(void *owner, uint64_t log_end)
{
        ((struct fixture *)owner)->log_end = log_end;
}

static const struct initproto_events events = { .hello = on_hello,
                                                .started = on_started,
                                                .failed = on_failed,
                                                .output = on_output,
                                                .exited = on_exited,
                                                .log = on_log };

static void watched_deinit(struct watched *watched)
{
        for (size_t i = 0; i < INITPROTO_CHANNELS; i++)
                buffer_deinit(&watched->output[i]);
}

/* Sends and receives what goes now, waiting for something to come. False: init has closed. */
static bool pump_once(struct fixture *fixture)
{
        struct buffer *out = initproto_client_output(fixture->client);
        struct pollfd wait = { .fd = fixture->socket,
                               .events = out->length > 0 ? POLLIN | POLLOUT : POLLIN };
        char bytes[32768];

        assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
        if (wait.revents & POLLOUT) {
                ssize_t sent = send(wait.fd, out->data, out->length, MSG_NOSIGNAL);
                if (sent > 0)
                        buffer_consume(out, (size_t)sent);
        }
        ssize_t got = recv(wait.fd, bytes, sizeof(bytes), 0);
        if (got > 0)
                assert_int_equal(initproto_client_receive(fixture->client,
                                                          (struct str){ bytes, (size_t)got }),
                                 0);
        return got != 0;
}

/* Until *condition, or until init closes the connection. */
static void pump(struct fixture *fixture, const bool *condition)
{
        while (!*condition && pump_once(fixture))
                ;
}

static void connect_again(struct fixture *fixture)
{
        fd_close(fixture->socket);
        initproto_client_free(fixture->client);
        fixture->has_hello = false;
        fixture->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fixture->socket, (struct sockaddr *)&fixture->address,
                                 sizeof(fixture->address)),
                         0);
        fcntl(fixture->socket, F_SETFL, O_NONBLOCK);
        assert_int_equal(initproto_client_new(&events, fixture, &fixture->client), 0);
        pump(fixture, &fixture->has_hello);
        assert_true(fixture->has_hello);
}

static int setup(void **state)
{
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        char folder[] = "/tmp/cay-init-XXXXXX";

        assert_non_null(fixture);
        assert_non_null(mkdtemp(folder));
        fixture->address.sun_family = AF_UNIX;
        snprintf(fixture->address.sun_path, sizeof(fixture->address.sun_path), "%s/s", folder);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(
                bind(listener, (struct sockaddr *)&fixture->address, sizeof(fixture->address)), 0);
        assert_int_equal(listen(listener, 16), 0);
        fixture->ring = memfd_create("ring", MFD_CLOEXEC);
        assert_int_equal(logring_format(fixture->ring, LOGRING_MIN), 0);
        fixture->pid = fork();
        if (fixture->pid == 0) {
                int high_listener = fcntl(listener, F_DUPFD, 10);
                int high_ring = fcntl(fixture->ring, F_DUPFD, 10);
                dup2(high_listener, 3);
                dup2(high_ring, 4);
                execl(init_path, "init", NULL);
                _exit(127);
        }
        close(listener);
        fixture->socket = -1;
        connect_again(fixture);
        *state = fixture;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *fixture = *state;

        kill(fixture->pid, SIGKILL);
        waitpid(fixture->pid, NULL, 0);
        unlink(fixture->address.sun_path);
        *strrchr(fixture->address.sun_path, '/') = '\0';
        rmdir(fixture->address.sun_path);
        close(fixture->socket);
        close(fixture->ring);
        initproto_client_free(fixture->client);
        free(fixture);
        return 0;
}

/* A process from words, the last NULL. */
static struct initproto_process process_of(struct buffer *strings, uint32_t flags,
                                           const char *const *words)
{
        struct initproto_process process = { .flags = flags };

        buffer_clear(strings);
        for (; *words; words++, process.argv_count++)
                assert_int_equal(initproto_append_string(strings, str_from(*words)), 0);
        process.argv = buffer_str(strings);
        process.env = (struct str){ "PATH=/usr/bin:/bin\0COLOR=blue", 30 };
        process.env_count = 2;
        return process;
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void start_main(struct fixture *fixture, uint32_t flags, const char *const *words)
{
        _cleanup_buffer_ struct buffer strings = {};
        struct initproto_process process = process_of(&strings, flags, words);

        assert_int_equal(initproto_client_start(fixture->client, &process), 0);
        pump(fixture, &fixture->main.started);
        assert_true(fixture->main.started);
}

static struct initproto_stream *exec(struct fixture *fixture, struct watched *watched,
                                     uint32_t flags, const char *const *words)
{
        _cleanup_buffer_ struct buffer strings = {};
        struct initproto_process process = process_of(&strings, flags, words);
        struct initproto_stream *stream;

        if (flags & INITPROTO_TERMINAL) {
                process.rows = 24;
                process.columns = 80;
        }
        assert_int_equal(initproto_client_exec(fixture->client, &process, watched, &stream), 0);
        return stream;
}

static void assert_output(struct watched *watched, enum initproto_channel channel, const char *text)
{
        if (!str_equal(buffer_str(&watched->output[channel]), str_from(text)))
                fail_msg("got \"%.*s\", expected \"%s\"",
                         STR_FORMAT(buffer_str(&watched->output[channel])), text);
}

static void commands_give_output_and_code(void **state)
{
        static const struct {
                const char *script, *output, *error;
                uint32_t code, signal;
        } cases[] = {
                { "echo hi", "hi\n", "", 0, 0 },
                { "echo $COLOR; echo no >&2; exit 7", "blue\n", "no\n", 7, 0 },
                { "kill -9 $$", "", "", 137, 9 },
                { "pwd", "/tmp\n", "", 0, 0 },
                { "test -t 0 || echo no terminal", "no terminal\n", "", 0, 0 },
                { "cat", "", "", 0, 0 },
        };
        struct fixture *fixture = *state;

        assert_int_equal(fixture->hello.state, INITPROTO_IDLE);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(watched_deinit) struct watched watched = {};
                _cleanup_buffer_ struct buffer strings = {};
                struct initproto_process process =
                        process_of(&strings, 0, WORDS("sh", "-c", cases[i].script));
                struct initproto_stream *stream;
                process.working_directory = STR("/tmp");
                assert_int_equal(
                        initproto_client_exec(fixture->client, &process, &watched, &stream), 0);
                pump(fixture, &watched.exited);
                assert_true(watched.started && watched.exited);
                assert_output(&watched, INITPROTO_CHANNEL_OUTPUT, cases[i].output);
                assert_output(&watched, INITPROTO_CHANNEL_ERROR, cases[i].error);
                assert_true(watched.ended[INITPROTO_CHANNEL_OUTPUT]);
                assert_int_equal(watched.exit.code, cases[i].code);
                assert_int_equal(watched.exit.signal, cases[i].signal);
        }
}

static void what_cannot_run_is_said(void **state)
{
        static const struct {
                const char *program;
                int error;
        } cases[] = { { "/no/such/program", -ENOENT },
                      { "no-such-program", -ENOENT },
                      { "/etc/passwd", -EACCES } };
        struct fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(watched_deinit) struct watched watched = {};
                exec(fixture, &watched, 0, WORDS(cases[i].program));
                pump(fixture, &watched.failed);
                assert_true(watched.failed);
                assert_int_equal(watched.error, cases[i].error);
        }
}

static void input_flows_through_small_windows(void **state)
{
        enum { SIZE = 3 * 1024 * 1024 };
        struct fixture *fixture = *state;
        _cleanup_(watched_deinit) struct watched watched = {};
        struct initproto_stream *stream = exec(fixture, &watched, INITPROTO_STDIN, WORDS("cat"));
        static char much[SIZE];
        size_t sent = 0;

        for (size_t i = 0; i < SIZE; i++)
                much[i] = (char)(i * 7 + i / 4096);
        while (sent < SIZE) {
                ssize_t taken = initproto_client_input(fixture->client, stream,
                                                       (struct str){ much + sent, SIZE - sent });
                assert_true(taken >= 0);
                sent += (size_t)taken;
                if (sent < SIZE)
                        assert_true(pump_once(fixture));
        }
        assert_int_equal(initproto_client_input(fixture->client, stream, STR_EMPTY), 0);
        pump(fixture, &watched.exited);
        assert_int_equal(watched.output[INITPROTO_CHANNEL_OUTPUT].length, SIZE);
        assert_memory_equal(watched.output[INITPROTO_CHANNEL_OUTPUT].data, much, SIZE);
}

/* A reader that gives no room back stops the process, and init goes on serving others. */
static void a_stalled_reader_stalls_only_itself(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_(watched_deinit) struct watched stalled = { .keeps_window = true }, other = {};
        struct initproto_stream *yes = exec(fixture, &stalled, 0, WORDS("yes"));

        exec(fixture, &other, 0, WORDS("sh", "-c", "sleep 0.2; echo done"));
        pump(fixture, &other.exited);
        assert_output(&other, INITPROTO_CHANNEL_OUTPUT, "done\n");
        assert_int_equal(stalled.output[INITPROTO_CHANNEL_OUTPUT].length, INITPROTO_WINDOW);
        assert_int_equal(initproto_client_signal(fixture->client, yes, SIGTERM), 0);
        /* Room for what is left of it, so that its end can be told. */
        assert_int_equal(initproto_client_consumed(fixture->client, yes, INITPROTO_CHANNEL_OUTPUT,
                                                   INITPROTO_WINDOW),
                         0);
        pump(fixture, &stalled.exited);
        assert_int_equal(stalled.exit.signal, SIGTERM);
}

static void terminals_work(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_(watched_deinit) struct watched watched = {};
        struct initproto_stream *stream =
                exec(fixture, &watched, INITPROTO_TERMINAL | INITPROTO_STDIN,
                     WORDS("sh", "-c", "stty size; read a; stty size; test -t 2 && echo tty $a"));

        while (watched.output[INITPROTO_CHANNEL_OUTPUT].length < 7)
                assert_true(pump_once(fixture));
        assert_int_equal(initproto_client_resize(fixture->client, stream, 50, 132), 0);
        assert_int_equal(initproto_client_input(fixture->client, stream, STR("here\n")), 5);
        pump(fixture, &watched.exited);
        assert_output(&watched, INITPROTO_CHANNEL_OUTPUT,
                      "24 80\r\nhere\r\n50 132\r\ntty here\r\n");
        assert_int_equal(watched.exit.code, 0);
}

static void read_ring(struct fixture *fixture, enum logring_stream stream, struct buffer *text)
{
        _cleanup_(logring_reader_deinit) struct logring_reader reader;
        struct logring_record record;

        logring_reader_init(&reader, fixture->ring, 0);
        while (logring_read(&reader, &record) == 1) {
                if (record.stream == stream)
                        assert_int_equal(buffer_append_str(text, record.data), 0);
        }
}

static void main_process_prints_into_the_ring(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_buffer_ struct buffer text = {}, error = {};
        struct logring_status status;
        int exit_status;

        assert_int_equal(initproto_client_watch_log(fixture->client, 0), 0);
        start_main(fixture, INITPROTO_STDIN,
                   WORDS("sh", "-c", "echo one; echo two >&2; read a; echo $a; exit 5"));
        assert_int_equal(fixture->main.pid > 0, 1);
        while (fixture->log_end == 0)
                assert_true(pump_once(fixture));
        /* The node goes and comes back: nothing is lost, the process goes on. */
        connect_again(fixture);
        assert_int_equal(fixture->hello.state, INITPROTO_RUNNING);
        assert_int_equal(fixture->hello.pid, fixture->main.pid);
        assert_int_equal(initproto_client_input(fixture->client,
                                                initproto_client_main(fixture->client),
                                                STR("three\n")),
                         6);
        pump(fixture, &fixture->main.exited);
        assert_int_equal(waitpid(fixture->pid, &exit_status, 0), fixture->pid);
        assert_true(WIFEXITED(exit_status));
        assert_int_equal(WEXITSTATUS(exit_status), 5);

        read_ring(fixture, LOGRING_STDOUT, &text);
        read_ring(fixture, LOGRING_STDERR, &error);
        assert_true(str_equal(buffer_str(&text), STR("one\nthree\n")));
        assert_true(str_equal(buffer_str(&error), STR("two\n")));
        assert_int_equal(logring_read_status(fixture->ring, &status), 0);
        assert_true(status.has_exited && status.started_ns > 0);
        assert_int_equal(status.exit.code, 5);
}

static void signals_reach_the_main_process(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_buffer_ struct buffer text = {};
        struct logring_status status;

        assert_int_equal(initproto_client_watch_log(fixture->client, 0), 0);
        start_main(fixture, 0,
                   WORDS("sh", "-c",
                         "trap 'echo stopping; exit 3' TERM; echo up; "
                         "while :; do sleep 0.02; done"));
        while (fixture->log_end == 0)
                assert_true(pump_once(fixture));
        assert_int_equal(initproto_client_signal(fixture->client,
                                                 initproto_client_main(fixture->client), SIGTERM),
                         0);
        pump(fixture, &fixture->main.exited);
        assert_int_equal(fixture->main.exit.code, 3);
        waitpid(fixture->pid, NULL, 0);
        read_ring(fixture, LOGRING_STDOUT, &text);
        assert_true(str_equal(buffer_str(&text), STR("up\nstopping\n")));
        assert_int_equal(logring_read_status(fixture->ring, &status), 0);
        assert_int_equal(status.exit.code, 3);
}

static void there_is_one_main_process(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_buffer_ struct buffer strings = {}, wire = {};
        struct initproto_frame frame = { .type = INITPROTO_START,
                                         .stream = INITPROTO_STREAM_MAIN,
                                         .process = process_of(&strings, 0, WORDS("true")) };

        start_main(fixture, 0, WORDS("sleep", "60"));
        assert_int_equal(initproto_encode(&frame, &wire), 0);
        assert_int_equal(send(fixture->socket, wire.data, wire.length, 0), wire.length);
        pump(fixture, &fixture->main.failed);
        assert_int_equal(fixture->main.error, -EALREADY);
}

static void connects_inside(void **state)
{
        struct fixture *fixture = *state;
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        _cleanup_(watched_deinit) struct watched open = {}, refused = {};
        struct initproto_stream *stream;
        char bytes[16];

        _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        assert_int_equal(initproto_client_connect(fixture->client, STR_EMPTY,
                                                  ntohs(address.sin_port), &open, &stream),
                         0);
        pump(fixture, &open.started);
        assert_true(open.started);
        _cleanup_close_ int peer = accept(listener, NULL, NULL);
        assert_int_equal(initproto_client_input(fixture->client, stream, STR("ping")), 4);
        assert_int_equal(initproto_client_input(fixture->client, stream, STR_EMPTY), 0);
        assert_int_equal(send(peer, "pong", 4, 0), 4);
        assert_int_equal(shutdown(peer, SHUT_WR), 0);
        pump(fixture, &open.ended[INITPROTO_CHANNEL_OUTPUT]);
        assert_output(&open, INITPROTO_CHANNEL_OUTPUT, "pong");
        assert_int_equal(recv(peer, bytes, sizeof(bytes), MSG_WAITALL), 4);
        assert_memory_equal(bytes, "ping", 4);
        assert_int_equal(initproto_client_close(fixture->client, stream), 0);

        listener = fd_close(listener);
        assert_int_equal(initproto_client_connect(fixture->client, STR("127.0.0.1"),
                                                  ntohs(address.sin_port), &refused, &stream),
                         0);
        pump(fixture, &refused.failed);
        assert_int_equal(refused.error, -ECONNREFUSED);
}

static void a_node_that_goes_takes_its_commands_along(void **state)
{
        struct fixture *fixture = *state;
        _cleanup_(watched_deinit) struct watched watched = {};

        exec(fixture, &watched, 0, WORDS("sleep", "60"));
        pump(fixture, &watched.started);
        pid_t pid = (pid_t)watched.pid;
        assert_int_equal(kill(pid, 0), 0);
        connect_again(fixture);
        for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
                _cleanup_(watched_deinit) struct watched turn = {};
                exec(fixture, &turn, 0, WORDS("true"));
                pump(fixture, &turn.exited);
        }
        assert_int_equal(kill(pid, 0), -1);
}

static void a_stranger_who_talks_nonsense_is_dropped(void **state)
{
        struct fixture *fixture = *state;
        char bytes[256];
        ssize_t got;

        assert_int_equal(send(fixture->socket, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
        fcntl(fixture->socket, F_SETFL, 0);
        while ((got = recv(fixture->socket, bytes, sizeof(bytes), 0)) > 0)
                ;
        assert_int_equal(got < 0 ? errno : 0, got < 0 ? ECONNRESET : 0);
        connect_again(fixture);
        assert_int_equal(fixture->hello.state, INITPROTO_IDLE);
}

int main(int argc, char **argv)
{
#define WITH_INIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                WITH_INIT(commands_give_output_and_code),
                WITH_INIT(what_cannot_run_is_said),
                WITH_INIT(input_flows_through_small_windows),
                WITH_INIT(a_stalled_reader_stalls_only_itself),
                WITH_INIT(terminals_work),
                WITH_INIT(main_process_prints_into_the_ring),
                WITH_INIT(signals_reach_the_main_process),
                WITH_INIT(there_is_one_main_process),
                WITH_INIT(connects_inside),
                WITH_INIT(a_node_that_goes_takes_its_commands_along),
                WITH_INIT(a_stranger_who_talks_nonsense_is_dropped),
        };
        if (argc != 2)
                return 2;
        init_path = argv[1];
        return run_unit_tests("init", tests);
}
