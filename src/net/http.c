// SPDX-License-Identifier: Apache-2.0
#include "net/http.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/limit.h"

enum { FIRST_HEADERS = 16 };

int http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                     struct str value)
{
        if (headers->count >= LIMIT_HEADERS)
                return -E2BIG;
        if (headers->count == headers->capacity) {
                size_t capacity = MAX(headers->capacity * 2, (size_t)FIRST_HEADERS);
                struct http_header *items = arena_new(arena, struct http_header, capacity);
                if (!items)
                        return -ENOMEM;
                if (headers->count > 0)
                        memcpy(items, headers->items, headers->count * sizeof(*items));
                headers->items = items;
                headers->capacity = capacity;
        }
        headers->items[headers->count++] = (struct http_header){ name, value };
        return 0;
}

struct str http_headers_get(const struct http_headers *headers, struct str name)
{
        for (size_t i = 0; i < headers->count; i++)
                if (str_equal_ignoring_case(headers->items[i].name, name))
                        return headers->items[i].value;
        return STR_EMPTY;
}

size_t http_headers_count(const struct http_headers *headers, struct str name)
{
        size_t count = 0;

        for (size_t i = 0; i < headers->count; i++)
                count += str_equal_ignoring_case(headers->items[i].name, name);
        return count;
}

bool http_headers_has_token(const struct http_headers *headers, struct str name, struct str token)
{
        for (size_t i = 0; i < headers->count; i++) {
                struct str rest = headers->items[i].value, item;
                if (!str_equal_ignoring_case(headers->items[i].name, name))
                        continue;
                for (bool more = true; more;) {
                        more = str_cut(rest, ',', &item, &rest);
                        if (str_equal_ignoring_case(str_trim(item), token))
                                return true;
                }
        }
        return false;
}

bool http_header_is_hop_by_hop(struct str name)
{
        static const char *const names[] = {
                "connection",
                "keep-alive",
                "proxy-connection",
                "proxy-authenticate",
                "proxy-authorization",
                "te",
                "trailer",
                "transfer-encoding",
                "upgrade",
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_equal_ignoring_case(name, str_from(names[i])))
                        return true;
        return false;
}

/* tchar: letters, digits and !#$%&'*+-.^_`|~, one bit each of 0 … 127. */
static bool is_token_char(unsigned char c)
{
        static const uint64_t set[2] = { UINT64_C(0x03ff6cfa00000000),
                                         UINT64_C(0x57ffffffc7fffffe) };

        return c < 128 && ((set[c >> 6] >> (c & 63)) & 1);
}

bool http_is_token(struct str text)
{
        for (size_t i = 0; i < text.length; i++)
                if (!is_token_char((unsigned char)text.data[i]))
                        return false;
        return text.length > 0;
}

bool http_is_field_value(struct str text)
{
        for (size_t i = 0; i < text.length; i++) {
                unsigned char c = (unsigned char)text.data[i];
                if ((c < ' ' && c != '\t') || c == 0x7f)
                        return false;
        }
        return true;
}

bool http_is_target(struct str text)
{
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == '#')
                        return false;
        return text.length > 0;
}

bool http_is_authority(struct str text)
{
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                            (c >= 'a' && c <= 'z') ||
                            (c != '\0' && strchr("-._~%:[]!$&'()*+,;=", c));
                if (!good)
                        return false;
        }
        return true;
}

