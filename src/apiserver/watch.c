// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "base/random.h"
#include "json/edit.h"
#include "json/writer.h"

/*
 * WATCH: first, if that was asked for, what is there as ADDED (in pieces), then the log from that
 * revision on. Nothing is queued for a slow client: the cursor waits where it is, and a client that
 * the log has overtaken is told 410.
 */
enum {
        PIECE_NS = 500 * 1000,
        BOOKMARK_MS = 60 * 1000,
        LAST_BOOKMARK_MS = 2 * 1000, /* before the end */
        TIMEOUT_SECONDS = 30 * 60,   /* without timeoutSeconds: this to twice this */
};

struct watching {
        struct storage_watch base;
        struct api_call *call;
        struct storage_list list; /* while the initial state is sent */
        struct net_task task;
        struct net_timer timer;
        struct buffer text;
        struct stream_piece pieces[HTTP_PIECES_MAX]; /* of events that go out together */
        size_t piece_count;
        uint64_t deadline_ms, next_bookmark_ms;
        bool listing, started;
        bool announce;     /* the end of the initial state, by a bookmark */
        bool columns_told; /* Table: only the first event has them */
        uint64_t told;     /* revision of the last bookmark */
};

static struct watching *watching_of(struct storage_watch *base)
{
        return container_of(base, struct watching, base);
}

static void watching_free(struct api_call *call)
{
        struct watching *w = call->stream;

        if (w->listing)
                storage_list_end(&w->list);
        if (w->started)
                storage_watch_stop(&w->base);
        net_task_cancel(&w->task);
        net_timer_stop(&w->timer);
        stream_release_pieces(w->pieces, w->piece_count);
        buffer_deinit(&w->text);
        call->server->counters.watches--;
        call->stream = NULL;
        call->stream_end = NULL;
        call->drain = NULL;
        free(w);
}

/* What was told since the last time, in one piece. */
static void send_pieces(struct watching *w)
{
        size_t count = w->piece_count;

        w->piece_count = 0;
        if (count > 0)
                http_exchange_send(w->call->exchange, w->pieces, count);
}

/* Ends the stream in order. */
static void finish(struct watching *w)
{
        struct api_call *call = w->call;
        struct http_exchange *exchange = call->exchange;

        send_pieces(w);
        watching_free(call);
        api_call_release(call);
        http_exchange_end(exchange, NULL, 0);
}

/* Cuts it off: the client starts again. */
static void cut(struct watching *w)
{
        struct api_call *call = w->call;
        struct http_exchange *exchange = call->exchange;

        watching_free(call);
        api_call_release(call);
        http_exchange_abort(exchange);
}

/* ---- events ---- */

static void release_doc(void *user)
{
        json_doc_unref(user);
}

static struct str event_head(const char *type)
{
        switch (type[0]) {
        case 'A':
                return STR("{\"type\":\"ADDED\",\"object\":");
        case 'M':
                return STR("{\"type\":\"MODIFIED\",\"object\":");
        default:
                return STR("{\"type\":\"DELETED\",\"object\":");
        }
}

/* An object as it is stored, uncopied; else rendered. */
static int send_event(struct watching *w, const char *type, struct json_doc *doc)
{
        struct api_call *call = w->call;
        struct stream_piece pieces[3] = { { event_head(type) }, {}, { STR("}\n") } };
        int r;

        if (call->form == FORM_OBJECT) {
                struct json_doc *converted;
                struct error error = {};
                r = render_convert(call->resource, doc, call->version->name, &error, &converted);
                if (r < 0)
                        return r;
                pieces[1] =
                        (struct stream_piece){ json_doc_text(converted), release_doc, converted };
                memcpy(w->pieces + w->piece_count, pieces, sizeof(pieces));
                w->piece_count += ARRAY_SIZE(pieces);
                if (w->piece_count + ARRAY_SIZE(pieces) > HTTP_PIECES_MAX)
                        send_pieces(w);
                return 0;
        }
        buffer_clear(&w->text);
        r = render_single(call, doc, !w->columns_told, &w->text);
        if (r < 0)
                return r;
        w->columns_told = true;
        pieces[1] = (struct stream_piece){ buffer_str(&w->text) };
        http_exchange_send(call->exchange, pieces, 3);
        return 0;
}

static void send_text(struct watching *w)
{
        send_pieces(w);
        http_exchange_send(w->call->exchange, &(struct stream_piece){ buffer_str(&w->text) }, 1);
}

