// SPDX-License-Identifier: Apache-2.0
#include "net/http2_common.h"

#include <errno.h>

#include "base/macro.h"

enum { NUISANCES_MAX = 1000, NUISANCES_PER_SECOND = 100 };

bool http2_flood_add(struct http2_flood *flood, const nghttp2_frame_hd *frame, uint64_t now_ms)
{
        bool nuisance;

        switch (frame->type) {
        case NGHTTP2_HEADERS:
        case NGHTTP2_WINDOW_UPDATE:
        case NGHTTP2_CONTINUATION:
        case NGHTTP2_GOAWAY:
                nuisance = false;
                break;
        case NGHTTP2_DATA:
                nuisance = frame->length == 0 && !(frame->flags & NGHTTP2_FLAG_END_STREAM);
                break;
        default:
                nuisance = true;
        }
        if (!nuisance)
                return false;
        uint64_t forgiven = (now_ms - flood->since_ms) * NUISANCES_PER_SECOND / 1000;
        if (forgiven > 0) {
                flood->count -= MIN(flood->count, forgiven);
                flood->since_ms = now_ms;
        }
        return ++flood->count > NUISANCES_MAX;
}

nghttp2_nv http2_field(struct str name, struct str value)
{
        return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name.data,
                             .value = (uint8_t *)(uintptr_t)value.data,
                             .namelen = name.length,
                             .valuelen = value.length };
}

static bool is_forbidden(const struct http_header *header)
{
        if (str_equal_ignoring_case(header->name, STR("te")))
                return !str_equal_ignoring_case(header->value, STR("trailers"));
        return http_header_is_hop_by_hop(header->name) ||
               str_equal_ignoring_case(header->name, STR("host")) ||
               str_equal_ignoring_case(header->name, STR("content-length"));
}

int http2_fields_append(struct arena *arena, const struct http_header *headers, size_t count,
                        nghttp2_nv *nv, size_t *n)
{
        for (size_t i = 0; i < count; i++) {
                const struct str name = headers[i].name;
                if (is_forbidden(&headers[i]))
                        continue;
                if (!http_is_token(name) || !http_is_field_value(headers[i].value))
                        return -EINVAL;
                char *lower = arena_alloc(arena, name.length);
                if (!lower)
                        return -ENOMEM;
                for (size_t j = 0; j < name.length; j++) {
                        char c = name.data[j];
                        lower[j] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
                }
                nv[(*n)++] = http2_field((struct str){ lower, name.length }, headers[i].value);
        }
        return 0;
}

int http2_submit_trailers(nghttp2_session *session, int32_t id, struct arena *arena,
                          const struct http_header *trailers, size_t count)
{
        nghttp2_nv *nv = arena_new(arena, nghttp2_nv, count);
        size_t n = 0;

        if (!nv || http2_fields_append(arena, trailers, count, nv, &n) < 0)
                return -ENOMEM;
        return nghttp2_submit_trailer(session, id, nv, n) == 0 ? 0 : -ENOMEM;
}
