// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limit.h"
#include "base/log.h"
#include "net/socket.h"

enum {
        ACCEPTS_IN_A_ROW = 16,
        BACKLOG = 1024,
        EXHAUSTED_RETRY_MS = 100, /* without descriptors or memory for another connection */
        UNIX_MODE = 0600,
};

struct listener {
        uv_poll_t poll; /* first: release() frees it */
        struct net_loop *loop;
        struct listener_options options;
        struct net_address address;
        struct net_timer retry;
        int fd;
        unsigned connections;
        bool accepting;
        bool exhausted; /* logged once, until an accept works again */
        bool closed;
        bool owns_file;
        bool handle_closed;
};

/* The memory stays while there are connections that count themselves here. */
static void release(struct listener *listener)
{
        if (listener->handle_closed && listener->connections == 0)
                free(listener);
}

static void poll_closed(uv_handle_t *handle)
{
        struct listener *listener = container_of(handle, struct listener, poll);

        listener->handle_closed = true;
        release(listener);
}

static void on_connection(uv_poll_t *poll, int status, int events);

static void set_accepting(struct listener *listener, bool accepting)
{
        if (listener->accepting == accepting)
                return;
        listener->accepting = accepting;
        if (accepting)
                uv_poll_start(&listener->poll, UV_READABLE, on_connection);
        else
                uv_poll_stop(&listener->poll);
}

static void retry(struct net_timer *timer)
{
        struct listener *listener = container_of(timer, struct listener, retry);

        set_accepting(listener, listener->connections < listener->options.max_connections);
}

static void connection_gone(void *user)
{
        struct listener *listener = user;

        listener->connections--;
        if (listener->closed)
                release(listener);
        else if (!net_timer_is_running(&listener->retry))
                set_accepting(listener, true);
}

static void back_off(struct listener *listener, int error)
{
        if (!listener->exhausted)
                log_warning("cannot accept connections: %s; trying again", strerror(-error));
        listener->exhausted = true;
        set_accepting(listener, false);
        net_timer_start(listener->loop, &listener->retry, EXHAUSTED_RETRY_MS, retry);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
        struct listener *listener = container_of(poll, struct listener, poll);

        (void)events;
        if (status < 0) {
                log_error("a listening socket has failed: %s", uv_strerror(status));
                listener->accepting = false;
                return;
        }
        for (unsigned i = 0; i < ACCEPTS_IN_A_ROW; i++) {
                if (listener->closed)
                        return;
                if (listener->connections >= listener->options.max_connections) {
                        set_accepting(listener, false);
                        return;
                }
                struct stream *stream;
                int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                            errno == ENOMEM)
                                back_off(listener, -errno);
                        else if (errno == EINTR || errno == ECONNABORTED)
                                continue;
                        return;
                }
                listener->exhausted = false;
                int r = socket_stream_new(listener->loop, fd, listener->address.generic.sa_family,
                                          false, connection_gone, listener, &stream);
                if (r < 0) {
                        fd_close(fd);
                        back_off(listener, r);
                        return;
                }
                listener->connections++;
                listener->options.on_accept(listener, listener->options.user, stream);
        }
}

static int new_listener(struct net_loop *loop, int fd, const struct listener_options *options,
                        bool owns_file, struct listener **ret_listener)
{
        struct listener *listener = calloc(1, sizeof(*listener));

        if (!listener)
                return -ENOMEM;
        int r = uv_poll_init(net_loop_uv(loop), &listener->poll, fd);
        if (r < 0) {
                free(listener);
                return r;
        }
        listener->loop = loop;
        listener->options = *options;
        if (listener->options.max_connections == 0)
                listener->options.max_connections = LIMIT_CONNECTIONS;
        listener->fd = fd;
        listener->owns_file = owns_file;
        socklen_t length = sizeof(listener->address.un);
        if (getsockname(fd, &listener->address.generic, &length) == 0)
                listener->address.length = MIN(length, (socklen_t)sizeof(listener->address.un));
        set_accepting(listener, true);
        *ret_listener = listener;
        return 0;
}

