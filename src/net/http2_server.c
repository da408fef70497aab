// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/log.h"
#include "net/http2.h"
#include "net/http2_common.h"
#include "net/http_connection.h"
#include "net/piece_queue.h"

enum {
        STREAMS_MAX = 250,
        STREAM_WINDOW = 128 * 1024,
        CONNECTION_WINDOW = 1024 * 1024,
        TICK_MS = 5 * 1000, /* how often streams are looked at for progress */
};

struct connection {
        struct http_connection base;
        struct stream *stream;
        nghttp2_session *session;
        struct list streams;
        struct list ready; /* streams that run_task() has something to do with */
        struct list dead;  /* streams to be freed when we are back in the loop */
        unsigned stream_count;
        struct net_task task; /* frees `dead`, tells on_drain, or frees the connection */
        struct net_timer timer;
        struct buffer out;
        uint64_t given, taken; /* as in http1_server.c */
        uint64_t progress_ms;  /* when the output last came further */
        uint64_t idle_ms;      /* since when there is no stream */
        struct http2_flood flood;
        bool in_session; /* nghttp2 must not be entered again */
        bool closed;
        bool goaway_sent;
        bool flooded;
        bool broken; /* no memory to send with */
};

/* One stream, that is one exchange. */
struct h2_stream {
        struct list link;
        struct list ready_link; /* points to itself: not in `ready` */
        struct connection *connection;
        int32_t id;
        struct arena arena;
        struct http_exchange exchange;
        size_t head_size;
        uint64_t begun_ms;
        unsigned refuse_status; /* of a head that we cannot take; 0: it is good */
        bool head_done;
        bool continue_sent;
        bool closed; /* nghttp2 knows it no more; the handler may not know that yet */

        struct buffer body; /* came while the handler had paused */
        uint64_t read_at_ms;
        bool paused;
        bool request_ended; /* all of the body is here */
        bool end_delivered;

        struct piece_queue queue;         /* of the answer: what nghttp2 has not taken yet */
        uint64_t written, written_before; /* bytes that nghttp2 took, now and a while ago */
        uint64_t progress_ms;
        int64_t left; /* of the announced length; HTTP_LENGTH_UNKNOWN */
        bool no_body;
        bool answer_ended;
        bool deferred; /* nghttp2 waits for nghttp2_session_resume_data() */
        bool drain_owed;
        struct http_header *trailers;
        size_t trailer_count;
};

static struct h2_stream *from_exchange(const struct http_exchange *exchange)
{
        return container_of(exchange, struct h2_stream, exchange);
}

static uint64_t now_ms(const struct connection *c)
{
        return net_loop_now_ms(stream_loop(c->stream));
}

/* ---- the end of streams and connections ---- */

static void free_dead(struct connection *c)
{
        while (!list_is_empty(&c->dead)) {
                struct h2_stream *s = list_entry(c->dead.next, struct h2_stream, link);
                list_remove(&s->link);
                buffer_deinit(&s->body);
                buffer_deinit(&s->exchange.collected);
                arena_deinit(&s->arena);
                free(s);
        }
}

static void schedule(struct connection *c)
{
        net_loop_defer(stream_loop(c->stream), &c->task);
}

static void schedule_stream(struct h2_stream *s)
{
        if (list_is_empty(&s->ready_link))
                list_append(&s->connection->ready, &s->ready_link);
        schedule(s->connection);
}

/* Tells the handler, if it still waits for anything, and lets the stream die. */
static void retire(struct h2_stream *s, int error)
{
        struct connection *c = s->connection;

        s->closed = true;
        list_remove(&s->link);
        list_remove(&s->ready_link);
        list_append(&c->dead, &s->link);
        piece_queue_clear(&s->queue);
        if (--c->stream_count == 0)
                c->idle_ms = now_ms(c);
        http_exchange_fail(&s->exchange, error);
}

static void run_free(struct net_task *task)
{
        struct connection *c = container_of(task, struct connection, task);

        free_dead(c);
        nghttp2_session_del(c->session);
        buffer_deinit(&c->out);
        free(c);
}

