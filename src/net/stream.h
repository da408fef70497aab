// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "net/address.h"
#include "net/loop.h"

/*
 * A byte stream in both directions: a socket, an adopted descriptor, or a filter (TLS) over another
 * stream. Its user sees no difference.
 *
 * A stream ends in one of two ways. Either the user calls stream_close(): no callback comes after
 * that. Or it ends by itself, and on_close() is the last callback. After either the user may not
 * touch it. Callbacks come from the loop only, never from within a function called on the stream;
 * inside any callback everything may be called, stream_close() included.
 */
struct stream;

struct stream_callbacks {
        /* Connected, and the handshakes of all filters done. Not told of accepted sockets. */
        void (*on_open)(struct stream *stream, void *user);

        /* Bytes that are there until this returns; all of them must be taken. */
        void (*on_data)(struct stream *stream, void *user, struct str data);

        /* After stream_is_congested(): the queue is short again. */
        void (*on_drain)(struct stream *stream, void *user);

        /*
         * The peer will send no more. Writing goes on. Without this function the stream is shut
         * down. After stream_shutdown() it is not told: on_close(0) is.
         */
        void (*on_end)(struct stream *stream, void *user);

        /*
         * The stream is gone: 0 if both sides had ended in order, else a negative errno. Before
         * on_open: why it could not connect. -EPROTO and -EKEYREJECTED come from TLS: a broken
         * protocol, a peer that is not trusted.
         */
        void (*on_close)(struct stream *stream, void *user, int error);
};

/* Queued bytes above which a writer should wait, and at or below which on_drain is told. */
enum { STREAM_QUEUE_HIGH = 256 * 1024, STREAM_QUEUE_LOW = 64 * 1024 };

/* Pieces in one stream_write(). */
enum { STREAM_PIECES_MAX = 64 };

/*
 * Bytes to write. Without `release` they are only borrowed for the call (what cannot be written at
 * once is copied). With it they are kept uncopied, and release(user) is called exactly once, when
 * they are written or the stream closes; it may be called before stream_write() returns.
 */
struct stream_piece {
        struct str data;
        void (*release)(void *user);
        void *user;
};

/* Who is at the other end. Strings live as long as the stream. */
struct stream_peer {
        struct net_address address;
        bool has_credentials; /* a Unix socket: the three below (SO_PEERCRED) */
        pid_t pid;
        uid_t uid;
        gid_t gid;
        bool has_certificate; /* TLS with a verified peer certificate: the subject's names */
        struct str common_name;
        const struct str *organizations;
        size_t organization_count;
};

/* ---- making streams ---- */

/*
 * Connects. The stream is paused until stream_start(). Immediate failures come to on_close as well.
 * Returns 0, -ENOMEM, or what socket(2) gave (-EMFILE, -EAFNOSUPPORT).
 */
int stream_connect(struct net_loop *loop, const struct net_address *address,
                   struct stream **ret_stream);

/*
 * Takes over a connected socket, pipe end, PTY master or vsock, which it will close. The
 * descriptor is made non-blocking. On failure it stays the caller's.
 */
int stream_adopt(struct net_loop *loop, int fd, struct stream **ret_stream);

/* ---- using them ---- */

/* Sets who is called, and begins to read unless paused by stream_pause(). */
void stream_start(struct stream *stream, const struct stream_callbacks *callbacks, void *user);

/*
 * Takes the callbacks off again: nothing is read or told until the next stream_start(). For handing
 * a stream to another owner.
 */
void stream_detach(struct stream *stream);

/*
 * Writes at once what can be written at once, in order, and queues the rest. Errors come to
 * on_close, -ENOMEM too. After stream_shutdown() pieces are only released.
 */
void stream_write(struct stream *stream, const struct stream_piece *pieces, size_t count);

static inline void stream_write_str(struct stream *stream, struct str data)
{
        stream_write(stream, &(struct stream_piece){ data }, 1);
}

/* Bytes that were written but have not gone to the kernel. */
size_t stream_pending(const struct stream *stream);

