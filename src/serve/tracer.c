// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "client/backoff.h"
#include "net/http_client.h"
#include "net/tls.h"
#include "serve/otlp.h"
#include "serve/trace_options.h"

enum {
        QUEUE_BYTES_MOST = 4 * 1024 * 1024, /* whatever the number of spans */
        RESPONSE_MOST = 64 * 1024,
        PEM_MOST = 1024 * 1024,
        RETRY_FIRST_MS = 1000,
        RETRY_MOST_MS = 15 * 1000,
        GIVE_UP_MS = 60 * 1000, /* after the first try of a batch */
        RETRY_AFTER_MOST_S = 300,
};

/* Spans that go out together. */
struct batch {
        struct list link;
        struct buffer spans; /* as otlp_append_span() makes them */
        size_t count;
        uint64_t tried_ms; /* the first time; 0: never */
};

enum figure { EXPORTED, DROPPED, FAILURES, FIGURES };

static const struct metric_description descriptions[FIGURES] = {
        [EXPORTED] = { METRIC_COUNTER, "cay_trace_spans_exported_total",
                       "Spans that the collector took." },
        [DROPPED] = { METRIC_COUNTER, "cay_trace_spans_dropped_total",
                      "Spans that were lost: the queue was full, or the collector did not take "
                      "them." },
        [FAILURES] = { METRIC_COUNTER, "cay_trace_export_failures_total",
                       "Requests to the collector that failed." },
};

struct tracer {
        struct trace_settings settings;
        struct net_loop *loop;
        struct http_client *http;
        struct tls_context *tls;
        char *version;
        uint64_t random;

        struct batch *open;    /* being filled; NULL: none */
        struct list batches;   /* full or due, oldest first */
        size_t queued, bytes;  /* of all of them */
        struct net_timer due;  /* the open batch goes */
        struct net_task begin; /* to send what is full */
        struct net_timer retry;
        struct backoff backoff;
        bool troubled; /* it was said that the collector does not take them */
        uint64_t dropped_before;

        struct http_call *call; /* with the first batch; NULL: none */
        bool fresh;             /* the next one on a new connection */
        struct buffer request, response;
        unsigned status;
        unsigned retry_after_s;

        bool finishing;
        struct net_timer deadline;
        void (*done)(void *user);
        void *user;

        struct tracer_counters counters;
        struct metric *figures[FIGURES];
};

static void count(struct tracer *tracer, enum figure figure, uint64_t *counter, uint64_t by)
{
        *counter += by;
        if (tracer->figures[figure] && by > 0)
                metric_add(tracer->figures[figure], (double)by);
}

static void count_dropped(struct tracer *tracer, uint64_t by)
{
        count(tracer, DROPPED, &tracer->counters.dropped, by);
}

/* ---- batches ---- */

static void drop_batch(struct tracer *tracer, struct batch *batch)
{
        tracer->queued -= batch->count;
        tracer->bytes -= batch->spans.length;
        list_remove(&batch->link);
        buffer_deinit(&batch->spans);
        free(batch);
}

static void export_next(struct tracer *tracer);

static void close_batch(struct tracer *tracer)
{
        net_timer_stop(&tracer->due);
        if (!tracer->open)
                return;
        list_append(&tracer->batches, &tracer->open->link);
        tracer->open = NULL;
}

static void on_due(struct net_timer *timer)
{
        struct tracer *tracer = container_of(timer, struct tracer, due);

        close_batch(tracer);
        export_next(tracer);
}

static void on_begin(struct net_task *task)
{
        export_next(container_of(task, struct tracer, begin));
}

static bool open_batch(struct tracer *tracer)
{
        if (tracer->open)
                return true;
        tracer->open = calloc(1, sizeof(*tracer->open));
        if (!tracer->open)
                return false;
        list_init(&tracer->open->link);
        net_timer_start(tracer->loop, &tracer->due, tracer->settings.delay_ms, on_due);
        return true;
}

void tracer_record(struct tracer *tracer, const struct trace_span *span)
{
        struct batch *batch;

        if (!span->context.sampled)
                return;
        if (tracer->finishing || tracer->queued >= tracer->settings.queue ||
            tracer->bytes >= QUEUE_BYTES_MOST || !open_batch(tracer)) {
                count_dropped(tracer, 1);
                return;
        }
        batch = tracer->open;
        size_t before = batch->spans.length;
        if (otlp_append_span(&batch->spans, span) < 0) {
                batch->spans.length = before;
                count_dropped(tracer, 1);
                return;
        }
        batch->count++;
        tracer->queued++;
        tracer->bytes += batch->spans.length - before;
        if (batch->count < tracer->settings.batch)
                return;
        close_batch(tracer);
        /* Not from here: whoever records is busy with something else. */
        net_loop_defer(tracer->loop, &tracer->begin);
}

