// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "client/exec.h"
#include "client/fake_api.h"
#include "crypto/certificate.h"
#include "crypto/encode.h"
#include "net/tls.h"

/* What came back. */
struct answer {
        unsigned count;
        int error;
        unsigned status;
        bool timed_out, has_doc;
        char reason[64], message[256], body[256];
};

static void on_answer(void *user, const struct kube_response *response)
{
        struct answer *answer = user;

        answer->count++;
        answer->error = response->error;
        answer->status = response->status;
        answer->timed_out = response->timed_out;
        answer->has_doc = response->doc != NULL;
        snprintf(answer->reason, sizeof(answer->reason), "%.*s", STR_FORMAT(response->reason));
        snprintf(answer->message, sizeof(answer->message), "%.*s", STR_FORMAT(response->message));
        snprintf(answer->body, sizeof(answer->body), "%.*s", STR_FORMAT(response->body));
}

static void ask(struct fake_api *api, struct kube_request request, struct answer *answer)
{
        *answer = (struct answer){};
        assert_int_equal(kube_client_request(api->client, &request, on_answer, answer, NULL), 0);
        assert_int_equal(answer->count, 0);
        test_run_until(&api->t, answer->count > 0);
}

#define GET(path_) ((struct kube_request){ .method = STR("GET"), .path = STR(path_) })
#define POST(path_, body_)                                                                         \
        ((struct kube_request){ .method = STR("POST"), .path = STR(path_), .body = STR(body_) })
#define STATUS(code, reason, message)                                                              \
        "{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"" reason "\",\"message\":\"" message \
        "\"}"

static void requests_carry_their_fields(void **state)
{
        static const char *const show[] = { "authorization", "content-type", "accept", "user-agent",
                                            NULL };
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{\"a\": 1}" },
                                                     { FAKE_ANSWER, 201, "{}" } };
        struct fake_api api;
        struct answer answer;

        (void)state;
        fake_listen(&api, NULL);
        fake_connect(&api, "http", "", "token: secret, as: jane",
                     (struct kube_client_options){ .user_agent = STR("cay/1 (test)") });
        api.show = show;
        fake_expect(&api, replies);
        ask(&api, GET("/api/v1/pods?limit=1"), &answer);
        assert_true(answer.has_doc);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "{\"a\": 1}");
        ask(&api, POST("/api/v1/pods", "{}"), &answer);
        assert_int_equal(answer.status, 201);
        fake_asked(&api, "GET /api/v1/pods?limit=1 authorization=Bearer secret content-type= "
                         "accept=application/json user-agent=cay/1 (test)\n"
                         "POST /api/v1/pods authorization=Bearer secret "
                         "content-type=application/json accept=application/json "
                         "user-agent=cay/1 (test) {}\n");
        fake_tear_down(&api);
}

static void refusals_give_reason_and_message(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 409, STATUS(409, "Conflict", "changed meanwhile") },
                { FAKE_ANSWER, 403, "no", "text/plain" },
                { FAKE_ANSWER, 200, "<html>", "text/html" },
                { FAKE_ANSWER, 204, "" },
                { FAKE_ANSWER, 302, "" },
        };
        struct fake_api api;
        struct answer answer;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.status, 409);
        assert_string_equal(answer.reason, "Conflict");
        assert_string_equal(answer.message, "changed meanwhile");
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.status, 403);
        assert_string_equal(answer.reason, "");
        assert_string_equal(answer.message, "the server answered 403 Forbidden");
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.error, KUBE_MALFORMED);
        assert_non_null(strstr(answer.message, "not JSON"));
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.error, 0);
        assert_int_equal(answer.status, 204);
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.status, 302);
        fake_tear_down(&api);
}

