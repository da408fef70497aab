// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "net/http_server.h"

/* What http_server.c and the protocols (http1_server.c, http2_server.c) share. */

struct http_server {
        struct net_loop *loop;
        struct http_server_options options;
        struct list listeners;   /* struct http_listener */
        struct list connections; /* struct http_connection */
        struct http_server_counters counters;
        struct net_timer deadline; /* of draining */
        struct net_task drained_task;
        void (*on_drained)(void *user);
        void *drain_user;
        bool draining;
        uint64_t date_second;
        char date[HTTP_DATE_SIZE];
};

struct http_connection;

struct http_connection_ops {
        /* Closes if idle, else after what is in progress. */
        void (*drain)(struct http_connection *connection);

        /* Aborts what is in progress with `error`, and closes at once. */
        void (*kill)(struct http_connection *connection, int error);
};

/* The part that the connections of all protocols begin with. */
struct http_connection {
        struct list link;
        struct http_server *server; /* NULL after http_connection_leave() */
        const struct http_connection_ops *ops;
        int tag;
        bool surplus; /* there were too many when it came */
};

/* Counts the connection as the server's; the counterpart when it closes or is taken over. */
void http_connection_join(struct http_connection *connection, struct http_server *server, int tag,
                          const struct http_connection_ops *ops);
void http_connection_leave(struct http_connection *connection);

/* A protocol that takes connections over from HTTP/1.1's detector. */
struct http_protocol {
        /* Takes the stream over, also on failure. `leftover` came already. */
        int (*serve)(struct http_server *server, struct stream *stream, int tag,
                     struct str leftover);
};

/* Starts HTTP/1.1, or finds out that it is HTTP/2. Takes the stream over, also on failure. */
int http1_serve(struct http_server *server, struct stream *stream, int tag);

/* The Date field's value now. */
struct str http_server_date(struct http_server *server);

/* Fills `body` for an answer of the server's own; returns its Content-Type. */
struct str http_server_render_error(struct http_server *server, unsigned status, struct str reason,
                                    struct buffer *body);

/*
 * For protocols, around one exchange: begins (zeroes all but what the caller has set before), hands
 * over to on_request, delivers body and its end, ends by handler or by failure.
 */
void http_exchange_open(struct http_exchange *exchange, struct http_connection *connection);
void http_exchange_deliver(struct http_exchange *exchange, struct str data);
void http_exchange_deliver_end(struct http_exchange *exchange);
void http_exchange_deliver_drain(struct http_exchange *exchange);
void http_exchange_fail(struct http_exchange *exchange, int error);

/* Answers in the handler's stead, and then tells it on_abort(error). */
void http_exchange_refuse(struct http_exchange *exchange, unsigned status, struct str reason,
                          int error);

/*
 * The exchange is over: the protocol calls it from its end, abort and take_over. `collected` is the
 * protocol's to free later, as the arena is: the handler may still be looking at it.
 */
void http_exchange_close(struct http_exchange *exchange);
