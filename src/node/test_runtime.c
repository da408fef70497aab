// SPDX-License-Identifier: Apache-2.0
#include "node/test_runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "initproto/logring.h"

enum { CONTAINERS = 32, SANDBOXES = 32, ANSWERS = 64, RING = 256 * 1024 };

/* What the kernel has on a real machine: it is there whether a node runs or not. */
static struct {
        struct sandbox_spec sandboxes[SANDBOXES];
        size_t sandbox_count;
        struct process {
                struct container_key key;
                pid_t pid; /* 0: free */
                int pidfd;
        } containers[CONTAINERS];
        struct container_spec last;
        char memory_source[RUNTIME_PATH];
        uint64_t memory_size;
} machine;

enum answer_kind { ANSWER_SANDBOX, ANSWER_LAUNCHED, ANSWER_DONE, ANSWER_MEASURED, ANSWER_FOUND };

struct test_runtime {
        struct runtime runtime; /* first */
        struct test_runtime_config *config;
        int epoll, wake;
        uint64_t calls;
        struct answer {
                enum answer_kind kind;
                uint64_t call;
                int result;
        } answers[ANSWERS];
        size_t answer_count;
};

static struct test_runtime *of(struct runtime *runtime)
{
        return (struct test_runtime *)runtime;
}

static int answer(struct test_runtime *t, enum answer_kind kind, int result, uint64_t *ret_call)
{
        if (t->answer_count == ANSWERS)
                return -EAGAIN;
        *ret_call = ++t->calls;
        t->answers[t->answer_count++] = (struct answer){ kind, *ret_call, result };
        eventfd_write(t->wake, 1);
        return 0;
}

static void path_of(struct test_runtime *t, const struct container_key *key, const char *what,
                    char path[static 256])
{
        snprintf(path, 256, "%s/%.8s-%u-%u.%s", t->config->folder, key->sandbox, key->container,
                 key->attempt, what);
}

static struct process *find(const struct container_key *key)
{
        for (size_t i = 0; i < CONTAINERS; i++)
                if (machine.containers[i].pid != 0 &&
                    memcmp(&machine.containers[i].key, key, sizeof(*key)) == 0)
                        return &machine.containers[i];
        return NULL;
}

static void watch(struct test_runtime *t, struct process *process)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = process };

        epoll_ctl(t->epoll, EPOLL_CTL_ADD, process->pidfd, &event);
}

static int sandbox_create(struct runtime *runtime, const struct sandbox_spec *spec,
                          uint64_t *ret_call)
{
        struct test_runtime *t = of(runtime);

        if (t->config->failures > 0) {
                t->config->failures--;
                return answer(t, ANSWER_SANDBOX, -EIO, ret_call);
        }
        machine.sandboxes[machine.sandbox_count++] = *spec;
        return answer(t, ANSWER_SANDBOX, 0, ret_call);
}

/* In the child: becomes init, in a pid namespace if that may be. */
static void become_init(const char *init, int listener, int ring)
{
        int alive[2]; /* its other end is closed when the parent is killed */

        if (unshare(CLONE_NEWPID) == 0 && pipe2(alive, O_CLOEXEC) == 0) {
                pid_t child = fork();
                if (child != 0) {
                        int status = 0;
                        close(alive[0]);
                        close(listener);
                        close(ring);
                        waitpid(child, &status, 0);
                        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 137);
                }
                close(alive[1]);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                /* It may have been killed before that; in here it has no number to compare. */
                struct pollfd parent = { .fd = alive[0], .events = POLLIN };
                if (poll(&parent, 1, 0) != 0)
                        _exit(137);
        }
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        int safe_listener = fcntl(listener, F_DUPFD, 10), safe_ring = fcntl(ring, F_DUPFD, 10);
        dup2(safe_listener, 3);
        dup2(safe_ring, 4);
        close_range(5, ~0U, 0);
        execl(init, "init", NULL);
        _exit(127);
}

static int launch(struct test_runtime *t, struct process *process)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char ring_path[256], socket_path[256];

        path_of(t, &process->key, "log", ring_path);
        path_of(t, &process->key, "sock", socket_path);
        int ring = open(ring_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int r = ring < 0 ? -errno : logring_format(ring, RING);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", socket_path);
        unlink(socket_path);
        if (r == 0 && (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                       listen(listener, 16) < 0))
                r = -errno;
        if (r == 0) {
                process->pid = fork();
                if (process->pid == 0)
                        become_init(t->config->init, listener, ring);
                process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
                watch(t, process);
        }
        fd_close(listener);
        fd_close(ring);
        return r;
}

