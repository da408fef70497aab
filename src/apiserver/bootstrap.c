// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/internal_call.h"
#include "apiserver/server.h"
#include "base/log.h"
#include "builtin/builtin.h"

/*
 * What every cluster has: namespaces, the built-in definitions, and the roles of Kubernetes and of
 * Cay's own parts. What is there already is left as it is, so that a user's change stays.
 */

struct bootstrap {
        struct apiserver *server;
        unsigned waiting;
        unsigned failed;
};

static void done(void *user, unsigned code, struct json_doc *doc)
{
        struct bootstrap *bootstrap = user;

        if (code >= 300 && code != 409) {
                struct str message =
                        doc ? json_string(json_get(json_root(doc), "message")) : STR_EMPTY;
                log_error("cannot make a built-in object: %u %.*s", code, STR_FORMAT(message));
                bootstrap->failed++;
        }
        bootstrap->waiting--;
}

static int create_doc(struct bootstrap *bootstrap, struct str group, struct str plural,
                      struct str name_space, struct json_doc *doc)
{
        struct internal_request request = {
                .verb = API_CREATE,
                .group = group,
                .plural = plural,
                .name_space = name_space,
                .manager = STR("cay-apiserver"),
                .body = doc,
                .done = done,
                .user = bootstrap,
        };
        const struct api_resource *resource =
                registry_find(bootstrap->server->registry, group, plural);
        struct str name = json_string(json_get(json_root(doc), "metadata", "name"));
        int r;

        /* Most starts find everything there. */
        if (storage_get(resource->storage, name_space, name))
                return 0;
        bootstrap->waiting++;
        r = internal_call_start(bootstrap->server, &request, NULL);
        if (r < 0)
                bootstrap->waiting--;
        return r;
}

static int create(struct bootstrap *bootstrap, struct str group, struct str plural,
                  struct str name_space, struct str text)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        int r = json_doc_parse(text, NULL, NULL, NULL, &doc);

        assert(r != -EBADMSG);
        return r < 0 ? r : create_doc(bootstrap, group, plural, name_space, doc);
}

