// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

/*
 * Tokens that are good for one sandbox, as upstream's router takes them (v0.5.6):
 * "v1.<claims>.<signature>", the claims being {"ns","name","exp"} as JSON in unpadded base64url,
 * the signature HMAC-SHA256 over "agent-sandbox/scoped-token/v1." and the encoded claims. Somebody
 * who has the key makes them; the router only verifies.
 */
enum {
        SCOPED_TOKEN_KEY_MIN = 32, /* bytes, without white space at both ends */
        SCOPED_TOKEN_KEY_MAX = 4096,
        SCOPED_TOKEN_MAX = 4096, /* bytes of a whole token */
};

/*
 * Reads a key file. Refused, with a sentence: a key that is too short to withstand guessing
 * (-EINVAL), a file that everybody may read (-EACCES), no regular file (-EINVAL).
 */
int scoped_token_key_read(const char *path, struct error *error, struct buffer *ret_key);

/* Whom a token is for. Strings live in the arena. */
struct scoped_claims {
        struct str name_space, name;
};

/*
 * Verifies a token at `now_s` (seconds since the epoch; a token ends with the second `exp`).
 * Returns 0, -EBADMSG (no such token), -EKEYREJECTED (another key's), -EKEYEXPIRED, or -ENOMEM.
 */
int scoped_token_verify(struct str key, struct str token, uint64_t now_s, struct arena *arena,
                        struct scoped_claims *ret_claims);
