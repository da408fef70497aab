// SPDX-License-Identifier: Apache-2.0
#include "node/remote.h"

#include <errno.h>
#include <stdlib.h>

#include "net/websocket.h"

enum { CLOSE_CHANNEL = 255, MESSAGE_MAX = 1024 * 1024 };

struct websocket_remote {
        struct remote remote;
        struct websocket *socket;
        struct net_task begin; /* tells `ready` from the loop */
        bool is_v5;
};

static struct websocket_remote *of(struct remote *remote)
{
        return container_of(remote, struct websocket_remote, remote);
}

static void free_remote(struct remote *remote)
{
        struct websocket_remote *way = of(remote);

        net_task_cancel(&way->begin);
        if (way->socket)
                websocket_free(way->socket);
        free(way);
}

static void send_data(struct remote *remote, enum remote_channel channel, struct str data)
{
        const char number = (char)channel;
        const struct stream_piece pieces[] = { { .data = { &number, 1 } }, { .data = data } };

        websocket_send(of(remote)->socket, WEBSOCKET_BINARY, pieces, ARRAY_SIZE(pieces));
}

static bool is_congested(struct remote *remote)
{
        return websocket_is_congested(of(remote)->socket);
}

static void set_paused(struct remote *remote, bool paused)
{
        if (paused)
                websocket_pause(of(remote)->socket);
        else
                websocket_resume(of(remote)->socket);
}

static void finish(struct remote *remote, struct str status)
{
        send_data(remote, REMOTE_ERROR, status);
        websocket_close(of(remote)->socket, WEBSOCKET_NORMAL, STR_EMPTY);
}

static const struct remote_ops ops = {
        .send = send_data,
        .is_congested = is_congested,
        .pause = set_paused,
        .finish = finish,
        .free = free_remote,
};

static void on_message(struct websocket *socket, void *user, enum websocket_opcode opcode,
                       struct str data)
{
        struct websocket_remote *way = user;
        struct remote *remote = &way->remote;

        (void)socket, (void)opcode;
        if (data.length == 0)
                return;
        unsigned channel = (unsigned char)data.data[0];
        struct str rest = str_slice(data, 1, data.length);
        if (channel == CLOSE_CHANNEL && way->is_v5) {
                if (rest.length == 1 && rest.data[0] == REMOTE_STDIN)
                        remote->on->end(remote, remote->user, REMOTE_STDIN);
                return;
        }
        /* Clients open a channel with an empty message: that is no end. */
        if ((channel == REMOTE_STDIN || channel == REMOTE_RESIZE) && rest.length > 0 &&
            remote->channels & 1U << channel)
                remote->on->data(remote, remote->user, (enum remote_channel)channel, rest);
}

static void on_drain(struct websocket *socket, void *user)
{
        struct websocket_remote *way = user;

        (void)socket;
        way->remote.on->drain(&way->remote, way->remote.user);
}

static void on_close(struct websocket *socket, void *user, unsigned status, struct str reason)
{
        struct websocket_remote *way = user;

        (void)socket, (void)status, (void)reason;
        way->socket = NULL;
        net_task_cancel(&way->begin);
        way->remote.on->closed(&way->remote, way->remote.user);
}

static const struct websocket_callbacks callbacks = {
        .on_message = on_message,
        .on_drain = on_drain,
        .on_close = on_close,
};

static void begin(struct net_task *task)
{
        struct websocket_remote *way = container_of(task, struct websocket_remote, begin);

        way->remote.on->ready(&way->remote, way->remote.user);
}

int remote_accept_websocket(struct http_exchange *exchange, unsigned channels,
                            const struct remote_events *events, void *user,
                            struct remote **ret_remote)
{
        static const struct str offered[] = { { "v5.channel.k8s.io", 17 },
                                              { "v4.channel.k8s.io", 17 } };
        struct net_loop *loop = stream_loop(exchange->connection);

        int version = websocket_choose_protocol(&exchange->request, offered, ARRAY_SIZE(offered));
        if (version < 0)
                return -EBADMSG;
        struct websocket_remote *way = calloc(1, sizeof(*way));
        if (!way)
                return -ENOMEM;
        way->remote =
                (struct remote){ .ops = &ops, .on = events, .user = user, .channels = channels };
        way->is_v5 = version == 0;
        int r = websocket_accept(exchange, offered[version], MESSAGE_MAX, &callbacks, way,
                                 &way->socket);
        if (r < 0) {
                free(way);
                return r;
        }
        way->begin.run = begin;
        net_loop_defer(loop, &way->begin);
        *ret_remote = &way->remote;
        return 0;
}
