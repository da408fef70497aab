// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limit.h"

enum { DRAIN_MS = 5000, TERMINAL_PATH_SIZE = 64 };

enum { END_OF_INPUT = 4 }; /* ^D, the default VEOF */

/* Its ends of pipes; or the terminal, as the first, for output and input. */
enum { PIPE_OUT, PIPE_ERR, PIPE_IN, PIPES };

struct process_pipe {
        struct process *process;
        uv_pipe_t pipe;
        bool open;  /* the handle is to be closed */
        bool reads; /* else paused, or at its end */
        bool ended; /* nothing comes any more */
};

struct process {
        struct list link;
        struct processes *processes;
        struct child child;
        int32_t id;
        bool has_terminal, input_closed, over;
        bool paused;
        struct process_pipe pipes[PIPES];
        unsigned handles;
        size_t waiting; /* bytes of input that are not written */
        struct net_timer drain;
        const struct process_events *events; /* NULL: nobody listens */
        void *owner;
};

struct process_write {
        uv_write_t request;
        struct process *process;
        void (*done)(void *user, int error);
        void *user;
        size_t length;
        char bytes[];
};

int processes_init(struct processes *processes, struct children *children, struct net_loop *loop,
                   size_t chunk)
{
        *processes = (struct processes){ .children = children, .loop = loop, .chunk = chunk };
        list_init(&processes->list);
        processes->buffer = malloc(chunk);
        return processes->buffer ? 0 : -ENOMEM;
}

void processes_deinit(struct processes *processes)
{
        free(processes->buffer);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
        struct process_pipe *pipe = handle->data;
        struct process *process = pipe->process;

        if (--process->handles == 0)
                free(process);
}

static void close_pipe(struct process_pipe *pipe)
{
        if (!pipe->open)
                return;
        pipe->open = false;
        pipe->ended = true;
        uv_close((uv_handle_t *)&pipe->pipe, on_closed);
}

static void end(struct process *process)
{
        const struct process_events *events = process->events;
        void *owner = process->owner;
        int exit_code = process->child.exit_code;

        process->over = true;
        process->events = NULL;
        net_timer_stop(&process->drain);
        list_remove(&process->link);
        children_remove(process->processes->children, &process->child);
        for (int i = 0; i < PIPES; i++)
                close_pipe(&process->pipes[i]);
        if (events)
                events->on_end(owner, exit_code);
}

static void end_if_complete(struct process *process)
{
        if (process->over || !process->child.exited)
                return;
        if (!process->events || (process->pipes[PIPE_OUT].ended && process->pipes[PIPE_ERR].ended))
                end(process);
}

/* What it left behind may hold its output open for ever; a slow client may not make it shorter. */
static void on_drain(struct net_timer *timer)
{
        struct process *process = container_of(timer, struct process, drain);

        if (process->paused)
                net_timer_start(process->processes->loop, timer, DRAIN_MS, on_drain);
        else
                end(process);
}

static void on_exit_status(struct child *child)
{
        struct process *process = container_of(child, struct process, child);

        net_timer_start(process->processes->loop, &process->drain, DRAIN_MS, on_drain);
        end_if_complete(process);
}

/* ---- output ---- */

static void on_allocate(uv_handle_t *handle, size_t suggested _unused_, uv_buf_t *buffer)
{
        struct process_pipe *pipe = handle->data;
        struct processes *processes = pipe->process->processes;

        *buffer = uv_buf_init(processes->buffer, (unsigned)processes->chunk);
}

static void set_reading(struct process_pipe *pipe, bool reads);

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
        struct process_pipe *pipe = handle->data;
        struct process *process = pipe->process;

        /* A terminal without its other side says EIO. */
        if (count < 0) {
                pipe->ended = true;
                set_reading(pipe, false);
                end_if_complete(process);
                return;
        }
        if (count == 0 || !process->events)
                return;
        if (process->child.exited)
                net_timer_start(process->processes->loop, &process->drain, DRAIN_MS, on_drain);
        if (process->events->on_output(process->owner, pipe == &process->pipes[PIPE_ERR],
                                       (struct str){ buffer->base, (size_t)count }))
                return;
        process->paused = true;
        for (int i = PIPE_OUT; i <= PIPE_ERR; i++)
                set_reading(&process->pipes[i], false);
}

static void set_reading(struct process_pipe *pipe, bool reads)
{
        if (!pipe->open || pipe->reads == reads || (reads && pipe->ended))
                return;
        pipe->reads = reads;
        if (!reads)
                uv_read_stop((uv_stream_t *)&pipe->pipe);
        else if (uv_read_start((uv_stream_t *)&pipe->pipe, on_allocate, on_read) < 0)
                pipe->ended = true;
}

void process_resume(struct process *process)
{
        process->paused = false;
        for (int i = PIPE_OUT; i <= PIPE_ERR; i++)
                set_reading(&process->pipes[i], true);
}

/* ---- the beginning ---- */

/* Takes the descriptor, -1 for none. Fails only on misuse: nothing is allocated. */
static void open_pipe(struct process *process, int index, int fd)
{
        struct process_pipe *pipe = &process->pipes[index];

        pipe->process = process;
        pipe->ended = fd < 0;
        if (fd < 0)
                return;
        int r = uv_pipe_init(process->processes->children->loop, &pipe->pipe, 0);
        assert(r == 0);
        pipe->pipe.data = pipe;
        pipe->open = true;
        process->handles++;
        r = uv_pipe_open(&pipe->pipe, fd);
        assert(r == 0);
        (void)r;
        if (index != PIPE_IN)
                set_reading(pipe, true);
}