/* Whether more than STREAM_QUEUE_HIGH is queued; on_drain will come. */
bool stream_is_congested(struct stream *stream);

/* Stops and resumes on_data and on_end. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Ends writing, after what is queued. The stream closes by itself when the peer has ended too. */
void stream_shutdown(struct stream *stream);

/* Gives the stream up at once; releases queued pieces before it returns. */
void stream_close(struct stream *stream);

/*
 * Whether the socket is still open with nothing unread: what to ask of a kept connection before
 * using it again.
 */
bool stream_is_fresh(struct stream *stream);

struct net_loop *stream_loop(const struct stream *stream);
const struct stream_peer *stream_peer(struct stream *stream);

/* The local end; *ret_address is empty when there is none. */
void stream_local_address(struct stream *stream, struct net_address *ret_address);

/* The protocol that ALPN agreed on ("h2", "http/1.1"); empty without TLS or ALPN. */
struct str stream_protocol(const struct stream *stream);

/* Whether a filter encrypts it. */
bool stream_is_secure(const struct stream *stream);

/*
 * What a server or client puts over each of its connections: TLS is one (net/tls.h). Takes `lower`
 * over, also on failure (then it is closed). `server_name` is empty on the server's side.
 */
struct stream_filter {
        int (*wrap)(struct stream_filter *filter, struct stream *lower, struct str server_name,
                    struct stream **ret_stream);
};

/* ---- listening ---- */

struct listener;

struct listener_options {
        /* A new connection, the callee's from now on. It is open, and paused until stream_start().
         */
        void (*on_accept)(struct listener *listener, void *user, struct stream *stream);
        void *user;
        unsigned max_connections; /* 0: LIMIT_CONNECTIONS; more wait in the kernel's queue */
        mode_t unix_mode;         /* of a Unix socket's file; 0: 0600 */
};

/*
 * Listens. Port 0 is a free one: see listener_address(). A Unix socket's stale file (nobody
 * listens) is replaced; with a live one it is -EADDRINUSE. Errors have a sentence.
 */
int listener_open(struct net_loop *loop, const struct net_address *address,
                  const struct listener_options *options, struct error *error,
                  struct listener **ret_listener);

/* The same over a listening descriptor that somebody else opened, which it will close. */
int listener_adopt(struct net_loop *loop, int fd, const struct listener_options *options,
                   struct error *error, struct listener **ret_listener);

/* Closes; connections that were accepted stay. Removes the file of a Unix socket it made. */
void listener_close(struct listener *listener);

const struct net_address *listener_address(const struct listener *listener);

/* Connections accepted here that are open now. */
unsigned listener_connections(const struct listener *listener);

/* ---- for filters ---- */

/* What an implementation provides; each is called as the function of the same name above. */
struct stream_ops {
        void (*update)(struct stream *stream); /* `on` or `paused` has changed */
        void (*write)(struct stream *stream, const struct stream_piece *pieces, size_t count);
        size_t (*pending)(const struct stream *stream);
        void (*shutdown)(struct stream *stream);
        void (*close)(struct stream *stream);
        bool (*is_fresh)(struct stream *stream);
        const struct stream_peer *(*peer)(struct stream *stream);
        void (*local_address)(struct stream *stream, struct net_address *ret_address);
        struct str (*protocol)(const struct stream *stream); /* NULL: none, and not secure */
};

/* The part that all implementations begin with. */
struct stream {
        const struct stream_ops *ops;
        struct net_loop *loop;
        const struct stream_callbacks *on; /* NULL: not started, or detached */
        void *user;
        bool paused;    /* by the user */
        bool congested; /* on_drain is owed */
        bool closed;    /* no more callbacks */
};

/* Whether the user wants on_data and on_end now. */
static inline bool stream_wants_data(const struct stream *stream)
{
        return stream->on && !stream->paused && !stream->closed;
}

/* Tells on_drain if it is owed and the queue is short. */
void stream_note_drained(struct stream *stream);

/* Calls the release function of each piece. */
void stream_release_pieces(const struct stream_piece *pieces, size_t count);
