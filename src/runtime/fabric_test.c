// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "runtime/policy.h"
#include "runtime/runtime_test.h"
#include "runtime/tcp_metrics.h"

/* Who reaches whom. */

/* Of the first Pod, and of one after so many that the launcher has taken another proc. */
static void networks_have_their_settings(void **state)
{
        enum { MANY = 40 };
        struct testbed *bed = *state;
        struct container_key key = launched(bed);

        for (uint32_t i = 2; i <= MANY; i++) {
                struct container_spec spec;
                char id[16];
                snprintf(id, sizeof(id), "s%u", i);
                assert_int_equal(testbed_create(bed, id, testbed_address(bed, i)), 0);
                if (i < MANY)
                        continue;
                spec = testbed_spec(id, 0);
                assert_int_equal(testbed_launch(bed, &spec), 0);
        }
        for (int i = 0; i < 2; i++) {
                assert_run(bed, &key, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", 0,
                           "0\n");
                assert_run(bed, &key, "cat /proc/sys/net/ipv4/ping_group_range", 0, "0\t65535\n");
                assert_run(bed, &key,
                           "for i in all default lo eth0; do "
                           "cat /proc/sys/net/ipv6/conf/$i/disable_ipv6 2>/dev/null || echo 1; "
                           "done | sort -u",
                           0, "1\n");
                assert_run(bed, &key, "cat /proc/net/if_inet6 2>/dev/null | wc -l", 0, "0\n");
                key = testbed_key("s40", 0);
        }
}

static void the_host_reaches_pods_and_pods_reach_nobody(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("two", 0);
        struct container_key one = launched(bed), two = testbed_key("two", 0);
        struct session session;
        char text[8] = "", script[256];
        struct in_addr address;

        assert_int_equal(testbed_create(bed, "two", testbed_address(bed, 2)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        serve_hi(&session, bed, &one);
        int fd = connect_to(testbed_address(bed, 1), 80);
        assert_true(fd >= 0);
        assert_int_equal(recv(fd, text, 2, MSG_WAITALL), 2);
        assert_string_equal(text, "hi");
        close(fd);

        static const char try[] =
                "python3 -c \"import socket\ntry:\n"
                "    socket.create_connection(('%s', %d), 0.5); print('through')\n"
                "except OSError: print('closed')\"";
        address.s_addr = htonl(testbed_address(bed, 1));
        snprintf(script, sizeof(script), try, inet_ntoa(address), 80);
        assert_run(bed, &two, script, 0, "closed\n");
        assert_run(bed, &one, script, 0, "through\n");

        /* The host's own services and what is beyond are out of reach too. */
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in any = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(bed->config.host_address) };
        socklen_t size = sizeof(any);
        assert_int_equal(bind(listener, (struct sockaddr *)&any, size), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &size), 0);
        snprintf(script, sizeof(script), try, inet_ntoa(any.sin_addr), ntohs(any.sin_port));
        assert_run(bed, &two, script, 0, "closed\n");
        close(listener);
        snprintf(script, sizeof(script), try, "192.0.2.1", 80);
        assert_run(bed, &two, script, 0, "closed\n");

        /* Nothing to be reached under the address any more. */
        session_close(&session);
        assert_int_equal(testbed_destroy(bed, "one"), 0);
        assert_true(connect_to(testbed_address(bed, 1), 80) < 0);
        assert_int_equal(testbed_create(bed, "three", bed->config.host_address), -EINVAL);
        assert_int_equal(testbed_create(bed, "three", 0x7f000001), -EINVAL);
}

static void talk_to(uint32_t address)
{
        char text[2];
        int fd = connect_to(address, 80);

        assert_true(fd >= 0);
        assert_int_equal(recv(fd, text, sizeof(text), MSG_WAITALL), sizeof(text));
        assert_int_equal(recv(fd, text, sizeof(text), 0), 0);
        close(fd);
}

static void what_tcp_remembers_of_a_pod_ends_with_it(void **state)
{
        struct testbed *bed = *state;
        struct container_key one = launched(bed);
        uint32_t host = bed->config.host_address, pod = testbed_address(bed, 1);
        struct tcp_metrics metrics;
        struct session session;

        assert_int_equal(tcp_metrics_open(&metrics), 0);
        serve_hi(&session, bed, &one);
        talk_to(pod);
        while (tcp_metrics_forget(&metrics, host, pod) == 0)
                poll(NULL, 0, 1);
        assert_int_equal(tcp_metrics_forget(&metrics, host, pod), 0);

        talk_to(pod);
        session_close(&session);
        assert_int_equal(testbed_destroy(bed, "one"), 0);
        assert_int_equal(tcp_metrics_forget(&metrics, host, pod), 0);
        tcp_metrics_close(&metrics);
}

