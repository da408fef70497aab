// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "net/http1.h"
#include "net/http_client.h"

/* What http_client.c (calls) and http_client_connection.c (connections, the pool) share. */

enum { HTTP_CLIENT_BUCKETS = 256 };

struct http_client {
        struct net_loop *loop;
        struct http_client_options options;
        struct list calls;                        /* struct http_call */
        struct list buckets[HTTP_CLIENT_BUCKETS]; /* kept connections, newest first */
        struct list ages;                         /* the same, oldest first */
        struct http_client_counters counters;
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

/* ---- what a connection tells its call ---- */

void http_call_opened(struct http_call *call);
void http_call_drained(struct http_call *call);

/* Takes what it can of *input. */
void http_call_read(struct http_call *call, struct str *input);

/* Whether it cannot take more now. */
bool http_call_is_stuck(const struct http_call *call);

/* The peer ended (error 0) or the connection broke; it is closed already in the latter case. */
void http_call_ended(struct http_call *call, int error);
