// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "net/loop.h"
#include "serve/metrics.h"

/*
 * Traces (OpenTelemetry): spans are recorded when they end, queued, and sent in batches to a
 * collector as OTLP/HTTP with protobuf bodies. Recording never waits; what does not fit into the
 * queue is dropped and counted. Contexts pass between processes in the form of W3C Trace Context.
 */

enum {
        TRACE_ID_SIZE = 16,
        SPAN_ID_SIZE = 8,
        TRACEPARENT_SIZE = sizeof("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        TRACE_STATE_MOST = 512, /* longer ones are left out (W3C Trace Context 3.3.1.5) */
        TRACE_ATTRIBUTES_MOST = 16,
};

/* Where one span stands. A trace id of zeros: there is none. */
struct trace_context {
        uint8_t trace_id[TRACE_ID_SIZE];
        uint8_t span_id[SPAN_ID_SIZE]; /* zeros: the trace is known, but no span of it */
        bool sampled;
        bool remote;      /* it came from another process */
        struct str state; /* tracestate, a view; mostly empty */
};

static inline bool trace_context_exists(const struct trace_context *context)
{
        static const uint8_t none[TRACE_ID_SIZE];

        return memcmp(context->trace_id, none, sizeof(none)) != 0;
}

/* Reads a traceparent field (W3C Trace Context 3.2). Returns 0 or -EINVAL. */
int trace_context_parse(struct str traceparent, struct trace_context *ret_context);

/*
 * Reads the annotation opentelemetry.io/trace-context, a JSON object of the W3C fields. The state
 * is copied into the arena. Returns 0, -EINVAL or -ENOMEM.
 */
int trace_context_parse_annotation(struct str annotation, struct arena *arena,
                                   struct trace_context *ret_context);

/* The traceparent field, NUL-terminated. */
void trace_context_format(const struct trace_context *context, char text[static TRACEPARENT_SIZE]);

/* A trace without a known span whose id comes of `seed` alone, such as an object's uid: processes
 * that never spoke to each other make one trace of what they do for it. Returns 0 or -ENOMEM. */
int trace_context_derive(struct str seed, struct trace_context *ret_context);

struct tracer;

struct tracer_options {
        struct net_loop *loop;    /* borrowed */
        const char *service_name; /* unless the environment has another */
        const char *version;      /* of the service */
        struct metrics *metrics;  /* gets cay_trace_*; NULL: none */
};

/*
 * Takes where to send and what to sample from the environment, as the OpenTelemetry specification
 * has it: OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _TIMEOUT,
 * _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY (each with TRACES_ before its last word first),
 * OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, _ARG, OTEL_BSP_SCHEDULE_DELAY,
 * _MAX_QUEUE_SIZE, _MAX_EXPORT_BATCH_SIZE. What it does not understand it leaves at the default
 * with a warning; -EINVAL with a sentence only for where to send. *ret_tracer is NULL if the
 * environment says that there are to be no traces.
 */
int tracer_new(const struct tracer_options *options, struct error *error,
               struct tracer **ret_tracer);
void tracer_free(struct tracer *tracer);

/*
 * Begins a span: gives it an id, the parent's trace (a new one if there is none), and whether it is
 * to be recorded. Nothing is kept. `parent` may be NULL.
 */
void tracer_begin(struct tracer *tracer, const struct trace_context *parent,
                  struct trace_context *ret_context);

enum trace_span_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CLIENT = 3 };

struct trace_attribute {
        struct str key;
        struct str text; /* data NULL: `number` */
        int64_t number;
};

/* A span that has ended. Views, for the call. */
struct trace_span {
        struct trace_context context; /* of tracer_begin() */
        struct trace_context parent;  /* what it was given; only its ids and `remote` are read */
        struct str name;
        enum trace_span_kind kind;
        uint64_t start_ns, end_ns; /* realtime */
        const struct trace_attribute *attributes;
        size_t attribute_count; /* at most TRACE_ATTRIBUTES_MOST */
        bool failed;
        struct str message; /* why; may be empty */
};

/* Queues it for the collector, unless it is not sampled or there is no room. */
void tracer_record(struct tracer *tracer, const struct trace_span *span);

/*
 * Sends what is queued now and calls `done` from the loop when that was answered, failed, or
 * `timeout_ms` has passed. Nothing is recorded any more.
 */
void tracer_finish(struct tracer *tracer, uint64_t timeout_ms, void (*done)(void *user),
                   void *user);

struct tracer_counters {
        uint64_t exported;
        uint64_t dropped;  /* no room, or given up after failures */
        uint64_t failures; /* requests that failed */
        size_t queued;
};
struct tracer_counters tracer_counters(const struct tracer *tracer);
