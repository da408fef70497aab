// SPDX-License-Identifier: Apache-2.0
#include "node/dns_server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "net/stream.h"
#include "node/dns_message.h"

enum {
        PACKETS_A_TURN = 32, /* then others on the loop have theirs */
        CONNECTIONS_MAX = 128,
        CONNECTIONS_A_PEER = 8,
        IDLE_MS = 5000, /* RFC 7766 6.2.3 */
        LENGTH_SIZE = 2,
        /* Names change from one moment to the next, and asking again costs nothing. */
        TTL_SECONDS = 0,
};

struct dns_connection {
        struct list in_server;
        struct dns_server *server;
        struct stream *stream;
        struct buffer received;
        struct net_timer idle;
        struct in_addr peer;
};

struct dns_server {
        uv_poll_t poll; /* first: freed when it has closed */
        struct net_loop *loop;
        const struct dns_names *names;
        int udp;
        struct listener *listener;
        struct list connections;
        struct buffer answer;
};

/* ---- answers ---- */

static bool asks_for_addresses(const struct dns_query *query)
{
        return query->type == DNS_TYPE_A || query->type == DNS_TYPE_ANY;
}

/* Each asker begins elsewhere, as many take the first. */
static void rotate(uint32_t *addresses, size_t count, unsigned by)
{
        uint32_t turned[DNS_ADDRESSES_MAX];

        for (size_t i = 0; i < count; i++)
                turned[i] = addresses[(i + by) % count];
        memcpy(addresses, turned, count * sizeof(*addresses));
}

int dns_respond(const struct dns_names *names, struct str message, bool is_udp, struct buffer *out)
{
        uint32_t addresses[DNS_ADDRESSES_MAX];
        struct dns_answer answer = {};
        struct dns_query query = {};
        size_t count;

        int r = dns_query_read(message, &query);
        if (r == -EBADMSG)
                return 1;
        size_t limit = is_udp ? MIN((size_t)query.udp_size, (size_t)DNS_UDP_MAX) : DNS_TCP_MAX;
        if (r != 0) {
                answer.code = (enum dns_code)r;
                return dns_answer_write(&query, &answer, MAX(limit, (size_t)DNS_UDP_PLAIN), out);
        }
        enum dns_found found = dns_names_find(names, str_from(query.name), addresses, &count);
        if (found == DNS_FOUND_OUTSIDE) {
                answer.code = DNS_REFUSED;
                return dns_answer_write(&query, &answer, limit, out);
        }
        answer.code = found == DNS_FOUND_NOTHING ? DNS_NO_SUCH_NAME : DNS_OK;
        answer.is_authoritative = true;
        answer.zone = dns_names_domain(names);
        answer.ttl = TTL_SECONDS;
        if (found == DNS_FOUND_ADDRESSES && asks_for_addresses(&query)) {
                rotate(addresses, count, query.id);
                answer.addresses = addresses;
                answer.count = count;
        }
        return dns_answer_write(&query, &answer, limit, out);
}

/* ---- UDP ---- */

static bool serve_packet(struct dns_server *server)
{
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        char message[DNS_MESSAGE_MAX + 1];

        ssize_t got = recvfrom(server->udp, message, sizeof(message), MSG_DONTWAIT,
                               (struct sockaddr *)&from, &size);
        if (got < 0)
                return errno == EINTR;
        if (size != sizeof(from) || from.sin_family != AF_INET)
                return true;
        buffer_clear(&server->answer);
        struct str received = { message, (size_t)got };
        if (dns_respond(server->names, received, true, &server->answer) == 0)
                (void)sendto(server->udp, server->answer.data, server->answer.length, MSG_DONTWAIT,
                             (struct sockaddr *)&from, size);
        return true;
}

static void on_packets(uv_poll_t *poll, int status, int events)
{
        struct dns_server *server = container_of(poll, struct dns_server, poll);

        (void)events;
        if (status < 0) {
                log_error("the resolver's socket has failed: %s", uv_strerror(status));
                return;
        }
        for (unsigned i = 0; i < PACKETS_A_TURN && serve_packet(server); i++)
                ;
}

/* ---- TCP ---- */

/* Without touching the stream, which is gone or is to be closed by the caller. */
static void forget(struct dns_connection *connection)
{
        list_remove(&connection->in_server);
        net_timer_stop(&connection->idle);
        buffer_deinit(&connection->received);
        free(connection);
}

static void hang_up(struct dns_connection *connection)
{
        stream_close(connection->stream);
        forget(connection);
}

static void idle_too_long(struct net_timer *timer)
{
        hang_up(container_of(timer, struct dns_connection, idle));
}

