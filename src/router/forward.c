// SPDX-License-Identifier: Apache-2.0
#include "router/forward.h"

#include <errno.h>
#include <stdio.h>

#include "base/random.h"

enum { HEADERS_ADDED = 5 };

/* ---- traces ---- */

static bool is_hex(struct str text)
{
        bool only_zeroes = true;

        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
                        return false;
                only_zeroes = only_zeroes && c == '0';
        }
        return !only_zeroes;
}

static void random_hex(char *text, size_t length)
{
        static const char digits[] = "0123456789abcdef";
        uint8_t bytes[TRACE_ID_LENGTH / 2];

        random_bytes(bytes, length / 2);
        for (size_t i = 0; i < length; i++)
                text[i] = digits[(i % 2 ? bytes[i / 2] : bytes[i / 2] >> 4) & 15];
        text[length] = '\0';
}

/* "00-<trace id>-<span id>-<flags>"; later versions may go on after that. */
void trace_begin(const struct http_headers *headers, struct trace *ret_trace)
{
        struct str parent = http_headers_get(headers, STR("traceparent"));

        random_hex(ret_trace->span_id, SPAN_ID_LENGTH);
        if (parent.length >= 55 && parent.data[2] == '-' && parent.data[35] == '-' &&
            parent.data[52] == '-' && is_hex(str_slice(parent, 3, 35)) &&
            is_hex(str_slice(parent, 36, 52))) {
                snprintf(ret_trace->trace_id, sizeof(ret_trace->trace_id), "%.32s",
                         parent.data + 3);
                snprintf(ret_trace->flags, sizeof(ret_trace->flags), "%.2s",
                         parent.data[54] & 1 ? "01" : "00");
                return;
        }
        random_hex(ret_trace->trace_id, TRACE_ID_LENGTH);
        snprintf(ret_trace->flags, sizeof(ret_trace->flags), "00");
}

/* ---- requests ---- */

static bool is_one_of(struct str name, const char *const *names)
{
        for (; *names; names++)
                if (str_equal_ignoring_case(name, str_from(*names)))
                        return true;
        return false;
}

static bool goes_on(const struct http_headers *headers, struct str name, bool is_upgrade)
{
        static const char *const never[] = { "host",
                                             "authorization",
                                             "expect",
                                             "content-length",
                                             "x-forwarded-for",
                                             "x-forwarded-host",
                                             "x-forwarded-proto",
                                             "traceparent",
                                             NULL };

        if (str_equal_ignoring_case(name, STR("upgrade")))
                return is_upgrade;
        if (http_header_is_hop_by_hop(name) || is_one_of(name, never))
                return false;
        if (is_upgrade && str_equal_ignoring_case(name, STR("origin")))
                return false;
        return !http_headers_has_token(headers, STR("connection"), name);
}

int forward_request_headers(const struct http_exchange *exchange, const struct trace *trace,
                            bool is_upgrade, struct http_header **ret_headers, size_t *ret_count)
{
        const struct http_headers *in = &exchange->request.headers;
        struct arena *arena = exchange->arena;
        struct http_header *out = arena_new(arena, struct http_header, in->count + HEADERS_ADDED);
        struct str before = http_headers_get(in, STR("x-forwarded-for"));
        char ip[NET_ADDRESS_SIZE];
        size_t count = 0;

        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < in->count; i++)
                if (goes_on(in, in->items[i].name, is_upgrade))
                        out[count++] = in->items[i];

        net_address_format_ip(&stream_peer(exchange->connection)->address, ip);
        struct str chain = before.length > 0
                                   ? arena_printf(arena, "%.*s, %s", STR_FORMAT(before), ip)
                                   : arena_str(arena, str_from(ip));
        struct str parent =
                arena_printf(arena, "00-%s-%s-%s", trace->trace_id, trace->span_id, trace->flags);
        if (!chain.data || !parent.data)
                return -ENOMEM;
        out[count++] = (struct http_header){ STR("X-Forwarded-For"), chain };
        out[count++] = (struct http_header){ STR("X-Forwarded-Host"), exchange->request.authority };
        out[count++] = (struct http_header){ STR("X-Forwarded-Proto"),
                                             stream_is_secure(exchange->connection) ? STR("https")
                                                                                    : STR("http") };
        out[count++] = (struct http_header){ STR("Traceparent"), parent };
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
