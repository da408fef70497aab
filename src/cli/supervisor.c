// SPDX-License-Identifier: Apache-2.0
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum {
        ROLES_MAX = 8,
        ROLE_STOP_SECONDS = 20,
        ROLE_HEALTHY_SECONDS = 10, /* after that long a role's end is no sign of a bad start */
        PAUSE_FIRST_MS = 10,
        PAUSE_MOST_MS = 5000,
        DESCRIPTOR_FIRST = 3,
        /* Above every number that is about to be given out. */
        DESCRIPTOR_SAFE = DESCRIPTOR_FIRST + ROLE_DESCRIPTORS_MAX + 2,
};

struct running {
        const struct role *role;
        pid_t pid;            /* 0: not running */
        uint64_t started_ns;  /* monotonic */
        uint64_t start_at_ns; /* when to start it (again) */
        unsigned pause_ms;    /* the next pause, if it ends soon again */
        unsigned bad_starts;  /* how often it has ended soon, in a row */
};

struct supervisor {
        struct running running[ROLES_MAX];
        size_t count;
        int program; /* this program, so that it can be run where its path cannot be reached */
        int lock;    /* held by every role too; -1: none */
        int report;
        sigset_t signals;
};

/* ---- in the child ---- */

static int redirect_stderr(const char *log)
{
        if (!log)
                return 0;
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
                return -errno;
        return 0;
}

/* Moves the role's descriptors to 3, 4, …: first out of the way, then into place. */
static int place_descriptors(const struct role *role)
{
        int moved[ROLE_DESCRIPTORS_MAX];

        for (size_t i = 0; i < role->descriptor_count; i++) {
                moved[i] = fcntl(role->descriptors[i], F_DUPFD_CLOEXEC, DESCRIPTOR_SAFE);
                if (moved[i] < 0)
                        return -errno;
        }
        for (size_t i = 0; i < role->descriptor_count; i++)
                if (dup2(moved[i], DESCRIPTOR_FIRST + (int)i) < 0)
                        return -errno;
        return 0;
}

/* Leaves the role only what it was given, and the lock. `program` is kept until it is run. */
static int close_others(const struct role *role, int lock, int *program)
{
        int keep = DESCRIPTOR_FIRST + (int)role->descriptor_count;

        if (dup3(*program, keep, O_CLOEXEC) < 0)
                return -errno;
        *program = keep;
        if (lock >= 0 && dup2(lock, ++keep) < 0)
                return -errno;
        return close_range((unsigned)keep + 1, ~0U, 0) < 0 ? -errno : 0;
}

static int drop_privilege(uid_t uid)
{
        gid_t gid = uid;

        if (uid == 0)
                return 0;
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
            setresuid(uid, uid, uid) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return 0;
}

static void run_child(const struct supervisor *supervisor, const struct role *role, pid_t parent)
        __attribute__((noreturn));

static void run_child(const struct supervisor *supervisor, const struct role *role, pid_t parent)
{
        sigset_t none;
        int r;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        r = redirect_stderr(role->log);
        int program = fcntl(supervisor->program, F_DUPFD_CLOEXEC, DESCRIPTOR_SAFE);
        int lock = supervisor->lock;
        if (r == 0 && lock >= 0)
                lock = fcntl(lock, F_DUPFD_CLOEXEC, DESCRIPTOR_SAFE);
        if (r == 0)
                r = program < 0 || (supervisor->lock >= 0 && lock < 0) ? -errno
                                                                       : place_descriptors(role);
        if (r == 0)
                r = close_others(role, lock, &program);
        if (r == 0)
                r = drop_privilege(role->uid);
        /* After the change of user, which clears it. The parent may have died before. */
        if (r == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
                r = -ECHILD;
        if (r < 0) {
                log_error("cannot start %s: %s", role->name, strerror(-r));
                _exit(126);
        }
        if (role->program)
                execv(role->program, (char *const *)role->argv);
        else
                fexecve(program, (char *const *)role->argv, environ);
        log_error("cannot start %s: %s", role->name, strerror(errno));
        _exit(126);
}

/* ---- in the supervisor ---- */

static void start(struct supervisor *supervisor, struct running *running)
{
        pid_t parent = getpid();

        running->started_ns = clock_monotonic_ns();
        pid_t pid = fork();
        if (pid == 0)
                run_child(supervisor, running->role, parent);
        if (pid < 0) {
                log_error("cannot fork for %s: %s", running->role->name, strerror(errno));
                running->start_at_ns = running->started_ns + PAUSE_MOST_MS * NS_PER_MS;
                return;
        }
        running->pid = pid;
}

static void plan_restart(struct running *running, uint64_t now)
{
        if (now - running->started_ns > ROLE_HEALTHY_SECONDS * NS_PER_SECOND) {
                running->pause_ms = PAUSE_FIRST_MS;
                running->bad_starts = 0;
        }
        running->bad_starts++;
        running->start_at_ns = now + running->pause_ms * NS_PER_MS;
        running->pause_ms = MIN(running->pause_ms * 2, (unsigned)PAUSE_MOST_MS);
}

static void describe_end(const struct role *role, int status)
{
        if (WIFSIGNALED(status))
                log_warning("%s was ended by signal %d, starting it again", role->name,
                            WTERMSIG(status));
        else
                log_warning("%s ended with status %d, starting it again", role->name,
                            WEXITSTATUS(status));
}

/* Whoever started this may be gone, or have seen enough (SIGPIPE is blocked). */
static void report_failing(const struct supervisor *supervisor, size_t index)
{
        unsigned char byte = (unsigned char)(SUPERVISOR_REPORT_FAILING + index);
        ssize_t written = write(supervisor->report, &byte, 1);

        (void)written;
}

/* Takes every child that has ended; others than roles are sandboxes of a launcher that died. */
static void reap(struct supervisor *supervisor, bool stopping)
{
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                for (size_t i = 0; i < supervisor->count; i++) {
                        struct running *running = &supervisor->running[i];
                        if (running->pid != pid)
                                continue;
                        running->pid = 0;
                        if (stopping)
                                break;
                        describe_end(running->role, status);
                        plan_restart(running, clock_monotonic_ns());
                        if (running->bad_starts == ROLE_START_ATTEMPTS)
                                report_failing(supervisor, i);
                }
        }
}