static int send_bookmark(struct watching *w, uint64_t revision, bool initial_end)
{
        struct api_call *call = w->call;
        struct json_writer writer;
        struct str kind = call->resource->kind, version;
        char text[24];

        snprintf(text, sizeof(text), "%llu", (unsigned long long)revision);
        version = api_group_version(call->arena, call->resource->group, call->version->name);
        if (call->form != FORM_OBJECT) {
                version = STR("meta.k8s.io/v1");
                kind = call->form == FORM_TABLE ? STR("Table") : STR("PartialObjectMetadata");
        }
        buffer_clear(&w->text);
        json_writer_init(&writer, &w->text);
        json_begin_object(&writer);
        json_field_string(&writer, "type", STR("BOOKMARK"));
        json_field_object(&writer, "object");
        json_field_string(&writer, "kind", kind);
        json_field_string(&writer, "apiVersion", version);
        json_field_object(&writer, "metadata");
        json_field_string(&writer, "resourceVersion", str_from(text));
        if (initial_end) {
                json_field_object(&writer, "annotations");
                json_field_string(&writer, "k8s.io/initial-events-end", STR("true"));
                json_end_object(&writer);
        }
        json_end_object(&writer);
        if (call->form == FORM_TABLE) {
                json_field_array(&writer, "columnDefinitions");
                json_end_array(&writer);
                json_field_array(&writer, "rows");
                json_end_array(&writer);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0 || buffer_append_char(&w->text, '\n') < 0)
                return -ENOMEM;
        send_text(w);
        w->told = revision;
        return 0;
}

/* {"type":"ERROR"} with the Status, and the end. */
static void fail(struct watching *w, struct kube_status status)
{
        buffer_clear(&w->text);
        if (buffer_append_str(&w->text, STR("{\"type\":\"ERROR\",\"object\":")) < 0 ||
            kube_status_write(&status, &w->text) < 0 ||
            buffer_append_str(&w->text, STR("}\n")) < 0) {
                cut(w);
                return;
        }
        send_text(w);
        finish(w);
}

static void fail_expired(struct watching *w, uint64_t revision)
{
        fail(w,
             kube_status_expired(w->call->arena, "too old resource version: %llu (%llu)",
                                 (unsigned long long)revision,
                                 (unsigned long long)storage_revision(w->call->server->storage)));
}

static bool on_event(struct storage_watch *base, const struct storage_event *event)
{
        struct watching *w = watching_of(base);
        bool before = event->before && select_matches(w->call, event->before);
        bool after = event->after && select_matches(w->call, event->after);
        int r = 0;

        if (after) {
                r = send_event(w, before ? "MODIFIED" : "ADDED", event->after);
        } else if (before && !event->after) {
                r = send_event(w, "DELETED", event->last);
        } else if (before) {
                _cleanup_doc_ struct json_doc *last = NULL;
                /* It ceased to match at that revision. */
                r = storage_stamp(event->before, event->revision, &last);
                if (r == 0)
                        r = send_event(w, "DELETED", last);
        }
        if (r < 0) {
                cut(w);
                return false;
        }
        return !http_exchange_is_congested(w->call->exchange);
}

static void on_flush(struct storage_watch *base)
{
        send_pieces(watching_of(base));
}

static void on_end(struct storage_watch *base, enum storage_watch_end why)
{
        struct watching *w = watching_of(base);

        w->started = false;
        if (why == STORAGE_WATCH_EXPIRED)
                fail_expired(w, base->position);
        else
                finish(w);
}

/* ---- time ---- */

static void on_timer(struct net_timer *timer);

static void arm_timer(struct watching *w)
{
        uint64_t now = net_loop_now_ms(w->call->server->loop);
        uint64_t next = w->call->options.bookmarks ? MIN(w->next_bookmark_ms, w->deadline_ms)
                                                   : w->deadline_ms;

        net_timer_start(w->call->server->loop, &w->timer, next > now ? next - now : 0, on_timer);
}

static void on_timer(struct net_timer *timer)
{
        struct watching *w = container_of(timer, struct watching, timer);
        uint64_t now = net_loop_now_ms(w->call->server->loop);

        if (now >= w->deadline_ms) {
                finish(w);
                return;
        }
        if (now >= w->next_bookmark_ms) {
                uint64_t last = w->deadline_ms > LAST_BOOKMARK_MS
                                        ? w->deadline_ms - LAST_BOOKMARK_MS
                                        : w->deadline_ms;
                w->next_bookmark_ms = now + BOOKMARK_MS;
                if (now < last && w->next_bookmark_ms > last)
                        w->next_bookmark_ms = last;
                if (w->started && !http_exchange_is_congested(w->call->exchange) &&
                    send_bookmark(w, storage_watch_position(&w->base), false) < 0) {
                        cut(w);
                        return;
                }
        }
        arm_timer(w);
}

/* ---- the beginning ---- */

static void start_log(struct watching *w, uint64_t revision)
{
        int r = storage_watch_start(&w->base, revision);

        if (r == -ESTALE)
                fail_expired(w, revision);
        else if (r < 0)
                fail(w, kube_status_timeout(
                                w->call->arena, "Too large resource version: %llu, current: %llu",
                                (unsigned long long)revision,
                                (unsigned long long)storage_revision(w->call->server->storage)));
        else
                w->started = true;
}

