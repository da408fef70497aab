// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/str.h"

/* The two alphabets of RFC 4648, each with and without "=" at the end. */
enum base64_form {
        BASE64_STANDARD,
        BASE64_STANDARD_UNPADDED,
        BASE64_URL,
        BASE64_URL_UNPADDED, /* JWT (RFC 7515), Kubernetes' WebSocket bearer tokens */
};

/* Appends the encoded bytes. Returns 0, -ENOMEM or -EOVERFLOW. */
int base64_append(struct buffer *out, enum base64_form form, const void *data, size_t length);

/*
 * Appends the decoded bytes. Strict: no blanks, padding exactly as the form says, unused bits
 * zero, so that every byte string has one encoding only. On failure `out` is as it was.
 * Returns 0, -EBADMSG, -ENOMEM or -EOVERFLOW.
 */
int base64_decode(struct buffer *out, enum base64_form form, struct str text);

/* Appends lower-case hexadecimal digits. */
int hex_append(struct buffer *out, const void *data, size_t length);

/* Appends the bytes of an even number of hexadecimal digits of either case. Errors as above. */
int hex_decode(struct buffer *out, struct str text);
