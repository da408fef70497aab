// SPDX-License-Identifier: Apache-2.0
#include "serve/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/protowire.h"
#include "base/test.h"
#include "net/http_server.h"
#include "net/test_loop.h"
#include "serve/otlp.h"
#include "serve/trace_options.h"

#define TRACE_ID  "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN_ID   "00f067aa0ba902b7"
#define ZERO_ID   "00000000000000000000000000000000"
#define ZERO_SPAN "0000000000000000"

/* ---- contexts ---- */

static void contexts_are_w3cs(void **state)
{
        static const struct {
                const char *text;
                int result;
                bool sampled;
        } cases[] = {
                { "00-" TRACE_ID "-" SPAN_ID "-01", 0, true },
                { "00-" TRACE_ID "-" SPAN_ID "-00", 0, false },
                { "00-" TRACE_ID "-" SPAN_ID "-ff", 0, true },
                { " 00-" TRACE_ID "-" SPAN_ID "-02 ", 0, false },
                { "cc-" TRACE_ID "-" SPAN_ID "-01-what-comes", 0, true },
                { "cc-" TRACE_ID "-" SPAN_ID "-01", 0, true },
                { "cc-" TRACE_ID "-" SPAN_ID "-01what", -EINVAL, false },
                { "00-" TRACE_ID "-" SPAN_ID "-01-what", -EINVAL, false },
                { "ff-" TRACE_ID "-" SPAN_ID "-01", -EINVAL, false },
                { "00-" ZERO_ID "-" SPAN_ID "-01", -EINVAL, false },
                { "00-" TRACE_ID "-" ZERO_SPAN "-01", -EINVAL, false },
                { "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN_ID "-01", -EINVAL, false },
                { "00-" TRACE_ID "-" SPAN_ID, -EINVAL, false },
                { "00-" TRACE_ID "-" SPAN_ID "-1", -EINVAL, false },
                { "00_" TRACE_ID "-" SPAN_ID "-01", -EINVAL, false },
                { "", -EINVAL, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct trace_context context = { 0 };
                char text[TRACEPARENT_SIZE];

                assert_int_equal(trace_context_parse(str_from(cases[i].text), &context),
                                 cases[i].result);
                assert_int_equal(trace_context_exists(&context), cases[i].result == 0);
                if (cases[i].result < 0)
                        continue;
                assert_int_equal(context.sampled, cases[i].sampled);
                assert_true(context.remote);
                trace_context_format(&context, text);
                assert_string_equal(text, cases[i].sampled ? "00-" TRACE_ID "-" SPAN_ID "-01"
                                                           : "00-" TRACE_ID "-" SPAN_ID "-00");
        }
}

static void annotations_are_json(void **state)
{
        static const struct {
                const char *text, *tracestate;
                int result;
        } cases[] = {
                { "{\"traceparent\":\"00-" TRACE_ID "-" SPAN_ID "-01\"}", "", 0 },
                { "{\"tracestate\":\"a=1,b=2\",\"traceparent\":\"00-" TRACE_ID "-" SPAN_ID "-01\"}",
                  "a=1,b=2", 0 },
                { "{\"tracestate\":\"a\\nb\",\"traceparent\":\"00-" TRACE_ID "-" SPAN_ID "-01\"}",
                  "", 0 },
                { "{\"tracestate\":\"a\"}", "", -EINVAL },
                { "{\"traceparent\":[]}", "", -EINVAL },
                { "00-" TRACE_ID "-" SPAN_ID "-01", "", -EINVAL },
                { "{", "", -EINVAL },
        };
        _cleanup_arena_ struct arena arena = { 0 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct trace_context context = { 0 };

                assert_int_equal(
                        trace_context_parse_annotation(str_from(cases[i].text), &arena, &context),
                        cases[i].result);
                assert_true(str_equal(context.state, str_from(cases[i].tracestate)));
        }
}

static void one_seed_is_one_trace(void **state)
{
        struct trace_context one, same, other;

        (void)state;
        assert_int_equal(trace_context_derive(STR("uid-1"), &one), 0);
        assert_int_equal(trace_context_derive(STR("uid-1"), &same), 0);
        assert_int_equal(trace_context_derive(STR("uid-2"), &other), 0);
        assert_memory_equal(one.trace_id, same.trace_id, TRACE_ID_SIZE);
        assert_memory_not_equal(one.trace_id, other.trace_id, TRACE_ID_SIZE);
}

/* ---- the environment ---- */

static const char *const variables[] = {
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
};

static void clear_environment(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
                unsetenv(variables[i]);
}

static int read_settings(struct trace_settings *settings)
{
        const struct tracer_options options = { .service_name = "ours", .version = "1" };
        struct error error = { 0 };
        int r = trace_settings_read(settings, &options, &error);

        assert_int_equal(r < 0, error.message[0] != '\0');
        return r;
}

static void endpoints_are_urls(void **state)
{
        static const struct {
                const char *general, *own; /* the variables */
                const char *host, *target; /* NULL: refused */
                unsigned port;
                bool tls;
        } cases[] = {
                { NULL, NULL, "localhost", "/v1/traces", 4318, false },
                { "", "", "localhost", "/v1/traces", 4318, false },
                { "http://c:1", NULL, "c", "/v1/traces", 1, false },
                { "http://c/", NULL, "c", "/v1/traces", 80, false },
                { "https://c/a/b/", NULL, "c", "/a/b/v1/traces", 443, true },
                { "http://c:1", "http://d", "d", "/", 80, false },
                { NULL, "http://d:2/custom/", "d", "/custom/", 2, false },
                { NULL, "https://[::1]:2/x", "::1", "/x", 2, true },
                { "c:4318", NULL, NULL, NULL, 0, false },
                { "grpc://c", NULL, NULL, NULL, 0, false },
                { "http://", NULL, NULL, NULL, 0, false },
                { "http://c:0", NULL, NULL, NULL, 0, false },
                { "http://c:65536", NULL, NULL, NULL, 0, false },
                { "http://[::1", NULL, NULL, NULL, 0, false },
                { "http://[::1]2", NULL, NULL, NULL, 0, false },
                { "http://c/a b", NULL, NULL, NULL, 0, false },
                { "http://user:word@c", NULL, NULL, NULL, 0, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct trace_settings settings;

                clear_environment();
                if (cases[i].general)
                        setenv("OTEL_EXPORTER_OTLP_ENDPOINT", cases[i].general, 1);
                if (cases[i].own)
                        setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", cases[i].own, 1);
                int r = read_settings(&settings);
                assert_int_equal(r, cases[i].host ? 0 : -EINVAL);
                if (r == 0) {
                        assert_string_equal(settings.host.data, cases[i].host);
                        assert_string_equal(settings.target.data, cases[i].target);
                        assert_int_equal(settings.port, cases[i].port);
                        assert_int_equal(settings.tls, cases[i].tls);
                }
                trace_settings_deinit(&settings);
        }
        clear_environment();
}

static struct str resource(const struct trace_settings *settings, const char *key)
{
        for (size_t i = 0; i < settings->resource_count; i++)
                if (str_equal(settings->resource[i].key, str_from(key)))
                        return settings->resource[i].text;
        return STR_EMPTY;
}

static void variables_have_defaults_and_bounds(void **state)
{
        struct trace_settings settings;

        (void)state;
        clear_environment();
        assert_int_equal(read_settings(&settings), 0);
        assert_false(settings.disabled);
        assert_int_equal(settings.timeout_ms, 10000);
        assert_int_equal(settings.delay_ms, 5000);
        assert_int_equal(settings.queue, 2048);
        assert_int_equal(settings.batch, 512);
        assert_int_equal(settings.sampler, SAMPLE_ALL);
        assert_true(settings.by_parent);
        assert_int_equal(settings.header_count, 1);
        assert_true(str_equal(resource(&settings, "service.name"), STR("ours")));
        assert_true(str_equal(resource(&settings, "service.version"), STR("1")));
        trace_settings_deinit(&settings);

        setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1", 1);
        setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250", 1);
        setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10", 1);
        setenv("OTEL_BSP_SCHEDULE_DELAY", "-1", 1);
        setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=b%20c, bad name=x,, d = e ,f,g=%zz,h=%0a", 1);
        setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,x=y%2Cz", 1);
        setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
        setenv("OTEL_TRACES_SAMPLER_ARG", "0.25", 1);
        assert_int_equal(read_settings(&settings), 0);
        assert_int_equal(settings.timeout_ms, 250);
        assert_int_equal(settings.queue, 10);
        assert_int_equal(settings.batch, 10);
        assert_int_equal(settings.delay_ms, 5000);
        assert_int_equal(settings.header_count, 3);
        assert_true(str_equal(settings.headers[1].value, STR("b c")));
        assert_true(str_equal(settings.headers[2].name, STR("d")));
        assert_true(str_equal(resource(&settings, "service.name"), STR("theirs")));
        assert_true(str_equal(resource(&settings, "x"), STR("y,z")));
        assert_int_equal(settings.sampler, SAMPLE_RATIO);
        assert_false(settings.by_parent);
        assert_true(settings.bound == UINT64_C(1) << 61);
        trace_settings_deinit(&settings);

        setenv("OTEL_SERVICE_NAME", "named", 1);
        setenv("OTEL_TRACES_SAMPLER_ARG", "1.5", 1);
        assert_int_equal(read_settings(&settings), 0);
        assert_true(str_equal(resource(&settings, "service.name"), STR("named")));
        assert_true(settings.bound == UINT64_C(1) << 63);
        trace_settings_deinit(&settings);

        setenv("OTEL_TRACES_EXPORTER", "none", 1);
        assert_int_equal(read_settings(&settings), 0);
        assert_true(settings.disabled);
        trace_settings_deinit(&settings);
        clear_environment();
        setenv("OTEL_SDK_DISABLED", "True", 1);
        assert_int_equal(read_settings(&settings), 0);
        assert_true(settings.disabled);
        trace_settings_deinit(&settings);
        clear_environment();
}

/* ---- messages ---- */

/* A field of a message, by a path of numbers that 0 ends; the first of each. */
static struct protowire_field find(struct str message, const uint32_t *path)
{
        struct protowire_field field = { 0 };

        while (protowire_next(&message, &field) > 0)
                if (field.number == *path)
                        return path[1] ? find(field.bytes, path + 1) : field;
        return (struct protowire_field){ 0 };
}
#define FIND(message, ...) find((message), (const uint32_t[]){ __VA_ARGS__, 0 })

static struct trace_span example_span(struct tracer *tracer)
{
        struct trace_span span = {
                .name = STR("work"), .kind = TRACE_INTERNAL, .start_ns = 1000, .end_ns = 2000
        };

        tracer_begin(tracer, NULL, &span.context);
        return span;
}

static void spans_are_otlp(void **state)
{
        _cleanup_buffer_ struct buffer spans = { 0 }, request = { 0 };
        const struct trace_attribute attributes[] = {
                { .key = STR("text"), .text = STR("a\xff\xc3\xa4") },
                { .key = STR("number"), .number = -5 },
        };
        struct trace_span span = {
                .name = STR("work"),
                .kind = TRACE_CLIENT,
                .start_ns = 1000,
                .end_ns = UINT64_C(1) << 62,
                .attributes = attributes,
                .attribute_count = 2,
                .failed = true,
                .message = STR("no"),
        };

        (void)state;
        assert_int_equal(trace_context_parse(STR("00-" TRACE_ID "-" SPAN_ID "-01"), &span.parent),
                         0);
        span.context = span.parent;
        span.context.span_id[0] = 0xaa;
        span.context.state = STR("v=1");
        assert_int_equal(otlp_append_span(&spans, &span), 0);
        assert_int_equal(otlp_append_request(&request, attributes + 1, 1, STR("cay"), STR("2"),
                                             buffer_str(&spans)),
                         0);
        struct str whole = buffer_str(&request), one = FIND(whole, 1, 2, 2).bytes;
        assert_true(str_equal(FIND(whole, 1, 1, 1, 1).bytes, STR("number")));
        assert_true((int64_t)FIND(whole, 1, 1, 1, 2, 3).value == -5);
        assert_true(str_equal(FIND(whole, 1, 2, 1, 1).bytes, STR("cay")));
        assert_true(str_equal(FIND(whole, 1, 2, 1, 2).bytes, STR("2")));
        assert_memory_equal(FIND(one, 1).bytes.data, span.context.trace_id, TRACE_ID_SIZE);
        assert_int_equal((uint8_t)FIND(one, 2).bytes.data[0], 0xaa);
        assert_true(str_equal(FIND(one, 3).bytes, STR("v=1")));
        assert_memory_equal(FIND(one, 4).bytes.data, span.parent.span_id, SPAN_ID_SIZE);
        assert_true(str_equal(FIND(one, 5).bytes, STR("work")));
        assert_int_equal(FIND(one, 6).value, 3);
        assert_int_equal(FIND(one, 7).type, PROTOWIRE_FIXED64);
        assert_true(FIND(one, 7).value == 1000 && FIND(one, 8).value == UINT64_C(1) << 62);
        /* A byte that is no UTF-8 would have the whole request refused. */
        assert_true(str_equal(FIND(one, 9, 2, 1).bytes, STR("a?\xc3\xa4")));
        assert_true(str_equal(FIND(one, 15, 2).bytes, STR("no")));
        assert_int_equal(FIND(one, 15, 3).value, 2);
        assert_int_equal(FIND(one, 16).value, 0x301);
}

/* ---- the exporter, with a collector on the same loop ---- */

struct bed {
        struct test_loop loop;
        struct http_server *server;
        struct metrics *metrics;
        struct tracer *tracer;
        unsigned status;   /* to answer with */
        struct str answer; /* its body */
        bool holds;        /* answers nothing */
        unsigned requests, spans;
        bool done;
};

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct bed *bed = user;
        struct protowire_field field;
        struct str scope = FIND(body, 1, 2).bytes;

        bed->requests++;
        if (bed->holds)
                return;
        while (protowire_next(&scope, &field) > 0)
                bed->spans += bed->status == 200 && field.number == 2;
        http_exchange_respond_text(exchange, bed->status, "application/x-protobuf", bed->answer);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        (void)exchange;
        (void)user;
        (void)error;
}

static void on_request(void *user, struct http_exchange *exchange)
{
        static const struct http_exchange_callbacks callbacks = { .on_whole = on_whole,
                                                                  .on_abort = on_abort };

        assert_true(str_equal(exchange->request.path, STR("/v1/traces")));
        http_exchange_collect(exchange, 1 << 20, &callbacks, user);
}

static void on_done(void *user)
{
        ((struct bed *)user)->done = true;
}

static void begin(struct bed *bed, const char *queue, const char *batch, const char *delay)
{
        const struct http_server_options options = { .on_request = on_request, .user = bed };
        struct net_address address;
        struct listener *listener;
        struct error error;
        char url[64];

        *bed = (struct bed){ .status = 200 };
        test_loop_set_up(&bed->loop);
        assert_int_equal(http_server_new(bed->loop.net, &options, &bed->server), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(bed->server, &address, NULL, 0, &error, &listener), 0);
        snprintf(url, sizeof(url), "http://127.0.0.1:%u",
                 net_address_port(listener_address(listener)));
        clear_environment();
        setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url, 1);
        setenv("OTEL_BSP_MAX_QUEUE_SIZE", queue, 1);
        setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch, 1);
        setenv("OTEL_BSP_SCHEDULE_DELAY", delay, 1);
        assert_int_equal(metrics_new(&bed->metrics), 0);
        const struct tracer_options tracer = { .loop = bed->loop.net,
                                               .service_name = "test",
                                               .version = "1",
                                               .metrics = bed->metrics };
        assert_int_equal(tracer_new(&tracer, &error, &bed->tracer), 0);
        clear_environment();
}

