// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "client/fake_api.h"
#include "crypto/digest.h"
#include "crypto/encode.h"
#include "router/authorize.h"
#include "router/scoped_token.h"

#define KEY STR("0123456789abcdef0123456789abcdef")

/* ---- scoped tokens ---- */

/* As whoever has the key makes them. */
static struct str make_token(struct arena *arena, struct str key, const char *context,
                             const char *claims)
{
        struct buffer text = {}, payload = {};
        uint8_t mac[SHA256_SIZE];

        assert_int_equal(base64_append(&payload, BASE64_URL_UNPADDED, claims, strlen(claims)), 0);
        assert_int_equal(buffer_printf(&text, "%s%.*s", context, STR_FORMAT(buffer_str(&payload))),
                         0);
        assert_int_equal(digest_hmac_sha256(key, buffer_str(&text), mac), 0);
        buffer_clear(&text);
        assert_int_equal(buffer_printf(&text, "v1.%.*s.", STR_FORMAT(buffer_str(&payload))), 0);
        assert_int_equal(base64_append(&text, BASE64_URL_UNPADDED, mac, sizeof(mac)), 0);
        struct str token = arena_str(arena, buffer_str(&text));
        buffer_deinit(&text);
        buffer_deinit(&payload);
        return token;
}

#define CONTEXT "agent-sandbox/scoped-token/v1."

static void scoped_tokens_are_verified(void **state)
{
        static const struct {
                const char *claims;
                int result;
        } cases[] = {
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":1000}", 0 },
                { "{\"exp\":1000,\"name\":\"b\",\"ns\":\"a\",\"aud\":[]}", 0 },
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":999}", -EKEYEXPIRED },
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":998}", -EKEYEXPIRED },
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":-5}", -EKEYEXPIRED },
                { "{\"ns\":\"a\",\"name\":\"b\"}", -EBADMSG },
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":\"1000\"}", -EBADMSG },
                { "{\"ns\":\"a\",\"name\":\"b\",\"exp\":1e30}", -EBADMSG },
                { "{\"ns\":\"\",\"name\":\"b\",\"exp\":1000}", -EBADMSG },
                { "{\"ns\":1,\"name\":\"b\",\"exp\":1000}", -EBADMSG },
                { "{\"name\":\"b\",\"exp\":1000}", -EBADMSG },
                { "[\"ns\",\"a\"]", -EBADMSG },
                { "no JSON", -EBADMSG },
        };
        _cleanup_arena_ struct arena arena = {};
        struct scoped_claims claims;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str token = make_token(&arena, KEY, CONTEXT, cases[i].claims);
                int r = scoped_token_verify(KEY, token, 999, &arena, &claims);
                if (r != cases[i].result)
                        fail_msg("%s: %d", cases[i].claims, r);
                if (r == 0) {
                        assert_true(str_equal(claims.name_space, STR("a")));
                        assert_true(str_equal(claims.name, STR("b")));
                }
        }
        struct str good = make_token(&arena, KEY, CONTEXT, cases[0].claims);
        struct str other = make_token(&arena, STR("another key"), CONTEXT, cases[0].claims);
        struct str foreign = make_token(&arena, KEY, "other protocol.", cases[0].claims);
        assert_int_equal(scoped_token_verify(KEY, other, 0, &arena, &claims), -EKEYREJECTED);
        assert_int_equal(scoped_token_verify(KEY, foreign, 0, &arena, &claims), -EKEYREJECTED);

        /* Each byte counts. */
        char copy[256];
        for (size_t i = 0; i < good.length; i++) {
                memcpy(copy, good.data, good.length);
                copy[i] = copy[i] == 'A' ? 'B' : 'A';
                assert_true(scoped_token_verify(KEY, (struct str){ copy, good.length }, 0, &arena,
                                                &claims) < 0);
                assert_true(scoped_token_verify(KEY, str_slice(good, 0, i), 0, &arena, &claims) <
                            0);
        }
        static char long_one[SCOPED_TOKEN_MAX + 2];
        memset(long_one, 'A', sizeof(long_one));
        memcpy(long_one, "v1.", 3);
        assert_int_equal(scoped_token_verify(KEY, (struct str){ long_one, sizeof(long_one) }, 0,
                                             &arena, &claims),
                         -EBADMSG);
}