static void close_connection(struct connection *c, int error)
{
        if (c->closed)
                return;
        c->closed = true;
        net_timer_stop(&c->timer);
        net_task_cancel(&c->task);
        c->task.run = run_free;
        schedule(c);
        while (!list_is_empty(&c->streams)) {
                struct h2_stream *s = list_entry(c->streams.next, struct h2_stream, link);
                nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
                retire(s, error);
        }
        stream_close(c->stream);
        http_connection_leave(&c->base);
}

/* ---- sending ---- */

/* Sends what nghttp2 has, as long as the peer takes it. */
static void flush(struct connection *c)
{
        if (c->in_session || c->closed || c->broken)
                return;
        c->in_session = true;
        for (;;) {
                const uint8_t *data;
                buffer_clear(&c->out);
                while (c->out.length < NET_READ_SIZE) {
                        ssize_t length = nghttp2_session_mem_send(c->session, &data);
                        if (length < 0 ||
                            (length > 0 && buffer_append(&c->out, data, (size_t)length) < 0)) {
                                c->in_session = false;
                                /* From the loop: a handler may be sending, and does not expect
                                 * to be told of the end within that. */
                                c->broken = true;
                                schedule(c);
                                return;
                        }
                        if (length == 0)
                                break;
                }
                if (c->out.length == 0)
                        break;
                c->given += c->out.length;
                stream_write_str(c->stream, buffer_str(&c->out));
                if (stream_is_congested(c->stream))
                        break;
        }
        c->in_session = false;
        if (stream_pending(c->stream) == 0)
                buffer_deinit(&c->out);
        if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
                stream_shutdown(c->stream);
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
        struct h2_stream *s = source->ptr;

        (void)session;
        (void)id;
        (void)user;
        size_t done = piece_queue_take(&s->queue, out, size);
        s->written += done;
        if (s->drain_owed && s->queue.pending <= STREAM_QUEUE_LOW)
                schedule_stream(s);
        if (!s->queue.first && s->answer_ended) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (s->trailer_count > 0) {
                        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                        if (http2_submit_trailers(s->connection->session, s->id, &s->arena,
                                                  s->trailers, s->trailer_count) < 0)
                                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                }
        } else if (done == 0) {
                s->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        return (ssize_t)done;
}

static int exchange_begin(struct http_exchange *exchange, unsigned status,
                          const struct http_header *headers, size_t count, int64_t length)
{
        enum { OURS = 3 };
        struct h2_stream *s = from_exchange(exchange);
        struct connection *c = s->connection;
        nghttp2_nv *nv = arena_new(&s->arena, nghttp2_nv, count + OURS);
        const struct http_headers given = { .items = (struct http_header *)(uintptr_t)headers,
                                            .count = count };
        size_t n = 0;

        if (s->closed)
                return 0;
        struct str code = arena_printf(&s->arena, "%03u", status);
        if (!nv || !code.data)
                return -ENOMEM;
        nv[n++] = http2_field(STR(":status"), code);
        int r = http2_fields_append(&s->arena, headers, count, nv, &n);
        if (r < 0)
                return r;
        if (!http_headers_get(&given, STR("date")).data)
                nv[n++] = http2_field(STR("date"), http_server_date(exchange->server));
        s->no_body =
                str_equal(exchange->request.method, STR("HEAD")) || status == 204 || status == 304;
        s->left = length;
        if (length >= 0 && status != 204 && status != 304) {
                struct str text = arena_printf(&s->arena, "%lld", (long long)length);
                if (!text.data)
                        return -ENOMEM;
                nv[n++] = http2_field(STR("content-length"), text);
        }
        nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_answer };
        return nghttp2_submit_response(c->session, s->id, nv, n, s->no_body ? NULL : &provider) == 0
                       ? 0
                       : -ENOMEM;
}

static void resume(struct h2_stream *s)
{
        if (s->deferred) {
                s->deferred = false;
                (void)nghttp2_session_resume_data(s->connection->session, s->id);
        }
        flush(s->connection);
}

static void reset(struct h2_stream *s, uint32_t code)
{
        (void)nghttp2_submit_rst_stream(s->connection->session, NGHTTP2_FLAG_NONE, s->id, code);
        flush(s->connection);
}