static void end(struct bed *bed)
{
        tracer_free(bed->tracer);
        metrics_free(bed->metrics);
        http_server_free(bed->server);
        test_loop_tear_down(&bed->loop);
}

static void record(struct bed *bed, unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                struct trace_span span = example_span(bed->tracer);

                tracer_record(bed->tracer, &span);
        }
}

static void full_batches_go_at_once_and_others_in_time(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, "100", "10", "600000");
        record(&bed, 10);
        assert_int_equal(bed.requests, 0);
        test_run_until(&bed.loop, tracer_counters(bed.tracer).exported == 10);
        assert_int_equal(bed.requests, 1);
        record(&bed, 3);
        test_run_turns(&bed.loop, 10);
        assert_int_equal(bed.requests, 1);
        assert_int_equal(tracer_counters(bed.tracer).queued, 3);
        end(&bed);

        begin(&bed, "100", "10", "1");
        record(&bed, 3);
        test_run_until(&bed.loop, tracer_counters(bed.tracer).exported == 3);
        assert_int_equal(bed.spans, 3);
        end(&bed);
}

static void a_full_queue_drops(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, "20", "10", "1");
        bed.holds = true;
        record(&bed, 25);
        test_run_until(&bed.loop, bed.requests == 1);
        record(&bed, 1);
        assert_int_equal(tracer_counters(bed.tracer).dropped, 6);
        assert_int_equal(tracer_counters(bed.tracer).queued, 20);
        end(&bed);
}

