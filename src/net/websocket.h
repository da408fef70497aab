// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/stream.h"

/*
 * WebSocket (RFC 6455), version 13, no extensions: both ends, over a stream taken over from HTTP.
 * Pings are answered, fragments delivered as they come, the closing handshake done here. In a
 * library of its own (dep_net_websocket), for the handshake's digest comes from crypto.
 */
struct websocket;

enum websocket_opcode {
        WEBSOCKET_CONTINUATION = 0,
        WEBSOCKET_TEXT = 1,
        WEBSOCKET_BINARY = 2,
        WEBSOCKET_CLOSE = 8,
        WEBSOCKET_PING = 9,
        WEBSOCKET_PONG = 10,
};

enum {
        WEBSOCKET_NORMAL = 1000,
        WEBSOCKET_GOING_AWAY = 1001,
        WEBSOCKET_PROTOCOL_ERROR = 1002,
        WEBSOCKET_NO_STATUS = 1005, /* never sent: the peer's close frame had no status */
        WEBSOCKET_ABNORMAL = 1006,  /* never sent: the connection ended without a close frame */
        WEBSOCKET_BAD_DATA = 1007,
        WEBSOCKET_TOO_BIG = 1009,
        WEBSOCKET_INTERNAL_ERROR = 1011,
};

/* Closing: how long the peer has to answer a close frame. */
enum { WEBSOCKET_CLOSE_TIMEOUT_MS = 5000, WEBSOCKET_DEFAULT_MESSAGE_LIMIT = 1024 * 1024 };

struct websocket_callbacks {
        /*
         * A whole message, there until this returns. Without it, on_piece is called.
         */
        void (*on_message)(struct websocket *socket, void *user, enum websocket_opcode opcode,
                           struct str data);

        /*
         * Pieces of a message as they come, however it was framed; `opcode` is the message's,
         * `final` with its last piece, which may be empty. There is no limit on its size then.
         */
        void (*on_piece)(struct websocket *socket, void *user, enum websocket_opcode opcode,
                         struct str data, bool final);

        void (*on_drain)(struct websocket *socket, void *user);

        /*
         * Closed, by either side: the peer's status and reason, or the two codes that are never
         * sent, or our own if we refused what came. The last callback.
         */
        void (*on_close)(struct websocket *socket, void *user, unsigned status, struct str reason);
};

/*
 * Chooses the first of `offered` (ours, in order of preference) that the request's
 * Sec-WebSocket-Protocol has. Returns its index, or -1 if there is none.
 */
int websocket_choose_protocol(const struct http_request_head *request, const struct str *offered,
                              size_t count);

/*
 * Server: answers the exchange with 101 and takes its stream. `protocol` may be empty. Returns 0;
 * -EBADMSG if the request is no proper WebSocket handshake (the caller answers 400), -EOPNOTSUPP
 * (no upgrade at all), -ENOMEM: the exchange stays the caller's in each. Frames that came already
 * are delivered from the loop.
 */
int websocket_accept(struct http_exchange *exchange, struct str protocol, size_t message_limit,
                     const struct websocket_callbacks *callbacks, void *user,
                     struct websocket **ret_socket);

/* Whether the request asks for a WebSocket. */
bool websocket_is_requested(const struct http_request_head *request);

enum { WEBSOCKET_KEY_SIZE = 25, WEBSOCKET_ACCEPT_SIZE = 29 };

/* Client: a random Sec-WebSocket-Key, and what the server must answer to it. */
void websocket_make_key(char key[static WEBSOCKET_KEY_SIZE]);
void websocket_accept_value(struct str key, char accept[static WEBSOCKET_ACCEPT_SIZE]);

/*
 * Client: after a 101 that answers `key`, takes the call's connection. -EBADMSG if the answer does
 * not fit the key.
 */
int websocket_from_call(struct http_call *call, const struct http_response_head *head,
                        struct str key, size_t message_limit,
                        const struct websocket_callbacks *callbacks, void *user,
                        struct websocket **ret_socket);

/* Either side over any stream; `leftover` is what came already. */
int websocket_new(struct stream *stream, bool is_client, struct str leftover, size_t message_limit,
                  const struct websocket_callbacks *callbacks, void *user,
                  struct websocket **ret_socket);

/* Pieces in one websocket_send(). */
enum { WEBSOCKET_PIECES_MAX = STREAM_PIECES_MAX - 1 };

/* Sends one whole message, its head and the pieces in one write (a client masks, and so copies). */
void websocket_send(struct websocket *socket, enum websocket_opcode opcode,
                    const struct stream_piece *pieces, size_t count);

void websocket_ping(struct websocket *socket);

bool websocket_is_congested(struct websocket *socket);
size_t websocket_pending(const struct websocket *socket);

/* What was read from the network already may still be told after pausing: NET_READ_SIZE at most. */
void websocket_pause(struct websocket *socket);
void websocket_resume(struct websocket *socket);

/* Sends a close frame after what was sent, and waits for the peer's; on_close will come. */
void websocket_close(struct websocket *socket, unsigned status, struct str reason);

/* Gives it up at once: no more callbacks. */
void websocket_free(struct websocket *socket);

struct stream *websocket_stream(struct websocket *socket);

/* ---- frames, as pure functions ---- */

struct websocket_frame {
        bool final;
        enum websocket_opcode opcode;
        bool masked;
        uint8_t mask[4];
        uint64_t length;
};

enum { WEBSOCKET_HEAD_SIZE = 14 };

/*
 * Reads a frame's head. Returns its length (2 … 14), 0 (more bytes are needed) or -EBADMSG
 * (reserved bits or opcodes, a length that is not minimal, a control frame that is long or in
 * fragments).
 */
int websocket_parse_head(struct str input, struct websocket_frame *ret_frame);

/* Writes a frame's head; returns its length. */
size_t websocket_write_head(char out[static WEBSOCKET_HEAD_SIZE],
                            const struct websocket_frame *frame);

/* XORs `length` bytes that begin `offset` bytes into the frame; `out` may be `in`. */
void websocket_mask(char *out, const char *in, size_t length, const uint8_t mask[static 4],
                    uint64_t offset);
