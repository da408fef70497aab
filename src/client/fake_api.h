// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An API server for tests, on the test's own loop: it writes down what was asked and answers from
 * a list, in the order in which requests come.
 */
#include "base/buffer.h"
#include "client/client.h"
#include "net/http2.h"
#include "net/http_server.h"
#include "net/test_loop.h"

enum fake_action {
        FAKE_ANSWER, /* status and body */
        FAKE_HOLD,   /* nothing, until the test answers by fake_api.held[] */
        FAKE_STREAM, /* 200 and a body that the test sends by fake_api.held[] */
        FAKE_CUT,    /* closes the connection */
};

struct fake_reply {
        enum fake_action action;
        unsigned status;
        const char *body;
        const char *type; /* NULL: application/json */
        const char *retry_after;
};

enum { FAKE_HELD = 16 };

struct fake_api {
        struct test_loop t;
        struct http_server *server;
        struct listener *listener;
        const struct fake_reply *replies;
        size_t reply_count, next;
        bool repeats;            /* the last reply is given again and again */
        struct buffer log;       /* "GET /path\n", with " body" where there is one */
        const char *const *show; /* names of header fields to write down too, NULL-terminated */
        struct http_exchange *held[FAKE_HELD];
        size_t held_count;
        unsigned aborts;
        struct kube_config config;
        struct kube_client *client;
};

static inline void fake_forget(struct fake_api *api, struct http_exchange *exchange)
{
        for (size_t i = 0; i < api->held_count; i++)
                if (api->held[i] == exchange) {
                        api->held[i] = api->held[--api->held_count];
                        return;
                }
}

static inline void fake_on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct fake_api *api = user;

        (void)error;
        api->aborts++;
        fake_forget(api, exchange);
}

static inline void fake_answer(struct http_exchange *exchange, const struct fake_reply *reply)
{
        struct http_header headers[] = {
                { STR("Content-Type"),
                  reply->type ? str_from(reply->type) : STR("application/json") },
                { STR("Retry-After"), str_from(reply->retry_after) },
        };

        http_exchange_respond(exchange, reply->status, headers, reply->retry_after ? 2 : 1,
                              (struct stream_piece){ str_from(reply->body) });
}

static inline void fake_on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        struct fake_api *api = user;

        buffer_printf(&api->log, "%.*s %.*s", STR_FORMAT(exchange->request.method),
                      STR_FORMAT(exchange->request.target));
        for (const char *const *name = api->show; name && *name; name++)
                buffer_printf(
                        &api->log, " %s=%.*s", *name,
                        STR_FORMAT(http_headers_get(&exchange->request.headers, str_from(*name))));
        buffer_printf(&api->log, "%s%.*s\n", body.length > 0 ? " " : "", STR_FORMAT(body));
        if (api->next >= api->reply_count)
                fail_msg("one request too many: %.*s", STR_FORMAT(buffer_str(&api->log)));
        const struct fake_reply *reply = &api->replies[api->next];
        if (!api->repeats || api->next + 1 < api->reply_count)
                api->next++;
        if (reply->action == FAKE_ANSWER) {
                fake_answer(exchange, reply);
                return;
        }
        if (reply->action == FAKE_CUT) {
                http_exchange_abort(exchange);
                return;
        }
        if (reply->action == FAKE_STREAM) {
                const struct http_header type = { STR("Content-Type"), str_from(reply->type) };
                http_exchange_begin(exchange, 200, &type, reply->type != NULL, HTTP_LENGTH_UNKNOWN);
                http_exchange_flush(exchange);
        }
        assert_true(api->held_count < FAKE_HELD);
        api->held[api->held_count++] = exchange;
}

static const struct http_exchange_callbacks fake_callbacks = { .on_whole = fake_on_whole,
                                                               .on_abort = fake_on_abort };

static inline void fake_on_request(void *user, struct http_exchange *exchange)
{
        http_exchange_collect(exchange, 1024 * 1024, &fake_callbacks, user);
}

/* `scheme` is "http" or "https"; `filter` is the TLS server's. */
static inline void fake_listen(struct fake_api *api, struct stream_filter *filter)
{
        struct http_server_options server = { .on_request = fake_on_request,
                                              .user = api,
                                              .http2 = &http2_protocol };
        struct net_address address;

        *api = (struct fake_api){};
        test_loop_set_up(&api->t);
        address = test_loopback();
        assert_int_equal(http_server_new(api->t.net, &server, &api->server), 0);
        assert_int_equal(http_server_listen(api->server, &address, filter, 0, NULL, &api->listener),
                         0);
}

static inline void fake_load(struct fake_api *api, const char *path,
                             struct kube_client_options options)
{
        struct error error = {};

        int r = kube_config_load(path, STR(""), &error, &api->config);
        if (r < 0)
                fail_msg("%s", error.message);
        options.loop = api->t.net;
        options.config = &api->config;
        r = kube_client_new(&options, &error, &api->client);
        if (r < 0)
                fail_msg("%s", error.message);
}

static inline void fake_connect(struct fake_api *api, const char *scheme, const char *cluster,
                                const char *user, struct kube_client_options options)
{
        struct buffer text = {};
        struct error error = {};

        int r = buffer_printf(&text,
                              "{current-context: a,"
                              " contexts: [{name: a, context: {cluster: c, user: u}}],"
                              " clusters: [{name: c, cluster: {server: '%s://127.0.0.1:%u' %s}}],"
                              " users: [{name: u, user: {%s}}]}",
                              scheme, net_address_port(listener_address(api->listener)), cluster,
                              user);
        assert_int_equal(r, 0);
        r = kube_config_parse(buffer_str(&text), ".", STR(""), &error, &api->config);
        if (r < 0)
                fail_msg("%s", error.message);
        buffer_deinit(&text);
        options.loop = api->t.net;
        options.config = &api->config;
        assert_int_equal(kube_client_new(&options, &error, &api->client), 0);
}

static inline void fake_set_up(struct fake_api *api)
{
        fake_listen(api, NULL);
        fake_connect(api, "http", "", "token: secret", (struct kube_client_options){});
}

static inline void fake_tear_down(struct fake_api *api)
{
        kube_client_free(api->client);
        if (api->server)
                http_server_free(api->server);
        kube_config_deinit(&api->config);
        buffer_deinit(&api->log);
        test_loop_tear_down(&api->t);
}

#define fake_expect(api, list)                                                                     \
        ((api)->replies = (list), (api)->reply_count = ARRAY_SIZE(list), (api)->next = 0)

/* Checks what was asked since the last time. */
static inline void fake_asked(struct fake_api *api, const char *expected)
{
        assert_int_equal(buffer_append_char(&api->log, '\0'), 0);
        assert_string_equal(api->log.data, expected);
        buffer_clear(&api->log);
}
