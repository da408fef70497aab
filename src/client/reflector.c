// SPDX-License-Identifier: Apache-2.0
#include "client/reflector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "client/list_decoder.h"
#include "client/list_watch.h"

enum {
        WATCH_SECONDS_LEAST = 300,     /* asked for at random between this and twice of it */
        WATCH_SILENCE_MS = 180 * 1000, /* bookmarks come every minute */
        LIST_SILENCE_MS = 10 * 1000,   /* while a list streams in */
        RELIST_MS = 100,               /* before a list that the handler asks for */
        PAGE_TIMEOUT_MS = 60 * 1000,
};

struct kube_reflector {
        struct list_watch lw;
        struct kube_client *client;
        struct kube_call *call; /* NULL between requests */
        struct net_timer timer;
        struct watch_decoder events;       /* of a watch */
        struct list_decoder items;         /* of a list */
        struct list_watch_failure failure; /* of an ERROR event */
        struct buffer message;             /* of an ERROR event */
        uint64_t begun_ms;
        bool begun; /* this stream was answered */
        bool streaming_list;
        bool relist;   /* at the next step, whatever is under way */
        bool protobuf; /* to be asked for */
        enum kube_reflector_state state;
};

static void step(struct kube_reflector *reflector);

static void set_state(struct kube_reflector *reflector, enum kube_reflector_state state,
                      struct str message)
{
        const struct kube_reflector_options *options = &reflector->lw.options;
        bool changed = reflector->state != state;

        reflector->state = state;
        if ((changed || message.length > 0) && options->on_state)
                options->on_state(options->user, state, message);
}

static void on_timer(struct net_timer *timer)
{
        struct kube_reflector *reflector = container_of(timer, struct kube_reflector, timer);

        if (reflector->relist) {
                if (reflector->call)
                        kube_call_cancel(reflector->call);
                reflector->call = NULL;
                list_watch_restart(&reflector->lw);
        }
        reflector->relist = false;
        step(reflector);
}

/* Of the watch: that a list took long says nothing good of it. */
static uint64_t lasted_ms(const struct kube_reflector *reflector)
{
        struct net_loop *loop = kube_client_loop(reflector->client);

        return reflector->begun && !reflector->lw.listing
                       ? net_loop_now_ms(loop) - reflector->begun_ms
                       : 0;
}

static void go_on(struct kube_reflector *reflector, uint64_t delay_ms)
{
        net_timer_start(kube_client_loop(reflector->client), &reflector->timer, delay_ms, on_timer);
}

static void fail(struct kube_reflector *reflector, struct list_watch_failure failure,
                 struct str message)
{
        enum kube_reflector_state state;

        failure.lasted_ms = lasted_ms(reflector);
        uint64_t delay_ms = list_watch_failed(&reflector->lw, &failure, &state);
        bool bad = state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN;
        set_state(reflector, state, bad ? message : STR_EMPTY);
        go_on(reflector, delay_ms);
}

static void fail_response(struct kube_reflector *reflector, const struct kube_response *response)
{
        struct list_watch_failure failure = { .error = response->error,
                                              .status = response->status,
                                              .retry_after_s = response->retry_after_s,
                                              .silent = response->timed_out && reflector->begun };

        char missing[256];
        const struct kind *kind = reflector->lw.options.kind;
        struct str message = response->message;
        /* The server says no more than that it found nothing. */
        if (response->error == 0 && response->status == 404 && !reflector->begun) {
                snprintf(missing, sizeof(missing),
                         "the API server has no %.*s of version %.*s: is the CRD %.*s.%.*s "
                         "installed, in that version?",
                         STR_FORMAT(kind->plural), STR_FORMAT(kind->version),
                         STR_FORMAT(kind->plural), STR_FORMAT(kind->group));
                message = str_from(missing);
        }
        fail(reflector, failure, message);
}

/* Cannot make anything of what came. */
static void give_up(struct kube_reflector *reflector, int r, const struct error *error,
                    const char *what)
{
        if (reflector->call) {
                /* Whatever it was, JSON has it in another way. */
                if (r == -EBADMSG && kube_call_is_protobuf(reflector->call))
                        reflector->protobuf = false;
                kube_call_cancel(reflector->call);
        }
        reflector->call = NULL;
        fail(reflector, (struct list_watch_failure){ .error = r },
             str_from(r == -ENOMEM  ? "out of memory"
                      : error->code ? error->message
                                    : what));
}

