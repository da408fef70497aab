// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"

/* What the child says when it cannot run the program. */
struct child_failure {
        int error;
        enum { STAGE_DIRECTORY, STAGE_TERMINAL, STAGE_EXEC } stage;
};

static const char *const stages[] = {
        [STAGE_DIRECTORY] = "changing to the working directory",
        [STAGE_TERMINAL] = "setting up standard input and output",
        [STAGE_EXEC] = "running the program",
};

/* Ends of both sides. The child's become its descriptors 0, 1 and 2. */
struct wires {
        int child[3];
        int parent[3];
};

static void wires_deinit(struct wires *wires)
{
        for (int i = 0; i < 3; i++) {
                fd_close(wires->child[i]);
                fd_close(wires->parent[i]);
        }
}

static int pipe_between(int *ret_read, int *ret_write)
{
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = ends[0];
        *ret_write = ends[1];
        return 0;
}

static int wire_terminal(const struct initproto_process *process, struct wires *wires)
{
        struct winsize size = { .ws_row = process->rows, .ws_col = process->columns };
        int unlock = 0;
        int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

        if (master < 0)
                return -errno;
        wires->parent[1] = master;
        if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
                return -errno;
        if (size.ws_row > 0 && size.ws_col > 0 && ioctl(master, TIOCSWINSZ, &size) < 0)
                return -errno;
        /* By descriptor: a path could name another /dev/pts. */
        wires->child[0] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        wires->child[1] = fcntl(wires->child[0], F_DUPFD_CLOEXEC, 5);
        wires->child[2] = fcntl(wires->child[0], F_DUPFD_CLOEXEC, 5);
        if (process->flags & INITPROTO_STDIN)
                wires->parent[0] = fcntl(master, F_DUPFD_CLOEXEC, 5);
        return wires->child[0] < 0 || wires->child[1] < 0 || wires->child[2] < 0 ? -errno : 0;
}

static int wire_pipes(const struct initproto_process *process, struct wires *wires)
{
        int r = 0;

        if (process->flags & INITPROTO_STDIN)
                r = pipe_between(&wires->child[0], &wires->parent[0]);
        else if ((wires->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
                r = -errno;
        if (r == 0)
                r = pipe_between(&wires->parent[1], &wires->child[1]);
        if (r == 0)
                r = pipe_between(&wires->parent[2], &wires->child[2]);
        return r;
}

static char **string_array(struct str strings, uint32_t count)
{
        char **array = calloc((size_t)count + 1, sizeof(*array));

        for (uint32_t i = 0; array && i < count; i++)
                array[i] = (char *)(uintptr_t)initproto_next_string(&strings);
        return array;
}

static const char *find_path(char *const *env)
{
        for (; *env; env++) {
                if (strncmp(*env, "PATH=", 5) == 0)
                        return *env + 5;
        }
        return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* As execvpe(), with the PATH of the new environment, and without a shell for unknown formats. */
static int exec_program(char *const *argv, char *const *env)
{
        char candidate[PATH_MAX];
        int error = ENOENT;

        if (strchr(argv[0], '/')) {
                execve(argv[0], argv, env);
                return errno;
        }
        for (struct str rest = str_from(find_path(env)), folder; rest.length > 0;) {
                str_cut(rest, ':', &folder, &rest);
                if (folder.length == 0)
                        folder = STR(".");
                if ((size_t)snprintf(candidate, sizeof(candidate), "%.*s/%s", STR_FORMAT(folder),
                                     argv[0]) >= sizeof(candidate))
                        continue;
                execve(candidate, argv, env);
                if (errno == EACCES)
                        error = EACCES;
                else if (errno != ENOENT && errno != ENOTDIR)
                        return errno;
        }
        return error;
}

/* Enters the working directory, making what is absent of it, as container runtimes do. */
static int enter_directory(struct str path)
{
        char copy[PATH_MAX];

        if (path.length == 0)
                path = STR("/");
        if (path.length >= sizeof(copy))
                return ENAMETOOLONG;
        memcpy(copy, path.data, path.length);
        copy[path.length] = '\0';
        if (chdir(copy) == 0)
                return 0;
        if (errno != ENOENT)
                return errno;
        for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                mkdir(copy, 0755);
                *slash = '/';
        }
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                return errno;
        return chdir(copy) < 0 ? errno : 0;
}

static void run_child(const struct initproto_process *process, char *const *argv, char *const *env,
                      const struct wires *wires, int report)
{
        struct child_failure failure = {};
        sigset_t none;

        /* Ignored signals would stay ignored beyond exec. */
        for (int signal = 1; signal < NSIG; signal++)
                sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        umask(022);
        setsid();

        failure.stage = STAGE_TERMINAL;
        for (int i = 0; i < 3 && failure.error == 0; i++) {
                if (dup2(wires->child[i], i) < 0)
                        failure.error = errno;
        }
        if (failure.error == 0 && (process->flags & INITPROTO_TERMINAL) &&
            ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
                failure.error = errno;
        if (failure.error == 0) {
                failure.stage = STAGE_DIRECTORY;
                failure.error = enter_directory(process->working_directory);
        }
        if (failure.error == 0) {
                failure.stage = STAGE_EXEC;
                failure.error = exec_program(argv, env);
        }
        fd_write_full(report, &failure, sizeof(failure));
        _exit(127);
}

static void free_array(char ***array)
{
        free(*array);
}

int spawn(const struct initproto_process *process, struct spawned *ret_spawned,
          const char **ret_stage)
{
        _cleanup_(wires_deinit) struct wires wires = { { -1, -1, -1 }, { -1, -1, -1 } };
        _cleanup_(free_array) char **argv = string_array(process->argv, process->argv_count);
        _cleanup_(free_array) char **env = string_array(process->env, process->env_count);
        _cleanup_close_ int report = -1, reporter = -1;
        struct child_failure failure;
        size_t length;

        *ret_stage = stages[STAGE_TERMINAL];
        if (!argv || !env)
                return -ENOMEM;
        int r = process->flags & INITPROTO_TERMINAL ? wire_terminal(process, &wires)
                                                    : wire_pipes(process, &wires);
        if (r == 0)
                r = pipe_between(&report, &reporter);
        if (r < 0)
                return r;

        *ret_stage = "making a process";
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_child(process, argv, env, &wires, reporter);

        reporter = fd_close(reporter);
        r = fd_read_full(report, &failure, sizeof(failure), &length);
        if (r == 0 && length == sizeof(failure)) {
                *ret_stage = stages[failure.stage];
                return -failure.error;
        }
        if (r < 0)
                return r;
        for (int i = 0; i < 3; i++) {
                int flags = wires.parent[i] >= 0 ? fcntl(wires.parent[i], F_GETFL) : 0;
                if (flags >= 0 && wires.parent[i] >= 0)
                        fcntl(wires.parent[i], F_SETFL, flags | O_NONBLOCK);
        }
        *ret_spawned = (struct spawned){ .pid = pid,
                                         .input = TAKE_FD(wires.parent[0]),
                                         .output = TAKE_FD(wires.parent[1]),
                                         .error = TAKE_FD(wires.parent[2]) };
        return 0;
}
