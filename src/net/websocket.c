// SPDX-License-Identifier: Apache-2.0
#include "net/websocket.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/random.h"
#include "crypto/digest.h"
#include "crypto/encode.h"

enum {
        CONTROL_MAX = 125,
        SCRATCH_SIZE = 16 * 1024,
};

struct websocket {
        struct stream *stream; /* NULL once it is gone */
        struct net_loop *loop;
        const struct websocket_callbacks *on;
        void *user;
        bool is_client;
        size_t message_limit;
        struct net_task task; /* takes what came with the handshake, or frees */
        struct net_timer timer;
        struct buffer leftover;

        char head[WEBSOCKET_HEAD_SIZE];
        size_t head_length;
        bool in_frame; /* `frame` is known, `offset` bytes of it are read */
        struct websocket_frame frame;
        uint64_t offset;
        char control[CONTROL_MAX];

        bool in_message;
        enum websocket_opcode opcode; /* of the message */
        struct buffer message;
        unsigned utf8_left; /* continuation bytes that a text still owes */
        uint8_t utf8_low, utf8_high;

        bool close_sent;
        bool over; /* on_close was told, or nobody wants to know */
        bool freed;
};

/* ---- UTF-8 in pieces (RFC 3629): text that is none ends the connection ---- */

static bool check_utf8(struct websocket *socket, const char *data, size_t length)
{
        for (size_t i = 0; i < length; i++) {
                uint8_t c = (uint8_t)data[i];
                if (socket->utf8_left > 0) {
                        if (c < socket->utf8_low || c > socket->utf8_high)
                                return false;
                        socket->utf8_left--;
                        socket->utf8_low = 0x80;
                        socket->utf8_high = 0xbf;
                        continue;
                }
                if (c < 0x80)
                        continue;
                if (c < 0xc2 || c > 0xf4)
                        return false;
                socket->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
                socket->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
                socket->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        }
        return true;
}

/* ---- the end ---- */

static void run_free(struct net_task *task)
{
        struct websocket *socket = container_of(task, struct websocket, task);

        buffer_deinit(&socket->leftover);
        buffer_deinit(&socket->message);
        free(socket);
}

void websocket_free(struct websocket *socket)
{
        if (!socket || socket->freed)
                return;
        socket->freed = socket->over = true;
        stream_close(socket->stream);
        socket->stream = NULL;
        net_timer_stop(&socket->timer);
        net_task_cancel(&socket->task);
        socket->task.run = run_free;
        net_loop_defer(socket->loop, &socket->task);
}

static void close_timed_out(struct net_timer *timer);

/* Tells the user, once. What is queued still goes out; then the peer closes, or time does. */
static void tell_closed(struct websocket *socket, unsigned status, struct str reason)
{
        if (socket->over)
                return;
        socket->over = true;
        if (socket->stream) {
                stream_shutdown(socket->stream);
                stream_resume(socket->stream);
                net_timer_start(socket->loop, &socket->timer, WEBSOCKET_CLOSE_TIMEOUT_MS,
                                close_timed_out);
        }
        if (socket->on->on_close)
                socket->on->on_close(socket, socket->user, status, reason);
}

static void close_timed_out(struct net_timer *timer)
{
        struct websocket *socket = container_of(timer, struct websocket, timer);

        tell_closed(socket, WEBSOCKET_ABNORMAL, STR_EMPTY);
        websocket_free(socket);
}

/* ---- sending ---- */

static void send_masked(struct websocket *socket, struct websocket_frame *frame,
                        const struct stream_piece *pieces, size_t count)
{
        char head[WEBSOCKET_HEAD_SIZE];
        size_t at = 0;
        char *data = malloc((size_t)frame->length + 1);

        frame->masked = true;
        random_bytes(frame->mask, sizeof(frame->mask));
        size_t head_length = websocket_write_head(head, frame);
        for (size_t i = 0; data && i < count; i++) {
                websocket_mask(data + at, pieces[i].data.data, pieces[i].data.length, frame->mask,
                               at);
                at += pieces[i].data.length;
        }
        stream_release_pieces(pieces, count);
        if (!data) {
                tell_closed(socket, WEBSOCKET_ABNORMAL, STR("out of memory"));
                return;
        }
        const struct stream_piece masked[] = { { { head, head_length } },
                                               { { data, at }, free, data } };
        stream_write(socket->stream, masked, 2);
}

