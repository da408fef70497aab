// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"
#include "net/http_client_connection.h"

enum {
        INFORMATIONAL_MAX = 16, /* 1xx answers before the real one */
        HEAD_ROOM = 512,
        HOST_MAX = 255,
};

enum state {
        LOOKING_UP,
        CONNECTING,
        WAITING_FOR_HEAD,
        READING_BODY,
        TUNNEL, /* 101: waits for http_call_take_over() */
        OVER,
};

struct http_call {
        struct list link;
        struct http_client *client;
        const struct http_call_callbacks *on;
        void *user;
        struct http_client_connection *connection; /* NULL while looking up and when over */
        struct net_task task;                      /* reports a failure from the loop, or frees */
        struct net_timer timer;
        enum state state;
        struct arena arena; /* the answer's head */

        /* The origin. */
        struct stream_filter *filter;
        struct str server_name;
        struct buffer key; /* of the pool; server_name and host are copies behind it */
        uv_getaddrinfo_t *lookup;
        struct addrinfo *addresses, *next_address;
        struct net_address address;
        uint32_t head_timeout_ms, idle_timeout_ms;

        /* The request. */
        struct buffer outgoing; /* until the connection is open */
        struct str method;      /* a static string, or in the arena */
        bool drain_owed;
        bool chunked;
        bool sent; /* whole */
        bool upgrade;
        bool reused;
        int64_t left; /* of a streamed body with a length */

        /* The answer. */
        struct http_response_head head;
        struct http1_body body;
        size_t scanned;
        unsigned informational;
        bool keep_alive;
        bool paused;
        bool begun; /* a byte of an answer has come */

        enum http_error error; /* for the task */
        int code;
};

/* ---- ends ---- */

static void run_free(struct net_task *task)
{
        struct http_call *call = container_of(task, struct http_call, task);

        if (call->addresses)
                uv_freeaddrinfo(call->addresses);
        arena_deinit(&call->arena);
        buffer_deinit(&call->key);
        buffer_deinit(&call->outgoing);
        free(call);
}

/* From here on it tells nothing any more. The memory stays until we are back in the loop. */
static void finish(struct http_call *call)
{
        call->state = OVER;
        list_remove(&call->link);
        call->client->counters.calls--;
        net_timer_stop(&call->timer);
        net_task_cancel(&call->task);
        if (call->lookup) {
                call->lookup->data = NULL;
                (void)uv_cancel((uv_req_t *)call->lookup);
                call->lookup = NULL;
        }
        call->task.run = run_free;
        net_loop_defer(call->client->loop, &call->task);
}

static void drop_connection(struct http_call *call)
{
        struct http_client_connection *connection = call->connection;

        call->connection = NULL;
        if (!connection)
                return;
        connection->call = NULL;
        http_client_connection_close(connection);
}

static void fail(struct http_call *call, enum http_error error, int code)
{
        if (call->state == OVER)
                return;
        finish(call);
        drop_connection(call);
        if (call->on->on_error)
                call->on->on_error(call, call->user, error, code);
}

static void run_fail(struct net_task *task)
{
        struct http_call *call = container_of(task, struct http_call, task);

        fail(call, call->error, call->code);
}

static void fail_later(struct http_call *call, enum http_error error, int code)
{
        if (call->state == OVER)
                return;
        call->error = error;
        call->code = code;
        call->task.run = run_fail;
        net_loop_defer(call->client->loop, &call->task);
}

static enum http_error class_of_dialing(int code)
{
        if (code == -ENOMEM)
                return HTTP_ERROR_MEMORY;
        return code == -EPROTO || code == -EKEYREJECTED ? HTTP_ERROR_TLS : HTTP_ERROR_DIAL;
}

static enum http_error class_of_reading(const struct http_call *call, int code)
{
        if (code == -ENOMEM)
                return HTTP_ERROR_MEMORY;
        if (code == -EKEYREJECTED)
                return HTTP_ERROR_TLS;
        return call->begun ? HTTP_ERROR_EOF : HTTP_ERROR_CLOSED;
}

