// SPDX-License-Identifier: Apache-2.0
#include "router/router.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/http2.h"
#include "router/certificates.h"
#include "router/options.h"
#include "router/proxy.h"
#include "router/scoped_token.h"
#include "router/watch.h"
#include "serve/trace.h"

enum { TRACES_MS = 2000 }; /* to send the last spans */

/* Which listener a request came by. */
enum { TAG_PROXY, TAG_METRICS, TAG_PROBE };

struct router {
        struct router_options options;
        uv_loop_t uv;
        struct net_loop *loop;
        uv_signal_t signals[2];
        struct router_metrics metrics;
        struct router_index *index;
        struct http_client *http;
        struct proxy *proxy;
        struct http_server *server; /* the proxy's */
        struct http_server *admin;  /* metrics and probes: they answer while the other drains */
        struct kube_config kubeconfig;
        struct kube_client *kube;
        struct router_watch *watch;
        struct certificates *certificates;
        struct buffer token_key;
        struct router_authorizer *authorizer;
        struct tracer *tracer;
        struct net_timer shutdown_timer;
        bool draining;
        bool drained; /* the server; tunnels may be left */
        bool ending;
        bool told_ready;
};

/* ---- probes and metrics ---- */

static bool is_ready(const struct router *router)
{
        return !router->watch || router_watch_is_settled(router->watch);
}

static void render_metrics(struct router *router, struct http_exchange *exchange)
{
        _cleanup_buffer_ struct buffer page = {};
        struct router_metrics *m = &router->metrics;

        if (router->index) {
                struct index_counters counters = router_index_counters(router->index);
                metric_set(m->sandboxes, counters.sandboxes);
                metric_set(m->pods, counters.pods);
                metric_set(m->waiting, counters.waiters);
        }
        if (metrics_render(m->metrics, &page) < 0)
                http_exchange_respond_text(exchange, 503, "text/plain", STR("out of memory\n"));
        else
                http_exchange_respond_text(exchange, 200,
                                           "text/plain; version=0.0.4; charset=utf-8",
                                           buffer_str(&page));
}

static void on_admin_request(void *user, struct http_exchange *exchange)
{
        struct router *router = user;
        struct str path = exchange->request.path;

        if (exchange->tag == TAG_METRICS && str_equal(path, STR("/metrics"))) {
                render_metrics(router, exchange);
        } else if (exchange->tag == TAG_PROBE && str_equal(path, STR("/healthz"))) {
                http_exchange_respond_text(exchange, 200, "text/plain", STR("ok"));
        } else if (exchange->tag == TAG_PROBE && str_equal(path, STR("/readyz"))) {
                struct str answer = router->draining   ? STR("draining")
                                    : is_ready(router) ? STR("ok")
                                                       : STR("not synced");
                http_exchange_respond_text(exchange, str_equal(answer, STR("ok")) ? 200 : 503,
                                           "text/plain", answer);
        } else {
                http_exchange_respond_text(exchange, 404, "text/plain", STR("not found\n"));
        }
}

static void tell_ready(struct router *router)
{
        int fd = (int)router->options.ready;

        if (router->told_ready || !is_ready(router))
                return;
        router->told_ready = true;
        log_info("ready");
        if (fd < 0)
                return;
        /* Whoever started everything has gone when a role is started again. */
        if (write(fd, "r", 1) < 0 && errno != EPIPE)
                log_warning("nobody hears that the router is ready: %s", strerror(errno));
        fd_close(fd);
}

static void on_settled(void *user)
{
        tell_ready(user);
}

/* ---- requests ---- */

static void on_request(void *user, struct http_exchange *exchange)
{
        proxy_handle(((struct router *)user)->proxy, exchange);
}

static struct str render_error(void *user, unsigned status, struct str reason, struct buffer *body)
{
        (void)user;
        (void)status;
        (void)proxy_append_detail(body, reason);
        return STR("application/json");
}

/* ---- ending ---- */

static void on_traced(void *user)
{
        uv_stop(&((struct router *)user)->uv);
}

/* Nothing is served any more. */
static void end(struct router *router)
{
        if (router->ending)
                return;
        router->ending = true;
        if (router->tracer)
                tracer_finish(router->tracer, TRACES_MS, on_traced, router);
        else
                on_traced(router);
}

static void stop_if_done(struct router *router)
{
        if (router->drained && proxy_tunnels(router->proxy) == 0)
                end(router);
}

static void on_drained(void *user)
{
        struct router *router = user;

        router->drained = true;
        stop_if_done(router);
}

static void on_idle(void *user)
{
        stop_if_done(user);
}

static void shutdown_is_over(struct net_timer *timer)
{
        struct router *router = container_of(timer, struct router, shutdown_timer);

        proxy_close_tunnels(router->proxy);
        end(router);
}