static void send_frame(struct websocket *socket, enum websocket_opcode opcode,
                       const struct stream_piece *pieces, size_t count)
{
        struct websocket_frame frame = { .final = true, .opcode = opcode };
        struct stream_piece all[STREAM_PIECES_MAX];
        char head[WEBSOCKET_HEAD_SIZE];

        if (!socket->stream || socket->close_sent) {
                stream_release_pieces(pieces, count);
                return;
        }
        for (size_t i = 0; i < count; i++)
                frame.length += pieces[i].data.length;
        if (socket->is_client) {
                send_masked(socket, &frame, pieces, count);
                return;
        }
        all[0] = (struct stream_piece){ { head, websocket_write_head(head, &frame) } };
        if (count > 0)
                memcpy(all + 1, pieces, count * sizeof(*pieces));
        stream_write(socket->stream, all, count + 1);
}

void websocket_send(struct websocket *socket, enum websocket_opcode opcode,
                    const struct stream_piece *pieces, size_t count)
{
        assert(count <= WEBSOCKET_PIECES_MAX);
        send_frame(socket, opcode, pieces, count);
}

void websocket_ping(struct websocket *socket)
{
        send_frame(socket, WEBSOCKET_PING, NULL, 0);
}

static void send_close(struct websocket *socket, unsigned status, struct str reason)
{
        char code[2] = { (char)(status >> 8), (char)status };
        struct str cut = str_slice(reason, 0, MIN(reason.length, (size_t)CONTROL_MAX - 2));
        const struct stream_piece pieces[] = { { { code, 2 } }, { cut } };

        if (status == WEBSOCKET_NO_STATUS)
                send_frame(socket, WEBSOCKET_CLOSE, NULL, 0);
        else
                send_frame(socket, WEBSOCKET_CLOSE, pieces, 2);
        socket->close_sent = true;
}

void websocket_close(struct websocket *socket, unsigned status, struct str reason)
{
        if (socket->over || socket->close_sent)
                return;
        send_close(socket, status, reason);
        stream_resume(socket->stream);
        net_timer_start(socket->loop, &socket->timer, WEBSOCKET_CLOSE_TIMEOUT_MS, close_timed_out);
}

/* ---- receiving ---- */

static void refuse(struct websocket *socket, unsigned status, struct str reason)
{
        send_close(socket, status, reason);
        tell_closed(socket, status, reason);
}

static bool is_close_status(unsigned status)
{
        return (status >= 1000 && status <= 1003) || (status >= 1007 && status <= 1014) ||
               (status >= 3000 && status <= 4999);
}

static void take_close(struct websocket *socket, struct str data)
{
        unsigned status = WEBSOCKET_NO_STATUS;
        struct str reason = STR_EMPTY;

        if (data.length == 1) {
                refuse(socket, WEBSOCKET_PROTOCOL_ERROR, STR("half a status"));
                return;
        }
        if (data.length >= 2) {
                status = (unsigned)(uint8_t)data.data[0] << 8 | (uint8_t)data.data[1];
                reason = str_slice(data, 2, data.length);
                socket->utf8_left = 0;
                if (!is_close_status(status) || !check_utf8(socket, reason.data, reason.length) ||
                    socket->utf8_left > 0) {
                        refuse(socket, WEBSOCKET_PROTOCOL_ERROR, STR("not a close frame"));
                        return;
                }
        }
        send_close(socket, status, STR_EMPTY);
        tell_closed(socket, status, reason);
}

static void take_control(struct websocket *socket)
{
        struct str data = { socket->control, (size_t)socket->frame.length };

        switch (socket->frame.opcode) {
        case WEBSOCKET_CLOSE:
                take_close(socket, data);
                return;
        case WEBSOCKET_PING:
                /* Who does not read its answers needs no more of them. */
                if (!stream_is_congested(socket->stream))
                        send_frame(socket, WEBSOCKET_PONG, &(struct stream_piece){ data }, 1);
                return;
        default:
                return;
        }
}

