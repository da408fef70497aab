// SPDX-License-Identifier: Apache-2.0
#include "router/forward.h"

#include <errno.h>

#include "base/random.h"

enum { HEADERS_ADDED = 6 };

/* ---- traces ---- */

static void take_random(struct trace_source *source, uint8_t *bytes, size_t size)
{
        if (source->left < size) {
                random_bytes(source->bytes, sizeof(source->bytes));
                source->left = sizeof(source->bytes);
        }
        source->left -= size;
        memcpy(bytes, source->bytes + source->left, size);
}

void trace_begin(const struct http_headers *headers, struct tracer *tracer,
                 struct trace_source *source, struct trace *ret_trace)
{
        struct str field = http_headers_get(headers, STR("traceparent"));
        struct trace_context *context = &ret_trace->context;

        ret_trace->parent = (struct trace_context){};
        if (field.data && http_headers_count(headers, STR("traceparent")) == 1)
                (void)trace_context_parse(field, &ret_trace->parent);
        bool goes_on = trace_context_exists(&ret_trace->parent);
        if (tracer) {
                tracer_begin(tracer, goes_on ? &ret_trace->parent : NULL, context);
        } else {
                *context = (struct trace_context){ .sampled = ret_trace->parent.sampled };
                memcpy(context->trace_id, ret_trace->parent.trace_id, TRACE_ID_SIZE);
                if (!goes_on)
                        take_random(source, context->trace_id, TRACE_ID_SIZE);
                take_random(source, context->span_id, SPAN_ID_SIZE);
        }
        trace_context_format(context, ret_trace->text);
}

struct str trace_id_text(const struct trace *trace)
{
        return (struct str){ trace->text + strlen("00-"), 2 * TRACE_ID_SIZE };
}

struct str trace_span_text(const struct trace *trace)
{
        return (struct str){ trace->text + strlen("00-") + 2 * TRACE_ID_SIZE + 1,
                             2 * SPAN_ID_SIZE };
}

/* ---- requests ---- */

static bool is_one_of(struct str name, const char *const *names)
{
        for (; *names; names++)
                if (str_equal_ignoring_case(name, str_from(*names)))
                        return true;
        return false;
}

static bool goes_on(const struct http_headers *headers, const struct trace *trace, struct str name,
                    bool is_upgrade)
{
        static const char *const never[] = { "host",
                                             "authorization",
                                             "expect",
                                             "content-length",
                                             "x-forwarded-for",
                                             "x-forwarded-host",
                                             "x-forwarded-proto",
                                             "traceparent",
                                             "cookie",
                                             NULL };

        if (str_equal_ignoring_case(name, STR("upgrade")))
                return is_upgrade;
        if (http_header_is_hop_by_hop(name) || is_one_of(name, never))
                return false;
        if (is_upgrade && str_equal_ignoring_case(name, STR("origin")))
                return false;
        /* It belongs to the trace that was not understood. */
        if (str_equal_ignoring_case(name, STR("tracestate")) &&
            !trace_context_exists(&trace->parent))
                return false;
        return !http_headers_has_token(headers, STR("connection"), name);
}

/* HTTP/2 may send one cookie a field; before HTTP/2 there is one field (RFC 9113 8.2.3). */
static int join_cookies(struct arena *arena, const struct http_headers *in, struct str *ret_cookies)
{
        struct str all = STR_EMPTY;

        for (size_t i = 0; i < in->count; i++) {
                if (!str_equal_ignoring_case(in->items[i].name, STR("cookie")))
                        continue;
                all = all.length == 0 ? in->items[i].value
                                      : arena_printf(arena, "%.*s; %.*s", STR_FORMAT(all),
                                                     STR_FORMAT(in->items[i].value));
                if (!all.data)
                        return -ENOMEM;
        }
        *ret_cookies = all;
        return 0;
}