static void only_what_may_be_repeated_is_repeated(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 500, "{}" }, /* a GET: again */
                { FAKE_CUT },               /* and again */
                { FAKE_ANSWER, 429, STATUS(429, "TooManyRequests", "") },
                { FAKE_ANSWER, 200, "{}" },
                { FAKE_ANSWER, 500, "{}" },               /* a POST: told */
                { FAKE_CUT },                             /* a POST: told as lost */
                { FAKE_CUT },                             /* a POST of two attempts: the same */
                { FAKE_ANSWER, 429, "{}" },               /* a POST of one attempt: told */
                { FAKE_ANSWER, 429, "{}" },               /* of two: again */
                { FAKE_ANSWER, 503, "{}", NULL, "soon" }, /* and that is all */
        };
        struct fake_api api;
        struct answer answer;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        ask(&api, GET("/a"), &answer);
        assert_int_equal(answer.status, 200);
        fake_asked(&api, "GET /a\nGET /a\nGET /a\nGET /a\n");

        ask(&api, POST("/a", "{}"), &answer);
        assert_int_equal(answer.status, 500);
        ask(&api, POST("/a", "{}"), &answer);
        assert_int_equal(answer.error, KUBE_LOST);
        assert_int_equal(answer.status, 0);
        assert_non_null(strstr(answer.message, "http://127.0.0.1:"));
        struct kube_request twice = POST("/a", "{}");
        twice.attempts = 2;
        ask(&api, twice, &answer);
        assert_int_equal(answer.error, KUBE_LOST);
        ask(&api, POST("/a", "{}"), &answer);
        assert_int_equal(answer.status, 429);
        ask(&api, twice, &answer);
        assert_int_equal(answer.status, 503);
        assert_int_equal(api.next, ARRAY_SIZE(replies));
        assert_int_equal(kube_client_counters(api.client).retries, 4);
        fake_tear_down(&api);
}

static void a_server_that_is_not_there_is_unreachable(void **state)
{
        struct fake_api api;
        struct answer answer;
        struct kube_request request = POST("/a", "{}");

        (void)state;
        fake_set_up(&api);
        http_server_free(api.server);
        api.server = NULL;
        request.attempts = 3;
        ask(&api, request, &answer);
        assert_int_equal(answer.error, KUBE_UNREACHABLE);
        assert_int_equal(kube_client_counters(api.client).requests, 3);
        assert_int_equal(kube_client_counters(api.client).in_flight, 0);
        fake_tear_down(&api);
}

static void silence_ends_at_the_deadline(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_HOLD }, { FAKE_HOLD } };
        struct fake_api api;
        struct answer answer;
        struct kube_request request = GET("/a");

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        request.timeout_ms = 30;
        request.attempts = 2;
        ask(&api, request, &answer);
        assert_int_equal(answer.error, KUBE_LOST);
        assert_true(answer.timed_out);
        test_run_until(&api.t, api.aborts == 2);
        fake_tear_down(&api);
}

static void no_more_than_the_limit_are_in_flight(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_HOLD }, { FAKE_HOLD }, { FAKE_HOLD }, { FAKE_HOLD }
        };
        static const struct fake_reply good = { FAKE_ANSWER, 200, "{}" };
        struct fake_api api;
        struct answer answers[5] = {};
        struct kube_call *calls[5];

        (void)state;
        fake_listen(&api, NULL);
        fake_connect(&api, "http", "", "", (struct kube_client_options){ .in_flight_limit = 2 });
        fake_expect(&api, replies);
        for (size_t i = 0; i < 5; i++)
                assert_int_equal(kube_client_request(api.client, &GET("/a"), on_answer, &answers[i],
                                                     &calls[i]),
                                 0);
        test_run_until(&api.t, api.held_count == 2);
        test_run_turns(&api.t, 5);
        assert_int_equal(api.held_count, 2);
        assert_int_equal(kube_client_counters(api.client).waiting, 3);

        /* One that waits and one in flight are withdrawn: the third takes a place. */
        kube_call_cancel(calls[4]);
        kube_call_cancel(calls[0]);
        test_run_until(&api.t, api.aborts == 1 && api.held_count == 2);
        while (answers[1].count + answers[2].count + answers[3].count < 3) {
                test_run_until(&api.t, api.held_count > 0);
                struct http_exchange *exchange = api.held[0];
                fake_forget(&api, exchange);
                fake_answer(exchange, &good);
                test_run_turns(&api.t, 3);
        }
        assert_int_equal(answers[0].count + answers[4].count, 0);
        assert_int_equal(kube_client_counters(api.client).in_flight, 0);
        assert_int_equal(kube_client_counters(api.client).waiting, 0);
        fake_tear_down(&api);
}