/* Checks how the frame fits in here. */
static bool begin_frame(struct websocket *socket)
{
        const struct websocket_frame *frame = &socket->frame;

        socket->offset = 0;
        socket->in_frame = true;
        if (frame->masked == socket->is_client) {
                refuse(socket, WEBSOCKET_PROTOCOL_ERROR, STR("wrong masking"));
                return false;
        }
        if (frame->opcode >= WEBSOCKET_CLOSE)
                return true;
        if ((frame->opcode == WEBSOCKET_CONTINUATION) != socket->in_message) {
                refuse(socket, WEBSOCKET_PROTOCOL_ERROR, STR("fragments out of order"));
                return false;
        }
        if (!socket->in_message) {
                socket->in_message = true;
                socket->opcode = frame->opcode;
                socket->utf8_left = 0;
        }
        if (socket->on->on_message &&
            frame->length > socket->message_limit - socket->message.length) {
                refuse(socket, WEBSOCKET_TOO_BIG, STR("the message is too long"));
                return false;
        }
        return true;
}

static void end_frame(struct websocket *socket)
{
        socket->in_frame = false;
        socket->head_length = 0;
        if (socket->frame.opcode >= WEBSOCKET_CLOSE) {
                take_control(socket);
                return;
        }
        if (!socket->frame.final)
                return;
        socket->in_message = false;
        if (socket->opcode == WEBSOCKET_TEXT && socket->utf8_left > 0) {
                refuse(socket, WEBSOCKET_BAD_DATA, STR("not UTF-8"));
                return;
        }
        if (socket->on->on_message) {
                struct buffer message = socket->message;
                socket->message = (struct buffer){};
                socket->on->on_message(socket, socket->user, socket->opcode, buffer_str(&message));
                buffer_deinit(&message);
        } else if (socket->on->on_piece && socket->frame.length == 0) {
                socket->on->on_piece(socket, socket->user, socket->opcode, STR_EMPTY, true);
        }
}

/* Takes some of the frame's payload off *data. */
static void take_payload(struct websocket *socket, struct str *data)
{
        const struct websocket_frame *frame = &socket->frame;
        char scratch[SCRATCH_SIZE];
        size_t length = (size_t)MIN((uint64_t)MIN(data->length, sizeof(scratch)),
                                    frame->length - socket->offset);
        struct str piece = str_slice(*data, 0, length);

        *data = str_slice(*data, length, data->length);
        if (frame->masked) {
                websocket_mask(scratch, piece.data, length, frame->mask, socket->offset);
                piece.data = scratch;
        }
        if (frame->opcode >= WEBSOCKET_CLOSE) {
                memcpy(socket->control + socket->offset, piece.data, length);
                socket->offset += length;
                return;
        }
        socket->offset += length;
        if (socket->opcode == WEBSOCKET_TEXT && !check_utf8(socket, piece.data, length)) {
                refuse(socket, WEBSOCKET_BAD_DATA, STR("not UTF-8"));
                return;
        }
        if (socket->on->on_message) {
                if (buffer_append_str(&socket->message, piece) < 0)
                        refuse(socket, WEBSOCKET_INTERNAL_ERROR, STR("out of memory"));
        } else if (socket->on->on_piece) {
                bool last = frame->final && socket->offset == frame->length;
                /* Half a character at the end is known only when no more can come. */
                if (last && socket->opcode == WEBSOCKET_TEXT && socket->utf8_left > 0)
                        return;
                socket->on->on_piece(socket, socket->user, socket->opcode, piece, last);
        }
}

