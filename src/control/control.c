// SPDX-License-Identifier: Apache-2.0
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "apiserver/apiserver.h"
#include "base/arena.h"
#include "base/fd.h"
#include "base/log.h"
#include "client/client.h"
#include "client/config.h"
#include "cluster/cluster.h"
#include "control/host.h"
#include "control/mirror.h"
#include "control/pod_proxy.h"
#include "control/way.h"
#include "controller/controller.h"
#include "crypto/jwt.h"
#include "net/loop.h"
#include "net/tls.h"

enum { SECRET_LIMIT = 1024 * 1024, TOKENS_MAX = 64, GROUPS_MAX = 16 };

struct control {
        const struct control_config *config;
        uv_loop_t uv;
        struct net_loop *loop;
        uv_signal_t terminate;
        struct arena arena; /* tokens and PEM texts */
        struct tls_context *tls;
        struct jwt_key *key;
        struct pod_proxy *proxy; /* to the node */
        struct apiserver *server;
        struct kube_config kubeconfig;
        struct kube_client *client;
        struct controller_host *host;
        struct mirror *mirror;
        struct sandbox_controllers *sandboxes;
        struct cluster_controllers *cluster;
        struct buffer certificate, private_key, authority;
        int failure; /* what the store said; ends the process */
};

/* ---- what bootstrap left ---- */

static int read_secret(int folder, const char *name, struct buffer *out, struct error *error)
{
        int r = file_read(folder, name, SECRET_LIMIT, out);

        return r < 0 ? error_set(error, r, "cannot read %s: %s", name, strerror(-r)) : 0;
}

static int read_token(struct control *control, struct json_value entry,
                      struct apiserver_token *ret_token)
{
        struct json_value groups = json_get(entry, "groups");
        struct str *names = arena_new(&control->arena, struct str, GROUPS_MAX);
        size_t count = 0;

        if (!names)
                return -ENOMEM;
        json_for_each (group, groups) {
                if (count == GROUPS_MAX)
                        return -E2BIG;
                names[count++] = arena_str(&control->arena, json_string(group.value));
        }
        *ret_token = (struct apiserver_token){
                .token = arena_str(&control->arena, json_string(json_get(entry, "token"))),
                .user = arena_str(&control->arena, json_string(json_get(entry, "user"))),
                .groups = names,
                .group_count = count,
        };
        return ret_token->token.length > 0 && ret_token->user.length > 0 ? 0 : -EBADMSG;
}

static int read_tokens(struct control *control, int folder, struct apiserver_token *tokens,
                       size_t *ret_count, struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        size_t count = 0;

        int r = read_secret(folder, "tokens.json", &text, error);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, error, &doc);
        if (r < 0)
                return r;
        json_for_each (entry, json_root(doc)) {
                r = count == TOKENS_MAX ? -E2BIG : read_token(control, entry.value, &tokens[count]);
                if (r < 0)
                        return error_set(error, r, "tokens.json is damaged: start cay up again");
                count++;
        }
        *ret_count = count;
        return 0;
}

/* ---- the API ---- */

static void on_store_failed(void *user, int reason)
{
        struct control *control = user;

        log_error("the store failed (%s): what is on disk is not known, starting anew",
                  strerror(-reason));
        control->failure = reason;
        uv_stop(&control->uv);
}

static void on_pod_stream(void *user, struct http_exchange *exchange,
                          const struct apiserver_pod_request *request)
{
        struct control *control = user;

        pod_proxy_pass(control->proxy, exchange, request);
}

static bool is_ready(void *user, char why[static 128])
{
        char whole[256] = "";
        struct control *control = user;

        if (!control->host) {
                snprintf(why, 128, "controllers are not started yet");
                return false;
        }
        bool synced = controller_host_is_synced(control->host, whole);
        snprintf(why, 128, "%.127s", whole);
        return synced;
}

static int start_server(struct control *control, int folder, struct error *error)
{
        struct apiserver_token tokens[TOKENS_MAX];
        size_t token_count = 0;

        int r = read_tokens(control, folder, tokens, &token_count, error);
        if (r == 0)
                r = read_secret(folder, "tls.crt", &control->certificate, error);
        if (r == 0)
                r = read_secret(folder, "tls.key", &control->private_key, error);
        if (r == 0)
                r = read_secret(folder, "ca.crt", &control->authority, error);
        if (r == 0)
                r = jwt_key_load_or_create(folder, "service-account.key", error, &control->key);
        if (r < 0)
                return r;
        const struct tls_server_options tls = {
                .certificate = buffer_str(&control->certificate),
                .key = buffer_str(&control->private_key),
                .client_ca = buffer_str(&control->authority),
                .client_certificate = TLS_CLIENT_OPTIONAL,
                .http2 = true,
        };
        r = tls_server_new(&tls, error, &control->tls);
        if (r < 0)
                return r;

        const struct jwt_key *const keys[] = { control->key };
        char store[PATH_MAX];
        snprintf(store, sizeof(store), "%s/state", control->config->data);
        const struct apiserver_config config = {
                .loop = control->loop,
                .data_directory = store,
                .tokens = tokens,
                .token_count = token_count,
                .jwt_keys = keys,
                .jwt_key_count = ARRAY_SIZE(keys),
                .ca_certificate = buffer_str(&control->authority),
                .pod_stream = control->proxy ? on_pod_stream : NULL,
                .ready = is_ready,
                .failed = on_store_failed,
                .user = control,
        };
        r = apiserver_new(&config, error, &control->server);
        if (r < 0)
                return r;
        struct stream_filter *filter = tls_context_filter(control->tls);
        r = apiserver_adopt(control->server, control->config->socket, filter, error, NULL);
        if (r == 0 && control->config->pods_socket >= 0)
                r = apiserver_adopt(control->server, control->config->pods_socket, filter, error,
                                    NULL);
        return r;
}

