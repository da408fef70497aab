// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/test.h"
#include "router/options.h"

static int read_options(struct error *error, struct router_options *options, char **argv)
{
        int argc = 0;

        while (argv[argc])
                argc++;
        return router_options_read(argc, argv, error, options);
}

#define READ(error, options, ...)                                                                  \
        read_options(error, options, (char *[]){ "router", __VA_ARGS__ __VA_OPT__(, ) NULL })

static void options_come_from_flags_environment_and_file(void **state)
{
        char path[] = "/tmp/cay-router-XXXXXX";
        static const char yaml[] = "http-bind-address: 127.0.0.1:1\nproxy-timeout: 5s\n"
                                   "upstream-max-retries: 7\naccess-log: false\n";
        struct router_options o;
        struct error error = {};

        (void)state;
        assert_int_equal(READ(&error, &o), 0);
        assert_string_equal(o.http_address, ":8080");
        assert_string_equal(o.probe_address, ":8081");
        assert_string_equal(o.metrics_address, ":9090");
        assert_true(o.cache_enabled && o.access_log && !o.allow_loopback);
        router_options_deinit(&o);

        assert_int_equal(READ(&error, &o, "--socket", "3", "--metrics-bind-address=:1"), 0);
        assert_string_equal(o.probe_address, "");
        assert_string_equal(o.metrics_address, ":1");
        router_options_deinit(&o);

        int fd = mkstemp(path);
        assert_int_equal(fd_write_full(fd, yaml, sizeof(yaml) - 1), 0);
        fd_close(fd);
        assert_int_equal(setenv("PROXY_TIMEOUT_SECONDS", "9", 1), 0);
        assert_int_equal(setenv("CLUSTER_DOMAIN", "d.example", 1), 0);
        assert_int_equal(READ(&error, &o, "--config", path, "--upstream-max-retries", "1"), 0);
        assert_string_equal(o.http_address, "127.0.0.1:1");
        assert_string_equal(o.cluster_domain, "d.example");
        assert_true(o.proxy_timeout_ns == UINT64_C(5000000000));
        assert_int_equal(o.retries, 1);
        assert_false(o.access_log);
        router_options_deinit(&o);
        unlink(path);
        assert_int_equal(READ(&error, &o, "--config", path), -ENOENT);
        unsetenv("PROXY_TIMEOUT_SECONDS");
        unsetenv("CLUSTER_DOMAIN");
}

/* All of upstream's v0.5.6, with the defaults that it has, but for an empty key. */
static void upstreams_options_are_all_taken(void **state)
{
        struct router_options o;
        struct error error = {};

        (void)state;
        int r = READ(&error, &o, "--http-bind-address=:8080",
                     "--https-bind-address=", "--metrics-bind-address=:9090",
                     "--health-probe-bind-address=:8081", "--tls-cert-file=", "--tls-key-file=",
                     "--tls-client-ca-file=", "--mtls-mode=off", "--cluster-domain=cluster.local",
                     "--proxy-timeout=3m0s", "--response-header-timeout=30s",
                     "--shutdown-timeout=30s", "--max-request-body-bytes=0",
                     "-allow-loopback-pod-ip=false", "--upstream-max-retries=3",
                     "--upstream-retry-initial-delay=200ms", "--upstream-retry-max-delay=800ms",
                     "--enable-tracing=false", "--enable-otel-metrics=false",
                     "--authz-mode=allow-all", "--authz-tokenreview-ttl=30s",
                     "--authz-tokenreview-cache-size=2048",
                     "--authz-tokenreview-require-token=false", "--authz-tokenreview-audiences=",
                     "--authz-scoped-token-secret-file=", "--cache-enabled=false",
                     "--cache-namespace=", "--kubeconfig=", "--access-log=true",
                     "--config=", "-version=false");
        if (r < 0)
                fail_msg("%s", error.message);
        assert_true(o.head_timeout_ns == UINT64_C(30000000000));
        assert_true(o.retry_first_ns == 200000000 && o.retry_max_ns == 800000000);
        router_options_deinit(&o);
}

static void wrong_options_have_a_sentence(void **state)
{
        static const char *const cases[][2] = {
                { "--mtls-mode=maybe", "--mtls-mode" },
                { "--mtls-mode=required", "--tls-client-ca-file" },
                { "--https-bind-address=:1", "--tls-cert-file" },
                { "--mtls-mode=optional --tls-client-ca-file=x", "--https-bind-address" },
                { "--http-bind-address=", "Nothing is served" },
                { "--authz-mode=everybody", "allow-all, tokenreview or scoped-token" },
                { "--authz-mode=scoped-token", "--authz-scoped-token-secret-file" },
                { "--authz-tokenreview-ttl=0s", "--authz-tokenreview-ttl" },
                { "--authz-tokenreview-cache-size=0", "--authz-tokenreview-cache-size" },
                { "--authz-tokenreview-cache-size=1000001", "at most 1000000" },
                { "--cluster-domain=a/b", "--cluster-domain" },
                { "--cluster-domain=", "--cluster-domain" },
                { "--cache-namespace=a/b", "--cache-namespace" },
                { "--enable-otel-metrics", "--metrics-bind-address" },
                { "--upstream-max-retries=101", "at most 100" },
                { "--upstream-max-retries=-1", "--upstream-max-retries" },
                { "--proxy-timeout=0s", "--proxy-timeout" },
                { "--nonsense", "nonsense" },
                { "operand", "operand" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct router_options o;
                struct error error = {};
                char text[96], *argv[4] = { "router" }, *rest = text;
                snprintf(text, sizeof(text), "%s", cases[i][0]);
                for (size_t n = 1; n < ARRAY_SIZE(argv) - 1; n++)
                        argv[n] = strsep(&rest, " ");
                assert_int_equal(read_options(&error, &o, argv), -EINVAL);
                if (!strstr(error.message, cases[i][1]))
                        fail_msg("%s: %s", cases[i][0], error.message);
        }
}

static void config_files_are_flat(void **state)
{
        static const struct {
                const char *text;
                const char *sentence; /* NULL: it is good */
        } cases[] = {
                { "", NULL },
                { "# nothing\n", NULL },
                { "http-bind-address:\nhttps-bind-address: ':8443'\n", NULL },
                { "{proxy-timeout: 5, access-log: no}", NULL },
                { "max-request-body-bytes: 12\nallow-loopback-pod-ip: true\n", NULL },
                { "- a\n", "no list of options" },
                { "text", "no list of options" },
                { "a: b\n---\nc: d\n", "no list of options" },
                { "http-bind-address: {a: b}\n", "http-bind-address takes one value" },
                { "http-bind-address: [a]\n", "http-bind-address takes one value" },
                { "http-bind-address: \"a\\0b\"\n", "http-bind-address takes one value" },
                { "no-such-option: 1\n", "no-such-option" },
                { "access-log: perhaps\n", "access-log" },
                { "proxy-timeout: soon\n", "proxy-timeout" },
                { "a: 'b\n", "line" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct router_options o;
                struct error error = {};
                router_options_init(&o);
                int r = router_options_take_yaml(&o, str_from(cases[i].text), &error);
                if ((r < 0) != (cases[i].sentence != NULL) ||
                    (r < 0 && !strstr(error.message, cases[i].sentence)))
                        fail_msg("%s: %d %s", cases[i].text, r, error.message);
                router_options_deinit(&o);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_come_from_flags_environment_and_file),
                cmocka_unit_test(upstreams_options_are_all_taken),
                cmocka_unit_test(wrong_options_have_a_sentence),
                cmocka_unit_test(config_files_are_flat),
        };

        return run_unit_tests("router_options", tests);
}
