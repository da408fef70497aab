// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "net/http2.h"

/*
 * What a server says on an HTTP/2 connection, to a client with several calls. The first byte says
 * into what pieces it is cut, the second what the calls do. Whatever comes, each call is told in
 * order and ends once.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 3, TURNS = 64 };
enum { PAUSES = 1, CANCELS = 2, UPLOADS = 4, STARTS_MORE = 8 };

static void check(bool condition)
{
        if (!condition)
                abort();
}

/* ---- a connection that says what the fuzzer wants ---- */

struct fake {
        struct stream stream;
        struct net_task task;
        struct str rest;
        size_t piece;
        bool opened, ended;
};

static struct fake *fake_of(const struct stream *stream)
{
        return container_of(stream, struct fake, stream);
}

static void run_free(struct net_task *task)
{
        free(container_of(task, struct fake, task));
}

static void run_feed(struct net_task *task)
{
        struct fake *fake = container_of(task, struct fake, task);
        struct stream *stream = &fake->stream;

        if (!stream->on || stream->closed)
                return;
        if (!fake->opened) {
                fake->opened = true;
                if (stream->on->on_open)
                        stream->on->on_open(stream, stream->user);
        } else if (stream_wants_data(stream) && fake->rest.length > 0) {
                struct str piece = str_slice(fake->rest, 0, MIN(fake->piece, fake->rest.length));
                fake->rest = str_slice(fake->rest, piece.length, fake->rest.length);
                stream->on->on_data(stream, stream->user, piece);
        } else if (stream_wants_data(stream) && !fake->ended) {
                fake->ended = true;
                if (stream->on->on_end)
                        stream->on->on_end(stream, stream->user);
        }
        if (!stream->closed && !fake->ended)
                net_loop_defer(stream->loop, &fake->task);
}

static void fake_update(struct stream *stream)
{
        net_loop_defer(stream->loop, &fake_of(stream)->task);
}

static void fake_write(struct stream *stream _unused_, const struct stream_piece *pieces,
                       size_t count)
{
        stream_release_pieces(pieces, count);
}

static size_t fake_pending(const struct stream *stream _unused_)
{
        return 0;
}

static void fake_shutdown(struct stream *stream _unused_)
{
}

static void fake_close(struct stream *stream)
{
        struct fake *fake = fake_of(stream);

        net_task_cancel(&fake->task);
        fake->task.run = run_free;
        net_loop_defer(stream->loop, &fake->task);
}

static bool fake_is_fresh(struct stream *stream _unused_)
{
        return true;
}

static struct str fake_protocol(const struct stream *stream _unused_)
{
        return STR("h2");
}

static const struct stream_ops fake_ops = { .update = fake_update,
                                            .write = fake_write,
                                            .pending = fake_pending,
                                            .shutdown = fake_shutdown,
                                            .close = fake_close,
                                            .is_fresh = fake_is_fresh,
                                            .protocol = fake_protocol };

struct source {
        struct stream_filter filter;
        struct str says;
        size_t piece;
        bool used; /* later connections are closed at once */
};

static int wrap(struct stream_filter *filter, struct stream *lower, struct str server_name _unused_,
                struct stream **ret_stream)
{
        struct source *source = container_of(filter, struct source, filter);
        struct net_loop *loop = stream_loop(lower);

        stream_close(lower);
        struct fake *fake = source->used ? NULL : calloc(1, sizeof(*fake));
        if (!fake)
                return -ECONNREFUSED;
        source->used = true;
        fake->stream.ops = &fake_ops;
        fake->stream.loop = loop;
        fake->task.run = run_feed;
        fake->rest = source->says;
        fake->piece = source->piece;
        *ret_stream = &fake->stream;
        return 0;
}

/* ---- calls ---- */

struct call {
        struct run *run;
        bool had_head, is_over;
};

struct run {
        struct http_client *client;
        struct source source;
        unsigned behaviour;
        unsigned started, over;
        struct call calls[CALLS * 4];
};

static void start(struct run *run);

static void end_of(struct call *call)
{
        check(!call->is_over);
        call->is_over = true;
        call->run->over++;
}

static void on_head(struct http_call *http, void *user, const struct http_response_head *head)
{
        struct call *call = user;

        check(!call->is_over && !call->had_head && head->status >= 200 && head->version == 20);
        call->had_head = true;
        if (call->run->behaviour & PAUSES)
                http_call_pause(http);
        if (call->run->behaviour & STARTS_MORE)
                start(call->run);
}

static void on_body(struct http_call *http, void *user, struct str data)
{
        struct call *call = user;

        check(call->had_head && data.length > 0);
        if (call->run->behaviour & CANCELS) {
                http_call_cancel(http);
                end_of(call);
        }
}

static void on_trailers(struct http_call *http _unused_, void *user,
                        const struct http_headers *trailers)
{
        check(((struct call *)user)->had_head && trailers->count > 0);
}

static void on_end(struct http_call *http _unused_, void *user)
{
        check(((struct call *)user)->had_head);
        end_of(user);
}

static void on_error(struct http_call *http _unused_, void *user, enum http_error error _unused_,
                     int code)
{
        check(code < 0);
        end_of(user);
}

static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                      .on_body = on_body,
                                                      .on_end = on_end,
                                                      .on_error = on_error,
                                                      .on_trailers = on_trailers };

static void start(struct run *run)
{
        const struct http_request request = {
                .origin = { .filter = &run->source.filter, .server_name = STR("x") },
                .method = run->behaviour & UPLOADS ? STR("POST") : STR("GET"),
                .target = STR("/"),
                .streamed = run->behaviour & UPLOADS,
                .content_length = HTTP_LENGTH_UNKNOWN,
        };
        struct http_request to = request;
        struct http_call *http;

        if (run->started >= ARRAY_SIZE(run->calls))
                return;
        struct call *call = &run->calls[run->started];
        check(net_address_parse(STR("unix:@cay-fuzz-nobody"), &to.origin.address) == 0);
        call->run = run;
        run->started++;
        if (http_call_start(run->client, &to, &callbacks, call, &http) < 0) {
                run->over++;
                return;
        }
        if (run->behaviour & UPLOADS)
                http_call_send(http, &(struct stream_piece){ STR("some body") }, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct run run = { .source = { .filter.wrap = wrap } };
        struct net_loop *loop = NULL;
        uv_loop_t uv;

        if (size < 2)
                return 0;
        run.source.piece = (size_t)data[0] + 1;
        run.behaviour = data[1];
        run.source.says = (struct str){ (const char *)data + 2, size - 2 };
        const struct http_client_options options = { .http2 = &http2_client_protocol };
        check(uv_loop_init(&uv) == 0 && net_loop_new(&uv, &loop) == 0);
        check(http_client_new(loop, &options, &run.client) == 0);
        for (int i = 0; i < CALLS; i++)
                start(&run);
        for (size_t i = 0; i < size / run.source.piece + TURNS && run.over < run.started; i++)
                uv_run(&uv, UV_RUN_NOWAIT);
        /* Those that were held back until everything had come are the only ones left. */
        check(run.over == run.started || run.behaviour & PAUSES);
        http_client_free(run.client);
        net_loop_free(loop);
        check(uv_run(&uv, UV_RUN_DEFAULT) == 0 && uv_loop_close(&uv) == 0);
        return 0;
}