static void passing_failures_are_tried_again(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, "20", "10", "1");
        bed.status = 503;
        record(&bed, 3);
        test_run_until(&bed.loop, tracer_counters(bed.tracer).failures == 1);
        assert_int_equal(tracer_counters(bed.tracer).queued, 3);
        bed.status = 200;
        test_run_until(&bed.loop, tracer_counters(bed.tracer).exported == 3);
        assert_int_equal(bed.requests, 2);
        end(&bed);
}

static void lasting_failures_drop_the_batch(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, "20", "10", "1");
        bed.status = 400;
        record(&bed, 3);
        test_run_until(&bed.loop, tracer_counters(bed.tracer).dropped == 3);
        assert_int_equal(bed.requests, 1);
        /* partial_success { rejected_spans: 2, error_message: "no" } */
        bed.status = 200;
        bed.answer = STR("\x0a\x06\x08\x02\x12\x02no");
        record(&bed, 3);
        test_run_until(&bed.loop, tracer_counters(bed.tracer).dropped == 5);
        assert_int_equal(tracer_counters(bed.tracer).exported, 1);
        assert_int_equal(tracer_counters(bed.tracer).queued, 0);
        end(&bed);
}

static void the_end_sends_what_is_queued_within_its_time(void **state)
{
        struct bed bed;

        (void)state;
        begin(&bed, "100", "10", "600000");
        record(&bed, 4);
        tracer_finish(bed.tracer, 10000, on_done, &bed);
        assert_false(bed.done);
        record(&bed, 1);
        test_run_until(&bed.loop, bed.done);
        assert_int_equal(bed.spans, 4);
        assert_int_equal(tracer_counters(bed.tracer).dropped, 1);
        end(&bed);

        begin(&bed, "100", "10", "600000");
        tracer_finish(bed.tracer, 10000, on_done, &bed);
        test_run_until(&bed.loop, bed.done);
        assert_int_equal(bed.requests, 0);
        end(&bed);

        begin(&bed, "100", "10", "600000");
        bed.holds = true;
        record(&bed, 15);
        tracer_finish(bed.tracer, 50, on_done, &bed);
        test_run_until(&bed.loop, bed.done);
        assert_int_equal(bed.requests, 1);
        end(&bed);

        begin(&bed, "100", "10", "600000");
        bed.status = 503;
        record(&bed, 15);
        tracer_finish(bed.tracer, 10000, on_done, &bed);
        test_run_until(&bed.loop, bed.done);
        assert_int_equal(bed.requests, 1);
        end(&bed);
}

