// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/log.h"
#include "net/http2.h"
#include "net/http2_common.h"
#include "net/http_client_connection.h"
#include "net/piece_queue.h"

enum {
        STREAM_WINDOW = 1024 * 1024, /* what a paused call may have waiting */
        CONNECTION_WINDOW = 16 * 1024 * 1024,
        FIELDS_OURS = 5,
};

struct session {
        struct http_client_session base;
        struct net_loop *loop;
        struct stream *stream;
        nghttp2_session *nghttp2;
        struct list streams; /* all that nghttp2 may still tell of */
        struct list ready;   /* of these: run_task() has something to do with them */
        struct list dead;    /* to be freed when we are back in the loop */
        unsigned stream_count;
        struct net_task task; /* sends, resumes, frees `dead`, or frees the session */
        struct net_timer timer;
        struct buffer out;
        struct http2_flood flood;
        uint64_t read_ms;  /* when a byte last came */
        uint64_t idle_ms;  /* since when there is no stream; 0: there are some */
        uint64_t asked_ms; /* a PING went out then and nothing has come since; 0: none */
        bool in_nghttp2;   /* which must not be entered again */
        bool doubted;      /* a call was given up for silence: none are begun until a byte comes */
        bool flooded;
        bool retired;
        bool closed;
};

/* One call. */
struct h2_stream {
        struct list link;
        struct list ready_link; /* points to itself: not in `ready` */
        struct session *session;
        struct http_call *call; /* NULL when that is over */
        int32_t id;
        uint64_t begun_ms;
        size_t head_size;
        struct http_headers trailers;
        bool head_sent;
        bool head_done; /* the final one: what follows are trailers */
        bool withheld;  /* may_send said no */
        bool too_large;
        bool answer_ended;
        bool closed; /* nghttp2 knows it no more */
        uint32_t code;

        struct buffer body; /* came while the call had paused */

        struct piece_queue queue; /* of the request: what nghttp2 has not taken yet */
        bool request_ended;
        bool deferred; /* nghttp2 waits for nghttp2_session_resume_data() */
        bool drain_owed;
        const struct http_header *request_trailers; /* in the call's arena */
        size_t request_trailer_count;
};

static uint64_t now_ms(const struct session *c)
{
        return net_loop_now_ms(c->loop);
}

static void schedule(struct session *c)
{
        if (!c->closed)
                net_loop_defer(c->loop, &c->task);
}

static void schedule_stream(struct h2_stream *s)
{
        if (list_is_empty(&s->ready_link))
                list_append(&s->session->ready, &s->ready_link);
        schedule(s->session);
}

/* ---- the end of streams and sessions ---- */

static void free_dead(struct session *c)
{
        while (!list_is_empty(&c->dead)) {
                struct h2_stream *s = list_entry(c->dead.next, struct h2_stream, link);
                list_remove(&s->link);
                buffer_deinit(&s->body);
                free(s);
        }
}

static void detach_call(struct h2_stream *s)
{
        if (!s->call)
                return;
        s->call->stream = NULL;
        s->call->session = NULL;
        s->call = NULL;
}

/* Nobody tells of it any more. Its memory stays until we are back in the loop. */
static void retire_stream(struct h2_stream *s)
{
        struct session *c = s->session;

        detach_call(s);
        list_remove(&s->link);
        list_remove(&s->ready_link);
        list_append(&c->dead, &s->link);
        piece_queue_clear(&s->queue);
        c->stream_count--;
}

static void run_free(struct net_task *task)
{
        struct session *c = container_of(task, struct session, task);

        free_dead(c);
        nghttp2_session_del(c->nghttp2);
        buffer_deinit(&c->out);
        buffer_deinit(&c->base.key);
        free(c);
}

static void fail_call(struct h2_stream *s, enum http_error error, int code)
{
        struct http_call *call = s->call;

        if (call)
                http_call_fail(call, error, code);
}

static enum http_error class_of_close(const struct h2_stream *s, int error)
{
        if (!s->head_sent)
                return HTTP_ERROR_REFUSED;
        if (error == -EPROTO || !s->call)
                return HTTP_ERROR_PROTOCOL;
        return http_call_class_of_reading(s->call, error);
}

