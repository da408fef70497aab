// SPDX-License-Identifier: Apache-2.0
#include "client/resource.h"

#include <errno.h>

#include "net/http.h"

/* ":" stands in names of cluster roles, and clients send it as it is. */
static int append_segment(struct buffer *out, struct str segment)
{
        if (segment.length == 0 || str_equal(segment, STR(".")) || str_equal(segment, STR("..")))
                return -EINVAL;
        int r = buffer_append_char(out, '/');
        return r < 0 ? r : http_percent_encode(out, segment, ":");
}

int kube_path_append(struct buffer *out, const struct kind *kind, struct str name_space,
                     struct str name, struct str subresource)
{
        size_t before = out->length;
        int r;

        if (subresource.length > 0 && name.length == 0)
                return -EINVAL;
        if (kind->group.length == 0) {
                r = buffer_append_str(out, STR("/api"));
        } else {
                r = buffer_append_str(out, STR("/apis"));
                if (r == 0)
                        r = append_segment(out, kind->group);
        }
        if (r == 0)
                r = append_segment(out, kind->version);
        if (r == 0 && name_space.length > 0) {
                r = buffer_append_str(out, STR("/namespaces"));
                if (r == 0)
                        r = append_segment(out, name_space);
        }
        if (r == 0)
                r = append_segment(out, kind->plural);
        if (r == 0 && name.length > 0)
                r = append_segment(out, name);
        if (r == 0 && subresource.length > 0)
                r = append_segment(out, subresource);
        if (r < 0)
                out->length = before;
        return r;
}

int kube_query_append(struct buffer *out, const char *key, struct str value)
{
        bool first = out->length == 0 || !memchr(out->data, '?', out->length);
        int r = buffer_append_char(out, first ? '?' : '&');

        if (r == 0)
                r = http_percent_encode(out, str_from(key), "");
        if (r == 0)
                r = buffer_append_char(out, '=');
        if (r == 0)
                r = http_percent_encode(out, value, "");
        return r;
}
