// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/apiserver.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/emptying.h"
#include "apiserver/internal_call.h"
#include "apiserver/lag.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "builtin/builtin.h"
#include "kube/protobuf.h"
#include "net/http2.h"

static bool copy(struct arena *arena, struct str *s)
{
        if (s->length == 0)
                return true;
        *s = arena_str(arena, *s);
        return s->data != NULL;
}

static int copy_tokens(struct apiserver *server)
{
        const struct apiserver_config *config = &server->config;
        struct apiserver_token *tokens =
                arena_new(&server->memory, struct apiserver_token, config->token_count);

        if (!tokens)
                return -ENOMEM;
        for (size_t i = 0; i < config->token_count; i++) {
                const struct apiserver_token *from = &config->tokens[i];
                struct str *groups = arena_new(&server->memory, struct str, from->group_count);
                if (!groups)
                        return -ENOMEM;
                tokens[i] = *from;
                tokens[i].groups = groups;
                if (!copy(&server->memory, &tokens[i].token) ||
                    !copy(&server->memory, &tokens[i].user))
                        return -ENOMEM;
                for (size_t j = 0; j < from->group_count; j++) {
                        groups[j] = from->groups[j];
                        if (!copy(&server->memory, &groups[j]))
                                return -ENOMEM;
                }
        }
        server->config.tokens = tokens;
        return 0;
}

static int copy_config(struct apiserver *server, const struct apiserver_config *config)
{
        const struct jwt_key **keys =
                arena_new(&server->memory, const struct jwt_key *, config->jwt_key_count);

        server->config = *config;
        if (!keys)
                return -ENOMEM;
        for (size_t i = 0; i < config->jwt_key_count; i++)
                keys[i] = config->jwt_keys[i];
        server->config.jwt_keys = keys;
        if (server->config.issuer.length == 0)
                server->config.issuer = STR("https://kubernetes.default.svc");
        if (server->config.build_version.length == 0)
                server->config.build_version = STR("0.1.0");
        if (!copy(&server->memory, &server->config.issuer) ||
            !copy(&server->memory, &server->config.ca_certificate) ||
            !copy(&server->memory, &server->config.build_version))
                return -ENOMEM;
        return copy_tokens(server);
}

static void on_storage_failed(void *user, int reason)
{
        struct apiserver *server = user;

        log_error("what is on disk is not known: %s", strerror(-reason));
        server->ready = false;
        if (server->config.failed)
                server->config.failed(server->config.user, reason);
}

static int open_storage(struct apiserver *server, struct error *error)
{
        struct storage_config config = {
                .loop = net_loop_uv(server->loop),
                .directory = server->config.data_directory,
                .vfs = server->config.data_vfs,
                .failed = on_storage_failed,
                .user = server,
        };
        int r = storage_open(&config, error, &server->storage);

        if (r < 0)
                return r;
        commit_hold_init(&server->hold, server->loop, server->storage);
        server->namespaces = storage_type(server->storage, STR_EMPTY, STR("namespaces"));
        server->pods = storage_type(server->storage, STR_EMPTY, STR("pods"));
        server->secrets = storage_type(server->storage, STR_EMPTY, STR("secrets"));
        server->service_accounts = storage_type(server->storage, STR_EMPTY, STR("serviceaccounts"));
        return server->namespaces && server->pods && server->secrets && server->service_accounts
                       ? 0
                       : -ENOMEM;
}

static int start(struct apiserver *server, struct error *error)
{
        struct http_server_options options = {
                .on_request = http_on_request,
                .user = server,
                .render_error = http_render_error,
                .http2 = &http2_protocol,
        };
        int r;

        r = open_storage(server, error);
        if (r == 0)
                r = protobuf_fields_new(builtin_core_protobuf(), STR_EMPTY,
                                        &server->protobuf_fields);
        if (r == 0)
                r = registry_new(server->storage, builtin_core_schema(), error, &server->registry);
        if (r == 0)
                r = token_cache_new(&server->tokens);
        if (r == 0)
                r = authorizer_new(server, &server->authorizer);
        if (r == 0)
                r = definitions_new(server, error, &server->crds);
        if (r == 0)
                r = http_server_new(server->loop, &options, &server->http);
        if (r == 0)
                r = lag_new(net_loop_uv(server->loop), &server->lag);
        if (r == 0)
                r = bootstrap_run(server, error);
        return r;
}

int apiserver_new(const struct apiserver_config *config, struct error *error,
                  struct apiserver **ret_server)
{
        struct apiserver *server = calloc(1, sizeof(*server));
        int r;

        if (!server)
                return -ENOMEM;
        list_init(&server->internal_calls);
        list_init(&server->openapi_docs);
        list_init(&server->emptyings);
        server->loop = config->loop;
        server->started_ns = clock_realtime_ns();
        r = copy_config(server, config);
        if (r == 0)
                r = start(server, error);
        if (r < 0) {
                apiserver_free(server);
                return error && error->code
                               ? r
                               : error_set(error, r, "cannot start the API: %s", strerror(-r));
        }
        *ret_server = server;
        return 0;
}

void apiserver_free(struct apiserver *server)
{
        if (!server)
                return;
        if (server->http)
                http_server_free(server->http);
        internal_calls_cancel(server);
        emptying_stop_all(server);
        bootstrap_stop(server);
        openapi_free(server);
        if (server->crds)
                definitions_free(server->crds);
        lag_close(server->lag);
        commit_hold_end(&server->hold);
        storage_close(server->storage);
        authorizer_free(server->authorizer);
        token_cache_free(server->tokens);
        registry_free(server->registry);
        protobuf_fields_free(server->protobuf_fields);
        arena_deinit(&server->memory);
        free(server);
}

int apiserver_listen(struct apiserver *server, const struct net_address *address,
                     struct stream_filter *filter, struct error *error,
                     struct listener **ret_listener)
{
        if (!filter && address->generic.sa_family != AF_UNIX && !net_address_is_loopback(address))
                return error_set(error, -EPERM, "without TLS only loopback addresses are served");
        return http_server_listen(server->http, address, filter, 0, error, ret_listener);
}

int apiserver_adopt(struct apiserver *server, int fd, struct stream_filter *filter,
                    struct error *error, struct listener **ret_listener)
{
        return http_server_adopt(server->http, fd, filter, 0, error, ret_listener);
}

struct storage *apiserver_storage(struct apiserver *server)
{
        return server->storage;
}
