// SPDX-License-Identifier: Apache-2.0
#include "net/spdy.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

enum spdy_type {
        SPDY_SYN_STREAM = 1,
        SPDY_SYN_REPLY = 2,
        SPDY_RST_STREAM = 3,
        SPDY_SETTINGS = 4,
        SPDY_PING = 6,
        SPDY_GOAWAY = 7,
        SPDY_HEADERS = 8,
        SPDY_WINDOW_UPDATE = 9,
};

enum {
        SPDY_VERSION = 3,
        SPDY_FRAME_HEAD = 8,
        SPDY_FLAG_FIN = 1,
        SPDY_LENGTH_MAX = (1 << 24) - 1,
        DICTIONARY_SIZE = 1423,
};

struct spdy {
        const struct spdy_events *events;
        void *user;
        struct buffer *out;
        z_stream inflater, deflater;
        struct buffer frame; /* head and, of control frames, body, as far as they came */
        uint32_t data_stream;
        uint32_t data_left; /* of the data frame that is coming */
        bool data_fin;
        uint32_t last_stream;
        int failure;
};

/* ---- header compression ---- */

/*
 * Both ends preset their compressors with the same text: header names and values, each after its
 * length, and then what is often seen in values (draft 3.1, 2.6.10.1).
 */
static const char *const dictionary_words[] = {
        "options",
        "head",
        "post",
        "put",
        "delete",
        "trace",
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "connection",
        "content-base",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "referer",
        "retry-after",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "method",
        "get",
        "status",
        "200 OK",
        "version",
        "HTTP/1.1",
        "url",
        "public",
        "set-cookie",
        "keep-alive",
        "origin",
};
static const char dictionary_tail[] =
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
        "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
        "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
        "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
        "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
        "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void store32(char *at, uint32_t value)
{
        at[0] = (char)(value >> 24);
        at[1] = (char)(value >> 16);
        at[2] = (char)(value >> 8);
        at[3] = (char)value;
}

static uint32_t load32(const char *at)
{
        const unsigned char *b = (const unsigned char *)at;

        return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void make_dictionary(char dictionary[static DICTIONARY_SIZE])
{
        char *at = dictionary;

        for (size_t i = 0; i < ARRAY_SIZE(dictionary_words); i++) {
                size_t length = strlen(dictionary_words[i]);
                store32(at, (uint32_t)length);
                memcpy(at + 4, dictionary_words[i], length);
                at += 4 + length;
        }
        memcpy(at, dictionary_tail, sizeof(dictionary_tail) - 1);
        assert(at + sizeof(dictionary_tail) - 1 == dictionary + DICTIONARY_SIZE);
}

/* Runs a header block, which ends in a sync flush, through the inflater. */
static int inflate_block(struct spdy *spdy, struct str block, struct buffer *out)
{
        enum { PIECE = 4096 };
        char dictionary[DICTIONARY_SIZE];
        z_stream *z = &spdy->inflater;

        z->next_in = (unsigned char *)(uintptr_t)block.data;
        z->avail_in = (unsigned)block.length;
        while (z->avail_in > 0) {
                int r = buffer_reserve(out, PIECE);
                if (r < 0)
                        return r;
                z->next_out = (unsigned char *)out->data + out->length;
                z->avail_out = PIECE;
                r = inflate(z, Z_SYNC_FLUSH);
                out->length += PIECE - z->avail_out;
                if (r == Z_NEED_DICT) {
                        make_dictionary(dictionary);
                        r = inflateSetDictionary(z, (unsigned char *)dictionary, DICTIONARY_SIZE);
                }
                if (r == Z_MEM_ERROR)
                        return -ENOMEM;
                if (r != Z_OK)
                        return -EBADMSG;
                if (out->length > SPDY_HEADER_BLOCK_LIMIT)
                        return -E2BIG;
        }
        return 0;
}

static int deflate_block(struct spdy *spdy, struct str block, struct buffer *out)
{
        z_stream *z = &spdy->deflater;
        size_t bound = deflateBound(z, block.length) + 64;

        int r = buffer_reserve(out, bound);
        if (r < 0)
                return r;
        z->next_in = (unsigned char *)(uintptr_t)block.data;
        z->avail_in = (unsigned)block.length;
        z->next_out = (unsigned char *)out->data + out->length;
        z->avail_out = (unsigned)bound;
        if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in > 0 || z->avail_out == 0)
                return -ENOMEM;
        out->length += bound - z->avail_out;
        return 0;
}

static int take32(struct str *in, uint32_t *ret_value)
{
        if (in->length < 4)
                return -EBADMSG;
        *ret_value = load32(in->data);
        *in = str_slice(*in, 4, in->length);
        return 0;
}

static int take_string(struct str *in, struct str *ret_text)
{
        uint32_t length;

        if (take32(in, &length) < 0 || length > in->length)
                return -EBADMSG;
        *ret_text = str_slice(*in, 0, length);
        *in = str_slice(*in, length, in->length);
        return 0;
}