static bool look_up_permission(void *user)
{
        return *(const bool *)user;
}

/* Allowed when it is asked for, but no longer when it could go out. */
static void what_is_no_longer_allowed_is_not_sent(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_HOLD } };
        struct fake_api api;
        struct answer held = {}, dialing = {}, waiting = {};
        bool allowed = true;
        struct kube_request request = POST("/w", "{}");

        (void)state;
        request.may_send = look_up_permission;
        request.may_send_user = &allowed;
        request.attempts = 3;
        fake_listen(&api, NULL);
        fake_connect(&api, "http", "", "token: secret",
                     (struct kube_client_options){ .in_flight_limit = 2 });
        fake_expect(&api, replies);
        assert_int_equal(kube_client_request(api.client, &GET("/a"), on_answer, &held, NULL), 0);
        assert_int_equal(kube_client_request(api.client, &request, on_answer, &dialing, NULL), 0);
        assert_int_equal(kube_client_request(api.client, &request, on_answer, &waiting, NULL), 0);
        allowed = false;
        test_run_until(&api.t, waiting.count == 1 && api.held_count == 1);
        assert_int_equal(dialing.error, KUBE_WITHHELD);
        assert_int_equal(waiting.error, KUBE_WITHHELD);
        fake_asked(&api, "GET /a\n");
        fake_answer(api.held[0], &(struct fake_reply){ FAKE_ANSWER, 200, "{}" });
        test_run_until(&api.t, held.count == 1);

        /* On the connection that stands by now. */
        ask(&api, request, &waiting);
        assert_int_equal(waiting.error, KUBE_WITHHELD);
        fake_asked(&api, "");
        fake_tear_down(&api);
}

static void a_refused_token_is_read_again_once(void **state)
{
        static const char *const show[] = { "authorization", NULL };
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, "{}" },
                { FAKE_ANSWER, 401, STATUS(401, "Unauthorized", "") },
                { FAKE_ANSWER, 201, "{}" },
                { FAKE_ANSWER, 401, STATUS(401, "Unauthorized", "") },
                { FAKE_ANSWER, 401, STATUS(401, "Unauthorized", "") },
        };
        char path[] = "/tmp/client-test.XXXXXX", user[64];
        int fd = mkstemp(path);
        struct fake_api api;
        struct answer answer;

        (void)state;
        assert_int_equal(fd_write_full(fd, "first", 5), 0);
        snprintf(user, sizeof(user), "tokenFile: %s", path);
        fake_listen(&api, NULL);
        fake_connect(&api, "http", "", user, (struct kube_client_options){});
        api.show = show;
        fake_expect(&api, replies);
        ask(&api, GET("/a"), &answer);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, "second", 6, 0), 6);
        ask(&api, POST("/a", "{}"), &answer);
        assert_int_equal(answer.status, 201);
        ask(&api, POST("/a", "{}"), &answer);
        assert_int_equal(answer.status, 401);
        fake_asked(&api, "GET /a authorization=Bearer first\n"
                         "POST /a authorization=Bearer first {}\n"
                         "POST /a authorization=Bearer second {}\n"
                         "POST /a authorization=Bearer second {}\n"
                         "POST /a authorization=Bearer second {}\n");
        fake_tear_down(&api);
        fd_close(fd);
        unlink(path);
}

/* ---- streams ---- */

struct stream_answer {
        struct answer end;
        unsigned status;
        struct buffer data;
};

static void on_stream_head(void *user, unsigned status)
{
        ((struct stream_answer *)user)->status = status;
}

