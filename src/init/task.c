// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "init/init.h"

static void on_output(struct source *source, uint32_t events);
static void on_error(struct source *source, uint32_t events);
static void on_input(struct source *source, uint32_t events);

static struct task *task_new(struct init *init, struct connection *connection, uint32_t stream,
                             enum task_kind kind)
{
        struct task *task = calloc(1, sizeof(*task));

        if (!task)
                return NULL;
        task->init = init;
        task->connection = connection;
        task->stream = stream;
        task->kind = kind;
        task->input = (struct source){ .fd = -1, .ready = on_input };
        task->output = (struct source){ .fd = -1, .ready = on_output };
        task->error = (struct source){ .fd = -1, .ready = on_error };
        for (size_t i = 0; i < INITPROTO_CHANNELS; i++)
                task->credit[i] = INITPROTO_WINDOW;
        list_append(&init->tasks, &task->in_init);
        return task;
}

void task_free(struct task *task)
{
        /* The group cannot be another's as long as its leader is not reaped. */
        if (task->kind == TASK_EXEC && task->pid > 0)
                kill(-task->pid, SIGKILL);
        list_remove(&task->in_init);
        source_close(task->init, &task->input);
        source_close(task->init, &task->output);
        source_close(task->init, &task->error);
        buffer_deinit(&task->pending);
        free(task);
}

struct task *task_find(struct init *init, const struct connection *connection, uint32_t stream)
{
        struct task *task;

        if (stream == INITPROTO_STREAM_MAIN)
                return init->main;
        list_for_each (task, &init->tasks, in_init) {
                if (task->connection == connection && task->stream == stream)
                        return task;
        }
        return NULL;
}

static void send_failed(struct connection *connection, uint32_t stream, int error,
                        const char *stage)
{
        struct initproto_frame frame = { .type = INITPROTO_FAILED, .stream = stream };
        char reason[INITPROTO_REASON];

        snprintf(reason, sizeof(reason), "%s: %s", stage, strerror(-error));
        frame.failed.error = (uint32_t)-error;
        frame.failed.reason = str_from(reason);
        connection_send(connection, &frame);
}

/* To the connection of an EXEC, to all for the main process. */
static void broadcast(struct task *task, const struct initproto_frame *frame)
{
        struct connection *connection;

        if (task->kind != TASK_MAIN) {
                if (task->connection)
                        connection_send(task->connection, frame);
                return;
        }
        list_for_each (connection, &task->init->connections, in_init)
                connection_send(connection, frame);
}

static void send_data(struct task *task, enum initproto_channel channel, struct str data)
{
        struct initproto_frame frame = { .type = channel == INITPROTO_CHANNEL_ERROR
                                                         ? INITPROTO_ERROR
                                                         : INITPROTO_OUTPUT,
                                         .stream = task->stream,
                                         .data = data };

        task->credit[channel] -= data.length;
        connection_send(task->connection, &frame);
}

/* The process is gone and so is all that it has printed. */
static void finish(struct task *task)
{
        struct initproto_frame frame = { .type = INITPROTO_EXITED, .stream = task->stream };

        if (!task->has_exited || task->output.fd >= 0 || task->error.fd >= 0)
                return;
        frame.exited = task->exit;
        if (task->kind == TASK_MAIN) {
                task->init->exit = task->exit;
                task->init->state = INITPROTO_ENDED;
                logring_write_exit(&task->init->ring, &task->exit);
                broadcast(task, &frame);
                return;
        }
        broadcast(task, &frame);
        task_free(task);
}

static void end_channel(struct task *task, struct source *source, enum initproto_channel channel)
{
        source_close(task->init, source);
        if (task->connection)
                send_data(task, channel, STR_EMPTY);
}

/* Reads what the main process prints into the ring; returns false at the end. */
static bool read_to_ring(struct task *task, struct source *source, enum initproto_channel channel)
{
        char bytes[LOGRING_RECORD];
        bool grown = false, is_open = true;

        /* Bounded, so that a noisy process does not keep init from its other work, nor one that
         * outlives the main process init from its end: a pipe holds 1 MiB at most. */
        for (int turn = 0; turn < (task->has_exited ? 64 : 16); turn++) {
                ssize_t got = read(source->fd, bytes, sizeof(bytes));
                if (got <= 0) {
                        is_open = got < 0 && (errno == EAGAIN || errno == EINTR);
                        break;
                }
                /* A full disk loses output, not the process. */
                logring_write(&task->init->ring,
                              channel == INITPROTO_CHANNEL_ERROR ? LOGRING_STDERR : LOGRING_STDOUT,
                              clock_realtime_ns(), bytes, (size_t)got);
                grown = true;
        }
        if (grown)
                connections_log_grown(task->init);
        return is_open && !task->has_exited;
}

