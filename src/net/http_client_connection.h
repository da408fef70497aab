// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "net/http1.h"
#include "net/http_client.h"

/*
 * What http_client.c (calls), http_client_connection.c (HTTP/1.1 connections and their pool) and
 * http2_client.c (sessions) share.
 */

enum { HTTP_CLIENT_BUCKETS = 256, HTTP_CLIENT_HTTP1_ONLY = 64 };

struct http_client {
        struct net_loop *loop;
        struct http_client_options options;
        struct list calls;                         /* struct http_call */
        struct list buckets[HTTP_CLIENT_BUCKETS];  /* kept connections, newest first */
        struct list ages;                          /* the same, oldest first */
        struct list sessions[HTTP_CLIENT_BUCKETS]; /* that take more calls, newest first */
        struct list all_sessions;
        struct list leaders; /* calls that connect, for those that would share the connection */
        uint32_t http1_only[HTTP_CLIENT_HTTP1_ONLY]; /* hashes of origins that had no HTTP/2 */
        struct http_client_counters counters;
        bool closing;
};

enum http_call_state {
        HTTP_CALL_JOINING, /* waits for another call's connection, to share it */
        HTTP_CALL_LOOKING_UP,
        HTTP_CALL_CONNECTING,
        HTTP_CALL_WAITING_FOR_HEAD,
        HTTP_CALL_READING_BODY,
        HTTP_CALL_TUNNEL, /* 101: waits for http_call_take_over() */
        HTTP_CALL_OVER,
};

struct http_call {
        struct list link;
        struct http_client *client;
        const struct http_call_callbacks *on;
        void *user;
        struct http_client_connection *connection; /* NULL while looking up and when over */
        struct net_task task;                      /* reports a failure from the loop, or frees */
        struct net_timer timer;
        enum http_call_state state;
        struct arena arena; /* the answer's head, and what is kept of the request */

        /* HTTP/2: one stream of a session. */
        struct http_client_session *session;
        void *stream;                       /* the session's, while it knows the call */
        struct http_request *kept;          /* while it may become either; NULL: it is HTTP/1.1 */
        struct list leader_link;            /* in the client's `leaders` */
        struct http_call *leader;           /* while JOINING */
        const struct http_header *trailers; /* of a body that ended before it was known */
        size_t trailer_count;

        /* The origin. */
        struct stream_filter *filter;
        struct str server_name;
        struct buffer key; /* of the pool; server_name and host are copies behind it */
        uv_getaddrinfo_t *lookup;
        struct addrinfo *addresses, *next_address;
        struct net_address address;
        uint32_t head_timeout_ms, idle_timeout_ms;

        /* The request. */
        struct buffer outgoing; /* until the connection is open; with `kept` only body */
        struct str method;      /* a static string, or in the arena */
        bool drain_owed;
        bool chunked; /* streamed without a length */
        bool sent;    /* whole */
        bool upgrade;
        bool reused;
        int64_t left; /* of a streamed body with a length */

        /* The answer. */
        struct http_response_head head;
        struct http1_body body;
        size_t scanned;
        unsigned informational;
        bool keep_alive;
        bool paused;
        bool begun; /* a byte of an answer has come */

        enum http_error error; /* for the task */
        int code;
};

/* What the sessions of a protocol begin with: a connection that calls share. */
struct http_client_session {
        struct list link; /* in a bucket of the client's; points to itself: takes no more calls */
        struct list all_link;
        struct http_client *client;
        struct stream *connection;
        uint32_t hash;
        struct buffer key;
};

struct http_client_protocol {
        /* Takes the open stream over, also on failure. The session joins the client's. */
        int (*open)(struct http_client *client, struct stream *stream, struct str key,
                    struct http_client_session **ret_session);

        /* Whether one more call would not have to wait. */
        bool (*has_room)(struct http_client_session *session);

        /* Sends the head of call->kept and the body that is in call->outgoing. */
        int (*begin)(struct http_client_session *session, struct http_call *call);

        void (*send)(struct http_call *call, const struct stream_piece *pieces, size_t count);
        void (*end)(struct http_call *call, const struct http_header *trailers, size_t count);
        bool (*is_congested)(struct http_call *call);
        void (*resume)(struct http_call *call);

        /* The call is over: ends its stream, if that has not ended. Tells nothing. */
        void (*forget)(struct http_call *call);

        /* Takes no more calls, and closes with the last one. */
        void (*retire)(struct http_client_session *session);