struct str http_reason(unsigned status)
{
        static const struct {
                unsigned status;
                const char *reason;
        } reasons[] = {
                { 100, "Continue" },
                { 101, "Switching Protocols" },
                { 200, "OK" },
                { 201, "Created" },
                { 202, "Accepted" },
                { 204, "No Content" },
                { 206, "Partial Content" },
                { 301, "Moved Permanently" },
                { 302, "Found" },
                { 303, "See Other" },
                { 304, "Not Modified" },
                { 307, "Temporary Redirect" },
                { 308, "Permanent Redirect" },
                { 400, "Bad Request" },
                { 401, "Unauthorized" },
                { 403, "Forbidden" },
                { 404, "Not Found" },
                { 405, "Method Not Allowed" },
                { 406, "Not Acceptable" },
                { 407, "Proxy Authentication Required" },
                { 408, "Request Timeout" },
                { 409, "Conflict" },
                { 410, "Gone" },
                { 411, "Length Required" },
                { 412, "Precondition Failed" },
                { 413, "Content Too Large" },
                { 414, "URI Too Long" },
                { 415, "Unsupported Media Type" },
                { 416, "Range Not Satisfiable" },
                { 417, "Expectation Failed" },
                { 421, "Misdirected Request" },
                { 422, "Unprocessable Content" },
                { 426, "Upgrade Required" },
                { 429, "Too Many Requests" },
                { 431, "Request Header Fields Too Large" },
                { 499, "Client Closed Request" },
                { 500, "Internal Server Error" },
                { 501, "Not Implemented" },
                { 502, "Bad Gateway" },
                { 503, "Service Unavailable" },
                { 504, "Gateway Timeout" },
                { 505, "HTTP Version Not Supported" },
                { 507, "Insufficient Storage" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                if (reasons[i].status == status)
                        return str_from(reasons[i].reason);
        return STR("Unknown");
}

int http_percent_decode(struct arena *arena, struct str text, bool plus, struct str *ret_text)
{
        if (text.length == 0 || (!memchr(text.data, '%', text.length) &&
                                 !(plus && memchr(text.data, '+', text.length)))) {
                *ret_text = text;
                return 0;
        }
        char *decoded = arena_alloc(arena, text.length + 1);
        size_t length = 0;
        if (!decoded)
                return -ENOMEM;
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                if (c == '%') {
                        if (text.length - i < 3)
                                return -EINVAL;
                        int high = hex_digit(text.data[i + 1]), low = hex_digit(text.data[i + 2]);
                        if (high < 0 || low < 0 || (high | low) == 0)
                                return -EINVAL;
                        c = (char)(high << 4 | low);
                        i += 2;
                } else if (c == '+' && plus) {
                        c = ' ';
                }
                decoded[length++] = c;
        }
        *ret_text = (struct str){ decoded, length };
        return 0;
}

int http_percent_encode(struct buffer *out, struct str text, const char *also)
{
        static const char digits[] = "0123456789ABCDEF";
        size_t before = out->length;

        for (size_t i = 0; i < text.length; i++) {
                unsigned char c = (unsigned char)text.data[i];
                bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                             (c >= 'a' && c <= 'z') || (c != 0 && strchr("-._~", c)) ||
                             (c != 0 && also && strchr(also, c));
                char encoded[3] = { '%', digits[c >> 4], digits[c & 15] };
                int r = plain ? buffer_append_char(out, (char)c) : buffer_append(out, encoded, 3);
                if (r < 0) {
                        out->length = before;
                        return r;
                }
        }
        return 0;
}

bool http_query_next(struct str *rest, struct str *ret_name, struct str *ret_value)
{
        struct str pair;

        while (rest->length > 0) {
                str_cut(*rest, '&', &pair, rest);
                if (pair.length == 0)
                        continue;
                str_cut(pair, '=', ret_name, ret_value);
                return true;
        }
        return false;
}

int http_query_get(struct arena *arena, struct str query, struct str name, struct str *ret_value)
{
        struct str raw_name, raw_value, decoded;

        while (http_query_next(&query, &raw_name, &raw_value)) {
                int r = http_percent_decode(arena, raw_name, true, &decoded);
                if (r < 0)
                        return r;
                if (!str_equal(decoded, name))
                        continue;
                r = http_percent_decode(arena, raw_value, true, ret_value);
                return r < 0 ? r : 1;
        }
        return 0;
}

void http_date_format(uint64_t realtime_ns, char text[static HTTP_DATE_SIZE])
{
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        time_t seconds = (time_t)(realtime_ns / NS_PER_SECOND);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(text, HTTP_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                 days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
                 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}
