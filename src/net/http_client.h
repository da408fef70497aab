// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/http.h"
#include "net/stream.h"

/*
 * An HTTP client on a loop, with kept connections for each origin. It follows no redirects, keeps
 * no cookies, decodes nothing, and never repeats a request. It speaks HTTP/1.1; with
 * http_client_options.http2 also HTTP/2, many calls on one connection an origin: where the server
 * chose it by ALPN (the origin's TLS context offers it), or where http_origin.http2 says that the
 * server is known to speak it. Callers see no difference but trailers and HTTP_ERROR_REFUSED.
 */
struct http_client;
struct http_call;
struct http_client_protocol;

/* Defaults of the options below. */
enum {
        HTTP_CLIENT_CONNECT_TIMEOUT_MS = 10 * 1000, /* name, connection and TLS together */
        HTTP_CLIENT_IDLE_TIMEOUT_MS = 30 * 1000,    /* how long a connection is kept unused */
        HTTP_CLIENT_IDLE_PER_ORIGIN = 64,
        HTTP_CLIENT_IDLE_TOTAL = 1024,
        HTTP_CLIENT_PING_AFTER_MS = 15 * 1000,   /* of silence while an HTTP/2 answer is awaited */
        HTTP_CLIENT_PING_TIMEOUT_MS = 10 * 1000, /* then the connection is taken for dead */
};

struct http_client_options {
        uint32_t connect_timeout_ms; /* 0: the defaults above */
        uint32_t idle_timeout_ms;
        unsigned idle_per_origin;
        unsigned idle_total;
        uint32_t ping_after_ms;
        uint32_t ping_timeout_ms;
        const struct http_client_protocol *http2; /* &http2_client_protocol; NULL: HTTP/1.1 only */
};

/* `options` may be NULL. */
int http_client_new(struct net_loop *loop, const struct http_client_options *options,
                    struct http_client **ret_client);

/* Cancels every call (no callbacks) and closes every connection. */
void http_client_free(struct http_client *client);

/* Closes kept connections to that address, or all of them with NULL. */
void http_client_forget(struct http_client *client, const struct net_address *address);

/* Where to send: an address, or else a name to look up. */
struct http_origin {
        struct net_address address; /* length 0: use `host` and `port` */
        struct str host;            /* name or IP literal */
        uint16_t port;
        struct stream_filter *filter; /* NULL: plain */
        struct str server_name;       /* for TLS; empty: `host` */
        bool http2;                   /* speaks HTTP/2 without being asked (RFC 9113 3.3) */
};

struct http_request {
        struct http_origin origin;
        struct str method;                 /* empty: GET */
        struct str target;                 /* sent as it is; begins with "/" */
        struct str host;                   /* the Host field; empty: made from the origin */
        const struct http_header *headers; /* Host, framing and Connection are added */
        size_t header_count;
        struct str body;             /* borrowed for the call; or else streamed: */
        bool streamed;               /* by http_call_send() and http_call_end() */
        int64_t content_length;      /* of a streamed body, or HTTP_LENGTH_UNKNOWN: chunked */
        bool upgrade;                /* sends Connection: Upgrade; `headers` has Upgrade. Not where
                                        HTTP/2 is spoken: the origin may not offer it then */
        bool fresh;                  /* use no kept connection */
        uint32_t connect_timeout_ms; /* 0: the client's */
        uint32_t head_timeout_ms; /* from the whole request sent to the whole head; 0: for ever */
        uint32_t idle_timeout_ms; /* without a byte of the body that we wait for; 0: for ever */
};

/* What went wrong, in the order of getting further. */
enum http_error {
        HTTP_ERROR_DIAL,    /* name, connect, connect timeout: nothing was sent */
        HTTP_ERROR_TLS,     /* nothing was sent */
        HTTP_ERROR_REFUSED, /* HTTP/2: the server says that it has not looked at the request */
        HTTP_ERROR_CLOSED,  /* ended without a byte of an answer; the request may have had effect */
        HTTP_ERROR_TIMEOUT, /* waiting for head or body */
        HTTP_ERROR_EOF,     /* ended inside the answer */
        HTTP_ERROR_PROTOCOL, /* no HTTP; -EPROTOTYPE: an alert of TLS (RFC 8446 6) */
        HTTP_ERROR_MEMORY,
};

