// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "serve/trace.h"

/*
 * Traces as OTLP's messages (opentelemetry-proto, trace/v1 and collector/trace/v1). Internal to
 * serve/.
 */

/* Appends one span as an element of ScopeSpans.spans. Returns 0 or -ENOMEM; `out` may then have
 * grown. */
int otlp_append_span(struct buffer *out, const struct trace_span *span);

/* Appends an ExportTraceServiceRequest with such spans. 0 or -ENOMEM. */
int otlp_append_request(struct buffer *out, const struct trace_attribute *resource,
                        size_t resource_count, struct str scope, struct str version,
                        struct str spans);

/* How many spans an ExportTraceServiceResponse says were rejected, and why (a view, may be empty).
 * Returns 0 or -EBADMSG. */
int otlp_read_response(struct str response, uint64_t *ret_rejected, struct str *ret_message);
