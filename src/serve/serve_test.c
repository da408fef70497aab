// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/test.h"
#include "client/client.h"
#include "net/test_loop.h"
#include "serve/endpoint.h"
#include "serve/health.h"
#include "serve/metrics.h"

static const struct metric_description writes = {
        METRIC_COUNTER, "cay_writes_total", "Writes sent.", { "kind", "code" }, {}
};
static const struct metric_description depth = {
        METRIC_GAUGE, "cay_depth", "Keys that wait.", {}, {}
};
static const struct metric_description latency = {
        METRIC_HISTOGRAM, "cay_latency_seconds", "Time to ready.", { "how" }, { 0.001, 0.1, 2.5 }
};

static void expect_page(struct metrics *metrics, const char *expected)
{
        _cleanup_buffer_ struct buffer page = {};

        assert_int_equal(metrics_render(metrics, &page), 0);
        assert_int_equal(buffer_append_char(&page, '\0'), 0);
        assert_string_equal(page.data, expected);
}

static void the_page_is_prometheus_text(void **state)
{
        _cleanup_metrics_ struct metrics *metrics = NULL;
        struct metric_family *counter, *gauge, *histogram, *again;

        (void)state;
        assert_int_equal(metrics_new(&metrics), 0);
        assert_int_equal(metrics_add(metrics, &writes, &counter), 0);
        assert_int_equal(metrics_add(metrics, &depth, &gauge), 0);
        assert_int_equal(metrics_add(metrics, &latency, &histogram), 0);
        assert_int_equal(metrics_add(metrics, &depth, &again), -EEXIST);
        expect_page(metrics, "");

        metric_add(metric_with(counter, (struct str[]){ STR("Pod"), STR("201") }), 1);
        metric_add(metric_with(counter, (struct str[]){ STR("a\"\\\n"), STR("") }), 2);
        metric_add(metric_with(counter, (struct str[]){ STR("Pod"), STR("201") }), 4);
        metric_set(metric_with(gauge, NULL), 0.1);
        struct metric *warm = metric_with(histogram, (struct str[]){ STR("warm") });
        metric_observe(warm, 0.0009765625);
        metric_observe(warm, 0.0625);
        metric_observe(warm, 1);
        metric_observe(warm, 3);
        assert_true(metric_value(warm) == 4);
        expect_page(metrics, "# HELP cay_writes_total Writes sent.\n"
                             "# TYPE cay_writes_total counter\n"
                             "cay_writes_total{kind=\"Pod\",code=\"201\"} 5\n"
                             "cay_writes_total{kind=\"a\\\"\\\\\\n\",code=\"\"} 2\n"
                             "# HELP cay_depth Keys that wait.\n"
                             "# TYPE cay_depth gauge\n"
                             "cay_depth 0.1\n"
                             "# HELP cay_latency_seconds Time to ready.\n"
                             "# TYPE cay_latency_seconds histogram\n"
                             "cay_latency_seconds_bucket{how=\"warm\",le=\"0.001\"} 1\n"
                             "cay_latency_seconds_bucket{how=\"warm\",le=\"0.1\"} 2\n"
                             "cay_latency_seconds_bucket{how=\"warm\",le=\"2.5\"} 3\n"
                             "cay_latency_seconds_bucket{how=\"warm\",le=\"+Inf\"} 4\n"
                             "cay_latency_seconds_sum{how=\"warm\"} 4.0634765625\n"
                             "cay_latency_seconds_count{how=\"warm\"} 4\n");
}

static void count_hook(void *user)
{
        metric_set(user, metric_value(user) + 1);
}

static void figures_kept_elsewhere_are_fetched_for_the_page(void **state)
{
        _cleanup_metrics_ struct metrics *metrics = NULL;
        struct metric_family *gauge;

        (void)state;
        assert_int_equal(metrics_new(&metrics), 0);
        assert_int_equal(metrics_add(metrics, &depth, &gauge), 0);
        struct metric *metric = metric_with(gauge, NULL);
        assert_int_equal(metrics_on_render(metrics, count_hook, metric), 0);
        expect_page(metrics,
                    "# HELP cay_depth Keys that wait.\n# TYPE cay_depth gauge\ncay_depth 1\n");
        metric_set(metric, INFINITY);
        expect_page(metrics,
                    "# HELP cay_depth Keys that wait.\n# TYPE cay_depth gauge\ncay_depth +Inf\n");
}

static void too_many_series_are_counted_together(void **state)
{
        _cleanup_metrics_ struct metrics *metrics = NULL;
        struct metric_family *counter;
        struct metric *first = NULL, *last = NULL;

        (void)state;
        assert_int_equal(metrics_new(&metrics), 0);
        assert_int_equal(metrics_add(metrics, &writes, &counter), 0);
        for (unsigned i = 0; i < METRIC_SERIES + 2; i++) {
                char text[16];
                snprintf(text, sizeof(text), "%u", i);
                last = metric_with(counter, (struct str[]){ str_from(text), STR("1") });
                if (i == METRIC_SERIES)
                        first = last;
        }
        assert_ptr_equal(first, last);
        assert_ptr_not_equal(metric_with(counter, (struct str[]){ STR("0"), STR("1") }), last);
        metric_add(last, 3);
        _cleanup_buffer_ struct buffer page = {};
        assert_int_equal(metrics_render(metrics, &page), 0);
        assert_true(str_ends_with(buffer_str(&page),
                                  STR("cay_writes_total{kind=\"other\",code=\"other\"} 3\n")));
}