struct http_call_callbacks {
        /* Where a streamed body may begin: connected. May be NULL; sending earlier is queued. */
        void (*on_connected)(struct http_call *call, void *user);

        /*
         * The answer's head, living as long as the call. 1xx are not told but 101. Only set when
         * the request was an upgrade may 101 come: then http_call_take_over() may be called here
         * or later.
         */
        void (*on_head)(struct http_call *call, void *user, const struct http_response_head *head);

        /* Takes all of it, or else pauses. */
        void (*on_body)(struct http_call *call, void *user, struct str data);

        /* The answer is complete. The last callback: the call is gone when it returns. */
        void (*on_end)(struct http_call *call, void *user);

        /* The request's body has gone out far enough to send more. */
        void (*on_drain)(struct http_call *call, void *user);

        /* It failed. The last callback. `code` is a negative errno. */
        void (*on_error)(struct http_call *call, void *user, enum http_error error, int code);

        /*
         * Asked when a new connection stands, just before the request is sent: false ends the call
         * with HTTP_ERROR_DIAL and -ECANCELED. May be NULL. On a kept HTTP/1.1 connection the
         * request goes out within http_call_start(), unasked.
         */
        bool (*may_send)(void *user);

        /* The fields after the body, if there are any, before on_end. HTTP/2 only; may be NULL. */
        void (*on_trailers)(struct http_call *call, void *user,
                            const struct http_headers *trailers);
};

/*
 * Begins a call. Everything in `request` is copied or borrowed for this call only. Callbacks come
 * from the loop only. Returns 0, -EINVAL (a field that may not be sent) or -ENOMEM.
 */
int http_call_start(struct http_client *client, const struct http_request *request,
                    const struct http_call_callbacks *callbacks, void *user,
                    struct http_call **ret_call);

/* Pieces in one http_call_send(). */
enum { HTTP_CALL_PIECES_MAX = STREAM_PIECES_MAX - 4 };

/*
 * A streamed body, with back-pressure as in stream.h. More or less of it than `content_length`
 * announced makes the call fail with HTTP_ERROR_PROTOCOL and -EINVAL.
 */
void http_call_send(struct http_call *call, const struct stream_piece *pieces, size_t count);
void http_call_end(struct http_call *call);

/* The same with fields after the body, which are copied. Over HTTP/1.1 they are left out. */
void http_call_end_with(struct http_call *call, const struct http_header *trailers, size_t count);
bool http_call_is_congested(struct http_call *call);

/*
 * Holds the answer's body back, and lets it come again. When an HTTP/2 connection ends, what it
 * kept of answers that are complete (at most its window of 1 MiB each) comes all the same.
 */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);

/*
 * Gives the call up; no callback comes any more. An HTTP/1.1 connection is closed, an HTTP/2 stream
 * reset.
 */
void http_call_cancel(struct http_call *call);

/* After 101 (or a 2xx to CONNECT): takes the connection, as http_exchange_upgrade() does. */
int http_call_take_over(struct http_call *call, struct stream **ret_stream,
                        struct str *ret_leftover);

/* Whether the call went over a connection that was kept from an earlier one. */
bool http_call_is_reused(const struct http_call *call);

/* The connection, for stream_peer() and the like only; NULL before on_connected. */
struct stream *http_call_connection(const struct http_call *call);

/* Whether it is one of the streams of an HTTP/2 connection. False before on_connected. */
bool http_call_is_http2(const struct http_call *call);

struct http_client_counters {
        unsigned calls, idle;
        unsigned http2; /* HTTP/2 connections that are open */
        uint64_t connects, reuses;
};
struct http_client_counters http_client_counters(const struct http_client *client);
