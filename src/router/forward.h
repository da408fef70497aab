// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/http_server.h"
#include "serve/trace.h"

/* Which fields go on to the sandbox and which come back: pure functions over messages. */

enum { GRPC_TRAILERS = 3 };

/* Random bytes in stock, so that not every request asks the kernel. All zero is empty. */
struct trace_source {
        uint8_t bytes[1024];
        size_t left;
};

/* The request's trace, or a new one, and a span of our own (W3C Trace Context). */
struct trace {
        struct trace_context parent; /* none: the request brought none */
        struct trace_context context;
        char text[TRACEPARENT_SIZE]; /* the field to send on */
};

/* `tracer` decides whether the span is recorded; NULL: it is not. */
void trace_begin(const struct http_headers *headers, struct tracer *tracer,
                 struct trace_source *source, struct trace *ret_trace);

/* The ids as they are written: views into the trace. */
struct str trace_id_text(const struct trace *trace);
struct str trace_span_text(const struct trace *trace);

/* Whether the client calls a gRPC method: such a request goes on as HTTP/2. */
bool forward_is_grpc(const struct http_request_head *head);

/* The status of gRPC that says what this one of HTTP says of an answer of the router's own. */
unsigned forward_grpc_status(unsigned status);

/*
 * The fields to send on: all but hop-by-hop ones, Authorization, Expect and (upgrades only) Origin;
 * X-Forwarded-* and traceparent added; for gRPC also "te: trailers". Host and framing are the HTTP
 * client's. `client_ip` and `trace` live as long as the exchange. Views into that, the request or
 * its arena. Returns 0 or -ENOMEM.
 */
int forward_request_headers(const struct http_exchange *exchange, const struct trace *trace,
                            struct str client_ip, bool is_upgrade, bool is_grpc,
                            struct http_header **ret_headers, size_t *ret_count);

/* The fields to answer with. Those of a 101 keep Connection and Upgrade. */
int forward_response_headers(struct arena *arena, const struct http_response_head *head,
                             struct http_header **ret_headers, size_t *ret_count);

/*
 * The fields that gRPC has in the head of an answer without a body, which are to follow it: the
 * same in both places to a client, but only the latter may be sent before it is known that there is
 * no body. Takes them out of `headers`.
 */
size_t forward_take_grpc_status(struct http_header *headers, size_t *count,
                                struct http_header ret_trailers[static GRPC_TRAILERS]);

/* The target in origin form: as it came, but for the absolute form. data is NULL without memory. */
struct str forward_target(struct arena *arena, const struct http_request_head *request);
