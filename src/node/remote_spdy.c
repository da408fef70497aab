// SPDX-License-Identifier: Apache-2.0
#include "node/remote.h"

#include <errno.h>
#include <stdlib.h>

#include "net/spdy.h"

enum { STREAMS_TIMEOUT_MS = 30 * 1000 };

static const char *const type_names[REMOTE_CHANNELS] = { "stdin", "stdout", "stderr", "error",
                                                         "resize" };

struct spdy_remote {
        struct remote remote;
        struct stream *stream; /* NULL: it has ended */
        struct spdy *spdy;
        struct buffer out;
        uint32_t ids[REMOTE_CHANNELS]; /* 0: not opened yet */
        bool is_ready, is_finished, stdin_ended;
        struct net_timer timer;
        struct net_task begin;
        struct buffer early; /* what came with the request */
};

static struct spdy_remote *of(struct remote *remote)
{
        return container_of(remote, struct spdy_remote, remote);
}

static void flush(struct spdy_remote *way)
{
        if (way->stream && way->out.length > 0)
                stream_write_str(way->stream, buffer_str(&way->out));
        buffer_clear(&way->out);
}

static void free_remote(struct remote *remote)
{
        struct spdy_remote *way = of(remote);

        net_timer_stop(&way->timer);
        net_task_cancel(&way->begin);
        if (way->stream)
                stream_close(way->stream);
        spdy_free(way->spdy);
        buffer_deinit(&way->out);
        buffer_deinit(&way->early);
        free(way);
}

static void send_data(struct remote *remote, enum remote_channel channel, struct str data)
{
        struct spdy_remote *way = of(remote);

        if (way->ids[channel] != 0)
                spdy_send(way->spdy, way->ids[channel], data, false);
        flush(way);
}

static bool is_congested(struct remote *remote)
{
        return of(remote)->stream && stream_is_congested(of(remote)->stream);
}

static void set_paused(struct remote *remote, bool paused)
{
        struct spdy_remote *way = of(remote);

        if (!way->stream)
                return;
        if (paused)
                stream_pause(way->stream);
        else
                stream_resume(way->stream);
}

static void finish(struct remote *remote, struct str status)
{
        struct spdy_remote *way = of(remote);

        way->is_finished = true;
        for (unsigned i = REMOTE_STDOUT; i <= REMOTE_STDERR; i++)
                if (way->ids[i] != 0)
                        spdy_send(way->spdy, way->ids[i], STR_EMPTY, true);
        if (way->ids[REMOTE_ERROR] != 0)
                spdy_send(way->spdy, way->ids[REMOTE_ERROR], status, true);
        flush(way);
        if (!way->stream)
                return;
        stream_shutdown(way->stream);
}

static const struct remote_ops ops = {
        .send = send_data,
        .is_congested = is_congested,
        .pause = set_paused,
        .finish = finish,
        .free = free_remote,
};

static void check_ready(struct spdy_remote *way)
{
        for (unsigned i = 0; i < REMOTE_CHANNELS; i++)
                if (way->remote.channels & 1U << i && way->ids[i] == 0)
                        return;
        if (way->is_ready)
                return;
        way->is_ready = true;
        net_timer_stop(&way->timer);
        way->remote.on->ready(&way->remote, way->remote.user);
}

static void on_open(void *user, uint32_t stream, const struct http_headers *headers, bool fin)
{
        struct spdy_remote *way = user;
        struct str type = http_headers_get(headers, STR("streamtype"));

        for (unsigned i = 0; i < REMOTE_CHANNELS; i++) {
                if (!str_equal(type, str_from(type_names[i])) || way->ids[i] != 0 ||
                    !(way->remote.channels & 1U << i))
                        continue;
                way->ids[i] = stream;
                spdy_reply(way->spdy, stream, NULL, 0);
                if (i == REMOTE_STDIN && fin)
                        way->stdin_ended = true;
                check_ready(way);
                return;
        }
        spdy_reset(way->spdy, stream, SPDY_REFUSED_STREAM);
}