/* A socket file whose owner has died stays behind and would make bind(2) fail for ever. */
static int remove_stale_file(const struct net_address *address)
{
        struct stat status;

        if (lstat(address->un.sun_path, &status) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(status.st_mode))
                return -EEXIST;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, &address->generic, address->length) == 0 || errno != ECONNREFUSED)
                return -EADDRINUSE;
        return unlink(address->un.sun_path) < 0 ? -errno : 0;
}

static int bind_and_listen(int fd, const struct net_address *address, mode_t unix_mode)
{
        static const int on = 1, off = 0;
        bool is_file = address->generic.sa_family == AF_UNIX && address->un.sun_path[0] != '\0';

        if (address->generic.sa_family != AF_UNIX)
                (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->generic.sa_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        if (is_file) {
                int r = remove_stale_file(address);
                if (r < 0)
                        return r;
        }
        if (bind(fd, &address->generic, address->length) < 0)
                return -errno;
        if (is_file && chmod(address->un.sun_path, unix_mode ? unix_mode : UNIX_MODE) < 0)
                return -errno;
        return listen(fd, BACKLOG) < 0 ? -errno : 0;
}

/* ":80" is meant for both families; a machine without IPv6 serves the one it has. */
static bool is_any_ipv6(const struct net_address *address)
{
        return address->generic.sa_family == AF_INET6 &&
               IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr);
}

int listener_open(struct net_loop *loop, const struct net_address *address,
                  const struct listener_options *options, struct error *error,
                  struct listener **ret_listener)
{
        struct net_address tried = *address;
        char text[NET_ADDRESS_SIZE];
        int family = tried.generic.sa_family;
        _cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int r;

        if (fd < 0 && errno == EAFNOSUPPORT && is_any_ipv6(&tried)) {
                net_address_from_ip(STR("0.0.0.0"), net_address_port(address), &tried);
                family = AF_INET;
                fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        }
        r = fd < 0 ? -errno : bind_and_listen(fd, &tried, options->unix_mode);
        if (r == -EADDRNOTAVAIL && is_any_ipv6(&tried)) {
                fd_close(fd);
                net_address_from_ip(STR("0.0.0.0"), net_address_port(address), &tried);
                fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                r = fd < 0 ? -errno : bind_and_listen(fd, &tried, options->unix_mode);
        }
        if (r < 0) {
                net_address_format(address, text);
                return error_set(error, r, "Cannot listen on %s: %s.", text, strerror(-r));
        }
        bool owns_file = tried.generic.sa_family == AF_UNIX && tried.un.sun_path[0] != '\0';
        r = new_listener(loop, fd, options, owns_file, ret_listener);
        if (r < 0)
                return error_set(error, r, "Cannot listen: %s.", strerror(-r));
        TAKE_FD(fd);
        return 0;
}

int listener_adopt(struct net_loop *loop, int fd, const struct listener_options *options,
                   struct error *error, struct listener **ret_listener)
{
        int flags = fcntl(fd, F_GETFL), listening = 0;
        socklen_t length = sizeof(listening);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return error_set(error, -errno, "Cannot use descriptor %d: %s.", fd,
                                 strerror(errno));
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0 || !listening)
                return error_set(error, -EINVAL, "Descriptor %d is no listening socket.", fd);
        int r = new_listener(loop, fd, options, false, ret_listener);
        if (r < 0)
                return error_set(error, r, "Cannot listen: %s.", strerror(-r));
        return 0;
}

void listener_close(struct listener *listener)
{
        if (!listener || listener->closed)
                return;
        listener->closed = true;
        net_timer_stop(&listener->retry);
        set_accepting(listener, false);
        if (listener->owns_file)
                (void)unlink(listener->address.un.sun_path);
        uv_close((uv_handle_t *)&listener->poll, poll_closed);
        listener->fd = fd_close(listener->fd);
}

const struct net_address *listener_address(const struct listener *listener)
{
        return &listener->address;
}

unsigned listener_connections(const struct listener *listener)
{
        return listener->connections;
}