int forward_request_headers(const struct http_exchange *exchange, const struct trace *trace,
                            struct str client_ip, bool is_upgrade, bool is_grpc,
                            struct http_header **ret_headers, size_t *ret_count)
{
        const struct http_headers *in = &exchange->request.headers;
        struct arena *arena = exchange->arena;
        struct http_header *out = arena_new(arena, struct http_header, in->count + HEADERS_ADDED);
        struct str before = http_headers_get(in, STR("x-forwarded-for"));
        struct str chain = client_ip, cookies;
        size_t count = 0;

        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < in->count; i++)
                if (goes_on(in, trace, in->items[i].name, is_upgrade))
                        out[count++] = in->items[i];

        if (before.length > 0)
                chain = arena_printf(arena, "%.*s, %.*s", STR_FORMAT(before),
                                     STR_FORMAT(client_ip));
        if (!chain.data || join_cookies(arena, in, &cookies) < 0)
                return -ENOMEM;
        if (cookies.length > 0)
                out[count++] = (struct http_header){ STR("Cookie"), cookies };
        if (is_grpc)
                out[count++] = (struct http_header){ STR("TE"), STR("trailers") };
        out[count++] = (struct http_header){ STR("X-Forwarded-For"), chain };
        out[count++] = (struct http_header){ STR("X-Forwarded-Host"), exchange->request.authority };
        out[count++] = (struct http_header){ STR("X-Forwarded-Proto"),
                                             stream_is_secure(exchange->connection) ? STR("https")
                                                                                    : STR("http") };
        out[count++] =
                (struct http_header){ STR("Traceparent"), { trace->text, TRACEPARENT_SIZE - 1 } };
        *ret_headers = out;
        *ret_count = count;
        return 0;
}

struct str forward_target(struct arena *arena, const struct http_request_head *request)
{
        if (request->target.data[0] == '/' || str_equal(request->target, STR("*")))
                return request->target;
        bool has_query = memchr(request->target.data, '?', request->target.length) != NULL;
        return arena_printf(arena, "%.*s%s%.*s", STR_FORMAT(request->path), has_query ? "?" : "",
                            STR_FORMAT(request->query));
}

/* ---- gRPC ---- */

bool forward_is_grpc(const struct http_request_head *head)
{
        const struct str name = STR("application/grpc");
        struct str type = http_headers_get(&head->headers, STR("content-type"));

        if (head->version < 20 || !str_equal(head->method, STR("POST")) ||
            type.length < name.length ||
            !str_equal_ignoring_case(str_slice(type, 0, name.length), name))
                return false;
        return type.length == name.length || memchr("+; \t", type.data[name.length], 4);
}

unsigned forward_grpc_status(unsigned status)
{
        static const struct {
                unsigned http, grpc;
        } table[] = {
                { 400, 3 },              /* INVALID_ARGUMENT */
                { 401, 16 },             /* UNAUTHENTICATED */
                { 403, 7 },              /* PERMISSION_DENIED */
                { 413, 8 },              /* RESOURCE_EXHAUSTED */
                { 502, 14 },             /* UNAVAILABLE: it has not run, and may be sent again */
                { 503, 14 }, { 504, 4 }, /* DEADLINE_EXCEEDED */
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (table[i].http == status)
                        return table[i].grpc;
        return 2; /* UNKNOWN: 424 too */
}

size_t forward_take_grpc_status(struct http_header *headers, size_t *count,
                                struct http_header ret_trailers[static GRPC_TRAILERS])
{
        static const char *const names[] = { "grpc-status", "grpc-message",
                                             "grpc-status-details-bin", NULL };
        size_t kept = 0, taken = 0;

        for (size_t i = 0; i < *count; i++)
                if (is_one_of(headers[i].name, names) && taken < GRPC_TRAILERS)
                        ret_trailers[taken++] = headers[i];
                else
                        headers[kept++] = headers[i];
        *count = kept;
        return taken;
}

/* ---- answers ---- */

int forward_response_headers(struct arena *arena, const struct http_response_head *head,
                             struct http_header **ret_headers, size_t *ret_count)
{
        const struct http_headers *in = &head->headers;
        struct http_header *out = arena_new(arena, struct http_header, in->count + 1);
        bool switches = head->status == 101;
        size_t count = 0;

        if (!out)
                return -ENOMEM;
        if (switches)
                out[count++] = (struct http_header){ STR("Connection"), STR("Upgrade") };
        for (size_t i = 0; i < in->count; i++) {
                struct str name = in->items[i].name;
                bool is_upgrade = str_equal_ignoring_case(name, STR("upgrade"));
                bool hop = http_header_is_hop_by_hop(name) ||
                           http_headers_has_token(in, STR("connection"), name);
                if (is_upgrade ? switches : !hop)
                        out[count++] = in->items[i];
        }
        *ret_headers = out;
        *ret_count = count;
        return 0;
}
