// SPDX-License-Identifier: Apache-2.0

/*
 * The N-th allocation fails, for every N until all goes well, in crypto, client and serve: nothing
 * crashes or leaks (a sanitizer would tell), and the result is then -ENOMEM or right. What OpenSSL
 * and libuv allocate is not counted.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/failing_allocation.h"
#include "base/test.h"
#include "client/config.h"
#include "client/exec.h"
#include "client/list_decoder.h"
#include "client/list_watch.h"
#include "crypto/certificate.h"
#include "crypto/encode.h"
#include "crypto/jwt.h"
#include "serve/conversion.h"
#include "serve/health.h"
#include "serve/metrics.h"
#include "serve/webhook_pair.h"

static int try_config(void)
{
        static const char text[] =
                "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}],"
                " clusters: [{name: c, cluster: {server: 'https://h/x', proxy-url: p,"
                " certificate-authority-data: Q0E=}}],"
                " users: [{name: u, user: {token: t, username: n, password: p, as: j,"
                " exec: {command: ./x, args: [a], env: [{name: A, value: b}]}}}]}";
        _cleanup_kube_config_ struct kube_config config = {};
        _cleanup_buffer_ struct buffer info = {};
        struct error error = {};
        int r = kube_config_parse(str_from(text), "/f", STR_EMPTY, &error, &config);

        return r < 0 ? r : exec_info_append(&config, &info);
}

static int try_credential(void)
{
        _cleanup_exec_credential_ struct exec_credential credential = {};

        return exec_credential_parse(
                STR("{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"a\",\"clientKeyData\":"
                    "\"k\",\"clientCertificateData\":\"c\"}}"),
                STR_EMPTY, NULL, &credential);
}

static void hear(void *user, const struct kube_event *event)
{
        (void)user;
        (void)event;
}

static const struct kind pods = {
        .version = STR("v1"), .kind = STR("Pod"), .plural = STR("pods"), .namespaced = true
};

static int feed_page(struct list_watch *lw, struct str body)
{
        _cleanup_doc_ struct json_doc *rest = NULL;
        struct list_decoder decoder;
        int r = 0;

        list_watch_begun(lw);
        list_decoder_init(&decoder, 0);
        for (size_t at = 0; at < body.length && r == 0; at += 16)
                r = list_decoder_feed(&decoder, str_slice(body, at, MIN(body.length, at + 16)),
                                      NULL, list_watch_item, lw);
        if (r == 0)
                r = json_doc_parse(buffer_str(&decoder.rest), NULL, NULL, NULL, &rest);
        list_decoder_deinit(&decoder);
        return r < 0 ? r : list_watch_page(lw, rest);
}

static int feed(struct list_watch *lw)
{
        static const char page[] =
                "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"c\"},\"items\":["
                "{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}]}";
        static const char last[] =
                "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"metadata\":{\"name\":"
                "\"b\"}}]}";
        static const char events[] =
                "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\","
                "\"resourceVersion\":\"8\"}}}\n{\"object\":{\"metadata\":{\"name\":\"c\","
                "\"resourceVersion\":\"9\"}},\"type\":\"DELETED\"}\n";
        _cleanup_buffer_ struct buffer path = {};
        struct watch_decoder decoder;

        int r = feed_page(lw, str_from(page));
        if (r == 0)
                r = list_watch_path(lw, 1, &path);
        if (r == 0)
                r = feed_page(lw, str_from(last));
        if (r < 0)
                return r;
        list_watch_begun(lw);
        watch_decoder_init(&decoder, 0);
        for (size_t at = 0; at < sizeof(events) - 1 && r == 0; at += 16)
                r = watch_decoder_feed(
                        &decoder,
                        (struct str){ events + at, MIN(sizeof(events) - 1 - at, (size_t)16) }, NULL,
                        list_watch_event, lw);
        watch_decoder_deinit(&decoder);
        return r;
}

static int try_list_watch(void)
{
        struct list_watch lw;
        const struct kube_reflector_options options = { .kind = &pods,
                                                        .name_space = STR("n"),
                                                        .no_watch_list = true,
                                                        .tell_vanished = true,
                                                        .handler = hear };
        int r = list_watch_init(&lw, &options);

        if (r < 0)
                return r;
        r = feed(&lw);
        if (r == 0)
                assert_true(str_equal(buffer_str(&lw.resource_version), STR("9")));
        list_watch_deinit(&lw);
        return r;
}

static struct ca *ca; /* made while memory is there */

static int try_certificate(void)
{
        static const struct str names[] = { STR("localhost"), STR("127.0.0.1") };
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        _cleanup_ca_ struct ca *again = NULL;
        _cleanup_buffer_ struct buffer key = {};
        const struct certificate_request request = {
                .common_name = STR("x"), .names = names, .name_count = 2, .now = clock_realtime_ns()
        };
        int r = ca_issue(ca, &request, NULL, &pair);

        if (r == 0)
                r = ca_append_key(ca, &key);
        return r < 0 ? r : ca_from_pem(ca_certificate(ca), buffer_str(&key), NULL, &again);
}

