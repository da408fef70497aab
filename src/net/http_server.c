// SPDX-License-Identifier: Apache-2.0
#include "net/http_server.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/log.h"
#include "net/http_connection.h"

struct http_listener {
        struct list link;
        struct http_server *server;
        struct listener *listener;
        struct stream_filter *filter;
        int tag;
};

/* ---- connections ---- */

static void note_drained(struct http_server *server)
{
        if (server->draining && list_is_empty(&server->connections))
                net_loop_defer(server->loop, &server->drained_task);
}

void http_connection_join(struct http_connection *connection, struct http_server *server, int tag,
                          const struct http_connection_ops *ops)
{
        connection->server = server;
        connection->tag = tag;
        connection->ops = ops;
        list_append(&server->connections, &connection->link);
        server->counters.connections++;
        connection->surplus = server->counters.connections > server->options.max_connections;
}

void http_connection_leave(struct http_connection *connection)
{
        struct http_server *server = connection->server;

        if (!server)
                return;
        connection->server = NULL;
        list_remove(&connection->link);
        server->counters.connections--;
        note_drained(server);
}

int http_server_serve(struct http_server *server, struct stream *stream, int tag)
{
        return http1_serve(server, stream, tag);
}

static void on_accept(struct listener *listener, void *user, struct stream *stream)
{
        struct http_listener *entry = user;

        (void)listener;
        if (entry->filter && entry->filter->wrap(entry->filter, stream, STR_EMPTY, &stream) < 0)
                return;
        (void)http1_serve(entry->server, stream, entry->tag);
}

/* ---- the server ---- */

static void set_default(uint32_t *option, uint32_t value)
{
        if (*option == 0)
                *option = value;
}

static void run_drained(struct net_task *task)
{
        struct http_server *server = container_of(task, struct http_server, drained_task);
        void (*on_drained)(void *user) = server->on_drained;

        /* A connection that changes its protocol leaves and joins again. */
        if (!list_is_empty(&server->connections))
                return;
        net_timer_stop(&server->deadline);
        server->on_drained = NULL;
        if (on_drained)
                on_drained(server->drain_user);
}

static unsigned most_connections(void)
{
        rlim_t descriptors = fd_limit();

        return (unsigned)MIN(descriptors / 4 * 3, (rlim_t)LIMIT_CONNECTIONS);
}

int http_server_new(struct net_loop *loop, const struct http_server_options *options,
                    struct http_server **ret_server)
{
        struct http_server *server = calloc(1, sizeof(*server));

        if (!server)
                return -ENOMEM;
        server->loop = loop;
        server->options = *options;
        set_default(&server->options.max_connections, most_connections());
        set_default(&server->options.head_timeout_ms, LIMIT_HEAD_MS);
        set_default(&server->options.idle_timeout_ms, LIMIT_IDLE_MS);
        set_default(&server->options.body_timeout_ms, LIMIT_BODY_MS);
        set_default(&server->options.write_timeout_ms, LIMIT_WRITE_MS);
        list_init(&server->listeners);
        list_init(&server->connections);
        server->drained_task.run = run_drained;
        *ret_server = server;
        return 0;
}

static void close_listeners(struct http_server *server)
{
        while (!list_is_empty(&server->listeners)) {
                struct http_listener *entry =
                        list_entry(server->listeners.next, struct http_listener, link);
                list_remove(&entry->link);
                listener_close(entry->listener);
                free(entry);
        }
}

/* Each call takes at least one connection off the list, whatever the handlers do. */
static void kill_all(struct http_server *server)
{
        while (!list_is_empty(&server->connections)) {
                struct http_connection *connection =
                        list_entry(server->connections.next, struct http_connection, link);
                connection->ops->kill(connection, -ECANCELED);
        }
}

void http_server_free(struct http_server *server)
{
        if (!server)
                return;
        close_listeners(server);
        kill_all(server);
        net_timer_stop(&server->deadline);
        net_task_cancel(&server->drained_task);
        free(server);
}

static int add_listener(struct http_server *server, const struct net_address *address, int fd,
                        struct stream_filter *filter, int tag, struct error *error,
                        struct listener **ret_listener)
{
        struct http_listener *entry = calloc(1, sizeof(*entry));
        struct listener_options options = {
                .on_accept = on_accept,
                .user = entry,
                .max_connections = server->options.max_connections + LIMIT_CONNECTIONS_REFUSED,
        };

        if (!entry)
                return error_set(error, -ENOMEM, "Cannot listen: out of memory.");
        entry->server = server;
        entry->filter = filter;
        entry->tag = tag;
        int r = address ? listener_open(server->loop, address, &options, error, &entry->listener)
                        : listener_adopt(server->loop, fd, &options, error, &entry->listener);
        if (r < 0) {
                free(entry);
                return r;
        }
        list_append(&server->listeners, &entry->link);
        if (ret_listener)
                *ret_listener = entry->listener;
        return 0;
}

int http_server_listen(struct http_server *server, const struct net_address *address,
                       struct stream_filter *filter, int tag, struct error *error,
                       struct listener **ret_listener)
{
        return add_listener(server, address, -1, filter, tag, error, ret_listener);
}

int http_server_adopt(struct http_server *server, int fd, struct stream_filter *filter, int tag,
                      struct error *error, struct listener **ret_listener)
{
        return add_listener(server, NULL, fd, filter, tag, error, ret_listener);
}

static void deadline_passed(struct net_timer *timer)
{
        kill_all(container_of(timer, struct http_server, deadline));
}

void http_server_drain(struct http_server *server, uint64_t deadline_ms,
                       void (*on_drained)(void *user), void *user)
{
        struct list waiting;

        server->draining = true;
        server->on_drained = on_drained;
        server->drain_user = user;
        close_listeners(server);

        /* Draining one connection may end others, so each is moved back before its turn. */
        list_init(&waiting);
        while (!list_is_empty(&server->connections)) {
                struct list *link = server->connections.next;
                list_remove(link);
                list_append(&waiting, link);
        }
        while (!list_is_empty(&waiting)) {
                struct http_connection *connection =
                        list_entry(waiting.next, struct http_connection, link);
                list_remove(&connection->link);
                list_append(&server->connections, &connection->link);
                connection->ops->drain(connection);
        }
        net_timer_start(server->loop, &server->deadline, deadline_ms, deadline_passed);
        note_drained(server);
}

struct http_server_counters http_server_counters(const struct http_server *server)
{
        return server->counters;
}

/* ---- what answers have in common ---- */

struct str http_server_date(struct http_server *server)
{
        uint64_t now = clock_realtime_ns();

        if (now / NS_PER_SECOND != server->date_second) {
                server->date_second = now / NS_PER_SECOND;
                http_date_format(now, server->date);
        }
        return str_from(server->date);
}

struct str http_server_render_error(struct http_server *server, unsigned status, struct str reason,
                                    struct buffer *body)
{
        if (server->options.render_error)
                return server->options.render_error(server->options.user, status, reason, body);
        (void)buffer_append_str(body, reason);
        (void)buffer_append_char(body, '\n');
        return STR("text/plain; charset=utf-8");
}
