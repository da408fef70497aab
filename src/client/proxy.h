// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/config.h"

/* The HTTP proxy on the way to the API server. */
struct kube_proxy {
        bool tls; /* spoken to the proxy itself */
        struct str host;
        uint16_t port;
        struct str authorization; /* "Basic …"; empty: none */
};

/*
 * Takes "http://[user:password@]host[:port]" apart; https too; a host alone is http. Strings live
 * in the arena. -EINVAL; -EOPNOTSUPP for socks5 and others; -ENOMEM; with a sentence without the
 * password.
 */
int kube_proxy_parse(struct arena *arena, struct str url, struct error *error,
                     struct kube_proxy *ret_proxy);

/*
 * Whether `list` (of $NO_PROXY) names the host: parts separated by commas, each a host (its
 * subdomains too; with a dot in front those alone), an address, a CIDR, or "*"; a port may follow.
 */
bool kube_proxy_is_excepted(struct str list, struct str host, uint16_t port);

/*
 * The proxy to use for the server of `config`: the kubeconfig's, or else the environment's
 * ($HTTPS_PROXY or $https_proxy, for plain HTTP $HTTP_PROXY or $http_proxy) unless $NO_PROXY or
 * $no_proxy excepts the server or it is on the loopback. Returns 1, 0 (none), or as above.
 */
int kube_proxy_find(const struct kube_config *config, struct arena *arena, struct error *error,
                    struct kube_proxy *ret_proxy);