static void deliver_kept(struct h2_stream *s)
{
        _cleanup_buffer_ struct buffer body = s->body;

        s->body = (struct buffer){};
        if (body.length == 0)
                return;
        (void)nghttp2_session_consume_stream(s->session->nghttp2, s->id, body.length);
        http_call_take_body(s->call, buffer_str(&body));
}

static void take_end(struct h2_stream *s)
{
        http_call_take_end(s->call, s->trailers.count > 0 ? &s->trailers : NULL);
}

static void deliver_rest(struct h2_stream *s)
{
        deliver_kept(s);
        if (s->call)
                take_end(s);
}

/*
 * Each call learns `error` in its own terms, or has the rest of an answer that is complete, also if
 * it had paused; callbacks may begin and cancel others.
 */
static void close_session(struct session *c, int error)
{
        if (c->closed)
                return;
        c->closed = true;
        list_remove(&c->base.link);
        list_remove(&c->base.all_link);
        net_timer_stop(&c->timer);
        net_task_cancel(&c->task);
        c->task.run = run_free;
        net_loop_defer(c->loop, &c->task);
        stream_close(c->stream);
        c->base.client->counters.http2--;
        while (!list_is_empty(&c->streams)) {
                struct h2_stream *s = list_entry(c->streams.next, struct h2_stream, link);
                if (s->call && s->answer_ended)
                        deliver_rest(s);
                else
                        fail_call(s, class_of_close(s, error), error);
                retire_stream(s);
        }
}

static void retire(struct http_client_session *base)
{
        struct session *c = container_of(base, struct session, base);

        list_remove(&base->link);
        c->retired = true;
        schedule(c);
}

static void close_now(struct http_client_session *base)
{
        close_session(container_of(base, struct session, base), -ECANCELED);
}

/* ---- time ---- */

static void tick(struct net_timer *timer);

static void arm(struct session *c)
{
        const struct http_client_options *options = &c->base.client->options;
        uint64_t now = now_ms(c), at;

        if (c->closed)
                return;
        if (c->asked_ms)
                at = c->asked_ms + options->ping_timeout_ms;
        else if (c->stream_count > 0)
                at = c->read_ms + options->ping_after_ms;
        else
                at = c->idle_ms + options->idle_timeout_ms;
        net_timer_start(c->loop, &c->timer, at > now ? at - now : 0, tick);
}

static void ask_for_life(struct session *c)
{
        if (c->asked_ms)
                return;
        (void)nghttp2_submit_ping(c->nghttp2, NGHTTP2_FLAG_NONE, NULL);
        c->asked_ms = MAX(now_ms(c), UINT64_C(1));
        arm(c);
        schedule(c);
}

static void tick(struct net_timer *timer)
{
        struct session *c = container_of(timer, struct session, timer);
        const struct http_client_options *options = &c->base.client->options;
        uint64_t now = now_ms(c);

        if (c->asked_ms && now - c->asked_ms >= options->ping_timeout_ms) {
                close_session(c, -ETIMEDOUT);
                return;
        }
        if (!c->asked_ms && c->stream_count > 0 && now - c->read_ms >= options->ping_after_ms) {
                ask_for_life(c);
                return;
        }
        if (c->stream_count == 0 && now - c->idle_ms >= options->idle_timeout_ms) {
                retire(&c->base);
                return;
        }
        arm(c);
}

/* ---- sending ---- */

/* Sends what nghttp2 has, as long as the peer takes it. */
static void flush(struct session *c)
{
        if (c->in_nghttp2 || c->closed)
                return;
        c->in_nghttp2 = true;
        while (!stream_is_congested(c->stream)) {
                const uint8_t *data;
                buffer_clear(&c->out);
                while (c->out.length < NET_READ_SIZE) {
                        ssize_t length = nghttp2_session_mem_send(c->nghttp2, &data);
                        if (length < 0 ||
                            (length > 0 && buffer_append(&c->out, data, (size_t)length) < 0)) {
                                c->in_nghttp2 = false;
                                close_session(c, -ENOMEM);
                                return;
                        }
                        if (length == 0)
                                break;
                }
                if (c->out.length == 0)
                        break;
                stream_write_str(c->stream, buffer_str(&c->out));
        }
        c->in_nghttp2 = false;
        buffer_deinit(&c->out);
}

