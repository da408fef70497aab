// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/list.h"
#include "base/log.h"
#include "client/backoff.h"
#include "client/exec.h"
#include "client/transport.h"
#include "crypto/encode.h"
#include "net/http2.h"
#include "net/http_client.h"

enum {
        /* Over HTTP/1.1 each is a connection. 600 writes to a kube-apiserver on two cores took
         * 493 ms with 8 of them, 358 with 32, 681 with 256, and then four times our own CPU for
         * handshakes. */
        IN_FLIGHT_DEFAULT = 32,
        REQUEST_TIMEOUT_MS = 30 * 1000,
        READ_ATTEMPTS = 5,
        PING_AFTER_MS = 10 * 1000, /* a server that is gone without a word is noticed after both */
        PING_TIMEOUT_MS = 5 * 1000,
        REFUSALS_MOST = 8,      /* by a server that is about to go: another connection, at once */
        RELOAD_LEAST_MS = 1000, /* between two readings of where the kubeconfig comes from */
        RETRY_FIRST_MS = 50,
        RETRY_MOST_MS = 5 * 1000,
        ERROR_BODY_LIMIT = 64 * 1024, /* of a stream that was refused */
        HEADERS_OWN = 6,
        HEADERS_MOST = 16,
};

/*
 * A credential that ends so soon is not used any more. But it is used for a while, whatever the
 * clocks say: the plugin's may be another's. A server that does not take it says so.
 */
#define CREDENTIAL_EARLY_NS (10 * NS_PER_SECOND)
#define CREDENTIAL_LEAST_NS (60 * NS_PER_SECOND)

struct kube_client {
        struct net_loop *loop;
        struct kube_config *config; /* the caller's, or `own` */
        struct kube_config own;     /* read again after a failure */
        uint64_t reloaded_ms;       /* when that was last tried; 0: never */
        unsigned reloads;           /* that brought something new */
        const struct protobuf_fields *protobuf;
        struct http_client *http;
        struct kube_transport transport;
        struct buffer user_agent;
        struct buffer basic; /* "Basic …"; empty: none */

        struct exec_run *plugin; /* on its way to a credential; NULL: none */
        struct exec_credential credential;
        bool has_credential;
        uint64_t credential_until_ns; /* monotonic */
        unsigned credential_number;
        struct error plugin_failure; /* why the last one could not be begun */

        struct list calls;   /* begun, or waiting for a repetition */
        struct list waiting; /* for a place among those in flight */
        unsigned in_flight_limit;
        uint64_t timeout_ms;
        struct kube_client_counters counters;
};

struct kube_call {
        struct list link;
        struct kube_client *client;
        struct arena arena;
        struct kube_request request; /* strings in the arena */
        struct kube_stream_events events;
        void *user;
        bool is_stream;

        struct http_call *http; /* of this attempt; NULL between attempts */
        struct net_timer timer; /* the attempt's time, or the wait before the next */
        struct net_task failed; /* tells what went wrong in the very beginning */
        int failure;
        struct backoff backoff;
        unsigned attempts_left;
        bool in_flight; /* begun; else waiting for a place */
        bool awaits_credential;
        bool asked_anew; /* after a 401 with a token that may have been old */
        bool reloaded;   /* after a failure that another kubeconfig may cure */
        unsigned refusals;
        unsigned credential_number; /* that it was sent with */
        unsigned reloads;           /* of the client, before it was sent */

        unsigned status;
        unsigned retry_after_s;
        bool is_json, is_protobuf, is_html;
        struct buffer body;
};

/* ---- the client ---- */

/* Makes connections anew, by `config` and as whom it says. The old ones stay for what they carry.
 */
static int make_transport(struct kube_client *client, const struct kube_config *config,
                          struct str certificate, struct str key, struct error *error)
{
        struct kube_transport transport;
        int r = kube_transport_init(&transport, config, certificate, key, error);

        if (r < 0)
                return error_prefix(error, r, "%s", config->server.data);
        if (client->http)
                http_client_forget(client->http, NULL);
        kube_transport_deinit(&client->transport);
        client->transport = transport;
        return 0;
}