static int create_namespaces(struct bootstrap *bootstrap)
{
        static const char *const names[] = { "default", "kube-system", "kube-public",
                                             "kube-node-lease", "agent-sandbox-system" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_buffer_ struct buffer text = {};
                int r = buffer_printf(&text,
                                      "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
                                      "\"metadata\":{\"name\":\"%s\"}}",
                                      names[i]);
                if (r == 0)
                        r = create(bootstrap, STR_EMPTY, STR("namespaces"), STR_EMPTY,
                                   buffer_str(&text));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int create_definitions(struct bootstrap *bootstrap)
{
        for (size_t i = 0; i < builtin_crd_count(); i++) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct json_options options = { .size_limit = 4 * 1024 * 1024 };
                int r = json_doc_parse(builtin_crd(i), &options, NULL, NULL, &doc);
                if (r == 0)
                        r = create_doc(bootstrap, STR("apiextensions.k8s.io"),
                                       STR("customresourcedefinitions"), STR_EMPTY, doc);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- roles ---- */

#define RULE(groups, resources, verbs)                                                             \
        "{\"apiGroups\":[" groups "],\"resources\":[" resources "],\"verbs\":[" verbs "]}"
#define URLS(urls, verbs) "{\"nonResourceURLs\":[" urls "],\"verbs\":[" verbs "]}"

#define READ       "\"get\",\"list\",\"watch\""
#define WRITE      "\"create\",\"delete\",\"deletecollection\",\"patch\",\"update\""
#define READ_WRITE READ "," WRITE

#define NAMESPACED_CORE                                                                            \
        "\"configmaps\",\"endpoints\",\"persistentvolumeclaims\",\"pods\",\"services\","           \
        "\"replicationcontrollers\",\"serviceaccounts\""
#define OURS      "\"agents.x-k8s.io\",\"extensions.agents.x-k8s.io\""
#define WORKLOADS "\"apps\",\"autoscaling\",\"policy\",\"networking.k8s.io\",\"discovery.k8s.io\""

#define VIEW_RULES                                                                                 \
        RULE("\"\"",                                                                               \
             NAMESPACED_CORE                                                                       \
             ",\"bindings\",\"events\",\"limitranges\",\"namespaces\",\"namespaces/status\","      \
             "\"persistentvolumeclaims/status\",\"pods/log\",\"pods/status\","                     \
             "\"resourcequotas\",\"resourcequotas/status\",\"services/status\"",                   \
             READ)                                                                                 \
        "," RULE(WORKLOADS, "\"*\"", READ) "," RULE("\"events.k8s.io\"", "\"events\"",             \
                                                    READ) "," RULE(OURS, "\"*\"", READ)

#define EDIT_RULES                                                                                                       \
        VIEW_RULES                                                                                                       \
        "," RULE(                                                                                                        \
                "\"\"",                                                                                                  \
                "\"pods/attach\",\"pods/exec\",\"pods/portforward\",\"pods/proxy\",\"secrets\","                         \
                "\"services/proxy\"",                                                                                    \
                READ) "," RULE("\"\"",                                                                                   \
                               NAMESPACED_CORE ",\"pods/attach\",\"pods/exec\",\"pods/"                                  \
                                               "portforward\",\"pods/proxy\",\"secrets\","                               \
                                               "\"pods/eviction\",\"services/"                                           \
                                               "proxy\",\"events\",\"serviceaccounts/token\"",                           \
                               WRITE) "," RULE("\"\"", "\"serviceaccounts\"",                                            \
                                               "\"impersonate\"") "," RULE("\"apps\","                                   \
                                                                           "\"autoscaling\","                            \
                                                                           "\"policy\","                                 \
                                                                           "\"networking.k8s."                           \
                                                                           "io\"",                                       \
                                                                           "\"*\"",                                      \
                                                                           WRITE) "," RULE("\"coo"                       \
                                                                                           "rdina"                       \
                                                                                           "tion."                       \
                                                                                           "k8s."                        \
                                                                                           "io\"",                       \
                                                                                           "\"lea"                       \
                                                                                           "ses"                         \
                                                                                           "\"",                         \
                                                                                           READ_WRITE) "," RULE(OURS,    \
                                                                                                                "\"*\"", \
                                                                                                                WRITE)

/* What a kubelet does (k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy). */
#define NODE_RULES                                                                                                                                                                                                                                            \
        RULE("\"\"",                                                                                                                                                                                                                                          \
             "\"nodes\",\"nodes/status\",\"pods\",\"services\",\"configmaps\",\"secrets\","                                                                                                                                                                   \
             "\"persistentvolumeclaims\",\"persistentvolumes\",\"namespaces\","                                                                                                                                                                               \
             "\"serviceaccounts\"",                                                                                                                                                                                                                           \
             READ)                                                                                                                                                                                                                                            \
        "," RULE("\"\"", "\"nodes\",\"nodes/status\",\"pods/status\"", "\"create\",\"patch\",\"update\"") "," RULE("\"\"", "\"pods\"", "\"create\",\"delete\"") "," RULE("\"\",\"events.k8s.io\"", "\"events\"", "\"create\",\"patch\",\"update\"") "," RULE( \
                "\"\"", "\"serviceaccounts/token\"",                                                                                                                                                                                                          \
                "\"create\"") "," RULE("\"coordination.k8s.io\"", "\"leases\"",                                                                                                                                                                               \
                                       READ_WRITE) "," RULE("\"node.k8s.io\",\"storage.k8s.io\","                                                                                                                                                             \
                                                            "\"discovery.k8s.io\",\"networking."                                                                                                                                                              \
                                                            "k8s.io\"",                                                                                                                                                                                       \
                                                            "\"*\"",                                                                                                                                                                                          \
                                                            READ) "," RULE("\"authentication.k8s."                                                                                                                                                            \
                                                                           "io\"",                                                                                                                                                                            \
                                                                           "\"tokenreviews\"",                                                                                                                                                                \
                                                                           "\"create\"") "," RULE("\"authorization.k8s.io\"",                                                                                                                                 \
                                                                                                  "\"localsubjectaccessreviews\",\"subjectaccessreviews\"",                                                                                                   \
                                                                                                  "\"create\"") "," RULE(OURS,                                                                                                                                \
                                                                                                                         "\"*\"",                                                                                                                             \
                                                                                                                         READ)

/* What a router reads, and how it wakes a suspended sandbox. */
#define ROUTER_RULES                                                                               \
        RULE(OURS, "\"*\"", READ)                                                                  \
        "," RULE("\"agents.x-k8s.io\"", "\"sandboxes\"", "\"patch\",\"update\"") "," RULE(         \
                "\"\"", "\"pods\",\"services\",\"endpoints\"",                                     \
                READ) "," RULE("\"discovery.k8s.io\"", "\"endpointslices\"",                       \
                               READ) "," RULE("\"coordination.k8s.io\"", "\"leases\"", READ_WRITE)

#define SELF_REVIEWS                                                                               \
        RULE("\"authorization.k8s.io\"",                                                           \
             "\"selfsubjectaccessreviews\",\"selfsubjectrulesreviews\"", "\"create\"")             \
        "," RULE("\"authentication.k8s.io\"", "\"selfsubjectreviews\"", "\"create\"")

static const struct {
        const char *name, *rules;
} roles[] = {
        { "cluster-admin", RULE("\"*\"", "\"*\"", "\"*\"") "," URLS("\"*\"", "\"*\"") },
        { "admin",
          EDIT_RULES "," RULE("\"rbac.authorization.k8s.io\"", "\"roles\",\"rolebindings\"",
                              READ_WRITE) "," RULE("\"authorization.k8s.io\"",
                                                   "\"localsubjectaccessreviews\"", "\"create\"") },
        { "edit", EDIT_RULES },
        { "view", VIEW_RULES },
        { "system:basic-user", SELF_REVIEWS },
        { "system:discovery",
          URLS("\"/api\",\"/api/*\",\"/apis\",\"/apis/*\",\"/healthz\",\"/livez\",\"/openapi\","
               "\"/openapi/*\",\"/readyz\",\"/version\",\"/version/\"",
               "\"get\"") },
        { "system:public-info-viewer",
          URLS("\"/healthz\",\"/livez\",\"/readyz\",\"/version\",\"/version/\"", "\"get\"") },
        { "system:service-account-issuer-discovery",
          URLS("\"/.well-known/openid-configuration\",\"/openid/v1/jwks\"", "\"get\"") },
        { "system:node", NODE_RULES },
        { "system:auth-delegator",
          RULE("\"authentication.k8s.io\"", "\"tokenreviews\"", "\"create\"") "," RULE(
                  "\"authorization.k8s.io\"", "\"subjectaccessreviews\"", "\"create\"") },
        { "cay:sandbox-router", ROUTER_RULES },
};

static const struct {
        const char *name, *role, *kind, *subject, *name_space;
} bindings[] = {
        { "cluster-admin", "cluster-admin", "Group", "system:masters", NULL },
        { "system:basic-user", "system:basic-user", "Group", "system:authenticated", NULL },
        { "system:discovery", "system:discovery", "Group", "system:authenticated", NULL },
        { "system:public-info-viewer", "system:public-info-viewer", "Group",
          "system:unauthenticated", NULL },
        { "system:public-info-viewer:authenticated", "system:public-info-viewer", "Group",
          "system:authenticated", NULL },
        { "system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
          "Group", "system:serviceaccounts", NULL },
        { "system:node", "system:node", "Group", "system:nodes", NULL },
        { "cay:sandbox-router", "cay:sandbox-router", "ServiceAccount", "sandbox-router",
          "agent-sandbox-system" },
};

static int create_roles(struct bootstrap *bootstrap)
{
        struct str group = STR("rbac.authorization.k8s.io");
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(roles); i++) {
                _cleanup_buffer_ struct buffer text = {};
                r = buffer_printf(&text,
                                  "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\","
                                  "\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"%s\","
                                  "\"labels\":{\"kubernetes.io/bootstrapping\":\"rbac-defaults\"}},"
                                  "\"rules\":[%s]}",
                                  roles[i].name, roles[i].rules);
                if (r == 0)
                        r = create(bootstrap, group, STR("clusterroles"), STR_EMPTY,
                                   buffer_str(&text));
        }
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(bindings); i++) {
                _cleanup_buffer_ struct buffer text = {};
                bool account = bindings[i].name_space != NULL;
                r = buffer_printf(
                        &text,
                        "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\","
                        "\"kind\":\"ClusterRoleBinding\",\"metadata\":{\"name\":\"%s\","
                        "\"labels\":{\"kubernetes.io/bootstrapping\":\"rbac-defaults\"}},"
                        "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
                        "\"kind\":\"ClusterRole\",\"name\":\"%s\"},"
                        "\"subjects\":[{\"kind\":\"%s\",\"name\":\"%s\",%s%s%s}]}",
                        bindings[i].name, bindings[i].role, bindings[i].kind, bindings[i].subject,
                        account ? "\"namespace\":\"" : "\"apiGroup\":\"rbac.authorization.k8s.io",
                        account ? bindings[i].name_space : "", "\"");
                if (r == 0)
                        r = create(bootstrap, group, STR("clusterrolebindings"), STR_EMPTY,
                                   buffer_str(&text));
        }
        return r;
}

static int create_account(struct bootstrap *bootstrap)
{
        return create(bootstrap, STR_EMPTY, STR("serviceaccounts"), STR("agent-sandbox-system"),
                      STR("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\","
                          "\"metadata\":{\"name\":\"sandbox-router\"}}"));
}

int bootstrap_run(struct apiserver *server, struct error *error)
{
        struct bootstrap *bootstrap = calloc(1, sizeof(*bootstrap));
        int r;

        if (!bootstrap)
                return -ENOMEM;
        bootstrap->server = server;
        server->bootstrap = bootstrap;
        storage_cork(server->storage);
        r = create_namespaces(bootstrap);
        if (r == 0)
                r = create_account(bootstrap);
        if (r == 0)
                r = create_definitions(bootstrap);
        if (r == 0)
                r = create_roles(bootstrap);
        storage_uncork(server->storage);
        if (r < 0)
                return error_set(error, r, "cannot make the built-in objects: %s", strerror(-r));
        /* Nobody is served before the roles are there: the first who come would be refused. */
        while (bootstrap->waiting > 0 && uv_run(net_loop_uv(server->loop), UV_RUN_ONCE) != 0)
                ;
        if (bootstrap->waiting > 0 || bootstrap->failed > 0)
                return error_set(error, -EIO,
                                 "not all built-in objects could be made: see the log");
        server->ready = true;
        return 0;
}

void bootstrap_stop(struct apiserver *server)
{
        free(server->bootstrap);
        server->bootstrap = NULL;
}
