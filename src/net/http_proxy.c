// SPDX-License-Identifier: Apache-2.0
#include "net/http_proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "net/http1.h"

struct http_proxy {
        struct stream_filter filter;
        struct buffer request; /* the whole head */
        struct stream_filter *below, *above;
        struct buffer proxy_name;
        unsigned references;
        char last_error[128];
};

/* The way through: opaque until the proxy has said yes, then transparent. */
struct proxy_stream {
        struct stream stream;
        struct http_proxy *proxy;
        struct stream *lower; /* NULL when it has closed */
        struct net_task task; /* tells what could not be told at once, or frees */
        struct buffer input;  /* the answer's head; then what followed it */
        struct buffer output; /* written before the way was open */
        size_t scanned;
        bool open, told_open;
        bool lower_ended;
        bool ended; /* on_close(error) is to be told */
        int error;
};

static struct proxy_stream *from_stream(const struct stream *stream)
{
        return container_of(stream, struct proxy_stream, stream);
}

static void unreference(struct http_proxy *proxy)
{
        if (--proxy->references > 0)
                return;
        buffer_deinit(&proxy->request);
        buffer_deinit(&proxy->proxy_name);
        free(proxy);
}

static void run_free(struct net_task *task)
{
        struct proxy_stream *p = container_of(task, struct proxy_stream, task);

        unreference(p->proxy);
        buffer_deinit(&p->input);
        buffer_deinit(&p->output);
        free(p);
}

static void schedule(struct proxy_stream *p)
{
        if (!p->stream.closed)
                net_loop_defer(p->stream.loop, &p->task);
}

static void end(struct proxy_stream *p, int error)
{
        if (p->ended)
                return;
        p->ended = true;
        p->error = error;
        schedule(p);
}

static void update_lower(struct proxy_stream *p)
{
        if (!p->lower)
                return;
        if (p->open && (!stream_wants_data(&p->stream) || p->input.length > 0))
                stream_pause(p->lower);
        else
                stream_resume(p->lower);
}

static void tell_end(struct proxy_stream *p)
{
        p->lower_ended = false;
        if (p->stream.on->on_end)
                p->stream.on->on_end(&p->stream, p->stream.user);
        else
                stream_shutdown(&p->stream);
}

static void run_task(struct net_task *task)
{
        struct proxy_stream *p = container_of(task, struct proxy_stream, task);

        if (p->open && !p->told_open && p->stream.on) {
                p->told_open = true;
                if (p->stream.on->on_open)
                        p->stream.on->on_open(&p->stream, p->stream.user);
        }
        if (p->open && p->input.length > 0 && stream_wants_data(&p->stream)) {
                _cleanup_buffer_ struct buffer input = p->input;
                p->input = (struct buffer){};
                p->stream.on->on_data(&p->stream, p->stream.user, buffer_str(&input));
        }
        if (p->lower_ended && p->input.length == 0 && stream_wants_data(&p->stream))
                tell_end(p);
        if (p->stream.closed)
                return;
        if (p->ended && p->stream.on) {
                const struct stream_callbacks *on = p->stream.on;
                void *user = p->stream.user;
                int error = p->error;
                stream_close(&p->stream);
                if (on->on_close)
                        on->on_close(&p->stream, user, error);
                return;
        }
        update_lower(p);
}

/* ---- the proxy's answer ---- */

static void refused(struct proxy_stream *p, const char *what)
{
        snprintf(p->proxy->last_error, sizeof(p->proxy->last_error), "%s", what);
        end(p, -ECONNREFUSED);
}

static void read_head(struct proxy_stream *p)
{
        _cleanup_arena_ struct arena arena = {};
        struct http1_connection connection = {};
        struct http_response_head head;
        struct http1_body body;
        size_t length;
        char text[100];

        do {
                int r = http1_parse_response(&arena, buffer_str(&p->input), &p->scanned,
                                             STR("CONNECT"), &head, &body, &connection, &length);
                if (r == HTTP1_MORE)
                        return;
                if (r < 0) {
                        refused(p, "the proxy's answer is not HTTP");
                        return;
                }
                buffer_consume(&p->input, length);
                p->scanned = 0;
        } while (head.status / 100 == 1 && head.status != 101);
        if (head.status / 100 != 2) {
                snprintf(text, sizeof(text), "the proxy answered %u %.*s", head.status,
                         STR_FORMAT(http_reason(head.status)));
                refused(p, text);
                return;
        }
        p->open = true;
        stream_write_str(p->lower, buffer_str(&p->output));
        buffer_deinit(&p->output);
        schedule(p);
}

/* ---- the stream below ---- */

static void on_lower_data(struct stream *lower _unused_, void *user, struct str data)
{
        struct proxy_stream *p = user;

        if (p->ended)
                return;
        if (p->open && p->input.length == 0 && p->told_open && stream_wants_data(&p->stream)) {
                p->stream.on->on_data(&p->stream, p->stream.user, data);
                return;
        }
        if (buffer_append_str(&p->input, data) < 0)
                end(p, -ENOMEM);
        else if (p->open)
                schedule(p);
        else
                read_head(p);
}

static void on_lower_drain(struct stream *lower _unused_, void *user)
{
        stream_note_drained(&((struct proxy_stream *)user)->stream);
}

static void on_lower_end(struct stream *lower _unused_, void *user)
{
        struct proxy_stream *p = user;

        if (!p->open) {
                refused(p, "the proxy closed the connection");
                return;
        }
        p->lower_ended = true;
        schedule(p);
}

