// SPDX-License-Identifier: Apache-2.0
#include "serve/webhook.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/test.h"
#include "client/client.h"
#include "crypto/encode.h"
#include "net/test_loop.h"
#include "serve/webhook_pair.h"
#include "json/edit.h"

#define REVIEW(version)                                                                            \
        "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"request\":{"  \
        "\"uid\":\"u\",\"desiredAPIVersion\":\"agents.x-k8s.io/" version "\",\"objects\":[{"       \
        "\"apiVersion\":\"agents.x-k8s.io/v1alpha1\",\"kind\":\"Sandbox\",\"metadata\":{\"name\":" \
        "\"n\"},\"spec\":{\"replicas\":0,\"podTemplate\":{}}}]}}"

enum { VALID_S = 900 };

static const struct str names[] = { STR("w.n.svc"), STR("127.0.0.1"), STR("w") };
static const struct webhook_pair_policy policy = {
        .names = names, .count = 3, .required = 2, .valid_s = VALID_S
};

/* ---- the server ---- */

struct fixture {
        struct test_loop t;
        struct webhook_pair pair;
        struct webhook *webhook;
        struct kube_config config;
        struct kube_client *client;
        int error;
        unsigned status, answers;
        struct json_doc *doc;
};

static void connect_client(struct fixture *f, struct str authorities)
{
        _cleanup_buffer_ struct buffer text = {};
        struct kube_client_options options = { .loop = f->t.net, .config = &f->config };

        assert_int_equal(buffer_printf(&text,
                                       "{current-context: a,"
                                       " contexts: [{name: a, context: {cluster: c, user: u}}],"
                                       " users: [{name: u, user: {token: t}}],"
                                       " clusters: [{name: c, cluster: {server: "
                                       "'https://127.0.0.1:%u', certificate-authority-data: ",
                                       net_address_port(webhook_address(f->webhook))),
                         0);
        assert_int_equal(
                base64_append(&text, BASE64_STANDARD, authorities.data, authorities.length), 0);
        assert_int_equal(buffer_append_str(&text, STR("}}]}")), 0);
        assert_int_equal(kube_config_parse(buffer_str(&text), ".", STR(""), NULL, &f->config), 0);
        assert_int_equal(kube_client_new(&options, NULL, &f->client), 0);
}

static void disconnect(struct fixture *f)
{
        kube_client_free(f->client);
        kube_config_deinit(&f->config);
        f->config = (struct kube_config){};
}

static void set_up(struct fixture *f)
{
        *f = (struct fixture){};
        test_loop_set_up(&f->t);
        assert_int_equal(webhook_pair_make(&policy, clock_realtime_ns(), NULL, &f->pair), 0);
        struct webhook_options options = { .loop = f->t.net,
                                           .certificate = buffer_str(&f->pair.serving.certificate),
                                           .key = buffer_str(&f->pair.serving.key) };
        options.address = test_loopback();
        assert_int_equal(webhook_new(&options, NULL, &f->webhook), 0);
        connect_client(f, buffer_str(&f->pair.authorities));
}

static void tear_down(struct fixture *f)
{
        if (f->doc)
                json_doc_unref(f->doc);
        disconnect(f);
        webhook_free(f->webhook);
        webhook_pair_deinit(&f->pair);
        test_loop_tear_down(&f->t);
}

static void on_answer(void *user, const struct kube_response *response)
{
        struct fixture *f = user;

        f->error = response->error;
        f->status = response->status;
        if (f->doc)
                json_doc_unref(f->doc);
        f->doc = response->doc ? json_doc_ref(response->doc) : NULL;
        f->answers++;
}

static void ask(struct fixture *f, const char *method, const char *path, const char *type,
                struct str body)
{
        const struct kube_request request = { .method = str_from(method),
                                              .path = str_from(path),
                                              .content_type = str_from(type),
                                              .attempts = 1,
                                              .body = body };
        unsigned before = f->answers;

        assert_int_equal(kube_client_request(f->client, &request, on_answer, f, NULL), 0);
        test_run_until(&f->t, f->answers > before);
}

static void reviews_are_answered_and_counted(void **state _unused_)
{
        struct fixture f;

        set_up(&f);
        ask(&f, "POST", "/convert?timeout=30s", "application/json; charset=utf-8",
            STR(REVIEW("v1beta1")));
        assert_int_equal(f.status, 200);
        struct json_value response = json_get(json_root(f.doc), "response");
        assert_true(json_string_is(json_get(json_element(json_get(response, "convertedObjects"), 0),
                                            "spec", "operatingMode"),
                                   STR("Suspended")));
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v9")));
        assert_int_equal(f.status, 200);
        ask(&f, "POST", "/convert", NULL, STR("{}"));
        assert_int_equal(f.status, 400);
        const struct webhook_counters counters = webhook_counters(f.webhook);
        assert_int_equal(counters.reviews, 2);
        assert_int_equal(counters.objects, 1);
        assert_int_equal(counters.refused, 1);
        assert_int_equal(counters.invalid, 1);
        tear_down(&f);
}