static void exchange_send(struct http_exchange *exchange, const struct stream_piece *pieces,
                          size_t count)
{
        struct h2_stream *s = from_exchange(exchange);
        size_t total = 0;

        for (size_t i = 0; i < count; i++)
                total += pieces[i].data.length;
        if (s->closed || s->no_body || total == 0) {
                stream_release_pieces(pieces, count);
                return;
        }
        if (s->left >= 0) {
                if (total > (uint64_t)s->left) {
                        log_error("an answer to %.*s was longer than announced",
                                  STR_FORMAT(exchange->request.path));
                        stream_release_pieces(pieces, count);
                        exchange->refused = true;
                        return;
                }
                s->left -= (int64_t)total;
        }
        exchange->sent += total;
        if (s->queue.pending == 0)
                s->progress_ms = now_ms(s->connection);
        for (size_t i = 0; i < count; i++) {
                if (pieces[i].data.length == 0) {
                        stream_release_pieces(&pieces[i], 1);
                } else if (piece_queue_append(&s->queue, &pieces[i], 0) < 0) {
                        stream_release_pieces(pieces + i + 1, count - i - 1);
                        exchange->refused = true;
                        s->left = 1;
                        return;
                }
        }
        resume(s);
}

static void exchange_flush(struct http_exchange *exchange)
{
        flush(from_exchange(exchange)->connection);
}

/* The peer need not send the rest of a body that has been answered (RFC 9113 8.1). */
static void stop_request(struct h2_stream *s)
{
        if (!s->request_ended && !s->closed)
                (void)nghttp2_submit_rst_stream(s->connection->session, NGHTTP2_FLAG_NONE, s->id,
                                                NGHTTP2_NO_ERROR);
}

static int keep_trailers(struct h2_stream *s, const struct http_header *trailers, size_t count)
{
        s->trailers = arena_new(&s->arena, struct http_header, count);
        if (!s->trailers)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                s->trailers[i].name = arena_str(&s->arena, trailers[i].name);
                s->trailers[i].value = arena_str(&s->arena, trailers[i].value);
                if (!s->trailers[i].name.data || !s->trailers[i].value.data)
                        return -ENOMEM;
        }
        s->trailer_count = count;
        return 0;
}

static void exchange_end(struct http_exchange *exchange, const struct http_header *trailers,
                         size_t count)
{
        struct h2_stream *s = from_exchange(exchange);
        int r = 0;

        http_exchange_close(exchange);
        if (s->closed)
                return;
        if (s->left > 0 && !s->no_body) {
                log_error("an answer to %.*s was shorter than announced",
                          STR_FORMAT(exchange->request.path));
                r = -EPROTO;
        } else if (count > 0 && !s->no_body) {
                r = keep_trailers(s, trailers, count);
        }
        if (r < 0) {
                piece_queue_clear(&s->queue);
                reset(s, NGHTTP2_INTERNAL_ERROR);
                return;
        }
        s->answer_ended = true;
        resume(s);
}

static void exchange_abort(struct http_exchange *exchange)
{
        struct h2_stream *s = from_exchange(exchange);

        http_exchange_close(exchange);
        if (s->closed)
                return;
        piece_queue_clear(&s->queue);
        reset(s, NGHTTP2_INTERNAL_ERROR);
}

static size_t exchange_pending(const struct http_exchange *exchange)
{
        const struct h2_stream *s = from_exchange(exchange);

        return s->queue.pending;
}

static bool exchange_is_congested(struct http_exchange *exchange)
{
        struct h2_stream *s = from_exchange(exchange);

        if (s->queue.pending > STREAM_QUEUE_HIGH)
                s->drain_owed = true;
        return s->drain_owed;
}

/* ---- bodies of requests ---- */

static void deliver_end(struct h2_stream *s)
{
        if (!s->request_ended || s->end_delivered || s->paused || s->body.length > 0)
                return;
        s->end_delivered = true;
        http_exchange_deliver_end(&s->exchange);
}

static void send_continue(struct h2_stream *s)
{
        nghttp2_nv nv = http2_field(STR(":status"), STR("100"));

        if (!s->exchange.request.expects_continue || s->continue_sent || s->paused ||
            s->exchange.begun || !s->exchange.active || s->closed || s->request_ended)
                return;
        s->continue_sent = true;
        (void)nghttp2_submit_headers(s->connection->session, NGHTTP2_FLAG_NONE, s->id, NULL, &nv, 1,
                                     NULL);
}