static void read_frames(struct websocket *socket, struct str data)
{
        while (!socket->over) {
                if (!socket->in_frame) {
                        if (data.length == 0)
                                return;
                        socket->head[socket->head_length++] = data.data[0];
                        data = str_slice(data, 1, data.length);
                        int r = websocket_parse_head(
                                (struct str){ socket->head, socket->head_length }, &socket->frame);
                        if (r < 0)
                                refuse(socket, WEBSOCKET_PROTOCOL_ERROR, STR("malformed frame"));
                        if (r <= 0 || !begin_frame(socket))
                                continue;
                } else if (socket->offset < socket->frame.length) {
                        if (data.length == 0)
                                return;
                        take_payload(socket, &data);
                }
                if (!socket->over && socket->offset == socket->frame.length)
                        end_frame(socket);
        }
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        (void)stream;
        read_frames(user, data);
}

static void on_drain(struct stream *stream, void *user)
{
        struct websocket *socket = user;

        (void)stream;
        if (!socket->over && socket->on->on_drain)
                socket->on->on_drain(socket, socket->user);
}

static void on_end(struct stream *stream, void *user)
{
        (void)stream;
        tell_closed(user, WEBSOCKET_ABNORMAL, STR_EMPTY);
        websocket_free(user);
}

static void on_close(struct stream *stream, void *user, int error)
{
        struct websocket *socket = user;

        (void)stream;
        (void)error;
        socket->stream = NULL;
        tell_closed(socket, WEBSOCKET_ABNORMAL, STR_EMPTY);
        websocket_free(socket);
}

static const struct stream_callbacks callbacks = {
        .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close
};

/* ---- beginning ---- */

static void run_leftover(struct net_task *task)
{
        struct websocket *socket = container_of(task, struct websocket, task);
        struct buffer leftover = socket->leftover;

        socket->leftover = (struct buffer){};
        read_frames(socket, buffer_str(&leftover));
        buffer_deinit(&leftover);
        if (!socket->freed && socket->stream)
                stream_start(socket->stream, &callbacks, socket);
}

static struct websocket *allocate(bool is_client, size_t message_limit,
                                  const struct websocket_callbacks *on, void *user)
{
        struct websocket *socket = calloc(1, sizeof(*socket));

        if (!socket)
                return NULL;
        socket->is_client = is_client;
        socket->message_limit = message_limit ? message_limit : WEBSOCKET_DEFAULT_MESSAGE_LIMIT;
        socket->on = on;
        socket->user = user;
        socket->task.run = run_leftover;
        return socket;
}

static int attach(struct websocket *socket, struct stream *stream, struct str leftover)
{
        if (buffer_append_str(&socket->leftover, leftover) < 0)
                return -ENOMEM;
        socket->stream = stream;
        socket->loop = stream_loop(stream);
        /* Not before the caller has its pointer. */
        net_loop_defer(socket->loop, &socket->task);
        return 0;
}

int websocket_new(struct stream *stream, bool is_client, struct str leftover, size_t message_limit,
                  const struct websocket_callbacks *on, void *user, struct websocket **ret_socket)
{
        struct websocket *socket = allocate(is_client, message_limit, on, user);

        if (!socket)
                return -ENOMEM;
        int r = attach(socket, stream, leftover);
        if (r < 0) {
                free(socket);
                return r;
        }
        *ret_socket = socket;
        return 0;
}

bool websocket_is_requested(const struct http_request_head *request)
{
        return request->is_upgrade &&
               http_headers_has_token(&request->headers, STR("upgrade"), STR("websocket"));
}

int websocket_choose_protocol(const struct http_request_head *request, const struct str *offered,
                              size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (http_headers_has_token(&request->headers, STR("sec-websocket-protocol"),
                                           offered[i]))
                        return (int)i;
        return -1;
}

/* 16 bytes in base64. */
static bool is_key(struct str key)
{
        _cleanup_buffer_ struct buffer decoded = {};

        return key.length == WEBSOCKET_KEY_SIZE - 1 &&
               base64_decode(&decoded, BASE64_STANDARD, key) == 0 && decoded.length == 16;
}

static int check_request(const struct http_request_head *request)
{
        if (!request->is_upgrade)
                return -EOPNOTSUPP;
        if (!websocket_is_requested(request) || !str_equal(request->method, STR("GET")) ||
            http_headers_count(&request->headers, STR("sec-websocket-key")) != 1 ||
            !is_key(http_headers_get(&request->headers, STR("sec-websocket-key"))) ||
            !str_equal(http_headers_get(&request->headers, STR("sec-websocket-version")),
                       STR("13")))
                return -EBADMSG;
        return 0;
}

