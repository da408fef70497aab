// SPDX-License-Identifier: Apache-2.0
#include "kinds/kind.h"

#include <stdio.h>

#include "kinds/core.h"
#include "kinds/names.h"
#include "kinds/sandbox.h"

#define OURS(variable, api_group, name, resource, status, type, reader)                            \
        const struct kind variable = {                                                             \
                .group = { "" api_group, sizeof(api_group) - 1 },                                  \
                .version = { "v1beta1", 7 },                                                       \
                .kind = { "" name, sizeof(name) - 1 },                                             \
                .plural = { "" resource, sizeof(resource) - 1 },                                   \
                .namespaced = true,                                                                \
                .has_status = status,                                                              \
                .typed_size = sizeof(struct type),                                                 \
                .read = reader,                                                                    \
        }
OURS(kind_sandbox, "agents.x-k8s.io", "Sandbox", "sandboxes", true, sandbox, sandbox_read);
OURS(kind_sandbox_claim, "extensions.agents.x-k8s.io", "SandboxClaim", "sandboxclaims", true,
     sandbox_claim, sandbox_claim_read);
OURS(kind_sandbox_template, "extensions.agents.x-k8s.io", "SandboxTemplate", "sandboxtemplates",
     false, sandbox_template, sandbox_template_read);
OURS(kind_sandbox_warm_pool, "extensions.agents.x-k8s.io", "SandboxWarmPool", "sandboxwarmpools",
     true, sandbox_warm_pool, sandbox_warm_pool_read);

#define THEIRS(variable, api_group, name, resource, is_namespaced, status, size, reader)           \
        const struct kind variable = {                                                             \
                .group = { "" api_group, sizeof(api_group) - 1 },                                  \
                .version = { "v1", 2 },                                                            \
                .kind = { "" name, sizeof(name) - 1 },                                             \
                .plural = { "" resource, sizeof(resource) - 1 },                                   \
                .namespaced = is_namespaced,                                                       \
                .has_status = status,                                                              \
                .typed_size = size,                                                                \
                .read = reader,                                                                    \
        }
THEIRS(kind_pod, "", "Pod", "pods", true, true, sizeof(struct pod), pod_read);
THEIRS(kind_service, "", "Service", "services", true, true, sizeof(struct service), service_read);
THEIRS(kind_persistent_volume_claim, "", "PersistentVolumeClaim", "persistentvolumeclaims", true,
       true, 0, NULL);
THEIRS(kind_persistent_volume, "", "PersistentVolume", "persistentvolumes", false, true, 0, NULL);
THEIRS(kind_storage_class, "storage.k8s.io", "StorageClass", "storageclasses", false, false, 0,
       NULL);
THEIRS(kind_network_policy, "networking.k8s.io", "NetworkPolicy", "networkpolicies", true, false, 0,
       NULL);
THEIRS(kind_event, "", "Event", "events", true, false, 0, NULL);
THEIRS(kind_namespace, "", "Namespace", "namespaces", false, true, sizeof(struct namespace),
       namespace_read);
THEIRS(kind_node, "", "Node", "nodes", false, true, sizeof(struct node), node_read);
THEIRS(kind_service_account, "", "ServiceAccount", "serviceaccounts", true, false, 0, NULL);
THEIRS(kind_config_map, "", "ConfigMap", "configmaps", true, false, 0, NULL);
THEIRS(kind_secret, "", "Secret", "secrets", true, false, 0, NULL);
THEIRS(kind_endpoint_slice, "discovery.k8s.io", "EndpointSlice", "endpointslices", true, false, 0,
       NULL);
THEIRS(kind_deployment, "apps", "Deployment", "deployments", true, true, sizeof(struct deployment),
       deployment_read);
THEIRS(kind_replica_set, "apps", "ReplicaSet", "replicasets", true, true,
       sizeof(struct replica_set), replica_set_read);

const struct kind *const kinds_known[] = {
        &kind_sandbox,
        &kind_sandbox_claim,
        &kind_sandbox_template,
        &kind_sandbox_warm_pool,
        &kind_pod,
        &kind_service,
        &kind_persistent_volume_claim,
        &kind_persistent_volume,
        &kind_storage_class,
        &kind_network_policy,
        &kind_event,
        &kind_namespace,
        &kind_node,
        &kind_service_account,
        &kind_config_map,
        &kind_secret,
        &kind_endpoint_slice,
        &kind_deployment,
        &kind_replica_set,
        NULL,
};

const struct kind *kind_find_plural(struct str group, struct str plural)
{
        for (size_t i = 0; kinds_known[i]; i++) {
                if (str_equal(kinds_known[i]->plural, plural) &&
                    str_equal(kinds_known[i]->group, group))
                        return kinds_known[i];
        }
        return NULL;
}

const struct kind *kind_find(struct str group, struct str kind)
{
        for (size_t i = 0; kinds_known[i]; i++) {
                if (str_equal(kinds_known[i]->kind, kind) &&
                    str_equal(kinds_known[i]->group, group))
                        return kinds_known[i];
        }
        return NULL;
}

struct str kind_api_version(const struct kind *kind, char text[static 128])
{
        int length;

        if (kind->group.length)
                length = snprintf(text, 128, "%.*s/%.*s", STR_FORMAT(kind->group),
                                  STR_FORMAT(kind->version));
        else
                length = snprintf(text, 128, "%.*s", STR_FORMAT(kind->version));
        return (struct str){ text, length < 128 ? (size_t)length : 127 };
}
