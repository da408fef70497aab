// SPDX-License-Identifier: Apache-2.0
#include "json/pointer.h"

#include <errno.h>

#include "json/edit.h"
#include "json/index.h"

static int decode_token(struct str raw, char *out, size_t *ret_length)
{
        size_t length = 0;

        for (size_t i = 0; i < raw.length; i++) {
                char c = raw.data[i];
                if (c == '~') {
                        if (++i == raw.length || (raw.data[i] != '0' && raw.data[i] != '1'))
                                return -EINVAL;
                        c = raw.data[i] == '0' ? '~' : '/';
                }
                out[length++] = c;
        }
        *ret_length = length;
        return 0;
}

int json_pointer_next(struct str *rest, struct arena *arena, struct str *ret_token)
{
        struct str token;
        size_t length;

        if (rest->length == 0)
                return 0;
        if (rest->data[0] != '/')
                return -EINVAL;
        const char *end = memchr(rest->data + 1, '/', rest->length - 1);
        size_t next = end ? (size_t)(end - rest->data) : rest->length;
        token = str_slice(*rest, 1, next);
        *rest = str_slice(*rest, next, rest->length);
        if (arena && token.length > 0 && memchr(token.data, '~', token.length)) {
                char *decoded = arena_alloc(arena, token.length);
                if (!decoded)
                        return -ENOMEM;
                int r = decode_token(token, decoded, &length);
                if (r < 0)
                        return r;
                token = (struct str){ decoded, length };
        }
        *ret_token = token;
        return 1;
}

bool json_pointer_index(struct str token, size_t *ret_index)
{
        uint64_t index;

        if ((token.length > 1 && token.data[0] == '0') ||
            str_to_u64(token, JSON_SIZE_MAX, &index) < 0)
                return false;
        *ret_index = (size_t)index;
        return true;
}

size_t json_pointer_depth(struct str pointer)
{
        size_t depth = 0;

        for (size_t i = 0; i < pointer.length; i++)
                depth += pointer.data[i] == '/';
        return depth;
}

const char *json_pointer_escape(struct arena *arena, struct str key)
{
        char *escaped = arena_alloc(arena, key.length * 2 + 1);
        size_t length = 0;

        if (!escaped)
                return NULL;
        for (size_t i = 0; i < key.length; i++) {
                if (key.data[i] == '~' || key.data[i] == '/') {
                        escaped[length++] = '~';
                        escaped[length++] = key.data[i] == '~' ? '0' : '1';
                } else {
                        escaped[length++] = key.data[i];
                }
        }
        return escaped;
}

/* Whether the token, which may have escapes, is this key. */
static bool token_is(struct str token, struct str key)
{
        size_t at = 0;

        for (size_t i = 0; i < token.length; i++, at++) {
                char c = token.data[i];
                if (c == '~') {
                        if (++i == token.length)
                                return false;
                        c = token.data[i] == '0' ? '~' : token.data[i] == '1' ? '/' : '\0';
                }
                if (at == key.length || key.data[at] != c)
                        return false;
        }
        return at == key.length;
}

struct json_value json_pointer_get(struct json_value root, struct str pointer)
{
        struct json_value value = root, none = {};
        struct str token;
        size_t index;
        int r;

        while ((r = json_pointer_next(&pointer, NULL, &token)) > 0) {
                struct json_value found = none;
                if (json_type(value) == JSON_ARRAY) {
                        if (json_pointer_index(token, &index))
                                found = json_element(value, index);
                } else if (!memchr(token.data, '~', token.length)) {
                        found = json_member(value, token);
                } else {
                        json_for_each (it, value)
                                if (token_is(token, it.key))
                                        found = it.value;
                }
                value = found;
                if (!json_exists(value))
                        return none;
        }
        return r < 0 ? none : value;
}
