// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"

enum { OUT_MAX = 256 * 1024, READ_SIZE = 64 * 1024 };

bool connection_is_full(const struct connection *connection)
{
        return connection->out.length >= OUT_MAX;
}

void connection_free(struct connection *connection)
{
        struct init *init = connection->init;
        struct task *task;

        list_for_each (task, &init->tasks, in_init) {
                if (task->connection == connection)
                        task_free(task);
        }
        list_remove(&connection->in_init);
        init->connection_count--;
        source_close(init, &connection->source);
        buffer_deinit(&connection->in);
        buffer_deinit(&connection->out);
        free(connection);
}

void connection_send(struct connection *connection, const struct initproto_frame *frame)
{
        if (!connection->is_broken && initproto_encode(frame, &connection->out) < 0)
                connection->is_broken = true;
}

void connection_flush(struct connection *connection)
{
        size_t done = 0;

        while (!connection->is_broken && done < connection->out.length) {
                ssize_t sent = send(connection->source.fd, connection->out.data + done,
                                    connection->out.length - done, MSG_NOSIGNAL);
                if (sent < 0 && errno == EINTR)
                        continue;
                if (sent < 0 && errno == EAGAIN)
                        break;
                if (sent < 0)
                        connection->is_broken = true;
                else
                        done += (size_t)sent;
        }
        buffer_consume(&connection->out, done);
        source_watch(connection->init, &connection->source,
                     connection->out.length > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void connections_log_grown(struct init *init)
{
        struct initproto_frame frame = { .type = INITPROTO_LOG, .log_end = init->ring.head };
        struct connection *connection;

        list_for_each (connection, &init->connections, in_init) {
                if (!connection->watches_log || connection->log_watched >= init->ring.head)
                        continue;
                connection->watches_log = false;
                connection_send(connection, &frame);
        }
}

static int on_window(struct task *task, const struct initproto_frame *frame)
{
        enum initproto_channel channel = frame->window.channel;

        if (channel == INITPROTO_CHANNEL_INPUT || task->kind == TASK_MAIN ||
            task->credit[channel] + frame->window.bytes > INITPROTO_WINDOW)
                return -EPROTO;
        task->credit[channel] += frame->window.bytes;
        task_resume(task);
        return 0;
}

static int on_stream_frame(struct connection *connection, const struct initproto_frame *frame)
{
        struct task *task = task_find(connection->init, connection, frame->stream);

        /* The node may speak of a stream that has just ended. */
        if (!task)
                return 0;
        switch (frame->type) {
        case INITPROTO_INPUT:
                return task_input(task, connection, frame->data);
        case INITPROTO_RESIZE:
                task_resize(task, frame->resize.rows, frame->resize.columns);
                return 0;
        case INITPROTO_SIGNAL:
                task_signal(task, (int)frame->signal);
                return 0;
        case INITPROTO_CLOSE:
                task_free(task);
                return 0;
        case INITPROTO_WINDOW_ADD:
                return on_window(task, frame);
        default:
                return -EPROTO;
        }
}

static unsigned count_tasks(const struct connection *connection)
{
        struct task *task;
        unsigned count = 0;

        list_for_each (task, &connection->init->tasks, in_init)
                count += task->connection == connection;
        return count;
}

static int on_frame(struct connection *connection, const struct initproto_frame *frame)
{
        struct init *init = connection->init;

        switch (frame->type) {
        case INITPROTO_EXEC:
        case INITPROTO_CONNECT:
                if (task_find(init, connection, frame->stream) ||
                    count_tasks(connection) >= INITPROTO_STREAMS)
                        return -EPROTO;
                if (frame->type == INITPROTO_EXEC)
                        return task_run(init, connection, frame->stream, &frame->process);
                return task_connect(init, connection, frame->stream, frame->connect.host,
                                    frame->connect.port);
        case INITPROTO_START:
                return task_run(init, connection, frame->stream, &frame->process);
        case INITPROTO_LOG_WATCH:
                connection->watches_log = true;
                connection->log_watched = frame->log_end;
                connections_log_grown(init);
                return 0;
        default:
                return on_stream_frame(connection, frame);
        }
}

static int take_frames(struct connection *connection)
{
        size_t used = 0;
        int r;

        for (;;) {
                struct str rest =
                        str_slice(buffer_str(&connection->in), used, connection->in.length);
                struct initproto_frame frame;
                size_t size;
                r = initproto_decode(rest, &frame, &size);
                if (r <= 0)
                        break;
                used += size;
                r = on_frame(connection, &frame);
                if (r < 0)
                        break;
        }
        buffer_consume(&connection->in, used);
        return r;
}

static void read_frames(struct connection *connection)
{
        if (buffer_reserve(&connection->in, READ_SIZE) < 0) {
                connection->is_broken = true;
                return;
        }
        ssize_t got = recv(connection->source.fd, connection->in.data + connection->in.length,
                           READ_SIZE, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (got <= 0) {
                connection->is_broken = true;
                return;
        }
        connection->in.length += (size_t)got;
        if (take_frames(connection) < 0)
                connection->is_broken = true;
}

static void on_ready(struct source *source, uint32_t events)
{
        struct connection *connection = container_of(source, struct connection, source);
        struct task *task;
        bool was_full = connection_is_full(connection);

        if (events & EPOLLOUT)
                connection_flush(connection);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                read_frames(connection);
        if (!was_full || connection_is_full(connection))
                return;
        list_for_each (task, &connection->init->tasks, in_init) {
                if (task->connection == connection)
                        task_resume(task);
        }
}

int connection_accept(struct init *init)
{
        struct initproto_frame frame = { .type = INITPROTO_HELLO };
        _cleanup_close_ int fd =
                accept4(init->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
        if (init->connection_count >= INITPROTO_CONNECTIONS)
                return 0;
        struct connection *connection = calloc(1, sizeof(*connection));
        if (!connection)
                return -ENOMEM;
        connection->init = init;
        connection->source = (struct source){ .fd = TAKE_FD(fd), .ready = on_ready };
        list_append(&init->connections, &connection->in_init);
        init->connection_count++;

        frame.hello = (struct initproto_hello){
                .version = INITPROTO_VERSION,
                .state = init->state,
                .pid = init->main ? (uint32_t)init->main->pid : 0,
                .started_ns = init->started_ns,
                .log_end = init->ring.head,
                .exit = init->exit,
        };
        connection_send(connection, &frame);
        return 0;
}
