// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "net/http.h"
#include "serve/trace.h"

/* What the environment says of traces. Internal to serve/. */

enum trace_sampler { SAMPLE_ALL, SAMPLE_NONE, SAMPLE_RATIO };

enum { TRACE_HEADERS_MOST = 16, TRACE_RESOURCE_MOST = 32 };

struct trace_settings {
        struct arena arena; /* holds all strings, NUL-terminated */
        bool disabled;

        struct str url; /* for people, without a query */
        bool tls;
        struct str host, target;
        uint16_t port;
        struct str ca, certificate, key; /* paths; empty: none */
        struct http_header headers[TRACE_HEADERS_MOST];
        size_t header_count;
        uint64_t timeout_ms;

        enum trace_sampler sampler;
        bool by_parent; /* a parent's decision holds; the sampler is for those without */
        uint64_t bound; /* SAMPLE_RATIO: of the last 63 bits of the trace id */

        uint64_t delay_ms;
        size_t queue, batch; /* spans */

        struct trace_attribute resource[TRACE_RESOURCE_MOST];
        size_t resource_count;
};

/* Reads it. -EINVAL with a sentence, -ENOMEM. */
int trace_settings_read(struct trace_settings *settings, const struct tracer_options *options,
                        struct error *error);
void trace_settings_deinit(struct trace_settings *settings);
