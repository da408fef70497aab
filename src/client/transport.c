// SPDX-License-Identifier: Apache-2.0
#include "client/transport.h"

#include <errno.h>
#include <string.h>

#include "client/proxy.h"
#include "net/http_proxy.h"
#include "net/tls.h"

static struct stream_filter *filter_of(struct tls_context *tls)
{
        return tls ? tls_context_filter(tls) : NULL;
}

static int make_tls(struct kube_transport *transport, const struct kube_config *config,
                    struct str certificate, struct str key, struct error *error)
{
        struct tls_client_options options = { .ca = config->ca,
                                              .certificate = certificate,
                                              .key = key,
                                              .insecure = config->insecure };
        int r;

        if (!config->tls)
                return 0;
        r = tls_client_new(&options, error, &transport->tls_upgrade);
        options.http2 = true;
        if (r == 0)
                r = tls_client_new(&options, error, &transport->tls);
        return r;
}

static int make_proxy(struct kube_transport *transport, const struct kube_config *config,
                      const struct kube_proxy *proxy, struct error *error)
{
        /* The kubeconfig's authorities are asked about the proxy too, as client-go does. */
        const struct tls_client_options tls = { .ca = config->ca, .insecure = config->insecure };
        bool is_ipv6 = memchr(config->host.data, ':', config->host.length) != NULL;
        struct http_proxy_options options = { .authorization = proxy->authorization,
                                              .proxy_name = proxy->host };
        int r = 0;

        transport->host = arena_printf(&transport->arena, "%s%.*s%s:%u", is_ipv6 ? "[" : "",
                                       STR_FORMAT(config->host), is_ipv6 ? "]" : "", config->port);
        if (!transport->host.data)
                return error_set(error, -ENOMEM, "out of memory");
        transport->origin.host = proxy->host;
        transport->origin.port = proxy->port;
        options.target = transport->host;
        if (proxy->tls) {
                r = tls_client_new(&tls, error, &transport->tls_proxy);
                if (r < 0)
                        return r;
        }
        options.below = filter_of(transport->tls_proxy);
        options.above = filter_of(transport->tls);
        r = http_proxy_new(&options, &transport->proxy);
        options.above = filter_of(transport->tls_upgrade);
        if (r == 0)
                r = http_proxy_new(&options, &transport->proxy_upgrade);
        return r < 0 ? error_set(error, r, "cannot use the proxy: %s", strerror(-r)) : 0;
}

int kube_transport_init(struct kube_transport *transport, const struct kube_config *config,
                        struct str certificate, struct str key, struct error *error)
{
        struct kube_transport made = {};
        struct kube_proxy proxy;

        made.origin = (struct http_origin){
                .host = config->host,
                .port = config->port,
                .server_name = config->server_name.length > 0 ? config->server_name : config->host,
        };
        int r = make_tls(&made, config, certificate, key, error);
        if (r == 0)
                r = kube_proxy_find(config, &made.arena, error, &proxy);
        if (r > 0)
                r = make_proxy(&made, config, &proxy, error);
        if (r < 0) {
                kube_transport_deinit(&made);
                return r;
        }
        *transport = made;
        return 0;
}

void kube_transport_deinit(struct kube_transport *transport)
{
        http_proxy_free(transport->proxy);
        http_proxy_free(transport->proxy_upgrade);
        tls_context_free(transport->tls);
        tls_context_free(transport->tls_upgrade);
        tls_context_free(transport->tls_proxy);
        arena_deinit(&transport->arena);
        *transport = (struct kube_transport){};
}

void kube_transport_fill(const struct kube_transport *transport, struct http_request *request)
{
        struct http_proxy *proxy = request->upgrade ? transport->proxy_upgrade : transport->proxy;
        struct tls_context *tls = request->upgrade ? transport->tls_upgrade : transport->tls;

        request->origin = transport->origin;
        request->origin.filter = proxy ? http_proxy_filter(proxy) : filter_of(tls);
        request->host = transport->host;
}

const char *kube_transport_error(const struct kube_transport *transport, enum http_error error,
                                 int code)
{
        const struct str sentences[] = {
                transport->tls ? tls_context_last_error(transport->tls) : STR_EMPTY,
                transport->tls_upgrade ? tls_context_last_error(transport->tls_upgrade) : STR_EMPTY,
                transport->tls_proxy ? tls_context_last_error(transport->tls_proxy) : STR_EMPTY,
        };

        if (error != HTTP_ERROR_TLS) {
                if (transport->proxy && http_proxy_last_error(transport->proxy).length > 0)
                        return http_proxy_last_error(transport->proxy).data;
                return strerror(-code);
        }
        for (size_t i = 0; i < ARRAY_SIZE(sentences); i++)
                if (sentences[i].length > 0)
                        return sentences[i].data;
        return "the TLS handshake failed";
}