/* ---- time ---- */

static void timed_out(struct net_timer *timer)
{
        struct http_call *call = container_of(timer, struct http_call, timer);
        bool dialing = call->state == LOOKING_UP || call->state == CONNECTING;

        fail(call, dialing ? HTTP_ERROR_DIAL : HTTP_ERROR_TIMEOUT, -ETIMEDOUT);
}

static void set_timer(struct http_call *call, uint32_t ms)
{
        if (ms > 0)
                net_timer_start(call->client->loop, &call->timer, ms, timed_out);
        else
                net_timer_stop(&call->timer);
}

static void wait_for_head(struct http_call *call)
{
        if (call->state == WAITING_FOR_HEAD && call->sent)
                set_timer(call, call->head_timeout_ms);
}

static void wait_for_body(struct http_call *call)
{
        if (call->state == READING_BODY)
                set_timer(call, call->paused ? 0 : call->idle_timeout_ms);
}

/* ---- connecting ---- */

static void connect_next(struct http_call *call);

static void dial(struct http_call *call)
{
        struct http_client_connection *connection;
        int r = http_client_connection_new(call->client, &call->address, call->filter,
                                           call->server_name, buffer_str(&call->key), &connection);

        if (r < 0) {
                fail_later(call, class_of_dialing(r), r);
                return;
        }
        call->state = CONNECTING;
        call->connection = connection;
        connection->call = call;
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
        struct http_call *call = request->data;

        free(request);
        if (!call) {
                uv_freeaddrinfo(addresses);
                return;
        }
        call->lookup = NULL;
        call->addresses = call->next_address = addresses;
        if (status < 0 || !addresses)
                fail(call, HTTP_ERROR_DIAL, -EHOSTUNREACH);
        else
                connect_next(call);
}

static void connect_next(struct http_call *call)
{
        const struct addrinfo *next = call->next_address;

        call->next_address = next->ai_next;
        call->address = (struct net_address){ .length = next->ai_addrlen };
        memcpy(&call->address.generic, next->ai_addr, next->ai_addrlen);
        dial(call);
}

static int look_up(struct http_call *call, struct str host, uint16_t port)
{
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
        char name[HOST_MAX + 1], service[8];

        if (host.length == 0 || host.length > HOST_MAX || memchr(host.data, '\0', host.length))
                return -EINVAL;
        memcpy(name, host.data, host.length);
        name[host.length] = '\0';
        snprintf(service, sizeof(service), "%u", port);
        call->lookup = calloc(1, sizeof(*call->lookup));
        if (!call->lookup)
                return -ENOMEM;
        call->lookup->data = call;
        int r = uv_getaddrinfo(net_loop_uv(call->client->loop), call->lookup, looked_up, name,
                               service, &hints);
        if (r < 0) {
                free(call->lookup);
                call->lookup = NULL;
        }
        return r;
}

void http_call_opened(struct http_call *call)
{
        struct stream *stream = call->connection->stream;

        if (call->on->may_send && !call->on->may_send(call->user)) {
                fail(call, HTTP_ERROR_DIAL, -ECANCELED);
                return;
        }
        call->state = WAITING_FOR_HEAD;
        net_timer_stop(&call->timer);
        stream_write_str(stream, buffer_str(&call->outgoing));
        buffer_deinit(&call->outgoing);
        wait_for_head(call);
        if (call->on->on_connected)
                call->on->on_connected(call, call->user);
        if (call->state != OVER && call->drain_owed && !stream_is_congested(stream)) {
                call->drain_owed = false;
                http_call_drained(call);
        }
}

/* ---- the request ---- */

static bool is_ours(struct str name)
{
        return str_equal_ignoring_case(name, STR("host")) ||
               str_equal_ignoring_case(name, STR("content-length")) ||
               str_equal_ignoring_case(name, STR("transfer-encoding")) ||
               str_equal_ignoring_case(name, STR("connection"));
}

