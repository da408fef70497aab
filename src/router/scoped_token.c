// SPDX-License-Identifier: Apache-2.0
#include "router/scoped_token.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "crypto/digest.h"
#include "crypto/encode.h"
#include "json/json.h"

#define CONTEXT "agent-sandbox/scoped-token/v1."

static bool is_space(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

int scoped_token_key_read(const char *path, struct error *error, struct buffer *ret_key)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        char text[SCOPED_TOKEN_KEY_MAX + 1];
        size_t begin = 0, end;
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0)
                return error_set(error, -errno, "Cannot read %s: %s.", path, strerror(errno));
        if (!S_ISREG(status.st_mode))
                return error_set(error, -EINVAL, "%s is no file with a key.", path);
        if (status.st_mode & S_IROTH)
                return error_set(error, -EACCES,
                                 "Everybody may read the key %s (mode %04o): take that right away "
                                 "(a Secret's volume: defaultMode 0440).",
                                 path, (unsigned)(status.st_mode & 07777));
        int r = fd_read_full(fd, text, sizeof(text), &end);
        if (r < 0)
                return error_set(error, r, "Cannot read %s: %s.", path, strerror(-r));
        if (end > SCOPED_TOKEN_KEY_MAX)
                return error_set(error, -EFBIG, "The key %s is longer than %d bytes.", path,
                                 SCOPED_TOKEN_KEY_MAX);
        while (begin < end && is_space(text[begin]))
                begin++;
        while (end > begin && is_space(text[end - 1]))
                end--;
        if (end - begin < SCOPED_TOKEN_KEY_MIN)
                r = error_set(error, -EINVAL,
                              "The key %s has %zu bytes without white space: it must have %d.",
                              path, end - begin, SCOPED_TOKEN_KEY_MIN);
        else if (buffer_append(ret_key, text + begin, end - begin) < 0)
                r = error_set(error, -ENOMEM, "Out of memory.");
        explicit_bzero(text, sizeof(text));
        return r;
}

static int read_claims(struct str text, uint64_t now_s, struct arena *arena,
                       struct scoped_claims *ret_claims)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        int64_t expires;

        int r = json_doc_parse(text, NULL, NULL, NULL, &doc);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        struct json_value root = json_root(doc);
        struct scoped_claims claims = { json_string(json_get(root, "ns")),
                                        json_string(json_get(root, "name")) };
        if (json_type(root) != JSON_OBJECT || claims.name_space.length == 0 ||
            claims.name.length == 0 || json_int64(json_get(root, "exp"), &expires) < 0)
                return -EBADMSG;
        if (expires < 0 || now_s >= (uint64_t)expires)
                return -EKEYEXPIRED;
        claims.name_space = arena_str(arena, claims.name_space);
        claims.name = arena_str(arena, claims.name);
        if (!claims.name_space.data || !claims.name.data)
                return -ENOMEM;
        *ret_claims = claims;
        return 0;
}

int scoped_token_verify(struct str key, struct str token, uint64_t now_s, struct arena *arena,
                        struct scoped_claims *ret_claims)
{
        _cleanup_buffer_ struct buffer given = {}, signed_text = {}, claims = {};
        struct str version, payload, signature;
        uint8_t wanted[SHA256_SIZE];

        if (token.length > SCOPED_TOKEN_MAX || !str_cut(token, '.', &version, &payload) ||
            !str_equal(version, STR("v1")) || !str_cut(payload, '.', &payload, &signature))
                return -EBADMSG;
        int r = base64_decode(&given, BASE64_URL_UNPADDED, signature);
        if (r == 0)
                r = buffer_append_str(&signed_text, STR(CONTEXT));
        if (r == 0)
                r = buffer_append_str(&signed_text, payload);
        if (r == 0)
                r = digest_hmac_sha256(key, buffer_str(&signed_text), wanted);
        if (r < 0)
                return r;
        /* Before anything of what it says is looked at. */
        if (!secret_equal(buffer_str(&given), (struct str){ (char *)wanted, sizeof(wanted) }))
                return -EKEYREJECTED;
        r = base64_decode(&claims, BASE64_URL_UNPADDED, payload);
        return r < 0 ? r : read_claims(buffer_str(&claims), now_s, arena, ret_claims);
}