static ssize_t read_request(nghttp2_session *session _unused_, int32_t id _unused_, uint8_t *out,
                            size_t size, uint32_t *flags, nghttp2_data_source *source,
                            void *user _unused_)
{
        struct h2_stream *s = source->ptr;

        if (!s->call)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        size_t done = piece_queue_take(&s->queue, out, size);
        if (s->drain_owed && s->queue.pending <= STREAM_QUEUE_LOW)
                schedule_stream(s);
        if (!s->queue.first && s->request_ended) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (s->request_trailer_count > 0) {
                        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                        if (http2_submit_trailers(s->session->nghttp2, s->id, &s->call->arena,
                                                  s->request_trailers,
                                                  s->request_trailer_count) < 0)
                                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                }
        } else if (done == 0) {
                s->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        return (ssize_t)done;
}

static int fill_fields(struct http_call *call, nghttp2_nv *nv, size_t *n)
{
        const struct http_request *request = call->kept;
        _cleanup_buffer_ struct buffer host = {};
        int64_t length = http_call_content_length(call, request);
        int r = http_call_append_host(&host, request);

        if (r < 0)
                return r;
        struct str authority = arena_str(&call->arena, buffer_str(&host));
        if (!authority.data)
                return -ENOMEM;
        nv[(*n)++] = http2_field(STR(":method"), call->method);
        nv[(*n)++] =
                http2_field(STR(":scheme"), request->origin.filter ? STR("https") : STR("http"));
        nv[(*n)++] = http2_field(STR(":authority"), authority);
        nv[(*n)++] = http2_field(STR(":path"), request->target);
        r = http2_fields_append(&call->arena, request->headers, request->header_count, nv, n);
        if (r < 0 || length < 0)
                return r;
        struct str text = arena_printf(&call->arena, "%lld", (long long)length);
        nv[(*n)++] = http2_field(STR("content-length"), text);
        return text.data ? 0 : -ENOMEM;
}

static bool has_room(struct http_client_session *base)
{
        struct session *c = container_of(base, struct session, base);
        uint32_t most = nghttp2_session_get_remote_settings(
                c->nghttp2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

        return !c->retired && !c->closed && !c->doubted && c->stream_count < most &&
               nghttp2_session_check_request_allowed(c->nghttp2);
}

static int begin(struct http_client_session *base, struct http_call *call)
{
        struct session *c = container_of(base, struct session, base);
        struct h2_stream *s = calloc(1, sizeof(*s));
        nghttp2_nv *nv =
                arena_new(&call->arena, nghttp2_nv, call->kept->header_count + FIELDS_OURS);
        size_t n = 0;
        int r = s && nv ? fill_fields(call, nv, &n) : -ENOMEM;

        if (r < 0) {
                free(s);
                return r;
        }
        s->session = c;
        s->begun_ms = now_ms(c);
        s->request_ended = call->sent;
        s->request_trailers = call->trailers;
        s->request_trailer_count = call->trailer_count;
        s->drain_owed = call->drain_owed;
        call->drain_owed = false;
        list_init(&s->link);
        list_init(&s->ready_link);
        piece_queue_init(&s->queue);
        if (call->outgoing.length > 0)
                r = piece_queue_append(&s->queue,
                                       &(struct stream_piece){ buffer_str(&call->outgoing) }, 0);
        bool has_body = call->outgoing.length > 0 || !call->sent || call->trailer_count > 0;
        nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_request };
        if (r == 0)
                s->id = nghttp2_submit_request(c->nghttp2, NULL, nv, n, has_body ? &provider : NULL,
                                               s);
        if (r < 0 || s->id < 0) {
                piece_queue_clear(&s->queue);
                free(s);
                return -ENOMEM;
        }
        s->call = call;
        call->session = base;
        call->stream = s;
        list_append(&c->streams, &s->link);
        if (c->stream_count++ == 0) {
                c->read_ms = s->begun_ms;
                c->idle_ms = 0;
                arm(c);
        }
        schedule(c);
        if (s->drain_owed)
                schedule_stream(s);
        return 0;
}

static void resume_sending(struct h2_stream *s)
{
        if (s->deferred) {
                s->deferred = false;
                (void)nghttp2_session_resume_data(s->session->nghttp2, s->id);
        }
        schedule(s->session);
}