static int append_host(struct buffer *out, const struct http_request *request)
{
        char text[NET_ADDRESS_SIZE];
        const struct http_origin *origin = &request->origin;
        uint16_t usual = origin->filter ? 443 : 80;

        if (request->host.length > 0)
                return http1_append_field(out, STR("Host"), request->host);
        if (origin->address.length > 0) {
                if (origin->address.generic.sa_family == AF_UNIX)
                        return http1_append_field(out, STR("Host"), STR("localhost"));
                net_address_format(&origin->address, text);
                return http1_append_field(out, STR("Host"), str_from(text));
        }
        bool is_ipv6 = memchr(origin->host.data, ':', origin->host.length) != NULL;
        text[0] = '\0';
        if (origin->port != usual)
                snprintf(text, sizeof(text), ":%u", origin->port);
        return http_is_field_value(origin->host)
                       ? buffer_printf(out, "Host: %s%.*s%s%s\r\n", is_ipv6 ? "[" : "",
                                       STR_FORMAT(origin->host), is_ipv6 ? "]" : "", text)
                       : -EINVAL;
}

static bool may_have_no_length(struct str method)
{
        return str_equal(method, STR("GET")) || str_equal(method, STR("HEAD")) ||
               str_equal(method, STR("DELETE")) || str_equal(method, STR("OPTIONS")) ||
               str_equal(method, STR("CONNECT"));
}

static int append_framing(struct http_call *call, struct buffer *out,
                          const struct http_request *request)
{
        if (request->streamed && request->content_length < 0) {
                call->chunked = true;
                return buffer_append_str(out, STR("Transfer-Encoding: chunked\r\n"));
        }
        int64_t length =
                request->streamed ? request->content_length : (int64_t)request->body.length;
        call->left = request->streamed ? length : 0;
        if (length == 0 && may_have_no_length(call->method))
                return 0;
        return buffer_printf(out, "Content-Length: %lld\r\n", (long long)length);
}

static int append_head(struct http_call *call, const struct http_request *request)
{
        struct buffer *out = &call->outgoing;

        int r = buffer_reserve(out, HEAD_ROOM);
        if (r == 0)
                r = http1_append_request_line(out, call->method, request->target);
        if (r == 0)
                r = append_host(out, request);
        for (size_t i = 0; r == 0 && i < request->header_count; i++)
                if (!is_ours(request->headers[i].name))
                        r = http1_append_field(out, request->headers[i].name,
                                               request->headers[i].value);
        if (r == 0)
                r = append_framing(call, out, request);
        if (r == 0 && request->upgrade)
                r = buffer_append_str(out, STR("Connection: Upgrade\r\n"));
        if (r == 0)
                r = buffer_append_str(out, STR("\r\n"));
        return r;
}

/* What must be equal for a connection to serve another request. */
static int make_key(struct http_call *call, const struct http_origin *origin)
{
        struct str name = origin->server_name.length > 0 ? origin->server_name : origin->host;
        char address[NET_ADDRESS_SIZE];
        int r;

        if (origin->address.length > 0) {
                r = buffer_append(&call->key, &origin->address.generic, origin->address.length);
                net_address_format_ip(&origin->address, address);
                if (name.length == 0)
                        name = str_from(address);
        } else {
                r = buffer_append_str(&call->key, origin->host);
                if (r == 0)
                        r = buffer_append(&call->key, &origin->port, sizeof(origin->port));
        }
        if (r == 0)
                r = buffer_append(&call->key, &origin->filter, sizeof(origin->filter));
        size_t at = call->key.length;
        if (r == 0 && origin->filter)
                r = buffer_append_str(&call->key, name);
        call->server_name = str_slice(buffer_str(&call->key), at, call->key.length);
        return r;
}

static void start_on_kept(struct http_call *call, struct http_client_connection *connection,
                          struct str body)
{
        const struct stream_piece pieces[] = { { buffer_str(&call->outgoing) }, { body } };