static int try_token(void)
{
        _cleanup_jwt_key_ struct jwt_key *key = NULL;
        _cleanup_buffer_ struct buffer token = {}, claims = {}, jwk = {};
        int r = jwt_key_make(&key);

        if (r == 0)
                r = jwt_key_append_jwk(key, &jwk);
        if (r == 0)
                r = jwt_sign(key, STR("{\"a\":1}"), &token);
        if (r < 0)
                return r;
        const struct jwt_key *keys[] = { key };
        r = jwt_verify(keys, 1, buffer_str(&token), &claims);
        assert_true(r < 0 || str_equal(buffer_str(&claims), STR("{\"a\":1}")));
        return r;
}

static bool is_good(void *user, char why[static HEALTH_WHY_SIZE])
{
        (void)user;
        why[0] = '\0';
        return true;
}

static int try_health(void)
{
        struct health health = {};
        _cleanup_buffer_ struct buffer text = {};
        int r = health_add(&health, "a", HEALTH_READY, is_good, NULL);

        if (r == 0)
                r = health_add(&health, "b", HEALTH_READY, is_good, NULL);
        if (r == 0)
                r = health_answer(&health, STR("/readyz"), STR("verbose"), &text);
        health_deinit(&health);
        return MIN(r, 0);
}

static int try_metrics(void)
{
        static const struct metric_description counter = {
                METRIC_COUNTER, "c", "Help.", { "a" }, {}
        };
        static const struct metric_description histogram = {
                METRIC_HISTOGRAM, "h", "Help.", { "a" }, { 1, 2 }
        };
        _cleanup_metrics_ struct metrics *metrics = NULL;
        _cleanup_buffer_ struct buffer page = {};
        struct metric_family *counters, *histograms;
        int r = metrics_new(&metrics);

        if (r == 0)
                r = metrics_add(metrics, &counter, &counters);
        if (r == 0)
                r = metrics_add(metrics, &histogram, &histograms);
        if (r < 0)
                return r;
        /* Counting never fails: without memory it is the shared series that counts. */
        metric_add(metric_with(counters, &STR("x")), 1);
        metric_observe(metric_with(histograms, &STR("y")), 1.5);
        return metrics_render(metrics, &page);
}

static int try_conversion(void)
{
        static const char review[] =
                "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\","
                "\"request\":{\"uid\":\"u\",\"desiredAPIVersion\":\"agents.x-k8s.io/v1beta1\","
                "\"objects\":[{\"apiVersion\":\"agents.x-k8s.io/v1alpha1\",\"kind\":\"Sandbox\","
                "\"metadata\":{\"name\":\"n\"},\"spec\":{\"replicas\":0,\"podTemplate\":{}}}]}}";
        _cleanup_conversion_review_ struct conversion_review *made = NULL;
        int r = conversion_review_new(str_from(review), NULL, &made);

        while (r == 0 && (r = conversion_review_step(made, 0)) > 0)
                r = 0;
        if (r == 0 && conversion_review_outcome(made).answer.length > 0)
                assert_int_equal(conversion_review_outcome(made).objects, 1);
        return r;
}

static struct webhook_pair webhook_pair; /* made while memory is there */

static const struct str webhook_names[] = { STR("w.n.svc") };
static const struct webhook_pair_policy policy = {
        .names = webhook_names, .count = 1, .required = 1, .valid_s = 900
};

static int try_webhook_pair(void)
{
        _cleanup_webhook_pair_ struct webhook_pair read = {}, next = {};
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *secret = NULL;
        uint64_t now = clock_realtime_ns();

        int r = webhook_pair_append(&webhook_pair, (struct json_value){}, STR("n"), STR("s"),
                                    &text);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &secret);
        if (r == 0)
                r = webhook_pair_read(json_root(secret), &read);
        if (r == 0)
                r = webhook_pair_judge(&read, &policy, now, NULL);
        /* Never taken for one of no use, which would be replaced. */
        assert_true(r == WEBHOOK_PAIR_GOOD || r == -ENOMEM);
        return r < 0 ? r : webhook_pair_advance(&read, WEBHOOK_PAIR_OLD, &policy, now, NULL, &next);
}

static void every_allocation_may_fail(void **state)
{
        static const struct {
                const char *name;
                int (*attempt)(void);
        } cases[] = {
                { "config", try_config },
                { "credential", try_credential },
                { "list_watch", try_list_watch },
                { "certificate", try_certificate },
                { "token", try_token },
                { "health", try_health },
                { "metrics", try_metrics },
                { "conversion", try_conversion },
                { "webhook_pair", try_webhook_pair },
        };

        (void)state;
        assert_int_equal(ca_make(STR("cay"), clock_realtime_ns(), 0, NULL, &ca), 0);
        assert_int_equal(webhook_pair_make(&policy, clock_realtime_ns(), NULL, &webhook_pair), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                long n = 0;
                for (bool done = false; !done; n++) {
                        allocation_fail_after(n);
                        int r = cases[i].attempt();
                        done = !allocation_failed();
                        if (r != 0 && (r != -ENOMEM || done))
                                fail_msg("%s: %d when allocation %ld fails", cases[i].name, r, n);
                }
                assert_true(n > 2);
        }
        ca_free(ca);
        webhook_pair_deinit(&webhook_pair);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_may_fail) };

        return run_unit_tests("serve_oom", tests);
}
