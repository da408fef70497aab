// SPDX-License-Identifier: Apache-2.0
#include "net/http1.h"

#include <errno.h>
#include <stdio.h>

#include "base/limit.h"

/* ---- where a head ends ---- */

/* Finds the empty line; a client that ends lines with LF alone is told at once, not timed out. */
static int find_head(struct str input, bool is_request, size_t *scanned, size_t *ret_start,
                     size_t *ret_end)
{
        size_t start = 0;

        while (is_request && input.length - start >= 2 && input.data[start] == '\r' &&
               input.data[start + 1] == '\n')
                start += 2;
        if (*scanned < start)
                *scanned = start;
        /* Another protocol is told by its first bytes; it may never send an empty line. */
        struct str first = str_slice(input, start, MIN(input.length, start + 5));
        if (first.length > 0 && first.data[0] != '\r' &&
            (is_request ? !http_is_token(str_slice(first, 0, 1))
                        : !str_starts_with(STR("HTTP/"), first)))
                return -EBADMSG;

        while (*scanned < input.length) {
                const char *line = input.data + *scanned;
                const char *newline = memchr(line, '\n', input.length - *scanned);
                if (!newline)
                        break;
                size_t length = (size_t)(newline - line);
                if (length == 0 || line[length - 1] != '\r')
                        return -EBADMSG;
                *scanned += length + 1;
                if (*scanned > LIMIT_HEAD)
                        return -EMSGSIZE;
                if (length == 1) {
                        if (*scanned - 2 == start)
                                return -EBADMSG;
                        *ret_start = start;
                        *ret_end = *scanned;
                        return 0;
                }
        }
        return input.length > LIMIT_HEAD ? -EMSGSIZE : HTTP1_MORE;
}

/* The next line without its CRLF, which find_head() has seen. */
static struct str next_line(struct str *rest)
{
        struct str line;

        str_cut(*rest, '\n', &line, rest);
        line.length--;
        return line;
}

/* ---- fields ---- */

static int parse_fields(struct arena *arena, struct str rest, struct http_headers *headers)
{
        for (;;) {
                struct str line = next_line(&rest), name, value;
                if (line.length == 0)
                        return 0;
                if (!str_cut(line, ':', &name, &value))
                        return -EBADMSG;
                value = str_trim(value);
                /* The token check refuses obs-fold and blanks before the colon as well. */
                if (!http_is_token(name) || !http_is_field_value(value))
                        return -EBADMSG;
                int r = http_headers_add(headers, arena, name, value);
                if (r < 0)
                        return r == -E2BIG ? -EMSGSIZE : r;
        }
}

struct framing {
        bool chunked;
        bool has_length;
        int64_t length;
};

/* Two answers to "where does this end?" are how requests are smuggled: refused in every form. */
static int parse_framing(const struct http_headers *headers, unsigned version,
                         struct framing *framing)
{
        size_t codings = 0;
        int r;

        *framing = (struct framing){};
        for (size_t i = 0; i < headers->count; i++) {
                const struct http_header *h = &headers->items[i];
                if (str_equal_ignoring_case(h->name, STR("content-length"))) {
                        uint64_t length;
                        r = str_to_u64(h->value, INT64_MAX, &length);
                        if (r < 0 || framing->has_length)
                                return -EBADMSG;
                        framing->has_length = true;
                        framing->length = (int64_t)length;
                } else if (str_equal_ignoring_case(h->name, STR("transfer-encoding"))) {
                        codings++;
                        framing->chunked = str_equal_ignoring_case(h->value, STR("chunked"));
                }
        }
        if (codings == 0)
                return 0;
        if (framing->has_length || version < 11)
                return -EBADMSG;
        return codings == 1 && framing->chunked ? 0 : -EOPNOTSUPP;
}

static bool is_kept_alive(const struct http_headers *headers, unsigned version)
{
        if (http_headers_has_token(headers, STR("connection"), STR("close")))
                return false;
        return version >= 11 ||
               http_headers_has_token(headers, STR("connection"), STR("keep-alive"));
}

/* "HTTP/1.1". A minor version above 1 is read as 1 (RFC 9110 2.5). */
static int parse_version(struct str text, unsigned *ret_version)
{
        if (text.length != 8 || !str_starts_with(text, STR("HTTP/")) || text.data[6] != '.' ||
            text.data[5] < '0' || text.data[5] > '9' || text.data[7] < '0' || text.data[7] > '9')
                return -EBADMSG;
        if (text.data[5] != '1')
                return -EPROTONOSUPPORT;
        *ret_version = text.data[7] == '0' ? 10 : 11;
        return 0;
}