static void on_spdy_data(void *user, uint32_t stream, struct str data, bool fin)
{
        struct spdy_remote *way = user;
        struct remote *remote = &way->remote;
        enum remote_channel channel = stream == way->ids[REMOTE_STDIN]    ? REMOTE_STDIN
                                      : stream == way->ids[REMOTE_RESIZE] ? REMOTE_RESIZE
                                                                          : REMOTE_CHANNELS;

        if (channel == REMOTE_CHANNELS || way->is_finished)
                return;
        if (data.length > 0)
                remote->on->data(remote, remote->user, channel, data);
        if (fin && channel == REMOTE_STDIN)
                remote->on->end(remote, remote->user, REMOTE_STDIN);
}

/* The connection's end follows, and says the same. */
static void on_reset(void *user, uint32_t stream, uint32_t status)
{
        (void)user, (void)stream, (void)status;
}

static void on_go_away(void *user)
{
        (void)user;
}

static const struct spdy_events spdy_events = {
        .open = on_open,
        .data = on_spdy_data,
        .reset = on_reset,
        .go_away = on_go_away,
};

static void end(struct spdy_remote *way)
{
        way->stream = NULL;
        net_timer_stop(&way->timer);
        net_task_cancel(&way->begin);
        way->remote.on->closed(&way->remote, way->remote.user);
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        struct spdy_remote *way = user;

        int r = spdy_feed(way->spdy, data);
        if (way->stream != stream)
                return;
        flush(way);
        if (r >= 0)
                return;
        stream_close(stream);
        end(way);
}

static void on_drain(struct stream *stream, void *user)
{
        struct spdy_remote *way = user;

        (void)stream;
        if (!way->is_finished)
                way->remote.on->drain(&way->remote, way->remote.user);
}

static void on_close(struct stream *stream, void *user, int error)
{
        (void)stream, (void)error;
        end(user);
}

static const struct stream_callbacks callbacks = { .on_data = on_data,
                                                   .on_drain = on_drain,
                                                   .on_close = on_close };

static void too_late(struct net_timer *timer)
{
        struct spdy_remote *way = container_of(timer, struct spdy_remote, timer);

        stream_close(way->stream);
        end(way);
}

static void take_early(struct net_task *task)
{
        struct spdy_remote *way = container_of(task, struct spdy_remote, begin);
        struct stream *stream = way->stream;

        stream_start(stream, &callbacks, way);
        if (way->early.length > 0)
                on_data(stream, way, buffer_str(&way->early));
}

int remote_accept_spdy(struct http_exchange *exchange, unsigned channels,
                       const struct remote_events *events, void *user, struct remote **ret_remote)
{
        static const char *const versions[] = { "v5.channel.k8s.io", "v4.channel.k8s.io" };
        const struct http_headers *headers = &exchange->request.headers;
        struct net_loop *loop = stream_loop(exchange->connection);
        const char *version = NULL;
        struct str leftover;

        for (size_t i = 0; i < ARRAY_SIZE(versions) && !version; i++)
                if (http_headers_has_token(headers, STR("X-Stream-Protocol-Version"),
                                           str_from(versions[i])))
                        version = versions[i];
        if (!version)
                return -EBADMSG;
        struct spdy_remote *way = calloc(1, sizeof(*way));
        if (!way)
                return -ENOMEM;
        way->remote =
                (struct remote){ .ops = &ops, .on = events, .user = user, .channels = channels };
        int r = spdy_new(&spdy_events, way, &way->out, &way->spdy);
        const struct http_header answer[] = { { STR("Upgrade"), STR("SPDY/3.1") },
                                              { STR("X-Stream-Protocol-Version"),
                                                str_from(version) } };
        if (r >= 0)
                r = http_exchange_upgrade(exchange, answer, ARRAY_SIZE(answer), &way->stream,
                                          &leftover);
        if (r < 0) {
                spdy_free(way->spdy);
                free(way);
                return r;
        }
        if (buffer_append_str(&way->early, leftover) < 0)
                buffer_clear(&way->early);
        net_timer_start(loop, &way->timer, STREAMS_TIMEOUT_MS, too_late);
        way->begin.run = take_early;
        net_loop_defer(loop, &way->begin);
        *ret_remote = &way->remote;
        return 0;
}
