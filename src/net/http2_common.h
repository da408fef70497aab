// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include "net/http.h"

/* What both ends of HTTP/2 share. */

/*
 * Counts frames that are free for the peer and cost us: RFC 9113 10.5 lists what they have been
 * used for. So many are forgiven at once, and so many a second.
 */
struct http2_flood {
        uint64_t count, since_ms;
};

/* Whether this frame was one too many. `type` and `length` are the frame's. */
bool http2_flood_add(struct http2_flood *flood, const nghttp2_frame_hd *frame, uint64_t now_ms);

nghttp2_nv http2_field(struct str name, struct str value);

/*
 * Appends fields with names in lower case (copies in the arena), leaving out what HTTP/2 has no use
 * for: hop-by-hop fields but "TE: trailers", Host, Content-Length. `nv` has room for `count` more.
 * Returns 0, -EINVAL (a field that may not be sent) or -ENOMEM.
 */
int http2_fields_append(struct arena *arena, const struct http_header *headers, size_t count,
                        nghttp2_nv *nv, size_t *n);

/* Ends stream `id` by these trailers (copies in the arena). Returns 0 or -ENOMEM. */
int http2_submit_trailers(nghttp2_session *session, int32_t id, struct arena *arena,
                          const struct http_header *trailers, size_t count);