/* ---- requests ---- */

/* Splits the target into what it is in its four forms (RFC 9112 3.2). */
static int parse_target(struct http_request_head *head)
{
        struct str target = head->target;

        if (str_equal(head->method, STR("CONNECT"))) {
                head->path = target;
                head->authority = target;
                return http_is_authority(target) ? 0 : -EBADMSG;
        }
        if (target.data[0] != '/') {
                if (str_equal(target, STR("*")) && str_equal(head->method, STR("OPTIONS"))) {
                        head->path = target;
                        return 0;
                }
                size_t skip = str_starts_with(target, STR("http://"))    ? 7
                              : str_starts_with(target, STR("https://")) ? 8
                                                                         : 0;
                if (skip == 0)
                        return -EBADMSG;
                struct str rest = str_slice(target, skip, target.length);
                size_t end = 0;
                while (end < rest.length && rest.data[end] != '/' && rest.data[end] != '?')
                        end++;
                head->authority = str_slice(rest, 0, end);
                if (end == 0 || !http_is_authority(head->authority))
                        return -EBADMSG;
                target = str_slice(rest, end, rest.length);
        }
        str_cut(target, '?', &head->path, &head->query);
        if (head->path.length == 0)
                head->path = STR("/");
        return 0;
}

static int parse_host(struct http_request_head *head)
{
        size_t count = http_headers_count(&head->headers, STR("host"));
        struct str host = http_headers_get(&head->headers, STR("host"));

        if (count > 1 || (count == 0 && head->version >= 11) || !http_is_authority(host))
                return -EBADMSG;
        if (head->authority.length == 0)
                head->authority = host;
        return 0;
}

int http1_parse_request(struct arena *arena, struct str input, size_t *scanned,
                        struct http_request_head *ret_head, struct http1_body *ret_body,
                        struct http1_connection *ret_connection, size_t *ret_length)
{
        struct http_request_head head = {};
        struct http1_body body = {};
        struct framing framing;
        struct str rest, line;
        size_t start, end;

        int r = find_head(input, true, scanned, &start, &end);
        if (r != 0)
                return r;
        rest = arena_str(arena, str_slice(input, start, end));
        if (!rest.data)
                return -ENOMEM;

        line = next_line(&rest);
        struct str version;
        if (!str_cut(line, ' ', &head.method, &line) || !str_cut(line, ' ', &head.target, &version))
                return -EBADMSG;
        if (!http_is_token(head.method) || !http_is_target(head.target))
                return -EBADMSG;
        r = parse_version(version, &head.version);
        if (r == 0)
                r = parse_target(&head);
        if (r == 0)
                r = parse_fields(arena, rest, &head.headers);
        if (r == 0)
                r = parse_host(&head);
        if (r == 0)
                r = parse_framing(&head.headers, head.version, &framing);
        if (r < 0)
                return r;

        if (framing.chunked) {
                body.framing = HTTP1_CHUNKED;
                head.content_length = HTTP_LENGTH_UNKNOWN;
        } else if (framing.length > 0) {
                body.framing = HTTP1_LENGTH;
                body.left = (uint64_t)framing.length;
                head.content_length = framing.length;
        }
        head.is_upgrade =
                head.version >= 11 &&
                http_headers_has_token(&head.headers, STR("connection"), STR("upgrade")) &&
                http_headers_get(&head.headers, STR("upgrade")).length > 0;
        head.expects_continue =
                head.version >= 11 &&
                str_equal_ignoring_case(http_headers_get(&head.headers, STR("expect")),
                                        STR("100-continue"));
        ret_connection->keep_alive = is_kept_alive(&head.headers, head.version);
        *ret_head = head;
        *ret_body = body;
        *ret_length = end;
        return 0;
}

/* ---- responses ---- */

static int parse_status_line(struct str line, struct http_response_head *head)
{
        struct str version, status;
        uint64_t number;

        if (!str_cut(line, ' ', &version, &line))
                return -EBADMSG;
        str_cut(line, ' ', &status, &head->reason);
        int r = parse_version(version, &head->version);
        if (r < 0)
                return r;
        if (status.length != 3 || str_to_u64(status, 999, &number) < 0 || number < 100)
                return -EBADMSG;
        head->status = (unsigned)number;
        return http_is_field_value(head->reason) ? 0 : -EBADMSG;
}

