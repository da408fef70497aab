// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "net/http_server.h"

/*
 * gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md) for methods that take one message and answer with
 * one or a stream of them. No compression.
 */

enum grpc_status {
        GRPC_OK = 0,
        GRPC_CANCELLED = 1,
        GRPC_UNKNOWN = 2,
        GRPC_INVALID_ARGUMENT = 3,
        GRPC_DEADLINE_EXCEEDED = 4,
        GRPC_NOT_FOUND = 5,
        GRPC_PERMISSION_DENIED = 7,
        GRPC_RESOURCE_EXHAUSTED = 8,
        GRPC_FAILED_PRECONDITION = 9,
        GRPC_UNIMPLEMENTED = 12,
        GRPC_INTERNAL = 13,
        GRPC_UNAVAILABLE = 14,
};

/* One call. It is the method's until it is answered whole (reply, fail, end) or cancelled. */
struct grpc_call {
        struct http_exchange *exchange;
        struct net_loop *loop;
        struct net_timer deadline;
        const struct grpc_methods *methods;
        bool begun; /* the answer */
        /*
         * Set by the method if it answers later: the client has gone or its deadline has passed,
         * and the call ends when this returns; and: more may be sent.
         */
        void (*on_cancel)(struct grpc_call *call, void *user);
        void (*on_drain)(struct grpc_call *call, void *user);
        void *user;
};

struct grpc_method {
        const char *path; /* "/package.Service/Method" */
        /* Answers, or takes the call. The message lives as long as the call. */
        void (*handle)(struct grpc_call *call, void *context, struct str message);
};

struct grpc_methods {
        const struct grpc_method *list;
        size_t count;
        void *context;
        struct net_loop *loop;
};

/* Serves one exchange. `methods` is borrowed. */
void grpc_handle(const struct grpc_methods *methods, struct http_exchange *exchange);

/* For what lives as long as the call. */
static inline struct arena *grpc_arena(struct grpc_call *call)
{
        return call->exchange->arena;
}

/* Sends one message. */
void grpc_send(struct grpc_call *call, struct str message);

/* Whether the client is slow and more should wait for on_drain. */
bool grpc_is_congested(struct grpc_call *call);

/* Ends the call in order; or with one message; or with a status and a sentence. */
void grpc_end(struct grpc_call *call);
void grpc_reply(struct grpc_call *call, struct str message);
void grpc_fail(struct grpc_call *call, enum grpc_status status, const char *format, ...)
        _printf_(3, 4);