static void parents_and_ratios_decide_what_is_recorded(void **state)
{
        struct trace_context parent, child, grandchild;
        unsigned sampled = 0;
        struct bed bed;

        (void)state;
        begin(&bed, "100", "10", "600000");
        assert_int_equal(trace_context_parse(STR("00-" TRACE_ID "-" SPAN_ID "-00"), &parent), 0);
        tracer_begin(bed.tracer, &parent, &child);
        assert_false(child.sampled);
        assert_false(child.remote);
        assert_memory_equal(child.trace_id, parent.trace_id, TRACE_ID_SIZE);
        assert_memory_not_equal(child.span_id, parent.span_id, SPAN_ID_SIZE);
        const struct trace_span span = { .context = child, .name = STR("x") };
        tracer_record(bed.tracer, &span);
        assert_int_equal(tracer_counters(bed.tracer).queued, 0);
        end(&bed);

        setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
        setenv("OTEL_TRACES_SAMPLER_ARG", "0.25", 1);
        const struct tracer_options options = { .service_name = "test", .version = "1" };
        struct error error;
        struct test_loop loop;
        struct tracer *tracer;

        test_loop_set_up(&loop);
        struct tracer_options with_loop = options;
        with_loop.loop = loop.net;
        assert_int_equal(tracer_new(&with_loop, &error, &tracer), 0);
        for (unsigned i = 0; i < 4000; i++) {
                char seed[16];

                snprintf(seed, sizeof(seed), "%u", i);
                assert_int_equal(trace_context_derive(str_from(seed), &parent), 0);
                tracer_begin(tracer, &parent, &child);
                tracer_begin(tracer, &child, &grandchild);
                assert_int_equal(child.sampled, grandchild.sampled);
                sampled += child.sampled;
        }
        assert_in_range(sampled, 900, 1100);
        tracer_free(tracer);
        test_loop_tear_down(&loop);
        clear_environment();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(contexts_are_w3cs),
                cmocka_unit_test(annotations_are_json),
                cmocka_unit_test(one_seed_is_one_trace),
                cmocka_unit_test(endpoints_are_urls),
                cmocka_unit_test(variables_have_defaults_and_bounds),
                cmocka_unit_test(spans_are_otlp),
                cmocka_unit_test(full_batches_go_at_once_and_others_in_time),
                cmocka_unit_test(a_full_queue_drops),
                cmocka_unit_test(passing_failures_are_tried_again),
                cmocka_unit_test(lasting_failures_drop_the_batch),
                cmocka_unit_test(the_end_sends_what_is_queued_within_its_time),
                cmocka_unit_test(parents_and_ratios_decide_what_is_recorded),
        };

        return run_unit_tests("trace", tests);
}
