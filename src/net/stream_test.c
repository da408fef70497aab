// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/fd.h"
#include "net/test_end.h"

struct fixture {
        struct test_loop t;
        struct test_peers peers;
        struct test_end client, *server; /* of the first connection */
};

static void close_in_data(struct test_end *end, struct str data _unused_)
{
        test_end_close(end);
}

static void set_up(struct fixture *f, const char *address, unsigned max)
{
        struct listener_options options = { test_peers_accept, &f->peers, max };
        struct net_address parsed;
        struct error error;

        *f = (struct fixture){ .server = &f->peers.ends[0] };
        test_loop_set_up(&f->t);
        if (!address)
                return;
        assert_int_equal(net_address_parse(str_from(address), &parsed), 0);
        assert_int_equal(listener_open(f->t.net, &parsed, &options, &error, &f->peers.listener), 0);
}

static void tear_down(struct fixture *f)
{
        test_peers_close(&f->peers);
        test_end_deinit(&f->client);
        test_loop_tear_down(&f->t);
}

static void connect_client(struct fixture *f)
{
        test_end_connect(&f->client, &f->t, f->peers.listener);
        test_run_until(&f->t, f->client.opened && f->peers.count);
}

static void bytes_go_both_ways_and_both_ends_end(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        assert_true(net_address_port(listener_address(f.peers.listener)) > 0);
        f.server->on_got = test_end_echo;
        connect_client(&f);
        stream_write(f.client.stream, (struct stream_piece[]){ { STR("ab") }, { STR("cd") } }, 2);
        test_run_until(&f.t, f.client.got.length == 4);
        assert_true(str_equal(buffer_str(&f.client.got), STR("abcd")));
        assert_true(net_address_is_loopback(&stream_peer(f.server->stream)->address));
        assert_false(stream_is_secure(f.client.stream));
        assert_true(stream_is_fresh(f.client.stream));

        stream_shutdown(f.client.stream);
        test_run_until(&f.t, f.server->ended);
        assert_int_equal(f.server->closed, 0);
        stream_write_str(f.server->stream, STR("last"));
        stream_shutdown(f.server->stream);
        test_run_until(&f.t, f.client.closed && f.server->closed);
        assert_true(str_equal(buffer_str(&f.client.got), STR("abcdlast")));
        assert_int_equal(f.client.ended, 0);
        assert_int_equal(f.client.error, 0);
        assert_int_equal(f.server->error, 0);
        tear_down(&f);
}

static void a_refused_connection_is_told(void **state)
{
        struct fixture f;
        struct net_address address;
        struct stream *stream;

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        address = *listener_address(f.peers.listener);
        listener_close(f.peers.listener);
        f.peers.listener = NULL;
        assert_int_equal(stream_connect(f.t.net, &address, &stream), 0);
        test_end_start(&f.client, stream);
        test_run_until(&f.t, f.client.closed);
        assert_int_equal(f.client.error, -ECONNREFUSED);
        assert_int_equal(f.client.opened, 0);
        tear_down(&f);
}

static int released;
static void release(void *user)
{
        released += *(int *)user;
}

static void a_slow_reader_holds_the_writer_back(void **state)
{
        enum { SIZE = 8 * 1024 * 1024 };
        struct fixture f;
        char *data = malloc(SIZE);
        int one = 1;

        (void)state;
        assert_non_null(data);
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (char)(i * 7 + i / 251);
        set_up(&f, "127.0.0.1:0", 0);
        connect_client(&f);
        stream_pause(f.server->stream);
        released = 0;
        stream_write(f.client.stream, (struct stream_piece[]){ { { data, SIZE }, release, &one } },
                     1);
        assert_true(stream_pending(f.client.stream) > 0);
        assert_true(stream_is_congested(f.client.stream));
        assert_int_equal(released, 0);
        /* Small copies after it are kept in order. */
        stream_write_str(f.client.stream, STR("tail"));
        stream_write_str(f.client.stream, STR("tail"));
        stream_shutdown(f.client.stream);
        test_run_turns(&f.t, 20);
        assert_int_equal(f.server->got.length, 0);
        stream_resume(f.server->stream);
        test_run_until(&f.t, f.server->ended);
        assert_int_equal(f.server->got.length, SIZE + 8);
        assert_memory_equal(f.server->got.data, data, SIZE);
        assert_int_equal(f.client.drained, 1);
        assert_int_equal(released, 1);
        tear_down(&f);
        free(data);
}

static void closing_releases_what_was_queued(void **state)
{
        enum { SIZE = 32 * 1024 * 1024 };
        struct fixture f;
        char *data = calloc(1, SIZE);
        int one = 1;

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        connect_client(&f);
        stream_pause(f.server->stream);
        released = 0;
        stream_write(f.client.stream, (struct stream_piece[]){ { { data, SIZE }, release, &one } },
                     1);
        assert_int_equal(released, 0);
        test_end_close(&f.client);
        assert_int_equal(released, 1);
        assert_int_equal(f.client.closed, 0);
        stream_resume(f.server->stream);
        test_run_until(&f.t, f.server->ended || f.server->closed);
        tear_down(&f);
        free(data);
}

