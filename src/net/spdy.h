// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/str.h"
#include "net/http.h"

/*
 * SPDY/3.1 framing, the server's end, as bytes in and events and bytes out. kubectl and client-go
 * still speak it for exec, attach and port-forward: straight after an Upgrade, or inside of a
 * WebSocket ("SPDY/3.1+portforward.k8s.io"). Their library has no flow control, so window frames
 * are read and passed over (SPDY Protocol, draft 3.1).
 */
struct spdy;

enum {
        SPDY_HEADER_BLOCK_LIMIT = 64 * 1024, /* inflated */
        SPDY_CONTROL_FRAME_LIMIT = 64 * 1024,
        SPDY_DATA_PIECE_MAX = 32 * 1024, /* of what we send in one frame */
        SPDY_STREAM_ID_MAX = INT32_MAX,
};

enum spdy_reset {
        SPDY_PROTOCOL_ERROR = 1,
        SPDY_REFUSED_STREAM = 3,
        SPDY_CANCEL = 5,
        SPDY_INTERNAL_ERROR = 6,
};

/* Called from spdy_feed(); everything is borrowed for the call. */
struct spdy_events {
        /* The client opens a stream; names are in lower case. `fin`: it will send nothing on it. */
        void (*open)(void *user, uint32_t stream, const struct http_headers *headers, bool fin);
        /* A piece of a frame's data; `fin` with the last piece the client sends, perhaps empty. */
        void (*data)(void *user, uint32_t stream, struct str data, bool fin);
        void (*reset)(void *user, uint32_t stream, uint32_t status);
        void (*go_away)(void *user);
};

/* What is to be sent is appended to `out` (borrowed), answers to pings too. 0 or -ENOMEM. */
int spdy_new(const struct spdy_events *events, void *user, struct buffer *out,
             struct spdy **ret_spdy);
void spdy_free(struct spdy *spdy);
DEFINE_POINTER_CLEANUP(spdy_freep, struct spdy, spdy_free)

/*
 * Takes bytes as they come. Returns 0, -EBADMSG (not SPDY/3.1, or against its rules: end the
 * connection), -E2BIG (a limit above) or -ENOMEM; after a failure it takes no more.
 */
int spdy_feed(struct spdy *spdy, struct str bytes);

/* Accepts a stream that was opened. Returns 0 or -ENOMEM, as all below. */
int spdy_reply(struct spdy *spdy, uint32_t stream, const struct http_header *headers, size_t count);

/* Sends data, cut into frames; `fin` says that nothing follows. */
int spdy_send(struct spdy *spdy, uint32_t stream, struct str data, bool fin);
int spdy_reset(struct spdy *spdy, uint32_t stream, enum spdy_reset status);
int spdy_go_away(struct spdy *spdy);
