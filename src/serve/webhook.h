// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "net/address.h"
#include "net/http_server.h"

/*
 * The conversion webhook of our CRDs: HTTPS (HTTP/1.1 and HTTP/2), POST /convert with a
 * ConversionReview. Whoever reaches the port may ask; nothing is read or kept but the request. Of
 * all requests that are being received at most LIMIT_CONVERSIONS bytes are held, further ones are
 * answered with 503. Long batches are converted in pieces, between which the loop runs.
 */
struct webhook;

struct webhook_options {
        struct net_loop *loop;
        struct net_address address;
        struct str certificate, key; /* PEM; to begin with */
};

/* Listens. Errors have a sentence, which never holds a key. */
int webhook_new(const struct webhook_options *options, struct error *error,
                struct webhook **ret_webhook);
void webhook_free(struct webhook *webhook);

/* Takes another certificate and key for new connections. On failure the old ones stay. */
int webhook_reload(struct webhook *webhook, struct str certificate, struct str key,
                   struct error *error);

/* Where it listens. */
const struct net_address *webhook_address(const struct webhook *webhook);

struct webhook_counters {
        uint64_t reviews; /* answered, refusals included */
        uint64_t objects; /* converted */
        uint64_t refused; /* reviews that were refused, by name in their result */
        uint64_t invalid; /* requests that were no review */
};
struct webhook_counters webhook_counters(const struct webhook *webhook);