/* ---- sending ---- */

static void complete(struct tracer *tracer)
{
        void (*done)(void *user) = tracer->done;

        net_timer_stop(&tracer->deadline);
        net_timer_stop(&tracer->retry);
        tracer->done = NULL;
        if (!done)
                return;
        if (tracer->queued > 0)
                log_warning("%zu spans were not sent", tracer->queued);
        done(tracer->user);
}

static void on_retry(struct net_timer *timer)
{
        export_next(container_of(timer, struct tracer, retry));
}

static void be_troubled(struct tracer *tracer, struct str why)
{
        count(tracer, FAILURES, &tracer->counters.failures, 1);
        if (tracer->troubled)
                return;
        tracer->troubled = true;
        log_warning("traces cannot be sent to %.*s: %.*s", STR_FORMAT(tracer->settings.url),
                    STR_FORMAT(why));
}

/* The batch was not taken. `again`: it may be later. */
static void fail(struct tracer *tracer, bool again, struct str why)
{
        struct batch *batch = list_entry(tracer->batches.next, struct batch, link);
        uint64_t delay = backoff_next(&tracer->backoff), now = net_loop_now_ms(tracer->loop);

        be_troubled(tracer, why);
        if (tracer->retry_after_s > 0)
                delay = (uint64_t)tracer->retry_after_s * 1000;
        if (!again || tracer->finishing || now + delay > batch->tried_ms + GIVE_UP_MS) {
                count_dropped(tracer, batch->count);
                drop_batch(tracer, batch);
                if (again && tracer->finishing) {
                        complete(tracer);
                        return;
                }
        }
        if (again)
                net_timer_start(tracer->loop, &tracer->retry, delay, on_retry);
        else
                export_next(tracer);
}

static void succeed(struct tracer *tracer)
{
        struct batch *batch = list_entry(tracer->batches.next, struct batch, link);
        uint64_t rejected = 0;
        struct str message = STR_EMPTY;

        if (otlp_read_response(buffer_str(&tracer->response), &rejected, &message) < 0)
                rejected = 0;
        rejected = MIN(rejected, batch->count);
        count_dropped(tracer, rejected);
        count(tracer, EXPORTED, &tracer->counters.exported, batch->count - rejected);
        drop_batch(tracer, batch);
        backoff_reset(&tracer->backoff);
        if (rejected > 0) {
                be_troubled(tracer, message.length > 0 ? message : STR("some were rejected"));
        } else if (tracer->troubled) {
                tracer->troubled = false;
                log_info("traces are sent again; %llu spans were dropped",
                         (unsigned long long)(tracer->counters.dropped - tracer->dropped_before));
                tracer->dropped_before = tracer->counters.dropped;
        }
        export_next(tracer);
}

static bool is_passing(unsigned status)
{
        return status == 429 || (status >= 502 && status <= 504);
}

static void on_head(struct http_call *call _unused_, void *user,
                    const struct http_response_head *head)
{
        struct tracer *tracer = user;
        uint64_t seconds;

        tracer->status = head->status;
        if (str_to_u64(http_headers_get(&head->headers, STR("Retry-After")), UINT32_MAX,
                       &seconds) == 0)
                tracer->retry_after_s = (unsigned)MIN(seconds, (uint64_t)RETRY_AFTER_MOST_S);
}

static void on_body(struct http_call *call _unused_, void *user, struct str data)
{
        struct tracer *tracer = user;

        /* What is too long, or without memory, is no answer that tells of rejected spans. */
        if (tracer->response.length + data.length > RESPONSE_MOST ||
            buffer_append_str(&tracer->response, data) < 0)
                buffer_clear(&tracer->response);
}

static void on_end(struct http_call *call _unused_, void *user)
{
        struct tracer *tracer = user;
        char text[64];

        tracer->call = NULL;
        if (tracer->status >= 200 && tracer->status < 300) {
                succeed(tracer);
                return;
        }
        snprintf(text, sizeof(text), "it answers %u %.*s", tracer->status,
                 STR_FORMAT(http_reason(tracer->status)));
        fail(tracer, is_passing(tracer->status), str_from(text));
}