        call->connection = connection;
        connection->call = call;
        call->reused = true;
        call->state = WAITING_FOR_HEAD;
        stream_write(connection->stream, pieces, ARRAY_SIZE(pieces));
        buffer_deinit(&call->outgoing);
        wait_for_head(call);
}

static void run_connected(struct net_task *task)
{
        struct http_call *call = container_of(task, struct http_call, task);

        if (call->on->on_connected)
                call->on->on_connected(call, call->user);
}

int http_call_start(struct http_client *client, const struct http_request *request,
                    const struct http_call_callbacks *callbacks, void *user,
                    struct http_call **ret_call)
{
        struct http_call *call = calloc(1, sizeof(*call));
        const struct http_origin *origin = &request->origin;

        if (!call)
                return -ENOMEM;
        call->client = client;
        call->on = callbacks;
        call->user = user;
        call->filter = origin->filter;
        call->address = origin->address;
        call->head_timeout_ms = request->head_timeout_ms;
        call->idle_timeout_ms = request->idle_timeout_ms;
        call->upgrade = request->upgrade;
        call->sent = !request->streamed;
        call->method =
                arena_str(&call->arena, request->method.length > 0 ? request->method : STR("GET"));
        list_init(&call->link);

        int r = call->method.data ? make_key(call, origin) : -ENOMEM;
        if (r == 0)
                r = append_head(call, request);
        struct http_client_connection *kept = NULL;
        if (r == 0 && !request->fresh)
                kept = http_client_pool_take(client, buffer_str(&call->key));
        if (r == 0 && !kept)
                r = buffer_append_str(&call->outgoing, request->body);
        if (r == 0 && !kept && origin->address.length == 0)
                r = look_up(call, origin->host, origin->port);
        if (r < 0) {
                run_free(&call->task);
                return r;
        }
        list_append(&client->calls, &call->link);
        client->counters.calls++;
        if (kept) {
                start_on_kept(call, kept, request->body);
                call->task.run = run_connected;
                if (callbacks->on_connected)
                        net_loop_defer(client->loop, &call->task);
        } else {
                set_timer(call, request->connect_timeout_ms ? request->connect_timeout_ms
                                                            : client->options.connect_timeout_ms);
                if (origin->address.length > 0)
                        dial(call);
        }
        *ret_call = call;
        return 0;
}

static bool is_connected(const struct http_call *call)
{
        return call->state > CONNECTING && call->state < OVER;
}

/* Writes, or keeps until the connection is open. */
static void write_pieces(struct http_call *call, const struct stream_piece *pieces, size_t count)
{
        if (is_connected(call)) {
                stream_write(call->connection->stream, pieces, count);
                return;
        }
        for (size_t i = 0; i < count; i++)
                if (buffer_append_str(&call->outgoing, pieces[i].data) < 0)
                        fail_later(call, HTTP_ERROR_MEMORY, -ENOMEM);
        stream_release_pieces(pieces, count);
}

void http_call_send(struct http_call *call, const struct stream_piece *pieces, size_t count)
{
        struct stream_piece all[STREAM_PIECES_MAX];
        char chunk_head[HTTP1_CHUNK_HEAD_SIZE];
        size_t total = 0, n = 0;

        assert(count <= HTTP_CALL_PIECES_MAX);
        for (size_t i = 0; i < count; i++)
                total += pieces[i].data.length;
        if (!call->chunked && total > (uint64_t)call->left)
                fail_later(call, HTTP_ERROR_PROTOCOL, -EINVAL);
        if (call->sent || call->state == OVER || total == 0 ||
            (!call->chunked && total > (uint64_t)call->left)) {
                stream_release_pieces(pieces, count);
                return;
        }
        if (call->chunked)
                all[n++] = (struct stream_piece){ { chunk_head,
                                                    http1_chunk_head(chunk_head, total) } };
        else
                call->left -= (int64_t)total;
        memcpy(all + n, pieces, count * sizeof(*pieces));
        n += count;
        if (call->chunked)
                all[n++] = (struct stream_piece){ STR("\r\n") };
        write_pieces(call, all, n);
}

