// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "net/http.h"

/*
 * The one HTTP/1.1 parser, for requests and responses, strict as RFC 9112 allows: lines end with
 * CRLF only; no obs-fold, no blank before a colon, no bare CR, LF or NUL; one Content-Length at
 * most, and never together with Transfer-Encoding; no coding but chunked. Pure functions.
 */

enum { HTTP1_MORE = 1 }; /* a result: what is there is a good beginning, but not all of it */

/* How the body after a head is delimited. */
enum http1_framing { HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE };

/* Where one body ends, and how far it has been read. */
struct http1_body {
        enum http1_framing framing;
        uint64_t left;        /* bytes of the body (LENGTH) or of this chunk (CHUNKED) */
        unsigned state;       /* CHUNKED: where in the chunked coding we are */
        size_t trailer_bytes; /* CHUNKED: lengths of extensions and trailers, which are limited */
};

struct http1_connection {
        bool keep_alive; /* the connection can be used again after this message */
};

/*
 * Reads a whole head at the start of `input`. `*scanned` begins as 0 and keeps how far the end was
 * looked for between calls with a growing `input`. The head is copied into the arena, which holds
 * all views of *ret_head.
 *
 * Returns 0 with *ret_length (bytes of the head), HTTP1_MORE, -EBADMSG (400), -EMSGSIZE (431: more
 * than LIMIT_HEAD or LIMIT_HEADERS), -EPROTONOSUPPORT (505), -EOPNOTSUPP (501: transfer coding) or
 * -ENOMEM. Empty lines before a request are skipped (RFC 9112 2.2).
 */
int http1_parse_request(struct arena *arena, struct str input, size_t *scanned,
                        struct http_request_head *ret_head, struct http1_body *ret_body,
                        struct http1_connection *ret_connection, size_t *ret_length);

/* The same for the answer to a request with `method`, which decides whether there is a body. */
int http1_parse_response(struct arena *arena, struct str input, size_t *scanned, struct str method,
                         struct http_response_head *ret_head, struct http1_body *ret_body,
                         struct http1_connection *ret_connection, size_t *ret_length);

/*
 * Takes body bytes off the front of *input. Call it until it returns HTTP1_MORE:
 * HTTP1_PIECE with the next bytes of the body in *ret_piece, HTTP1_END (*input is what follows
 * the message), HTTP1_MORE (*input is empty; the body goes on), or -EBADMSG.
 */
enum { HTTP1_PIECE = 2, HTTP1_END = 3 };
int http1_body_next(struct http1_body *body, struct str *input, struct str *ret_piece);

/* Whether the peer may close now: the body ends by that, or has ended. */
bool http1_body_may_end(const struct http1_body *body);

/*
 * Appends heads. Names and values must be what http_is_token() and http_is_field_value() accept:
 * -EINVAL otherwise, with `out` as it was.
 */
int http1_append_request_line(struct buffer *out, struct str method, struct str target);
int http1_append_status_line(struct buffer *out, unsigned status, struct str reason);
int http1_append_field(struct buffer *out, struct str name, struct str value);

enum { HTTP1_CHUNK_HEAD_SIZE = 20 };
/* "1f\r\n"; returns its length. */
size_t http1_chunk_head(char text[static HTTP1_CHUNK_HEAD_SIZE], size_t length);