static void on_error(struct http_call *call, void *user, enum http_error error, int code)
{
        struct tracer *tracer = user;
        bool stale = http_call_is_reused(call) && error == HTTP_ERROR_CLOSED;
        struct str why = str_from(strerror(-code));

        tracer->call = NULL;
        /* The collector had enough of waiting on that connection. */
        if (stale && !tracer->fresh) {
                tracer->fresh = true;
                export_next(tracer);
                return;
        }
        if (error == HTTP_ERROR_TLS && tls_context_last_error(tracer->tls).length > 0)
                why = tls_context_last_error(tracer->tls);
        else if (error == HTTP_ERROR_TIMEOUT)
                why = STR("no answer in time");
        else if (error == HTTP_ERROR_PROTOCOL)
                why = STR("the answer is no HTTP");
        fail(tracer, true, why);
}

static int start_call(struct tracer *tracer, const struct batch *batch)
{
        static const struct http_call_callbacks callbacks = {
                .on_head = on_head,
                .on_body = on_body,
                .on_end = on_end,
                .on_error = on_error,
        };
        const struct trace_settings *settings = &tracer->settings;

        buffer_clear(&tracer->request);
        buffer_clear(&tracer->response);
        tracer->status = 0;
        tracer->retry_after_s = 0;
        int r = otlp_append_request(&tracer->request, settings->resource, settings->resource_count,
                                    STR("cay"), str_from(tracer->version),
                                    buffer_str(&batch->spans));
        if (r < 0)
                return r;
        const struct http_request request = {
                .origin = { .host = settings->host,
                            .port = settings->port,
                            .filter = tracer->tls ? tls_context_filter(tracer->tls) : NULL },
                .method = STR("POST"),
                .target = settings->target,
                .headers = settings->headers,
                .header_count = settings->header_count,
                .body = buffer_str(&tracer->request),
                .fresh = tracer->fresh,
                .connect_timeout_ms = (uint32_t)settings->timeout_ms,
                .head_timeout_ms = (uint32_t)settings->timeout_ms,
                .idle_timeout_ms = (uint32_t)settings->timeout_ms,
        };
        return http_call_start(tracer->http, &request, &callbacks, tracer, &tracer->call);
}

/* The oldest batch, if nothing is on its way. */
static void export_next(struct tracer *tracer)
{
        if (tracer->call || net_timer_is_running(&tracer->retry))
                return;
        if (list_is_empty(&tracer->batches)) {
                if (tracer->finishing)
                        complete(tracer);
                return;
        }
        struct batch *batch = list_entry(tracer->batches.next, struct batch, link);
        if (batch->tried_ms == 0)
                batch->tried_ms = net_loop_now_ms(tracer->loop);
        int r = start_call(tracer, batch);
        tracer->fresh = false;
        if (r < 0)
                fail(tracer, true, str_from(strerror(-r)));
}

static void on_deadline(struct net_timer *timer)
{
        struct tracer *tracer = container_of(timer, struct tracer, deadline);

        if (tracer->call)
                http_call_cancel(tracer->call);
        tracer->call = NULL;
        complete(tracer);
}

void tracer_finish(struct tracer *tracer, uint64_t timeout_ms, void (*done)(void *user), void *user)
{
        tracer->finishing = true;
        tracer->done = done;
        tracer->user = user;
        close_batch(tracer);
        net_timer_stop(&tracer->retry);
        net_timer_start(tracer->loop, &tracer->deadline, timeout_ms, on_deadline);
        /* One that is not there will not come in these seconds: one try, from the loop. */
        net_loop_defer(tracer->loop, &tracer->begin);
}

/* ---- beginning a span ---- */

static uint64_t next_random(struct tracer *tracer)
{
        uint64_t x = tracer->random += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static void fill_random(struct tracer *tracer, uint8_t *bytes, size_t size)
{
        for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
                uint64_t random = next_random(tracer);

                memcpy(bytes + i, &random, MIN(size - i, sizeof(random)));
        }
        bytes[size - 1] |= 1; /* never all zero */
}

static bool sample(const struct tracer *tracer, const struct trace_context *context)
{
        uint64_t tail = 0;

        switch (tracer->settings.sampler) {
        case SAMPLE_ALL:
                return true;
        case SAMPLE_NONE:
                return false;
        case SAMPLE_RATIO:
                break;
        }
        /* As the SDKs do it, so that all of them choose the same traces. */
        for (size_t i = TRACE_ID_SIZE - 8; i < TRACE_ID_SIZE; i++)
                tail = tail << 8 | context->trace_id[i];
        return tail >> 1 < tracer->settings.bound;
}

