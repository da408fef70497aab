// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/config.h"
#include "net/http_client.h"

/*
 * How connections to the API server are made: TLS with whom to trust and who we are, through a
 * proxy if there is one. HTTP/2 is offered but for requests that change protocols, which it cannot
 * carry.
 */
struct kube_transport {
        struct arena arena;
        struct tls_context *tls, *tls_upgrade, *tls_proxy;
        struct http_proxy *proxy, *proxy_upgrade;
        struct http_origin origin; /* but for its filter */
        struct str host;           /* the Host field; empty: made from the origin */
};

/*
 * Strings of `config` are borrowed. `certificate` and `key` are the client's, PEM; empty: none.
 * Errors have a sentence: -EBADMSG (certificates), -EINVAL, -EOPNOTSUPP (proxies), -ENOMEM.
 */
int kube_transport_init(struct kube_transport *transport, const struct kube_config *config,
                        struct str certificate, struct str key, struct error *error);

/* Connections made with it live on. */
void kube_transport_deinit(struct kube_transport *transport);

/* Sets origin and host of a request. */
void kube_transport_fill(const struct kube_transport *transport, struct http_request *request);

/* A sentence about why the last connection could not be made. */
const char *kube_transport_error(const struct kube_transport *transport, enum http_error error,
                                 int code);
