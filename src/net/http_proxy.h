// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/stream.h"

/*
 * Connections through an HTTP proxy, by CONNECT (RFC 9110 9.3.6), as a filter over streams that
 * were connected to the proxy.
 */
struct http_proxy;

struct http_proxy_options {
        struct str target;           /* "host:port", as CONNECT names it */
        struct str authorization;    /* of Proxy-Authorization; empty: none */
        struct stream_filter *below; /* to the proxy itself, for one that is reached by TLS; NULL */
        struct str proxy_name;       /* for `below` to verify */
        struct stream_filter *above; /* to the target, through the proxy; NULL: plain */
};

/* Strings are copied, filters borrowed. 0, -EINVAL (what cannot be sent) or -ENOMEM. */
int http_proxy_new(const struct http_proxy_options *options, struct http_proxy **ret_proxy);

/* Streams made with it live on. */
void http_proxy_free(struct http_proxy *proxy);

/*
 * What http_origin takes. A proxy that refuses closes the stream with -ECONNREFUSED before it is
 * open; `server_name` is for `above`.
 */
struct stream_filter *http_proxy_filter(struct http_proxy *proxy);

/* A sentence about what the proxy last said other than yes; empty if it did not. */
struct str http_proxy_last_error(const struct http_proxy *proxy);
