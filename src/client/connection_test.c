// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test_folder.h"
#include "client/fake_api.h"
#include "client/proxy.h"
#include "crypto/encode.h"
#include "net/test_certificates.h"
#include "net/test_end.h"
#include "net/test_frames.h"
#include "net/tunnel.h"

/* How the client reaches the server: HTTP/2, proxies, and what changes under way. */

enum { WATCHES = 8, WRITES = 64, SOCKETS = 12 };

struct answer {
        unsigned count;
        int error;
        unsigned status;
        char message[256];
};

static void on_answer(void *user, const struct kube_response *response)
{
        struct answer *answer = user;

        answer->count++;
        answer->error = response->error;
        answer->status = response->status;
        snprintf(answer->message, sizeof(answer->message), "%.*s", STR_FORMAT(response->message));
}

static void ask(struct fake_api *api, const char *method, const char *path, struct answer *answer)
{
        const struct kube_request request = { .method = str_from(method), .path = str_from(path) };

        *answer = (struct answer){};
        assert_int_equal(kube_client_request(api->client, &request, on_answer, answer, NULL), 0);
        test_run_until(&api->t, answer->count > 0);
}

/* ---- a cluster with certificates ---- */

struct cluster {
        struct fake_api api;
        struct test_certificates certificates;
        struct tls_context *tls;
        struct test_folder folder;
        char path[64];
        const char *scheme; /* NULL: https */
};

/* Text of the kubeconfig; `user` may be empty. */
static void write_config(struct cluster *c, const char *more, const char *user)
{
        _cleanup_buffer_ struct buffer text = {};
        struct str ca = ca_certificate(c->certificates.ca);

        assert_int_equal(
                buffer_printf(&text,
                              "{current-context: a,"
                              " contexts: [{name: a, context: {cluster: c, user: u}}],"
                              " users: [{name: u, user: {%s}}],"
                              " clusters: [{name: c, cluster: {server: '%s://127.0.0.1:%u' %s,"
                              " certificate-authority-data: ",
                              user, c->scheme ? c->scheme : "https",
                              net_address_port(listener_address(c->api.listener)), more),
                0);
        assert_int_equal(base64_append(&text, BASE64_STANDARD, ca.data, ca.length), 0);
        assert_int_equal(buffer_append_str(&text, STR("}}]}")), 0);
        assert_int_equal(file_write_atomic(AT_FDCWD, c->path, buffer_str(&text), 0600), 0);
}

static void listen_with_tls(struct cluster *c, enum tls_client_certificate mode, bool http2)
{
        unsetenv("HTTPS_PROXY");
        *c = (struct cluster){};
        test_folder_make(&c->folder);
        snprintf(c->path, sizeof(c->path), "%s/config", c->folder.path);
        test_certificates_set_up(&c->certificates);
        c->tls = test_server_context(&c->certificates, mode, http2);
        fake_listen(&c->api, tls_context_filter(c->tls));
}

static void set_up(struct cluster *c, bool http2)
{
        listen_with_tls(c, TLS_CLIENT_OFF, http2);
        write_config(c, "", "token: first");
        fake_load(&c->api, c->path, (struct kube_client_options){});
}

static void tear_down(struct cluster *c)
{
        fake_tear_down(&c->api);
        tls_context_free(c->tls);
        test_certificates_tear_down(&c->certificates);
        test_folder_remove(&c->folder);
}

/* ---- HTTP/2 ---- */

struct watch {
        struct answer end;
        size_t bytes;
};

static void on_data(void *user, struct str data)
{
        ((struct watch *)user)->bytes += data.length;
}

static void on_end(void *user, const struct kube_response *response)
{
        on_answer(&((struct watch *)user)->end, response);
}

static const struct kube_stream_events watch_events = { .on_data = on_data, .on_end = on_end };

