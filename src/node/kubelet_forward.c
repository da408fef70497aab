// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/spdy.h"
#include "net/websocket.h"
#include "node/kubelet.h"

/*
 * Port forwarding as kubectl speaks it: SPDY/3.1 straight after an upgrade, or the same bytes
 * inside of a WebSocket. Each forwarded connection is a pair of streams with one "requestid": data,
 * and an error stream for a sentence (k8s.io/kubelet portforward, "portforward.k8s.io").
 */
enum { PAIRS_MAX = 48, PENDING_HIGH = 256 * 1024, MESSAGE_MAX = 1024 * 1024 };

#define SPDY_PROTOCOL   "portforward.k8s.io"
#define TUNNEL_PROTOCOL "SPDY/3.1+portforward.k8s.io"

struct forward_pair {
        struct forward *forward; /* NULL: free */
        char request_id[32];
        uint32_t data_id, error_id; /* 0: not opened, or ended */
        uint16_t port;
        struct container_user user;
        struct stream *direct; /* to a program of this machine, in place of `user` */
        struct buffer pending; /* that the container has not taken yet */
        bool input_ended, has_ended;
        size_t owed;
};

/* A program of this machine that is shown as a Pod. */
struct forward_mirror {
        const struct mirrored_program *program; /* NULL: it is a real Pod */
        struct net_address address;
};

struct forward {
        struct list link;
        struct net_loop *loop;
        struct node_pod *pod; /* NULL: it is gone */
        struct forward_mirror mirror;
        struct stream *stream;
        struct websocket *socket; /* one of both */
        struct spdy *spdy;
        struct buffer out, early;
        struct net_task begin;
        bool is_paused, is_over;
        struct forward_pair pairs[PAIRS_MAX];
};

static void pair_reset(struct forward_pair *pair)
{
        container_leave(&pair->user);
        if (pair->direct)
                stream_close(pair->direct);
        buffer_deinit(&pair->pending);
        *pair = (struct forward_pair){};
}

static void forward_free(struct forward *forward)
{
        list_remove(&forward->link);
        net_task_cancel(&forward->begin);
        for (size_t i = 0; i < PAIRS_MAX; i++)
                pair_reset(&forward->pairs[i]);
        if (forward->stream)
                stream_close(forward->stream);
        if (forward->socket)
                websocket_free(forward->socket);
        spdy_free(forward->spdy);
        buffer_deinit(&forward->out);
        buffer_deinit(&forward->early);
        free(forward);
}

void kubelet_free_forwards(struct kubelet *kubelet)
{
        struct forward *forward;

        list_for_each (forward, &kubelet->forwards, link)
                forward_free(forward);
}

void kubelet_forget_forwards(struct kubelet *kubelet, const struct node_pod *pod)
{
        struct forward *forward;

        list_for_each (forward, &kubelet->forwards, link)
                if (forward->pod == pod)
                        forward->pod = NULL;
}

/* ---- the connection to the client ---- */

static void flush(struct forward *forward)
{
        const struct stream_piece piece = { .data = buffer_str(&forward->out) };

        if (forward->out.length == 0)
                return;
        if (forward->socket)
                websocket_send(forward->socket, WEBSOCKET_BINARY, &piece, 1);
        else if (forward->stream)
                stream_write(forward->stream, &piece, 1);
        buffer_clear(&forward->out);
}

static bool is_congested(const struct forward *forward)
{
        return forward->socket ? websocket_is_congested(forward->socket)
                               : forward->stream && stream_is_congested(forward->stream);
}

/* SPDY as it is spoken has no windows: one slow port holds them all. */
static void set_paused(struct forward *forward)
{
        bool is_full = false;

        for (size_t i = 0; i < PAIRS_MAX; i++)
                is_full |= forward->pairs[i].pending.length > PENDING_HIGH;
        if (is_full == forward->is_paused)
                return;
        forward->is_paused = is_full;
        if (forward->socket)
                (is_full ? websocket_pause : websocket_resume)(forward->socket);
        else if (forward->stream)
                (is_full ? stream_pause : stream_resume)(forward->stream);
}

/* ---- one forwarded connection ---- */

/* Ends both streams; the error one with a sentence if there is one. */
static void end_pair(struct forward_pair *pair, const char *message)
{
        struct forward *forward = pair->forward;

        if (pair->error_id != 0)
                spdy_send(forward->spdy, pair->error_id, str_from(message), true);
        if (pair->data_id != 0)
                spdy_send(forward->spdy, pair->data_id, STR_EMPTY, true);
        pair_reset(pair);
        flush(forward);
        set_paused(forward);
}

