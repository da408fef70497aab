// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/server.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/http2.h"
#include "json/writer.h"

enum api { API_LEGACY, API_FILES, API_PROCESS };

enum {
        COMMAND_GRACE_MS = 2000, /* between SIGTERM and SIGKILL */
        STOP_POLL_MS = 10,
};

static void on_request(void *user, struct http_exchange *exchange)
{
        struct sandboxd *sandboxd = user;

        if (exchange->tag == API_LEGACY)
                legacy_handle(sandboxd, exchange);
        else if (exchange->tag == API_FILES)
                files_api_handle(sandboxd, exchange);
        else
                grpc_handle(&sandboxd->methods, exchange);
}

/* For requests refused before they reach an API: it has the fields that clients of either read. */
static struct str render_error(void *user, unsigned status, struct str reason, struct buffer *body)
{
        struct json_writer writer;

        (void)user;
        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_string(&writer, "code",
                          status < 500 ? STR("INVALID_ARGUMENT") : STR("INTERNAL"));
        json_field_string(&writer, "message", reason);
        json_field_string(&writer, "detail", reason);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                buffer_clear(body);
        return STR("application/json");
}

/* Of the sockets that were handed over the one that listens on the port; -1: none. */
static int find_inherited(const struct sandboxd_options *options, int64_t port)
{
        struct net_address address;

        for (int fd = INHERITED_FIRST; fd < INHERITED_FIRST + options->inherited; fd++) {
                socklen_t length = sizeof(address.in6);
                if (getsockname(fd, &address.generic, &length) == 0 &&
                    net_address_port(&address) == port)
                        return fd;
        }
        return -1;
}

/* Adds to `said` what is served where. */
static int listen_on(struct sandboxd *sandboxd, int64_t port, enum api api, const char *name,
                     struct buffer *said, struct error *error)
{
        char text[NET_ADDRESS_SIZE];
        struct listener *listener;
        struct net_address address;
        int r;

        if (port == PORT_OFF)
                return 0;
        if (port < 0 || port > UINT16_MAX)
                return error_set(error, -EINVAL,
                                 "the port of the %s API must be 0 to 65535, or -1 "
                                 "for none",
                                 name);
        r = net_address_from_ip(str_from(sandboxd->options->listen_host), (uint16_t)port, &address);
        if (r < 0)
                return error_set(error, r, "--listen-host %s is no IP address",
                                 sandboxd->options->listen_host);
        int fd = find_inherited(sandboxd->options, port);
        r = fd >= 0 ? http_server_adopt(sandboxd->server, fd, NULL, (int)api, error, &listener)
                    : http_server_listen(sandboxd->server, &address, NULL, (int)api, error,
                                         &listener);
        if (r < 0)
                return r;
        net_address_format(listener_address(listener), text);
        r = buffer_printf(said, "%s the %s API on %s", said->length ? "," : "", name, text);
        return r < 0 ? error_set(error, r, "out of memory") : 0;
}

static int serve(struct sandboxd *sandboxd, struct error *error)
{
        const struct sandboxd_options *options = sandboxd->options;
        const struct http_server_options server_options = {
                .on_request = on_request,
                .user = sandboxd,
                .render_error = render_error,
                .idle_timeout_ms = options->idle_timeout_ms,
                .http2 = &http2_protocol,
        };
        _cleanup_buffer_ struct buffer said = {};
        int r;

        r = http_server_new(sandboxd->loop, &server_options, &sandboxd->server);
        if (r < 0)
                return error_set(error, r, "cannot make a server: %s", strerror(-r));
        r = listen_on(sandboxd, options->legacy_port, API_LEGACY, "runtime", &said, error);
        if (r == 0)
                r = listen_on(sandboxd, options->rest_port, API_FILES, "files", &said, error);
        if (r == 0)
                r = listen_on(sandboxd, options->grpc_port, API_PROCESS, "process", &said, error);
        if (r < 0) {
                http_server_free(sandboxd->server);
                return r;
        }
        /* In one line: each wakes init. */
        if (said.length > 0)
                log_info("serving%.*s", STR_FORMAT(buffer_str(&said)));
        return 0;
}

