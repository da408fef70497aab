// SPDX-License-Identifier: Apache-2.0
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/piece_queue.h"

/*
 * The bottom of every stream: a descriptor watched by uv_poll. Not uv_tcp_t and uv_pipe_t, because
 * one kind of handle serves TCP, Unix sockets, vsock, pipes and PTYs alike; writes raise no
 * SIGPIPE; and a listener can stop accepting.
 */
enum {
        READS_IN_A_ROW = 4, /* full buffers taken before other streams have their turn */
        KEEPALIVE_IDLE_S = 60,
        KEEPALIVE_INTERVAL_S = 15,
        KEEPALIVE_COUNT = 4,
};

struct socket_stream {
        uv_poll_t poll; /* first: poll_closed() frees it */
        struct stream stream;
        struct piece_queue queue;
        struct net_task task; /* reports `opened` and `ended` from the loop */
        void (*on_gone)(void *user);
        void *user;
        struct stream_peer peer;
        int fd;
        int family;
        int events; /* that uv watches for */
        int error;
        bool connecting;
        bool is_socket; /* sendmsg() can be told not to raise SIGPIPE */
        bool opened;    /* on_open is owed */
        bool ended;     /* on_close is owed, with `error` */
        bool peer_known;
        bool peer_ended;
        bool shutdown_wanted, shutdown_done;
        bool write_failed; /* with `error`; what has arrived is still read */
};

static struct socket_stream *from_stream(const struct stream *stream)
{
        return container_of(stream, struct socket_stream, stream);
}

/* ---- the end ---- */

static void poll_closed(uv_handle_t *handle)
{
        free(handle);
}

static void socket_close(struct stream *stream)
{
        struct socket_stream *s = from_stream(stream);

        net_task_cancel(&s->task);
        piece_queue_clear(&s->queue);
        /* Before the descriptor: its number may be another's at once, and uv would forget that. */
        uv_close((uv_handle_t *)&s->poll, poll_closed);
        s->fd = fd_close(s->fd);
        if (s->on_gone)
                s->on_gone(s->user);
}

/* Only the loop may tell the user, so the end waits for its turn. */
static void end(struct socket_stream *s, int error)
{
        if (s->ended)
                return;
        s->ended = true;
        s->error = error;
        net_loop_defer(s->stream.loop, &s->task);
}

static void run_task(struct net_task *task)
{
        struct socket_stream *s = container_of(task, struct socket_stream, task);
        const struct stream_callbacks *on = s->stream.on;
        void *user = s->stream.user;

        /* Detached: stream_start() will queue the task again. */
        if (!on)
                return;
        if (s->opened) {
                s->opened = false;
                if (on->on_open)
                        on->on_open(&s->stream, user);
                if (s->stream.closed || !s->ended)
                        return;
        }
        if (s->ended) {
                int error = s->error;
                stream_close(&s->stream);
                if (on->on_close)
                        on->on_close(&s->stream, user, error);
        }
}

/* ---- what uv watches ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct socket_stream *s)
{
        int events = 0;

        if (s->stream.closed || s->ended)
                return;
        if (!s->connecting && !s->peer_ended && stream_wants_data(&s->stream))
                events |= UV_READABLE;
        if (s->connecting || s->queue.first)
                events |= UV_WRITABLE;
        if (events == s->events)
                return;
        s->events = events;
        int r = events ? uv_poll_start(&s->poll, events, on_poll) : uv_poll_stop(&s->poll);
        if (r < 0)
                end(s, r);
}

static void fail_writing(struct socket_stream *s, int error)
{
        piece_queue_clear(&s->queue);
        s->shutdown_wanted = s->shutdown_done = true;
        /* An early answer may have arrived before the reset: it is read first. */
        if (s->peer_ended || !stream_wants_data(&s->stream)) {
                end(s, error);
                return;
        }
        s->write_failed = true;
        s->error = error;
}

static void finish_shutdown(struct socket_stream *s)
{
        if (!s->shutdown_wanted || s->shutdown_done || s->queue.first || s->connecting)
                return;
        s->shutdown_done = true;
        if (s->is_socket)
                shutdown(s->fd, SHUT_WR);
        if (s->peer_ended)
                end(s, 0);
}

/* ---- writing ---- */