static void keys_are_long_and_secret(void **state)
{
        static const struct {
                const char *text;
                mode_t mode;
                int result;
        } cases[] = {
                { "0123456789abcdef0123456789abcdef", 0600, 0 },
                { " \n0123456789abcdef0123456789abcdef\r\n", 0440, 0 },
                { "0123456789abcdef0123456789abcde", 0600, -EINVAL },
                { "0123456789abcdef0123456789abcde\n", 0600, -EINVAL },
                { "", 0600, -EINVAL },
                { "0123456789abcdef0123456789abcdef", 0644, -EACCES },
        };
        char path[] = "/tmp/cay-key-XXXXXX";
        struct error error = {};

        (void)state;
        int fd = mkstemp(path);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer key = {};
                assert_int_equal(ftruncate(fd, 0), 0);
                assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0),
                                 (ssize_t)strlen(cases[i].text));
                assert_int_equal(fchmod(fd, cases[i].mode), 0);
                int r = scoped_token_key_read(path, &error, &key);
                if (r != cases[i].result)
                        fail_msg("case %zu: %d %s", i, r, error.message);
                if (r == 0)
                        assert_true(str_equal(buffer_str(&key), KEY));
        }
        _cleanup_buffer_ struct buffer key = {};
        assert_int_equal(fchmod(fd, 0600), 0);
        assert_int_equal(ftruncate(fd, SCOPED_TOKEN_KEY_MAX + 1), 0);
        assert_int_equal(scoped_token_key_read(path, &error, &key), -EFBIG);
        assert_int_equal(scoped_token_key_read("/tmp", &error, &key), -EINVAL);
        fd_close(fd);
        unlink(path);
        assert_int_equal(scoped_token_key_read(path, &error, &key), -ENOENT);
}

/* ---- verdicts ---- */

struct request {
        struct http_header fields[4];
        struct http_headers headers;
        struct router_target target;
        struct router_authorization authorization;
        enum verdict verdict;
        unsigned told;
};

static void decided(struct router_authorization *authorization, enum verdict verdict)
{
        struct request *r = container_of(authorization, struct request, authorization);

        r->verdict = verdict;
        r->told++;
}

static enum verdict ask(struct router_authorizer *authorizer, struct request *r,
                        const char *authorization)
{
        *r = (struct request){ .authorization.decided = decided };
        r->target.name_space = STR("a");
        r->target.id = STR("b");
        if (authorization)
                r->fields[r->headers.count++] =
                        (struct http_header){ STR("Authorization"), str_from(authorization) };
        r->headers.items = r->fields;
        return router_authorizer_ask(authorizer, &r->headers, &r->target, &r->authorization);
}

static void a_scoped_token_is_for_one_sandbox(void **state)
{
        const struct router_authorizer_options options = { .mode = AUTHORIZE_SCOPED_TOKEN,
                                                           .key = KEY };
        _cleanup_arena_ struct arena arena = {};
        struct router_authorizer *authorizer;
        struct request r;

        (void)state;
        assert_int_equal(router_authorizer_new(&options, &authorizer), 0);
        const char *claims =
                arena_printf(&arena, "{\"ns\":\"a\",\"name\":\"b\",\"exp\":%llu}",
                             (unsigned long long)(clock_realtime_ns() / NS_PER_SECOND + 60))
                        .data;
        struct str token = make_token(&arena, KEY, CONTEXT, claims);
        const char *field = arena_printf(&arena, "bearer  %.*s ", STR_FORMAT(token)).data;

        assert_int_equal(ask(authorizer, &r, field), VERDICT_ALLOWED);
        struct router_target target = r.target;
        target.id = STR("c");
        assert_int_equal(router_authorizer_ask(authorizer, &r.headers, &target, &r.authorization),
                         VERDICT_FORBIDDEN);
        target = r.target;
        target.name_space = STR("b");
        assert_int_equal(router_authorizer_ask(authorizer, &r.headers, &target, &r.authorization),
                         VERDICT_FORBIDDEN);
        target = r.target;
        target.uid = STR("u");
        assert_int_equal(router_authorizer_ask(authorizer, &r.headers, &target, &r.authorization),
                         VERDICT_FORBIDDEN);
        target = r.target;
        assert_int_equal(net_address_from_ip(STR("10.0.0.1"), 1, &target.pod_ip), 0);
        assert_int_equal(router_authorizer_ask(authorizer, &r.headers, &target, &r.authorization),
                         VERDICT_FORBIDDEN);

        /* Two of them: nobody knows which one somebody before us has looked at. */
        r.fields[r.headers.count++] = r.fields[0];
        assert_int_equal(router_authorizer_ask(authorizer, &r.headers, &r.target, &r.authorization),
                         VERDICT_UNAUTHENTICATED);

        static const char *const bad[] = { NULL,          "",
                                           "Bearer",      "Bearer ",
                                           "Bearer \x80", "Bearer a b",
                                           "Basic dTpw",  "Bearer v1.e30.AAAA" };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (ask(authorizer, &r, bad[i]) != VERDICT_UNAUTHENTICATED)
                        fail_msg("%s", bad[i]);
        router_authorizer_free(authorizer);
}

