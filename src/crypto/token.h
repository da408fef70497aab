// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"

enum { TOKEN_SIZE = 44 }; /* with NUL */

/* A bearer token: 256 random bits as unpadded base64url, NUL-terminated. */
void token_make(char text[static TOKEN_SIZE]);

/*
 * Appends the token in the file `path` under `directory`, made with mode 0600 when absent. A
 * file that holds no bearer token of 16 to 4096 characters (RFC 6750) is an error.
 */
int token_load_or_create(int directory, const char *path, struct error *error,
                         struct buffer *token);