static void watches_and_writes_share_one_connection(void **state)
{
        for (int http2 = 0; http2 < 2; http2++) {
                static const struct fake_reply streams[] = { { FAKE_STREAM } };
                static const struct fake_reply writes[] = { { FAKE_ANSWER, 201, "{}" } };
                const struct kube_request request = { .method = STR("GET"), .path = STR("/w") };
                const struct kube_request write = { .method = STR("POST"),
                                                    .path = STR("/a"),
                                                    .body = STR("{\"a\":1}") };
                struct cluster c;
                struct watch watches[WATCHES] = {};
                struct answer answers[WRITES] = {};
                struct kube_call *calls[WATCHES];
                unsigned done = 0;

                (void)state;
                set_up(&c, http2);
                fake_expect(&c.api, streams);
                c.api.repeats = true;
                for (size_t i = 0; i < WATCHES; i++)
                        assert_int_equal(kube_client_stream(c.api.client, &request, &watch_events,
                                                            &watches[i], &calls[i]),
                                         0);
                test_run_until(&c.api.t, c.api.held_count == WATCHES);
                fake_expect(&c.api, writes);
                for (size_t i = 0; i < WRITES; i++)
                        assert_int_equal(kube_client_request(c.api.client, &write, on_answer,
                                                             &answers[i], NULL),
                                         0);
                while (done < WRITES) {
                        test_run_until(&c.api.t, answers[done].count > 0);
                        assert_int_equal(answers[done++].status, 201);
                }
                for (size_t i = 0; i < WATCHES; i++)
                        http_exchange_send(c.api.held[i], &(struct stream_piece){ STR("event") },
                                           1);
                for (size_t i = 0; i < WATCHES; i++)
                        test_run_until(&c.api.t, watches[i].bytes == 5);
                uint64_t connects = kube_client_counters(c.api.client).connects;
                if (http2)
                        assert_int_equal(connects, 1);
                else
                        assert_true(connects > WATCHES);

                /* A watch that is given up ends alone. */
                kube_call_cancel(calls[0]);
                test_run_until(&c.api.t, c.api.aborts == 1);
                assert_int_equal(c.api.held_count, WATCHES - 1);
                ask(&c.api, "GET", "/a", &answers[0]);
                assert_int_equal(answers[0].status, 201);
                assert_int_equal(kube_client_counters(c.api.client).connects, connects);
                tear_down(&c);
        }
}

/* A server that speaks in hand-made frames; each connection's first request is answered. */
struct script {
        struct cluster c;
        struct test_peers peers;
        bool answered[SOCKETS];
        unsigned leaving; /* so many connections answer with a GOAWAY only */
};

static void script_got(struct test_end *end, struct str data _unused_)
{
        struct script *s = end->user;
        ptrdiff_t i = end - s->peers.ends;
        _cleanup_buffer_ struct buffer out = {};

        assert_true(i < SOCKETS);
        if (s->answered[i] || frames_of(&end->got, HEADERS) == 0)
                return;
        s->answered[i] = true;
        frame(&out, SETTINGS, 0, 0, STR_EMPTY);
        frame(&out, SETTINGS, ACK, 0, STR_EMPTY);
        if (i < s->leaving) {
                frame(&out, GOAWAY, 0, 0, BYTES("\0\0\0\0\0\0\0\0"));
        } else {
                frame(&out, HEADERS, END_HEADERS, 1, STATUS_200);
                frame(&out, DATA, END_STREAM, 1, STR("{}"));
        }
        stream_write_str(end->stream, buffer_str(&out));
}

/* Writes a kubeconfig that leads there. */
static void name_script(struct script *s, const char *user)
{
        struct listener *usual = s->c.api.listener;

        s->c.api.listener = s->peers.listener;
        write_config(&s->c, "", user);
        s->c.api.listener = usual;
}

static void go_to_script(struct script *s, void (*on_got)(struct test_end *, struct str))
{
        test_peers_listen(&s->peers, &s->c.api.t, on_got, s);
        s->peers.filter = tls_context_filter(s->c.tls);
        name_script(s, "token: first");
        fake_load(&s->c.api, s->c.path, (struct kube_client_options){});
}

static void what_a_leaving_server_did_not_look_at_is_sent_again(void **state)
{
        /* Of a server that always refuses, at last its caller is told. */
        static const unsigned leaving[] = { 2, SOCKETS };

        for (size_t i = 0; i < ARRAY_SIZE(leaving); i++) {
                struct script s = { .leaving = leaving[i] };
                struct answer answer;

                (void)state;
                listen_with_tls(&s.c, TLS_CLIENT_OFF, true);
                go_to_script(&s, script_got);

                /* A write, of one attempt. */
                ask(&s.c.api, "POST", "/a", &answer);
                if (leaving[i] == SOCKETS) {
                        assert_int_equal(answer.error, KUBE_UNREACHABLE);
                } else {
                        assert_int_equal(answer.error, 0);
                        assert_int_equal(answer.status, 200);
                        assert_int_equal(s.peers.count, 3);
                }
                test_peers_close(&s.peers);
                tear_down(&s.c);
        }
}

