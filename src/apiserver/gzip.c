// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/gzip.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "apiserver/server.h"
#include "base/clock.h"

enum {
        LEVEL = 1,               /* as kube-apiserver: least work */
        WINDOW_BITS = 15 + 16,   /* with gzip's head and tail */
        MEMORY_LEVEL = 8,        /* zlib's default: 256 KiB */
        SLICE_BYTES = 16 * 1024, /* between two looks at the clock */
        PIECE_NS = 500 * 1000,
};

struct gzip {
        z_stream stream;
};

bool gzip_is_accepted(const struct api_call *call)
{
        struct str accepted, one, name, weight;

        if (!call->exchange || str_equal(call->method, STR("HEAD")))
                return false;
        accepted = http_headers_get(&call->exchange->request.headers, STR("Accept-Encoding"));
        while (accepted.length > 0) {
                str_cut(accepted, ',', &one, &accepted);
                str_cut(one, ';', &name, &weight);
                weight = str_trim(weight);
                if (str_equal_ignoring_case(str_trim(name), STR("gzip")))
                        return !str_equal(weight, STR("q=0")) && !str_equal(weight, STR("q=0.0"));
        }
        return false;
}

int gzip_new(struct gzip **ret_gzip)
{
        struct gzip *gzip = calloc(1, sizeof(*gzip));

        if (!gzip)
                return -ENOMEM;
        if (deflateInit2(&gzip->stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
                free(gzip);
                return -ENOMEM;
        }
        *ret_gzip = gzip;
        return 0;
}

void gzip_free(struct gzip *gzip)
{
        if (!gzip)
                return;
        deflateEnd(&gzip->stream);
        free(gzip);
}

/* One slice. Returns zlib's verdict, or -ENOMEM. */
static int deflate_slice(struct gzip *gzip, struct str *in, bool last, struct buffer *out)
{
        z_stream *stream = &gzip->stream;
        size_t length = MIN(in->length, (size_t)SLICE_BYTES);
        int r = buffer_reserve(out, SLICE_BYTES);

        if (r < 0)
                return -ENOMEM;
        stream->next_in = (unsigned char *)(uintptr_t)in->data;
        stream->avail_in = (unsigned)length;
        stream->next_out = (unsigned char *)out->data + out->length;
        stream->avail_out = SLICE_BYTES;
        r = deflate(stream, last && length == in->length ? Z_FINISH : Z_NO_FLUSH);
        out->length += SLICE_BYTES - stream->avail_out;
        *in = str_slice(*in, length - stream->avail_in, in->length);
        return r;
}

int gzip_some(struct gzip *gzip, struct str *in, bool last, struct buffer *out)
{
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;

        while (in->length > 0 || last) {
                int r = deflate_slice(gzip, in, last, out);
                if (r == Z_STREAM_END)
                        return 1;
                if (r < 0 && r != Z_BUF_ERROR)
                        return -ENOMEM;
                if (clock_monotonic_ns() >= deadline)
                        return in->length == 0 && !last;
        }
        return 1;
}

/* ---- a whole answer ---- */

struct zipped {
        struct api_call *call;
        struct gzip *gzip;
        struct stream_piece text;
        struct str rest;
        struct buffer out;
        struct net_task task;
};

static void zipped_free(struct api_call *call)
{
        struct zipped *zipped = call->stream;

        net_task_cancel(&zipped->task);
        gzip_free(zipped->gzip);
        if (zipped->text.release)
                zipped->text.release(zipped->text.user);
        buffer_deinit(&zipped->out);
        call->stream = NULL;
        call->stream_end = NULL;
        call->drain = NULL;
        free(zipped);
}

static void run(struct net_task *task)
{
        struct zipped *zipped = container_of(task, struct zipped, task);
        struct api_call *call = zipped->call;
        struct http_exchange *exchange = call->exchange;
        int r = gzip_some(zipped->gzip, &zipped->rest, true, &zipped->out);

        if (zipped->out.length > 0)
                http_exchange_send(exchange, &(struct stream_piece){ buffer_str(&zipped->out) }, 1);
        buffer_clear(&zipped->out);
        if (r == 0) {
                if (!http_exchange_is_congested(exchange))
                        net_loop_defer(call->server->loop, task);
                return;
        }
        zipped_free(call);
        if (r < 0)
                http_exchange_abort(exchange);
        else
                http_exchange_end(exchange, NULL, 0);
}

static void on_drain(struct api_call *call)
{
        struct zipped *zipped = call->stream;

        if (!net_task_is_queued(&zipped->task))
                net_loop_defer(call->server->loop, &zipped->task);
}

int gzip_respond(struct api_call *call, unsigned code, const char *content_type,
                 struct stream_piece text)
{
        struct http_header headers[API_HEADERS_MAX];
        struct zipped *zipped = calloc(1, sizeof(*zipped));
        int r = zipped ? gzip_new(&zipped->gzip) : -ENOMEM;

        if (r < 0) {
                free(zipped);
                return r;
        }
        zipped->call = call;
        zipped->text = text;
        zipped->rest = text.data;
        zipped->task.run = run;
        call->gzipped = true;
        call->stream = zipped;
        call->stream_end = zipped_free;
        call->drain = on_drain;
        http_exchange_begin(call->exchange, code, headers,
                            api_call_headers(call, content_type, headers), HTTP_LENGTH_UNKNOWN);
        run(&zipped->task);
        return 0;
}