/* Sends a piece of the initial state. */
static void run_list(struct net_task *task)
{
        struct watching *w = container_of(task, struct watching, task);
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS, revision = w->list.revision;
        struct json_doc *doc;
        int r;

        do {
                r = storage_list_next(&w->list, &doc);
                if (r == 1 && select_matches(w->call, doc) &&
                    (w->base.name.length == 0 ||
                     json_string_is(json_get(json_root(doc), "metadata", "name"), w->base.name)) &&
                    send_event(w, "ADDED", doc) < 0)
                        r = -ENOMEM;
                if (r == 1 && http_exchange_is_congested(w->call->exchange)) {
                        send_pieces(w);
                        return; /* on_drain goes on */
                }
        } while (r == 1 && clock_monotonic_ns() < deadline);
        send_pieces(w);
        if (r == 1) {
                net_loop_defer(w->call->server->loop, &w->task);
                return;
        }
        storage_list_end(&w->list);
        w->listing = false;
        if (r == -ESTALE) {
                fail_expired(w, revision);
                return;
        }
        if (r < 0 || (w->announce && send_bookmark(w, revision, true) < 0)) {
                cut(w);
                return;
        }
        start_log(w, revision);
}

static void on_drain(struct api_call *call)
{
        struct watching *w = call->stream;

        if (w->listing) {
                if (!net_task_is_queued(&w->task))
                        net_loop_defer(call->server->loop, &w->task);
        } else if (w->started) {
                storage_watch_resume(&w->base);
        }
}

/* Returns 0, or -EINVAL with `status`. */
static int check_options(struct api_call *call, struct kube_status *status)
{
        const struct api_options *options = &call->options;

        if (select_check(call, status) < 0)
                return -EINVAL;
        if (options->has_send_initial && options->match != MATCH_NOT_OLDER) {
                *status = kube_status_bad_request(call->arena, "sendInitialEvents requires "
                                                               "resourceVersionMatch=NotOlderThan");
                return -EINVAL;
        }
        if (options->match != MATCH_UNSET && !options->has_send_initial) {
                *status = kube_status_bad_request(call->arena,
                                                  "resourceVersionMatch is forbidden for watch "
                                                  "unless sendInitialEvents is provided");
                return -EINVAL;
        }
        return 0;
}

static uint64_t lifetime_ms(const struct api_options *options)
{
        unsigned char random[2];

        if (options->timeout_seconds > 0)
                return MIN(options->timeout_seconds, (uint64_t)24 * 3600) * 1000;
        random_bytes(random, sizeof(random));
        return (TIMEOUT_SECONDS + (uint64_t)(random[0] << 8 | random[1]) % TIMEOUT_SECONDS) * 1000;
}

/* A watch of one object says so by its path or by fieldSelector=metadata.name=. */
static struct str only_name(const struct api_call *call)
{
        struct str name = call->path.name;

        if (name.length == 0)
                field_selector_requires(&call->options.fields, STR("metadata.name"), &name);
        return name;
}

static void begin(struct watching *w)
{
        struct api_call *call = w->call;
        struct http_header headers[API_HEADERS_MAX];
        size_t count = api_call_headers(call, "application/json", headers);
        bool from_now = !call->options.has_resource_version || call->options.resource_version == 0;
        bool initial = call->options.has_send_initial ? call->options.send_initial : from_now;
        int r;

        http_exchange_begin(call->exchange, 200, headers, count, HTTP_LENGTH_UNKNOWN);
        http_exchange_flush(call->exchange);
        w->next_bookmark_ms = net_loop_now_ms(call->server->loop) + BOOKMARK_MS;
        w->deadline_ms = net_loop_now_ms(call->server->loop) + lifetime_ms(&call->options);
        arm_timer(w);
        if (!initial) {
                start_log(w, from_now ? storage_revision(call->server->storage)
                                      : call->options.resource_version);
                return;
        }
        w->announce = call->options.send_initial && call->options.bookmarks;
        r = storage_list_begin(&w->list, call->resource->storage, call->path.name_space, 0,
                               STR_EMPTY, STR_EMPTY);
        if (r < 0) {
                cut(w);
                return;
        }
        w->listing = true;
        run_list(&w->task);
}

void api_watch(struct api_call *call)
{
        struct kube_status status;
        struct watching *w;

        if (check_options(call, &status) < 0) {
                api_call_fail(call, &status);
                return;
        }
        w = calloc(1, sizeof(*w));
        if (!w) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        w->call = call;
        w->task.run = run_list;
        w->base.event = on_event;
        w->base.flush = on_flush;
        w->base.end = on_end;
        w->base.type = call->resource->storage;
        w->base.name_space = call->path.name_space;
        w->base.name = only_name(call);
        call->stream = w;
        call->stream_end = watching_free;
        call->drain = on_drain;
        call->server->counters.watches++;
        begin(w);
}