void http_call_end(struct http_call *call)
{
        if (call->sent || call->state == OVER)
                return;
        if (call->left > 0) {
                fail_later(call, HTTP_ERROR_PROTOCOL, -EINVAL);
                return;
        }
        call->sent = true;
        if (call->chunked)
                write_pieces(call, &(struct stream_piece){ STR("0\r\n\r\n") }, 1);
        wait_for_head(call);
}

bool http_call_is_congested(struct http_call *call)
{
        if (is_connected(call))
                return stream_is_congested(call->connection->stream);
        if (call->outgoing.length > STREAM_QUEUE_HIGH)
                call->drain_owed = true;
        return call->drain_owed;
}

void http_call_drained(struct http_call *call)
{
        if (call->on->on_drain && call->state != OVER)
                call->on->on_drain(call, call->user);
}

/* ---- the answer ---- */

static void complete(struct http_call *call)
{
        struct http_client_connection *connection = call->connection;
        bool keep = call->keep_alive && call->sent && connection->current &&
                    connection->current->length == 0 && stream_pending(connection->stream) == 0;

        finish(call);
        call->connection = NULL;
        connection->call = NULL;
        if (keep)
                http_client_pool_put(connection);
        else
                http_client_connection_close(connection);
        if (call->on->on_end)
                call->on->on_end(call, call->user);
}

static void read_head(struct http_call *call, struct str *input)
{
        struct http1_connection connection = {};
        size_t length;

        call->begun = true;
        int r = http1_parse_response(&call->arena, *input, &call->scanned, call->method,
                                     &call->head, &call->body, &connection, &length);
        if (r == HTTP1_MORE)
                return;
        if (r < 0) {
                fail(call, r == -ENOMEM ? HTTP_ERROR_MEMORY : HTTP_ERROR_PROTOCOL, r);
                return;
        }
        *input = str_slice(*input, length, input->length);
        call->scanned = 0;
        unsigned status = call->head.status;
        if (status / 100 == 1 && status != 101) {
                if (++call->informational > INFORMATIONAL_MAX)
                        fail(call, HTTP_ERROR_PROTOCOL, -EPROTO);
                return;
        }
        bool tunnel = (status == 101 && call->upgrade) ||
                      (status / 100 == 2 && str_equal(call->method, STR("CONNECT")));
        if (status == 101 && !tunnel) {
                fail(call, HTTP_ERROR_PROTOCOL, -EPROTO);
                return;
        }
        call->keep_alive = connection.keep_alive;
        call->state = tunnel ? TUNNEL : READING_BODY;
        if (tunnel)
                net_timer_stop(&call->timer);
        else
                wait_for_body(call);
        if (call->on->on_head)
                call->on->on_head(call, call->user, &call->head);
}

/* Returns whether it came further. */
static bool read_body(struct http_call *call, struct str *input)
{
        struct str piece;

        if (call->paused)
                return false;
        int r = http1_body_next(&call->body, input, &piece);
        if (r == HTTP1_MORE)
                return false;
        if (r == HTTP1_PIECE) {
                wait_for_body(call);
                if (call->on->on_body)
                        call->on->on_body(call, call->user, piece);
        } else if (r == HTTP1_END) {
                complete(call);
        } else {
                fail(call, HTTP_ERROR_PROTOCOL, r);
        }
        return true;
}

void http_call_read(struct http_call *call, struct str *input)
{
        for (;;) {
                size_t before = input->length;
                if (call->state == WAITING_FOR_HEAD) {
                        if (before == 0)
                                return;
                        read_head(call, input);
                        if (call->state == WAITING_FOR_HEAD && input->length == before)
                                return;
                } else if (call->state != READING_BODY || !read_body(call, input)) {
                        return;
                }
        }
}

