// SPDX-License-Identifier: Apache-2.0
#include "router/authorize.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "router/scoped_token.h"
#include "router/token_review.h"

struct router_authorizer {
        struct router_authorizer_options options;
        struct token_reviews *reviews;
};

/*
 * The token of "Authorization: Bearer …". Returns 0; -ENOENT if there is none; -EBADMSG if it is
 * none that could be good: another scheme, two of them, characters that no token has (RFC 6750).
 */
static int read_token(const struct http_headers *headers, struct str *ret_token)
{
        struct str value = http_headers_get(headers, STR("authorization")), scheme, token;

        if (!value.data)
                return -ENOENT;
        if (http_headers_count(headers, STR("authorization")) > 1 ||
            !str_cut(value, ' ', &scheme, &token) ||
            !str_equal_ignoring_case(scheme, STR("bearer")))
                return -EBADMSG;
        token = str_trim(token);
        if (token.length == 0 || token.length > AUTHORIZE_TOKEN_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < token.length; i++)
                if (token.data[i] <= ' ' || token.data[i] > '~')
                        return -EBADMSG;
        *ret_token = token;
        return 0;
}

static enum verdict judge_scoped(const struct router_authorizer *authorizer, struct str token,
                                 const struct router_target *target)
{
        _cleanup_arena_ struct arena arena = {};
        struct scoped_claims claims;

        int r = scoped_token_verify(authorizer->options.key, token,
                                    clock_realtime_ns() / NS_PER_SECOND, &arena, &claims);
        if (r == -ENOMEM)
                return VERDICT_UNKNOWN;
        if (r < 0)
                return VERDICT_UNAUTHENTICATED;
        /* Both would lead elsewhere than to the sandbox whose name was compared. */
        if (target->pod_ip.length > 0 || target->uid.length > 0)
                return VERDICT_FORBIDDEN;
        return str_equal(claims.name_space, target->name_space) &&
                               str_equal(claims.name, target->id)
                       ? VERDICT_ALLOWED
                       : VERDICT_FORBIDDEN;
}

enum verdict router_authorizer_ask(struct router_authorizer *authorizer,
                                   const struct http_headers *headers,
                                   const struct router_target *target,
                                   struct router_authorization *authorization)
{
        struct str token;

        if (authorizer->options.mode == AUTHORIZE_ALL)
                return VERDICT_ALLOWED;
        int r = read_token(headers, &token);
        if (r == -ENOENT && authorizer->options.mode == AUTHORIZE_TOKEN_REVIEW &&
            authorizer->options.tokenless)
                return VERDICT_ALLOWED;
        if (r < 0)
                return VERDICT_UNAUTHENTICATED;
        if (authorizer->options.mode == AUTHORIZE_SCOPED_TOKEN)
                return judge_scoped(authorizer, token, target);
        return token_reviews_ask(authorizer->reviews, token, authorization);
}

void router_authorization_cancel(struct router_authorization *authorization)
{
        if (!authorization->link.next)
                return;
        list_remove(&authorization->link);
        authorization->link.next = NULL;
}

struct router_authorizer_counters router_authorizer_counters(
        const struct router_authorizer *authorizer)
{
        return authorizer->reviews ? token_reviews_counters(authorizer->reviews)
                                   : (struct router_authorizer_counters){};
}

int router_authorizer_new(const struct router_authorizer_options *options,
                          struct router_authorizer **ret_authorizer)
{
        struct router_authorizer *authorizer = calloc(1, sizeof(*authorizer));
        int r = 0;

        if (!authorizer)
                return -ENOMEM;
        authorizer->options = *options;
        if (options->mode == AUTHORIZE_TOKEN_REVIEW)
                r = token_reviews_new(options, &authorizer->reviews);
        if (r < 0) {
                free(authorizer);
                return r;
        }
        *ret_authorizer = authorizer;
        return 0;
}

void router_authorizer_free(struct router_authorizer *authorizer)
{
        if (!authorizer)
                return;
        token_reviews_free(authorizer->reviews);
        free(authorizer);
}