static void send_pieces(struct http_call *call, const struct stream_piece *pieces, size_t count)
{
        struct h2_stream *s = call->stream;

        for (size_t i = 0; i < count; i++) {
                if (s->closed || pieces[i].data.length == 0) {
                        stream_release_pieces(&pieces[i], 1);
                } else if (piece_queue_append(&s->queue, &pieces[i], 0) < 0) {
                        stream_release_pieces(pieces + i + 1, count - i - 1);
                        http_call_fail_later(call, HTTP_ERROR_MEMORY, -ENOMEM);
                        return;
                }
        }
        resume_sending(s);
}

static void end_request(struct http_call *call, const struct http_header *trailers, size_t count)
{
        struct h2_stream *s = call->stream;

        if (count > 0 && http_call_keep_trailers(call, trailers, count) < 0) {
                http_call_fail_later(call, HTTP_ERROR_MEMORY, -ENOMEM);
                return;
        }
        s->request_trailers = call->trailers;
        s->request_trailer_count = count;
        s->request_ended = true;
        resume_sending(s);
}

static bool is_congested(struct http_call *call)
{
        struct h2_stream *s = call->stream;

        if (s->queue.pending > STREAM_QUEUE_HIGH)
                s->drain_owed = true;
        return s->drain_owed;
}

static void resume(struct http_call *call)
{
        schedule_stream(call->stream);
}

/* Given up after a time of which the server was silent for most: perhaps it is there no more. */
static bool is_suspicious(const struct h2_stream *s)
{
        uint64_t now = now_ms(s->session);

        return !s->answer_ended && now > s->begun_ms &&
               now - s->session->read_ms > (now - s->begun_ms) / 2;
}

static void forget(struct http_call *call)
{
        struct h2_stream *s = call->stream;
        struct session *c = s->session;

        detach_call(s);
        piece_queue_clear(&s->queue);
        buffer_deinit(&s->body);
        if (c->closed)
                return;
        bool is_over =
                s->answer_ended && nghttp2_session_get_stream_local_close(c->nghttp2, s->id) == 1;
        if (s->closed)
                schedule_stream(s);
        else if (!is_over)
                (void)nghttp2_submit_rst_stream(c->nghttp2, NGHTTP2_FLAG_NONE, s->id,
                                                NGHTTP2_CANCEL);
        if (is_suspicious(s)) {
                c->doubted = true;
                ask_for_life(c);
        }
        schedule(c);
}

/* ---- what waits for the loop ---- */

static enum http_error class_of_reset(const struct h2_stream *s)
{
        bool begun = s->call && s->call->begun;

        if (s->too_large || s->code == NGHTTP2_PROTOCOL_ERROR)
                return HTTP_ERROR_PROTOCOL;
        if (!begun && (s->code == NGHTTP2_REFUSED_STREAM || !s->head_sent))
                return HTTP_ERROR_REFUSED;
        return begun ? HTTP_ERROR_EOF : HTTP_ERROR_CLOSED;
}

static void deliver_end(struct h2_stream *s)
{
        if (s->call && s->answer_ended && !s->call->paused && s->body.length == 0)
                take_end(s);
}

static void work_on(struct h2_stream *s)
{
        if (s->call && s->drain_owed && s->queue.pending <= STREAM_QUEUE_LOW) {
                s->drain_owed = false;
                http_call_drained(s->call);
        }
        if (s->call && !s->call->paused)
                deliver_kept(s);
        deliver_end(s);
        if (!s->closed)
                return;
        if (s->call && s->answer_ended)
                return; /* paused: the rest is here, and waits */
        if (s->withheld)
                fail_call(s, HTTP_ERROR_DIAL, -ECANCELED);
        else
                fail_call(s, class_of_reset(s), s->too_large ? -E2BIG : -ECONNRESET);
        retire_stream(s);
}

/* Sends what has come up, and closes what has nothing more to do. */
static void after_work(struct session *c)
{
        flush(c);
        if (c->closed)
                return;
        if (!nghttp2_session_want_read(c->nghttp2) && !nghttp2_session_want_write(c->nghttp2)) {
                close_session(c, -EPROTO);
                return;
        }
        if (c->stream_count == 0 && c->idle_ms == 0) {
                c->idle_ms = MAX(now_ms(c), UINT64_C(1));
                arm(c);
        }
        if (c->stream_count == 0 &&
            (c->retired || !nghttp2_session_check_request_allowed(c->nghttp2))) {
                (void)nghttp2_session_terminate_session(c->nghttp2, NGHTTP2_NO_ERROR);
                flush(c);
                close_session(c, -ECANCELED);
        }
}