static void on_output(struct container_user *user, enum initproto_channel channel, struct str data)
{
        struct forward_pair *pair = container_of(user, struct forward_pair, user);
        struct forward *forward = pair->forward;

        if (data.length == 0)
                return; /* `ended` follows when both ways are done */
        spdy_send(forward->spdy, pair->data_id, data, false);
        flush(forward);
        pair->owed += data.length;
        if (is_congested(forward))
                return;
        container_consumed(user, channel, pair->owed);
        pair->owed = 0;
}

/* The stream takes all at once, and tells when it has too much. */
static void push_directly(struct forward_pair *pair)
{
        if (pair->pending.length > 0 && !stream_is_congested(pair->direct)) {
                stream_write_str(pair->direct, buffer_str(&pair->pending));
                buffer_clear(&pair->pending);
        }
        if (pair->pending.length == 0 && pair->input_ended) {
                pair->input_ended = false;
                stream_shutdown(pair->direct);
        }
        set_paused(pair->forward);
}

static void push_input(struct forward_pair *pair)
{
        if (pair->direct) {
                push_directly(pair);
                return;
        }
        while (pair->pending.length > 0 && pair->user.container) {
                ssize_t taken = container_input(&pair->user, buffer_str(&pair->pending));
                if (taken <= 0)
                        break;
                buffer_consume(&pair->pending, (size_t)taken);
        }
        if (pair->pending.length == 0 && pair->input_ended && pair->user.container) {
                pair->input_ended = false;
                container_input(&pair->user, STR_EMPTY);
        }
        set_paused(pair->forward);
}

static void on_room(struct container_user *user)
{
        push_input(container_of(user, struct forward_pair, user));
}

static void on_ended(struct container_user *user, const struct initproto_exit *exit)
{
        (void)exit;
        end_pair(container_of(user, struct forward_pair, user), "");
}

static const char *pod_name(const struct forward *forward)
{
        if (forward->mirror.program)
                return forward->mirror.program->pod;
        return forward->pod ? forward->pod->name : "";
}

static void fail_pair(struct forward_pair *pair, int error, struct str reason)
{
        char message[POD_MESSAGE_SIZE];

        if (reason.length == 0)
                reason = str_from(strerror(error < 0 ? -error : error));
        snprintf(message, sizeof(message), "error forwarding port %u to pod %s: %.*s", pair->port,
                 pod_name(pair->forward), (int)MIN(reason.length, (size_t)256), reason.data);
        end_pair(pair, message);
}

static void on_failed(struct container_user *user, int error, struct str reason)
{
        fail_pair(container_of(user, struct forward_pair, user), error, reason);
}

static const struct container_user_events user_events = {
        .output = on_output,
        .started = on_room,
        .writable = on_room,
        .ended = on_ended,
        .failed = on_failed,
};

/* Any container of the Pod will do: they share its network. */
static struct node_container *any_container(struct node_pod *pod)
{
        for (size_t i = 0; pod && i < LIMIT_CONTAINERS; i++)
                if (kubelet_running(pod, i))
                        return pod->containers[i];
        return NULL;
}

static void on_direct_data(struct stream *stream, void *user, struct str data)
{
        struct forward_pair *pair = user;
        struct forward *forward = pair->forward;

        spdy_send(forward->spdy, pair->data_id, data, false);
        flush(forward);
        if (!is_congested(forward))
                return;
        stream_pause(stream);
        pair->owed = data.length;
}

static void on_direct_drain(struct stream *stream, void *user)
{
        (void)stream;
        push_directly(user);
}

static void on_direct_close(struct stream *stream, void *user, int error)
{
        struct forward_pair *pair = user;

        (void)stream;
        pair->direct = NULL;
        if (error < 0)
                fail_pair(pair, error, STR_EMPTY);
        else
                end_pair(pair, "");
}

static const struct stream_callbacks direct_callbacks = { .on_data = on_direct_data,
                                                          .on_drain = on_direct_drain,
                                                          .on_close = on_direct_close };

/* To where the program listens, and nowhere else. */
static void begin_directly(struct forward_pair *pair)
{
        const struct forward_mirror *mirror = &pair->forward->mirror;

        if (pair->port != mirror->program->port || mirror->address.length == 0) {
                fail_pair(pair, ECONNREFUSED, STR_EMPTY);
                return;
        }
        int r = stream_connect(pair->forward->loop, &mirror->address, &pair->direct);
        if (r < 0) {
                fail_pair(pair, r, STR_EMPTY);
                return;
        }
        stream_start(pair->direct, &direct_callbacks, pair);
        push_directly(pair);
}