static int make_basic(struct buffer *out, const struct kube_config *config)
{
        _cleanup_buffer_ struct buffer pair = {};

        buffer_clear(out);
        if (config->username.length == 0)
                return 0;
        int r = buffer_printf(&pair, "%s:%.*s", config->username.data,
                              STR_FORMAT(config->password));
        if (r == 0)
                r = buffer_append_str(out, STR("Basic "));
        return r < 0 ? r : base64_append(out, BASE64_STANDARD, pair.data, pair.length);
}

static int prepare(struct kube_client *client, const struct kube_client_options *options,
                   struct error *error)
{
        struct kube_config *config = options->config;
        const struct http_client_options http = { .idle_per_origin = client->in_flight_limit,
                                                  .ping_after_ms = PING_AFTER_MS,
                                                  .ping_timeout_ms = PING_TIMEOUT_MS,
                                                  .http2 = &http2_client_protocol };
        int r = make_transport(client, config, config->certificate, config->key, error);

        if (r < 0)
                return r;
        struct str agent = options->user_agent.length > 0 ? options->user_agent : STR("cay");
        r = buffer_append_str(&client->user_agent, agent);
        if (r == 0)
                r = make_basic(&client->basic, config);
        if (r == 0)
                r = http_client_new(client->loop, &http, &client->http);
        return r < 0 ? error_prefix(error, r, "cannot make a client") : 0;
}

/*
 * The server may have moved, or have other authorities or credentials for us: what the kubeconfig
 * says now is taken over if it is good. Returns whether there was anything new.
 */
static bool reload(struct kube_client *client)
{
        struct kube_config now;
        struct error error = {};
        uint64_t now_ms = net_loop_now_ms(client->loop);

        /* A plugin that runs borrows the old one. */
        if (client->plugin ||
            (client->reloaded_ms > 0 && now_ms - client->reloaded_ms < RELOAD_LEAST_MS))
                return false;
        client->reloaded_ms = MAX(now_ms, UINT64_C(1));
        if (kube_config_reload(client->config, &now) <= 0)
                return false;
        if (make_transport(client, &now, now.certificate, now.key, &error) < 0 ||
            make_basic(&client->basic, &now) < 0) {
                log_warning("%s has changed, and cannot be used: %s", now.source.data,
                            error.message);
                kube_config_deinit(&now);
                return false;
        }
        log_info("%s has changed: going on with %s", now.source.data, now.server.data);
        kube_config_deinit(&client->own);
        client->own = now;
        client->config = &client->own;
        client->has_credential = false;
        client->reloads++;
        return true;
}

int kube_client_new(const struct kube_client_options *options, struct error *error,
                    struct kube_client **ret_client)
{
        struct kube_client *client = calloc(1, sizeof(*client));

        if (!client)
                return error_set(error, -ENOMEM, "out of memory");
        client->loop = options->loop;
        client->config = options->config;
        client->protobuf = options->protobuf;
        client->in_flight_limit =
                options->in_flight_limit ? options->in_flight_limit : IN_FLIGHT_DEFAULT;
        client->timeout_ms =
                options->request_timeout_ms ? options->request_timeout_ms : REQUEST_TIMEOUT_MS;
        list_init(&client->calls);
        list_init(&client->waiting);
        int r = prepare(client, options, error);
        if (r < 0) {
                kube_client_free(client);
                return r;
        }
        *ret_client = client;
        return 0;
}

/* Leaves nothing of a call that is in no list any more. */
static void call_free(struct kube_call *call)
{
        if (call->http)
                http_call_cancel(call->http);
        net_timer_stop(&call->timer);
        net_task_cancel(&call->failed);
        arena_deinit(&call->arena);
        buffer_deinit(&call->body);
        free(call);
}

static void free_calls(struct list *calls)
{
        struct kube_call *call;

        list_for_each (call, calls, link) {
                list_remove(&call->link);
                call_free(call);
        }
}

