// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "init/init.h"

enum { LISTENER_FD = 3, RING_FD = 4, EVENTS = 32 };

int source_watch(struct init *init, struct source *source, uint32_t interest)
{
        struct epoll_event event = { .events = interest, .data.ptr = source };
        int operation = EPOLL_CTL_MOD;

        if (source->fd < 0 || source->interest == interest)
                return 0;
        if (source->interest == 0)
                operation = EPOLL_CTL_ADD;
        else if (interest == 0)
                operation = EPOLL_CTL_DEL;
        if (epoll_ctl(init->epoll, operation, source->fd, &event) < 0)
                return -errno;
        source->interest = interest;
        return 0;
}

void source_close(struct init *init, struct source *source)
{
        source_watch(init, source, 0);
        source->fd = fd_close(source->fd);
        source->interest = 0;
}

static void on_listener(struct source *source, uint32_t events)
{
        (void)events;
        if (connection_accept(container_of(source, struct init, listener)) < 0)
                log_error("accepting a connection failed");
}

static void on_signals(struct source *source, uint32_t events)
{
        struct init *init = container_of(source, struct init, signals);
        struct signalfd_siginfo info;
        int status;
        pid_t pid;

        (void)events;
        ssize_t got = read(source->fd, &info, sizeof(info));
        (void)got; /* it only wakes: signals of one kind are merged */
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                task_reaped(init, pid, status);
}

static int prepare(struct init *init)
{
        sigset_t signals;
        int r;

        /* Others of the container have the same user: they must not trace init or open its
         * descriptors in /proc. */
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return -errno;
        /* By descriptor it was run, so the kernel had no name for it. */
        prctl(PR_SET_NAME, "init");
        sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
        if (fcntl(LISTENER_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl(RING_FD, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        if (fcntl(LISTENER_FD, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        r = logring_writer_init(&init->ring, RING_FD);
        if (r < 0)
                return r;
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        init->epoll = epoll_create1(EPOLL_CLOEXEC);
        init->signals.fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
        if (init->epoll < 0 || init->signals.fd < 0)
                return -errno;
        r = source_watch(init, &init->listener, EPOLLIN);
        return r < 0 ? r : source_watch(init, &init->signals, EPOLLIN);
}

/* Sends what was queued in this turn and drops connections that are of no more use. */
static void settle(struct init *init)
{
        struct connection *connection;

        list_for_each (connection, &init->connections, in_init) {
                connection_flush(connection);
                if (connection->is_broken)
                        connection_free(connection);
        }
}

/* Whether a source that epoll reported still stands: an earlier event may have closed it. */
static bool is_live(const struct init *init, const struct source *source)
{
        struct connection *connection;
        struct task *task;

        if (source == &init->listener || source == &init->signals)
                return true;
        list_for_each (connection, &init->connections, in_init) {
                if (source == &connection->source)
                        return true;
        }
        list_for_each (task, &init->tasks, in_init) {
                if (source == &task->input || source == &task->output || source == &task->error)
                        return source->fd >= 0;
        }
        return false;
}

static int run(struct init *init)
{
        struct epoll_event events[EVENTS];

        while (init->state != INITPROTO_ENDED) {
                int count = epoll_wait(init->epoll, events, EVENTS, -1);
                if (count < 0 && errno != EINTR)
                        return -errno;
                for (int i = 0; i < count; i++) {
                        struct source *source = events[i].data.ptr;
                        if (is_live(init, source))
                                source->ready(source, events[i].events);
                }
                settle(init);
        }
        return 0;
}

int main(void)
{
        struct init init = {
                .epoll = -1,
                .listener = { .fd = LISTENER_FD, .ready = on_listener },
                .signals = { .fd = -1, .ready = on_signals },
        };

        log_configure("init", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        list_init(&init.connections);
        list_init(&init.tasks);
        int r = prepare(&init);
        if (r == 0)
                r = run(&init);
        if (r < 0) {
                log_error("init cannot go on: %s", strerror(-r));
                return 125;
        }
        /* The kernel ends all others with PID 1. */
        return (int)init.exit.code;
}