static void on_stream_data(void *user, struct str data)
{
        assert_int_equal(buffer_append_str(&((struct stream_answer *)user)->data, data), 0);
}

static void on_stream_end(void *user, const struct kube_response *response)
{
        on_answer(&((struct stream_answer *)user)->end, response);
}

static const struct kube_stream_events stream_events = { on_stream_head, on_stream_data,
                                                         on_stream_end };

static void streams_come_piece_by_piece(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_STREAM },
                                                     { FAKE_STREAM },
                                                     { FAKE_STREAM },
                                                     { FAKE_ANSWER, 410,
                                                       STATUS(410, "Expired", "too old") } };
        struct fake_api api;
        struct stream_answer answer = {};
        struct kube_request request = GET("/a?watch=1");

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        assert_int_equal(kube_client_stream(api.client, &request, &stream_events, &answer, NULL),
                         0);
        test_run_until(&api.t, answer.status == 200);
        http_exchange_send(api.held[0], &(struct stream_piece){ STR("one") }, 1);
        test_run_until(&api.t, answer.data.length == 3);
        http_exchange_send(api.held[0], &(struct stream_piece){ STR("two") }, 1);
        http_exchange_end(api.held[0], NULL, 0);
        fake_forget(&api, api.held[0]);
        test_run_until(&api.t, answer.end.count == 1);
        assert_true(str_equal(buffer_str(&answer.data), STR("onetwo")));
        assert_int_equal(answer.end.error, 0);
        assert_int_equal(answer.end.status, 200);

        /* Cut in the middle; then silent; then refused. */
        assert_int_equal(kube_client_stream(api.client, &request, &stream_events, &answer, NULL),
                         0);
        test_run_until(&api.t, api.held_count == 1);
        http_exchange_abort(api.held[0]);
        fake_forget(&api, api.held[0]);
        test_run_until(&api.t, answer.end.count == 2);
        assert_int_equal(answer.end.error, KUBE_LOST);
        assert_false(answer.end.timed_out);

        request.idle_timeout_ms = 30;
        assert_int_equal(kube_client_stream(api.client, &request, &stream_events, &answer, NULL),
                         0);
        test_run_until(&api.t, answer.end.count == 3);
        assert_int_equal(answer.end.error, KUBE_LOST);
        assert_true(answer.end.timed_out);

        assert_int_equal(kube_client_stream(api.client, &request, &stream_events, &answer, NULL),
                         0);
        test_run_until(&api.t, answer.end.count == 4);
        assert_int_equal(answer.end.status, 410);
        assert_string_equal(answer.end.reason, "Expired");
        assert_int_equal(kube_client_counters(api.client).streams, 0);
        buffer_deinit(&answer.data);
        fake_tear_down(&api);
}

/* ---- credential plugins ---- */