void kube_client_free(struct kube_client *client)
{
        if (!client)
                return;
        free_calls(&client->calls);
        free_calls(&client->waiting);
        if (client->plugin)
                exec_run_cancel(client->plugin);
        exec_credential_deinit(&client->credential);
        if (client->http)
                http_client_free(client->http);
        kube_transport_deinit(&client->transport);
        kube_config_deinit(&client->own);
        buffer_deinit(&client->user_agent);
        buffer_deinit(&client->basic);
        free(client);
}

struct kube_client_counters kube_client_counters(const struct kube_client *client)
{
        struct kube_client_counters counters = client->counters;

        counters.connects = http_client_counters(client->http).connects;
        return counters;
}

/* ---- ending a call ---- */

static void begin(struct kube_call *call);
static void attempt(struct kube_call *call);

static void leave_flight(struct kube_call *call)
{
        struct kube_client *client = call->client;

        if (!call->in_flight)
                return;
        call->in_flight = false;
        if (call->is_stream) {
                client->counters.streams--;
                return;
        }
        client->counters.in_flight--;
        if (!list_is_empty(&client->waiting)) {
                struct kube_call *next = list_entry(client->waiting.next, struct kube_call, link);
                list_remove(&next->link);
                client->counters.waiting--;
                begin(next);
        }
}

static void finish(struct kube_call *call, struct kube_response *response)
{
        if (response->error != 0 || response->status >= 400)
                call->client->counters.failures++;
        list_remove(&call->link);
        leave_flight(call);
        if (call->http) {
                http_call_cancel(call->http);
                call->http = NULL;
        }
        response->body = buffer_str(&call->body);
        call->events.on_end(call->user, response);
        call_free(call);
}

void kube_call_cancel(struct kube_call *call)
{
        if (!call->in_flight)
                call->client->counters.waiting--;
        list_remove(&call->link);
        leave_flight(call);
        call_free(call);
}

/* ---- repeating ---- */

static void on_retry(struct net_timer *timer)
{
        attempt(container_of(timer, struct kube_call, timer));
}

/* Begins another attempt after `delay_ms`; keeps its place in flight. */
static void repeat(struct kube_call *call, uint64_t delay_ms)
{
        if (call->http) {
                http_call_cancel(call->http);
                call->http = NULL;
        }
        call->attempts_left--;
        call->client->counters.retries++;
        net_timer_start(call->client->loop, &call->timer, delay_ms, on_retry);
}

static bool is_read(const struct kube_call *call)
{
        return str_equal(call->request.method, STR("GET"));
}

/* ---- answers ---- */

enum { SENTENCE_SIZE = 200 };

static void fill_status(struct kube_call *call, struct kube_response *response,
                        struct json_doc *doc, char fallback[static SENTENCE_SIZE])
{
        struct json_value root = doc ? json_root(doc) : (struct json_value){};

        response->reason = json_string(json_get(root, "reason"));
        response->message = json_string(json_get(root, "message"));
        if (response->message.length == 0) {
                snprintf(fallback, SENTENCE_SIZE, "the server answered %u %.*s", call->status,
                         STR_FORMAT(http_reason(call->status)));
                response->message = str_from(fallback);
        }
}

static bool wants_json(const struct kube_call *call)
{
        return call->request.accept.length == 0 ||
               str_starts_with(call->request.accept, STR("application/json"));
}

/* Whether the answer says that nothing was done, and when to ask again. */
static bool may_repeat(struct kube_call *call, uint64_t *ret_delay_ms)
{
        struct kube_config *config = call->client->config;

        if (call->status == 401 && !call->asked_anew &&
            (config->token_file.length > 0 || config->exec || reload(call->client))) {
                call->asked_anew = true;
                call->attempts_left++;
                kube_config_forget_token(config);
                if (call->credential_number == call->client->credential_number)
                        call->client->has_credential = false;
                *ret_delay_ms = 0;
                return true;
        }
        bool refused = call->status == 429 || (call->status == 503 && call->retry_after_s > 0);
        if (call->attempts_left == 0 || !(refused || (is_read(call) && call->status >= 500)))
                return false;
        *ret_delay_ms = MAX(backoff_next(&call->backoff), (uint64_t)call->retry_after_s * 1000);
        return true;
}