/* Starts what is due and returns how long to wait for the next; NULL: until a signal comes. */
static const struct timespec *start_due(struct supervisor *supervisor, struct timespec *ret_wait)
{
        uint64_t now = clock_monotonic_ns(), next = UINT64_MAX;

        for (size_t i = 0; i < supervisor->count; i++) {
                struct running *running = &supervisor->running[i];
                if (running->pid == 0 && running->start_at_ns <= now)
                        start(supervisor, running);
                if (running->pid == 0)
                        next = MIN(next, running->start_at_ns);
        }
        if (next == UINT64_MAX)
                return NULL;
        uint64_t wait = next > now ? next - now : 0;
        ret_wait->tv_sec = (time_t)(wait / NS_PER_SECOND);
        ret_wait->tv_nsec = (long)(wait % NS_PER_SECOND);
        return ret_wait;
}

static void stop(struct supervisor *supervisor, struct running *running)
{
        uint64_t deadline = clock_monotonic_ns() + ROLE_STOP_SECONDS * NS_PER_SECOND;

        if (running->pid == 0)
                return;
        kill(running->pid, SIGTERM);
        while (running->pid != 0) {
                uint64_t now = clock_monotonic_ns();
                if (now >= deadline) {
                        log_warning("%s does not end, killing it", running->role->name);
                        kill(running->pid, SIGKILL);
                        deadline = UINT64_MAX;
                }
                uint64_t left = MIN(deadline - now, UINT64_C(3600) * NS_PER_SECOND);
                struct timespec wait = { .tv_sec = (time_t)(left / NS_PER_SECOND),
                                         .tv_nsec = (long)(left % NS_PER_SECOND) };
                sigtimedwait(&supervisor->signals, NULL, &wait);
                reap(supervisor, true);
        }
}

int supervisor_run(const struct role *roles, size_t count, int lock, int report,
                   struct error *error)
{
        struct supervisor supervisor = { .count = count, .lock = lock, .report = report };
        struct timespec wait;
        int signal;

        assert(count <= ROLES_MAX);
        _cleanup_close_ int program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
        if (program < 0)
                return error_set(error, -errno, "cannot open the cay program: %s", strerror(errno));
        supervisor.program = program;
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return error_set(error, -errno, "cannot become a subreaper: %s", strerror(errno));
        sigemptyset(&supervisor.signals);
        sigaddset(&supervisor.signals, SIGCHLD);
        sigaddset(&supervisor.signals, SIGTERM);
        sigaddset(&supervisor.signals, SIGINT);
        sigaddset(&supervisor.signals, SIGPIPE);
        sigprocmask(SIG_BLOCK, &supervisor.signals, NULL);
        for (size_t i = 0; i < count; i++)
                supervisor.running[i] =
                        (struct running){ .role = &roles[i], .pause_ms = PAUSE_FIRST_MS };

        do {
                const struct timespec *timeout = start_due(&supervisor, &wait);
                signal = timeout ? sigtimedwait(&supervisor.signals, NULL, timeout)
                                 : sigwaitinfo(&supervisor.signals, NULL);
                reap(&supervisor, false);
        } while (signal != SIGTERM && signal != SIGINT);

        for (size_t i = count; i-- > 0;)
                stop(&supervisor, &supervisor.running[i]);
        reap(&supervisor, true);
        return 0;
}