/* ---- proxies ---- */

struct proxy {
        struct fake_api *api;
        struct test_peers clients;
        struct tls_context *tls; /* NULL: plain */
        const char *refusal;     /* NULL: it lets everything through */
        struct tunnel tunnels[SOCKETS];
        bool tunneling[SOCKETS];
        char last_head[512];
};

static void tunnel_ended(struct tunnel *tunnel, void *user)
{
        struct proxy *p = user;

        p->tunneling[tunnel - p->tunnels] = false;
}

static void proxy_got(struct test_end *client, struct str data _unused_)
{
        struct proxy *p = client->user;
        struct stream *in = client->stream, *out;
        ptrdiff_t i = client - p->clients.ends;

        assert_true(i < SOCKETS);
        if (!memmem(client->got.data, client->got.length, "\r\n\r\n", 4))
                return;
        snprintf(p->last_head, sizeof(p->last_head), "%.*s", STR_FORMAT(buffer_str(&client->got)));
        if (p->refusal) {
                stream_write_str(in, str_from(p->refusal));
                stream_shutdown(in);
                return;
        }
        assert_int_equal(stream_connect(p->api->t.net, listener_address(p->api->listener), &out),
                         0);
        stream_write_str(in, STR("HTTP/1.1 200 Connection established\r\n\r\n"));
        stream_detach(in);
        client->stream = NULL;
        p->tunneling[i] = true;
        tunnel_start(&p->tunnels[i], in, STR_EMPTY, out, STR_EMPTY, tunnel_ended, p);
}

static void proxy_open(struct proxy *p, struct cluster *c, bool tls, const char *refusal)
{
        char more[100];

        *p = (struct proxy){ .api = &c->api, .refusal = refusal };
        test_peers_listen(&p->clients, &c->api.t, proxy_got, p);
        if (tls) {
                p->tls = test_server_context(&c->certificates, TLS_CLIENT_OFF, false);
                p->clients.filter = tls_context_filter(p->tls);
        }
        snprintf(more, sizeof(more), ", proxy-url: '%s://jane:se%%20cret@localhost:%u'",
                 tls ? "https" : "http", net_address_port(listener_address(p->clients.listener)));
        write_config(c, more, "token: first");
        fake_load(&c->api, c->path, (struct kube_client_options){});
}

static void proxy_close(struct proxy *p)
{
        test_peers_close(&p->clients);
        for (unsigned i = 0; i < SOCKETS; i++)
                if (p->tunneling[i])
                        tunnel_close(&p->tunnels[i]);
        tls_context_free(p->tls);
}

static void a_proxy_is_asked_for_a_way_through(void **state)
{
        for (int tls = 0; tls < 2; tls++) {
                static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" } };
                struct cluster c;
                struct proxy p;
                struct answer answer;
                char line[64];

                (void)state;
                listen_with_tls(&c, TLS_CLIENT_OFF, true);
                proxy_open(&p, &c, tls, NULL);
                fake_expect(&c.api, replies);
                c.api.repeats = true;
                for (int i = 0; i < 3; i++) {
                        ask(&c.api, "GET", "/a", &answer);
                        if (answer.error)
                                fail_msg("%s", answer.message);
                        assert_int_equal(answer.status, 200);
                }
                assert_int_equal(p.clients.count, 1);
                snprintf(line, sizeof(line), "CONNECT 127.0.0.1:%u HTTP/1.1\r\n",
                         net_address_port(listener_address(c.api.listener)));
                assert_non_null(strstr(p.last_head, line));
                assert_non_null(
                        strstr(p.last_head, "Proxy-Authorization: Basic amFuZTpzZSBjcmV0\r\n"));
                assert_null(strstr(p.last_head, "Bearer"));
                kube_client_free(c.api.client);
                c.api.client = NULL;
                proxy_close(&p);
                tear_down(&c);
        }
}