static struct str is_no_api_server(const struct kube_call *call, const char *what,
                                   char sentence[static SENTENCE_SIZE])
{
        const struct str server = call->client->config->server;

        snprintf(sentence, SENTENCE_SIZE, "%s: is %.*s the address of an API server?", what,
                 (int)MIN(server.length, (size_t)80), server.data);
        return str_from(sentence);
}

static void failed(struct kube_call *call, int error, bool timed_out, const char *what);

/* Servers with TLS say so without it, in words of their own. */
static bool wants_tls(const struct kube_call *call)
{
        static const char *const words[] = { "HTTPS", "SSL-enabled" };
        struct str body = buffer_str(&call->body);

        if (call->client->config->tls || call->status != 400 || call->is_json)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (body.length > 0 && memmem(body.data, body.length, words[i], strlen(words[i])))
                        return true;
        return false;
}

static void refuse_plain(struct kube_call *call)
{
        failed(call, KUBE_UNTRUSTED, false, "the server speaks HTTPS, not HTTP: is the URL right?");
}

/* A refusal's Status. What cannot be read says no more than its number. */
static int read_protobuf(const struct kube_call *call, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};
        const struct json_options options = { .size_limit = LIMIT_API_ANSWER };
        int r = protobuf_to_json(call->client->protobuf, buffer_str(&call->body), NULL, &text);

        return r < 0 ? r : json_doc_parse(buffer_str(&text), &options, NULL, NULL, ret_doc);
}

static void answered(struct kube_call *call)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct kube_response response = { .status = call->status,
                                          .retry_after_s = call->retry_after_s };
        char fallback[SENTENCE_SIZE], what[80];
        uint64_t delay_ms;
        bool good = call->status < 300;

        net_timer_stop(&call->timer);
        if (wants_tls(call)) {
                refuse_plain(call);
                return;
        }
        if (may_repeat(call, &delay_ms)) {
                repeat(call, delay_ms);
                return;
        }
        if (call->body.length > 0 && (wants_json(call) || (!good && call->is_json))) {
                struct json_options options = { .size_limit = LIMIT_API_ANSWER };
                int r = json_doc_parse(buffer_str(&call->body), &options, NULL, NULL, &doc);
                if (r == -ENOMEM) {
                        response.error = r;
                        response.message = STR("out of memory");
                } else if (r < 0 && good) {
                        response.error = KUBE_MALFORMED;
                        response.message =
                                is_no_api_server(call, "the answer is not JSON", fallback);
                }
        }
        if (!good && call->is_protobuf && call->client->protobuf &&
            read_protobuf(call, &doc) == -ENOMEM) {
                response.error = -ENOMEM;
                response.message = STR("out of memory");
        }
        response.doc = doc;
        if (response.error == 0 && !good && call->is_html) {
                snprintf(what, sizeof(what), "the answer is %u %.*s with HTML", call->status,
                         STR_FORMAT(http_reason(call->status)));
                response.message = is_no_api_server(call, what, fallback);
        } else if (response.error == 0 && !good) {
                fill_status(call, &response, doc, fallback);
        }
        finish(call, &response);
}

static void failed(struct kube_call *call, int error, bool timed_out, const char *what)
{
        struct kube_response response = { .error = error, .timed_out = timed_out };
        char message[256];

        net_timer_stop(&call->timer);
        if (call->http)
                http_call_cancel(call->http);
        call->http = NULL;
        bool elsewhere = error == KUBE_UNREACHABLE || error == KUBE_UNTRUSTED ||
                         (error == KUBE_MALFORMED && is_read(call));
        if (elsewhere && !call->reloaded &&
            (call->reloads != call->client->reloads || reload(call->client))) {
                call->reloaded = true;
                call->attempts_left++;
                repeat(call, 0);
                return;
        }
        if (call->attempts_left > 0 && error != -ENOMEM && error != KUBE_UNTRUSTED &&
            (error == KUBE_UNREACHABLE || is_read(call)) && !call->is_stream) {
                repeat(call, backoff_next(&call->backoff));
                return;
        }
        snprintf(message, sizeof(message), "%.*s: %s",
                 (int)MIN(call->client->config->server.length, (size_t)100),
                 call->client->config->server.data, what);
        response.message = str_from(message);
        finish(call, &response);
}