static ssize_t write_some(struct socket_stream *s, struct iovec *parts, size_t count)
{
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
        ssize_t n;

        do
                n = s->is_socket ? sendmsg(s->fd, &message, MSG_NOSIGNAL)
                                 : writev(s->fd, parts, (int)count);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

static void socket_write(struct stream *stream, const struct stream_piece *pieces, size_t count)
{
        struct socket_stream *s = from_stream(stream);
        struct iovec parts[STREAM_PIECES_MAX];
        size_t written = 0, i = 0;

        if (s->shutdown_wanted || s->ended || s->write_failed) {
                stream_release_pieces(pieces, count);
                return;
        }
        if (!s->queue.first && !s->connecting) {
                for (size_t j = 0; j < count; j++)
                        parts[j] = (struct iovec){ (void *)(uintptr_t)pieces[j].data.data,
                                                   pieces[j].data.length };
                ssize_t n = write_some(s, parts, count);
                if (n < 0 && n != -EAGAIN) {
                        stream_release_pieces(pieces, count);
                        fail_writing(s, (int)n);
                        return;
                }
                written = n < 0 ? 0 : (size_t)n;
        }
        for (; i < count && written >= pieces[i].data.length; i++) {
                written -= pieces[i].data.length;
                stream_release_pieces(&pieces[i], 1);
        }
        if (stream->closed) {
                stream_release_pieces(pieces + i, count - i);
                return;
        }
        for (; i < count; i++, written = 0) {
                if (piece_queue_append(&s->queue, &pieces[i], written) < 0) {
                        stream_release_pieces(pieces + i + 1, count - i - 1);
                        piece_queue_clear(&s->queue);
                        end(s, -ENOMEM);
                        return;
                }
        }
        watch(s);
}

static void flush(struct socket_stream *s)
{
        struct iovec parts[STREAM_PIECES_MAX];
        size_t count = 0;

        for (struct queued_piece *c = s->queue.first; c && count < STREAM_PIECES_MAX; c = c->next)
                parts[count++] = (struct iovec){ (void *)(uintptr_t)c->data.data, c->data.length };
        if (count == 0)
                return;
        ssize_t n = write_some(s, parts, count);
        if (n == -EAGAIN)
                return;
        if (n < 0) {
                fail_writing(s, (int)n);
                return;
        }
        piece_queue_consume(&s->queue, (size_t)n);
        if (s->stream.closed)
                return;
        finish_shutdown(s);
        stream_note_drained(&s->stream);
}

static size_t socket_pending(const struct stream *stream)
{
        return from_stream(stream)->queue.pending;
}

static void socket_shutdown(struct stream *stream)
{
        struct socket_stream *s = from_stream(stream);

        if (s->shutdown_wanted)
                return;
        s->shutdown_wanted = true;
        finish_shutdown(s);
}

/* ---- reading ---- */

static void peer_has_ended(struct socket_stream *s)
{
        s->peer_ended = true;
        if (s->write_failed) {
                end(s, s->error);
                return;
        }
        if (s->shutdown_done)
                end(s, 0);
        else if (s->stream.on->on_end)
                s->stream.on->on_end(&s->stream, s->stream.user);
        else
                socket_shutdown(&s->stream);
}

/* Reads what there is. A reset or the end of a PTY comes as an error of read(2). */
static void read_some(struct socket_stream *s, bool until_error)
{
        char *data = net_loop_read_buffer(s->stream.loop);

        for (unsigned i = 0; until_error || i < READS_IN_A_ROW; i++) {
                if (s->peer_ended || s->ended || !stream_wants_data(&s->stream))
                        return;
                ssize_t n = read(s->fd, data, NET_READ_SIZE);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n == 0 || (n < 0 && errno == EIO && !s->is_socket)) {
                        peer_has_ended(s);
                        return;
                }
                if (n < 0) {
                        end(s, s->write_failed ? s->error : -errno);
                        return;
                }
                s->stream.on->on_data(&s->stream, s->stream.user, (struct str){ data, (size_t)n });
                if (!until_error && n < NET_READ_SIZE)
                        return;
        }
}

static int socket_error(int fd)
{
        int error = 0;
        socklen_t size = sizeof(error);

        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                return errno == ENOTSOCK ? 0 : -errno;
        return -error;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
        struct socket_stream *s = container_of(poll, struct socket_stream, poll);

        if (s->stream.closed || s->ended)
                return;
        /* uv stops watching on POLLERR and says no more than that. */
        if (status < 0)
                s->events = 0;

        if (s->connecting) {
                int error = socket_error(s->fd);
                if (error < 0 || status < 0) {
                        end(s, error < 0 ? error : -ECONNREFUSED);
                        return;
                }
                s->connecting = false;
                s->opened = true;
                net_loop_defer(s->stream.loop, &s->task);
                flush(s);
                finish_shutdown(s);
        } else if (status < 0) {
                read_some(s, true);
                if (!s->stream.closed && !s->ended) {
                        int error = socket_error(s->fd);
                        end(s, error < 0 ? error : -EPIPE);
                }
        } else {
                if (events & UV_READABLE)
                        read_some(s, false);
                if ((events & UV_WRITABLE) && !s->stream.closed && !s->ended)
                        flush(s);
        }
        watch(s);
}