static int container_launch(struct runtime *runtime, const struct container_spec *spec,
                            uint64_t *ret_call)
{
        struct test_runtime *t = of(runtime);
        struct process *process = NULL;

        for (size_t i = 0; i < CONTAINERS && !process; i++)
                if (machine.containers[i].pid == 0)
                        process = &machine.containers[i];
        if (!process)
                return -EAGAIN;
        process->key =
                (struct container_key){ .container = spec->container, .attempt = spec->attempt };
        memcpy(process->key.sandbox, spec->sandbox, RUNTIME_ID);
        machine.last = *spec;
        return answer(t, ANSWER_LAUNCHED, launch(t, process), ret_call);
}

static int kill_container(struct runtime *runtime, const struct container_key *key,
                          uint64_t *ret_call)
{
        struct process *process = find(key);

        if (process)
                kill(process->pid, SIGKILL);
        return answer(of(runtime), ANSWER_DONE, process ? 0 : -ENOENT, ret_call);
}

static int destroy(struct runtime *runtime, const char *sandbox, uint64_t *ret_call)
{
        int result = -ENOENT;

        for (size_t i = 0; i < CONTAINERS; i++)
                if (machine.containers[i].pid != 0 &&
                    strcmp(machine.containers[i].key.sandbox, sandbox) == 0)
                        kill(machine.containers[i].pid, SIGKILL);
        for (size_t i = 0; i < machine.sandbox_count; i++) {
                if (strcmp(machine.sandboxes[i].id, sandbox) != 0)
                        continue;
                machine.sandboxes[i--] = machine.sandboxes[--machine.sandbox_count];
                result = 0;
        }
        return answer(of(runtime), ANSWER_DONE, result, ret_call);
}

static int usage(struct runtime *runtime, const struct container_key *key, uint64_t *ret_call)
{
        (void)key;
        return answer(of(runtime), ANSWER_DONE, -EOPNOTSUPP, ret_call);
}

static int recover(struct runtime *runtime, uint64_t *ret_call)
{
        return answer(of(runtime), ANSWER_FOUND, 0, ret_call);
}

static int own(struct runtime *runtime, const char *source, uint32_t user, uint32_t group,
               mode_t mode, uint64_t *ret_call)
{
        (void)source, (void)user, (void)group, (void)mode;
        return answer(of(runtime), ANSWER_DONE, 0, ret_call);
}

static int purge(struct runtime *runtime, const char *source, uint64_t *ret_call)
{
        (void)source;
        of(runtime)->config->purges++;
        return answer(of(runtime), ANSWER_DONE, 0, ret_call);
}

static int memory(struct runtime *runtime, const char *source, uint64_t size, uint64_t *ret_call)
{
        if (of(runtime)->config->memory_failures > 0) {
                of(runtime)->config->memory_failures--;
                return answer(of(runtime), ANSWER_DONE, -ENOMEM, ret_call);
        }
        machine.memory_size = size;
        snprintf(machine.memory_source, sizeof(machine.memory_source), "%s", source);
        return answer(of(runtime), ANSWER_DONE, 0, ret_call);
}

static int measure(struct runtime *runtime, const char *source, uint64_t *ret_call)
{
        (void)source;
        return answer(of(runtime), ANSWER_MEASURED, 0, ret_call);
}

static int connect_init(struct runtime *runtime, const struct container_key *key, int *ret_fd)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char path[256];

        if (!find(key))
                return -ENOENT;
        path_of(of(runtime), key, "sock", path);
        snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                int r = -errno;
                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

