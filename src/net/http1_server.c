// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/log.h"
#include "net/http1.h"
#include "net/http_connection.h"

enum {
        LINGER_MS = 2000, /* for the peer to read the last answer and close */
        HEAD_ROOM = 512,  /* an answer's head mostly fits */
};

enum state {
        READING_HEAD, /* nothing, or the beginning of a request */
        READING_BODY, /* for the handler, or (its exchange over) to be discarded */
        WAITING,      /* the request is read, the answer is not complete */
        LINGERING,    /* we have shut down; what comes is discarded */
        CLOSED,
};

struct connection {
        struct http_connection base;
        struct stream *stream;
        struct net_task task;   /* goes on with `input`, or frees */
        struct net_timer timer; /* what for: see timed_out() */
        enum state state;

        struct buffer input; /* bytes that could not be taken yet */
        struct str *current; /* what process() has left, while it runs */
        size_t scanned;      /* of the head in `input` */
        struct arena arena;
        struct http_exchange exchange;
        struct http1_body body;
        uint64_t read_at_ms; /* when the body last came further */
        uint64_t given;      /* bytes ever written to the stream */
        uint64_t taken;      /* of these by the kernel, at the last look */
        bool keep_alive;
        bool stale; /* see clean_up() */
        bool body_paused;
        bool continue_owed; /* Expect: 100-continue */

        struct buffer head; /* of the answer, not sent yet */
        bool chunked, no_body;
        uint64_t left; /* bytes of the answer's declared length */
        bool until_close;
};

static struct connection *from_exchange(const struct http_exchange *exchange)
{
        return container_of(exchange, struct connection, exchange);
}

/*
 * Ends what an exchange has left behind. Not with its end, but with the next head or in the loop:
 * its handler may still look at it.
 */
static void clean_up(struct connection *c)
{
        c->stale = false;
        buffer_deinit(&c->exchange.collected);
        buffer_deinit(&c->head);
        arena_deinit(&c->arena);
}

/* ---- the end ---- */

static void run_free(struct net_task *task)
{
        struct connection *c = container_of(task, struct connection, task);

        buffer_deinit(&c->input);
        clean_up(c);
        free(c);
}

/* Leaves the memory until we are back in the loop: callers further up still look at it. */
static void discard_connection(struct connection *c)
{
        if (c->state == CLOSED)
                return;
        c->state = CLOSED;
        net_timer_stop(&c->timer);
        net_task_cancel(&c->task);
        c->task.run = run_free;
        net_loop_defer(c->base.server->loop, &c->task);
        http_connection_leave(&c->base);
}

static void close_connection(struct connection *c, int error)
{
        if (c->state == CLOSED)
                return;
        stream_close(c->stream);
        discard_connection(c);
        http_exchange_fail(&c->exchange, error);
}

/* ---- time ---- */

static void timed_out(struct net_timer *timer);

static void set_timer(struct connection *c, uint32_t ms)
{
        net_timer_start(c->base.server->loop, &c->timer, ms, timed_out);
}

/* Whether the peer has taken bytes since the last look, or there are none to take. */
static bool output_advances(struct connection *c)
{
        size_t pending = stream_pending(c->stream);
        uint64_t taken = c->given - MIN(c->given, (uint64_t)pending);
        bool advances = pending == 0 || taken != c->taken;

        c->taken = taken;
        return advances;
}

static void refuse(struct connection *c, unsigned status, struct str reason);

