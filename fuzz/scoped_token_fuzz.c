// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/encode.h"
#include "router/scoped_token.h"

/*
 * The input as a token: nobody without the key makes one. And as the claims of one that was signed:
 * what is accepted names a sandbox and has not ended.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1000 };

#define KEY STR("0123456789abcdef0123456789abcdef")

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_claims(struct str claims)
{
        _cleanup_buffer_ struct buffer payload = {}, text = {};
        _cleanup_arena_ struct arena arena = {};
        struct scoped_claims read = {};
        uint8_t mac[SHA256_SIZE];

        check(base64_append(&payload, BASE64_URL_UNPADDED, claims.data, claims.length) == 0);
        check(buffer_append_str(&text, STR("agent-sandbox/scoped-token/v1.")) == 0 &&
              buffer_append_str(&text, buffer_str(&payload)) == 0 &&
              digest_hmac_sha256(KEY, buffer_str(&text), mac) == 0);
        buffer_clear(&text);
        check(buffer_append_str(&text, STR("v1.")) == 0 &&
              buffer_append_str(&text, buffer_str(&payload)) == 0 &&
              buffer_append_char(&text, '.') == 0 &&
              base64_append(&text, BASE64_URL_UNPADDED, mac, sizeof(mac)) == 0);
        int r = scoped_token_verify(KEY, buffer_str(&text), NOW, &arena, &read);
        check(r == 0 || r == -EBADMSG || r == -EKEYEXPIRED);
        if (r == 0) {
                check(read.name_space.length > 0 && read.name.length > 0);
                check(scoped_token_verify(KEY, buffer_str(&text), UINT64_MAX, &arena, &read) ==
                      -EKEYEXPIRED);
        }
        /* The same text is nothing under another key. */
        if (text.length <= SCOPED_TOKEN_MAX)
                check(scoped_token_verify(STR("x"), buffer_str(&text), NOW, &arena, &read) ==
                      -EKEYREJECTED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena arena = {};
        struct scoped_claims claims;
        struct str text = { (const char *)data, size };

        int r = scoped_token_verify(KEY, text, NOW, &arena, &claims);
        check(r == -EBADMSG || r == -EKEYREJECTED);
        check_claims(text);
        return 0;
}
