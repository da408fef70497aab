// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/test.h"
#include "initproto/logring.h"
#include "runtime/testbed.h"

/* What tests of the launcher share: real namespaces, cgroups and wires, as root only. */

static const char *init_path;

static inline int setup(void **state)
{
        static struct testbed bed;

        testbed_start(&bed, init_path, NULL);
        *state = &bed;
        return 0;
}

static inline int teardown(void **state)
{
        testbed_stop(*state);
        return 0;
}
#define WITH_BED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What main() asks first. The arguments are init (needed), which tests to run, and which not. */
static inline bool may_run(int argc, char **argv)
{
        if (argc < 2)
                exit(2);
        if (geteuid() != 0) {
                printf("1..0 # SKIP needs root: namespaces, cgroups and interfaces\n");
                return false;
        }
        /* Sandboxes whose launcher was killed become this process's, as the supervisor's. */
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        init_path = argv[1];
        if (argc > 2)
                cmocka_set_test_filter(argv[2]);
        if (argc > 3)
                cmocka_set_skip_filter(argv[3]);
        return true;
}

static inline void assert_run(struct testbed *bed, const struct container_key *key,
                              const char *script, int code, const char *output)
{
        char got[4096];
        int r = testbed_run(bed, key, script, got, sizeof(got));

        if (r != code || (output && strcmp(got, output) != 0))
                fail_msg("\"%s\" gave %d \"%s\", expected %d \"%s\"", script, r, got, code,
                         output ? output : "anything");
}

static inline unsigned count_lines(const char *command)
{
        FILE *pipe = popen(command, "r");
        unsigned count = 0;

        assert_non_null(pipe);
        for (int c; (c = fgetc(pipe)) != EOF;)
                count += c == '\n';
        pclose(pipe);
        return count;
}

/* A sandbox "one" at address 1 with a container 0 that runs init. */
static inline struct container_key launched(struct testbed *bed)
{
        struct container_spec spec = testbed_spec("one", 0);

        assert_int_equal(testbed_create(bed, "one", testbed_address(bed, 1)), 0);
        assert_int_equal(testbed_launch(bed, &spec), 0);
        return testbed_key("one", 0);
}

static inline int connect_to(uint32_t address, uint16_t port)
{
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(address) };
        struct timeval patience = { .tv_sec = 1 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
                return fd;
        int r = -errno;
        close(fd);
        return r;
}

/* A server in the container that answers "hi", and has begun to listen. */
static inline void serve_hi(struct session *session, struct testbed *bed,
                            const struct container_key *key)
{
        struct logring_status status = {};
        int log;

        session_open(session, bed, key);
        session_start(session, "exec python3 -uc \"import socket\n"
                               "s = socket.create_server(('0.0.0.0', 80))\n"
                               "print('up')\n"
                               "while True:\n"
                               "    c = s.accept()[0]; c.sendall(b'hi'); c.close()\"");
        assert_int_equal(runtime_open_log(bed->runtime, key, &log), 0);
        while (status.head == 0) {
                assert_int_equal(logring_read_status(log, &status), 0);
                assert_false(status.has_exited);
                poll(NULL, 0, 2);
        }
        close(log);
}
