// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "router/authorize.h"

/* The part of authorize.h that asks an API server: reviews of tokens, and what came of them. */
struct token_reviews;

int token_reviews_new(const struct router_authorizer_options *options,
                      struct token_reviews **ret_reviews);
void token_reviews_free(struct token_reviews *reviews);

/* As router_authorizer_ask(). */
enum verdict token_reviews_ask(struct token_reviews *reviews, struct str token,
                               struct router_authorization *authorization);

struct router_authorizer_counters token_reviews_counters(const struct token_reviews *reviews);