static void deliver_kept(struct h2_stream *s)
{
        struct buffer body = s->body;

        if (s->closed || s->paused || !s->head_done)
                return;
        s->body = (struct buffer){};
        if (body.length > 0) {
                (void)nghttp2_session_consume_stream(s->connection->session, s->id, body.length);
                http_exchange_deliver(&s->exchange, buffer_str(&body));
                buffer_deinit(&body);
        }
        send_continue(s);
        deliver_end(s);
}

static void exchange_pause(struct http_exchange *exchange, bool paused)
{
        struct h2_stream *s = from_exchange(exchange);

        s->paused = paused;
        s->read_at_ms = now_ms(s->connection);
        if (!paused)
                schedule_stream(s);
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
};

/* Sends what has come up, and closes what has nothing more to do. */
static void after_work(struct connection *c)
{
        flush(c);
        if (c->closed)
                return;
        if (c->flooded || c->broken)
                close_connection(c, c->flooded ? -EPROTO : -ENOMEM);
        else if (c->goaway_sent && c->stream_count == 0)
                stream_shutdown(c->stream);
}

/* Work that waited for the loop: resumed bodies, writers to be told, streams that have ended. */
static void run_task(struct net_task *task)
{
        struct connection *c = container_of(task, struct connection, task);

        while (!c->closed && !list_is_empty(&c->ready)) {
                struct h2_stream *s = list_entry(c->ready.next, struct h2_stream, ready_link);
                list_remove(&s->ready_link);
                if (s->closed) {
                        retire(s, -ECONNRESET);
                        continue;
                }
                if (s->drain_owed && s->queue.pending <= STREAM_QUEUE_LOW) {
                        s->drain_owed = false;
                        http_exchange_deliver_drain(&s->exchange);
                }
                deliver_kept(s);
        }
        if (c->closed)
                return;
        free_dead(c);
        after_work(c);
}

/* ---- what nghttp2 tells ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
        struct connection *c = user;

        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        struct h2_stream *s = calloc(1, sizeof(*s));
        if (!s)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        s->connection = c;
        s->id = frame->hd.stream_id;
        piece_queue_init(&s->queue);
        list_init(&s->ready_link);
        s->begun_ms = s->read_at_ms = s->progress_ms = now_ms(c);
        s->exchange = (struct http_exchange){
                .arena = &s->arena,
                .connection = c->stream,
                .tag = c->base.tag,
                .ops = &exchange_ops,
        };
        s->exchange.request.version = 20;
        list_append(&c->streams, &s->link);
        c->stream_count++;
        (void)nghttp2_session_set_stream_user_data(session, s->id, s);
        return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *user)
{
        struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        struct http_request_head *head = s ? &s->exchange.request : NULL;

        (void)flags;
        (void)user;
        /* After the head: trailers, which nobody reads. */
        if (!s || s->head_done || s->refuse_status)
                return 0;
        s->head_size += name_length + value_length;
        if (s->head_size > LIMIT_HEAD) {
                s->refuse_status = 431;
                return 0;
        }
        struct str n = arena_str(&s->arena, (struct str){ (const char *)name, name_length });
        struct str v = arena_str(&s->arena, (struct str){ (const char *)value, value_length });
        if (!n.data || !v.data)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        if (str_equal(n, STR(":method")))
                head->method = v;
        else if (str_equal(n, STR(":path")))
                head->target = v;
        else if (str_equal(n, STR(":authority")))
                head->authority = v;
        else if (n.length > 0 && n.data[0] != ':') {
                int r = http_headers_add(&head->headers, &s->arena, n, v);
                if (r == -E2BIG)
                        s->refuse_status = 431;
                else if (r < 0)
                        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        return 0;
}

