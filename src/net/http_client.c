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

/*
 * From here on it tells nothing any more. The memory stays until we are back in the loop. Those
 * that waited for its connection connect themselves.
 */
static void finish(struct http_call *call)
{
        http_call_release_joiners(call, NULL);
        call->state = HTTP_CALL_OVER;
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

        if (call->session) {
                call->client->options.http2->forget(call);
                return;
        }
        call->connection = NULL;
        if (!connection)
                return;
        connection->call = NULL;
        http_client_connection_close(connection);
}

void http_call_fail(struct http_call *call, enum http_error error, int code)
{
        if (call->state == HTTP_CALL_OVER)
                return;
        if (call->state < HTTP_CALL_WAITING_FOR_HEAD)
                http_call_fail_joiners(call, error, code);
        finish(call);
        drop_connection(call);
        if (call->on->on_error)
                call->on->on_error(call, call->user, error, code);
}

static void run_fail(struct net_task *task)
{
        struct http_call *call = container_of(task, struct http_call, task);

        http_call_fail(call, call->error, call->code);
}

void http_call_fail_later(struct http_call *call, enum http_error error, int code)
{
        if (call->state == HTTP_CALL_OVER)
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

enum http_error http_call_class_of_reading(const struct http_call *call, int code)
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
        bool dialing = call->state < HTTP_CALL_WAITING_FOR_HEAD;

        http_call_fail(call, dialing ? HTTP_ERROR_DIAL : HTTP_ERROR_TIMEOUT, -ETIMEDOUT);
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
        if (call->state == HTTP_CALL_WAITING_FOR_HEAD && call->sent)
                set_timer(call, call->head_timeout_ms);
}

static void wait_for_body(struct http_call *call)
{
        if (call->state == HTTP_CALL_READING_BODY)
                set_timer(call, call->paused ? 0 : call->idle_timeout_ms);
}

/* ---- connecting ---- */

static void connect_next(struct http_call *call);
static int write_http1(struct http_call *call);