int http1_parse_response(struct arena *arena, struct str input, size_t *scanned, struct str method,
                         struct http_response_head *ret_head, struct http1_body *ret_body,
                         struct http1_connection *ret_connection, size_t *ret_length)
{
        struct http_response_head head = {};
        struct http1_body body = {};
        struct framing framing;
        struct str rest;
        size_t start, end;

        int r = find_head(input, false, scanned, &start, &end);
        if (r != 0)
                return r;
        rest = arena_str(arena, str_slice(input, start, end));
        if (!rest.data)
                return -ENOMEM;

        r = parse_status_line(next_line(&rest), &head);
        if (r == 0)
                r = parse_fields(arena, rest, &head.headers);
        if (r == 0)
                r = parse_framing(&head.headers, head.version, &framing);
        if (r < 0)
                return r;

        bool is_tunnel =
                head.status == 101 || (str_equal(method, STR("CONNECT")) && head.status / 100 == 2);
        bool has_no_body = head.status / 100 == 1 || head.status == 204 || head.status == 304 ||
                           is_tunnel || str_equal(method, STR("HEAD"));
        bool keep_alive = is_kept_alive(&head.headers, head.version);

        if (framing.chunked)
                head.content_length = HTTP_LENGTH_UNKNOWN;
        else if (framing.has_length)
                head.content_length = framing.length;
        else if (!has_no_body || str_equal(method, STR("HEAD")))
                head.content_length = HTTP_LENGTH_UNKNOWN;

        if (has_no_body || (framing.has_length && framing.length == 0)) {
                body.framing = HTTP1_NO_BODY;
        } else if (framing.chunked) {
                body.framing = HTTP1_CHUNKED;
        } else if (framing.has_length) {
                body.framing = HTTP1_LENGTH;
                body.left = (uint64_t)framing.length;
        } else {
                body.framing = HTTP1_UNTIL_CLOSE;
                keep_alive = false;
        }
        ret_connection->keep_alive = keep_alive && !is_tunnel;
        *ret_head = head;
        *ret_body = body;
        *ret_length = end;
        return 0;
}

/* ---- bodies ---- */

enum chunk_state {
        CHUNK_SIZE_FIRST, /* at least one digit */
        CHUNK_SIZE,
        CHUNK_EXTENSION,
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        TRAILER_START, /* of a line */
        TRAILER_NAME,
        TRAILER_VALUE,
        TRAILER_LF,
        LAST_LF,
        CHUNKED_DONE,
};

enum { CHUNK_SIZE_MAX_BITS = 60 };

/* Goes one byte further outside of the data. Returns the next state, or -EBADMSG. */
static int chunked_step(struct http1_body *body, char c)
{
        bool is_text = (unsigned char)c >= ' ' || c == '\t';
        int digit;

        switch ((enum chunk_state)body->state) {
        case CHUNK_SIZE_FIRST:
        case CHUNK_SIZE:
                digit = hex_digit(c);
                if (digit >= 0) {
                        if (body->left >> (CHUNK_SIZE_MAX_BITS - 4))
                                return -EBADMSG;
                        body->left = body->left << 4 | (unsigned)digit;
                        return CHUNK_SIZE;
                }
                if (body->state == CHUNK_SIZE_FIRST)
                        return -EBADMSG;
                if (c == ';')
                        return CHUNK_EXTENSION;
                return c == '\r' ? CHUNK_SIZE_LF : -EBADMSG;
        case CHUNK_EXTENSION:
                if (c == '\r')
                        return CHUNK_SIZE_LF;
                return is_text ? CHUNK_EXTENSION : -EBADMSG;
        case CHUNK_SIZE_LF:
                if (c != '\n')
                        return -EBADMSG;
                return body->left > 0 ? CHUNK_DATA : TRAILER_START;
        case CHUNK_DATA_CR:
                return c == '\r' ? CHUNK_DATA_LF : -EBADMSG;
        case CHUNK_DATA_LF:
                return c == '\n' ? CHUNK_SIZE_FIRST : -EBADMSG;
        case TRAILER_START:
                if (c == '\r')
                        return LAST_LF;
                return http_is_token((struct str){ &c, 1 }) ? TRAILER_NAME : -EBADMSG;
        case TRAILER_NAME:
                if (c == ':')
                        return TRAILER_VALUE;
                return http_is_token((struct str){ &c, 1 }) ? TRAILER_NAME : -EBADMSG;
        case TRAILER_VALUE:
                if (c == '\r')
                        return TRAILER_LF;
                return is_text ? TRAILER_VALUE : -EBADMSG;
        case TRAILER_LF:
                return c == '\n' ? TRAILER_START : -EBADMSG;
        case LAST_LF:
                return c == '\n' ? CHUNKED_DONE : -EBADMSG;
        case CHUNK_DATA:
        case CHUNKED_DONE:
                break;
        }
        return -EBADMSG;
}