static void a_proxy_that_refuses_is_named(void **state)
{
        static const struct {
                const char *says, *message;
        } cases[] = {
                { "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                  "the proxy answered 407 Proxy Authentication Required" },
                { "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "the proxy answered 502 Bad Gateway" },
                { "hello\r\n\r\n", "the proxy's answer is not HTTP" },
                { "HTTP/1.1 100 Continue\r\n\r\n", "the proxy closed the connection" },
                { "", "the proxy closed the connection" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct cluster c;
                struct proxy p;
                struct answer answer;

                listen_with_tls(&c, TLS_CLIENT_OFF, true);
                proxy_open(&p, &c, false, cases[i].says);
                ask(&c.api, "POST", "/a", &answer);
                assert_int_equal(answer.error, KUBE_UNREACHABLE);
                if (!strstr(answer.message, cases[i].message))
                        fail_msg("%s", answer.message);
                kube_client_free(c.api.client);
                c.api.client = NULL;
                proxy_close(&p);
                tear_down(&c);
        }
}

static void addresses_of_proxies_are_taken_apart(void **state)
{
        static const struct {
                const char *url;
                int result;
                const char *host;
                unsigned port;
                bool tls;
                const char *authorization;
        } cases[] = {
                { "http://proxy:3128", 0, "proxy", 3128, false, "" },
                { "proxy:3128/", 0, "proxy", 3128, false, "" },
                { "HTTPS://proxy", 0, "proxy", 443, true, "" },
                { "http://[fd00::1]:8080/", 0, "fd00::1", 8080, false, "" },
                { "http://a:b@c", 0, "c", 80, false, "Basic YTpi" },
                { "http://a@c", 0, "c", 80, false, "Basic YTo=" },
                { "http://a%3Ab:c%40d@e:1", 0, "e", 1, false, "Basic YTpiOmNAZA==" },
                { "socks5://proxy:1080", -EOPNOTSUPP },
                { "socks5h://proxy", -EOPNOTSUPP },
                { "http://", -EINVAL },
                { "http://:80", -EINVAL },
                { "http://a:0", -EINVAL },
                { "http://a:65536", -EINVAL },
                { "http://a/b", -EINVAL },
                { "http://[::1", -EINVAL },
                { "http://%zz@a", -EINVAL },
                { "http://a b", -EINVAL },
                { "", -EINVAL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_arena_ struct arena arena = {};
                struct error error = {};
                struct kube_proxy proxy = {};
                int r = kube_proxy_parse(&arena, str_from(cases[i].url), &error, &proxy);
                if (r != cases[i].result)
                        fail_msg("%s: %d", cases[i].url, r);
                assert_int_equal(error.code, r);
                if (r < 0)
                        continue;
                assert_true(str_equal(proxy.host, str_from(cases[i].host)));
                assert_int_equal(proxy.port, cases[i].port);
                assert_int_equal(proxy.tls, cases[i].tls);
                assert_true(str_equal(proxy.authorization, str_from(cases[i].authorization)));
        }
}

static void exceptions_from_the_proxy_are_heeded(void **state)
{
        static const struct {
                const char *list, *host;
                bool excepted;
        } cases[] = {
                { "", "a.example", false },
                { "*", "a.example", true },
                { "a.example", "a.example", true },
                { "b,  A.Example ,c", "a.example", true },
                { "example", "a.example", true },
                { ".example", "a.example", true },
                { "*.example", "a.example", true },
                { ".a.example", "a.example", false },
                { "ample", "a.example", false },
                { "a.example:443", "a.example", true },
                { "a.example:80", "a.example", false },
                { "10.0.0.0/8", "10.96.0.1", true },
                { "10.0.0.0/12", "10.96.0.1", false },
                { "0.0.0.0/0", "10.96.0.1", true },
                { "10.0.0.0/33", "10.96.0.1", false },
                { "10.96.0.1", "10.96.0.1", true },
                { "10.96.0.1:443", "10.96.0.1", true },
                { "96.0.1", "10.96.0.1", false },
                { "fd00::/8", "fd12::1", true },
                { "fd00::/8", "10.0.0.1", false },
                { "FD12:0::1", "fd12::1", true },
                { "[fd12::1]:443", "fd12::1", true },
                { ",,/,:", "fd12::1", false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (kube_proxy_is_excepted(str_from(cases[i].list), str_from(cases[i].host), 443) !=
                    cases[i].excepted)
                        fail_msg("%s: %s", cases[i].list, cases[i].host);
}

static void the_environment_names_a_proxy_unless_the_kubeconfig_does(void **state)
{
        static const struct {
                const char *host, *url, *https, *http, *no;
                bool tls;
                int result;
                const char *proxy;
        } cases[] = {
                { "api", "", NULL, NULL, NULL, true, 0 },
                { "api", "", "http://one", "http://two", NULL, true, 1, "one" },
                { "api", "", "http://one", "http://two", NULL, false, 1, "two" },
                { "api", "", "http://one", NULL, "api", true, 0 },
                { "localhost", "", "http://one", NULL, NULL, true, 0 },
                { "127.0.0.1", "", "http://one", NULL, NULL, true, 0 },
                { "::1", "", "http://one", NULL, NULL, true, 0 },
                { "api", "http://three", "http://one", NULL, "api", true, 1, "three" },
                { "127.0.0.1", "http://three", NULL, NULL, NULL, true, 1, "three" },
                { "api", "", "socks5://one", NULL, NULL, true, -EOPNOTSUPP },
                { "api", "socks5://one", NULL, NULL, NULL, true, -EOPNOTSUPP },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const char *const variables[][2] = { { "https_proxy", cases[i].https },
                                                     { "HTTP_PROXY", cases[i].http },
                                                     { "NO_PROXY", cases[i].no } };
                const struct kube_config config = { .host = str_from(cases[i].host),
                                                    .port = 443,
                                                    .tls = cases[i].tls,
                                                    .proxy = str_from(cases[i].url) };
                _cleanup_arena_ struct arena arena = {};
                struct kube_proxy proxy = {};
                struct error error = {};

                for (size_t j = 0; j < ARRAY_SIZE(variables); j++)
                        if (variables[j][1])
                                setenv(variables[j][0], variables[j][1], 1);
                        else
                                unsetenv(variables[j][0]);
                int r = kube_proxy_find(&config, &arena, &error, &proxy);
                if (r != cases[i].result)
                        fail_msg("case %zu: %d", i, r);
                if (r == 1)
                        assert_true(str_equal(proxy.host, str_from(cases[i].proxy)));
                if (r < 0)
                        assert_non_null(strstr(error.message, "socks5://"));
        }
        unsetenv("https_proxy");
        unsetenv("HTTP_PROXY");
        unsetenv("NO_PROXY");
}

/* ---- what changes under way ---- */

static void a_server_that_has_moved_is_found_by_the_kubeconfig(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" } };
        struct http_server_options options = { .on_request = fake_on_request };
        struct cluster c;
        struct answer answer;
        struct net_address address;

        (void)state;
        set_up(&c, true);
        fake_expect(&c.api, replies);
        c.api.repeats = true;
        ask(&c.api, "POST", "/a", &answer);
        assert_int_equal(answer.status, 200);

        /* Another address, and another authority that vouches for it. */
        http_server_free(c.api.server);
        tls_context_free(c.tls);
        test_certificates_tear_down(&c.certificates);
        test_certificates_set_up(&c.certificates);
        c.tls = test_server_context(&c.certificates, TLS_CLIENT_OFF, true);
        options.user = &c.api;
        options.http2 = &http2_protocol;
        assert_int_equal(http_server_new(c.api.t.net, &options, &c.api.server), 0);
        address = test_loopback();
        assert_int_equal(http_server_listen(c.api.server, &address, tls_context_filter(c.tls), 0,
                                            NULL, &c.api.listener),
                         0);
        write_config(&c, "", "token: first");
        test_run_turns(&c.api.t, 5);
        ask(&c.api, "POST", "/a", &answer);
        if (answer.error)
                fail_msg("%s", answer.message);
        assert_int_equal(answer.status, 200);

        /* A file that is broken changes nothing. */
        assert_int_equal(file_write_atomic(AT_FDCWD, c.path, STR("{"), 0600), 0);
        http_server_free(c.api.server);
        c.api.server = NULL;
        test_run_turns(&c.api.t, 5);
        ask(&c.api, "POST", "/a", &answer);
        assert_int_equal(answer.error, KUBE_UNREACHABLE);
        tear_down(&c);
}

static void another_authority_is_taken_over(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" } };
        struct test_certificates other, right;
        struct cluster c;
        struct answer answer;

        (void)state;
        listen_with_tls(&c, TLS_CLIENT_OFF, true);
        test_certificates_set_up(&other);
        right = c.certificates;
        c.certificates = other;
        write_config(&c, "", "token: first");
        c.certificates = right;
        fake_load(&c.api, c.path, (struct kube_client_options){});
        fake_expect(&c.api, replies);
        write_config(&c, "", "token: first");
        ask(&c.api, "POST", "/a", &answer);
        if (answer.error)
                fail_msg("%s", answer.message);
        assert_int_equal(answer.status, 200);
        test_certificates_tear_down(&other);
        tear_down(&c);
}

static void a_refused_token_is_looked_for_in_the_kubeconfig(void **state)
{
        static const char *const show[] = { "authorization", NULL };
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 401, "{}" },
                                                     { FAKE_ANSWER, 201, "{}" },
                                                     { FAKE_ANSWER, 401, "{}" } };
        struct cluster c;
        struct answer answer;

        (void)state;
        set_up(&c, true);
        write_config(&c, "", "token: second");
        c.api.show = show;
        fake_expect(&c.api, replies);
        ask(&c.api, "POST", "/a", &answer);
        assert_int_equal(answer.status, 201);
        ask(&c.api, "POST", "/b", &answer);
        assert_int_equal(answer.status, 401);
        fake_asked(&c.api, "POST /a authorization=Bearer first\n"
                           "POST /a authorization=Bearer second\n"
                           "POST /b authorization=Bearer second\n");
        tear_down(&c);
}

static void break_off(struct test_end *end, struct str data _unused_)
{
        name_script(end->user, "token: second");
        stream_write_str(end->stream, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                          "5\r\nevent\r\nno chunk\r\n"));
}

static void a_stream_is_not_begun_anew_with_another_kubeconfig(void **state)
{
        const struct kube_request request = { .method = STR("GET"), .path = STR("/w?watch=1") };
        struct script s = {};
        struct watch watch = {};

        (void)state;
        listen_with_tls(&s.c, TLS_CLIENT_OFF, false);
        go_to_script(&s, break_off);
        assert_int_equal(kube_client_stream(s.c.api.client, &request, &watch_events, &watch, NULL),
                         0);
        test_run_until(&s.c.api.t, watch.end.count == 1);
        assert_int_equal(watch.end.error, KUBE_MALFORMED);
        assert_int_equal(watch.bytes, 5);
        assert_int_equal(s.peers.count, 1);
        test_peers_close(&s.peers);
        tear_down(&s.c);
}

/* ---- plugins ---- */

static void append_escaped(struct buffer *out, struct str pem)
{
        for (size_t i = 0; i < pem.length; i++)
                assert_int_equal(pem.data[i] == '\n' ? buffer_append_str(out, STR("\\n"))
                                                     : buffer_append_char(out, pem.data[i]),
                                 0);
}

/* A plugin that appends a line to a file each time, and prints `status`. */
static void use_plugin(struct cluster *c, const char *status, struct str certificate,
                       struct str key)
{
        _cleanup_buffer_ struct buffer user = {}, script = {};
        char path[64];

        assert_int_equal(buffer_printf(&script,
                                       "echo run >> %s/runs\n"
                                       "cat <<'END'\n"
                                       "{\"kind\": \"ExecCredential\", \"apiVersion\": "
                                       "\"client.authentication.k8s.io/v1beta1\", \"status\": {%s",
                                       c->folder.path, status),
                         0);
        if (certificate.length > 0) {
                assert_int_equal(buffer_append_str(&script, STR("\"clientCertificateData\": \"")),
                                 0);
                append_escaped(&script, certificate);
                assert_int_equal(buffer_append_str(&script, STR("\", \"clientKeyData\": \"")), 0);
                append_escaped(&script, key);
                assert_int_equal(buffer_append_str(&script, STR("\"")), 0);
        }
        assert_int_equal(buffer_append_str(&script, STR("}}\nEND\n")), 0);
        snprintf(path, sizeof(path), "%s/plugin", c->folder.path);
        assert_int_equal(file_write_atomic(AT_FDCWD, path, buffer_str(&script), 0600), 0);
        assert_int_equal(buffer_printf(&user,
                                       "exec: {apiVersion: client.authentication.k8s.io/v1beta1,"
                                       " interactiveMode: IfAvailable, command: sh, args: [%s]}",
                                       path),
                         0);
        assert_int_equal(buffer_append_char(&user, '\0'), 0);
        write_config(c, "", user.data);
        fake_load(&c->api, c->path, (struct kube_client_options){});
}

static unsigned plugin_runs(struct cluster *c)
{
        _cleanup_buffer_ struct buffer runs = {};
        char path[64];
        unsigned count = 0;

        snprintf(path, sizeof(path), "%s/runs", c->folder.path);
        assert_int_equal(file_read(AT_FDCWD, path, 4096, &runs), 0);
        for (size_t i = 0; i < runs.length; i++)
                count += runs.data[i] == '\n';
        return count;
}

/* Its clock, or ours, may be off by days: only the server's refusal means anything. */
static void a_credential_that_seems_to_have_expired_is_used(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" } };
        struct cluster c;
        struct answer answer;

        (void)state;
        listen_with_tls(&c, TLS_CLIENT_OFF, true);
        use_plugin(&c, "\"token\": \"t\", \"expirationTimestamp\": \"2001-01-01T00:00:00Z\"",
                   STR_EMPTY, STR_EMPTY);
        fake_expect(&c.api, replies);
        c.api.repeats = true;
        for (int i = 0; i < 3; i++) {
                ask(&c.api, "GET", "/a", &answer);
                if (answer.error)
                        fail_msg("%s", answer.message);
        }
        assert_int_equal(plugin_runs(&c), 1);
        tear_down(&c);
}

static void a_plugin_may_give_a_certificate(void **state)
{
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 200, "{}" },
                                                     { FAKE_ANSWER, 401, "{}" },
                                                     { FAKE_ANSWER, 200, "{}" } };
        struct cluster c;
        struct answer answer;

        (void)state;
        listen_with_tls(&c, TLS_CLIENT_REQUIRED, true);
        use_plugin(&c, "", buffer_str(&c.certificates.client.certificate),
                   buffer_str(&c.certificates.client.key));
        fake_expect(&c.api, replies);
        for (int i = 0; i < 2; i++) {
                ask(&c.api, "GET", "/a", &answer);
                if (answer.error)
                        fail_msg("%s", answer.message);
                assert_int_equal(answer.status, 200);
        }
        assert_int_equal(plugin_runs(&c), 2);
        tear_down(&c);
}

static void a_plugin_that_prints_for_ever_is_ended(void **state)
{
        struct cluster c;
        struct answer answer;

        (void)state;
        listen_with_tls(&c, TLS_CLIENT_OFF, true);
        write_config(&c, "", "exec: {command: 'yes'}");
        fake_load(&c.api, c.path, (struct kube_client_options){});
        ask(&c.api, "GET", "/a", &answer);
        assert_int_equal(answer.error, KUBE_UNTRUSTED);
        assert_non_null(strstr(answer.message, "larger than 1048576 bytes"));
        tear_down(&c);
}

/* ---- odd answers ---- */

static void html_is_said_to_be_no_api_servers(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, "<html>", "text/html; charset=utf-8" },
                { FAKE_ANSWER, 404, "<html>", "text/html" },
        };
        const struct kube_request request = { .method = STR("GET"), .path = STR("/w?watch=1") };
        struct cluster c;
        struct watch watch = {};
        struct answer answer;

        (void)state;
        set_up(&c, true);
        fake_expect(&c.api, replies);
        assert_int_equal(kube_client_stream(c.api.client, &request, &watch_events, &watch, NULL),
                         0);
        test_run_until(&c.api.t, watch.end.count == 1);
        assert_int_equal(watch.end.error, KUBE_MALFORMED);
        assert_int_equal(watch.bytes, 0);
        assert_non_null(strstr(watch.end.message, "HTML: is https://127.0.0.1:"));
        ask(&c.api, "POST", "/a", &answer);
        assert_int_equal(answer.status, 404);
        assert_non_null(strstr(answer.message, "the address of an API server?"));
        tear_down(&c);
}