static void withheld(struct kube_call *call)
{
        call->attempts_left = 0;
        failed(call, KUBE_WITHHELD, false, "it was not sent, as it is no longer allowed");
}

static bool may_send(void *user)
{
        const struct kube_call *call = user;

        return !call->request.may_send || call->request.may_send(call->request.may_send_user);
}

/* ---- what HTTP tells ---- */

static void on_timeout(struct net_timer *timer)
{
        struct kube_call *call = container_of(timer, struct kube_call, timer);
        bool connected = http_call_connection(call->http) != NULL;

        failed(call, connected ? KUBE_LOST : KUBE_UNREACHABLE, true, "no answer came in time");
}

/* The head of a stream is there: from now on only silence ends it. */
static void await_bytes(struct kube_call *call)
{
        if (call->request.idle_timeout_ms > 0)
                net_timer_start(call->client->loop, &call->timer, call->request.idle_timeout_ms,
                                on_timeout);
        else
                net_timer_stop(&call->timer);
}

void kube_call_pause(struct kube_call *call)
{
        net_timer_stop(&call->timer);
        http_call_pause(call->http);
}

void kube_call_resume(struct kube_call *call)
{
        await_bytes(call);
        http_call_resume(call->http);
}

void kube_call_set_idle_timeout(struct kube_call *call, uint64_t idle_timeout_ms)
{
        call->request.idle_timeout_ms = idle_timeout_ms;
        if (call->http)
                await_bytes(call);
}

struct net_loop *kube_client_loop(const struct kube_client *client)
{
        return client->loop;
}

const struct protobuf_fields *kube_client_protobuf(const struct kube_client *client)
{
        return client->protobuf;
}

bool kube_call_is_protobuf(const struct kube_call *call)
{
        return call->is_protobuf;
}

/* The connection leaves the client, and the call ends with it. */
static void upgraded(struct kube_call *call, struct http_call *http,
                     const struct http_response_head *head)
{
        net_timer_stop(&call->timer);
        list_remove(&call->link);
        leave_flight(call);
        call->http = NULL;
        if (call->events.on_upgrade(call->user, http, head) < 0)
                http_call_cancel(http);
        call_free(call);
}

static void on_head(struct http_call *http, void *user, const struct http_response_head *head)
{
        struct kube_call *call = user;
        struct str retry_after = http_headers_get(&head->headers, STR("retry-after"));
        struct str type = http_headers_get(&head->headers, STR("content-type"));
        uint64_t seconds;

        call->status = head->status;
        call->is_json = str_starts_with(type, STR("application/json"));
        call->is_protobuf = str_starts_with(type, STR(KUBE_PROTOBUF));
        call->is_html = str_starts_with(type, STR("text/html"));
        call->retry_after_s = 0;
        if (str_to_u64(retry_after, 3600, &seconds) == 0)
                call->retry_after_s = (unsigned)seconds;
        buffer_clear(&call->body);
        if (!call->is_stream)
                return;
        if (call->status == 101) {
                upgraded(call, http, head);
                return;
        }
        if (call->status < 300 && call->is_html) {
                char sentence[SENTENCE_SIZE];
                is_no_api_server(call, "the answer is HTML", sentence);
                failed(call, KUBE_MALFORMED, false, sentence);
                return;
        }
        await_bytes(call);
        if (call->status < 300 && call->events.on_head)
                call->events.on_head(call->user, call->status);
}