static void a_stream_may_be_closed_in_its_callback(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        f.server->on_got = close_in_data;
        connect_client(&f);
        stream_write_str(f.client.stream, STR("x"));
        test_run_until(&f.t, f.client.ended || f.client.closed);
        assert_int_equal(f.server->closed, 0);
        tear_down(&f);
}

static void an_early_answer_is_read_after_writing_failed(void **state)
{
        struct fixture f;
        char data[65536] = {};

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        connect_client(&f);
        stream_pause(f.server->stream);
        stream_pause(f.client.stream);
        stream_write_str(f.client.stream, STR("request"));
        /* Closing with unread bytes sends a reset after the answer. */
        stream_write_str(f.server->stream, STR("early"));
        test_end_close(f.server);
        stream_resume(f.client.stream);
        for (int i = 0; i < 8; i++)
                stream_write_str(f.client.stream, (struct str){ data, sizeof(data) });
        test_run_until(&f.t, f.client.closed);
        assert_true(str_equal(buffer_str(&f.client.got), STR("early")));
        assert_true(f.client.error < 0);
        tear_down(&f);
}

static void unix_sockets_know_their_peers(void **state)
{
        struct fixture f;
        char folder[] = "/tmp/cay-stream-XXXXXX", address[80], path[64];
        struct stat status;

        (void)state;
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/s", folder);
        snprintf(address, sizeof(address), "unix:%s", path);
        set_up(&f, address, 0);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        connect_client(&f);
        const struct stream_peer *peer = stream_peer(f.server->stream);
        assert_true(peer->has_credentials);
        assert_int_equal(peer->pid, getpid());
        assert_int_equal(peer->uid, getuid());

        /* A second server is refused, a dead one's file replaced. */
        struct listener_options options = { test_peers_accept, &f.peers };
        struct listener *second = NULL;
        struct net_address parsed;
        struct error error = {};
        assert_int_equal(net_address_parse(str_from(address), &parsed), 0);
        assert_int_equal(listener_open(f.t.net, &parsed, &options, &error, &second), -EADDRINUSE);
        assert_non_null(strstr(error.message, path));
        tear_down(&f);
        assert_int_equal(stat(path, &status), -1);

        int stale = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(stale, &parsed.generic, parsed.length), 0);
        fd_close(stale);
        set_up(&f, address, 0);
        tear_down(&f);
        assert_int_equal(rmdir(folder), 0);
}

static void connections_are_limited(void **state)
{
        struct fixture f;
        struct test_end others[2] = {};

        (void)state;
        set_up(&f, "127.0.0.1:0", 1);
        connect_client(&f);
        for (int i = 0; i < 2; i++)
                test_end_connect(&others[i], &f.t, f.peers.listener);
        test_run_until(&f.t, others[0].opened && others[1].opened);
        assert_int_equal(f.peers.count, 1);
        assert_int_equal(listener_connections(f.peers.listener), 1);
        test_end_close(f.server);
        test_run_until(&f.t, f.peers.count == 2);
        test_end_close(&f.peers.ends[1]);
        test_run_until(&f.t, f.peers.count == 3);
        for (int i = 0; i < 2; i++)
                test_end_deinit(&others[i]);
        tear_down(&f);
}