        /* At once; there are no calls any more. */
        void (*close)(struct http_client_session *session);
};

/* A connection serves one call, or waits in the pool. */
struct http_client_connection {
        struct list bucket_link, age_link; /* in the pool */
        struct http_client *client;
        struct stream *stream;
        struct http_call *call; /* NULL in the pool, and when it is over */
        struct net_task task;   /* goes on with `input`, or frees */
        struct net_timer idle;
        struct buffer input; /* bytes that could not be taken yet */
        struct str *current; /* what is left of them while they are being read */
        bool gone;
        bool open;
        bool pooled;
        uint32_t hash;
        size_t key_length; /* of the origin, in `key` */
        char key[];
};

/* Connects, with a copy of the key. 0 or a negative errno. */
int http_client_connection_new(struct http_client *client, const struct net_address *address,
                               struct stream_filter *filter, struct str server_name, struct str key,
                               struct http_client_connection **ret_connection);

/* Closes it, and frees it when we are back in the loop. */
void http_client_connection_close(struct http_client_connection *connection);

/* Gives the stream away, and frees the rest as above. */
struct stream *http_client_connection_detach(struct http_client_connection *connection);

/* Goes on with what has arrived, from the loop. */
void http_client_connection_continue(struct http_client_connection *connection);

/* A kept connection to that origin that is still good; NULL if there is none. */
struct http_client_connection *http_client_pool_take(struct http_client *client, struct str key);

/* Keeps it for the next call, or closes it when enough are kept. */
void http_client_pool_put(struct http_client_connection *connection);

/* ---- what a connection or session tells its call ---- */

void http_call_opened(struct http_call *call);
void http_call_drained(struct http_call *call);

/* Takes what it can of *input. */
void http_call_read(struct http_call *call, struct str *input);

/* Whether it cannot take more now. */
bool http_call_is_stuck(const struct http_call *call);

/* The peer ended (error 0) or the connection broke; it is closed already in the latter case. */
void http_call_ended(struct http_call *call, int error);

/* The three of a session: call->head is filled; body; trailers or NULL, and the end. */
void http_call_take_head(struct http_call *call);
void http_call_take_body(struct http_call *call, struct str data);
void http_call_take_end(struct http_call *call, const struct http_headers *trailers);

/* Its stream is gone. */
void http_call_fail(struct http_call *call, enum http_error error, int code);

/* What an error of a connection means to this call. */
enum http_error http_call_class_of_reading(const struct http_call *call, int code);

/* The value of the Host field. 0, -EINVAL or -ENOMEM. */
int http_call_append_host(struct buffer *out, const struct http_request *request);

/* The value of Content-Length, or HTTP_LENGTH_UNKNOWN if none is to be sent. */
int64_t http_call_content_length(const struct http_call *call, const struct http_request *request);

/* ---- sharing connections (http_client_session.c) ---- */

/* Copies the request into the call's arena. 0, -EINVAL (a field that may not be sent), -ENOMEM. */
int http_call_keep(struct http_call *call, const struct http_request *request);

/* The trailers of a body that ended before it was known how it is sent: they wait in `kept`. */
int http_call_keep_trailers(struct http_call *call, const struct http_header *trailers,
                            size_t count);

/* A session to that origin that takes one more call; NULL if there is none. */
struct http_client_session *http_client_session_find(struct http_client *client, struct str key);

/* Sends the call over the session. 0 or a negative errno. */
int http_call_attach(struct http_call *call, struct http_client_session *session);

/* Others may wait for this call's connection. */
void http_call_lead(struct http_call *call);

/* Waits for another call's connection, if one is on its way to the same origin. */
bool http_call_join(struct http_call *call);

/*
 * Ends the waiting of those that joined: they go over the session, or without one connect
 * themselves.
 */
void http_call_release_joiners(struct http_call *leader, struct http_client_session *session);
void http_call_fail_joiners(struct http_call *leader, enum http_error error, int code);

/* Whether the origin was last found to speak HTTP/1.1 only: then nobody waits to share. */
bool http_client_is_http1(struct http_client *client, struct str key);
void http_client_note_http1(struct http_client *client, struct str key, bool http1);

/* ---- of http_client.c ---- */

/* Looks up and connects; `kept` is set. Failures later come by callback. */
int http_call_dial(struct http_call *call);
void http_call_fail_later(struct http_call *call, enum http_error error, int code);

/* It goes over a connection that stood already: tells on_connected from the loop. */
void http_call_connected_later(struct http_call *call);
