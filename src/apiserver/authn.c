// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "crypto/digest.h"
#include "crypto/jwt.h"

/*
 * Who sends a request: client certificates, tokens known from the start, ServiceAccount tokens.
 * Wrong credentials are refused; none at all are system:anonymous.
 */

enum { CACHED_TOKENS = 256 };

/* A ServiceAccount token whose signature was verified: that takes as long as a whole read. */
struct cached_token {
        char *token;
        size_t length;
        struct json_doc *claims;
};

struct token_cache {
        struct cached_token slots[CACHED_TOKENS];
};

int token_cache_new(struct token_cache **ret_cache)
{
        *ret_cache = calloc(1, sizeof(**ret_cache));
        return *ret_cache ? 0 : -ENOMEM;
}

static void slot_clear(struct cached_token *slot)
{
        free(slot->token);
        if (slot->claims)
                json_doc_unref(slot->claims);
        *slot = (struct cached_token){};
}

void token_cache_free(struct token_cache *cache)
{
        if (!cache)
                return;
        for (size_t i = 0; i < CACHED_TOKENS; i++)
                slot_clear(&cache->slots[i]);
        free(cache);
}

/* The token's claims, if we signed it; owned by the caller. */
static int verify(struct apiserver *server, struct str token, struct json_doc **ret_claims)
{
        struct cached_token *slot = &server->tokens->slots[str_fnv1a(token) % CACHED_TOKENS];
        _cleanup_buffer_ struct buffer text = {};
        struct json_doc *claims;
        int r;

        if (slot->token && secret_equal((struct str){ slot->token, slot->length }, token)) {
                *ret_claims = json_doc_ref(slot->claims);
                return 0;
        }
        r = jwt_verify(server->config.jwt_keys, server->config.jwt_key_count, token, &text);
        if (r < 0)
                return r;
        r = json_doc_parse(buffer_str(&text), NULL, NULL, NULL, &claims);
        if (r < 0)
                return r;
        slot_clear(slot);
        slot->token = str_dup(token);
        if (slot->token) {
                slot->length = token.length;
                slot->claims = json_doc_ref(claims);
        }
        *ret_claims = claims;
        return 0;
}

static bool has_audience(struct json_value claims, struct str audience)
{
        struct json_value list = json_get(claims, "aud");

        if (json_type(list) == JSON_STRING)
                return json_string_is(list, audience);
        json_for_each (it, list) {
                if (json_string_is(it.value, audience))
                        return true;
        }
        return false;
}

/* Whether what the token is bound to still is there, with the uid that it had. */
static bool is_alive(const struct storage_type *type, struct str name_space,
                     struct json_value reference)
{
        struct json_doc *doc =
                storage_get(type, name_space, json_string(json_get(reference, "name")));

        return doc && str_equal(json_string(json_get(json_root(doc), "metadata", "uid")),
                                json_string(json_get(reference, "uid")));
}

static int account_user(struct arena *arena, struct str name_space, struct json_value account,
                        struct json_value pod, struct api_user *ret_user)
{
        struct str *groups = arena_new(arena, struct str, 3);
        struct api_user user = {};

        if (!groups)
                return -ENOMEM;
        user.name = arena_printf(arena, "system:serviceaccount:%.*s:%.*s", STR_FORMAT(name_space),
                                 STR_FORMAT(json_string(json_get(account, "name"))));
        user.uid = arena_str(arena, json_string(json_get(account, "uid")));
        groups[0] = STR("system:serviceaccounts");
        groups[1] = arena_printf(arena, "system:serviceaccounts:%.*s", STR_FORMAT(name_space));
        groups[2] = STR("system:authenticated");
        user.groups = groups;
        user.group_count = 3;
        if (json_exists(pod)) {
                user.pod_name = arena_str(arena, json_string(json_get(pod, "name")));
                user.pod_uid = arena_str(arena, json_string(json_get(pod, "uid")));
        }
        if (!user.name.data || !user.uid.data || !groups[1].data)
                return -ENOMEM;
        *ret_user = user;
        return 0;
}

static int authenticate_account(struct apiserver *server, struct str token, struct str audience,
                                struct arena *arena, struct api_user *ret_user)
{
        _cleanup_doc_ struct json_doc *claims = NULL;
        struct json_value root, bound, account, pod, secret;
        struct str name_space;
        int64_t now = (int64_t)(clock_realtime_ns() / NS_PER_SECOND);
        int r = verify(server, token, &claims);

        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return -EACCES;
        root = json_root(claims);
        bound = json_get(root, "kubernetes.io");
        name_space = json_string(json_get(bound, "namespace"));
        account = json_get(bound, "serviceaccount");
        pod = json_get(bound, "pod");
        secret = json_get(bound, "secret");
        if (!json_string_is(json_get(root, "iss"), server->config.issuer) ||
            !has_audience(root, audience) || json_int64_or(json_get(root, "exp"), 0) <= now ||
            json_int64_or(json_get(root, "nbf"), 0) > now + 60)
                return -EACCES;
        if (!is_alive(server->service_accounts, name_space, account) ||
            (json_exists(pod) && !is_alive(server->pods, name_space, pod)) ||
            (json_exists(secret) && !is_alive(server->secrets, name_space, secret)))
                return -EACCES;
        return account_user(arena, name_space, account, pod, ret_user);
}

