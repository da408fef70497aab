// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "net/http.h"
#include "net/stream.h"

/*
 * An HTTP server on a loop. Each request is an exchange; handlers see no difference between
 * HTTP/1.1 and HTTP/2. Serving needs neither OpenSSL nor nghttp2: TLS comes as a stream_filter,
 * HTTP/2 as an http_protocol.
 */
struct http_server;
struct http_exchange;
struct http_protocol; /* net/http2.h has one */

/* Unread body after an early answer, to keep a connection. */
enum { HTTP_DISCARD_LIMIT = 256 * 1024 };

struct http_server_options {
        /* A request's head is there. Must call http_exchange_start() or answer before it returns.
         */
        void (*on_request)(void *user, struct http_exchange *exchange);
        void *user;

        /*
         * The body of answers that the server gives by itself (400, 408, 413, 431, 501, 505):
         * append it to `body` and return its Content-Type. NULL: the reason as text/plain.
         */
        struct str (*render_error)(void *user, unsigned status, struct str reason,
                                   struct buffer *body);

        const struct http_protocol *http2; /* NULL: HTTP/1.1 only. ALPN h2, or prior knowledge */
        /*
         * Open connections, of all listeners; 0: LIMIT_CONNECTIONS, or three quarters of the
         * process's descriptors if that is less. Requests on LIMIT_CONNECTIONS_REFUSED further ones
         * are answered with 503 and Retry-After; more than those wait in the kernel's queue.
         */
        unsigned max_connections;
        uint32_t head_timeout_ms; /* 0: LIMIT_HEAD_MS; LIMIT_IDLE_MS and so on below */
        uint32_t idle_timeout_ms;
        uint32_t body_timeout_ms;
        uint32_t write_timeout_ms;
};

int http_server_new(struct net_loop *loop, const struct http_server_options *options,
                    struct http_server **ret_server);

/* Closes everything at once; exchanges in progress get on_abort(-ECANCELED) first. */
void http_server_free(struct http_server *server);

/*
 * Listens, with TLS if `filter` is not NULL. `tag` is what http_exchange.tag says of requests that
 * come this way. Errors have a sentence. `ret_listener` may be NULL; it is the server's.
 */
int http_server_listen(struct http_server *server, const struct net_address *address,
                       struct stream_filter *filter, int tag, struct error *error,
                       struct listener **ret_listener);

/* The same for a listening descriptor, which is the server's from then on. */
int http_server_adopt(struct http_server *server, int fd, struct stream_filter *filter, int tag,
                      struct error *error, struct listener **ret_listener);

/* Serves a stream that is connected already, taking it over. 0 or -ENOMEM (then it is closed). */
int http_server_serve(struct http_server *server, struct stream *stream, int tag);

/*
 * Stops listening, closes idle connections, lets exchanges finish (their connections close after
 * the answer, HTTP/2 is told GOAWAY). After `deadline_ms` the rest gets on_abort(-ECANCELED).
 * `on_drained` is called once from the loop when nothing is left.
 */
void http_server_drain(struct http_server *server, uint64_t deadline_ms,
                       void (*on_drained)(void *user), void *user);

struct http_server_counters {
        unsigned connections; /* open now */
        unsigned exchanges;   /* in progress now */
        uint64_t requests;    /* ever */
        uint64_t refused;     /* answered by the server itself: bad or slow requests */
};
struct http_server_counters http_server_counters(const struct http_server *server);

/* ---- one exchange ---- */

struct http_exchange_callbacks {
        /* A piece of the body, there until this returns; all of it must be taken. */
        void (*on_body)(struct http_exchange *exchange, void *user, struct str data);

        /* The body is complete. Told for requests without one too. */
        void (*on_body_end)(struct http_exchange *exchange, void *user);

        /* Instead of the two above, after http_exchange_collect(): the whole body at once. */
        void (*on_whole)(struct http_exchange *exchange, void *user, struct str body);

        /* What was sent has gone out far enough to send more; see http_exchange_is_congested(). */
        void (*on_drain)(struct http_exchange *exchange, void *user);

        /*
         * The client has gone (-ECONNRESET, -EPIPE), was too slow (-ETIMEDOUT), sent a broken body
         * (-EBADMSG), or the server ends (-ECANCELED). The last callback; the exchange is gone when
         * it returns.
         */
        void (*on_abort)(struct http_exchange *exchange, void *user, int error);
};

/*
 * The exchange is the handler's until the handler ends it (respond, end, abort, upgrade) or
 * on_abort comes. It may be answered at any time, also before its body was read. Callbacks come
 * from the loop only.
 */
struct http_exchange {
        struct http_request_head request; /* lives as long as the exchange */
        struct arena *arena;              /* for whatever lives as long as the exchange */
        struct stream *connection;        /* for stream_peer() and the like only */
        int tag;                          /* of the listener */