/* Reads what the node has room for; returns false at the end. */
static bool read_to_node(struct task *task, struct source *source, enum initproto_channel channel)
{
        char bytes[INITPROTO_DATA];

        while (task->credit[channel] > 0 && !connection_is_full(task->connection)) {
                ssize_t got = read(source->fd, bytes, MIN(sizeof(bytes), task->credit[channel]));
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0 && errno == EAGAIN)
                        return !task->has_exited;
                if (got <= 0)
                        return false;
                send_data(task, channel, (struct str){ bytes, (size_t)got });
                if (task->connection->is_broken)
                        return true;
        }
        return true;
}

static void read_source(struct task *task, struct source *source, enum initproto_channel channel)
{
        bool is_open = true;

        if (source->fd < 0)
                return;
        if (task->kind == TASK_MAIN)
                is_open = read_to_ring(task, source, channel);
        else if (task->connection && !task->connection->is_broken)
                is_open = read_to_node(task, source, channel);
        if (!is_open) {
                if (task->kind == TASK_MAIN)
                        source_close(task->init, source);
                else
                        end_channel(task, source, channel);
                return;
        }
        bool has_room = task->kind == TASK_MAIN || (task->credit[channel] > 0 && task->connection &&
                                                    !connection_is_full(task->connection));
        source_watch(task->init, source, has_room ? EPOLLIN : 0);
}

void task_resume(struct task *task)
{
        if (task->is_connecting)
                return;
        read_source(task, &task->output, INITPROTO_CHANNEL_OUTPUT);
        read_source(task, &task->error, INITPROTO_CHANNEL_ERROR);
        finish(task);
}

static void on_output(struct source *source, uint32_t events)
{
        (void)events;
        task_resume(container_of(source, struct task, output));
}

static void on_error(struct source *source, uint32_t events)
{
        (void)events;
        task_resume(container_of(source, struct task, error));
}

static void send_room(struct connection *connection, uint32_t stream, size_t bytes)
{
        struct initproto_frame frame = { .type = INITPROTO_WINDOW_ADD, .stream = stream };

        frame.window.channel = INITPROTO_CHANNEL_INPUT;
        frame.window.bytes = (uint32_t)bytes;
        if (bytes > 0)
                connection_send(connection, &frame);
}

/* Any connection may write to the main process: all get their room back when all is written. */
static void give_room(struct task *task, size_t bytes)
{
        struct connection *connection;

        if (task->kind != TASK_MAIN) {
                send_room(task->connection, task->stream, bytes);
                return;
        }
        if (task->pending.length > 0)
                return;
        list_for_each (connection, &task->init->connections, in_init) {
                send_room(connection, task->stream, connection->main_owed);
                connection->main_owed = 0;
        }
}

/* The end of input: a pipe is closed, a connection half closed, a terminal gets its EOF
 * character. */
static void end_input(struct task *task)
{
        if (task->kind == TASK_CONNECT) {
                shutdown(task->input.fd, SHUT_WR);
        } else if (task->is_terminal) {
                struct termios settings;
                if (tcgetattr(task->input.fd, &settings) == 0) {
                        ssize_t written = write(task->input.fd, &settings.c_cc[VEOF], 1);
                        (void)written;
                }
        }
        source_close(task->init, &task->input);
}

static void write_input(struct task *task)
{
        size_t done = 0;

        if (task->input.fd < 0 || task->is_connecting)
                return;
        while (done < task->pending.length) {
                ssize_t written = write(task->input.fd, task->pending.data + done,
                                        task->pending.length - done);
                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0 && errno == EAGAIN)
                        break;
                if (written < 0) {
                        /* Nobody reads any more: swallow what comes. */
                        done = task->pending.length;
                        source_close(task->init, &task->input);
                        break;
                }
                done += (size_t)written;
        }
        buffer_consume(&task->pending, done);
        give_room(task, done);
        if (task->input.fd < 0)
                return;
        if (task->pending.length == 0 && task->input_ended)
                end_input(task);
        else
                source_watch(task->init, &task->input, task->pending.length > 0 ? EPOLLOUT : 0);
}