static void run_task(struct net_task *task)
{
        struct session *c = container_of(task, struct session, task);

        while (!c->closed && !list_is_empty(&c->ready)) {
                struct h2_stream *s = list_entry(c->ready.next, struct h2_stream, ready_link);
                list_remove(&s->ready_link);
                work_on(s);
        }
        if (c->closed)
                return;
        free_dead(c);
        after_work(c);
}

/* ---- what nghttp2 tells ---- */

static struct h2_stream *find_stream(struct session *c, int32_t id)
{
        struct h2_stream *s;

        list_for_each (s, &c->streams, link)
                if (s->id == id)
                        return s;
        return NULL;
}

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
        return id > 0 ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
        struct session *c = user;
        bool ends_ours = hd->type == NGHTTP2_RST_STREAM && stream_of(session, hd->stream_id);

        if (c->closed || ends_ours || c->flooded || !http2_flood_add(&c->flood, hd, now_ms(c)))
                return 0;
        log_warning("an HTTP/2 server sends nothing but trouble: closing the connection");
        c->flooded = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                            void *user _unused_)
{
        struct h2_stream *s = stream_of(session, frame->hd.stream_id);

        if (s && s->call && !s->head_done) {
                s->call->head =
                        (struct http_response_head){ .version = 20,
                                                     .content_length = HTTP_LENGTH_UNKNOWN };
                s->head_size = 0;
        }
        return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length,
                     uint8_t flags _unused_, void *user _unused_)
{
        struct h2_stream *s = stream_of(session, frame->hd.stream_id);
        uint64_t number;

        if (!s || !s->call || s->too_large)
                return 0;
        struct http_call *call = s->call;
        struct str n = { (const char *)name, name_length };
        struct str v = { (const char *)value, value_length };
        s->head_size += name_length + value_length;
        if (s->head_size > LIMIT_HEAD)
                goto too_large;
        if (str_equal(n, STR(":status"))) {
                if (str_to_u64(v, 999, &number) == 0)
                        call->head.status = (unsigned)number;
                return 0;
        }
        n = arena_str(&call->arena, n);
        v = arena_str(&call->arena, v);
        if (!n.data || !v.data)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        int r = http_headers_add(s->head_done ? &s->trailers : &call->head.headers, &call->arena, n,
                                 v);
        if (r == -E2BIG)
                goto too_large;
        return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;

too_large:
        s->too_large = true;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void take_head(struct h2_stream *s, bool ended)
{
        struct http_response_head *head = &s->call->head;
        struct str length = http_headers_get(&head->headers, STR("content-length"));
        uint64_t number;

        head->reason = http_reason(head->status);
        head->content_length = ended ? 0 : HTTP_LENGTH_UNKNOWN;
        if (length.data && str_to_u64(length, INT64_MAX, &number) == 0)
                head->content_length = (int64_t)number;
        s->head_done = head->status / 100 != 1;
        http_call_take_head(s->call);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user _unused_)
{
        struct h2_stream *s = stream_of(session, frame->hd.stream_id);
        bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

        if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
                return 0;
        if (frame->hd.type == NGHTTP2_HEADERS && s->call && !s->head_done)
                take_head(s, ended);
        if (ended) {
                s->answer_ended = true;
                deliver_end(s);
        }
        return 0;
}

static int on_body(nghttp2_session *session, uint8_t flags _unused_, int32_t id,
                   const uint8_t *data, size_t length, void *user _unused_)
{
        struct h2_stream *s = stream_of(session, id);

        /* The connection's window stays open for other streams; a paused one stops by its own. */
        (void)nghttp2_session_consume_connection(session, length);
        if (!s || !s->call) {
                (void)nghttp2_session_consume_stream(session, id, length);
                return 0;
        }
        if (s->call->paused || s->body.length > 0)
                return buffer_append(&s->body, data, length) < 0
                               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
                               : 0;
        (void)nghttp2_session_consume_stream(session, id, length);
        http_call_take_body(s->call, (struct str){ (const char *)data, length });
        return 0;
}

static bool is_request(const nghttp2_frame *frame)
{
        return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

/* The last moment: from here on the request is on its way. */
static int before_send(nghttp2_session *session _unused_, const nghttp2_frame *frame, void *user)
{
        struct h2_stream *s = is_request(frame) ? find_stream(user, frame->hd.stream_id) : NULL;

        if (!s || !s->call)
                return 0;
        if (s->call->on->may_send && !s->call->on->may_send(s->call->user)) {
                s->withheld = true;
                return NGHTTP2_ERR_CANCEL;
        }
        s->head_sent = true;
        return 0;
}

static void stream_closed(struct h2_stream *s, uint32_t code)
{
        if (s->closed)
                return;
        s->closed = true;
        s->code = code;
        schedule_stream(s);
}

static int on_not_sent(nghttp2_session *session _unused_, const nghttp2_frame *frame,
                       int code _unused_, void *user)
{
        struct h2_stream *s = is_request(frame) ? find_stream(user, frame->hd.stream_id) : NULL;

        if (s)
                stream_closed(s, NGHTTP2_REFUSED_STREAM);
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user _unused_)
{
        struct h2_stream *s = stream_of(session, id);

        /* A call may be in the middle of something just now: it is told from the loop. */
        if (s)
                stream_closed(s, code);
        return 0;
}

/* ---- the connection ---- */

static void on_data(struct stream *stream _unused_, void *user, struct str data)
{
        struct session *c = user;

        c->read_ms = now_ms(c);
        c->asked_ms = 0;
        c->doubted = false;
        c->in_nghttp2 = true;
        ssize_t r = nghttp2_session_mem_recv(c->nghttp2, (const uint8_t *)data.data, data.length);
        c->in_nghttp2 = false;
        if (c->closed)
                return;
        if (r < 0) {
                (void)nghttp2_session_terminate_session(c->nghttp2,
                                                        c->flooded ? NGHTTP2_ENHANCE_YOUR_CALM
                                                                   : NGHTTP2_INTERNAL_ERROR);
                flush(c);
                close_session(c, r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO);
                return;
        }
        arm(c);
        schedule(c);
}

static void on_drain(struct stream *stream _unused_, void *user)
{
        schedule(user);
}

static void on_end(struct stream *stream _unused_, void *user)
{
        close_session(user, -ECONNRESET);
}

static void on_close(struct stream *stream _unused_, void *user, int error)
{
        close_session(user, error < 0 ? error : -ECONNRESET);
}

static const struct stream_callbacks stream_callbacks = {
        .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close
};

static int new_nghttp2(struct session *c)
{
        const nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
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
                nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
                nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks,
                                                                        on_begin_headers);
                nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
                nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
                nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_body);
                nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_send);
                nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
                nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
                r = nghttp2_session_client_new2(&c->nghttp2, callbacks, c, option);
        }
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        if (r == 0)
                r = nghttp2_submit_settings(c->nghttp2, NGHTTP2_FLAG_NONE, settings,
                                            ARRAY_SIZE(settings));
        if (r == 0)
                r = nghttp2_session_set_local_window_size(c->nghttp2, NGHTTP2_FLAG_NONE, 0,
                                                          CONNECTION_WINDOW);
        return r == 0 ? 0 : -ENOMEM;
}