static int open_log(struct runtime *runtime, const struct container_key *key, int *ret_fd)
{
        char path[256];

        path_of(of(runtime), key, "log", path);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int forget(struct runtime *runtime, const struct container_key *key)
{
        char path[256];

        path_of(of(runtime), key, "log", path);
        unlink(path);
        path_of(of(runtime), key, "sock", path);
        unlink(path);
        return 0;
}

static int poll_fd(struct runtime *runtime)
{
        return of(runtime)->epoll;
}

static void tell_found(struct test_runtime *t, uint64_t call)
{
        const struct runtime_events *events = t->runtime.events;

        for (size_t i = 0; i < machine.sandbox_count; i++) {
                events->found(t->runtime.owner, call, &machine.sandboxes[i], NULL);
                for (size_t j = 0; j < CONTAINERS; j++) {
                        struct process *process = &machine.containers[j];
                        if (process->pid == 0 ||
                            strcmp(process->key.sandbox, machine.sandboxes[i].id) != 0)
                                continue;
                        watch(t, process);
                        events->found(t->runtime.owner, call, &machine.sandboxes[i], &process->key);
                }
        }
        events->found(t->runtime.owner, call, NULL, NULL);
}

static void tell_exit(struct test_runtime *t, struct process *process)
{
        struct container_exit exit = {};
        struct logring_status status;
        int fd = -1;

        epoll_ctl(t->epoll, EPOLL_CTL_DEL, process->pidfd, NULL);
        process->pidfd = fd_close(process->pidfd);
        waitpid(process->pid, NULL, 0);
        if (open_log(&t->runtime, &process->key, &fd) == 0) {
                if (logring_read_status(fd, &status) == 0) {
                        exit.is_known = status.has_exited;
                        exit.exit = status.exit;
                        exit.started_ns = status.started_ns;
                }
                close(fd);
        }
        struct container_key key = process->key;
        process->pid = 0;
        t->runtime.events->container_exited(t->runtime.owner, &key, &exit);
}

static int dispatch(struct runtime *runtime)
{
        struct test_runtime *t = of(runtime);
        const struct runtime_events *events = runtime->events;
        struct epoll_event ready[CONTAINERS];
        struct answer answers[ANSWERS];
        size_t count = t->answer_count;
        eventfd_t ignored;

        eventfd_read(t->wake, &ignored);
        memcpy(answers, t->answers, sizeof(answers));
        t->answer_count = 0;
        for (size_t i = 0; i < count; i++) {
                const char *reason = answers[i].result < 0 ? "it was made to fail" : "";
                if (answers[i].kind == ANSWER_FOUND)
                        tell_found(t, answers[i].call);
                else if (answers[i].kind == ANSWER_SANDBOX)
                        events->sandbox_created(runtime->owner, answers[i].call, answers[i].result,
                                                reason);
                else if (answers[i].kind == ANSWER_LAUNCHED)
                        events->container_launched(runtime->owner, answers[i].call,
                                                   answers[i].result, reason);
                else if (answers[i].kind == ANSWER_MEASURED)
                        events->measured(runtime->owner, answers[i].call, answers[i].result,
                                         t->config->measured);
                else
                        events->done(runtime->owner, answers[i].call, answers[i].result, reason);
        }
        int got = epoll_wait(t->epoll, ready, CONTAINERS, 0);
        for (int i = 0; i < got; i++)
                if (ready[i].data.ptr)
                        tell_exit(t, ready[i].data.ptr);
        return 0;
}

static void free_runtime(struct runtime *runtime)
{
        fd_close(of(runtime)->epoll);
        fd_close(of(runtime)->wake);
        free(runtime);
}

static const struct runtime_ops ops = {
        .sandbox_create = sandbox_create,
        .container_launch = container_launch,
        .kill = kill_container,
        .destroy = destroy,
        .usage = usage,
        .recover = recover,
        .own = own,
        .purge = purge,
        .memory = memory,
        .measure = measure,
        .connect = connect_init,
        .open_log = open_log,
        .forget = forget,
        .poll_fd = poll_fd,
        .dispatch = dispatch,
        .free = free_runtime,
};

int test_runtime_new(void *user, const struct runtime_events *events, void *owner,
                     struct runtime **ret_runtime)
{
        struct test_runtime *t = calloc(1, sizeof(*t));
        struct epoll_event event = { .events = EPOLLIN };

        if (!t)
                return -ENOMEM;
        t->runtime = (struct runtime){ .ops = &ops, .events = events, .owner = owner };
        t->config = user;
        t->epoll = epoll_create1(EPOLL_CLOEXEC);
        t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->wake, &event);
        *ret_runtime = &t->runtime;
        return 0;
}

uint64_t test_runtime_last_memory(const char **ret_source)
{
        *ret_source = machine.memory_source;
        return machine.memory_size;
}

const struct container_spec *test_runtime_last_launch(void)
{
        return &machine.last;
}

unsigned test_runtime_end(void)
{
        unsigned count = 0;

        for (size_t i = 0; i < CONTAINERS; i++) {
                if (machine.containers[i].pid == 0)
                        continue;
                kill(machine.containers[i].pid, SIGKILL);
                waitpid(machine.containers[i].pid, NULL, 0);
                fd_close(machine.containers[i].pidfd);
                machine.containers[i].pid = 0;
                count++;
        }
        machine.sandbox_count = 0;
        return count;
}