int sandboxd_init(struct sandboxd *sandboxd, uv_loop_t *uv, const struct sandboxd_options *options,
                  struct error *error)
{
        int r;

        *sandboxd = (struct sandboxd){
                .options = options,
                .uv = uv,
                .started_ns = clock_monotonic_ns(),
        };
        r = root_open(&sandboxd->base, options->base_dir, error);
        if (r < 0)
                return r;
        r = root_open(&sandboxd->root, options->root_dir, error);
        if (r < 0)
                goto close_base;
        r = children_init(&sandboxd->children, uv);
        if (r < 0) {
                error_set(error, r, "cannot wait for children: %s", strerror(-r));
                goto close_root;
        }
        commands_init(&sandboxd->commands, &sandboxd->children, sandboxd->base.fd,
                      options->environment);
        r = net_loop_new(uv, &sandboxd->loop);
        if (r < 0) {
                error_set(error, r, "cannot make an event loop: %s", strerror(-r));
                goto close_children;
        }
        sandboxd->methods = (struct grpc_methods){ .list = process_service_methods,
                                                   .count = PROCESS_SERVICE_METHODS,
                                                   .context = sandboxd,
                                                   .loop = sandboxd->loop };
        r = processes_init(&sandboxd->processes, &sandboxd->children, sandboxd->loop,
                           options->stream_chunk);
        if (r < 0)
                error_set(error, r, "cannot follow processes: %s", strerror(-r));
        else
                r = serve(sandboxd, error);
        if (r == 0)
                return 0;
        processes_deinit(&sandboxd->processes);
        net_loop_free(sandboxd->loop);
close_children:
        children_close(&sandboxd->children);
close_root:
        root_close(&sandboxd->root);
close_base:
        root_close(&sandboxd->base);
        return r;
}

static void on_drained(void *user)
{
        struct sandboxd *sandboxd = user;

        sandboxd->on_stopped(sandboxd);
}

static void drain(struct sandboxd *sandboxd)
{
        uint64_t now = net_loop_now_ms(sandboxd->loop);
        uint64_t deadline = sandboxd->stop_deadline_ms;

        net_timer_stop(&sandboxd->stop_timer);
        http_server_drain(sandboxd->server, deadline > now ? deadline - now : 0, on_drained,
                          sandboxd);
}

/* The commands' answers go out while the listeners are open, so that probes see the 503. */
static void on_stop_timer(struct net_timer *timer)
{
        struct sandboxd *sandboxd = container_of(timer, struct sandboxd, stop_timer);
        uint64_t now = net_loop_now_ms(sandboxd->loop);

        if (list_is_empty(&sandboxd->children.running) || now >= sandboxd->stop_deadline_ms) {
                drain(sandboxd);
                return;
        }
        if (now >= sandboxd->stop_kill_ms)
                children_signal(&sandboxd->children, SIGKILL);
        net_timer_start(sandboxd->loop, timer, STOP_POLL_MS, on_stop_timer);
}

void sandboxd_stop(struct sandboxd *sandboxd, void (*on_stopped)(struct sandboxd *sandboxd))
{
        uint64_t now = net_loop_now_ms(sandboxd->loop);

        if (sandboxd->stopping)
                return;
        sandboxd->stopping = true;
        sandboxd->on_stopped = on_stopped;
        sandboxd->stop_deadline_ms = now + sandboxd->options->shutdown_timeout_ms;
        sandboxd->stop_kill_ms = MIN(now + COMMAND_GRACE_MS, sandboxd->stop_deadline_ms);
        children_signal(&sandboxd->children, SIGTERM);
        on_stop_timer(&sandboxd->stop_timer);
}

void sandboxd_deinit(struct sandboxd *sandboxd)
{
        children_signal(&sandboxd->children, SIGKILL);
        http_server_free(sandboxd->server);
        net_loop_free(sandboxd->loop);
        children_close(&sandboxd->children);
        uv_run(sandboxd->uv, UV_RUN_NOWAIT);
        /* A thread may still work for a client that has gone. Nothing waits for it. */
        if (uv_loop_alive(sandboxd->uv))
                return;
        processes_deinit(&sandboxd->processes);
        root_close(&sandboxd->root);
        root_close(&sandboxd->base);
}