/* ---- health ---- */

static bool check_flag(void *user, char why[static HEALTH_WHY_SIZE])
{
        bool *good = user;

        if (!*good)
                snprintf(why, HEALTH_WHY_SIZE, "no leader");
        return *good;
}

static void probes_name_the_check_that_fails(void **state)
{
        bool good = true, synced = true;
        struct health health = {};
        const struct {
                bool synced;
                const char *path, *query;
                int status;
                const char *text;
        } cases[] = {
                { true, "/readyz", "", 200, "ok" },
                { true, "/readyz", "verbose", 200,
                  "[+]ping ok\n[+]caches ok\nreadyz check passed\n" },
                { false, "/readyz", "", 500,
                  "[+]ping ok\n[-]caches failed: no leader\nreadyz check failed\n" },
                { false, "/readyz", "a=b&exclude=caches", 200, "ok" },
                { false, "/healthz", "", 200, "ok" },
                { false, "/livez", "verbose=1", 200, "[+]ping ok\nlivez check passed\n" },
                { false, "/readyz/ping", "", 200, "ok" },
                { false, "/readyz/caches", "", 500, "internal server error: no leader\n" },
                { false, "/livez/caches", "", 404, "404 page not found\n" },
                { true, "/readyzz", "", 404, "404 page not found\n" },
                { true, "", "", 404, "404 page not found\n" },
        };

        (void)state;
        assert_int_equal(health_add(&health, "ping", HEALTH_READY | HEALTH_LIVE, check_flag, &good),
                         0);
        assert_int_equal(health_add(&health, "caches", HEALTH_READY, check_flag, &synced), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer text = {};
                synced = cases[i].synced;
                assert_int_equal(health_answer(&health, str_from(cases[i].path),
                                               str_from(cases[i].query), &text),
                                 cases[i].status);
                assert_true(str_equal(buffer_str(&text), str_from(cases[i].text)));
        }
        health_deinit(&health);
}

/* ---- the port ---- */

static void on_answer(void *user, const struct kube_response *response)
{
        struct buffer *text = user;

        assert_int_equal(
                buffer_printf(text, "%u %.*s|", response->status, STR_FORMAT(response->body)), 0);
}

static void a_port_shows_health_and_metrics(void **state)
{
        static const struct {
                const char *method, *path, *answer;
        } cases[] = {
                { "GET", "/readyz", "200 ok|" },
                { "GET", "/readyz?verbose", "200 [+]ping ok\nreadyz check passed\n|" },
                { "GET", "/livez/none", "404 404 page not found\n|" },
                { "GET", "/metrics",
                  "200 # HELP cay_depth Keys that wait.\n# TYPE cay_depth gauge\ncay_depth 5\n|" },
                { "GET", "/metrics/x", "404 404 page not found\n|" },
                { "GET", "/", "404 404 page not found\n|" },
                { "POST", "/metrics", "405 |" },
        };
        bool good = true;
        struct health health = {};
        struct test_loop t;
        struct endpoint *endpoint = NULL, *second = NULL;
        struct error error = {};
        _cleanup_metrics_ struct metrics *metrics = NULL;
        struct metric_family *gauge;

        (void)state;
        test_loop_set_up(&t);
        assert_int_equal(metrics_new(&metrics), 0);
        assert_int_equal(metrics_add(metrics, &depth, &gauge), 0);
        metric_set(metric_with(gauge, NULL), 5);
        assert_int_equal(health_add(&health, "ping", HEALTH_READY, check_flag, &good), 0);
        struct endpoint_options options = { .loop = t.net, .health = &health, .metrics = metrics };
        options.address = test_loopback();
        assert_int_equal(endpoint_new(&options, &error, &endpoint), 0);

        struct kube_config config = { .server = STR("http://127.0.0.1"),
                                      .host = STR("127.0.0.1"),
                                      .port = net_address_port(endpoint_address(endpoint)) };
        const struct kube_client_options client_options = { .loop = t.net, .config = &config };
        struct kube_client *client = NULL;
        assert_int_equal(kube_client_new(&client_options, &error, &client), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer text = {};
                const struct kube_request request = { .method = str_from(cases[i].method),
                                                      .path = str_from(cases[i].path),
                                                      .accept = STR("text/plain") };
                assert_int_equal(kube_client_request(client, &request, on_answer, &text, NULL), 0);
                test_run_until(&t, text.length > 0);
                assert_true(str_equal(buffer_str(&text), str_from(cases[i].answer)));
        }

        options.address = *endpoint_address(endpoint);
        assert_int_equal(endpoint_new(&options, &error, &second), -EADDRINUSE);
        assert_true(error.message[0]);
        kube_client_free(client);
        endpoint_free(endpoint);
        health_deinit(&health);
        test_loop_tear_down(&t);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_page_is_prometheus_text),
                cmocka_unit_test(figures_kept_elsewhere_are_fetched_for_the_page),
                cmocka_unit_test(too_many_series_are_counted_together),
                cmocka_unit_test(probes_name_the_check_that_fails),
                cmocka_unit_test(a_port_shows_health_and_metrics),
        };
        return run_unit_tests("serve", tests);
}