static void on_body(struct http_call *http _unused_, void *user, struct str data)
{
        struct kube_call *call = user;
        size_t limit = call->is_stream ? (size_t)ERROR_BODY_LIMIT : (size_t)LIMIT_API_ANSWER;

        if (call->is_stream && call->status < 300) {
                call->reloaded = true; /* what was passed on cannot be begun anew elsewhere */
                await_bytes(call);
                call->events.on_data(call->user, data);
                return;
        }
        if (data.length > limit - call->body.length) {
                failed(call, KUBE_MALFORMED, false, "the answer is too large");
                return;
        }
        if (buffer_append_str(&call->body, data) < 0) {
                failed(call, -ENOMEM, false, "out of memory");
        }
}

static void on_end(struct http_call *http _unused_, void *user)
{
        struct kube_call *call = user;

        call->http = NULL;
        answered(call);
}

/* Not looked at: another connection will do. */
static void refused(struct kube_call *call)
{
        if (++call->refusals > REFUSALS_MOST) {
                failed(call, KUBE_UNREACHABLE, false, "the server takes no requests");
                return;
        }
        net_timer_stop(&call->timer);
        call->attempts_left++;
        repeat(call, 0);
}

static void on_error(struct http_call *http _unused_, void *user, enum http_error error, int code)
{
        struct kube_call *call = user;
        const char *sentence = kube_transport_error(&call->client->transport, error, code);

        call->http = NULL;
        switch (error) {
        case HTTP_ERROR_DIAL:
                if (code == -ECANCELED) {
                        withheld(call);
                        return;
                }
                failed(call, KUBE_UNREACHABLE, code == -ETIMEDOUT, sentence);
                return;
        case HTTP_ERROR_TLS:
                failed(call, KUBE_UNTRUSTED, false, sentence);
                return;
        case HTTP_ERROR_REFUSED:
                refused(call);
                return;
        case HTTP_ERROR_CLOSED:
        case HTTP_ERROR_EOF:
                failed(call, KUBE_LOST, false, "the connection was lost");
                return;
        case HTTP_ERROR_TIMEOUT:
                failed(call, KUBE_LOST, true, "no answer came in time");
                return;
        case HTTP_ERROR_PROTOCOL:
                if (code == -EPROTOTYPE) {
                        refuse_plain(call);
                        return;
                }
                failed(call, KUBE_MALFORMED, false, "the answer is not HTTP");
                return;
        case HTTP_ERROR_MEMORY:
                failed(call, -ENOMEM, false, "out of memory");
                return;
        }
}

static const struct http_call_callbacks callbacks = {
        .may_send = may_send,
        .on_head = on_head,
        .on_body = on_body,
        .on_end = on_end,
        .on_error = on_error,
};

/* ---- credential plugins ---- */

static void send_attempt(struct kube_call *call);

/* Tells each call that waited. Callbacks may end or begin others, so the list is walked anew. */
static void go_on_with(struct kube_client *client, const struct error *error)
{
        struct kube_call *call;
        bool again;

        do {
                again = false;
                list_for_each (call, &client->calls, link) {
                        if (!call->awaits_credential)
                                continue;
                        call->awaits_credential = false;
                        if (!error) {
                                send_attempt(call);
                                continue;
                        }
                        call->attempts_left = 0;
                        failed(call, KUBE_UNTRUSTED, false, error->message);
                        again = true;
                        break;
                }
        } while (again);
}

/* In the monotonic time, which no clock's correction moves. */
static uint64_t end_of_credential(uint64_t expires_ns)
{
        uint64_t now = clock_realtime_ns(), left = 0;

        if (expires_ns == UINT64_MAX)
                return UINT64_MAX;
        if (expires_ns > now + CREDENTIAL_EARLY_NS)
                left = expires_ns - now - CREDENTIAL_EARLY_NS;
        return clock_monotonic_ns() + MAX(left, (uint64_t)CREDENTIAL_LEAST_NS);
}

