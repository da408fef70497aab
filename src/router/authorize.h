// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "client/client.h"
#include "net/http.h"
#include "router/target.h"

/*
 * Whether a request may go on to the sandbox that it names, by the token in its Authorization
 * field. Three modes: everybody may; whoever has a token that the cluster's API server knows
 * (TokenReview; answers are remembered by the token's SHA-256); whoever has a token that was made
 * for just this sandbox (scoped_token.h).
 */
struct router_authorizer;

enum authorize_mode { AUTHORIZE_ALL, AUTHORIZE_TOKEN_REVIEW, AUTHORIZE_SCOPED_TOKEN };

enum verdict {
        VERDICT_ALLOWED,
        VERDICT_UNAUTHENTICATED, /* 401: no token, or none that is good */
        VERDICT_FORBIDDEN,       /* 403: a good one, for something else */
        VERDICT_UNKNOWN,         /* 503: the API server gives no answer */
        VERDICT_PENDING,         /* comes later */
};

enum {
        AUTHORIZE_REMEMBER_MS = 30 * 1000, /* what the API server said of a token */
        AUTHORIZE_FAILURE_MS = 1000,       /* that it said nothing */
        AUTHORIZE_TOKENS = 2048,           /* remembered, the least recently used going first */
        AUTHORIZE_REVIEWS = 256,           /* asked for at once */
        AUTHORIZE_REVIEW_TIMEOUT_MS = 3000,
        AUTHORIZE_TOKEN_MAX = 16 * 1024, /* bytes of one */
        AUTHORIZE_AUDIENCES = 8,
};

struct router_authorizer_options {
        enum authorize_mode mode;
        struct str key; /* of scoped tokens; borrowed */

        /* Of token reviews. */
        struct kube_client *client;                /* borrowed */
        uint64_t remember_ms;                      /* 0: AUTHORIZE_REMEMBER_MS */
        unsigned tokens;                           /* 0: AUTHORIZE_TOKENS */
        bool tokenless;                            /* who brings no token at all may pass */
        struct str audiences[AUTHORIZE_AUDIENCES]; /* borrowed; one of them must be the token's */
        size_t audience_count;                     /* 0: the API server's own */
};

int router_authorizer_new(const struct router_authorizer_options *options,
                          struct router_authorizer **ret_authorizer);

/* Nobody may be waiting any more. */
void router_authorizer_free(struct router_authorizer *authorizer);

/* Somebody who waits for a verdict; embedded. */
struct router_authorization {
        struct list link; /* all zero: does not wait */
        void (*decided)(struct router_authorization *authorization, enum verdict verdict);
};

/*
 * Answers at once, or VERDICT_PENDING: then `decided` is called once, from the loop, unless
 * router_authorization_cancel() comes before.
 */
enum verdict router_authorizer_ask(struct router_authorizer *authorizer,
                                   const struct http_headers *headers,
                                   const struct router_target *target,
                                   struct router_authorization *authorization);
void router_authorization_cancel(struct router_authorization *authorization);

struct router_authorizer_counters {
        unsigned remembered, under_way;
        uint64_t reviews; /* asked for, ever */
};
struct router_authorizer_counters router_authorizer_counters(
        const struct router_authorizer *authorizer);