static void begin_pair(struct forward_pair *pair)
{
        if (pair->forward->mirror.program) {
                begin_directly(pair);
                return;
        }
        struct node_container *container = any_container(pair->forward->pod);

        int r = container ? container_connect(container, STR_EMPTY, pair->port, &user_events,
                                              &pair->user)
                          : -ENOTCONN;
        if (r < 0)
                end_pair(pair, "the pod does not run");
}

/* ---- SPDY ---- */

static struct forward_pair *find_pair(struct forward *forward, struct str request_id)
{
        struct forward_pair *unused = NULL;

        for (size_t i = 0; i < PAIRS_MAX; i++) {
                struct forward_pair *pair = &forward->pairs[i];
                if (!pair->forward && !unused)
                        unused = pair;
                if (pair->forward && str_equal(str_from(pair->request_id), request_id))
                        return pair;
        }
        if (!unused || request_id.length >= sizeof(unused->request_id))
                return NULL;
        *unused = (struct forward_pair){ .forward = forward };
        snprintf(unused->request_id, sizeof(unused->request_id), "%.*s", STR_FORMAT(request_id));
        return unused;
}

static void on_open(void *user, uint32_t stream, const struct http_headers *headers, bool fin)
{
        struct forward *forward = user;
        struct str type = http_headers_get(headers, STR("streamtype"));
        struct str id = http_headers_get(headers, STR("requestid"));
        bool is_data = str_equal(type, STR("data")), is_error = str_equal(type, STR("error"));
        uint64_t port = 0;

        struct forward_pair *pair =
                (is_data || is_error) &&
                                str_to_u64(http_headers_get(headers, STR("port")), UINT16_MAX,
                                           &port) >= 0 &&
                                port > 0
                        ? find_pair(forward, id)
                        : NULL;
        if (!pair || (is_data ? pair->data_id : pair->error_id) != 0) {
                spdy_reset(forward->spdy, stream, SPDY_REFUSED_STREAM);
                return;
        }
        spdy_reply(forward->spdy, stream, NULL, 0);
        pair->port = (uint16_t)port;
        if (is_error) {
                pair->error_id = stream;
        } else {
                pair->data_id = stream;
                pair->input_ended = fin;
        }
        if (pair->data_id != 0 && pair->error_id != 0)
                begin_pair(pair);
}

static struct forward_pair *pair_of_data(struct forward *forward, uint32_t stream)
{
        for (size_t i = 0; i < PAIRS_MAX; i++)
                if (forward->pairs[i].forward && forward->pairs[i].data_id == stream)
                        return &forward->pairs[i];
        return NULL;
}

static void on_spdy_data(void *user, uint32_t stream, struct str data, bool fin)
{
        struct forward_pair *pair = pair_of_data(user, stream);

        if (!pair)
                return;
        if (buffer_append_str(&pair->pending, data) < 0) {
                end_pair(pair, "out of memory");
                return;
        }
        pair->input_ended |= fin;
        push_input(pair);
}

static void on_reset(void *user, uint32_t stream, uint32_t status)
{
        struct forward_pair *pair = pair_of_data(user, stream);

        (void)status;
        if (!pair)
                return;
        pair->data_id = 0;
        end_pair(pair, "");
}

/* What is open goes on until the client ends the connection. */
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

/* ---- both ways in ---- */

/* Returns false when the connection is of no more use. */
static bool feed(struct forward *forward, struct str bytes)
{
        int r = spdy_feed(forward->spdy, bytes);

        flush(forward);
        return r >= 0;
}

static void drained(struct forward *forward)
{
        for (size_t i = 0; i < PAIRS_MAX; i++) {
                struct forward_pair *pair = &forward->pairs[i];
                if (!pair->forward || pair->owed == 0)
                        continue;
                if (pair->direct)
                        stream_resume(pair->direct);
                container_consumed(&pair->user, INITPROTO_CHANNEL_OUTPUT, pair->owed);
                pair->owed = 0;
        }
}

static void on_stream_data(struct stream *stream, void *user, struct str data)
{
        (void)stream;
        if (!feed(user, data))
                forward_free(user);
}

static void on_stream_drain(struct stream *stream, void *user)
{
        (void)stream;
        drained(user);
}

