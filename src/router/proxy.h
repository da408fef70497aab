// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "router/authorize.h"
#include "router/index.h"
#include "router/router_metrics.h"
#include "serve/trace.h"

/*
 * Passes requests on to their sandboxes. Only failures to connect are repeated. A sandbox that is
 * known and not ready yet is waited for; one that is not known is like one that does not answer.
 */
struct proxy;

enum {
        PROXY_RETRIES = 3,
        PROXY_RETRY_FIRST_MS = 200, /* doubles, up to */
        PROXY_RETRY_MAX_MS = 800,
        PROXY_CONNECT_TIMEOUT_MS = 5000,
        PROXY_TIMEOUT_MS = 180 * 1000,
};

/*
 * Of a request that may have run and whose answer was lost: clients in use repeat 500, 502, 503 and
 * 504 whatever the method was, and a command must not run twice.
 */
enum { PROXY_STATUS_OUTCOME_UNKNOWN = 424 };

struct proxy_options {
        struct net_loop *loop;
        struct http_client *client;
        struct router_index *index;           /* NULL: DNS and X-Sandbox-Pod-IP only */
        struct router_authorizer *authorizer; /* NULL: everybody may */
        struct tracer *tracer;                /* NULL: spans are not recorded */
        struct router_metrics *metrics;       /* all of them borrowed */
        struct str cluster_domain;            /* of the names asked for in DNS; borrowed */
        uint64_t timeout_ms;                  /* of a whole exchange; not of upgraded ones */
        uint64_t head_timeout_ms;             /* from request to answer; 0: timeout_ms */
        uint64_t max_body;                    /* bytes of a request's body; 0: no limit */
        unsigned retries;
        uint64_t retry_first_ms, retry_max_ms; /* 0: as above */
        bool allow_loopback;
        bool access_log;
        void (*on_idle)(void *user); /* the last tunnel has closed; may be NULL */
        void *user;
};

int proxy_new(const struct proxy_options *options, struct proxy **ret_proxy);

/* No exchange may be in progress any more. Closes the tunnels. */
void proxy_free(struct proxy *proxy);

/* Takes an exchange of an http_server. */
void proxy_handle(struct proxy *proxy, struct http_exchange *exchange);

/* Upgraded connections that are open, and closing them all. */
unsigned proxy_tunnels(const struct proxy *proxy);
void proxy_close_tunnels(struct proxy *proxy);

/* Appends {"detail":"…"} and a newline, the form of all errors here. */
int proxy_append_detail(struct buffer *out, struct str detail);