/* A new pseudo-terminal: our side, and the path of the other. */
static int open_terminal(const struct process_options *options, int *ret_fd,
                         char path[static TERMINAL_PATH_SIZE])
{
        _cleanup_close_ int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        const struct winsize size = { .ws_col = options->cols, .ws_row = options->rows };

        if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0)
                return -errno;
        int r = ptsname_r(fd, path, TERMINAL_PATH_SIZE);
        if (r != 0)
                return -r;
        if (options->cols > 0 && options->rows > 0 && ioctl(fd, TIOCSWINSZ, &size) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int process_start(struct processes *processes, const struct process_options *options,
                  const struct process_events *events, void *owner, struct process **ret_process)
{
        _cleanup_close_ int terminal = -1;
        char path[TERMINAL_PATH_SIZE];
        struct spawn_options spawned = {
                .argv = options->argv,
                .environment = options->environment,
                .directory = options->directory,
                .takes_input = !options->has_terminal,
        };
        struct spawned child;
        int r = 0;

        struct process *process = calloc(1, sizeof(*process));
        if (!process)
                return -ENOMEM;
        if (options->has_terminal) {
                r = open_terminal(options, &terminal, path);
                spawned.terminal = path;
        }
        if (r == 0)
                r = spawn(&spawned, &child);
        if (r < 0) {
                free(process);
                return r;
        }
        process->processes = processes;
        process->has_terminal = options->has_terminal;
        process->events = events;
        process->owner = owner;
        /* After 2^31 of them the first are gone. */
        do
                processes->last_id = processes->last_id == INT32_MAX ? 1 : processes->last_id + 1;
        while (process_find(processes, processes->last_id));
        process->id = processes->last_id;
        process->child = (struct child){ .pid = child.pid, .on_exit = on_exit_status };
        list_append(&processes->list, &process->link);
        children_add(processes->children, &process->child);
        open_pipe(process, PIPE_OUT, options->has_terminal ? TAKE_FD(terminal) : child.out);
        open_pipe(process, PIPE_ERR, child.err);
        open_pipe(process, PIPE_IN, child.in);
        *ret_process = process;
        return 0;
}

int32_t process_id(const struct process *process)
{
        return process->id;
}

struct process *process_find(struct processes *processes, int32_t id)
{
        struct process *process;

        list_for_each (process, &processes->list, link)
                if (process->id == id)
                        return process;
        return NULL;
}

/* ---- what can be done to it ---- */

void process_abandon(struct process *process)
{
        process->events = NULL;
        kill(-process->child.pid, SIGKILL);
        end_if_complete(process);
}

int process_signal(struct process *process, int signal)
{
        if (kill(-process->child.pid, signal) == 0)
                return 0;
        return errno == ESRCH ? 0 : -errno;
}

int process_resize(struct process *process, uint16_t cols, uint16_t rows)
{
        const struct winsize size = { .ws_col = cols, .ws_row = rows };
        uv_os_fd_t fd;

        if (!process->has_terminal)
                return -ENOTTY;
        if (process->child.exited ||
            uv_fileno((uv_handle_t *)&process->pipes[PIPE_OUT].pipe, &fd) < 0)
                return -ESRCH;
        return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static struct process_pipe *input_of(struct process *process)
{
        struct process_pipe *pipe = &process->pipes[process->has_terminal ? PIPE_OUT : PIPE_IN];

        return process->input_closed || !pipe->open ? NULL : pipe;
}

static void on_written(uv_write_t *request, int status)
{
        struct process_write *write = container_of(request, struct process_write, request);
        struct process *process = write->process;

        process->waiting -= write->length;
        if (process->input_closed && process->waiting == 0 && !process->has_terminal)
                close_pipe(&process->pipes[PIPE_IN]);
        if (write->done)
                write->done(write->user, status);
        free(write);
}

int process_write(struct process *process, struct str input, void (*done)(void *user, int error),
                  void *user, struct process_write **ret_write)
{
        struct process_pipe *pipe = input_of(process);

        if (!pipe)
                return -EPIPE;
        if (process->waiting + input.length > LIMIT_PROCESS_INPUT && process->waiting > 0)
                return -ENOBUFS;
        struct process_write *write = malloc(sizeof(*write) + input.length);
        if (!write)
                return -ENOMEM;
        *write = (struct process_write){
                .process = process, .done = done, .user = user, .length = input.length
        };
        memcpy(write->bytes, input.data, input.length);
        const uv_buf_t buffer = uv_buf_init(write->bytes, (unsigned)input.length);
        int r = uv_write(&write->request, (uv_stream_t *)&pipe->pipe, &buffer, 1, on_written);
        if (r < 0) {
                free(write);
                return r;
        }
        process->waiting += input.length;
        *ret_write = write;
        return 0;
}

void process_write_forget(struct process_write *write)
{
        write->done = NULL;
}

int process_close_input(struct process *process)
{
        static const char end_of_input[] = { END_OF_INPUT };
        struct process_write *write;

        if (!input_of(process))
                return -EPIPE;
        if (process->has_terminal)
                return process_write(process, (struct str){ end_of_input, 1 }, NULL, NULL, &write);
        process->input_closed = true;
        if (process->waiting == 0)
                close_pipe(&process->pipes[PIPE_IN]);
        return 0;
}