static void plugins_give_credentials_when_asked(void **state)
{
        static const struct {
                const char *script;
                int result;
        } cases[] = {
                { "{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"a\"}}", 0 },
                { "{\"kind\":\"ExecCredential\",\"status\":{\"clientCertificateData\":\"a\","
                  "\"clientKeyData\":\"b\",\"expirationTimestamp\":\"2026-01-01T00:00:00Z\"}}",
                  0 },
                { "", -EBADMSG },
                { "token", -EBADMSG },
                { "{\"kind\":\"Other\",\"status\":{\"token\":\"a\"}}", -EBADMSG },
                { "{\"kind\":\"ExecCredential\",\"status\":{}}", -EBADMSG },
                { "{\"kind\":\"ExecCredential\",\"status\":{\"clientCertificateData\":\"a\"}}",
                  -EBADMSG },
                { "{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"a\","
                  "\"expirationTimestamp\":\"soon\"}}",
                  -EBADMSG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_exec_credential_ struct exec_credential credential = {};
                struct error error = {};
                assert_int_equal(exec_credential_parse(str_from(cases[i].script), STR_EMPTY, &error,
                                                       &credential),
                                 cases[i].result);
        }
}

/* The text of a kubeconfig's user that runs a shell script. */
static void plugin_user(struct buffer *text, const char *script)
{
        assert_int_equal(buffer_printf(text,
                                       "exec: {apiVersion: client.authentication.k8s.io/v1,"
                                       " command: sh, args: ['-c', '%s'],"
                                       " env: [{name: WHO, value: plugged}]}",
                                       script),
                         0);
        assert_int_equal(buffer_append_char(text, '\0'), 0);
}

static void a_plugin_is_run_once_and_again_when_its_token_is_refused(void **state)
{
        static const char *const show[] = { "authorization", NULL };
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, "{}" },
                { FAKE_ANSWER, 200, "{}" },
                { FAKE_ANSWER, 401, STATUS(401, "Unauthorized", "") },
                { FAKE_ANSWER, 200, "{}" },
        };
        struct fake_api api;
        struct answer answer, second = {};
        _cleanup_buffer_ struct buffer user = {};

        (void)state;
        fake_listen(&api, NULL);
        plugin_user(&user,
                    "case $KUBERNETES_EXEC_INFO in *client.authentication.k8s.io/v1*) ;; *) exit 9"
                    ";; esac; printf \""
                    "{\\\"kind\\\":\\\"ExecCredential\\\",\\\"apiVersion\\\":"
                    "\\\"client.authentication.k8s.io/v1\\\",\\\"status\\\":"
                    "{\\\"token\\\":\\\"$WHO\\\"}}\"");
        fake_connect(&api, "http", "", user.data, (struct kube_client_options){});
        api.show = show;
        fake_expect(&api, replies);
        assert_int_equal(kube_client_request(api.client, &GET("/a"), on_answer, &second, NULL), 0);
        ask(&api, GET("/a"), &answer);
        test_run_until(&api.t, second.count == 1);
        ask(&api, GET("/c"), &answer);
        assert_int_equal(answer.status, 200);
        fake_asked(&api, "GET /a authorization=Bearer plugged\n"
                         "GET /a authorization=Bearer plugged\n"
                         "GET /c authorization=Bearer plugged\n"
                         "GET /c authorization=Bearer plugged\n");
        fake_tear_down(&api);
}

static void a_plugin_that_fails_is_named(void **state)
{
        static const struct {
                const char *user;
                const char *message; /* a part of it */
        } cases[] = {
                { "exec: {command: sh, args: ['-c', 'exit 3']}",
                  "plugin sh: it ended with status 3" },
                { "exec: {command: sh, args: ['-c', 'kill -9 $$']}", "signal 9" },
                { "exec: {command: sh, args: ['-c', 'echo no']}", "no ExecCredential" },
                { "exec: {command: /no/such/plugin, installHint: Install it.}", "Install it." },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_api api;
                struct answer answer;
                fake_listen(&api, NULL);
                fake_connect(&api, "http", "", cases[i].user, (struct kube_client_options){});
                ask(&api, GET("/a"), &answer);
                assert_int_equal(answer.error, KUBE_UNTRUSTED);
                assert_non_null(strstr(answer.message, cases[i].message));
                fake_tear_down(&api);
        }

        /* Freed while it runs: killed, and nobody is told. */
        struct fake_api api;
        struct answer answer = {};
        fake_listen(&api, NULL);
        fake_connect(&api, "http", "", "exec: {command: sleep, args: ['60']}",
                     (struct kube_client_options){});
        assert_int_equal(kube_client_request(api.client, &GET("/a"), on_answer, &answer, NULL), 0);
        test_run_turns(&api.t, 3);
        fake_tear_down(&api);
        assert_int_equal(answer.count, 0);
}

/* ---- TLS ---- */

static void append_base64(struct buffer *text, const char *key, struct str data)
{
        assert_int_equal(buffer_printf(text, "%s: ", key), 0);
        assert_int_equal(base64_append(text, BASE64_STANDARD, data.data, data.length), 0);
}

