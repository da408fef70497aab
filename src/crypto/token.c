// SPDX-License-Identifier: Apache-2.0
#include "crypto/token.h"

#include <ctype.h>
#include <errno.h>

#include "base/fd.h"
#include "base/random.h"

enum { TOKEN_SHORTEST = 16, TOKEN_LONGEST = 4096 };

void token_make(char text[static TOKEN_SIZE])
{
        static const char letters[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        uint8_t random[TOKEN_SIZE - 1];

        /* Six random bits a letter; 43 letters hold more than 256. */
        random_bytes(random, sizeof(random));
        for (size_t i = 0; i < sizeof(random); i++)
                text[i] = letters[random[i] & 0x3f];
        text[sizeof(random)] = '\0';
}

static bool is_token(struct str text)
{
        if (text.length < TOKEN_SHORTEST || text.length > TOKEN_LONGEST)
                return false;
        for (size_t i = 0; i < text.length; i++)
                if (!isalnum((unsigned char)text.data[i]) && !memchr("-._~+/=", text.data[i], 7))
                        return false;
        return true;
}

int token_load_or_create(int directory, const char *path, struct error *error, struct buffer *token)
{
        _cleanup_buffer_ struct buffer contents = {};
        int r = file_read(directory, path, TOKEN_LONGEST + 1, &contents);

        if (r == -ENOENT) {
                char made[TOKEN_SIZE];
                token_make(made);
                r = buffer_printf(&contents, "%s\n", made);
                if (r == 0)
                        r = file_write_atomic(directory, path, buffer_str(&contents), 0600);
                if (r < 0)
                        return error_prefix(error, r, "cannot write the token %s", path);
        } else if (r < 0) {
                return error_prefix(error, r, "cannot read the token %s", path);
        }

        struct str text = buffer_str(&contents);
        if (str_ends_with(text, STR("\n")))
                text.length--;
        if (!is_token(text))
                return error_set(error, -EBADMSG, "%s holds no bearer token", path);
        return buffer_append_str(token, text);
}