/* Fills in what HTTP/1 reads off the request line. Returns whether the head is one that we take. */
static bool complete_head(struct h2_stream *s)
{
        struct http_request_head *head = &s->exchange.request;
        struct str length = http_headers_get(&head->headers, STR("content-length"));
        uint64_t number;

        if (head->authority.length == 0)
                head->authority = http_headers_get(&head->headers, STR("host"));
        if (!http_is_token(head->method) || !http_is_authority(head->authority))
                return false;
        if (str_equal(head->method, STR("CONNECT")))
                head->target = head->authority;
        if (!http_is_target(head->target))
                return false;
        str_cut(head->target, '?', &head->path, &head->query);
        head->content_length = s->request_ended ? 0 : HTTP_LENGTH_UNKNOWN;
        if (length.data) {
                if (str_to_u64(length, INT64_MAX, &number) < 0)
                        return false;
                head->content_length = (int64_t)number;
        }
        head->expects_continue =
                !s->request_ended &&
                str_equal_ignoring_case(http_headers_get(&head->headers, STR("expect")),
                                        STR("100-continue"));
        return true;
}

/* An answer of ours to what never gets to the handler. */
static void refuse_head(struct h2_stream *s, unsigned status)
{
        _cleanup_buffer_ struct buffer body = {};
        struct http_server *server = s->connection->base.server;
        struct http_header type = { STR("Content-Type"), STR_EMPTY };
        struct str reason = http_reason(status);

        server->counters.refused++;
        server->counters.exchanges++;
        s->exchange.server = server;
        s->exchange.active = true;
        type.value = http_server_render_error(server, status, reason, &body);
        http_exchange_respond(&s->exchange, status, &type, 1,
                              (struct stream_piece){ buffer_str(&body) });
}

static void take_head(struct h2_stream *s)
{
        s->head_done = true;
        if (s->refuse_status || !complete_head(s)) {
                refuse_head(s, s->refuse_status ? s->refuse_status : 400);
                return;
        }
        http_exchange_open(&s->exchange, &s->connection->base);
        if (s->exchange.active)
                send_continue(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
        struct connection *c = user;
        struct h2_stream *s;

        if (http2_flood_add(&c->flood, &frame->hd, now_ms(c))) {
                log_warning("an HTTP/2 peer sends nothing but trouble: closing its connection");
                c->flooded = true;
                (void)nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
                return 0;
        }
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
                return 0;
        s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (!s)
                return 0;
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                s->request_ended = true;
        if (frame->hd.type == NGHTTP2_HEADERS && !s->head_done)
                take_head(s);
        if (!s->closed)
                deliver_end(s);
        return 0;
}

static int on_body(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t length, void *user)
{
        struct connection *c = user;
        struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

        (void)flags;
        /* The connection's window stays open for other streams; a paused one stops by its own. */
        (void)nghttp2_session_consume_connection(session, length);
        if (!s || !s->exchange.active) {
                (void)nghttp2_session_consume_stream(session, id, length);
                return 0;
        }
        s->read_at_ms = now_ms(c);
        if (s->paused || s->body.length > 0) {
                if (buffer_append(&s->body, data, length) < 0)
                        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                return 0;
        }
        (void)nghttp2_session_consume_stream(session, id, length);
        http_exchange_deliver(&s->exchange, (struct str){ (const char *)data, length });
        return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
        struct h2_stream *s;

        (void)user;
        if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
            !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (s)
                stop_request(s);
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
        struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

        (void)code;
        (void)user;
        if (!s)
                return 0;
        /* The handler may be calling us just now: it is told from the loop. */
        s->closed = true;
        piece_queue_clear(&s->queue);
        schedule_stream(s);
        return 0;
}

/* ---- time ---- */

static void check_streams(struct connection *c)
{
        const struct http_server_options *options = &c->base.server->options;
        struct h2_stream *s;
        uint64_t now = now_ms(c);

        list_for_each (s, &c->streams, link) {
                if (s->written != s->written_before || s->queue.pending == 0) {
                        s->written_before = s->written;
                        s->progress_ms = now;
                }
                bool waits_for_body = s->head_done && !s->request_ended && !s->paused &&
                                      s->exchange.active && !s->exchange.begun;
                if ((!s->head_done && now - s->begun_ms >= options->head_timeout_ms) ||
                    now - s->progress_ms >= options->write_timeout_ms) {
                        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id,
                                                        NGHTTP2_CANCEL);
                } else if (waits_for_body && now - s->read_at_ms >= options->body_timeout_ms) {
                        http_exchange_refuse(&s->exchange, 408, STR("The body took too long."),
                                             -ETIMEDOUT);
                        return;
                }
        }
}