/* A count, then names and values each after its length. */
static int parse_headers(struct str block, struct arena *arena, struct http_headers *ret_headers)
{
        struct http_headers headers = {};
        uint32_t count;

        if (take32(&block, &count) < 0)
                return -EBADMSG;
        for (uint32_t i = 0; i < count; i++) {
                struct str name, value;
                int r = take_string(&block, &name);
                if (r == 0)
                        r = take_string(&block, &value);
                if (r == 0)
                        r = http_headers_add(&headers, arena, name, value);
                if (r < 0)
                        return r;
        }
        *ret_headers = headers;
        return 0;
}

/* ---- reading ---- */

static int read_syn_stream(struct spdy *spdy, struct str body, uint8_t flags)
{
        enum { FIXED = 10 };
        _cleanup_buffer_ struct buffer block = {};
        _cleanup_arena_ struct arena arena = {};
        struct http_headers headers;

        if (body.length < FIXED)
                return -EBADMSG;
        uint32_t stream = load32(body.data) & SPDY_STREAM_ID_MAX;
        /* A client's streams are odd and grow. */
        if (stream % 2 == 0 || stream <= spdy->last_stream)
                return -EBADMSG;
        spdy->last_stream = stream;
        int r = inflate_block(spdy, str_slice(body, FIXED, body.length), &block);
        if (r == 0)
                r = parse_headers(buffer_str(&block), &arena, &headers);
        if (r == 0)
                spdy->events->open(spdy->user, stream, &headers, flags & SPDY_FLAG_FIN);
        return r;
}

/* Headers of a stream that is open are of no use to us, but the inflater must see them. */
static int skip_headers(struct spdy *spdy, struct str body)
{
        _cleanup_buffer_ struct buffer block = {};

        if (body.length < 4)
                return -EBADMSG;
        return inflate_block(spdy, str_slice(body, 4, body.length), &block);
}

static int read_control(struct spdy *spdy)
{
        struct str frame = buffer_str(&spdy->frame);
        struct str body = str_slice(frame, SPDY_FRAME_HEAD, frame.length);
        uint32_t type = load32(frame.data) & 0xffff;

        switch (type) {
        case SPDY_SYN_STREAM:
                return read_syn_stream(spdy, body, (uint8_t)frame.data[4]);
        case SPDY_HEADERS:
                return skip_headers(spdy, body);
        case SPDY_RST_STREAM:
                if (body.length != 8)
                        return -EBADMSG;
                spdy->events->reset(spdy->user, load32(body.data) & SPDY_STREAM_ID_MAX,
                                    load32(body.data + 4));
                return 0;
        case SPDY_PING:
                if (body.length != 4)
                        return -EBADMSG;
                /* Answered with itself, unless it is the answer to one of ours: we send none. */
                return load32(body.data) % 2 == 1 ? buffer_append_str(spdy->out, frame) : 0;
        case SPDY_GOAWAY:
                spdy->events->go_away(spdy->user);
                return 0;
        case SPDY_SETTINGS:
        case SPDY_WINDOW_UPDATE:
                return 0;
        default:
                return -EBADMSG;
        }
}

/* Moves bytes from the input into the frame until it has `size`; whether it does. */
static int fill(struct spdy *spdy, struct str *bytes, size_t size)
{
        size_t take = MIN(size - spdy->frame.length, bytes->length);

        int r = buffer_append(&spdy->frame, bytes->data, take);
        if (r < 0)
                return r;
        *bytes = str_slice(*bytes, take, bytes->length);
        return spdy->frame.length == size;
}

static void read_data(struct spdy *spdy, struct str *bytes)
{
        size_t take = MIN(spdy->data_left, bytes->length);
        struct str piece = str_slice(*bytes, 0, take);

        *bytes = str_slice(*bytes, take, bytes->length);
        spdy->data_left -= (uint32_t)take;
        spdy->events->data(spdy->user, spdy->data_stream, piece,
                           spdy->data_left == 0 && spdy->data_fin);
}

/* One frame, or as much of it as there is. Returns 1 to go on, 0 when more bytes are needed. */
static int read_frame(struct spdy *spdy, struct str *bytes)
{
        if (spdy->data_left > 0) {
                read_data(spdy, bytes);
                return 1;
        }
        if (spdy->frame.length < SPDY_FRAME_HEAD) {
                int r = fill(spdy, bytes, SPDY_FRAME_HEAD);
                if (r <= 0)
                        return r;
        }
        uint32_t first = load32(spdy->frame.data), second = load32(spdy->frame.data + 4);
        uint32_t length = second & SPDY_LENGTH_MAX;

        if (!(first & UINT32_C(0x80000000))) {
                spdy->data_stream = first;
                spdy->data_left = length;
                spdy->data_fin = second >> 24 & SPDY_FLAG_FIN;
                buffer_clear(&spdy->frame);
                if (length == 0)
                        spdy->events->data(spdy->user, first, STR_EMPTY, spdy->data_fin);
                return 1;
        }
        if ((first >> 16 & 0x7fff) != SPDY_VERSION)
                return -EBADMSG;
        if (length > SPDY_CONTROL_FRAME_LIMIT)
                return -E2BIG;
        int r = fill(spdy, bytes, SPDY_FRAME_HEAD + length);
        if (r <= 0)
                return r;
        r = read_control(spdy);
        buffer_clear(&spdy->frame);
        return r < 0 ? r : 1;
}

