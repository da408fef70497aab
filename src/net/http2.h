// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/http_client.h"
#include "net/http_server.h"

/*
 * HTTP/2 for http_server, by nghttp2: ALPN "h2" over TLS, prior knowledge (RFC 9113 3.3) without.
 * In a library of its own (dep_net_http2). Floods (resets, pings, settings, empty frames) are
 * counted and end the connection.
 */
extern const struct http_protocol http2_protocol;

/*
 * HTTP/2 for http_client, as http_client_options.http2. A server's floods are counted and end the
 * connection, its heads are limited as everywhere, a GOAWAY takes the connection out of use for new
 * calls, and one that is silent while an answer is awaited is asked by PING and then given up with
 * -ETIMEDOUT (http_client_options.ping_after_ms, ping_timeout_ms).
 */
extern const struct http_client_protocol http2_client_protocol;