static void dial(struct http_call *call)
{
        struct http_client_connection *connection;
        int r = http_client_connection_new(call->client, &call->address, call->filter,
                                           call->server_name, buffer_str(&call->key), &connection);

        if (r < 0) {
                http_call_fail_later(call, class_of_dialing(r), r);
                return;
        }
        call->state = HTTP_CALL_CONNECTING;
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
                http_call_fail(call, HTTP_ERROR_DIAL, -EHOSTUNREACH);
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

int http_call_dial(struct http_call *call)
{
        if (call->address.length == 0) {
                call->state = HTTP_CALL_LOOKING_UP;
                return look_up(call, call->kept->origin.host, call->kept->origin.port);
        }
        dial(call);
        return 0;
}

static void serve_http1(struct http_call *call)
{
        int r = call->kept ? write_http1(call) : 0;

        if (r < 0)
                http_call_fail_later(call, HTTP_ERROR_MEMORY, r);
}

/* The server takes HTTP/2: the connection becomes a session, for those that wait too. */
static void share_connection(struct http_call *call)
{
        struct http_client *client = call->client;
        struct stream *stream = http_client_connection_detach(call->connection);
        struct http_client_session *session = NULL;

        call->connection = NULL;
        stream_detach(stream);
        http_client_note_http1(client, buffer_str(&call->key), false);
        int r = client->options.http2->open(client, stream, buffer_str(&call->key), &session);
        if (r == 0)
                r = http_call_attach(call, session);
        call->reused = false;
        if (r < 0) {
                http_call_fail(call, HTTP_ERROR_MEMORY, r);
                return;
        }
        http_call_release_joiners(call, session);
        net_timer_stop(&call->timer);
        wait_for_head(call);
        if (call->on->on_connected)
                call->on->on_connected(call, call->user);
}

void http_call_opened(struct http_call *call)
{
        struct stream *stream = call->connection->stream;

        if (call->kept &&
            (call->kept->origin.http2 || str_equal(stream_protocol(stream), STR("h2")))) {
                share_connection(call);
                return;
        }
        if (call->kept)
                http_client_note_http1(call->client, buffer_str(&call->key), true);
        http_call_release_joiners(call, NULL);
        serve_http1(call);
        if (call->on->may_send && !call->on->may_send(call->user)) {
                http_call_fail(call, HTTP_ERROR_DIAL, -ECANCELED);
                return;
        }
        call->state = HTTP_CALL_WAITING_FOR_HEAD;
        net_timer_stop(&call->timer);
        stream_write_str(stream, buffer_str(&call->outgoing));
        buffer_deinit(&call->outgoing);
        wait_for_head(call);
        if (call->on->on_connected)
                call->on->on_connected(call, call->user);
        if (call->state != HTTP_CALL_OVER && call->drain_owed && !stream_is_congested(stream)) {
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

int http_call_append_host(struct buffer *out, const struct http_request *request)
{
        char text[NET_ADDRESS_SIZE];
        const struct http_origin *origin = &request->origin;
        uint16_t usual = origin->filter ? 443 : 80;

        if (request->host.length > 0)
                return http_is_field_value(request->host) ? buffer_append_str(out, request->host)
                                                          : -EINVAL;
        if (origin->address.length > 0) {
                if (origin->address.generic.sa_family == AF_UNIX)
                        return buffer_append_str(out, STR("localhost"));
                net_address_format(&origin->address, text);
                return buffer_append_str(out, str_from(text));
        }
        bool is_ipv6 = memchr(origin->host.data, ':', origin->host.length) != NULL;
        text[0] = '\0';
        if (origin->port != usual)
                snprintf(text, sizeof(text), ":%u", origin->port);
        return http_is_field_value(origin->host)
                       ? buffer_printf(out, "%s%.*s%s%s", is_ipv6 ? "[" : "",
                                       STR_FORMAT(origin->host), is_ipv6 ? "]" : "", text)
                       : -EINVAL;
}

static bool may_have_no_length(struct str method)
{
        return str_equal(method, STR("GET")) || str_equal(method, STR("HEAD")) ||
               str_equal(method, STR("DELETE")) || str_equal(method, STR("OPTIONS")) ||
               str_equal(method, STR("CONNECT"));
}

int64_t http_call_content_length(const struct http_call *call, const struct http_request *request)
{
        int64_t length =
                request->streamed ? request->content_length : (int64_t)request->body.length;

        return call->chunked || (length == 0 && may_have_no_length(call->method))
                       ? HTTP_LENGTH_UNKNOWN
                       : length;
}

static int append_framing(const struct http_call *call, struct buffer *out,
                          const struct http_request *request)
{
        int64_t length = http_call_content_length(call, request);

        if (call->chunked)
                return buffer_append_str(out, STR("Transfer-Encoding: chunked\r\n"));
        return length < 0 ? 0 : buffer_printf(out, "Content-Length: %lld\r\n", (long long)length);
}

static int append_head(struct http_call *call, const struct http_request *request)
{
        struct buffer *out = &call->outgoing;

        int r = buffer_reserve(out, HEAD_ROOM);
        if (r == 0)
                r = http1_append_request_line(out, call->method, request->target);
        if (r == 0)
                r = buffer_append_str(out, STR("Host: "));
        if (r == 0)
                r = http_call_append_host(out, request);
        if (r == 0)
                r = buffer_append_str(out, STR("\r\n"));
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

/* It turns out to be HTTP/1.1: head, and what there is of the body. */
static int write_http1(struct http_call *call)
{
        _cleanup_buffer_ struct buffer body = call->outgoing;
        char chunk_head[HTTP1_CHUNK_HEAD_SIZE];
        struct buffer *out = &call->outgoing;

        call->outgoing = (struct buffer){};
        int r = append_head(call, call->kept);
        if (r == 0 && call->chunked && body.length > 0)
                r = buffer_append(out, chunk_head, http1_chunk_head(chunk_head, body.length));
        if (r == 0)
                r = buffer_append_str(out, buffer_str(&body));
        if (r == 0 && call->chunked && body.length > 0)
                r = buffer_append_str(out, STR("\r\n"));
        if (r == 0 && call->chunked && call->sent)
                r = buffer_append_str(out, STR("0\r\n\r\n"));
        call->kept = NULL;
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
        call->state = HTTP_CALL_WAITING_FOR_HEAD;
        stream_write(connection->stream, pieces, ARRAY_SIZE(pieces));
        buffer_deinit(&call->outgoing);
}

static void run_connected(struct net_task *task)
{
        struct http_call *call = container_of(task, struct http_call, task);

        if (call->on->on_connected)
                call->on->on_connected(call, call->user);
}

static struct http_call *make_call(struct http_client *client, const struct http_request *request,
                                   const struct http_call_callbacks *callbacks, void *user)
{
        struct http_call *call = calloc(1, sizeof(*call));

        if (!call)
                return NULL;
        call->client = client;
        call->on = callbacks;
        call->user = user;
        call->filter = request->origin.filter;
        call->address = request->origin.address;
        call->head_timeout_ms = request->head_timeout_ms;
        call->idle_timeout_ms = request->idle_timeout_ms;
        call->upgrade = request->upgrade;
        call->sent = !request->streamed;
        call->chunked = request->streamed && request->content_length < 0;
        call->left = request->streamed && !call->chunked ? request->content_length : 0;
        call->method =
                arena_str(&call->arena, request->method.length > 0 ? request->method : STR("GET"));
        list_init(&call->link);
        list_init(&call->leader_link);
        return call;
}

void http_call_connected_later(struct http_call *call)
{
        wait_for_head(call);
        call->task.run = run_connected;
        if (call->on->on_connected)
                net_loop_defer(call->client->loop, &call->task);
}

static void await_connection(struct http_call *call, const struct http_request *request)
{
        const struct http_client_options *options = &call->client->options;

        set_timer(call, request->connect_timeout_ms ? request->connect_timeout_ms
                                                    : options->connect_timeout_ms);
}

/* A call that may be either: a stream of a session, one that waits for a session, or HTTP/1.1. */
static int start_shared(struct http_call *call, const struct http_request *request)
{
        struct http_client *client = call->client;
        struct str key = buffer_str(&call->key);
        struct http_client_session *session =
                request->fresh ? NULL : http_client_session_find(client, key);
        int r = http_call_keep(call, request);

        if (r < 0)
                return r;
        if (session) {
                r = http_call_attach(call, session);
                if (r == 0)
                        http_call_connected_later(call);
                return r;
        }
        struct http_client_connection *pooled =
                request->fresh ? NULL : http_client_pool_take(client, key);
        if (pooled) {
                r = write_http1(call);
                if (r < 0) {
                        http_client_connection_close(pooled);
                        return r;
                }
                start_on_kept(call, pooled, STR_EMPTY);
                http_call_connected_later(call);
                return 0;
        }
        await_connection(call, request);
        if (!request->fresh && http_call_join(call))
                return 0;
        if (!http_client_is_http1(client, key))
                http_call_lead(call);
        return http_call_dial(call);
}

static int start_http1(struct http_call *call, const struct http_request *request)
{
        struct http_client *client = call->client;
        const struct http_origin *origin = &request->origin;
        struct http_client_connection *kept = NULL;
        int r = append_head(call, request);

        if (r == 0 && !request->fresh)
                kept = http_client_pool_take(client, buffer_str(&call->key));
        if (r == 0 && !kept)
                r = buffer_append_str(&call->outgoing, request->body);
        if (r < 0)
                return r;
        if (kept) {
                start_on_kept(call, kept, request->body);
                http_call_connected_later(call);
                return 0;
        }
        call->state = HTTP_CALL_LOOKING_UP;
        if (origin->address.length == 0)
                r = look_up(call, origin->host, origin->port);
        if (r < 0)
                return r;
        await_connection(call, request);
        if (origin->address.length > 0)
                dial(call);
        return 0;
}

int http_call_start(struct http_client *client, const struct http_request *request,
                    const struct http_call_callbacks *callbacks, void *user,
                    struct http_call **ret_call)
{
        struct http_call *call = make_call(client, request, callbacks, user);

        if (!call)
                return -ENOMEM;
        bool may_share = client->options.http2 && !request->upgrade &&
                         (request->origin.http2 || request->origin.filter) &&
                         !str_equal(request->method, STR("CONNECT"));
        int r = call->method.data ? make_key(call, &request->origin) : -ENOMEM;
        if (r < 0) {
                run_free(&call->task);
                return r;
        }
        list_append(&client->calls, &call->link);
        client->counters.calls++;
        r = may_share ? start_shared(call, request) : start_http1(call, request);
        if (r < 0) {
                finish(call);
                drop_connection(call);
                return r;
        }
        *ret_call = call;
        return 0;
}

static bool is_connected(const struct http_call *call)
{
        return call->state > HTTP_CALL_CONNECTING && call->state < HTTP_CALL_OVER;
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
                        http_call_fail_later(call, HTTP_ERROR_MEMORY, -ENOMEM);
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
                http_call_fail_later(call, HTTP_ERROR_PROTOCOL, -EINVAL);
        if (call->sent || call->state == HTTP_CALL_OVER || total == 0 ||
            (!call->chunked && total > (uint64_t)call->left)) {
                stream_release_pieces(pieces, count);
                return;
        }
        if (call->kept) {
                call->left -= call->chunked ? 0 : (int64_t)total;
                if (call->session)
                        call->client->options.http2->send(call, pieces, count);
                else
                        write_pieces(call, pieces, count);
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
        http_call_end_with(call, NULL, 0);
}

void http_call_end_with(struct http_call *call, const struct http_header *trailers, size_t count)
{
        if (call->sent || call->state == HTTP_CALL_OVER)
                return;
        if (call->left > 0) {
                http_call_fail_later(call, HTTP_ERROR_PROTOCOL, -EINVAL);
                return;
        }
        call->sent = true;
        if (call->session)
                call->client->options.http2->end(call, trailers, count);
        else if (call->kept && count > 0 && http_call_keep_trailers(call, trailers, count) < 0)
                http_call_fail_later(call, HTTP_ERROR_MEMORY, -ENOMEM);
        else if (!call->kept && call->chunked)
                write_pieces(call, &(struct stream_piece){ STR("0\r\n\r\n") }, 1);
        wait_for_head(call);
}

bool http_call_is_congested(struct http_call *call)
{
        if (call->session)
                return call->client->options.http2->is_congested(call);
        if (is_connected(call))
                return stream_is_congested(call->connection->stream);
        if (call->outgoing.length > STREAM_QUEUE_HIGH)
                call->drain_owed = true;
        return call->drain_owed;
}

void http_call_drained(struct http_call *call)
{
        if (call->on->on_drain && call->state != HTTP_CALL_OVER)
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
        if (str_starts_with(*input, STR("\x15\x03"))) {
                http_call_fail(call, HTTP_ERROR_PROTOCOL, -EPROTOTYPE);
                return;
        }
        int r = http1_parse_response(&call->arena, *input, &call->scanned, call->method,
                                     &call->head, &call->body, &connection, &length);
        if (r == HTTP1_MORE)
                return;
        if (r < 0) {
                http_call_fail(call, r == -ENOMEM ? HTTP_ERROR_MEMORY : HTTP_ERROR_PROTOCOL, r);
                return;
        }
        *input = str_slice(*input, length, input->length);
        call->scanned = 0;
        call->keep_alive = connection.keep_alive;
        http_call_take_head(call);
}

void http_call_take_head(struct http_call *call)
{
        unsigned status = call->head.status;

        call->begun = true;
        if (status / 100 == 1 && status != 101) {
                if (++call->informational > INFORMATIONAL_MAX)
                        http_call_fail(call, HTTP_ERROR_PROTOCOL, -EPROTO);
                return;
        }
        bool tunnel = (status == 101 && call->upgrade) ||
                      (status / 100 == 2 && str_equal(call->method, STR("CONNECT")));
        if (status == 101 && !tunnel) {
                http_call_fail(call, HTTP_ERROR_PROTOCOL, -EPROTO);
                return;
        }
        call->state = tunnel ? HTTP_CALL_TUNNEL : HTTP_CALL_READING_BODY;
        if (tunnel)
                net_timer_stop(&call->timer);
        else
                wait_for_body(call);
        if (call->on->on_head)
                call->on->on_head(call, call->user, &call->head);
}

void http_call_take_body(struct http_call *call, struct str data)
{
        wait_for_body(call);
        if (call->on->on_body)
                call->on->on_body(call, call->user, data);
}

void http_call_take_end(struct http_call *call, const struct http_headers *trailers)
{
        if (trailers && call->on->on_trailers)
                call->on->on_trailers(call, call->user, trailers);
        if (call->state == HTTP_CALL_OVER)
                return;
        finish(call);
        drop_connection(call);
        if (call->on->on_end)
                call->on->on_end(call, call->user);
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
                http_call_take_body(call, piece);
        } else if (r == HTTP1_END) {
                complete(call);
        } else {
                http_call_fail(call, HTTP_ERROR_PROTOCOL, r);
        }
        return true;
}

void http_call_read(struct http_call *call, struct str *input)
{
        for (;;) {
                size_t before = input->length;
                if (call->state == HTTP_CALL_WAITING_FOR_HEAD) {
                        if (before == 0)
                                return;
                        read_head(call, input);
                        if (call->state == HTTP_CALL_WAITING_FOR_HEAD && input->length == before)
                                return;
                } else if (call->state != HTTP_CALL_READING_BODY || !read_body(call, input)) {
                        return;
                }
        }
}

bool http_call_is_stuck(const struct http_call *call)
{
        return call->state == HTTP_CALL_TUNNEL ||
               (call->state == HTTP_CALL_READING_BODY && call->paused);
}

void http_call_ended(struct http_call *call, int error)
{
        struct str rest = STR_EMPTY;

        if (error < 0)
                call->connection = NULL;
        if (call->state == HTTP_CALL_CONNECTING) {
                if (call->next_address && class_of_dialing(error) == HTTP_ERROR_DIAL)
                        connect_next(call);
                else
                        http_call_fail(call, class_of_dialing(error), error);
        } else if (call->state == HTTP_CALL_READING_BODY && error == 0 &&
                   call->body.framing == HTTP1_UNTIL_CLOSE) {
                call->connection->current = &rest;
                complete(call);
        } else {
                http_call_fail(call, http_call_class_of_reading(call, error),
                               error < 0 ? error : -ECONNRESET);
        }
}

void http_call_pause(struct http_call *call)
{
        if (call->paused || call->state == HTTP_CALL_OVER)
                return;
        call->paused = true;
        wait_for_body(call);
}

void http_call_resume(struct http_call *call)
{
        if (!call->paused || call->state == HTTP_CALL_OVER)
                return;
        call->paused = false;
        wait_for_body(call);
        if (call->session)
                call->client->options.http2->resume(call);
        else if (call->connection)
                http_client_connection_continue(call->connection);
}

void http_call_cancel(struct http_call *call)
{
        if (call->state == HTTP_CALL_OVER)
                return;
        finish(call);
        drop_connection(call);
}

int http_call_take_over(struct http_call *call, struct stream **ret_stream,
                        struct str *ret_leftover)
{
        struct http_client_connection *connection = call->connection;

        if (call->state != HTTP_CALL_TUNNEL)
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
        if (call->session)
                return call->session->connection;
        return is_connected(call) ? call->connection->stream : NULL;
}

bool http_call_is_http2(const struct http_call *call)
{
        return call->session != NULL;
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
        if (client->options.ping_after_ms == 0)
                client->options.ping_after_ms = HTTP_CLIENT_PING_AFTER_MS;
        if (client->options.ping_timeout_ms == 0)
                client->options.ping_timeout_ms = HTTP_CLIENT_PING_TIMEOUT_MS;
        list_init(&client->calls);
        list_init(&client->leaders);
        list_init(&client->all_sessions);
        list_init(&client->ages);
        for (size_t i = 0; i < HTTP_CLIENT_BUCKETS; i++)
                list_init(&client->buckets[i]);
        for (size_t i = 0; i < HTTP_CLIENT_BUCKETS; i++)
                list_init(&client->sessions[i]);
        *ret_client = client;
        return 0;
}

static bool is_to(struct str key, const struct net_address *address)
{
        return !address || (key.length >= address->length &&
                            memcmp(key.data, &address->generic, address->length) == 0);
}

void http_client_forget(struct http_client *client, const struct net_address *address)
{
        struct http_client_connection *c;
        struct http_client_session *session;

        list_for_each (c, &client->ages, age_link)
                if (is_to((struct str){ c->key, c->key_length }, address))
                        http_client_connection_close(c);
        for (size_t i = 0; i < HTTP_CLIENT_BUCKETS && client->counters.http2 > 0; i++)
                list_for_each (session, &client->sessions[i], link)
                        if (is_to(buffer_str(&session->key), address))
                                client->options.http2->retire(session);
}

void http_client_free(struct http_client *client)
{
        struct http_client_session *session;

        if (!client)
                return;
        client->closing = true;
        while (!list_is_empty(&client->calls))
                http_call_cancel(list_entry(client->calls.next, struct http_call, link));
        http_client_forget(client, NULL);
        list_for_each (session, &client->all_sessions, all_link)
                client->options.http2->close(session);
        free(client);
}

struct http_client_counters http_client_counters(const struct http_client *client)
{
        return client->counters;
}
