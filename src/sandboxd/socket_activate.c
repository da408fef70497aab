// SPDX-License-Identifier: Apache-2.0
/*
 * socket-activate PORT[,PORT…] PROGRAM [ARG…]: listens on these ports, and becomes the program when
 * the first connection comes, which finds the sockets by the environment (sd_listen_fds(3)).
 *
 * Most sandboxes wait in a pool for long. So long they have this in memory, and none of sandboxd's
 * pages, which each process that maps them makes dearer for the kernel.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

enum { FIRST_FD = 3, PORTS_MAX = 8, BACKLOG = 1024, CANNOT_RUN = 127 };

static void on_end(int signal)
{
        (void)signal;
        _exit(EXIT_SUCCESS);
}

static int listen_on(unsigned long port)
{
        const struct sockaddr_in address = { .sin_family = AF_INET,
                                             .sin_port = htons((uint16_t)port) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
            listen(fd, BACKLOG) < 0)
                return -errno;
        return fd;
}

/* Returns how many, or -1: they are not ports. */
static int read_ports(const char *text, unsigned long ports[PORTS_MAX])
{
        int count = 0;

        for (char *end; count < PORTS_MAX; text = end + 1) {
                ports[count] = strtoul(text, &end, 10);
                if (end == text || *text == '-' || ports[count] < 1 || ports[count] > UINT16_MAX)
                        return -1;
                count++;
                if (*end == '\0')
                        return count;
                if (*end != ',')
                        return -1;
        }
        return -1;
}

static int run(char **program, int sockets)
{
        char count[16], pid[16];

        snprintf(count, sizeof(count), "%d", sockets);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        if (setenv("LISTEN_FDS", count, 1) == 0 && setenv("LISTEN_PID", pid, 1) == 0)
                execv(program[0], program);
        log_error("cannot run %s: %s", program[0], strerror(errno));
        return CANNOT_RUN;
}

int main(int argc, char **argv)
{
        unsigned long ports[PORTS_MAX];
        struct pollfd waiting[PORTS_MAX];
        int count = argc > 2 ? read_ports(argv[1], ports) : -1, ready;

        log_configure("socket-activate", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        if (count < 0) {
                log_error("usage: socket-activate PORT[,PORT…] PROGRAM [ARG…], of at most %d ports",
                          PORTS_MAX);
                return EXIT_FAILURE;
        }
        sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_end }, NULL);
        sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_end }, NULL);
        /* The numbers of the sockets are those after the standard ones. */
        syscall(SYS_close_range, FIRST_FD, ~0U, 0);
        for (int i = 0; i < count; i++) {
                int fd = listen_on(ports[i]);
                if (fd < 0) {
                        log_error("cannot listen on port %lu: %s", ports[i], strerror(-fd));
                        return EXIT_FAILURE;
                }
                waiting[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
        }
        log_info("%s will serve the ports %s", argv[2], argv[1]);
        do
                ready = poll(waiting, (nfds_t)count, -1);
        while (ready < 0 && errno == EINTR);
        return run(argv + 2, count);
}
