// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "base/limit.h"
#include "net/http1.h"

/*
 * The first byte says how the rest is cut and whether it is a response. What is read whole must be
 * read the same in pieces, and what was read must be fit to be written.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static int parse(struct arena *arena, struct str text, bool response, size_t *scanned,
                 struct http_headers *headers, struct http1_body *body, size_t *length)
{
        struct http1_connection connection;
        struct http_request_head request;
        struct http_response_head answer;
        int r;

        if (response) {
                r = http1_parse_response(arena, text, scanned, STR("GET"), &answer, body,
                                         &connection, length);
                *headers = r == 0 ? answer.headers : (struct http_headers){};
        } else {
                r = http1_parse_request(arena, text, scanned, &request, body, &connection, length);
                *headers = r == 0 ? request.headers : (struct http_headers){};
        }
        return r;
}

static size_t read_body(struct http1_body body, struct str text, size_t step, int *ret_result)
{
        size_t total = 0;
        int r = HTTP1_MORE;

        for (size_t at = 0; r == HTTP1_MORE && at < text.length; at += step) {
                struct str input = str_slice(text, at, MIN(at + step, text.length)), piece;
                while ((r = http1_body_next(&body, &input, &piece)) == HTTP1_PIECE) {
                        check(piece.length > 0);
                        total += piece.length;
                }
                check(r != HTTP1_MORE || input.length == 0);
        }
        *ret_result = r;
        return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena arena = {}, again = {};
        _cleanup_buffer_ struct buffer out = {};
        struct http_headers headers, ignored;
        struct http1_body body = {}, other;
        size_t scanned = 0, length, other_length;

        if (size == 0)
                return 0;
        bool response = data[0] & 1;
        size_t step = (size_t)(data[0] >> 1) + 1;
        struct str text = { (const char *)data + 1, size - 1 };

        int r = parse(&arena, text, response, &scanned, &headers, &body, &length);
        int in_pieces = HTTP1_MORE;
        scanned = 0;
        for (size_t have = step; in_pieces == HTTP1_MORE; have += step) {
                in_pieces = parse(&again, str_slice(text, 0, MIN(have, text.length)), response,
                                  &scanned, &ignored, &other, &other_length);
                if (have >= text.length)
                        break;
        }
        check(in_pieces == r || (in_pieces < 0 && r < 0));
        if (r != 0)
                return 0;
        check(length == other_length && headers.count <= LIMIT_HEADERS);
        for (size_t i = 0; i < headers.count; i++)
                check(http1_append_field(&out, headers.items[i].name, headers.items[i].value) == 0);

        int whole, cut;
        struct str rest = str_slice(text, length, text.length);
        size_t all = read_body(body, rest, rest.length + 1, &whole);
        check(all == read_body(body, rest, step, &cut) && whole == cut);
        return 0;
}
