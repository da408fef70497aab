// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/test_loop.h"
#include "node/dns_server.h"
#include "node/dns_test.h"

enum { PODS = 200 };

struct world {
        struct test_loop loop;
        struct dns_names *names;
        struct dns_server *server;
        struct sockaddr_in udp, tcp;
};

static int open_socket(int type, struct sockaddr_in *ret_address)
{
        int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        socklen_t size = sizeof(*ret_address);

        *ret_address = (struct sockaddr_in){ .sin_family = AF_INET,
                                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        assert_int_equal(bind(fd, (struct sockaddr *)ret_address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 16), 0);
        return fd;
}

static int set_up(void **state)
{
        struct world *world = calloc(1, sizeof(*world));

        assert_non_null(world);
        test_loop_set_up(&world->loop);
        assert_int_equal(dns_names_new(STR("cluster.local"), &world->names), 0);
        _cleanup_doc_ struct json_doc *service =
                test_doc("{\"metadata\":{\"name\":\"box\",\"namespace\":\"n\"},\"spec\":{"
                         "\"clusterIP\":\"None\",\"selector\":{\"a\":\"1\"}}}");
        _cleanup_doc_ struct json_doc *many =
                test_doc("{\"metadata\":{\"name\":\"many\",\"namespace\":\"n\"},\"spec\":{"
                         "\"clusterIP\":\"None\",\"selector\":{\"a\":\"2\"}}}");
        assert_int_equal(dns_names_put_service(world->names, service), 0);
        assert_int_equal(dns_names_put_service(world->names, many), 0);
        for (uint32_t i = 0; i <= PODS; i++) {
                char text[256];
                snprintf(text, sizeof(text),
                         "{\"metadata\":{\"name\":\"p\",\"uid\":\"p%u\",\"namespace\":\"n\","
                         "\"labels\":{"
                         "\"a\":\"%d\"}},\"spec\":{}}",
                         i, i > 0 ? 2 : 1);
                _cleanup_doc_ struct json_doc *pod = test_doc(text);
                assert_int_equal(dns_names_put_pod(world->names, pod, 0x0a580002 + i, true), 0);
        }
        const struct dns_server_options options = {
                .loop = world->loop.net,
                .names = world->names,
                .udp = open_socket(SOCK_DGRAM, &world->udp),
                .tcp = open_socket(SOCK_STREAM, &world->tcp),
        };
        assert_int_equal(dns_server_new(&options, &world->server), 0);
        *state = world;
        return 0;
}

static int tear_down(void **state)
{
        struct world *world = *state;

        dns_server_free(world->server);
        dns_names_free(world->names);
        test_loop_tear_down(&world->loop);
        free(world);
        return 0;
}

static int connected(const struct world *world, int type)
{
        const struct sockaddr_in *to = type == SOCK_DGRAM ? &world->udp : &world->tcp;
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
        return fd;
}

static bool is_readable(int fd)
{
        char byte;

        return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* Sends one packet and gives the answer. */
static struct str exchange(struct world *world, int fd, struct str message,
                           char answer[static 2048])
{
        assert_int_equal(send(fd, message.data, message.length, 0), (ssize_t)message.length);
        test_run_until(&world->loop, is_readable(fd));
        ssize_t got = recv(fd, answer, 2048, 0);
        assert_true(got >= 12);
        return (struct str){ answer, (size_t)got };
}

static void udp_is_answered(void **state)
{
        static const struct {
                const char *name;
                unsigned type, code, answers, edns;
        } cases[] = {
                { "box.n.svc.cluster.local", 1, DNS_OK, 1, 0 },
                { "BOX.n.SVC.cluster.local", 1, DNS_OK, 1, 0 },
                { "box.n.svc.cluster.local", 255, DNS_OK, 1, 0 },
                { "box.n.svc.cluster.local", 28, DNS_OK, 0, 0 },
                { "box.n.svc.cluster.local", 16, DNS_OK, 0, 0 },
                { "cluster.local", 6, DNS_OK, 0, 0 },
                { "bag.n.svc.cluster.local", 1, DNS_NO_SUCH_NAME, 0, 0 },
                { "bag.n.svc.cluster.local", 28, DNS_NO_SUCH_NAME, 0, 4096 },
                { "example.com", 1, DNS_REFUSED, 0, 0 },
                { "example.com.n.svc.cluster.local", 1, DNS_NO_SUCH_NAME, 0, 0 },
                { "", 2, DNS_REFUSED, 0, 512 },
                { "box.n.svc.cluster.local", 252, DNS_REFUSED, 0, 0 },
        };
        struct world *world = *state;
        int fd = connected(world, SOCK_DGRAM);
        char answer[2048];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer query = {};
                test_put_query(&query, cases[i].name, cases[i].type, cases[i].edns);
                struct str got = exchange(world, fd, buffer_str(&query), answer);
                bool is_ours = cases[i].code != DNS_REFUSED;
                if (test_code(got) != cases[i].code || test_answers(got) != cases[i].answers ||
                    test_get16(got, 8) != (is_ours && cases[i].answers == 0) ||
                    test_get16(got, 10) != (cases[i].edns > 0) ||
                    (test_get16(got, 2) >> 10 & 1) != is_ours)
                        fail_msg("case %zu: %s", i, cases[i].name);
        }
        close(fd);
}

static void many_addresses_need_tcp(void **state)
{
        struct world *world = *state;
        int fd = connected(world, SOCK_DGRAM), tcp = connected(world, SOCK_STREAM);
        _cleanup_buffer_ struct buffer plain = {}, edns = {}, framed = {};
        char answer[2048];

        test_put_query(&plain, "many.n.svc.cluster.local", 1, 0);
        test_put_query(&edns, "many.n.svc.cluster.local", 1, 65535);
        struct str got = exchange(world, fd, buffer_str(&plain), answer);
        assert_true(test_get16(got, 2) & 0x0200);
        assert_true(got.length <= 512);
        got = exchange(world, fd, buffer_str(&edns), answer);
        assert_true(test_get16(got, 2) & 0x0200);
        assert_true(got.length > 1100 && got.length <= DNS_UDP_MAX);

        /* Two queries at once, in crumbs. */
        for (int i = 0; i < 2; i++) {
                test_put16(&framed, (unsigned)plain.length);
                assert_int_equal(buffer_append_str(&framed, buffer_str(&plain)), 0);
        }
        for (size_t i = 0; i < framed.length; i++) {
                assert_int_equal(send(tcp, framed.data + i, 1, 0), 1);
                test_run_turns(&world->loop, 1);
        }
        static char whole[2 * (2 + 42 + PODS * 16)];
        size_t length = 0;
        while (length < sizeof(whole)) {
                test_run_until(&world->loop, is_readable(tcp));
                ssize_t n = recv(tcp, whole + length, sizeof(whole) - length, 0);
                assert_true(n > 0);
                length += (size_t)n;
        }
        struct str first = { whole + 2, sizeof(whole) / 2 - 2 };
        assert_int_equal(test_get16((struct str){ whole, 2 }, 0), first.length);
        assert_int_equal(test_get16(first, 2), 0x8500);
        assert_int_equal(test_answers(first), PODS);
        close(fd);
        close(tcp);
}

static void every_asker_begins_elsewhere(void **state)
{
        struct world *world = *state;
        int fd = connected(world, SOCK_DGRAM);
        _cleanup_buffer_ struct buffer query = {};
        char answers[2][2048];

        test_put_query(&query, "many.n.svc.cluster.local", 1, 0);
        for (int i = 0; i < 2; i++) {
                query.data[1] = (char)i;
                exchange(world, fd, buffer_str(&query), answers[i]);
        }
        assert_memory_not_equal(answers[0] + 42 + 12, answers[1] + 42 + 12, 4);
        close(fd);
}

/* What is no query gets no answer, and does not disturb the next. */
static void rubbish_is_dropped(void **state)
{
        static char big[5000] = "\x12\x34\1\0\0\1";
        struct world *world = *state;
        int fd = connected(world, SOCK_DGRAM);
        _cleanup_buffer_ struct buffer query = {};
        char answer[2048];

        assert_int_equal(send(fd, "", 0, 0), 0);
        assert_int_equal(send(fd, "short", 5, 0), 5);
        assert_int_equal(send(fd, "\x12\x34\x81\0\0\1\0\0\0\0\0\0", 12, 0), 12);
        test_put_query(&query, "box.n.svc.cluster.local", 1, 0);
        struct str got = exchange(world, fd, buffer_str(&query), answer);
        assert_int_equal(test_answers(got), 1);
        got = exchange(world, fd, (struct str){ big, sizeof(big) }, answer);
        assert_int_equal(test_code(got), DNS_FORMAT_ERROR);
        assert_int_equal(got.length, 12);
        close(fd);
}

static bool has_ended(int fd)
{
        char byte;
        ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);

        return got == 0 || (got < 0 && errno == ECONNRESET);
}

static void bad_connections_end(void **state)
{
        static const struct str bad[] = { { "\xff\xff", 2 }, { "\0\5short", 7 }, { "\0\0", 2 } };
        struct world *world = *state;
        int fds[9];

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                int fd = connected(world, SOCK_STREAM);
                assert_int_equal(send(fd, bad[i].data, bad[i].length, 0), (ssize_t)bad[i].length);
                test_run_until(&world->loop, has_ended(fd));
                close(fd);
        }
        /* One peer keeps eight; the oldest makes room. */
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                fds[i] = connected(world, SOCK_STREAM);
                test_run_turns(&world->loop, 3);
        }
        test_run_until(&world->loop, has_ended(fds[0]));
        assert_false(has_ended(fds[1]));
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                close(fds[i]);
        test_run_turns(&world->loop, 3);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_WORLD(udp_is_answered),
                WITH_WORLD(many_addresses_need_tcp),
                WITH_WORLD(every_asker_begins_elsewhere),
                WITH_WORLD(rubbish_is_dropped),
                WITH_WORLD(bad_connections_end),
        };

        return run_unit_tests("dns_server", tests);
}
