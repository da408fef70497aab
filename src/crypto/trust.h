// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/* Judging certificates and keys that an earlier process made, or somebody else. */

struct server_pair {
        struct str certificate;  /* PEM, with its chain */
        struct str key;          /* PEM */
        struct str authorities;  /* PEM of those whom the clients trust */
        const struct str *names; /* DNS names and IP addresses that clients look for */
        size_t count;
        uint64_t now;
};

/*
 * Whether such clients take a server with this pair. Returns 0 and when the certificate ends, or
 * -EBADMSG with a sentence that names the reason (and no part of the key); -ENOMEM.
 */
int server_pair_check(const struct server_pair *pair, struct error *error,
                      uint64_t *ret_not_after_ns);

/*
 * Appends each certificate of `bundle` that has not ended by `now` and is not in `out` yet, as PEM
 * without anything else. *ret_ended (may be NULL) says how many had ended. Returns 0, -EBADMSG (it
 * holds something that is no certificate, or more than 64 KiB), -ENOMEM.
 */
int bundle_append(struct buffer *out, struct str bundle, uint64_t now, size_t *ret_ended);
