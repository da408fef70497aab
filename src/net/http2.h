// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/http_server.h"

/*
 * HTTP/2 for http_server, by nghttp2: ALPN "h2" over TLS, prior knowledge (RFC 9113 3.3) without.
 * In a library of its own (dep_net_http2). Floods (resets, pings, settings, empty frames) are
 * counted and end the connection.
 */
extern const struct http_protocol http2_protocol;