/* As the node does it: its user, no capability of the host, the socket that the launcher gave. */
static int change_as_node(struct testbed *bed, int netfilter, const struct policy_rule *rule,
                          bool removes)
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                if (setresgid(bed->config.node_group, bed->config.node_group,
                              bed->config.node_group) < 0 ||
                    setresuid(bed->config.node_user, bed->config.node_user, bed->config.node_user) <
                            0)
                        _exit(255);
                int r = removes ? policy_change(netfilter, rule, 1, NULL, 0)
                                : policy_change(netfilter, NULL, 0, rule, 1);
                _exit(-r);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return -WEXITSTATUS(status);
}

static void rules_open_what_they_name(void **state)
{
        struct testbed *bed = *state;
        struct container_spec spec = testbed_spec("two", 0);
        struct container_key one = launched(bed), two = testbed_key("two", 0);
        struct policy_rule rule = { .source_first = testbed_address(bed, 2),
                                    .source_last = testbed_address(bed, 2),
                                    .destination_first = testbed_address(bed, 0),
                                    .destination_last = testbed_address(bed, 5),
                                    .port_first = 80,
                                    .port_last = 90,
                                    .protocol = IPPROTO_TCP };
        static struct policy_rule many[8000];
        struct session session;
        char script[256];
        struct in_addr address = { htonl(testbed_address(bed, 1)) };
        int netfilter;

        assert_int_equal(testbed_create(bed, "two", testbed_address(bed, 2)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        serve_hi(&session, bed, &one);
        snprintf(script, sizeof(script),
                 "python3 -c \"import socket\n"
                 "try: print(socket.create_connection(('%s', 80), 0.5).recv(2))\n"
                 "except OSError: print('closed')\"",
                 inet_ntoa(address));
        assert_int_equal(native_runtime_socket(bed->runtime, NATIVE_SOCKET_NETFILTER, &netfilter),
                         0);
        assert_run(bed, &two, script, 0, "closed\n");
        assert_int_equal(change_as_node(bed, netfilter, &rule, true), -ENOENT);
        assert_int_equal(change_as_node(bed, netfilter, &rule, false), 0);
        assert_run(bed, &two, script, 0, "b'hi'\n");
        assert_int_equal(change_as_node(bed, netfilter, &rule, false), 0);

        struct policy_rule backwards = rule;
        backwards.port_last = 70;
        assert_int_equal(policy_change(netfilter, NULL, 0, &backwards, 1), -EINVAL);
        /* All or nothing: the rule that is there is not taken away. */
        backwards = rule;
        backwards.source_first = backwards.source_last = 1;
        struct policy_rule both[] = { rule, backwards };
        assert_int_equal(policy_change(netfilter, both, 2, NULL, 0), -ENOENT);
        assert_run(bed, &two, script, 0, "b'hi'\n");
        assert_int_equal(change_as_node(bed, netfilter, &rule, true), 0);
        assert_run(bed, &two, script, 0, "closed\n");

        for (uint32_t i = 0; i < ARRAY_SIZE(many); i++) {
                many[i] = rule;
                many[i].source_first = many[i].source_last = 0x0b000000 + i;
        }
        assert_int_equal(policy_replace(netfilter, many, ARRAY_SIZE(many)), 0);
        assert_int_equal(policy_change(netfilter, many + 7999, 1, &rule, 1), 0);
        assert_run(bed, &two, script, 0, "b'hi'\n");
        assert_int_equal(policy_replace(netfilter, NULL, 0), 0);
        assert_run(bed, &two, script, 0, "closed\n");
        session_close(&session);
        close(netfilter);
}

static void the_node_gets_sockets_in_the_fabric(void **state)
{
        struct testbed *bed = *state;
        struct container_key key = launched(bed);
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        char query[16];
        int dns, netfilter;

        assert_int_equal(native_runtime_socket(bed->runtime, NATIVE_SOCKET_DNS_UDP, &dns), 0);
        assert_int_equal(native_runtime_socket(bed->runtime, NATIVE_SOCKET_NETFILTER, &netfilter),
                         0);
        close(netfilter);
        assert_int_equal(native_runtime_socket(bed->runtime, NATIVE_SOCKET_DNS_TCP, &netfilter), 0);
        close(netfilter);
        assert_run(bed, &key,
                   "python3 -c \"import socket\n"
                   "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                   "s.sendto(b'who', ('169.254.1.1', 53))\"",
                   0, "");
        struct pollfd wait = { .fd = dns, .events = POLLIN };
        assert_int_equal(poll(&wait, 1, 5000), 1);
        assert_int_equal(recvfrom(dns, query, sizeof(query), 0, (struct sockaddr *)&from, &size),
                         3);
        assert_int_equal(ntohl(from.sin_addr.s_addr), testbed_address(bed, 1));
        close(dns);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WITH_BED(networks_have_their_settings),
                WITH_BED(the_host_reaches_pods_and_pods_reach_nobody),
                WITH_BED(what_tcp_remembers_of_a_pod_ends_with_it),
                WITH_BED(rules_open_what_they_name),
                WITH_BED(the_node_gets_sockets_in_the_fabric),
        };

        if (!may_run(argc, argv))
                return 0;
        return run_unit_tests("fabric", tests);
}