static void connected(struct task *task)
{
        struct initproto_frame frame = { .type = INITPROTO_STARTED, .stream = task->stream };
        int error = 0;
        socklen_t size = sizeof(error);

        struct sockaddr_in peer;
        socklen_t peer_size = sizeof(peer);

        if (getsockopt(task->input.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        if (error != 0) {
                if (task->connection)
                        send_failed(task->connection, task->stream, -error, "connecting");
                task_free(task);
                return;
        }
        if (getpeername(task->input.fd, (struct sockaddr *)&peer, &peer_size) < 0)
                return;
        task->is_connecting = false;
        frame.started.time_ns = clock_realtime_ns();
        broadcast(task, &frame);
        write_input(task);
        task_resume(task);
}

static void on_input(struct source *source, uint32_t events)
{
        struct task *task = container_of(source, struct task, input);

        (void)events;
        if (task->is_connecting)
                connected(task);
        else
                write_input(task);
}

int task_input(struct task *task, struct connection *connection, struct str data)
{
        size_t unwritten = task->pending.length;

        if (task->kind == TASK_MAIN)
                unwritten = connection->main_owed;
        if (unwritten + data.length > INITPROTO_WINDOW)
                return -EPROTO;
        if (task->kind == TASK_MAIN)
                connection->main_owed += data.length;
        if (task->input.fd < 0 || task->input_ended) {
                give_room(task, data.length);
                return 0;
        }
        if (data.length == 0)
                task->input_ended = true;
        int r = buffer_append_str(&task->pending, data);
        if (r < 0)
                return r;
        write_input(task);
        return 0;
}

void task_resize(struct task *task, uint16_t rows, uint16_t columns)
{
        struct winsize size = { .ws_row = rows, .ws_col = columns };

        if (task->is_terminal && task->output.fd >= 0)
                ioctl(task->output.fd, TIOCSWINSZ, &size);
}

void task_signal(struct task *task, int signal)
{
        if (task->pid > 0)
                kill(task->kind == TASK_MAIN ? task->pid : -task->pid, signal);
}

int task_run(struct init *init, struct connection *connection, uint32_t stream,
             const struct initproto_process *process)
{
        struct initproto_frame frame = { .type = INITPROTO_STARTED, .stream = stream };
        bool is_main = stream == INITPROTO_STREAM_MAIN;
        struct spawned spawned;
        const char *stage;

        if (is_main && init->state != INITPROTO_IDLE) {
                send_failed(connection, stream, -EALREADY, "starting the main process again");
                return 0;
        }
        struct task *task = task_new(init, is_main ? NULL : connection, stream,
                                     is_main ? TASK_MAIN : TASK_EXEC);
        if (!task)
                return -ENOMEM;
        int r = spawn(process, &spawned, &stage);
        if (r < 0) {
                task_free(task);
                send_failed(connection, stream, r, stage);
                return 0;
        }
        task->pid = spawned.pid;
        task->is_terminal = process->flags & INITPROTO_TERMINAL;
        task->input.fd = spawned.input;
        task->output.fd = spawned.output;
        task->error.fd = spawned.error;
        frame.started.pid = (uint32_t)spawned.pid;
        frame.started.time_ns = clock_realtime_ns();
        if (is_main) {
                init->main = task;
                init->state = INITPROTO_RUNNING;
                init->started_ns = frame.started.time_ns;
                logring_write_started(&init->ring, init->started_ns);
        }
        broadcast(task, &frame);
        source_watch(init, &task->output, EPOLLIN);
        source_watch(init, &task->error, EPOLLIN);
        return 0;
}

int task_connect(struct init *init, struct connection *connection, uint32_t stream, struct str host,
                 uint16_t port)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        char text[INET_ADDRSTRLEN];
        int on = 1;

        if (host.length > 0) {
                snprintf(text, sizeof(text), "%.*s", STR_FORMAT(host));
                if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
                        send_failed(connection, stream, -EINVAL, "reading the address");
                        return 0;
                }
        }
        struct task *task = task_new(init, connection, stream, TASK_CONNECT);
        if (!task)
                return -ENOMEM;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        task->input.fd = fd;
        task->output.fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 5) : -1;
        if (task->output.fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
                                    errno != EINPROGRESS)) {
                int r = -errno;
                task_free(task);
                send_failed(connection, stream, r, "connecting");
                return 0;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        task->is_connecting = true;
        return source_watch(init, &task->input, EPOLLOUT);
}

void task_reaped(struct init *init, pid_t pid, int status)
{
        struct task *task;

        list_for_each (task, &init->tasks, in_init) {
                if (task->pid != pid)
                        continue;
                task->pid = 0;
                task->has_exited = true;
                task->exit.finished_ns = clock_realtime_ns();
                if (WIFSIGNALED(status)) {
                        task->exit.signal = (uint32_t)WTERMSIG(status);
                        task->exit.code = 128 + task->exit.signal;
                } else {
                        task->exit.code = (uint32_t)WEXITSTATUS(status);
                }
                task_resume(task);
                return;
        }
}