static void on_credential(void *user, struct exec_credential *credential, const struct error *error)
{
        struct kube_client *client = user;
        struct error problem = {};
        int r = 0;

        client->plugin = NULL;
        if (!credential) {
                go_on_with(client, error);
                return;
        }
        if (client->config->tls && credential->certificate.length > 0 &&
            !(client->credential_number > 0 &&
              str_equal(buffer_str(&credential->certificate),
                        buffer_str(&client->credential.certificate))))
                r = make_transport(client, client->config, buffer_str(&credential->certificate),
                                   buffer_str(&credential->key), &problem);
        if (r < 0) {
                go_on_with(client, &problem);
                return;
        }
        exec_credential_deinit(&client->credential);
        client->credential = *credential;
        *credential = (struct exec_credential){};
        client->has_credential = true;
        client->credential_number++;
        client->credential_until_ns = end_of_credential(client->credential.expires_ns);
        go_on_with(client, NULL);
}

static void on_begin_failed(struct net_task *task)
{
        struct kube_call *call = container_of(task, struct kube_call, failed);
        struct kube_client *client = call->client;

        call->attempts_left = 0;
        call->awaits_credential = false;
        if (call->failure == -ECANCELED)
                withheld(call);
        else if (call->failure == -EACCES)
                failed(call, KUBE_UNTRUSTED, false, client->plugin_failure.message);
        else
                failed(call, call->failure == -ENOMEM ? -ENOMEM : KUBE_UNREACHABLE, false,
                       strerror(-call->failure));
}

static bool is_credential_good(const struct kube_client *client)
{
        return client->has_credential && clock_monotonic_ns() < client->credential_until_ns;
}

/* Whether the call must wait for a credential. */
static bool await_credential(struct kube_call *call)
{
        struct kube_client *client = call->client;

        if (!client->config->exec || is_credential_good(client))
                return false;
        call->awaits_credential = true;
        if (client->plugin)
                return true;
        int r = exec_run_start(client->loop, client->config, on_credential, client,
                               &client->plugin_failure, &client->plugin);
        if (r < 0) {
                call->failure = -EACCES;
                call->failed.run = on_begin_failed;
                net_loop_defer(client->loop, &call->failed);
        }
        return true;
}

/* ---- beginning ---- */

static size_t fill_headers(struct kube_call *call, struct arena *arena,
                           struct http_header headers[static HEADERS_MOST])
{
        struct kube_client *client = call->client;
        const struct kube_request *request = &call->request;
        struct str token = client->config->exec
                                   ? buffer_str(&client->credential.token)
                                   : kube_config_token(client->config, clock_monotonic_ns());
        size_t count = 0;

        headers[count++] = (struct http_header){ STR("Accept"), request->accept.length > 0
                                                                        ? request->accept
                                                                        : STR("application/json") };
        headers[count++] =
                (struct http_header){ STR("User-Agent"), buffer_str(&client->user_agent) };
        if (request->body.length > 0 || request->content_type.length > 0)
                headers[count++] = (struct http_header){ STR("Content-Type"),
                                                         request->content_type.length > 0
                                                                 ? request->content_type
                                                                 : STR("application/json") };
        if (token.length > 0)
                headers[count++] = (struct http_header){
                        STR("Authorization"), arena_printf(arena, "Bearer %.*s", STR_FORMAT(token))
                };
        else if (client->basic.length > 0)
                headers[count++] =
                        (struct http_header){ STR("Authorization"), buffer_str(&client->basic) };
        if (client->config->impersonate.length > 0)
                headers[count++] = (struct http_header){ STR("Impersonate-User"),
                                                         client->config->impersonate };
        for (size_t i = 0; i < request->header_count; i++)
                headers[count++] = request->headers[i];
        return count;
}