int spdy_feed(struct spdy *spdy, struct str bytes)
{
        int r = 1;

        while (spdy->failure == 0 && bytes.length > 0 && r > 0) {
                r = read_frame(spdy, &bytes);
                if (r < 0)
                        spdy->failure = r;
        }
        return spdy->failure;
}

/* ---- writing ---- */

static int write_head(struct spdy *spdy, uint32_t first, uint8_t flags, size_t length)
{
        char head[SPDY_FRAME_HEAD];

        assert(length <= SPDY_LENGTH_MAX);
        store32(head, first);
        store32(head + 4, (uint32_t)flags << 24 | (uint32_t)length);
        return buffer_append(spdy->out, head, sizeof(head));
}

static uint32_t control(enum spdy_type type)
{
        return UINT32_C(0x80000000) | SPDY_VERSION << 16 | (uint32_t)type;
}

/* A control frame of nothing but 32-bit numbers. */
static int write_numbers(struct spdy *spdy, enum spdy_type type, const uint32_t *numbers,
                         size_t count)
{
        int r = write_head(spdy, control(type), 0, 4 * count);

        for (size_t i = 0; r == 0 && i < count; i++) {
                char bytes[4];
                store32(bytes, numbers[i]);
                r = buffer_append(spdy->out, bytes, sizeof(bytes));
        }
        return r;
}

static int append_string(struct buffer *out, struct str text)
{
        char length[4];

        store32(length, (uint32_t)text.length);
        int r = buffer_append(out, length, sizeof(length));
        return r < 0 ? r : buffer_append_str(out, text);
}

int spdy_reply(struct spdy *spdy, uint32_t stream, const struct http_header *headers, size_t count)
{
        _cleanup_buffer_ struct buffer plain = {}, block = {};
        char number[4];

        store32(number, (uint32_t)count);
        int r = buffer_append(&plain, number, sizeof(number));
        for (size_t i = 0; r == 0 && i < count; i++) {
                r = append_string(&plain, headers[i].name);
                if (r == 0)
                        r = append_string(&plain, headers[i].value);
        }
        if (r == 0)
                r = deflate_block(spdy, buffer_str(&plain), &block);
        if (r == 0)
                r = write_head(spdy, control(SPDY_SYN_REPLY), 0, 4 + block.length);
        store32(number, stream);
        if (r == 0)
                r = buffer_append(spdy->out, number, sizeof(number));
        return r < 0 ? r : buffer_append_str(spdy->out, buffer_str(&block));
}

int spdy_send(struct spdy *spdy, uint32_t stream, struct str data, bool fin)
{
        int r = 0;

        do {
                size_t length = MIN(data.length, (size_t)SPDY_DATA_PIECE_MAX);
                bool last = length == data.length;
                if (last && length == 0 && !fin)
                        break;
                r = write_head(spdy, stream, last && fin ? SPDY_FLAG_FIN : 0, length);
                if (r == 0)
                        r = buffer_append(spdy->out, data.data, length);
                data = str_slice(data, length, data.length);
        } while (r == 0 && data.length > 0);
        return r;
}

int spdy_reset(struct spdy *spdy, uint32_t stream, enum spdy_reset status)
{
        return write_numbers(spdy, SPDY_RST_STREAM, (const uint32_t[]){ stream, status }, 2);
}

int spdy_go_away(struct spdy *spdy)
{
        return write_numbers(spdy, SPDY_GOAWAY, (const uint32_t[]){ spdy->last_stream, 0 }, 2);
}

/* ---- life ---- */

int spdy_new(const struct spdy_events *events, void *user, struct buffer *out,
             struct spdy **ret_spdy)
{
        char dictionary[DICTIONARY_SIZE];
        struct spdy *spdy = calloc(1, sizeof(*spdy));

        if (!spdy)
                return -ENOMEM;
        spdy->events = events;
        spdy->user = user;
        spdy->out = out;
        make_dictionary(dictionary);
        if (inflateInit(&spdy->inflater) != Z_OK) {
                free(spdy);
                return -ENOMEM;
        }
        if (deflateInit(&spdy->deflater, Z_BEST_SPEED) != Z_OK) {
                inflateEnd(&spdy->inflater);
                free(spdy);
                return -ENOMEM;
        }
        deflateSetDictionary(&spdy->deflater, (unsigned char *)dictionary, DICTIONARY_SIZE);
        *ret_spdy = spdy;
        return 0;
}

void spdy_free(struct spdy *spdy)
{
        if (!spdy)
                return;
        inflateEnd(&spdy->inflater);
        deflateEnd(&spdy->deflater);
        buffer_deinit(&spdy->frame);
        free(spdy);
}