/* A user with the groups given and, unless anonymous, system:authenticated. */
static int set_user(struct arena *arena, struct str name, const struct str *groups, size_t count,
                    struct api_user *ret_user)
{
        struct str *all = arena_new(arena, struct str, count + 1);

        if (!all)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++)
                all[i] = groups[i];
        all[count] = STR("system:authenticated");
        *ret_user = (struct api_user){ .name = name, .groups = all, .group_count = count + 1 };
        return 0;
}

int authenticate_token(struct apiserver *server, struct str token, struct str audience,
                       struct arena *arena, struct api_user *ret_user)
{
        const struct apiserver_token *found = NULL;

        for (size_t i = 0; i < server->config.token_count; i++) {
                if (secret_equal(server->config.tokens[i].token, token))
                        found = &server->config.tokens[i];
        }
        if (found)
                return set_user(arena, found->user, found->groups, found->group_count, ret_user);
        if (server->config.jwt_key_count == 0)
                return -EACCES;
        return authenticate_account(server, token, audience, arena, ret_user);
}

bool api_user_is_in(const struct api_user *user, struct str group)
{
        for (size_t i = 0; i < user->group_count; i++) {
                if (str_equal(user->groups[i], group))
                        return true;
        }
        return false;
}

static int set_anonymous(struct api_call *call)
{
        static const struct str groups[] = { STR("system:unauthenticated") };

        call->user = (struct api_user){ .name = STR("system:anonymous"),
                                        .groups = groups,
                                        .group_count = 1 };
        return 0;
}

/* ---- impersonation ---- */

static bool may_impersonate(struct api_call *call, struct str resource, struct str name,
                            struct str name_space)
{
        struct authorization what = {
                .user = &call->user,
                .verb = STR("impersonate"),
                .resource = resource,
                .name = name,
                .name_space = name_space,
        };

        return authorize(call->server, &what);
}

static bool may_be_user(struct api_call *call, struct str name)
{
        struct str prefix = STR("system:serviceaccount:"), rest, name_space;

        if (!str_starts_with(name, prefix))
                return may_impersonate(call, STR("users"), name, STR_EMPTY);
        rest = str_slice(name, prefix.length, name.length);
        str_cut(rest, ':', &name_space, &rest);
        return may_impersonate(call, STR("serviceaccounts"), rest, name_space);
}

/* Impersonate-User and Impersonate-Group: who may, is somebody else from here on. */
static int impersonate(struct api_call *call, const struct http_headers *headers)
{
        struct str name = http_headers_get(headers, STR("Impersonate-User"));
        size_t count = http_headers_count(headers, STR("Impersonate-Group")), next = 0;
        struct api_user user = {};
        struct str *groups;

        if (!name.data)
                return count > 0 ? -EACCES : 0;
        if (!may_be_user(call, name))
                return -EPERM;
        groups = arena_new(call->arena, struct str, count + 3);
        if (!groups)
                return -ENOMEM;
        for (size_t i = 0; i < headers->count; i++) {
                if (!str_equal_ignoring_case(headers->items[i].name, STR("Impersonate-Group")))
                        continue;
                if (!may_impersonate(call, STR("groups"), headers->items[i].value, STR_EMPTY))
                        return -EPERM;
                groups[next++] = headers->items[i].value;
        }
        if (count == 0 && str_starts_with(name, STR("system:serviceaccount:"))) {
                struct str rest = str_slice(name, 22, name.length), name_space;
                str_cut(rest, ':', &name_space, &rest);
                groups[next++] = STR("system:serviceaccounts");
                groups[next++] = arena_printf(call->arena, "system:serviceaccounts:%.*s",
                                              STR_FORMAT(name_space));
        }
        user.name = name;
        groups[next++] = str_equal(name, STR("system:anonymous")) ? STR("system:unauthenticated")
                                                                  : STR("system:authenticated");
        user.groups = groups;
        user.group_count = next;
        call->user = user;
        return 0;
}

/* ---- requests ---- */

static int authenticate_request(struct api_call *call, const struct http_headers *headers)
{
        struct str authorization = http_headers_get(headers, STR("Authorization"));
        const struct stream_peer *peer = stream_peer(call->exchange->connection);
        struct str scheme, token;

        if (authorization.data) {
                str_cut(authorization, ' ', &scheme, &token);
                token = str_trim(token);
                if (str_equal_ignoring_case(scheme, STR("Bearer")) && token.length > 0)
                        return authenticate_token(call->server, token, call->server->config.issuer,
                                                  call->arena, &call->user);
                return -EACCES;
        }
        if (peer && peer->has_certificate)
                return set_user(call->arena, peer->common_name, peer->organizations,
                                peer->organization_count, &call->user);
        return set_anonymous(call);
}

int authenticate(struct api_call *call)
{
        const struct http_headers *headers = &call->exchange->request.headers;
        int r = authenticate_request(call, headers);

        return r < 0 ? r : impersonate(call, headers);
}
