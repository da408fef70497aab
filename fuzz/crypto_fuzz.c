// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "crypto/certificate.h"
#include "crypto/encode.h"
#include "crypto/jwt.h"
#include "crypto/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes encodes to the very same text again: there is one spelling only. */
static void decode(struct str text)
{
        for (int form = BASE64_STANDARD; form <= BASE64_URL_UNPADDED; form++) {
                _cleanup_buffer_ struct buffer bytes = {}, again = {};
                if (base64_decode(&bytes, (enum base64_form)form, text) < 0)
                        continue;
                if (base64_append(&again, (enum base64_form)form, bytes.data, bytes.length) < 0 ||
                    !str_equal(buffer_str(&again), text))
                        abort();
        }
        _cleanup_buffer_ struct buffer hex = {};
        hex_decode(&hex, text);
}

/* The input as a token, and as the payload and signature behind a header that is ours. */
static void verify(struct str text)
{
        static struct jwt_key *key;
        static struct buffer head;

        if (!key) {
                if (jwt_key_make(&key) < 0 || jwt_sign(key, STR("{}"), &head) < 0)
                        abort();
                head.length = (size_t)((char *)memchr(head.data, '.', head.length) - head.data) + 1;
        }
        const struct jwt_key *keys[] = { key };
        _cleanup_buffer_ struct buffer claims = {}, token = {};
        if (jwt_verify(keys, 1, text, &claims) == 0)
                abort();
        if (buffer_append_str(&token, buffer_str(&head)) < 0 || buffer_append_str(&token, text) < 0)
                return;
        if (jwt_verify(keys, 1, buffer_str(&token), &claims) == 0 || claims.length > 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str text = { (const char *)data, size };
        struct evp_pkey_st *key = NULL;
        uint64_t end;

        decode(text);
        verify(text);
        certificate_not_after(text, &end);
        if (key_from_pem(text, &key) == 0)
                key_unref(key);
        return 0;
}
