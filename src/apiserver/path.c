// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/call.h"

#include <errno.h>

#include "net/http.h"

static int next_segment(struct str *rest, struct arena *arena, struct str *ret_segment)
{
        struct str segment;
        int r;

        str_cut(*rest, '/', &segment, rest);
        if (segment.length == 0) {
                *ret_segment = STR_EMPTY;
                return 0;
        }
        r = http_percent_decode(arena, segment, false, ret_segment);
        if (r < 0)
                return r;
        if (str_equal(*ret_segment, STR(".")) || str_equal(*ret_segment, STR("..")) ||
            memchr(ret_segment->data, '/', ret_segment->length))
                return -EINVAL;
        return 0;
}

/* Segments up to `count`, in order; what is absent is empty. */
static int read_segments(struct str *rest, struct arena *arena, struct str *segments, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                int r = next_segment(rest, arena, &segments[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int api_path_parse(struct str path, struct arena *arena, struct api_path *ret_path)
{
        struct api_path parsed = {};
        struct str segments[3] = {}, rest;
        int r;

        *ret_path = (struct api_path){};
        if (str_starts_with(path, STR("/api/"))) {
                rest = str_slice(path, 5, path.length);
                r = read_segments(&rest, arena, &parsed.version, 1);
        } else if (str_starts_with(path, STR("/apis/"))) {
                rest = str_slice(path, 6, path.length);
                r = read_segments(&rest, arena, segments, 2);
                parsed.group = segments[0];
                parsed.version = segments[1];
                if (r == 0 && parsed.group.length == 0)
                        return 0;
        } else {
                return 0;
        }
        if (r < 0)
                return r;

        r = read_segments(&rest, arena, segments, 1);
        if (r < 0)
                return r;
        if (segments[0].length == 0)
                return 0; /* discovery */
        if (str_equal(segments[0], STR("namespaces"))) {
                struct str before = rest;
                r = read_segments(&rest, arena, &segments[0], 2);
                if (r < 0)
                        return r;
                /* The namespace itself and its own parts are no objects inside it. */
                if (segments[1].length == 0 || str_equal(segments[1], STR("finalize")) ||
                    str_equal(segments[1], STR("status"))) {
                        rest = before;
                        parsed.resource = STR("namespaces");
                } else {
                        parsed.name_space = segments[0];
                        parsed.resource = segments[1];
                        if (parsed.name_space.length == 0)
                                return -EINVAL;
                }
        } else {
                parsed.resource = segments[0];
        }
        r = read_segments(&rest, arena, segments, 2);
        if (r < 0)
                return r;
        parsed.name = segments[0];
        parsed.subresource = segments[1];
        parsed.rest = rest;
        parsed.is_resource = true;
        *ret_path = parsed;
        return 0;
}
