// SPDX-License-Identifier: Apache-2.0
#include "serve/otlp.h"

#include <errno.h>

#include "base/protowire.h"
#include "json/json.h"

/* Field numbers, by message. */
enum {
        REQUEST_RESOURCE_SPANS = 1,
        RESOURCE_SPANS_RESOURCE = 1,
        RESOURCE_SPANS_SCOPE_SPANS = 2,
        RESOURCE_ATTRIBUTES = 1,
        SCOPE_SPANS_SCOPE = 1,
        SCOPE_SPANS_SPANS = 2,
        SCOPE_NAME = 1,
        SCOPE_VERSION = 2,
        SPAN_TRACE_ID = 1,
        SPAN_SPAN_ID = 2,
        SPAN_TRACE_STATE = 3,
        SPAN_PARENT_SPAN_ID = 4,
        SPAN_NAME = 5,
        SPAN_KIND = 6,
        SPAN_START = 7,
        SPAN_END = 8,
        SPAN_ATTRIBUTES = 9,
        SPAN_STATUS = 15,
        SPAN_FLAGS = 16,
        STATUS_MESSAGE = 2,
        STATUS_CODE = 3,
        KEY_VALUE_KEY = 1,
        KEY_VALUE_VALUE = 2,
        ANY_STRING = 1,
        ANY_INT = 3,
        RESPONSE_PARTIAL_SUCCESS = 1,
        PARTIAL_REJECTED = 1,
        PARTIAL_MESSAGE = 2,
};

enum { STATUS_CODE_ERROR = 2, TEXT_MOST = 1024 };

/* SpanFlags: besides the eight bits of W3C, whether the parent's process is known, and another. */
enum { FLAG_SAMPLED = 1, FLAG_HAS_IS_REMOTE = 0x100, FLAG_IS_REMOTE = 0x200 };

static struct str id_bytes(const uint8_t *id, size_t size)
{
        return (struct str){ (const char *)id, size };
}

/* Receivers refuse a whole request for one string that is no UTF-8: such bytes become "?". What is
 * longer than TEXT_MOST is cut. */
static void write_text(struct protowire_writer *writer, uint32_t number, struct str text)
{
        char copy[TEXT_MOST];
        size_t length = 0;

        while (text.length > 0) {
                size_t step = utf8_sequence((const unsigned char *)text.data,
                                            (const unsigned char *)text.data + text.length);

                if (length + MAX(step, (size_t)1) > sizeof(copy))
                        break;
                if (step == 0) {
                        copy[length++] = '?';
                        step = 1;
                } else {
                        memcpy(copy + length, text.data, step);
                        length += step;
                }
                text = str_slice(text, step, text.length);
        }
        protowire_write_bytes(writer, number, (struct str){ copy, length });
}

static void write_attributes(struct protowire_writer *writer, uint32_t number,
                             const struct trace_attribute *attributes, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                size_t attribute = protowire_begin(writer, number), value;

                write_text(writer, KEY_VALUE_KEY, attributes[i].key);
                value = protowire_begin(writer, KEY_VALUE_VALUE);
                if (attributes[i].text.data)
                        write_text(writer, ANY_STRING, attributes[i].text);
                else
                        protowire_write_varint(writer, ANY_INT, (uint64_t)attributes[i].number);
                protowire_end(writer, value);
                protowire_end(writer, attribute);
        }
}

int otlp_append_span(struct buffer *out, const struct trace_span *span)
{
        static const uint8_t none[SPAN_ID_SIZE];
        struct protowire_writer writer = { .out = out };
        bool has_parent = memcmp(span->parent.span_id, none, sizeof(none)) != 0;
        size_t begun = protowire_begin(&writer, SCOPE_SPANS_SPANS), status;

        protowire_write_bytes(&writer, SPAN_TRACE_ID,
                              id_bytes(span->context.trace_id, TRACE_ID_SIZE));
        protowire_write_bytes(&writer, SPAN_SPAN_ID, id_bytes(span->context.span_id, SPAN_ID_SIZE));
        if (span->context.state.length > 0)
                write_text(&writer, SPAN_TRACE_STATE, span->context.state);
        if (has_parent)
                protowire_write_bytes(&writer, SPAN_PARENT_SPAN_ID,
                                      id_bytes(span->parent.span_id, SPAN_ID_SIZE));
        write_text(&writer, SPAN_NAME, span->name);
        protowire_write_varint(&writer, SPAN_KIND, span->kind);
        protowire_write_fixed64(&writer, SPAN_START, span->start_ns);
        protowire_write_fixed64(&writer, SPAN_END, span->end_ns);
        write_attributes(&writer, SPAN_ATTRIBUTES, span->attributes, span->attribute_count);
        if (span->failed) {
                status = protowire_begin(&writer, SPAN_STATUS);
                if (span->message.length > 0)
                        write_text(&writer, STATUS_MESSAGE, span->message);
                protowire_write_varint(&writer, STATUS_CODE, STATUS_CODE_ERROR);
                protowire_end(&writer, status);
        }
        protowire_write_fixed32(&writer, SPAN_FLAGS,
                                (span->context.sampled ? FLAG_SAMPLED : 0U) | FLAG_HAS_IS_REMOTE |
                                        (has_parent && span->parent.remote ? FLAG_IS_REMOTE : 0U));
        protowire_end(&writer, begun);
        return writer.failure;
}

int otlp_append_request(struct buffer *out, const struct trace_attribute *resource,
                        size_t resource_count, struct str scope, struct str version,
                        struct str spans)
{
        struct protowire_writer writer = { .out = out };
        size_t whole, part, inner;

        whole = protowire_begin(&writer, REQUEST_RESOURCE_SPANS);
        part = protowire_begin(&writer, RESOURCE_SPANS_RESOURCE);
        write_attributes(&writer, RESOURCE_ATTRIBUTES, resource, resource_count);
        protowire_end(&writer, part);
        part = protowire_begin(&writer, RESOURCE_SPANS_SCOPE_SPANS);
        inner = protowire_begin(&writer, SCOPE_SPANS_SCOPE);
        write_text(&writer, SCOPE_NAME, scope);
        write_text(&writer, SCOPE_VERSION, version);
        protowire_end(&writer, inner);
        if (writer.failure == 0)
                writer.failure = buffer_append_str(out, spans);
        protowire_end(&writer, part);
        protowire_end(&writer, whole);
        return writer.failure;
}

int otlp_read_response(struct str response, uint64_t *ret_rejected, struct str *ret_message)
{
        struct protowire_field field, inner;
        uint64_t rejected = 0;
        struct str message = STR_EMPTY;
        int r, s = 0;

        while ((r = protowire_next(&response, &field)) > 0) {
                if (field.number != RESPONSE_PARTIAL_SUCCESS || field.type != PROTOWIRE_BYTES)
                        continue;
                while ((s = protowire_next(&field.bytes, &inner)) > 0) {
                        if (inner.number == PARTIAL_REJECTED && inner.type == PROTOWIRE_VARINT)
                                rejected = inner.value;
                        else if (inner.number == PARTIAL_MESSAGE && inner.type == PROTOWIRE_BYTES)
                                message = inner.bytes;
                }
                if (s < 0)
                        return s;
        }
        if (r < 0)
                return r;
        *ret_rejected = rejected;
        *ret_message = message;
        return 0;
}