static void on_signal(uv_signal_t *handle, int number)
{
        struct router *router = handle->data;
        uint64_t timeout_ms = router->options.shutdown_timeout_ns / NS_PER_MS;

        if (router->draining) {
                log_info("told twice to end: not waiting any longer");
                uv_stop(&router->uv);
                return;
        }
        log_info("draining (%s)", number == SIGTERM ? "SIGTERM" : "SIGINT");
        router->draining = true;
        net_timer_start(router->loop, &router->shutdown_timer, timeout_ms, shutdown_is_over);
        http_server_drain(router->server, timeout_ms, on_drained, router);
}

/* ---- TLS and tokens ---- */

static int open_tls(struct router *router, struct error *error)
{
        const struct router_options *o = &router->options;
        const struct certificates_options options = {
                .loop = router->loop,
                .certificate_file = o->certificate_file,
                .key_file = o->key_file,
                .client_ca_file = o->client_ca_file,
                .client_certificate = o->client_certificate,
                .metrics = &router->metrics,
        };

        return certificates_new(&options, error, &router->certificates);
}

static int open_authorizer(struct router *router, struct error *error)
{
        const struct router_options *o = &router->options;
        struct router_authorizer_options options = {
                .mode = o->authorize_mode,
                .client = router->kube,
                .remember_ms = o->review_ttl_ns / NS_PER_MS,
                .tokens = (unsigned)o->review_cache_size,
                .tokenless = !o->review_requires_token,
        };
        struct str rest = str_from(o->audiences), audience;

        while (rest.length > 0 && options.audience_count < AUTHORIZE_AUDIENCES) {
                str_cut(rest, ',', &audience, &rest);
                audience = str_trim(audience);
                if (audience.length > 0)
                        options.audiences[options.audience_count++] = audience;
        }
        if (rest.length > 0)
                return error_set(error, -EINVAL, "--authz-tokenreview-audiences takes %d at most.",
                                 AUTHORIZE_AUDIENCES);
        if (o->authorize_mode == AUTHORIZE_SCOPED_TOKEN) {
                int r = scoped_token_key_read(o->scoped_token_file, error, &router->token_key);
                if (r < 0)
                        return r;
                options.key = buffer_str(&router->token_key);
        }
        if (o->authorize_mode == AUTHORIZE_TOKEN_REVIEW && !router->kube)
                return error_set(error, -ENOENT,
                                 "--authz-mode tokenreview needs a cluster: --kubeconfig.");
        int r = router_authorizer_new(&options, &router->authorizer);
        return r < 0 ? error_set(error, r, "Out of memory.") : 0;
}

/* ---- beginning ---- */

static int listen_on(struct http_server *server, const char *text, struct stream_filter *filter,
                     int tag, struct error *error)
{
        struct net_address address;
        struct listener *listener;
        char bound[NET_ADDRESS_SIZE];

        if (!*text)
                return 0;
        if (net_address_parse(str_from(text), &address) < 0)
                return error_set(error, -EINVAL, "%s is no address to listen on.", text);
        int r = http_server_listen(server, &address, filter, tag, error, &listener);
        if (r < 0)
                return r;
        net_address_format(listener_address(listener), bound);
        log_info("%s on %s",
                 tag == TAG_METRICS ? "metrics"
                 : tag == TAG_PROBE ? "probes"
                 : filter           ? "https"
                                    : "http",
                 bound);
        return 0;
}

static int listen_everywhere(struct router *router, struct error *error)
{
        const struct router_options *o = &router->options;
        /* The proxy has a limit of its own for the whole; within it either side may be silent. */
        const struct http_server_options server = {
                .on_request = on_request,
                .user = router,
                .render_error = render_error,
                .http2 = &http2_protocol,
                .body_timeout_ms =
                        (uint32_t)MIN(o->proxy_timeout_ns / NS_PER_MS, (uint64_t)UINT32_MAX),
        };
        const struct http_server_options admin = { .on_request = on_admin_request, .user = router };
        int r = http_server_new(router->loop, &server, &router->server);

        if (r == 0)
                r = http_server_new(router->loop, &admin, &router->admin);
        if (r < 0)
                return error_set(error, r, "Out of memory.");
        if (o->socket >= 0)
                r = http_server_adopt(router->server, (int)o->socket, NULL, TAG_PROXY, error, NULL);
        else
                r = listen_on(router->server, o->http_address, NULL, TAG_PROXY, error);
        if (r == 0 && *o->https_address) {
                r = open_tls(router, error);
                if (r == 0)
                        r = listen_on(router->server, o->https_address,
                                      certificates_filter(router->certificates), TAG_PROXY, error);
        }
        if (r == 0)
                r = listen_on(router->admin, o->metrics_address, NULL, TAG_METRICS, error);
        if (r == 0)
                r = listen_on(router->admin, o->probe_address, NULL, TAG_PROBE, error);
        return r;
}