static void tls_trusts_whom_the_kubeconfig_names(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" } };
        static const struct str good_names[] = { STR("127.0.0.1") }, bad_names[] = { STR("other") };
        const struct {
                const struct str *names;
                bool other_ca;
                const char *more; /* of the cluster */
                int error;
        } cases[] = {
                { good_names, false, "", 0 },
                { good_names, true, "", KUBE_UNTRUSTED },
                { bad_names, false, "", KUBE_UNTRUSTED },
                { bad_names, false, ", tls-server-name: other", 0 },
                { bad_names, true, ", insecure-skip-tls-verify: true", 0 },
        };
        _cleanup_ca_ struct ca *ca = NULL, *other = NULL;
        struct error error = {};
        uint64_t now = clock_realtime_ns();

        (void)state;
        assert_int_equal(ca_make(STR("one"), now, 0, &error, &ca), 0);
        assert_int_equal(ca_make(STR("two"), now, 0, &error, &other), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_certificate_pair_ struct certificate_pair server = {}, client = {};
                _cleanup_tls_context_ struct tls_context *context = NULL;
                _cleanup_buffer_ struct buffer cluster = {}, user = {};
                struct fake_api api;
                struct answer answer;
                struct certificate_request request = { .purpose = CERTIFICATE_SERVER,
                                                       .common_name = STR("server"),
                                                       .names = cases[i].names,
                                                       .name_count = 1,
                                                       .now = now };
                assert_int_equal(ca_issue(ca, &request, &error, &server), 0);
                request = (struct certificate_request){ .purpose = CERTIFICATE_CLIENT,
                                                        .common_name = STR("jane"),
                                                        .now = now };
                assert_int_equal(ca_issue(ca, &request, &error, &client), 0);
                const struct tls_server_options options = {
                        .certificate = buffer_str(&server.certificate),
                        .key = buffer_str(&server.key),
                        .client_ca = ca_certificate(ca),
                        .client_certificate = TLS_CLIENT_REQUIRED,
                };
                assert_int_equal(tls_server_new(&options, &error, &context), 0);
                fake_listen(&api, tls_context_filter(context));
                append_base64(&cluster, ", certificate-authority-data",
                              ca_certificate(cases[i].other_ca ? other : ca));
                assert_int_equal(buffer_append_str(&cluster, str_from(cases[i].more)), 0);
                assert_int_equal(buffer_append_char(&cluster, '\0'), 0);
                append_base64(&user, "client-certificate-data", buffer_str(&client.certificate));
                append_base64(&user, ", client-key-data", buffer_str(&client.key));
                assert_int_equal(buffer_append_char(&user, '\0'), 0);
                fake_connect(&api, "https", cluster.data, user.data,
                             (struct kube_client_options){});
                fake_expect(&api, replies);
                ask(&api, GET("/a"), &answer);
                assert_int_equal(answer.error, cases[i].error);
                assert_int_equal(answer.status, cases[i].error ? 0 : 200);
                fake_tear_down(&api);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_carry_their_fields),
                cmocka_unit_test(refusals_give_reason_and_message),
                cmocka_unit_test(only_what_may_be_repeated_is_repeated),
                cmocka_unit_test(a_server_that_is_not_there_is_unreachable),
                cmocka_unit_test(silence_ends_at_the_deadline),
                cmocka_unit_test(no_more_than_the_limit_are_in_flight),
                cmocka_unit_test(what_is_no_longer_allowed_is_not_sent),
                cmocka_unit_test(a_refused_token_is_read_again_once),
                cmocka_unit_test(streams_come_piece_by_piece),
                cmocka_unit_test(plugins_give_credentials_when_asked),
                cmocka_unit_test(a_plugin_is_run_once_and_again_when_its_token_is_refused),
                cmocka_unit_test(a_plugin_that_fails_is_named),
                cmocka_unit_test(tls_trusts_whom_the_kubeconfig_names),
        };
        return run_unit_tests("client", tests);
}