/* ---- the rest ---- */

static void socket_update(struct stream *stream)
{
        struct socket_stream *s = from_stream(stream);

        if (stream->on && (s->opened || s->ended))
                net_loop_defer(stream->loop, &s->task);
        if (s->write_failed && !stream_wants_data(stream))
                end(s, s->error);
        watch(s);
}

static bool socket_is_fresh(struct stream *stream)
{
        struct socket_stream *s = from_stream(stream);
        char byte;

        if (s->ended || s->peer_ended || s->connecting || s->write_failed)
                return false;
        return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static const struct stream_peer *socket_peer(struct stream *stream)
{
        struct socket_stream *s = from_stream(stream);

        if (s->peer_known || stream->closed)
                return &s->peer;
        s->peer_known = true;
        socklen_t length = sizeof(s->peer.address.un);
        if (getpeername(s->fd, &s->peer.address.generic, &length) == 0)
                s->peer.address.length = MIN(length, (socklen_t)sizeof(s->peer.address.un));
        struct ucred credentials;
        length = sizeof(credentials);
        if (s->family == AF_UNIX &&
            getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
                s->peer.has_credentials = true;
                s->peer.pid = credentials.pid;
                s->peer.uid = credentials.uid;
                s->peer.gid = credentials.gid;
        }
        return &s->peer;
}

static void socket_local_address(struct stream *stream, struct net_address *ret_address)
{
        struct socket_stream *s = from_stream(stream);
        socklen_t length = sizeof(ret_address->un);

        *ret_address = (struct net_address){};
        if (!stream->closed && getsockname(s->fd, &ret_address->generic, &length) == 0)
                ret_address->length = MIN(length, (socklen_t)sizeof(ret_address->un));
}

static const struct stream_ops socket_ops = {
        .update = socket_update,
        .write = socket_write,
        .pending = socket_pending,
        .shutdown = socket_shutdown,
        .close = socket_close,
        .is_fresh = socket_is_fresh,
        .peer = socket_peer,
        .local_address = socket_local_address,
};

/* Answers are small and peers vanish: no Nagle, and probes for those that do. */
static void set_tcp_options(int fd)
{
        const struct {
                int level, name, value;
        } options[] = {
                { IPPROTO_TCP, TCP_NODELAY, 1 },
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
                { IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
                { IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
        };

        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                                 sizeof(options[i].value));
}

int socket_stream_new(struct net_loop *loop, int fd, int family, bool connecting,
                      void (*on_gone)(void *user), void *user, struct stream **ret_stream)
{
        struct socket_stream *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        int r = uv_poll_init(net_loop_uv(loop), &s->poll, fd);
        if (r < 0) {
                free(s);
                return r;
        }
        if (family == AF_INET || family == AF_INET6)
                set_tcp_options(fd);
        s->stream.ops = &socket_ops;
        s->stream.loop = loop;
        piece_queue_init(&s->queue);
        s->task.run = run_task;
        s->on_gone = on_gone;
        s->user = user;
        s->fd = fd;
        s->family = family;
        s->is_socket = family >= 0;
        s->connecting = connecting;
        if (!s->is_socket) {
                int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
                s->peer_ended = mode == O_WRONLY;
                s->shutdown_wanted = s->shutdown_done = mode == O_RDONLY;
        }
        *ret_stream = &s->stream;
        return 0;
}

int stream_connect(struct net_loop *loop, const struct net_address *address,
                   struct stream **ret_stream)
{
        int family = address->generic.sa_family;
        _cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct stream *stream;

        if (fd < 0)
                return -errno;
        int failure = connect(fd, &address->generic, address->length) < 0 ? -errno : 0;
        int r = socket_stream_new(loop, fd, family, failure == -EINPROGRESS, NULL, NULL, &stream);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        struct socket_stream *s = from_stream(stream);
        if (failure == 0)
                s->opened = true;
        else if (failure == -EINPROGRESS)
                watch(s);
        else
                end(s, failure);
        *ret_stream = stream;
        return 0;
}

int stream_adopt(struct net_loop *loop, int fd, struct stream **ret_stream)
{
        int family;
        socklen_t length = sizeof(family);

        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0) {
                if (errno != ENOTSOCK)
                        return -errno;
                family = -1;
        }
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return socket_stream_new(loop, fd, family, false, NULL, NULL, ret_stream);
}