void tracer_begin(struct tracer *tracer, const struct trace_context *parent,
                  struct trace_context *ret_context)
{
        static const uint8_t none[SPAN_ID_SIZE];
        struct trace_context context = { 0 };
        bool has_parent = false;

        if (parent && trace_context_exists(parent)) {
                memcpy(context.trace_id, parent->trace_id, TRACE_ID_SIZE);
                context.state = parent->state;
                has_parent = memcmp(parent->span_id, none, sizeof(none)) != 0;
        } else {
                fill_random(tracer, context.trace_id, TRACE_ID_SIZE);
        }
        fill_random(tracer, context.span_id, SPAN_ID_SIZE);
        /* A child in this process is as its parent. */
        context.sampled = has_parent && (!parent->remote || tracer->settings.by_parent)
                                  ? parent->sampled
                                  : sample(tracer, &context);
        *ret_context = context;
}

/* ---- making ---- */

static int read_pem(struct str path, struct buffer *pem, struct error *error)
{
        if (path.length == 0)
                return 0;
        int r = file_read(AT_FDCWD, path.data, PEM_MOST, pem);
        return r < 0 ? error_set(error, r, "cannot read %s: %s", path.data, strerror(-r)) : 0;
}

static int make_tls(struct tracer *tracer, struct error *error)
{
        _cleanup_buffer_ struct buffer ca = { 0 }, certificate = { 0 }, key = { 0 };

        if (!tracer->settings.tls)
                return 0;
        int r = read_pem(tracer->settings.ca, &ca, error);
        if (r == 0)
                r = read_pem(tracer->settings.certificate, &certificate, error);
        if (r == 0)
                r = read_pem(tracer->settings.key, &key, error);
        if (r < 0)
                return r;
        const struct tls_client_options options = { .ca = buffer_str(&ca),
                                                    .certificate = buffer_str(&certificate),
                                                    .key = buffer_str(&key) };
        return tls_client_new(&options, error, &tracer->tls);
}

static int add_metrics(struct tracer *tracer, struct metrics *metrics)
{
        struct metric_family *family;

        for (size_t i = 0; metrics && i < FIGURES; i++) {
                int r = metrics_add(metrics, &descriptions[i], &family);
                if (r < 0)
                        return r;
                tracer->figures[i] = metric_with(family, NULL);
        }
        return 0;
}

int tracer_new(const struct tracer_options *options, struct error *error,
               struct tracer **ret_tracer)
{
        struct tracer *tracer = calloc(1, sizeof(*tracer));

        if (!tracer)
                return error_set(error, -ENOMEM, "out of memory");
        tracer->loop = options->loop;
        tracer->backoff = (struct backoff){ .first_ms = RETRY_FIRST_MS, .most_ms = RETRY_MOST_MS };
        tracer->begin.run = on_begin;
        list_init(&tracer->batches);
        random_bytes(&tracer->random, sizeof(tracer->random));
        int r = trace_settings_read(&tracer->settings, options, error);
        if (r == 0 && tracer->settings.disabled) {
                tracer_free(tracer);
                *ret_tracer = NULL;
                return 0;
        }
        if (r == 0)
                r = make_tls(tracer, error);
        if (r < 0) {
                tracer_free(tracer);
                return r;
        }
        tracer->version = str_dup(str_from(options->version));
        r = tracer->version ? http_client_new(tracer->loop, NULL, &tracer->http) : -ENOMEM;
        if (r == 0)
                r = add_metrics(tracer, options->metrics);
        if (r < 0) {
                tracer_free(tracer);
                return error_set(error, r, "traces: %s", strerror(-r));
        }
        log_info("traces are sent to %.*s", STR_FORMAT(tracer->settings.url));
        *ret_tracer = tracer;
        return 0;
}

void tracer_free(struct tracer *tracer)
{
        struct batch *batch;

        if (!tracer)
                return;
        if (tracer->http)
                http_client_free(tracer->http);
        tls_context_free(tracer->tls);
        close_batch(tracer);
        list_for_each (batch, &tracer->batches, link)
                drop_batch(tracer, batch);
        net_task_cancel(&tracer->begin);
        net_timer_stop(&tracer->due);
        net_timer_stop(&tracer->retry);
        net_timer_stop(&tracer->deadline);
        buffer_deinit(&tracer->request);
        buffer_deinit(&tracer->response);
        trace_settings_deinit(&tracer->settings);
        free(tracer->version);
        free(tracer);
}

struct tracer_counters tracer_counters(const struct tracer *tracer)
{
        struct tracer_counters counters = tracer->counters;

        counters.queued = tracer->queued;
        return counters;
}