static void tick(struct net_timer *timer)
{
        struct connection *c = container_of(timer, struct connection, timer);
        const struct http_server_options *options = &c->base.server->options;
        uint64_t now = now_ms(c), pending = stream_pending(c->stream);
        uint64_t taken = c->given - MIN(c->given, pending);

        if (pending == 0 || taken != c->taken)
                c->progress_ms = now;
        c->taken = taken;
        if (now - c->progress_ms >= options->write_timeout_ms) {
                close_connection(c, -ETIMEDOUT);
                return;
        }
        if (c->stream_count == 0 && now - c->idle_ms >= options->idle_timeout_ms)
                (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
        if (c->stream_count == 0 && now - c->idle_ms >= options->idle_timeout_ms + TICK_MS) {
                close_connection(c, -ETIMEDOUT);
                return;
        }
        check_streams(c);
        flush(c);
        if (!c->closed)
                net_timer_start(c->base.server->loop, &c->timer,
                                MIN((uint32_t)TICK_MS, options->body_timeout_ms), tick);
}

/* ---- the connection ---- */

static void take_data(struct connection *c, struct str data)
{
        c->in_session = true;
        ssize_t r = nghttp2_session_mem_recv(c->session, (const uint8_t *)data.data, data.length);
        c->in_session = false;
        if (r < 0) {
                /* It has queued a GOAWAY that says why. */
                flush(c);
                close_connection(c, -EPROTO);
                return;
        }
        after_work(c);
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        (void)stream;
        take_data(user, data);
}

static void on_drain(struct stream *stream, void *user)
{
        (void)stream;
        flush(user);
}

static void on_end(struct stream *stream, void *user)
{
        (void)stream;
        close_connection(user, -ECONNRESET);
}

static void on_close(struct stream *stream, void *user, int error)
{
        (void)stream;
        close_connection(user, error < 0 ? error : -ECONNRESET);
}

static const struct stream_callbacks stream_callbacks = {
        .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close
};

static void connection_drain(struct http_connection *base)
{
        struct connection *c = container_of(base, struct connection, base);
        int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);

        if (c->stream_count == 0) {
                (void)nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
                flush(c);
                close_connection(c, -ECANCELED);
                return;
        }
        c->goaway_sent = true;
        (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
        flush(c);
}

static void connection_kill(struct http_connection *base, int error)
{
        close_connection(container_of(base, struct connection, base), error);
}

static const struct http_connection_ops connection_ops = { connection_drain, connection_kill };

static int new_session(struct connection *c)
{
        const nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
                { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_HEAD },
        };
        nghttp2_session_callbacks *callbacks = NULL;
        nghttp2_option *option = NULL;
        int r = nghttp2_session_callbacks_new(&callbacks);

        if (r == 0)
                r = nghttp2_option_new(&option);
        if (r == 0) {
                nghttp2_option_set_no_auto_window_update(option, 1);
                nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                                                        on_begin_headers);
                nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
                nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
                nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_body);
                nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
                nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
                r = nghttp2_session_server_new2(&c->session, callbacks, c, option);
        }
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        if (r == 0)
                r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                            ARRAY_SIZE(settings));
        if (r == 0)
                r = nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                          CONNECTION_WINDOW);
        return r == 0 ? 0 : -ENOMEM;
}

static int serve(struct http_server *server, struct stream *stream, int tag, struct str leftover)
{
        struct connection *c = calloc(1, sizeof(*c));

        if (!c || (c->stream = stream, new_session(c)) < 0) {
                if (c)
                        nghttp2_session_del(c->session);
                free(c);
                stream_close(stream);
                return -ENOMEM;
        }
        list_init(&c->streams);
        list_init(&c->ready);
        list_init(&c->dead);
        c->task.run = run_task;
        c->idle_ms = c->progress_ms = c->flood.since_ms = now_ms(c);
        http_connection_join(&c->base, server, tag, &connection_ops);
        net_timer_start(server->loop, &c->timer,
                        MIN((uint32_t)TICK_MS, server->options.body_timeout_ms), tick);
        stream_start(stream, &stream_callbacks, c);
        take_data(c, leftover);
        return 0;
}

const struct http_protocol http2_protocol = { serve };
