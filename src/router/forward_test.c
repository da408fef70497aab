// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"
#include "router/forward.h"

static void traces_go_on(void **state)
{
        static const char *const broken[] = {
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736",
                "",
        };
        _cleanup_arena_ struct arena arena = {};
        struct http_headers headers = {};
        struct trace_source source = {};
        struct trace trace;

        (void)state;
        assert_int_equal(
                http_headers_add(&headers, &arena, STR("TraceParent"),
                                 STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
                0);
        trace_begin(&headers, NULL, &source, &trace);
        const struct str id = STR("4bf92f3577b34da6a3ce929d0e0e4736");
        assert_true(str_equal(trace_id_text(&trace), id));
        assert_false(str_equal(trace_span_text(&trace), STR("00f067aa0ba902b7")));
        assert_int_equal(strlen(trace.text), TRACEPARENT_SIZE - 1);
        assert_string_equal(trace.text + TRACEPARENT_SIZE - sizeof("-01"), "-01");
        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                headers.items[0].value = str_from(broken[i]);
                trace_begin(&headers, NULL, &source, &trace);
                assert_false(str_equal(trace_id_text(&trace), id));
                assert_false(trace_context_exists(&trace.parent));
                assert_true(trace_context_exists(&trace.context));
        }

        /* None comes twice out of the stock. */
        uint8_t before[TRACE_ID_SIZE] = {};
        for (size_t i = 0; i < 2 * sizeof(source.bytes); i++) {
                trace_begin(&headers, NULL, &source, &trace);
                assert_memory_not_equal(trace.context.trace_id, before, sizeof(before));
                assert_true(trace_context_exists(&trace.context));
                memcpy(before, trace.context.trace_id, sizeof(before));
        }
}

static void grpc_is_told_by_its_type(void **state)
{
        static const struct {
                unsigned version;
                const char *method, *type;
                bool is_grpc;
        } cases[] = {
                { 20, "POST", "application/grpc", true },
                { 20, "POST", "application/grpc+proto", true },
                { 20, "POST", "Application/GRPC; x=y", true },
                { 20, "POST", "application/grpc-web", false },
                { 20, "POST", "application/json", false },
                { 20, "POST", "", false },
                { 20, "GET", "application/grpc", false },
                { 11, "POST", "application/grpc", false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct http_header type = { STR("content-type"), str_from(cases[i].type) };
                const struct http_request_head head = { .version = cases[i].version,
                                                        .method = str_from(cases[i].method),
                                                        .headers = { &type, 1, 1 } };
                if (forward_is_grpc(&head) != cases[i].is_grpc)
                        fail_msg("%u %s %s", cases[i].version, cases[i].method, cases[i].type);
        }
        assert_int_equal(forward_grpc_status(502), 14);
        assert_int_equal(forward_grpc_status(401), 16);
        /* What may have run is not to be sent again, as UNAVAILABLE is. */
        assert_int_equal(forward_grpc_status(424), 2);
}

static void statuses_of_grpc_follow_the_body(void **state)
{
        struct http_header headers[] = { { STR("content-type"), STR("application/grpc") },
                                         { STR("Grpc-Status"), STR("5") },
                                         { STR("x"), STR("y") },
                                         { STR("grpc-message"), STR("no") },
                                         { STR("grpc-status"), STR("6") },
                                         { STR("grpc-status"), STR("7") } };
        struct http_header trailers[GRPC_TRAILERS];
        size_t count = ARRAY_SIZE(headers);

        (void)state;
        assert_int_equal(forward_take_grpc_status(headers, &count, trailers), 3);
        assert_true(str_equal(trailers[0].value, STR("5")));
        assert_true(str_equal(trailers[1].value, STR("no")));
        assert_true(str_equal(trailers[2].value, STR("6")));
        assert_int_equal(count, 3);
        assert_true(str_equal(headers[1].name, STR("x")));
        count = 1;
        assert_int_equal(forward_take_grpc_status(headers, &count, trailers), 0);
        assert_int_equal(count, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(traces_go_on),
                cmocka_unit_test(grpc_is_told_by_its_type),
                cmocka_unit_test(statuses_of_grpc_follow_the_body),
        };

        return run_unit_tests("router_forward", tests);
}