static void timed_out(struct net_timer *timer)
{
        struct connection *c = container_of(timer, struct connection, timer);
        const struct http_server_options *options = &c->base.server->options;
        uint64_t now = net_loop_now_ms(c->base.server->loop);
        bool has_output = stream_pending(c->stream) > 0;

        if (!output_advances(c)) {
                close_connection(c, -ETIMEDOUT);
                return;
        }
        if (has_output && c->state != READING_BODY) {
                set_timer(c, options->write_timeout_ms);
                return;
        }
        switch (c->state) {
        case READING_HEAD:
                if (c->input.length > 0)
                        refuse(c, 408, STR("The request took too long."));
                else
                        close_connection(c, -ETIMEDOUT);
                return;
        case READING_BODY:
                if (c->body_paused || now - c->read_at_ms < options->body_timeout_ms) {
                        set_timer(c, options->body_timeout_ms);
                } else if (c->exchange.active) {
                        c->keep_alive = false;
                        http_exchange_refuse(&c->exchange, 408, STR("The body took too long."),
                                             -ETIMEDOUT);
                } else {
                        close_connection(c, -ETIMEDOUT);
                }
                return;
        case LINGERING:
                close_connection(c, -ETIMEDOUT);
                return;
        case WAITING:
        case CLOSED:
                return;
        }
}

/* ---- from one request to the next ---- */

static void linger(struct connection *c)
{
        c->state = LINGERING;
        stream_shutdown(c->stream);
        stream_resume(c->stream);
        output_advances(c);
        set_timer(c, LINGER_MS);
}

static void next_request(struct connection *c)
{
        const struct http_server_options *options = &c->base.server->options;

        if (!c->keep_alive || c->base.server->draining) {
                linger(c);
                return;
        }
        c->state = READING_HEAD;
        c->scanned = 0;
        c->body_paused = false;
        c->stale = true;
        output_advances(c);
        set_timer(c, options->idle_timeout_ms);
        stream_resume(c->stream);
        /* Cleaning up, and what was pipelined, wait for the loop unless process() goes on. */
        if (!c->current)
                net_loop_defer(c->base.server->loop, &c->task);
}

static void exchange_over(struct connection *c)
{
        http_exchange_close(&c->exchange);
        if (c->state == WAITING) {
                next_request(c);
        } else if (c->state == READING_BODY) {
                /* A client that waits for 100 may send the body or the next request: unknown. */
                bool small = c->body.framing == HTTP1_LENGTH && c->body.left <= HTTP_DISCARD_LIMIT;
                if (!http1_body_may_end(&c->body) &&
                    (!small || c->continue_owed || !c->keep_alive)) {
                        linger(c);
                        return;
                }
                c->body_paused = false;
                stream_resume(c->stream);
                net_loop_defer(c->base.server->loop, &c->task);
        }
}

/* ---- answers ---- */

static void write_pieces(struct connection *c, const struct stream_piece *pieces, size_t count)
{
        for (size_t i = 0; i < count; i++)
                c->given += pieces[i].data.length;
        stream_write(c->stream, pieces, count);
        if (stream_pending(c->stream) > 0 && !net_timer_is_running(&c->timer)) {
                output_advances(c);
                set_timer(c, c->base.server->options.write_timeout_ms);
        }
}

static bool is_ours(struct str name)
{
        return str_equal_ignoring_case(name, STR("content-length")) ||
               str_equal_ignoring_case(name, STR("transfer-encoding")) ||
               str_equal_ignoring_case(name, STR("connection"));
}

