// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "serve/otlp.h"
#include "serve/trace.h"

/*
 * The first byte: 0 a traceparent, which must come back as it is read; 1 an annotation; 2 a
 * collector's answer; 3 a span's texts, which must be written as UTF-8.
 */
static void check_traceparent(struct str text)
{
        struct trace_context context, again;
        char formatted[TRACEPARENT_SIZE];

        if (trace_context_parse(text, &context) < 0)
                return;
        trace_context_format(&context, formatted);
        if (trace_context_parse(str_from(formatted), &again) < 0 ||
            memcmp(again.trace_id, context.trace_id, TRACE_ID_SIZE) != 0 ||
            memcmp(again.span_id, context.span_id, SPAN_ID_SIZE) != 0 ||
            again.sampled != context.sampled)
                abort();
}

static void check_span(struct str text)
{
        _cleanup_buffer_ struct buffer out = { 0 };
        const struct trace_attribute attribute = { .key = text, .text = text };
        const struct trace_span span = {
                .name = text, .attributes = &attribute, .attribute_count = 1, .message = text
        };

        if (otlp_append_span(&out, &span) < 0 || out.length == 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct trace_context context;
        uint64_t rejected;
        struct str message;

        if (size == 0)
                return 0;
        struct str text = { (const char *)data + 1, size - 1 };
        switch (data[0] % 4) {
        case 0:
                check_traceparent(text);
                break;
        case 1:
                if (trace_context_parse_annotation(text, &arena, &context) == 0 &&
                    !trace_context_exists(&context))
                        abort();
                break;
        case 2:
                (void)otlp_read_response(text, &rejected, &message);
                break;
        default:
                check_span(text);
        }
        return 0;
}