static int open_session(struct http_client *client, struct stream *stream, struct str key,
                        struct http_client_session **ret_session)
{
        struct session *c = calloc(1, sizeof(*c));

        if (!c || new_nghttp2(c) < 0 || buffer_append_str(&c->base.key, key) < 0) {
                if (c)
                        nghttp2_session_del(c->nghttp2);
                free(c);
                stream_close(stream);
                return -ENOMEM;
        }
        c->base.client = client;
        c->loop = client->loop;
        c->base.connection = c->stream = stream;
        c->base.hash = str_fnv1a(key);
        list_init(&c->streams);
        list_init(&c->ready);
        list_init(&c->dead);
        c->task.run = run_task;
        c->read_ms = c->flood.since_ms = now_ms(c);
        /* The newest is used first: others may then become idle. */
        list_append(client->sessions[c->base.hash % HTTP_CLIENT_BUCKETS].next, &c->base.link);
        list_append(&client->all_sessions, &c->base.all_link);
        client->counters.http2++;
        stream_start(stream, &stream_callbacks, c);
        schedule(c);
        *ret_session = &c->base;
        return 0;
}

const struct http_client_protocol http2_client_protocol = {
        .open = open_session,
        .has_room = has_room,
        .begin = begin,
        .send = send_pieces,
        .end = end_request,
        .is_congested = is_congested,
        .resume = resume,
        .forget = forget,
        .retire = retire,
        .close = close_now,
};