static void note_begin(struct kube_reflector *reflector)
{
        reflector->begun = true;
        reflector->begun_ms = net_loop_now_ms(kube_client_loop(reflector->client));
        list_watch_begun(&reflector->lw);
}

/* ---- lists ---- */

static void on_list_head(void *user, unsigned status _unused_)
{
        note_begin(user);
}

static void on_list_data(void *user, struct str data)
{
        struct kube_reflector *reflector = user;
        struct error error = {};
        int r = list_decoder_feed(&reflector->items, data, &error, list_watch_item, &reflector->lw);

        if (r < 0)
                give_up(reflector, r, &error, "the list's item is unusable");
}

static void on_list_end(void *user, const struct kube_response *response)
{
        _cleanup_doc_ struct json_doc *rest = NULL;
        struct kube_reflector *reflector = user;
        struct error error = {};

        reflector->call = NULL;
        if (!kube_response_ok(response)) {
                fail_response(reflector, response);
                return;
        }
        int r = json_doc_parse(buffer_str(&reflector->items.rest), NULL, NULL, NULL, &rest);
        list_decoder_deinit(&reflector->items);
        list_decoder_init(&reflector->items, 0);
        if (r == 0)
                r = list_watch_page(&reflector->lw, rest);
        if (r < 0)
                give_up(reflector, r, &error, "the answer is no list");
        else
                go_on(reflector, 0);
}

static const struct kube_stream_events list_events = {
        .on_head = on_list_head,
        .on_data = on_list_data,
        .on_end = on_list_end,
};

/* ---- watches ---- */

static void on_stream_head(void *user, unsigned status _unused_)
{
        struct kube_reflector *reflector = user;

        reflector->streaming_list = list_watch_is_streaming_list(&reflector->lw);
        if (kube_call_is_protobuf(reflector->call))
                watch_decoder_expect_protobuf(&reflector->events,
                                              kube_client_protobuf(reflector->client));
        note_begin(reflector);
        if (!reflector->streaming_list)
                set_state(reflector, KUBE_REFLECTOR_WATCHING, STR_EMPTY);
}

static int on_event(void *user, enum watch_type type, struct json_doc *object)
{
        struct kube_reflector *reflector = user;

        if (type == WATCH_ERROR) {
                struct json_value status = json_root(object);
                struct str message = json_string(json_get(status, "message"));
                int64_t retry = json_int64_or(json_get(status, "details", "retryAfterSeconds"), 0);
                buffer_clear(&reflector->message);
                buffer_append_str(&reflector->message, message);
                reflector->failure = (struct list_watch_failure){
                        .status = (unsigned)json_int64_or(json_get(status, "code"), 500),
                        .retry_after_s = retry > 0 && retry < 3600 ? (unsigned)retry : 0,
                };
        }
        return list_watch_event(&reflector->lw, type, object);
}

static void on_stream_data(void *user, struct str data)
{
        struct kube_reflector *reflector = user;
        struct error error = {};
        int r = watch_decoder_feed(&reflector->events, data, &error, on_event, reflector);

        if (r == 0) {
                if (reflector->streaming_list && !reflector->lw.listing) {
                        /* The same stream goes on as a watch, which may be silent for long. */
                        reflector->streaming_list = false;
                        kube_call_set_idle_timeout(reflector->call, WATCH_SILENCE_MS);
                        set_state(reflector, KUBE_REFLECTOR_WATCHING, STR_EMPTY);
                }
                return;
        }
        if (r < 0) {
                give_up(reflector, r, &error, "the watch's event is unusable");
                return;
        }
        kube_call_cancel(reflector->call);
        reflector->call = NULL;
        fail(reflector, reflector->failure, buffer_str(&reflector->message));
}

static void on_stream_end(void *user, const struct kube_response *response)
{
        struct kube_reflector *reflector = user;

        reflector->call = NULL;
        if (!kube_response_ok(response))
                fail_response(reflector, response);
        else
                go_on(reflector, list_watch_ended(&reflector->lw, lasted_ms(reflector)));
}