/* Returns 1 when a message was answered, 0 when there is none whole, or a negative errno. */
static int serve_message(struct dns_connection *connection)
{
        struct dns_server *server = connection->server;
        const struct buffer *received = &connection->received;

        if (received->length < LENGTH_SIZE)
                return 0;
        const uint8_t *bytes = (const uint8_t *)received->data;
        size_t length = (size_t)bytes[0] << 8 | bytes[1];
        if (length > DNS_MESSAGE_MAX)
                return -EMSGSIZE;
        if (received->length < LENGTH_SIZE + length)
                return 0;
        struct str message = { received->data + LENGTH_SIZE, length };
        buffer_clear(&server->answer);
        int r = buffer_append(&server->answer, "\0\0", LENGTH_SIZE);
        if (r >= 0)
                r = dns_respond(server->names, message, false, &server->answer);
        if (r != 0)
                return r < 0 ? r : -EBADMSG;
        size_t size = server->answer.length - LENGTH_SIZE;
        server->answer.data[0] = (char)(size >> 8);
        server->answer.data[1] = (char)size;
        buffer_consume(&connection->received, LENGTH_SIZE + length);
        stream_write_str(connection->stream, buffer_str(&server->answer));
        return 1;
}

/* As long as the asker reads what it has asked for. */
static void serve_messages(struct dns_connection *connection)
{
        int r = 1;

        while (r > 0 && !stream_is_congested(connection->stream))
                r = serve_message(connection);
        if (r < 0) {
                hang_up(connection);
                return;
        }
        if (r > 0)
                stream_pause(connection->stream);
        else
                stream_resume(connection->stream);
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        struct dns_connection *connection = user;

        (void)stream;
        net_timer_start(connection->server->loop, &connection->idle, IDLE_MS, idle_too_long);
        if (buffer_append_str(&connection->received, data) < 0) {
                hang_up(connection);
                return;
        }
        serve_messages(connection);
}

static void on_drain(struct stream *stream, void *user)
{
        (void)stream;
        serve_messages(user);
}

static void on_close(struct stream *stream, void *user, int error)
{
        (void)stream;
        (void)error;
        forget(user);
}

static const struct stream_callbacks connection_callbacks = { .on_data = on_data,
                                                              .on_drain = on_drain,
                                                              .on_close = on_close };

/* Who opens many connections loses the oldest of them; only when all are taken, somebody else. */
static void make_room(struct dns_server *server, struct in_addr peer)
{
        struct dns_connection *connection, *oldest = NULL, *oldest_of_peer = NULL;
        unsigned count = 0, count_of_peer = 0;

        list_for_each (connection, &server->connections, in_server) {
                oldest = oldest ? oldest : connection;
                count++;
                if (connection->peer.s_addr != peer.s_addr)
                        continue;
                oldest_of_peer = oldest_of_peer ? oldest_of_peer : connection;
                count_of_peer++;
        }
        if (count_of_peer >= CONNECTIONS_A_PEER)
                hang_up(oldest_of_peer);
        else if (count >= CONNECTIONS_MAX)
                hang_up(oldest);
}

static void on_accept(struct listener *listener, void *user, struct stream *stream)
{
        struct dns_server *server = user;
        struct dns_connection *connection = calloc(1, sizeof(*connection));
        const struct stream_peer *peer = stream_peer(stream);

        (void)listener;
        if (!connection || peer->address.generic.sa_family != AF_INET) {
                free(connection);
                stream_close(stream);
                return;
        }
        connection->server = server;
        connection->stream = stream;
        connection->peer = peer->address.in.sin_addr;
        make_room(server, connection->peer);
        list_append(&server->connections, &connection->in_server);
        net_timer_start(server->loop, &connection->idle, IDLE_MS, idle_too_long);
        stream_start(stream, &connection_callbacks, connection);
}

/* ---- beginning and end ---- */

static void poll_closed(uv_handle_t *handle)
{
        struct dns_server *server = container_of((uv_poll_t *)handle, struct dns_server, poll);

        fd_close(server->udp);
        free(server);
}

int dns_server_new(const struct dns_server_options *options, struct dns_server **ret_server)
{
        struct dns_server *server = calloc(1, sizeof(*server));
        struct error error = {};

        if (!server)
                return -ENOMEM;
        server->loop = options->loop;
        server->names = options->names;
        server->udp = options->udp;
        list_init(&server->connections);
        const struct listener_options listening = { .on_accept = on_accept, .user = server };
        int r = uv_poll_init(net_loop_uv(server->loop), &server->poll, server->udp);
        if (r < 0) {
                free(server);
                return r;
        }
        r = uv_poll_start(&server->poll, UV_READABLE, on_packets);
        if (r >= 0 && options->tcp >= 0)
                r = listener_adopt(server->loop, options->tcp, &listening, &error,
                                   &server->listener);
        if (r < 0) {
                server->udp = -1;
                dns_server_free(server);
                return r;
        }
        *ret_server = server;
        return 0;
}

void dns_server_free(struct dns_server *server)
{
        struct dns_connection *connection;

        if (!server)
                return;
        list_for_each (connection, &server->connections, in_server)
                hang_up(connection);
        if (server->listener)
                listener_close(server->listener);
        buffer_deinit(&server->answer);
        uv_close((uv_handle_t *)&server->poll, poll_closed);
}