static void what_is_no_conversion_is_refused(void **state _unused_)
{
        static const struct {
                const char *method, *path, *type;
                unsigned status;
        } cases[] = {
                { "GET", "/convert", NULL, 405 },
                { "POST", "/", NULL, 404 },
                { "POST", "/convert/", NULL, 404 },
                { "POST", "/metrics", NULL, 404 },
                { "POST", "/convert", "application/yaml", 415 },
                { "POST", "/convert", "application/json-patch", 415 },
        };
        struct fixture f;

        set_up(&f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                bool reads = strcmp(cases[i].method, "GET") == 0;
                ask(&f, cases[i].method, cases[i].path, cases[i].type,
                    reads ? STR_EMPTY : STR("{}"));
                assert_int_equal(f.status, cases[i].status);
        }
        tear_down(&f);
}

static void bodies_are_bounded(void **state _unused_)
{
        struct fixture f;
        char *large = malloc(LIMIT_CONVERSION + 1);

        set_up(&f);
        assert_non_null(large);
        memset(large, ' ', LIMIT_CONVERSION + 1);
        ask(&f, "POST", "/convert", NULL, (struct str){ large, LIMIT_CONVERSION + 1 });
        /* Who does not read before all is sent sees the connection end instead. */
        assert_true(f.status == 413 || f.error == KUBE_LOST);
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v1beta1")));
        assert_int_equal(f.status, 200);
        free(large);
        tear_down(&f);
}

static void who_trusts_the_old_authority_is_refused_by_the_new_one(void **state _unused_)
{
        _cleanup_webhook_pair_ struct webhook_pair next = {};
        struct fixture f;

        set_up(&f);
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v1beta1")));
        assert_int_equal(webhook_pair_make(&policy, clock_realtime_ns(), NULL, &next), 0);
        assert_int_equal(webhook_reload(f.webhook, STR("no PEM"), STR("no PEM"), NULL), -EBADMSG);
        assert_int_equal(webhook_reload(f.webhook, buffer_str(&next.serving.certificate),
                                        buffer_str(&next.serving.key), NULL),
                         0);
        /* An open connection goes on. */
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v1beta1")));
        assert_int_equal(f.status, 200);
        disconnect(&f);
        connect_client(&f, buffer_str(&f.pair.authorities));
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v1beta1")));
        assert_int_equal(f.error, KUBE_UNTRUSTED);
        disconnect(&f);
        connect_client(&f, buffer_str(&next.authorities));
        ask(&f, "POST", "/convert", NULL, STR(REVIEW("v1beta1")));
        assert_int_equal(f.status, 200);
        tear_down(&f);
}

/* ---- the certificates ---- */

static bool trusts(const struct webhook_pair *pair, const struct buffer *authorities)
{
        return memmem(pair->authorities.data, pair->authorities.length, authorities->data,
                      authorities->length);
}

static void advance(struct webhook_pair *pair, enum webhook_pair_verdict expected, uint64_t now)
{
        struct webhook_pair next = {};
        struct error why = {};

        assert_int_equal(webhook_pair_judge(pair, &policy, now, &why), expected);
        assert_int_equal(webhook_pair_advance(pair, expected, &policy, now, NULL, &next), 0);
        webhook_pair_deinit(pair);
        *pair = next;
}

static bool same(const struct buffer *a, const struct buffer *b)
{
        return str_equal(buffer_str(a), buffer_str(b));
}

static void a_pair_is_replaced_in_two_steps(void **state _unused_)
{
        _cleanup_webhook_pair_ struct webhook_pair pair = {}, first = {}, announced = {};
        uint64_t now = clock_realtime_ns(), second = NS_PER_SECOND;

        assert_int_equal(webhook_pair_make(&policy, now, NULL, &pair), 0);
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_GOOD);
        assert_int_equal(buffer_append_str(&first.serving.certificate,
                                           buffer_str(&pair.serving.certificate)),
                         0);
        assert_int_equal(buffer_append_str(&first.authorities, buffer_str(&pair.authorities)), 0);

        now += (VALID_S * 2 / 3 - 2) * second;
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_GOOD);
        now += 4 * second;
        advance(&pair, WEBHOOK_PAIR_OLD, now);
        assert_true(same(&pair.serving.certificate, &first.serving.certificate));
        assert_true(trusts(&pair, &first.authorities));
        assert_int_equal(
                buffer_append_str(&announced.next.certificate, buffer_str(&pair.next.certificate)),
                0);

        now += second;
        advance(&pair, WEBHOOK_PAIR_CHANGING, now);
        assert_true(same(&pair.serving.certificate, &announced.next.certificate));
        assert_int_equal(pair.next.certificate.length + pair.next.key.length, 0);
        assert_true(trusts(&pair, &first.authorities));
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_GOOD);

        now += (VALID_S / 3) * second;
        advance(&pair, WEBHOOK_PAIR_LITTER, now);
        assert_false(trusts(&pair, &first.authorities));
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_GOOD);
}