/* `says` to whatever it hears, and then the end. */
struct stranger {
        struct script script;
        struct str says;
};

static void stranger_got(struct test_end *end, struct str data _unused_)
{
        struct stranger *s = container_of(end->user, struct stranger, script);

        stream_write_str(end->stream, s->says);
        stream_shutdown(end->stream);
}

static void a_server_with_tls_and_one_without_are_told_apart(void **state)
{
        static const char plain[] = "the server speaks HTTPS, not HTTP: is the URL right?",
                          tls[] = "the server speaks HTTP, not HTTPS: is the port right?";
        static const struct fake_reply replies[] = { { FAKE_ANSWER, 201, "{}" } };
        static const struct {
                const char *scheme;
                struct str says;
                const char *message;
                bool heard; /* by the server that was meant */
        } cases[] = {
                /* Go's servers, nginx, Apache, and who ends it by an alert. */
                { "http",
                  STR("HTTP/1.0 400 Bad Request\r\n\r\n"
                      "Client sent an HTTP request to an HTTPS server.\n"),
                  plain },
                { "http",
                  STR("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n"
                      "Connection: close\r\n\r\n<html><center>The plain HTTP request was sent "
                      "to HTTPS port</center></html>"),
                  plain },
                { "http",
                  STR("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n"
                      "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"),
                  plain },
                { "http", STR("\x15\x03\x01\0\2\2\x0a"), plain },
                /* What a request is to blame for. */
                { "http", STR("HTTP/1.1 400 Bad Request\r\n\r\nno"), "the server answered 400",
                  true },
                { "https",
                  STR("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                      "Connection: close\r\n\r\n"),
                  tls },
                { "https", STR("<!DOCTYPE HTML>\n<html>"), tls },
                { "https", STR("SSH-2.0-x\r\n"), "wrong version number" },
        };

        (void)state;
        for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
                struct stranger s = { .says = cases[i / 2].says };
                struct script *script = &s.script;
                const char *message = cases[i / 2].message;
                bool corrected = i % 2 == 1;
                struct answer answer;

                listen_with_tls(&script->c, TLS_CLIENT_OFF, true);
                script->c.scheme = cases[i / 2].scheme;
                go_to_script(script, stranger_got);
                script->peers.filter = NULL;
                fake_expect(&script->c.api, replies);
                script->c.scheme = NULL;
                if (corrected)
                        write_config(&script->c, "", "token: first");
                ask(&script->c.api, "POST", "/a", &answer);
                if (corrected && !cases[i / 2].heard)
                        assert_int_equal(answer.status, 201);
                else if (!strstr(answer.message, message))
                        fail_msg("case %zu: %s", i / 2, answer.message);
                test_peers_close(&script->peers);
                tear_down(&script->c);
        }
}