static int append_fields(struct buffer *out, const struct http_header *headers, size_t count,
                         bool leave_out_ours, bool *ret_has_date)
{
        for (size_t i = 0; i < count; i++) {
                if (leave_out_ours && is_ours(headers[i].name))
                        continue;
                if (str_equal_ignoring_case(headers[i].name, STR("date")))
                        *ret_has_date = true;
                int r = http1_append_field(out, headers[i].name, headers[i].value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int append_length(struct connection *c, struct buffer *out, unsigned status, int64_t length)
{
        bool is_head = str_equal(c->exchange.request.method, STR("HEAD"));

        c->no_body = is_head || status == 204 || status == 304;
        c->chunked = c->until_close = false;
        c->left = length > 0 ? (uint64_t)length : 0;
        if (status == 204 || status == 304)
                return 0;
        if (length >= 0)
                return buffer_printf(out, "Content-Length: %lld\r\n", (long long)length);
        if (c->exchange.request.version >= 11) {
                c->chunked = true;
                return buffer_append_str(out, STR("Transfer-Encoding: chunked\r\n"));
        }
        c->until_close = true;
        c->keep_alive = false;
        return 0;
}

static int append_head(struct connection *c, unsigned status, const struct http_header *headers,
                       size_t count, int64_t length)
{
        struct buffer *out = &c->head;
        bool has_date = false;

        int r = buffer_reserve(out, HEAD_ROOM);
        if (r == 0)
                r = http1_append_status_line(out, status, http_reason(status));
        if (r == 0)
                r = append_fields(out, headers, count, true, &has_date);
        if (r == 0 && !has_date)
                r = http1_append_field(out, STR("Date"), http_server_date(c->base.server));
        if (r == 0)
                r = append_length(c, out, status, length);
        if (c->base.server->draining)
                c->keep_alive = false;
        if (r == 0 && !c->keep_alive)
                r = buffer_append_str(out, STR("Connection: close\r\n"));
        else if (r == 0 && c->exchange.request.version < 11)
                r = buffer_append_str(out, STR("Connection: keep-alive\r\n"));
        if (r == 0)
                r = buffer_append_str(out, STR("\r\n"));
        return r;
}

static int exchange_begin(struct http_exchange *exchange, unsigned status,
                          const struct http_header *headers, size_t count, int64_t length)
{
        struct connection *c = from_exchange(exchange);

        if (c->state == CLOSED)
                return 0;
        /* Without the 100 the body may never come, so the connection has no next request. */
        if (c->state == READING_BODY && c->continue_owed)
                c->keep_alive = false;
        buffer_clear(&c->head);
        int r = append_head(c, status, headers, count, length);
        if (r < 0)
                buffer_clear(&c->head);
        return r;
}

static void exchange_abort(struct http_exchange *exchange)
{
        struct connection *c = from_exchange(exchange);

        http_exchange_close(exchange);
        close_connection(c, -ECANCELED);
}

static void exchange_send(struct http_exchange *exchange, const struct stream_piece *pieces,
                          size_t count)
{
        struct connection *c = from_exchange(exchange);
        struct stream_piece all[STREAM_PIECES_MAX];
        char chunk_head[HTTP1_CHUNK_HEAD_SIZE];
        size_t total = 0, n = 0;

        for (size_t i = 0; i < count; i++)
                total += pieces[i].data.length;
        if (c->state == CLOSED || c->no_body || total == 0) {
                stream_release_pieces(pieces, count);
                return;
        }
        if (!c->chunked && !c->until_close) {
                if (total > c->left) {
                        log_error("an answer to %.*s was longer than announced",
                                  STR_FORMAT(exchange->request.path));
                        stream_release_pieces(pieces, count);
                        exchange->refused = true;
                        c->keep_alive = false;
                        return;
                }
                c->left -= total;
        }
        exchange->sent += total;
        if (c->head.length > 0)
                all[n++] = (struct stream_piece){ buffer_str(&c->head) };
        if (c->chunked)
                all[n++] = (struct stream_piece){ { chunk_head,
                                                    http1_chunk_head(chunk_head, total) } };
        memcpy(all + n, pieces, count * sizeof(*pieces));
        n += count;
        if (c->chunked)
                all[n++] = (struct stream_piece){ STR("\r\n") };
        write_pieces(c, all, n);
        buffer_clear(&c->head);
}

static void exchange_flush(struct http_exchange *exchange)
{
        struct connection *c = from_exchange(exchange);

        if (c->state == CLOSED || c->head.length == 0)
                return;
        write_pieces(c, &(struct stream_piece){ buffer_str(&c->head) }, 1);
        buffer_clear(&c->head);
}

static void exchange_end(struct http_exchange *exchange, const struct http_header *trailers,
                         size_t count)
{
        struct connection *c = from_exchange(exchange);
        bool ignored = false;

        if (c->state == CLOSED) {
                http_exchange_close(exchange);
                return;
        }
        if (!c->no_body && !c->chunked && c->left > 0) {
                log_error("an answer to %.*s was shorter than announced",
                          STR_FORMAT(exchange->request.path));
                exchange_abort(exchange);
                return;
        }
        if (c->chunked && !c->no_body) {
                size_t before = c->head.length;
                int r = buffer_append_str(&c->head, STR("0\r\n"));
                if (r == 0)
                        r = append_fields(&c->head, trailers, count, true, &ignored);
                if (r == 0)
                        r = buffer_append_str(&c->head, STR("\r\n"));
                if (r < 0) {
                        c->head.length = before;
                        exchange_abort(exchange);
                        return;
                }
        }
        exchange_flush(exchange);
        exchange_over(c);
}

static int exchange_take_over(struct http_exchange *exchange, unsigned status,
                              const struct http_header *headers, size_t count,
                              struct stream **ret_stream, struct str *ret_leftover)
{
        struct connection *c = from_exchange(exchange);
        bool ignored;

        if (!http1_body_may_end(&c->body))
                return -EOPNOTSUPP;
        buffer_clear(&c->head);
        int r = http1_append_status_line(&c->head, status, http_reason(status));
        if (r == 0)
                r = append_fields(&c->head, headers, count, false, &ignored);
        if (r == 0)
                r = buffer_append_str(&c->head, STR("\r\n"));
        if (r < 0)
                return r;
        *ret_leftover = c->current ? *c->current : buffer_str(&c->input);
        *ret_stream = c->stream;
        if (c->current)
                *c->current = STR_EMPTY;
        exchange->begun = true;
        exchange->status = status;
        http_exchange_close(exchange);
        discard_connection(c);
        stream_detach(c->stream);
        stream_resume(c->stream);
        stream_write(*ret_stream, &(struct stream_piece){ buffer_str(&c->head) }, 1);
        return 0;
}

static void send_continue(struct connection *c)
{
        if (!c->continue_owed || c->body_paused || c->exchange.begun || c->state != READING_BODY)
                return;
        c->continue_owed = false;
        write_pieces(c, &(struct stream_piece){ STR("HTTP/1.1 100 Continue\r\n\r\n") }, 1);
}

static void exchange_pause(struct http_exchange *exchange, bool paused)
{
        struct connection *c = from_exchange(exchange);

        if (c->state == CLOSED || c->body_paused == paused)
                return;
        c->body_paused = paused;
        if (paused)
                return;
        c->read_at_ms = net_loop_now_ms(c->base.server->loop);
        send_continue(c);
        stream_resume(c->stream);
        net_loop_defer(c->base.server->loop, &c->task);
}

static size_t exchange_pending(const struct http_exchange *exchange)
{
        return stream_pending(from_exchange(exchange)->stream);
}

static bool exchange_is_congested(struct http_exchange *exchange)
{
        struct connection *c = from_exchange(exchange);

        return c->state != CLOSED && stream_is_congested(c->stream);
}

static const struct http_exchange_ops exchange_ops = {
        .begin = exchange_begin,
        .send = exchange_send,
        .flush = exchange_flush,
        .end = exchange_end,
        .abort = exchange_abort,
        .pause = exchange_pause,
        .pending = exchange_pending,
        .is_congested = exchange_is_congested,
        .take_over = exchange_take_over,
};

/* ---- requests ---- */

/* Answers what is no request, and closes: where the next one would begin is unknown. */
static void refuse(struct connection *c, unsigned status, struct str reason)
{
        _cleanup_buffer_ struct buffer body = {};
        struct http_header type = { STR("Content-Type"), STR_EMPTY };

        c->base.server->counters.refused++;
        c->keep_alive = false;
        c->exchange.request = (struct http_request_head){ .version = 11 };
        type.value = http_server_render_error(c->base.server, status, reason, &body);
        if (append_head(c, status, &type, 1, (int64_t)body.length) < 0 ||
            buffer_append_str(&c->head, buffer_str(&body)) < 0) {
                close_connection(c, -ENOMEM);
                return;
        }
        exchange_flush(&c->exchange);
        linger(c);
}

static void refuse_head(struct connection *c, int error)
{
        switch (error) {
        case -EMSGSIZE:
                refuse(c, 431, STR("The request's head is too large."));
                return;
        case -EPROTONOSUPPORT:
                refuse(c, 505, STR("Only HTTP/1.1 is spoken here."));
                return;
        case -EOPNOTSUPP:
                refuse(c, 501, STR("Only the transfer coding chunked is known."));
                return;
        case -EBADMSG:
                refuse(c, 400, STR("The request is malformed."));
                return;
        default:
                close_connection(c, error);
        }
}

static void read_head(struct connection *c, struct str *input)
{
        struct http1_connection connection = {};
        struct http_request_head head;
        size_t length;

        if (c->stale)
                clean_up(c);
        int r = http1_parse_request(&c->arena, *input, &c->scanned, &head, &c->body, &connection,
                                    &length);
        if (r == HTTP1_MORE)
                return;
        if (r < 0) {
                *input = STR_EMPTY;
                refuse_head(c, r);
                return;
        }
        *input = str_slice(*input, length, input->length);
        c->keep_alive = connection.keep_alive;
        c->state = READING_BODY;
        c->scanned = 0;
        c->read_at_ms = net_loop_now_ms(c->base.server->loop);
        c->continue_owed = head.expects_continue && !http1_body_may_end(&c->body);
        c->body_paused = false;
        c->exchange = (struct http_exchange){
                .request = head,
                .arena = &c->arena,
                .connection = c->stream,
                .tag = c->base.tag,
                .ops = &exchange_ops,
        };
        if (http1_body_may_end(&c->body))
                net_timer_stop(&c->timer);
        else
                set_timer(c, c->base.server->options.body_timeout_ms);
        http_exchange_open(&c->exchange, &c->base);
        send_continue(c);
}

/* Returns whether the body came further. */
static bool read_body(struct connection *c, struct str *input)
{
        struct str piece;

        if (c->body_paused && c->exchange.active)
                return false;
        int r = http1_body_next(&c->body, input, &piece);
        switch (r) {
        case HTTP1_MORE:
                return false;
        case HTTP1_PIECE:
                c->read_at_ms = net_loop_now_ms(c->base.server->loop);
                c->continue_owed = false;
                http_exchange_deliver(&c->exchange, piece);
                return true;
        case HTTP1_END:
                net_timer_stop(&c->timer);
                c->state = WAITING;
                if (c->exchange.active)
                        http_exchange_deliver_end(&c->exchange);
                else
                        next_request(c);
                return true;
        default:
                *input = STR_EMPTY;
                c->keep_alive = false;
                if (c->exchange.active)
                        http_exchange_refuse(&c->exchange, 400, STR("The body is malformed."),
                                             -EBADMSG);
                else
                        close_connection(c, r);
                return true;
        }
}

static const struct str http2_preface = { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 };

/* Returns whether the connection is HTTP/2's now, or may yet turn out to be. */
static bool is_http2(struct connection *c, struct str *input)
{
        size_t length = MIN(input->length, http2_preface.length);
        const struct http_protocol *http2 = c->base.server->options.http2;

        if (!http2 || length == 0 || memcmp(input->data, http2_preface.data, length) != 0)
                return false;
        if (length < http2_preface.length)
                return true;
        struct http_server *server = c->base.server;
        struct str leftover = *input;
        *input = STR_EMPTY;
        discard_connection(c);
        stream_detach(c->stream);
        (void)http2->serve(server, c->stream, c->base.tag, leftover);
        return true;
}

/* Takes as much of *input as there is to be done with it. */
static void process(struct connection *c, struct str *input)
{
        c->current = input;
        for (;;) {
                size_t before = input->length;
                if (c->state == READING_HEAD) {
                        if (input->length == 0 || is_http2(c, input))
                                break;
                        read_head(c, input);
                        if (c->state == READING_HEAD && input->length == before)
                                break;
                } else if (c->state == READING_BODY) {
                        if (!read_body(c, input))
                                break;
                } else {
                        if (c->state == LINGERING)
                                *input = STR_EMPTY;
                        break;
                }
        }
        c->current = NULL;
}

/* More than one read's worth is never kept: reading stops while what is there cannot be taken. */
static void after_process(struct connection *c)
{
        if (c->state == CLOSED)
                return;
        if (c->stale)
                clean_up(c);
        if (c->input.length == 0)
                buffer_deinit(&c->input);
        bool stuck = c->state == WAITING ||
                     (c->state == READING_BODY && c->body_paused && c->exchange.active);
        if (c->input.length > 0 && stuck)
                stream_pause(c->stream);
        else
                stream_resume(c->stream);
}

static void run_process(struct net_task *task)
{
        struct connection *c = container_of(task, struct connection, task);
        struct str rest = buffer_str(&c->input);

        process(c, &rest);
        if (c->state == CLOSED)
                return;
        buffer_consume(&c->input, c->input.length - MIN(c->input.length, rest.length));
        after_process(c);
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        struct connection *c = user;

        (void)stream;
        if (c->state == READING_HEAD && c->input.length == 0)
                set_timer(c, c->base.server->options.head_timeout_ms);
        if (c->input.length > 0) {
                if (buffer_append_str(&c->input, data) < 0) {
                        close_connection(c, -ENOMEM);
                        return;
                }
                run_process(&c->task);
                return;
        }
        process(c, &data);
        if (c->state == CLOSED)
                return;
        if (data.length > 0 && buffer_append_str(&c->input, data) < 0) {
                close_connection(c, -ENOMEM);
                return;
        }
        after_process(c);
}

static void on_open(struct stream *stream, void *user)
{
        struct connection *c = user;
        struct http_server *server = c->base.server;

        if (!server->options.http2 || !str_equal(stream_protocol(stream), STR("h2")))
                return;
        discard_connection(c);
        stream_detach(stream);
        (void)server->options.http2->serve(server, stream, c->base.tag, STR_EMPTY);
}

static void on_drain(struct stream *stream, void *user)
{
        struct connection *c = user;

        (void)stream;
        http_exchange_deliver_drain(&c->exchange);
}

static void on_end(struct stream *stream, void *user)
{
        struct connection *c = user;

        (void)stream;
        /* As Go and nginx do: who ends before the answer does not want it any more. */
        if (c->exchange.active || c->state == READING_BODY || stream_pending(c->stream) == 0)
                close_connection(c, -ECONNRESET);
        else
                linger(c);
}

static void on_close(struct stream *stream, void *user, int error)
{
        (void)stream;
        close_connection(user, error < 0 ? error : -ECONNRESET);
}

static const struct stream_callbacks stream_callbacks = { on_open, on_data, on_drain, on_end,
                                                          on_close };

static void connection_drain(struct http_connection *base)
{
        struct connection *c = container_of(base, struct connection, base);

        c->keep_alive = false;
        if (c->state == READING_HEAD && c->input.length == 0 && stream_pending(c->stream) == 0)
                close_connection(c, -ECANCELED);
}

static void connection_kill(struct http_connection *base, int error)
{
        close_connection(container_of(base, struct connection, base), error);
}

static const struct http_connection_ops connection_ops = { connection_drain, connection_kill };

int http1_serve(struct http_server *server, struct stream *stream, int tag)
{
        struct connection *c = calloc(1, sizeof(*c));

        if (!c) {
                stream_close(stream);
                return -ENOMEM;
        }
        c->stream = stream;
        c->task.run = run_process;
        c->state = READING_HEAD;
        http_connection_join(&c->base, server, tag, &connection_ops);
        set_timer(c, server->options.head_timeout_ms);
        stream_start(stream, &stream_callbacks, c);
        return 0;
}
