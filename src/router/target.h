// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"
#include "net/http.h"

enum { ROUTER_DEFAULT_PORT = 8888 };

/* Which sandbox a request is for, as its X-Sandbox-* fields say. Views into the request. */
struct router_target {
        struct str id;         /* the Sandbox's name, or its claim's */
        struct str name_space; /* "default" if not given */
        uint16_t port;
        struct net_address pod_ip; /* with `port`; length 0: not given */
        struct str uid;            /* empty: not given */
        uint64_t timeout_ms;       /* 0: not given */
};

/*
 * Reads and checks the fields in the order that clients rely on. Returns NULL, or the "detail" of
 * the 400 answer (a static string).
 */
const char *router_target_read(const struct http_headers *headers, bool allow_loopback,
                               struct router_target *ret_target);

/* A DNS label: 1 … 63 of [a-z0-9-], alphanumeric at both ends (RFC 1123). */
bool router_is_dns_label(struct str text);