static void a_server_that_is_busy_is_asked_when_it_says(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 429, "{}", NULL, "1" },
                { FAKE_ANSWER, 200, "{}" },
        };
        struct cluster c;
        struct answer answer;

        (void)state;
        set_up(&c, true);
        fake_expect(&c.api, replies);
        uint64_t begun = clock_monotonic_ns();
        ask(&c.api, "GET", "/a", &answer);
        assert_int_equal(answer.status, 200);
        assert_true(clock_monotonic_ns() - begun >= NS_PER_SECOND);
        tear_down(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(watches_and_writes_share_one_connection),
                cmocka_unit_test(what_a_leaving_server_did_not_look_at_is_sent_again),
                cmocka_unit_test(a_proxy_is_asked_for_a_way_through),
                cmocka_unit_test(a_proxy_that_refuses_is_named),
                cmocka_unit_test(addresses_of_proxies_are_taken_apart),
                cmocka_unit_test(exceptions_from_the_proxy_are_heeded),
                cmocka_unit_test(the_environment_names_a_proxy_unless_the_kubeconfig_does),
                cmocka_unit_test(a_server_that_has_moved_is_found_by_the_kubeconfig),
                cmocka_unit_test(another_authority_is_taken_over),
                cmocka_unit_test(a_refused_token_is_looked_for_in_the_kubeconfig),
                cmocka_unit_test(a_stream_is_not_begun_anew_with_another_kubeconfig),
                cmocka_unit_test(a_credential_that_seems_to_have_expired_is_used),
                cmocka_unit_test(a_plugin_may_give_a_certificate),
                cmocka_unit_test(a_plugin_that_prints_for_ever_is_ended),
                cmocka_unit_test(html_is_said_to_be_no_api_servers),
                cmocka_unit_test(a_server_with_tls_and_one_without_are_told_apart),
                cmocka_unit_test(a_server_that_is_busy_is_asked_when_it_says),
        };

        return run_unit_tests("connection", tests);
}
