// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "crypto/digest.h"
#include "net/http.h"
#include "serve/trace.h"
#include "json/json.h"

/* Lower case alone, as the recommendation wants. */
static int hex_value(char c)
{
        return c >= 'A' && c <= 'F' ? -1 : hex_digit(c);
}

static bool read_hex(struct str *rest, uint8_t *bytes, size_t count)
{
        if (rest->length < 2 * count)
                return false;
        for (size_t i = 0; i < count; i++) {
                int high = hex_value(rest->data[2 * i]), low = hex_value(rest->data[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                bytes[i] = (uint8_t)(high << 4 | low);
        }
        *rest = str_slice(*rest, 2 * count, rest->length);
        return true;
}

static bool read_dash(struct str *rest)
{
        if (!str_starts_with(*rest, STR("-")))
                return false;
        *rest = str_slice(*rest, 1, rest->length);
        return true;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (bytes[i])
                        return false;
        return true;
}

int trace_context_parse(struct str traceparent, struct trace_context *ret_context)
{
        struct trace_context context = { .remote = true };
        struct str rest = str_trim(traceparent);
        uint8_t version, flags;

        if (!read_hex(&rest, &version, 1) || version == 0xff || !read_dash(&rest) ||
            !read_hex(&rest, context.trace_id, TRACE_ID_SIZE) || !read_dash(&rest) ||
            !read_hex(&rest, context.span_id, SPAN_ID_SIZE) || !read_dash(&rest) ||
            !read_hex(&rest, &flags, 1))
                return -EINVAL;
        /* A later version may have more, after another dash. */
        if (rest.length > 0 && (version == 0 || rest.data[0] != '-'))
                return -EINVAL;
        if (is_zero(context.trace_id, TRACE_ID_SIZE) || is_zero(context.span_id, SPAN_ID_SIZE))
                return -EINVAL;
        context.sampled = flags & 1;
        *ret_context = context;
        return 0;
}

int trace_context_parse_annotation(struct str annotation, struct arena *arena,
                                   struct trace_context *ret_context)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct trace_context context;

        int r = json_doc_parse(annotation, NULL, NULL, NULL, &doc);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;
        r = trace_context_parse(json_string(json_get(json_root(doc), "traceparent")), &context);
        if (r < 0)
                return r;
        struct str state = json_string(json_get(json_root(doc), "tracestate"));
        if (state.length > 0 && state.length <= TRACE_STATE_MOST && http_is_field_value(state)) {
                context.state = arena_str(arena, state);
                if (!context.state.data)
                        return -ENOMEM;
        }
        *ret_context = context;
        return 0;
}

static char *write_hex(char *text, const uint8_t *bytes, size_t count)
{
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < count; i++) {
                *text++ = digits[bytes[i] >> 4];
                *text++ = digits[bytes[i] & 15];
        }
        return text;
}

void trace_context_format(const struct trace_context *context, char text[static TRACEPARENT_SIZE])
{
        const uint8_t version = 0, flags = context->sampled;

        text = write_hex(text, &version, 1);
        *text++ = '-';
        text = write_hex(text, context->trace_id, TRACE_ID_SIZE);
        *text++ = '-';
        text = write_hex(text, context->span_id, SPAN_ID_SIZE);
        *text++ = '-';
        *write_hex(text, &flags, 1) = '\0';
}

int trace_context_derive(struct str seed, struct trace_context *ret_context)
{
        uint8_t digest[SHA256_SIZE];

        int r = digest_sha256(seed, digest);
        if (r < 0)
                return r;
        *ret_context = (struct trace_context){ 0 };
        memcpy(ret_context->trace_id, digest, TRACE_ID_SIZE);
        return 0;
}