/* Without a cluster the router still serves what DNS and X-Sandbox-Pod-IP can find. */
static int open_cluster(struct router *router, struct error *error)
{
        const struct router_options *o = &router->options;
        bool reviews = o->authorize_mode == AUTHORIZE_TOKEN_REVIEW;

        if (!o->cache_enabled && !reviews)
                return 0;
        int r = kube_config_find(o->kubeconfig, STR_EMPTY, error, &router->kubeconfig);
        if (r < 0 && (o->kubeconfig || reviews))
                return r;
        if (r < 0) {
                log_warning("no cluster to watch (%s): sandboxes are found by X-Sandbox-Pod-IP and "
                            "DNS only",
                            error ? error->message : strerror(-r));
                return 0;
        }
        const struct kube_client_options options = {
                .loop = router->loop,
                .config = &router->kubeconfig,
                .user_agent = STR("cay-router"),
        };
        r = kube_client_new(&options, error, &router->kube);
        if (r == 0 && !o->cache_enabled)
                return 0;
        if (r == 0)
                r = router_index_new(&router->index);
        if (r == 0)
                r = router_watch_new(router->kube, router->index, str_from(o->cache_namespace),
                                     on_settled, router, &router->watch);
        return r < 0 ? error_prefix(error, r, "Cannot watch the cluster") : 0;
}

static int open_signals(struct router *router)
{
        static const int numbers[] = { SIGTERM, SIGINT };

        signal(SIGPIPE, SIG_IGN);
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                int r = uv_signal_init(&router->uv, &router->signals[i]);
                router->signals[i].data = router;
                if (r == 0)
                        r = uv_signal_start(&router->signals[i], on_signal, numbers[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int open_router(struct router *router, struct error *error)
{
        const struct router_options *o = &router->options;
        const struct http_client_options http = { .http2 = &http2_client_protocol };

        int r = net_loop_new(&router->uv, &router->loop);
        if (r == 0)
                r = open_signals(router);
        if (r == 0)
                r = router_metrics_init(&router->metrics);
        if (r == 0)
                r = http_client_new(router->loop, &http, &router->http);
        if (r < 0)
                return error_set(error, r, "Cannot begin: %s.", strerror(-r));
        if (o->tracing) {
                const struct tracer_options tracer = { .loop = router->loop,
                                                       .service_name = "sandbox-router",
                                                       .version = ROUTER_VERSION,
                                                       .metrics = router->metrics.metrics };
                r = tracer_new(&tracer, error, &router->tracer);
        }
        if (r == 0)
                r = open_cluster(router, error);
        if (r == 0)
                r = open_authorizer(router, error);
        if (r < 0)
                return r;
        const struct proxy_options options = {
                .loop = router->loop,
                .client = router->http,
                .index = router->index,
                .authorizer = router->authorizer,
                .tracer = router->tracer,
                .metrics = &router->metrics,
                .cluster_domain = str_from(o->cluster_domain),
                .timeout_ms = o->proxy_timeout_ns / NS_PER_MS,
                .head_timeout_ms = o->head_timeout_ns / NS_PER_MS,
                .max_body = (uint64_t)o->max_body,
                .retries = (unsigned)o->retries,
                .retry_first_ms = MAX(o->retry_first_ns / NS_PER_MS, UINT64_C(1)),
                .retry_max_ms = MAX(o->retry_max_ns / NS_PER_MS, UINT64_C(1)),
                .allow_loopback = o->allow_loopback,
                .access_log = o->access_log,
                .on_idle = on_idle,
                .user = router,
        };
        r = proxy_new(&options, &router->proxy);
        if (r < 0)
                return error_set(error, r, "Out of memory.");
        return listen_everywhere(router, error);
}

static void close_handle(uv_handle_t *handle, void *user)
{
        (void)user;
        if (!uv_is_closing(handle) && handle->type == UV_SIGNAL)
                uv_close(handle, NULL);
}

static void close_router(struct router *router)
{
        http_server_free(router->server);
        http_server_free(router->admin);
        proxy_free(router->proxy);
        router_authorizer_free(router->authorizer);
        if (router->token_key.data)
                explicit_bzero(router->token_key.data, router->token_key.length);
        buffer_deinit(&router->token_key);
        router_watch_free(router->watch);
        if (router->kube)
                kube_client_free(router->kube);
        kube_config_deinit(&router->kubeconfig);
        http_client_free(router->http);
        tracer_free(router->tracer);
        router_index_free(router->index);
        router_metrics_deinit(&router->metrics);
        certificates_free(router->certificates);
        net_timer_stop(&router->shutdown_timer);
        net_loop_free(router->loop);
        uv_walk(&router->uv, close_handle, NULL);
        (void)uv_run(&router->uv, UV_RUN_DEFAULT);
        (void)uv_loop_close(&router->uv);
        router_options_deinit(&router->options);
}

int router_main(int argc, char **argv, struct error *error)
{
        struct router router = {};

        int r = router_options_read(argc, argv, error, &router.options);
        if (r != 0)
                return r < 0 ? r : 0;
        log_configure("router", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        fd_raise_limit();
        r = uv_loop_init(&router.uv);
        if (r < 0) {
                router_options_deinit(&router.options);
                return error_set(error, r, "Cannot begin: %s.", strerror(-r));
        }
        r = open_router(&router, error);
        if (r == 0) {
                tell_ready(&router);
                (void)uv_run(&router.uv, UV_RUN_DEFAULT);
                log_info("ended");
        }
        close_router(&router);
        return r;
}
