// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/certificate.h"
#include "json/json.h"

/*
 * The certificates of the conversion webhook, as the Secret agent-sandbox-webhook-certs keeps them
 * for all replicas, and what is to become of them next. No I/O.
 *
 * Each serving pair has an authority of its own, whose key nobody keeps. A change has two steps,
 * so that no call is refused: first the new authority is announced (ca.crt has both) while the old
 * pair serves, then, once the CRDs tell the API servers of both, the new pair serves. An authority
 * leaves ca.crt when it has ended. The keys ca.crt, tls.crt and tls.key are those of upstream's
 * controller, so either one goes on with the other's Secret; next.crt and next.key are ours.
 */
struct webhook_pair {
        struct buffer authorities;       /* ca.crt: PEM, what CRDs are to trust */
        struct certificate_pair serving; /* tls.crt, tls.key */
        struct certificate_pair next;    /* next.crt, next.key; empty but during a change */
};

void webhook_pair_deinit(struct webhook_pair *pair);
#define _cleanup_webhook_pair_ _cleanup_(webhook_pair_deinit)

struct webhook_pair_policy {
        const struct str
                *names; /* of the serving certificate; the first `required` must be in it */
        size_t count, required;
        uint64_t valid_s; /* how long a new pair lasts; it is replaced when a third of it is left */
};

/* Makes a pair and its authority, valid from `now`. */
int webhook_pair_make(const struct webhook_pair_policy *policy, uint64_t now, struct error *error,
                      struct webhook_pair *ret_pair);

/* Reads a Secret. What is absent or no base64 is empty: judging finds that. 0 or -ENOMEM. */
int webhook_pair_read(struct json_value secret, struct webhook_pair *ret_pair);

enum webhook_pair_verdict {
        WEBHOOK_PAIR_GOOD,
        WEBHOOK_PAIR_UNUSABLE, /* nobody who trusts ca.crt takes it: replace it at once */
        WEBHOOK_PAIR_OLD,      /* announce another one */
        WEBHOOK_PAIR_CHANGING, /* another one is announced: switch when the CRDs know it */
        WEBHOOK_PAIR_LITTER,   /* ca.crt has authorities that have ended */
};

/*
 * Judges: returns an enum webhook_pair_verdict, or -ENOMEM. With WEBHOOK_PAIR_UNUSABLE `why` (may
 * be NULL) says what is wrong.
 */
int webhook_pair_judge(const struct webhook_pair *pair, const struct webhook_pair_policy *policy,
                       uint64_t now, struct error *why);

/*
 * What follows on a verdict: a new pair beside what is still trusted, announced or serving. Returns
 * 0, -EINVAL (a name that is none), -ENOMEM.
 */
int webhook_pair_advance(const struct webhook_pair *pair, enum webhook_pair_verdict verdict,
                         const struct webhook_pair_policy *policy, uint64_t now,
                         struct error *error, struct webhook_pair *ret_pair);

/*
 * Appends the body of a write: of `secret` with this data, its resourceVersion included, or of a
 * new Secret when that is absent. The buffer then holds keys: wipe it.
 */
int webhook_pair_append(const struct webhook_pair *pair, struct json_value secret,
                        struct str name_space, struct str name, struct buffer *out);