static const struct kube_stream_events watch_events = {
        .on_head = on_stream_head,
        .on_data = on_stream_data,
        .on_end = on_stream_end,
};

/* ---- both ---- */

static unsigned watch_seconds(void)
{
        uint32_t random;

        random_bytes(&random, sizeof(random));
        return WATCH_SECONDS_LEAST + random % WATCH_SECONDS_LEAST;
}

static void step(struct kube_reflector *reflector)
{
        struct list_watch *lw = &reflector->lw;
        _cleanup_buffer_ struct buffer path = {};
        struct kube_request request = { .method = STR("GET"), .attempts = 1 };
        int r = list_watch_path(lw, watch_seconds(), &path);

        reflector->begun = false;
        request.path = buffer_str(&path);
        if (r == 0 && list_watch_step(lw) == LIST_WATCH_GET) {
                set_state(reflector, KUBE_REFLECTOR_LISTING, STR_EMPTY);
                list_decoder_deinit(&reflector->items);
                list_decoder_init(&reflector->items, 0);
                request.timeout_ms = request.idle_timeout_ms = PAGE_TIMEOUT_MS;
                r = kube_client_stream(reflector->client, &request, &list_events, reflector,
                                       &reflector->call);
        } else if (r == 0) {
                bool listing = list_watch_is_streaming_list(lw);
                if (listing)
                        set_state(reflector, KUBE_REFLECTOR_LISTING, STR_EMPTY);
                watch_decoder_deinit(&reflector->events);
                watch_decoder_init(&reflector->events, 0);
                if (reflector->protobuf)
                        request.accept = KUBE_ACCEPT_PROTOBUF;
                request.idle_timeout_ms = !listing ? (uint64_t)WATCH_SILENCE_MS
                                          : lw->options.list_silence_ms
                                                  ? lw->options.list_silence_ms
                                                  : (uint64_t)LIST_SILENCE_MS;
                r = kube_client_stream(reflector->client, &request, &watch_events, reflector,
                                       &reflector->call);
        }
        if (r < 0)
                fail(reflector, (struct list_watch_failure){ .error = r }, STR("out of memory"));
}

static bool wants_protobuf(const struct kube_reflector_options *options)
{
        const struct protobuf_fields *fields = kube_client_protobuf(options->client);
        char version[128];

        return options->protobuf && fields &&
               protobuf_knows(fields, kind_api_version(options->kind, version),
                              options->kind->kind);
}

int kube_reflector_new(const struct kube_reflector_options *options,
                       struct kube_reflector **ret_reflector)
{
        _cleanup_buffer_ struct buffer path = {};
        struct kube_reflector *reflector = calloc(1, sizeof(*reflector));

        if (!reflector)
                return -ENOMEM;
        int r = list_watch_init(&reflector->lw, options);
        if (r == 0) {
                r = list_watch_path(&reflector->lw, WATCH_SECONDS_LEAST, &path);
                if (r < 0)
                        list_watch_deinit(&reflector->lw);
        }
        if (r < 0) {
                free(reflector);
                return r;
        }
        reflector->client = options->client;
        reflector->protobuf = wants_protobuf(options);
        reflector->state = KUBE_REFLECTOR_LISTING;
        go_on(reflector, 0);
        *ret_reflector = reflector;
        return 0;
}

void kube_reflector_free(struct kube_reflector *reflector)
{
        if (!reflector)
                return;
        net_timer_stop(&reflector->timer);
        if (reflector->call)
                kube_call_cancel(reflector->call);
        watch_decoder_deinit(&reflector->events);
        list_decoder_deinit(&reflector->items);
        buffer_deinit(&reflector->message);
        list_watch_deinit(&reflector->lw);
        free(reflector);
}

void kube_reflector_relist(struct kube_reflector *reflector)
{
        reflector->relist = true;
        go_on(reflector, RELIST_MS);
}

bool kube_reflector_is_synced(const struct kube_reflector *reflector)
{
        return reflector->lw.synced;
}

enum kube_reflector_state kube_reflector_state(const struct kube_reflector *reflector)
{
        return reflector->state;
}