static void send_attempt(struct kube_call *call)
{
        struct kube_client *client = call->client;
        const struct str prefix = client->config->prefix;
        struct http_header headers[HEADERS_MOST];
        _cleanup_arena_ struct arena arena = {};
        struct http_request request = {
                .method = call->request.method,
                .target = prefix.length > 0 ? arena_printf(&arena, "%.*s%.*s", STR_FORMAT(prefix),
                                                           STR_FORMAT(call->request.path))
                                            : call->request.path,
                .headers = headers,
                .header_count = fill_headers(call, &arena, headers),
                .body = call->request.body,
                .upgrade = call->events.on_upgrade != NULL,
        };

        kube_transport_fill(&client->transport, &request);
        call->credential_number = client->credential_number;
        call->reloads = client->reloads;
        int r = may_send(call) ? 0 : -ECANCELED;
        if (r == 0) {
                client->counters.requests++;
                r = http_call_start(client->http, &request, &callbacks, call, &call->http);
        }
        if (r < 0) {
                call->http = NULL;
                call->failure = r;
                call->failed.run = on_begin_failed;
                net_loop_defer(client->loop, &call->failed);
                return;
        }
        net_timer_start(client->loop, &call->timer, call->request.timeout_ms, on_timeout);
}

static void attempt(struct kube_call *call)
{
        if (!await_credential(call))
                send_attempt(call);
}

static void begin(struct kube_call *call)
{
        struct kube_client *client = call->client;

        list_append(&client->calls, &call->link);
        call->in_flight = true;
        if (call->is_stream)
                client->counters.streams++;
        else
                client->counters.in_flight++;
        attempt(call);
}

static int copy_request(struct kube_call *call, const struct kube_request *request)
{
        struct str *strings[] = { &call->request.method, &call->request.path,
                                  &call->request.content_type, &call->request.accept,
                                  &call->request.body };

        call->request = *request;
        for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
                *strings[i] = arena_str(&call->arena, *strings[i]);
                if (!strings[i]->data)
                        return -ENOMEM;
        }
        struct http_header *headers =
                arena_new(&call->arena, struct http_header, request->header_count + 1);
        if (!headers)
                return -ENOMEM;
        for (size_t i = 0; i < request->header_count; i++) {
                headers[i].name = arena_str(&call->arena, request->headers[i].name);
                headers[i].value = arena_str(&call->arena, request->headers[i].value);
                if (!headers[i].name.data || !headers[i].value.data)
                        return -ENOMEM;
        }
        call->request.headers = headers;
        if (call->request.timeout_ms == 0)
                call->request.timeout_ms = call->client->timeout_ms;
        unsigned attempts = request->attempts                   ? request->attempts
                            : is_read(call) && !call->is_stream ? READ_ATTEMPTS
                                                                : 1;
        call->attempts_left = attempts - 1;
        call->backoff = (struct backoff){ .first_ms = RETRY_FIRST_MS, .most_ms = RETRY_MOST_MS };
        return 0;
}

static int start(struct kube_client *client, const struct kube_request *request, bool is_stream,
                 const struct kube_stream_events *events, void *user, struct kube_call **ret_call)
{
        if (request->method.length == 0 || !str_starts_with(request->path, STR("/")) ||
            request->header_count > HEADERS_MOST - HEADERS_OWN)
                return -EINVAL;
        struct kube_call *call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;
        call->client = client;
        call->events = *events;
        call->user = user;
        call->is_stream = is_stream;
        list_init(&call->link);
        int r = copy_request(call, request);
        if (r < 0) {
                call_free(call);
                return r;
        }
        if (!is_stream && client->counters.in_flight >= client->in_flight_limit) {
                list_append(&client->waiting, &call->link);
                client->counters.waiting++;
        } else {
                begin(call);
        }
        if (ret_call)
                *ret_call = call;
        return 0;
}

int kube_client_request(struct kube_client *client, const struct kube_request *request,
                        kube_response_fn callback, void *user, struct kube_call **ret_call)
{
        struct kube_stream_events events = { .on_end = callback };

        return start(client, request, false, &events, user, ret_call);
}

int kube_client_stream(struct kube_client *client, const struct kube_request *request,
                       const struct kube_stream_events *events, void *user,
                       struct kube_call **ret_call)
{
        return start(client, request, true, events, user, ret_call);
}