static void what_is_of_no_use_is_replaced_at_once(void **state _unused_)
{
        static const struct str others[] = { STR("other.n.svc") };
        const struct webhook_pair_policy other = {
                .names = others, .count = 1, .required = 1, .valid_s = VALID_S
        };
        _cleanup_webhook_pair_ struct webhook_pair pair = {}, old = {}, nothing = {};
        uint64_t now = clock_realtime_ns();

        advance(&nothing, WEBHOOK_PAIR_UNUSABLE, now);
        assert_int_equal(webhook_pair_judge(&nothing, &policy, now, NULL), WEBHOOK_PAIR_GOOD);

        /* Other replicas may still serve it, so it stays trusted. */
        assert_int_equal(webhook_pair_make(&other, now, NULL, &pair), 0);
        assert_int_equal(buffer_append_str(&old.authorities, buffer_str(&pair.authorities)), 0);
        advance(&pair, WEBHOOK_PAIR_UNUSABLE, now);
        assert_true(trusts(&pair, &old.authorities));
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_GOOD);

        now += (VALID_S + 1) * NS_PER_SECOND;
        advance(&pair, WEBHOOK_PAIR_UNUSABLE, now);
        assert_false(trusts(&pair, &old.authorities));

        /* What is announced and damaged is announced anew. */
        now += (VALID_S * 2 / 3 + 2) * NS_PER_SECOND;
        advance(&pair, WEBHOOK_PAIR_OLD, now);
        buffer_clear(&pair.next.key);
        advance(&pair, WEBHOOK_PAIR_OLD, now);
        assert_int_equal(webhook_pair_judge(&pair, &policy, now, NULL), WEBHOOK_PAIR_CHANGING);
}

static void a_secret_keeps_it_all(void **state _unused_)
{
        _cleanup_webhook_pair_ struct webhook_pair pair = {}, read = {};
        _cleanup_buffer_ struct buffer text = {}, again = {};
        _cleanup_doc_ struct json_doc *secret = NULL, *labelled = NULL, *written = NULL;
        _cleanup_arena_ struct arena arena = {};
        struct json_edit edit;
        uint64_t now = clock_realtime_ns();

        assert_int_equal(webhook_pair_make(&policy, now, NULL, &pair), 0);
        assert_int_equal(
                webhook_pair_append(&pair, (struct json_value){}, STR("n"), STR("s"), &text), 0);
        assert_int_equal(json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &secret), 0);
        assert_true(json_string_is(json_get(json_root(secret), "type"), STR("Opaque")));
        assert_int_equal(json_count(json_get(json_root(secret), "data")), 3);
        assert_int_equal(webhook_pair_read(json_root(secret), &read), 0);
        assert_true(same(&pair.authorities, &read.authorities));
        assert_true(same(&pair.serving.certificate, &read.serving.certificate));
        assert_true(same(&pair.serving.key, &read.serving.key));

        /* Of a Secret that stands, only the data changes. */
        json_edit_init(&edit, secret, &arena);
        json_edit_set_string(&edit, "/metadata/resourceVersion", STR("41"));
        json_edit_set_string(&edit, "/metadata/labels/kept", STR("yes"));
        json_edit_set_string(&edit, "/data/next.crt", STR("!"));
        json_edit_set_string(&edit, "/data/tls.key", STR("!"));
        assert_int_equal(json_edit_apply(&edit, &labelled), 0);
        assert_int_equal(
                webhook_pair_append(&pair, json_root(labelled), STR("n"), STR("s"), &again), 0);
        assert_int_equal(json_doc_parse(buffer_str(&again), NULL, NULL, NULL, &written), 0);
        assert_true(json_string_is(json_get(json_root(written), "metadata", "resourceVersion"),
                                   STR("41")));
        assert_true(json_string_is(json_get(json_root(written), "metadata", "labels", "kept"),
                                   STR("yes")));
        assert_true(json_equal(json_get(json_root(written), "data"),
                               json_get(json_root(secret), "data")));
        webhook_pair_deinit(&read);
        read = (struct webhook_pair){};
        assert_int_equal(webhook_pair_read(json_root(labelled), &read), 0);
        assert_int_equal(read.serving.key.length + read.next.certificate.length, 0);
        assert_int_equal(webhook_pair_judge(&read, &policy, now, NULL), WEBHOOK_PAIR_UNUSABLE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reviews_are_answered_and_counted),
                cmocka_unit_test(what_is_no_conversion_is_refused),
                cmocka_unit_test(bodies_are_bounded),
                cmocka_unit_test(who_trusts_the_old_authority_is_refused_by_the_new_one),
                cmocka_unit_test(a_pair_is_replaced_in_two_steps),
                cmocka_unit_test(what_is_of_no_use_is_replaced_at_once),
                cmocka_unit_test(a_secret_keeps_it_all),
        };

        return run_unit_tests("webhook", tests);
}