bool http_call_is_stuck(const struct http_call *call)
{
        return call->state == TUNNEL || (call->state == READING_BODY && call->paused);
}

void http_call_ended(struct http_call *call, int error)
{
        struct str rest = STR_EMPTY;

        if (error < 0)
                call->connection = NULL;
        if (call->state == CONNECTING) {
                if (call->next_address && class_of_dialing(error) == HTTP_ERROR_DIAL)
                        connect_next(call);
                else
                        fail(call, class_of_dialing(error), error);
        } else if (call->state == READING_BODY && error == 0 &&
                   call->body.framing == HTTP1_UNTIL_CLOSE) {
                call->connection->current = &rest;
                complete(call);
        } else {
                fail(call, class_of_reading(call, error), error < 0 ? error : -ECONNRESET);
        }
}

void http_call_pause(struct http_call *call)
{
        if (call->paused || call->state == OVER)
                return;
        call->paused = true;
        wait_for_body(call);
}

void http_call_resume(struct http_call *call)
{
        if (!call->paused || call->state == OVER)
                return;
        call->paused = false;
        wait_for_body(call);
        if (call->connection)
                http_client_connection_continue(call->connection);
}

void http_call_cancel(struct http_call *call)
{
        if (call->state == OVER)
                return;
        finish(call);
        drop_connection(call);
}

int http_call_take_over(struct http_call *call, struct stream **ret_stream,
                        struct str *ret_leftover)
{
        struct http_client_connection *connection = call->connection;

        if (call->state != TUNNEL)
                return -EOPNOTSUPP;
        *ret_leftover = connection->current ? *connection->current : buffer_str(&connection->input);
        finish(call);
        call->connection = NULL;
        *ret_stream = http_client_connection_detach(connection);
        stream_detach(*ret_stream);
        stream_resume(*ret_stream);
        return 0;
}

bool http_call_is_reused(const struct http_call *call)
{
        return call->reused;
}

struct stream *http_call_connection(const struct http_call *call)
{
        return is_connected(call) ? call->connection->stream : NULL;
}

/* ---- the client ---- */

int http_client_new(struct net_loop *loop, const struct http_client_options *options,
                    struct http_client **ret_client)
{
        struct http_client *client = calloc(1, sizeof(*client));

        if (!client)
                return -ENOMEM;
        client->loop = loop;
        if (options)
                client->options = *options;
        if (client->options.connect_timeout_ms == 0)
                client->options.connect_timeout_ms = HTTP_CLIENT_CONNECT_TIMEOUT_MS;
        if (client->options.idle_timeout_ms == 0)
                client->options.idle_timeout_ms = HTTP_CLIENT_IDLE_TIMEOUT_MS;
        if (client->options.idle_per_origin == 0)
                client->options.idle_per_origin = HTTP_CLIENT_IDLE_PER_ORIGIN;
        if (client->options.idle_total == 0)
                client->options.idle_total = HTTP_CLIENT_IDLE_TOTAL;
        list_init(&client->calls);
        list_init(&client->ages);
        for (size_t i = 0; i < HTTP_CLIENT_BUCKETS; i++)
                list_init(&client->buckets[i]);
        *ret_client = client;
        return 0;
}

void http_client_forget(struct http_client *client, const struct net_address *address)
{
        struct http_client_connection *c;

        list_for_each (c, &client->ages, age_link) {
                bool matches =
                        !address || (c->key_length >= address->length &&
                                     memcmp(c->key, &address->generic, address->length) == 0);
                if (matches)
                        http_client_connection_close(c);
        }
}

void http_client_free(struct http_client *client)
{
        if (!client)
                return;
        while (!list_is_empty(&client->calls))
                http_call_cancel(list_entry(client->calls.next, struct http_call, link));
        http_client_forget(client, NULL);
        free(client);
}

struct http_client_counters http_client_counters(const struct http_client *client)
{
        return client->counters;
}