static int take_piece(struct http1_body *body, struct str *input, struct str *ret_piece)
{
        size_t length = (size_t)MIN((uint64_t)input->length, body->left);

        *ret_piece = str_slice(*input, 0, length);
        *input = str_slice(*input, length, input->length);
        body->left -= length;
        return HTTP1_PIECE;
}

static int chunked_next(struct http1_body *body, struct str *input, struct str *ret_piece)
{
        while (body->state != CHUNKED_DONE) {
                if (input->length == 0)
                        return HTTP1_MORE;
                if (body->state == CHUNK_DATA) {
                        take_piece(body, input, ret_piece);
                        if (body->left == 0)
                                body->state = CHUNK_DATA_CR;
                        return HTTP1_PIECE;
                }
                int next = chunked_step(body, input->data[0]);
                if (next < 0)
                        return next;
                if (next == CHUNK_EXTENSION || next == TRAILER_NAME || next == TRAILER_VALUE)
                        if (++body->trailer_bytes > LIMIT_HEAD)
                                return -EBADMSG;
                body->state = (unsigned)next;
                *input = str_slice(*input, 1, input->length);
        }
        return HTTP1_END;
}

int http1_body_next(struct http1_body *body, struct str *input, struct str *ret_piece)
{
        switch (body->framing) {
        case HTTP1_NO_BODY:
                return HTTP1_END;
        case HTTP1_LENGTH:
                if (body->left == 0)
                        return HTTP1_END;
                return input->length == 0 ? HTTP1_MORE : take_piece(body, input, ret_piece);
        case HTTP1_CHUNKED:
                return chunked_next(body, input, ret_piece);
        case HTTP1_UNTIL_CLOSE:
                if (input->length == 0)
                        return HTTP1_MORE;
                *ret_piece = *input;
                *input = STR_EMPTY;
                return HTTP1_PIECE;
        }
        return -EBADMSG;
}

bool http1_body_may_end(const struct http1_body *body)
{
        switch (body->framing) {
        case HTTP1_NO_BODY:
        case HTTP1_UNTIL_CLOSE:
                return true;
        case HTTP1_LENGTH:
                return body->left == 0;
        case HTTP1_CHUNKED:
                return body->state == CHUNKED_DONE;
        }
        return false;
}

/* ---- writing ---- */

static int append_all(struct buffer *out, const struct str *parts, size_t count)
{
        size_t total = 0;

        for (size_t i = 0; i < count; i++)
                total += parts[i].length;
        int r = buffer_reserve(out, total);
        if (r < 0)
                return r;
        for (size_t i = 0; i < count; i++)
                (void)buffer_append_str(out, parts[i]);
        return 0;
}

int http1_append_request_line(struct buffer *out, struct str method, struct str target)
{
        const struct str parts[] = { method, STR(" "), target, STR(" HTTP/1.1\r\n") };

        if (!http_is_token(method) || !http_is_target(target))
                return -EINVAL;
        return append_all(out, parts, ARRAY_SIZE(parts));
}

int http1_append_status_line(struct buffer *out, unsigned status, struct str reason)
{
        char digits[3] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                           (char)('0' + status % 10) };
        const struct str parts[] = {
                STR("HTTP/1.1 "), { digits, 3 }, STR(" "), reason, STR("\r\n")
        };

        if (status < 100 || status > 999 || !http_is_field_value(reason))
                return -EINVAL;
        return append_all(out, parts, ARRAY_SIZE(parts));
}

int http1_append_field(struct buffer *out, struct str name, struct str value)
{
        const struct str parts[] = { name, STR(": "), value, STR("\r\n") };

        if (!http_is_token(name) || !http_is_field_value(value))
                return -EINVAL;
        return append_all(out, parts, ARRAY_SIZE(parts));
}

size_t http1_chunk_head(char text[static HTTP1_CHUNK_HEAD_SIZE], size_t length)
{
        return (size_t)snprintf(text, HTTP1_CHUNK_HEAD_SIZE, "%zx\r\n", length);
}