/* ---- the controllers ---- */

static int setup_controllers(void *user, struct controllers *set)
{
        struct control *control = user;
        /* A plan is one piece of work for the loop here. */
        const struct sandbox_options options = { .pool_batch = 16, .pool_coming = 128 };
        const struct cluster_options cluster = {
                .ca_certificate = buffer_str(&control->authority),
        };
        int r = sandbox_controllers_new(set, &options, &control->sandboxes);

        return r < 0 ? r : cluster_controllers_new(set, &cluster, &control->cluster);
}

static void tell_ready(void *user)
{
        struct control *control = user;

        if (control->config->ready < 0)
                return;
        int r = fd_write_full(control->config->ready, "c", 1);
        if (r < 0 && r != -EPIPE) /* nobody waits any more after a restart */
                log_warning("cannot tell that the API serves: %s", strerror(-r));
}

static void on_synced(void *user)
{
        struct control *control = user;
        const struct mirror_options options = {
                .loop = control->loop,
                .server = control->server,
                .node_name = str_from(control->config->node_name),
                .address = str_from(control->config->host_address),
                .done = tell_ready,
                .user = control,
        };
        int r = mirror_new(&options, &control->mirror);

        if (r < 0)
                log_error("cannot show the built-in parts: %s", strerror(-r));
}

static int start_controllers(struct control *control, struct error *error)
{
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/kubeconfig", control->config->data);
        int r = kube_config_load(path, STR_EMPTY, error, &control->kubeconfig);
        if (r < 0)
                return r;
        const struct kube_client_options client = {
                .loop = control->loop,
                .config = &control->kubeconfig,
                .user_agent = STR("cay-controller"),
        };
        r = kube_client_new(&client, error, &control->client);
        if (r < 0)
                return r;
        const struct controller_host_options host = {
                .loop = control->loop,
                .way = control->config->wire ? &controller_way_wire : &controller_way_local,
                .client = control->client,
                .server = control->server,
                .setup = setup_controllers,
                .kinds = kinds_known,
                .on_synced = on_synced,
                .user = control,
        };
        return controller_host_new(&host, error, &control->host);
}

/* ---- the process ---- */

static void on_terminate(uv_signal_t *signal, int number)
{
        (void)number;
        uv_stop(signal->loop);
}

static int begin(struct control *control, struct error *error)
{
        _cleanup_close_ int folder =
                open(control->config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (folder < 0)
                return error_set(error, -errno, "cannot open %s: %s", control->config->data,
                                 strerror(errno));
        int r = uv_loop_init(&control->uv);
        if (r == 0)
                r = net_loop_new(&control->uv, &control->loop);
        if (r == 0)
                r = uv_signal_init(&control->uv, &control->terminate);
        if (r == 0)
                r = uv_signal_start(&control->terminate, on_terminate, SIGTERM);
        if (r < 0)
                return error_set(error, r, "cannot make an event loop: %s", strerror(-r));
        if (control->config->node_socket)
                r = pod_proxy_new(control->loop, control->config->node_socket, &control->proxy);
        if (r < 0)
                return error_set(error, r, "cannot reach %s: %s", control->config->node_socket,
                                 strerror(-r));
        r = start_server(control, folder, error);
        return r < 0 ? r : start_controllers(control, error);
}

static void end(struct control *control)
{
        controller_host_free(control->host);
        mirror_free(control->mirror);
        if (control->sandboxes)
                sandbox_controllers_free(control->sandboxes);
        if (control->cluster)
                cluster_controllers_free(control->cluster);
        if (control->client)
                kube_client_free(control->client);
        pod_proxy_free(control->proxy);
        if (control->server)
                apiserver_free(control->server);
        if (control->tls)
                tls_context_free(control->tls);
        if (control->key)
                jwt_key_free(control->key);
        uv_close((uv_handle_t *)&control->terminate, NULL);
        uv_run(&control->uv, UV_RUN_NOWAIT);
        kube_config_deinit(&control->kubeconfig);
        buffer_deinit(&control->certificate);
        buffer_deinit(&control->private_key);
        buffer_deinit(&control->authority);
        arena_deinit(&control->arena);
}

int control_parse_controllers(const char *text, bool *ret_wire, struct error *error)
{
        bool wire = strcmp(text, "wire") == 0;

        if (!wire && strcmp(text, "in-process") != 0)
                return error_set(error, -EINVAL, "--controllers takes in-process or wire, not '%s'",
                                 text);
        *ret_wire = wire;
        return 0;
}

int control_run(const struct control_config *config, struct error *error)
{
        struct control control = { .config = config };

        signal(SIGPIPE, SIG_IGN);
        fd_raise_limit();
        int r = begin(&control, error);
        if (r < 0)
                return r;
        uv_run(&control.uv, UV_RUN_DEFAULT);
        if (control.failure < 0)
                return error_set(error, control.failure, "the store failed: %s",
                                 strerror(-control.failure));
        end(&control);
        return 0;
}
