// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/http_server.h"

/*
 * A remote command's channels over one connection, in either of Kubernetes' ways: WebSocket
 * ("v5.channel.k8s.io" and v4: the first byte of a message is the channel) or SPDY/3.1 (a stream a
 * channel, named by its "streamtype" header; X-Stream-Protocol-Version v5 and v4).
 */
struct remote;

enum remote_channel {
        REMOTE_STDIN,
        REMOTE_STDOUT,
        REMOTE_STDERR,
        REMOTE_ERROR, /* a Status, when all is over */
        REMOTE_RESIZE,
        REMOTE_CHANNELS
};

struct remote_events {
        /* All channels are there. */
        void (*ready)(struct remote *remote, void *user);
        /* Bytes on STDIN or RESIZE. */
        void (*data)(struct remote *remote, void *user, enum remote_channel channel,
                     struct str data);
        /* STDIN ended. */
        void (*end)(struct remote *remote, void *user, enum remote_channel channel);
        /* After remote_is_congested(): there is room again. */
        void (*drain)(struct remote *remote, void *user);
        /* The client has gone, or remote_finish() is done: the last event. */
        void (*closed)(struct remote *remote, void *user);
};

/*
 * Takes the exchange over. `channels` has a bit for each that the command uses, ERROR always.
 * Events come from the loop only. Returns 0; or -EBADMSG, -EOPNOTSUPP (neither of the two ways),
 * -ENOMEM: then the exchange is still the caller's.
 */
int remote_accept(struct http_exchange *exchange, unsigned channels,
                  const struct remote_events *events, void *user, struct remote **ret_remote);

void remote_send(struct remote *remote, enum remote_channel channel, struct str data);
bool remote_is_congested(struct remote *remote);

/* Holds STDIN back, and lets it come again. */
void remote_pause(struct remote *remote);
void remote_resume(struct remote *remote);

/* Sends the Status (JSON) and ends it in order; `closed` follows. */
void remote_finish(struct remote *remote, struct str status);

/* Gives it up at once; no events. Not from within an event but `closed`. */
void remote_free(struct remote *remote);

/* ---- for the two ways ---- */

struct remote_ops {
        void (*send)(struct remote *remote, enum remote_channel channel, struct str data);
        bool (*is_congested)(struct remote *remote);
        void (*pause)(struct remote *remote, bool paused);
        void (*finish)(struct remote *remote, struct str status);
        void (*free)(struct remote *remote);
};

struct remote {
        const struct remote_ops *ops;
        const struct remote_events *on;
        void *user;
        unsigned channels;
};

int remote_accept_websocket(struct http_exchange *exchange, unsigned channels,
                            const struct remote_events *events, void *user,
                            struct remote **ret_remote);
int remote_accept_spdy(struct http_exchange *exchange, unsigned channels,
                       const struct remote_events *events, void *user, struct remote **ret_remote);
