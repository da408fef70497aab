// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/options.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/output.h"
#include "cli/roles.h"

enum { DOWN_TIMEOUT_MS = 120 * 1000, QUIET_MS = 2000, TICK_MS = 200 };

/* Says on a terminal what is left, when it takes long. */
struct ticker {
        const struct instance *instance;
        pthread_t thread;
        int wake[2]; /* closed at the end */
        bool runs;
};

static void *tick(void *user)
{
        struct ticker *ticker = user;
        struct pollfd wake = { .fd = ticker->wake[0], .events = POLLIN };
        struct progress progress = {};

        for (int wait = QUIET_MS; poll(&wake, 1, wait) == 0; wait = TICK_MS)
                progress_say(&progress, "ending what runs: %zu containers are left",
                             roles_count_containers(ticker->instance));
        progress_end(&progress);
        return NULL;
}

/* Without it everything goes its way. */
static void ticker_begin(struct ticker *ticker, const struct instance *instance)
{
        sigset_t all, before;

        *ticker = (struct ticker){ .instance = instance };
        if (!isatty(STDERR_FILENO) || pipe2(ticker->wake, O_CLOEXEC) < 0)
                return;
        /* Signals are for who waits. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        ticker->runs = pthread_create(&ticker->thread, NULL, tick, ticker) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (ticker->runs)
                return;
        fd_close(ticker->wake[0]);
        fd_close(ticker->wake[1]);
}

static void ticker_end(struct ticker *ticker)
{
        if (!ticker->runs)
                return;
        fd_close(ticker->wake[1]);
        pthread_join(ticker->thread, NULL);
        fd_close(ticker->wake[0]);
}

/* Ends the supervisor and waits until it is gone. */
static int stop_supervisor(pid_t pid, struct error *error)
{
        _cleanup_close_ int process = (int)syscall(SYS_pidfd_open, pid, 0);

        if (process < 0)
                return errno == ESRCH ? 0
                                      : error_set(error, -errno, "cannot watch process %d: %s",
                                                  (int)pid, strerror(errno));
        if (syscall(SYS_pidfd_send_signal, process, SIGTERM, NULL, 0) < 0)
                return errno == ESRCH ? 0
                                      : error_set(error, -errno, "cannot stop process %d: %s%s",
                                                  (int)pid, strerror(errno),
                                                  errno == EPERM ? "; run it with sudo" : "");
        struct pollfd wait = { .fd = process, .events = POLLIN };
        int r;
        do {
                r = poll(&wait, 1, DOWN_TIMEOUT_MS);
        } while (r < 0 && errno == EINTR);
        if (r == 0)
                return error_set(error, -ETIME, "process %d does not end: see its log", (int)pid);
        return 0;
}

/* Sandboxes outlive a supervisor that was killed; one that ended in order leaves nothing. */
static int remove_leftovers(const struct instance *instance, struct error *error)
{
        if (!instance_has_run(instance))
                return 0;
        _cleanup_close_ int lock = instance_lock(instance, error);
        return lock < 0 ? lock : roles_cleanup(instance, error);
}

int command_down(int argc, char **argv, struct error *error)
{
        const char *data = NULL;
        const struct option_spec specs[] = {
                OPTION_STRING("data", 0, &data, "FOLDER", "the instance's folder ($CAY_DATA)"),
                OPTION_END,
        };
        struct instance instance;
        struct ticker ticker;
        pid_t pid;

        if (command_help(command_find("down"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r == 0)
                r = instance_open(data, false, error, &instance);
        if (r < 0)
                return r;
        r = instance_running(&instance, &pid);
        if (r < 0)
                return error_set(error, r, "cannot read %s/lock: %s", instance.data, strerror(-r));
        bool was_left = pid == 0 && instance_has_run(&instance);
        ticker_begin(&ticker, &instance);
        if (pid > 0)
                r = stop_supervisor(pid, error);
        if (r == 0)
                r = remove_leftovers(&instance, error);
        ticker_end(&ticker);
        if (r < 0)
                return r;
        if (pid > 0)
                printf("cay is down; data stays in %s\n", instance.data);
        else
                printf("cay is not running on %s%s\n", instance.data,
                       was_left ? "; what it had left is removed" : "");
        return 0;
}
