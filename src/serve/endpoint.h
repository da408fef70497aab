// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "net/address.h"
#include "net/http_server.h"
#include "serve/health.h"
#include "serve/metrics.h"

/*
 * A port that shows a process's health (/healthz, /livez, /readyz) and metrics (/metrics), for
 * kubelets and Prometheus. GET and HEAD only.
 */
struct endpoint;

struct endpoint_options {
        struct net_loop *loop;
        struct net_address address;
        struct stream_filter *filter; /* TLS; NULL: plain */
        const struct health *health;  /* NULL: not shown here; borrowed */
        struct metrics *metrics;      /* NULL: not shown here; borrowed */
};

/* Listens. Errors have a sentence. */
int endpoint_new(const struct endpoint_options *options, struct error *error,
                 struct endpoint **ret_endpoint);
void endpoint_free(struct endpoint *endpoint);

/* Where it listens: with port 0 in the options, which port it became. */
const struct net_address *endpoint_address(const struct endpoint *endpoint);

/* Answers an exchange if its path is one of these. For servers that show more than this. */
bool endpoint_answer(struct http_exchange *exchange, const struct health *health,
                     struct metrics *metrics);
