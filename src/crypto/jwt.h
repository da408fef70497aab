// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/*
 * ServiceAccount tokens: JSON Web Tokens in compact form, signed with ES256 (RFC 7515, 7518).
 * Only tokens with exactly the header that jwt_sign() writes are looked at, so no header is ever
 * parsed: no "alg" to be confused by, no "jku" to follow. Claims are the caller's JSON.
 */
enum { JWT_LIMIT = 16 * 1024 }; /* bytes of one compact token */

struct jwt_key;

void jwt_key_free(struct jwt_key *key);
DEFINE_POINTER_CLEANUP(jwt_key_freep, struct jwt_key, jwt_key_free)
#define _cleanup_jwt_key_ _cleanup_(jwt_key_freep)

int jwt_key_make(struct jwt_key **ret_key);

/* As key_load_or_create(). */
int jwt_key_load_or_create(int directory, const char *path, struct error *error,
                           struct jwt_key **ret_key);

/* The key's id: unpadded base64url of the SHA-256 of its public key, as kube-apiserver's. */
struct str jwt_key_id(const struct jwt_key *key);

/* Appends the public key as a JSON Web Key (RFC 7517), for /openid/v1/jwks. */
int jwt_key_append_jwk(const struct jwt_key *key, struct buffer *out);

/* Appends a token with these claims (JSON text). -EMSGSIZE if it would exceed JWT_LIMIT. */
int jwt_sign(const struct jwt_key *key, struct str claims, struct buffer *out);

/*
 * Verifies a token against the keys still accepted and appends its claims (bytes that we once
 * signed). Whether they are in force (exp, nbf, aud, iss) is the caller's to check.
 * Returns 0, -EMSGSIZE, -EBADMSG (malformed), -ENOKEY (signed by none of these; perhaps another
 * issuer's), -EKEYREJECTED (signature wrong) or -ENOMEM; `claims` is untouched on failure.
 */
int jwt_verify(const struct jwt_key *const *keys, size_t key_count, struct str token,
               struct buffer *claims);