static void on_lower_close(struct stream *lower _unused_, void *user, int error)
{
        struct proxy_stream *p = user;

        p->lower = NULL;
        if (!p->open && error == 0)
                refused(p, "the proxy closed the connection");
        else
                end(p, error);
}

static const struct stream_callbacks lower_callbacks = { .on_data = on_lower_data,
                                                         .on_drain = on_lower_drain,
                                                         .on_end = on_lower_end,
                                                         .on_close = on_lower_close };

/* ---- the stream ---- */

static void proxy_update(struct stream *stream)
{
        struct proxy_stream *p = from_stream(stream);

        schedule(p);
        update_lower(p);
}

static void proxy_write(struct stream *stream, const struct stream_piece *pieces, size_t count)
{
        struct proxy_stream *p = from_stream(stream);

        if (p->open && p->lower) {
                stream_write(p->lower, pieces, count);
                return;
        }
        for (size_t i = 0; i < count && !p->ended; i++)
                if (buffer_append_str(&p->output, pieces[i].data) < 0)
                        end(p, -ENOMEM);
        stream_release_pieces(pieces, count);
}

static size_t proxy_pending(const struct stream *stream)
{
        const struct proxy_stream *p = from_stream(stream);

        return p->output.length + (p->open && p->lower ? stream_pending(p->lower) : 0);
}

static void proxy_shutdown(struct stream *stream)
{
        struct proxy_stream *p = from_stream(stream);

        if (!p->open)
                end(p, -ECONNRESET);
        else if (p->lower)
                stream_shutdown(p->lower);
}

static void proxy_close(struct stream *stream)
{
        struct proxy_stream *p = from_stream(stream);

        stream_close(p->lower);
        p->lower = NULL;
        net_task_cancel(&p->task);
        p->task.run = run_free;
        net_loop_defer(stream->loop, &p->task);
}

static bool proxy_is_fresh(struct stream *stream)
{
        struct proxy_stream *p = from_stream(stream);

        return p->open && p->lower && !p->ended && !p->lower_ended && p->input.length == 0 &&
               stream_is_fresh(p->lower);
}

static const struct stream_peer *proxy_peer(struct stream *stream)
{
        static const struct stream_peer nobody;
        struct proxy_stream *p = from_stream(stream);

        return p->lower ? stream_peer(p->lower) : &nobody;
}

static void proxy_local_address(struct stream *stream, struct net_address *ret_address)
{
        struct proxy_stream *p = from_stream(stream);

        *ret_address = (struct net_address){};
        if (p->lower)
                stream_local_address(p->lower, ret_address);
}

static const struct stream_ops proxy_ops = {
        .update = proxy_update,
        .write = proxy_write,
        .pending = proxy_pending,
        .shutdown = proxy_shutdown,
        .close = proxy_close,
        .is_fresh = proxy_is_fresh,
        .peer = proxy_peer,
        .local_address = proxy_local_address,
};

/* ---- the filter ---- */

static int wrap(struct stream_filter *filter, struct stream *lower, struct str server_name,
                struct stream **ret_stream)
{
        struct http_proxy *proxy = container_of(filter, struct http_proxy, filter);
        struct proxy_stream *p = NULL;

        if (proxy->below) {
                int r = proxy->below->wrap(proxy->below, lower, buffer_str(&proxy->proxy_name),
                                           &lower);
                if (r < 0)
                        return r;
        }
        p = calloc(1, sizeof(*p));
        if (!p) {
                stream_close(lower);
                return -ENOMEM;
        }
        proxy->references++;
        proxy->last_error[0] = '\0';
        p->stream.ops = &proxy_ops;
        p->stream.loop = stream_loop(lower);
        p->proxy = proxy;
        p->lower = lower;
        p->task.run = run_task;
        stream_write_str(lower, buffer_str(&proxy->request));
        stream_start(lower, &lower_callbacks, p);
        *ret_stream = &p->stream;
        return proxy->above ? proxy->above->wrap(proxy->above, &p->stream, server_name, ret_stream)
                            : 0;
}

int http_proxy_new(const struct http_proxy_options *options, struct http_proxy **ret_proxy)
{
        struct http_proxy *proxy = calloc(1, sizeof(*proxy));

        if (!proxy)
                return -ENOMEM;
        proxy->filter.wrap = wrap;
        proxy->references = 1;
        proxy->below = options->below;
        proxy->above = options->above;
        struct buffer *out = &proxy->request;
        int r = http1_append_request_line(out, STR("CONNECT"), options->target);
        if (r == 0)
                r = http1_append_field(out, STR("Host"), options->target);
        if (r == 0 && options->authorization.length > 0)
                r = http1_append_field(out, STR("Proxy-Authorization"), options->authorization);
        if (r == 0)
                r = buffer_append_str(out, STR("\r\n"));
        if (r == 0)
                r = buffer_append_str(&proxy->proxy_name, options->proxy_name);
        if (r < 0) {
                unreference(proxy);
                return r;
        }
        *ret_proxy = proxy;
        return 0;
}

void http_proxy_free(struct http_proxy *proxy)
{
        if (proxy)
                unreference(proxy);
}

struct stream_filter *http_proxy_filter(struct http_proxy *proxy)
{
        return &proxy->filter;
}

struct str http_proxy_last_error(const struct http_proxy *proxy)
{
        return str_from(proxy->last_error);
}
