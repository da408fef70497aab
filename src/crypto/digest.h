// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
        SHA1_SIZE = 20,
        SHA256_SIZE = 32,
        SHA256_HEX_SIZE = 2 * SHA256_SIZE + 1, /* with NUL */
};

/* Each returns 0 or -ENOMEM. */
int digest_sha256(struct str data, uint8_t ret[static SHA256_SIZE]);
int digest_sha256_hex(struct str data, char ret[static SHA256_HEX_SIZE]);
int digest_hmac_sha256(struct str key, struct str data, uint8_t ret[static SHA256_SIZE]);

/* For the WebSocket handshake (RFC 6455), which fixes it; it protects nothing. */
int digest_sha1(struct str data, uint8_t ret[static SHA1_SIZE]);

/* SHA-256 of what arrives in pieces. */
struct sha256 {
        struct evp_md_ctx_st *context;
};
int sha256_init(struct sha256 *sha256);
int sha256_update(struct sha256 *sha256, const void *data, size_t length);
int sha256_finish(struct sha256 *sha256, uint8_t ret[static SHA256_SIZE]);
void sha256_deinit(struct sha256 *sha256);

/* Compares secrets in a time that depends on their lengths only. */
bool secret_equal(struct str a, struct str b);