static void on_stream_close(struct stream *stream, void *user, int error)
{
        struct forward *forward = user;

        (void)stream, (void)error;
        forward->stream = NULL;
        forward_free(forward);
}

static const struct stream_callbacks stream_callbacks = { .on_data = on_stream_data,
                                                          .on_drain = on_stream_drain,
                                                          .on_close = on_stream_close };

static void on_message(struct websocket *socket, void *user, enum websocket_opcode opcode,
                       struct str data, bool final)
{
        struct forward *forward = user;

        (void)opcode, (void) final;
        if (!forward->is_over && !feed(forward, data)) {
                forward->is_over = true;
                websocket_close(socket, WEBSOCKET_PROTOCOL_ERROR, STR_EMPTY);
        }
}

static void on_socket_drain(struct websocket *socket, void *user)
{
        (void)socket;
        drained(user);
}

static void on_socket_close(struct websocket *socket, void *user, unsigned status,
                            struct str reason)
{
        struct forward *forward = user;

        (void)socket, (void)status, (void)reason;
        forward->socket = NULL;
        forward_free(forward);
}

static const struct websocket_callbacks socket_callbacks = { .on_piece = on_message,
                                                             .on_drain = on_socket_drain,
                                                             .on_close = on_socket_close };

static void begin_stream(struct net_task *task)
{
        struct forward *forward = container_of(task, struct forward, begin);

        stream_start(forward->stream, &stream_callbacks, forward);
        if (forward->early.length > 0 && !feed(forward, buffer_str(&forward->early)))
                forward_free(forward);
}

static int accept_spdy(struct http_exchange *exchange, struct forward *forward)
{
        const struct http_header answer[] = { { STR("Upgrade"), STR("SPDY/3.1") },
                                              { STR("X-Stream-Protocol-Version"),
                                                STR(SPDY_PROTOCOL) } };
        struct str leftover;

        if (!http_headers_has_token(&exchange->request.headers, STR("X-Stream-Protocol-Version"),
                                    STR(SPDY_PROTOCOL)))
                return -EBADMSG;
        int r = http_exchange_upgrade(exchange, answer, ARRAY_SIZE(answer), &forward->stream,
                                      &leftover);
        if (r < 0)
                return r;
        if (buffer_append_str(&forward->early, leftover) < 0)
                buffer_clear(&forward->early);
        forward->begin.run = begin_stream;
        net_loop_defer(forward->loop, &forward->begin);
        return 0;
}

static int accept_tunnel(struct http_exchange *exchange, struct forward *forward)
{
        static const struct str offered[] = { { TUNNEL_PROTOCOL, sizeof(TUNNEL_PROTOCOL) - 1 } };

        if (websocket_choose_protocol(&exchange->request, offered, 1) < 0)
                return -EBADMSG;
        return websocket_accept(exchange, offered[0], MESSAGE_MAX, &socket_callbacks, forward,
                                &forward->socket);
}

void kubelet_forward(const struct kubelet_request *request)
{
        struct http_exchange *exchange = request->exchange;
        struct forward *forward;

        if (request->pod && !any_container(request->pod)) {
                kubelet_refuse(exchange, 400, "BadRequest",
                               "unable to forward port because pod %s does not run",
                               request->pod->name);
                return;
        }
        forward = calloc(1, sizeof(*forward));
        if (!forward) {
                kubelet_refuse(exchange, 500, "InternalError", "out of memory");
                return;
        }
        forward->pod = request->pod;
        if (!request->pod)
                forward->mirror = (struct forward_mirror){
                        .program = &mirrored_programs[request->mirror],
                        .address = request->kubelet->mirror_addresses[request->mirror],
                };
        forward->loop = request->kubelet->node->loop;
        list_init(&forward->link);
        int r = spdy_new(&spdy_events, forward, &forward->out, &forward->spdy);
        if (r >= 0 && websocket_is_requested(&exchange->request))
                r = accept_tunnel(exchange, forward);
        else if (r >= 0)
                r = accept_spdy(exchange, forward);
        if (r < 0) {
                kubelet_refuse(exchange, r == -ENOMEM ? 500 : 400,
                               r == -ENOMEM ? "InternalError" : "BadRequest",
                               "portforward needs an upgrade to SPDY/3.1 (" SPDY_PROTOCOL
                               ") or to a WebSocket with " TUNNEL_PROTOCOL);
                forward_free(forward);
                return;
        }
        list_append(&request->kubelet->forwards, &forward->link);
}