static void accepting_survives_without_descriptors(void **state)
{
        struct fixture f;
        struct rlimit before, none;

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        test_end_connect(&f.client, &f.t, f.peers.listener);
        none = before;
        none.rlim_cur = 3;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        test_run_until(&f.t, f.client.opened);
        test_run_turns(&f.t, 3);
        assert_int_equal(f.peers.count, 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        test_run_until(&f.t, f.peers.count == 1);
        tear_down(&f);
}

static void pipes_are_streams_too(void **state)
{
        struct fixture f;
        struct stream *in, *out;
        int ends[2];

        (void)state;
        set_up(&f, NULL, 0);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(stream_adopt(f.t.net, ends[0], &in), 0);
        assert_int_equal(stream_adopt(f.t.net, ends[1], &out), 0);
        test_end_start(f.server, in);
        test_end_start(&f.client, out);
        stream_write_str(f.client.stream, STR("through"));
        stream_shutdown(f.client.stream);
        test_run_until(&f.t, f.client.closed && f.server->closed);
        assert_true(str_equal(buffer_str(&f.server->got), STR("through")));
        assert_int_equal(f.server->error, 0);
        tear_down(&f);
}

static void a_detached_stream_waits_for_its_owner(void **state)
{
        struct fixture f;
        struct test_end owner = {};

        (void)state;
        set_up(&f, "127.0.0.1:0", 0);
        connect_client(&f);
        stream_detach(f.server->stream);
        stream_write_str(f.client.stream, STR("kept"));
        stream_shutdown(f.client.stream);
        test_run_turns(&f.t, 5);
        assert_int_equal(f.server->got.length, 0);
        test_end_start(&owner, f.server->stream);
        f.server->stream = NULL;
        test_run_until(&f.t, owner.ended);
        assert_true(str_equal(buffer_str(&owner.got), STR("kept")));
        test_end_deinit(&owner);
        tear_down(&f);
}

/* ---- loop ---- */

struct timed {
        struct net_timer timer;
        struct fixture *f;
        int *order, *count, number;
};

static void note(struct net_timer *timer)
{
        struct timed *t = container_of(timer, struct timed, timer);

        t->order[(*t->count)++] = t->number;
}

static void timers_fire_in_order_and_can_be_stopped(void **state)
{
        enum { COUNT = 40 };
        struct fixture f;
        struct timed timed[COUNT] = {};
        int order[COUNT], count = 0;

        (void)state;
        set_up(&f, NULL, 0);
        for (int i = 0; i < COUNT; i++) {
                timed[i] = (struct timed){
                        .f = &f, .order = order, .count = &count, .number = (i * 17) % COUNT
                };
                net_timer_start(f.t.net, &timed[i].timer, 1 + (uint64_t)timed[i].number, note);
        }
        for (int i = 0; i < COUNT; i++)
                if (timed[i].number % 3 == 0)
                        net_timer_stop(&timed[i].timer);
        uv_run(&f.t.uv, UV_RUN_DEFAULT);
        int expected = 0;
        for (int i = 0; i < count; i++, expected++) {
                while (expected % 3 == 0)
                        expected++;
                assert_int_equal(order[i], expected);
        }
        assert_int_equal(count, COUNT - (COUNT + 2) / 3);
        tear_down(&f);
}

struct posted {
        struct net_task task;
        struct fixture *f;
        int runs;
};

static void run_posted(struct net_task *task)
{
        struct posted *posted = container_of(task, struct posted, task);

        if (++posted->runs == 1)
                net_loop_defer(posted->f->t.net, task);
}

static void post_from_thread(void *argument)
{
        struct posted *posted = argument;

        net_loop_post(posted->f->t.net, &posted->task);
}

static void tasks_come_from_other_threads_too(void **state)
{
        struct fixture f;
        struct posted posted = { .task.run = run_posted, .f = &f };
        struct posted cancelled = { .task.run = run_posted, .f = &f };
        uv_thread_t thread;

        (void)state;
        set_up(&f, NULL, 0);
        net_loop_defer(f.t.net, &cancelled.task);
        net_task_cancel(&cancelled.task);
        assert_int_equal(uv_thread_create(&thread, post_from_thread, &posted), 0);
        test_run_until(&f.t, posted.runs == 2);
        assert_int_equal(uv_thread_join(&thread), 0);
        assert_int_equal(cancelled.runs, 0);
        tear_down(&f);
}

static void addresses(void **state)
{
        static const struct {
                const char *text, *again;
        } cases[] = {
                { "127.0.0.1:80", "127.0.0.1:80" },
                { "[::1]:8080", "[::1]:8080" },
                { ":9090", "[::]:9090" },
                { "unix:/run/x", "unix:/run/x" },
                { "unix:@abstract", "unix:@abstract" },
                { "[::ffff:1.2.3.4]:5", "1.2.3.4:5" },
                { "localhost:80", NULL },
                { "127.0.0.1", NULL },
                { "127.0.0.1:", NULL },
                { "127.0.0.1:65536", NULL },
                { "::1:80", NULL },
                { "[1.2.3.4]:80", NULL },
                { "[::1:80", NULL },
                { "unix:", NULL },
                { "", NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct net_address address;
                char text[NET_ADDRESS_SIZE];
                int r = net_address_parse(str_from(cases[i].text), &address);
                if ((r == 0) != (cases[i].again != NULL))
                        fail_msg("%s: %d", cases[i].text, r);
                if (r < 0)
                        continue;
                net_address_format(&address, text);
                assert_string_equal(text, cases[i].again);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bytes_go_both_ways_and_both_ends_end),
                cmocka_unit_test(a_refused_connection_is_told),
                cmocka_unit_test(a_slow_reader_holds_the_writer_back),
                cmocka_unit_test(closing_releases_what_was_queued),
                cmocka_unit_test(a_stream_may_be_closed_in_its_callback),
                cmocka_unit_test(an_early_answer_is_read_after_writing_failed),
                cmocka_unit_test(unix_sockets_know_their_peers),
                cmocka_unit_test(connections_are_limited),
                cmocka_unit_test(accepting_survives_without_descriptors),
                cmocka_unit_test(pipes_are_streams_too),
                cmocka_unit_test(a_detached_stream_waits_for_its_owner),
                cmocka_unit_test(timers_fire_in_order_and_can_be_stopped),
                cmocka_unit_test(tasks_come_from_other_threads_too),
                cmocka_unit_test(addresses),
        };

        return run_unit_tests("stream", tests);
}