/* ---- token reviews ---- */

#define GOOD "{\"kind\":\"TokenReview\",\"status\":{\"authenticated\":true,\"audiences\":[\"x\"]}}"
#define BAD  "{\"kind\":\"TokenReview\",\"status\":{\"error\":\"no such token\"}}"
#define ASKED(token)                                                                               \
        "POST /apis/authentication.k8s.io/v1/tokenreviews "                                        \
        "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","                   \
        "\"spec\":{\"token\":\"" token "\"}}\n"

static struct router_authorizer *reviewer(struct fake_api *api,
                                          struct router_authorizer_options options)
{
        struct router_authorizer *authorizer;

        options.mode = AUTHORIZE_TOKEN_REVIEW;
        options.client = api->client;
        assert_int_equal(router_authorizer_new(&options, &authorizer), 0);
        return authorizer;
}

static enum verdict wait_for_verdict(struct fake_api *api, struct router_authorizer *authorizer,
                                     const char *field)
{
        struct request r;

        enum verdict verdict = ask(authorizer, &r, field);
        if (verdict != VERDICT_PENDING)
                return verdict;
        test_run_until(&api->t, r.told > 0);
        return r.verdict;
}

static void ring(struct net_timer *timer)
{
        (void)timer;
}

static void reviews_are_remembered_by_token(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 201, GOOD },
                                                     { FAKE_ANSWER, 201, BAD },
                                                     { FAKE_ANSWER, 201, GOOD } };
        struct fake_api api;
        struct request r;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        struct router_authorizer *authorizer =
                reviewer(&api, (struct router_authorizer_options){ .remember_ms = 200 });
        assert_int_equal(ask(authorizer, &r, NULL), VERDICT_UNAUTHENTICATED);
        assert_int_equal(wait_for_verdict(&api, authorizer, "Bearer one"), VERDICT_ALLOWED);
        fake_asked(&api, ASKED("one"));
        assert_int_equal(ask(authorizer, &r, "Bearer one"), VERDICT_ALLOWED);
        assert_int_equal(wait_for_verdict(&api, authorizer, "Bearer t\"wo"),
                         VERDICT_UNAUTHENTICATED);
        fake_asked(&api, ASKED("t\\\"wo"));
        assert_int_equal(ask(authorizer, &r, "Bearer t\"wo"), VERDICT_UNAUTHENTICATED);
        assert_int_equal(router_authorizer_counters(authorizer).reviews, 2);

        /* Revoked tokens are found out in time. */
        struct net_timer forgotten = {};
        net_timer_start(api.t.net, &forgotten, 250, ring);
        test_run_until(&api.t, !net_timer_is_running(&forgotten));
        assert_int_equal(ask(authorizer, &r, "Bearer one"), VERDICT_PENDING);
        assert_int_equal(r.told, 0);
        test_run_until(&api.t, r.told > 0);
        assert_int_equal(router_authorizer_counters(authorizer).reviews, 3);
        router_authorizer_free(authorizer);
        fake_tear_down(&api);
}

static void many_wait_for_one_review(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_HOLD } };
        static const struct fake_reply answer = { FAKE_ANSWER, 201, GOOD };
        struct fake_api api;
        struct request requests[3], late;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        struct router_authorizer *authorizer = reviewer(&api, (struct router_authorizer_options){});
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
                assert_int_equal(ask(authorizer, &requests[i], "Bearer one"), VERDICT_PENDING);
        test_run_until(&api.t, api.held_count == 1);
        assert_int_equal(router_authorizer_counters(authorizer).reviews, 1);
        router_authorization_cancel(&requests[1].authorization);
        fake_answer(api.held[0], &answer);
        test_run_until(&api.t, requests[2].told == 1);
        assert_int_equal(requests[0].verdict, VERDICT_ALLOWED);
        assert_int_equal(requests[1].told, 0);
        assert_int_equal(ask(authorizer, &late, "Bearer one"), VERDICT_ALLOWED);
        router_authorizer_free(authorizer);
        fake_tear_down(&api);
}

