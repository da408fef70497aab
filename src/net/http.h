// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"

/* What HTTP messages consist of in every version (RFC 9110). Views live in some arena. */

struct http_header {
        struct str name, value;
};

/* Fields in the order of the message, at most LIMIT_HEADERS. All zero is empty. */
struct http_headers {
        struct http_header *items;
        size_t count;
        size_t capacity;
};

/* Adds a field; its views must live as long as the arena. 0, -E2BIG (too many) or -ENOMEM. */
int http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                     struct str value);

/* The value of the first field of that name in any case; data is NULL if there is none. */
struct str http_headers_get(const struct http_headers *headers, struct str name);

/* How many fields have that name. */
size_t http_headers_count(const struct http_headers *headers, struct str name);

/* Whether a list field (Connection, Accept …) has the token in any of its lines, in any case. */
bool http_headers_has_token(const struct http_headers *headers, struct str name, struct str token);

/*
 * Whether it says how one connection is used, and so is never passed on by a proxy: Connection,
 * Keep-Alive, Proxy-*, TE, Trailer, Transfer-Encoding, Upgrade (RFC 9110 7.6.1). What else the
 * Connection field names is the caller's to ask with http_headers_has_token().
 */
bool http_header_is_hop_by_hop(struct str name);

/* tchar of RFC 9110 5.6.2, and at least one. */
bool http_is_token(struct str text);

/* No CR, LF, NUL or other control character but a tab: may be sent as a field's value. */
bool http_is_field_value(struct str text);

/* Visible ASCII without "#", and not empty: what a request may name (RFC 3986). */
bool http_is_target(struct str text);

/* The characters that a host with or without a port has; may be empty. */
bool http_is_authority(struct str text);

enum { HTTP_LENGTH_UNKNOWN = -1 };

struct http_request_head {
        struct str method;
        struct str target;    /* as it came: "/a%2Fb?c=d", "*", or what CONNECT had */
        struct str path;      /* the target's path, still percent-encoded; begins with "/" or "*" */
        struct str query;     /* what follows "?", without it */
        struct str authority; /* Host or :authority; may be empty in HTTP/1.0 */
        unsigned version;     /* 10, 11, 20 */
        int64_t content_length; /* 0 without a body; HTTP_LENGTH_UNKNOWN when it ends by itself */
        bool is_upgrade;        /* HTTP/1.1 with Connection: upgrade and an Upgrade field */
        bool expects_continue;  /* Expect: 100-continue */
        struct http_headers headers;
};

struct http_response_head {
        unsigned status;
        struct str reason; /* may be empty */
        unsigned version;
        int64_t content_length; /* as above; of an answer to HEAD: what GET would have */
        struct http_headers headers;
};

/* "Not Found"; "Unknown" if we have no phrase for it. */
struct str http_reason(unsigned status);

/*
 * Decodes %XX (and "+" as a blank if `plus`). Returns the text itself if there is nothing to
 * decode, else a copy in the arena. 0, -EINVAL (bad escape, %00) or -ENOMEM.
 */
int http_percent_decode(struct arena *arena, struct str text, bool plus, struct str *ret_text);

/* Appends with all but RFC 3986's unreserved characters, and those in `also`, encoded. */
int http_percent_encode(struct buffer *out, struct str text, const char *also);

/* Walks "a=b&c": both parts still encoded. Returns whether there was one. */
bool http_query_next(struct str *rest, struct str *ret_name, struct str *ret_value);

/*
 * The decoded value of the first parameter of that name.
 * Returns 1, 0 (there is none), -EINVAL or -ENOMEM.
 */
int http_query_get(struct arena *arena, struct str query, struct str name, struct str *ret_value);

enum { HTTP_DATE_SIZE = sizeof("Sun, 06 Nov 1994 08:49:37 GMT") };

/* The Date field's form of a time (IMF-fixdate). */
void http_date_format(uint64_t realtime_ns, char text[static HTTP_DATE_SIZE]);