        /* The server's own. */
        const struct http_exchange_ops *ops;
        const struct http_exchange_callbacks *on;
        void *user;
        struct http_server *server;
        uint64_t sent; /* bytes of body: not of one that is left out */
        unsigned status;
        bool active;  /* the handler's to answer */
        bool begun;   /* an answer has begun */
        bool refused; /* its head could not be sent: a 500 went instead, pieces are dropped */
        bool collecting;
        size_t collect_limit;
        struct buffer collected;
};

/* Sets who is called. The body comes as soon as on_request has returned. */
void http_exchange_start(struct http_exchange *exchange,
                         const struct http_exchange_callbacks *callbacks, void *user);

/*
 * The same, but collects the body and calls on_whole. A body over `limit` is answered with 413,
 * followed by on_abort(-EFBIG).
 */
void http_exchange_collect(struct http_exchange *exchange, size_t limit,
                           const struct http_exchange_callbacks *callbacks, void *user);

/* Holds the body back in the network, and lets it come again. */
void http_exchange_pause(struct http_exchange *exchange);
void http_exchange_resume(struct http_exchange *exchange);

/* Pieces in one http_exchange_send(). */
enum { HTTP_PIECES_MAX = STREAM_PIECES_MAX - 4 };

/*
 * Answers whole, and ends the exchange. Content-Length, Date and Connection are added (given ones
 * of them are left out, but for Date); a body is left out where there is none (HEAD, 204, 304). A
 * field that may not be sent (http_is_token, http_is_field_value) makes it a 500, logged: check
 * what comes from outside.
 */
void http_exchange_respond(struct http_exchange *exchange, unsigned status,
                           const struct http_header *headers, size_t count,
                           struct stream_piece body);

/* The same with Content-Type alone. */
void http_exchange_respond_text(struct http_exchange *exchange, unsigned status,
                                const char *content_type, struct str body);

/*
 * Begins an answer whose body follows by http_exchange_send(): of `length` bytes, or
 * HTTP_LENGTH_UNKNOWN. The head goes out with the first piece, or by http_exchange_flush().
 */
void http_exchange_begin(struct http_exchange *exchange, unsigned status,
                         const struct http_header *headers, size_t count, int64_t length);
void http_exchange_send(struct http_exchange *exchange, const struct stream_piece *pieces,
                        size_t count);
void http_exchange_flush(struct http_exchange *exchange);

/* Whether the client is slow and more should wait for on_drain. */
bool http_exchange_is_congested(struct http_exchange *exchange);

/* Unsent bytes of this exchange (HTTP/1.1: of its connection). */
size_t http_exchange_pending(const struct http_exchange *exchange);

/* Ends the answer and the exchange, with trailers (gRPC) if `count` > 0. */
void http_exchange_end(struct http_exchange *exchange, const struct http_header *trailers,
                       size_t count);

/* Cuts it off so that the client can tell: the source of the body has failed. */
void http_exchange_abort(struct http_exchange *exchange);

/*
 * Answers 101 with these fields (Upgrade and what the protocol wants; Connection is added) and
 * gives the stream away, paused until stream_start(). *ret_leftover are bytes that came already;
 * they, and the exchange with its arena, live until the caller returns to the loop.
 * Returns 0, or -EOPNOTSUPP if the request is no upgrade (the exchange stays).
 */
int http_exchange_upgrade(struct http_exchange *exchange, const struct http_header *headers,
                          size_t count, struct stream **ret_stream, struct str *ret_leftover);

/*
 * The same with any status and without our Connection field: for a proxy that passes the answer
 * of its upstream on (CONNECT, 101 of another server).
 */
int http_exchange_take_over(struct http_exchange *exchange, unsigned status,
                            const struct http_header *headers, size_t count,
                            struct stream **ret_stream, struct str *ret_leftover);

/* ---- for protocols ---- */

struct http_exchange_ops {
        /* Returns 0, or -EINVAL or -ENOMEM with nothing begun. */
        int (*begin)(struct http_exchange *exchange, unsigned status,
                     const struct http_header *headers, size_t count, int64_t length);
        void (*send)(struct http_exchange *exchange, const struct stream_piece *pieces,
                     size_t count);
        void (*flush)(struct http_exchange *exchange);
        void (*end)(struct http_exchange *exchange, const struct http_header *trailers,
                    size_t count);
        void (*abort)(struct http_exchange *exchange);
        void (*pause)(struct http_exchange *exchange, bool paused);
        size_t (*pending)(const struct http_exchange *exchange);
        bool (*is_congested)(struct http_exchange *exchange);
        int (*take_over)(struct http_exchange *exchange, unsigned status,
                         const struct http_header *headers, size_t count,
                         struct stream **ret_stream, struct str *ret_leftover);
};