static void no_answer_is_no_refusal(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 403, "{\"kind\":\"Status\",\"message\":\"may not\"}" },
                { FAKE_CUT },
                { FAKE_ANSWER, 201, "<html>" },
                { FAKE_ANSWER, 201, "{}" },
        };
        static const char *const fields[] = { "Bearer a", "Bearer b", "Bearer c", "Bearer d" };
        static const enum verdict wanted[] = { VERDICT_UNKNOWN, VERDICT_UNKNOWN, VERDICT_UNKNOWN,
                                               VERDICT_UNAUTHENTICATED };
        struct fake_api api;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        struct router_authorizer *authorizer = reviewer(&api, (struct router_authorizer_options){});
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                assert_int_equal(wait_for_verdict(&api, authorizer, fields[i]), wanted[i]);
                /* Nor is it asked again at once. */
                assert_int_equal(wait_for_verdict(&api, authorizer, fields[i]), wanted[i]);
        }
        assert_int_equal(router_authorizer_counters(authorizer).reviews, 4);
        router_authorizer_free(authorizer);
        fake_tear_down(&api);
}

static void only_so_many_are_remembered(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 201, GOOD } };
        struct fake_api api;
        struct request r;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        api.repeats = true;
        struct router_authorizer *authorizer =
                reviewer(&api, (struct router_authorizer_options){ .tokens = 2 });
        wait_for_verdict(&api, authorizer, "Bearer a");
        wait_for_verdict(&api, authorizer, "Bearer b");
        assert_int_equal(ask(authorizer, &r, "Bearer a"), VERDICT_ALLOWED);
        wait_for_verdict(&api, authorizer, "Bearer c");
        assert_int_equal(router_authorizer_counters(authorizer).remembered, 2);
        assert_int_equal(ask(authorizer, &r, "Bearer a"), VERDICT_ALLOWED);
        assert_int_equal(ask(authorizer, &r, "Bearer b"), VERDICT_PENDING);
        router_authorization_cancel(&r.authorization);
        router_authorizer_free(authorizer);
        fake_tear_down(&api);
}

static void reviews_under_way_have_a_limit(void **state)
{
        struct fake_api api;
        struct request r;

        (void)state;
        fake_set_up(&api);
        struct router_authorizer *authorizer = reviewer(&api, (struct router_authorizer_options){});
        for (int i = 0; i <= AUTHORIZE_REVIEWS; i++) {
                char field[32];
                snprintf(field, sizeof(field), "Bearer %d", i);
                enum verdict verdict = ask(authorizer, &r, field);
                assert_int_equal(verdict,
                                 i < AUTHORIZE_REVIEWS ? VERDICT_PENDING : VERDICT_UNKNOWN);
                router_authorization_cancel(&r.authorization);
        }
        router_authorizer_free(authorizer);
        fake_tear_down(&api);
}

static void audiences_and_the_tokenless(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 201, GOOD } };
        struct fake_api api;
        struct request r;

        (void)state;
        fake_set_up(&api);
        fake_expect(&api, replies);
        api.repeats = true;
        struct router_authorizer *ours = reviewer(
                &api, (struct router_authorizer_options){ .audiences = { STR("w"), STR("x") },
                                                          .audience_count = 2,
                                                          .tokenless = true });
        struct router_authorizer *other =
                reviewer(&api, (struct router_authorizer_options){ .audiences = { STR("y") },
                                                                   .audience_count = 1 });
        assert_int_equal(wait_for_verdict(&api, ours, "Bearer one"), VERDICT_ALLOWED);
        fake_asked(&api, "POST /apis/authentication.k8s.io/v1/tokenreviews "
                         "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                         "\"spec\":{\"token\":\"one\",\"audiences\":[\"w\",\"x\"]}}\n");
        assert_int_equal(wait_for_verdict(&api, other, "Bearer one"), VERDICT_UNAUTHENTICATED);
        assert_int_equal(ask(ours, &r, NULL), VERDICT_ALLOWED);
        assert_int_equal(ask(ours, &r, "Basic dTpw"), VERDICT_UNAUTHENTICATED);
        router_authorizer_free(ours);
        router_authorizer_free(other);
        fake_tear_down(&api);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(scoped_tokens_are_verified),
                cmocka_unit_test(keys_are_long_and_secret),
                cmocka_unit_test(a_scoped_token_is_for_one_sandbox),
                cmocka_unit_test(reviews_are_remembered_by_token),
                cmocka_unit_test(many_wait_for_one_review),
                cmocka_unit_test(no_answer_is_no_refusal),
                cmocka_unit_test(only_so_many_are_remembered),
                cmocka_unit_test(reviews_under_way_have_a_limit),
                cmocka_unit_test(audiences_and_the_tokenless),
        };

        return run_unit_tests("router_authorize", tests);
}