int websocket_accept(struct http_exchange *exchange, struct str protocol, size_t message_limit,
                     const struct websocket_callbacks *on, void *user,
                     struct websocket **ret_socket)
{
        char accept[WEBSOCKET_ACCEPT_SIZE];
        struct stream *stream;
        struct str leftover;

        int r = check_request(&exchange->request);
        if (r < 0)
                return r;
        websocket_accept_value(
                http_headers_get(&exchange->request.headers, STR("sec-websocket-key")), accept);
        const struct http_header headers[] = {
                { STR("Upgrade"), STR("websocket") },
                { STR("Sec-WebSocket-Accept"), str_from(accept) },
                { STR("Sec-WebSocket-Protocol"), protocol },
        };
        struct websocket *socket = allocate(false, message_limit, on, user);
        if (!socket)
                return -ENOMEM;
        r = http_exchange_upgrade(exchange, headers, protocol.length > 0 ? 3 : 2, &stream,
                                  &leftover);
        if (r < 0) {
                free(socket);
                return r;
        }
        r = attach(socket, stream, leftover);
        if (r < 0) {
                free(socket);
                stream_close(stream);
                return r;
        }
        *ret_socket = socket;
        return 0;
}

void websocket_make_key(char key[static WEBSOCKET_KEY_SIZE])
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789+/";
        uint8_t bytes[WEBSOCKET_KEY_SIZE];

        /* 21 free digits, one with two free bits (128 bits in all), and the padding. */
        random_bytes(bytes, sizeof(bytes));
        for (size_t i = 0; i < 21; i++)
                key[i] = digits[bytes[i] % 64];
        key[21] = digits[(bytes[21] % 4) * 16];
        key[22] = key[23] = '=';
        key[24] = '\0';
}

void websocket_accept_value(struct str key, char accept[static WEBSOCKET_ACCEPT_SIZE])
{
        _cleanup_buffer_ struct buffer text = {}, encoded = {};
        uint8_t digest[SHA1_SIZE];

        accept[0] = '\0';
        if (buffer_append_str(&text, key) < 0 ||
            buffer_append_str(&text, STR("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) < 0 ||
            digest_sha1(buffer_str(&text), digest) < 0 ||
            base64_append(&encoded, BASE64_STANDARD, digest, sizeof(digest)) < 0)
                return;
        memcpy(accept, encoded.data, WEBSOCKET_ACCEPT_SIZE - 1);
        accept[WEBSOCKET_ACCEPT_SIZE - 1] = '\0';
}

int websocket_from_call(struct http_call *call, const struct http_response_head *head,
                        struct str key, size_t message_limit, const struct websocket_callbacks *on,
                        void *user, struct websocket **ret_socket)
{
        char accept[WEBSOCKET_ACCEPT_SIZE];
        struct stream *stream;
        struct str leftover;

        websocket_accept_value(key, accept);
        if (head->status != 101 ||
            !http_headers_has_token(&head->headers, STR("upgrade"), STR("websocket")) ||
            !str_equal(http_headers_get(&head->headers, STR("sec-websocket-accept")),
                       str_from(accept)))
                return -EBADMSG;
        int r = http_call_take_over(call, &stream, &leftover);
        if (r < 0)
                return r;
        r = websocket_new(stream, true, leftover, message_limit, on, user, ret_socket);
        if (r < 0)
                stream_close(stream);
        return r;
}

bool websocket_is_congested(struct websocket *socket)
{
        return socket->stream && stream_is_congested(socket->stream);
}

size_t websocket_pending(const struct websocket *socket)
{
        return socket->stream ? stream_pending(socket->stream) : 0;
}

void websocket_pause(struct websocket *socket)
{
        if (socket->stream)
                stream_pause(socket->stream);
}

void websocket_resume(struct websocket *socket)
{
        if (socket->stream)
                stream_resume(socket->stream);
}

struct stream *websocket_stream(struct websocket *socket)
{
        return socket->stream;
}
