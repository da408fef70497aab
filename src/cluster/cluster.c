// SPDX-License-Identifier: Apache-2.0
#include "cluster/cluster.h"

#include <errno.h>
#include <stdlib.h>

#include "cluster/internal.h"
#include "kinds/names.h"

const struct kind *const cluster_controllers_kinds[] = {
        &kind_namespace,
        &kind_node,
        &kind_pod,
        &kind_service,
        &kind_endpoint_slice,
        &kind_service_account,
        &kind_config_map,
        &kind_secret,
        &kind_persistent_volume_claim,
        &kind_persistent_volume,
        &kind_storage_class,
        &kind_network_policy,
        &kind_deployment,
        &kind_replica_set,
        &kind_event,
        &kind_sandbox,
        &kind_sandbox_claim,
        &kind_sandbox_template,
        &kind_sandbox_warm_pool,
        NULL,
};

static const struct kind *const collect_kinds[] = { &kind_pod, NULL };
static const struct kind *const bind_kinds[] = { &kind_pod, &kind_node, NULL };
static const struct kind *const service_account_kinds[] = {
        &kind_namespace,
        &kind_service_account,
        &kind_config_map,
        NULL,
};

static const struct kind *const endpoints_kinds[] = {
        &kind_service,
        &kind_pod,
        &kind_endpoint_slice,
        NULL,
};
static const struct kind *const replica_set_kinds[] = { &kind_replica_set, &kind_pod, NULL };
static const struct kind *const deployment_kinds[] = { &kind_deployment, &kind_replica_set, NULL };
static const struct kind *const volume_claim_kinds[] = {
        &kind_persistent_volume_claim,
        &kind_persistent_volume,
        NULL,
};
static const struct kind *const event_kinds[] = { &kind_event, NULL };

/* ---- indexes ---- */

static size_t namespace_keys(const struct cache_entry *entry,
                             struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = entry->meta.namespace;
        return ret_keys[0].length > 0;
}

static size_t pending_keys(const struct cache_entry *entry,
                           struct str ret_keys[static CACHE_KEYS_MAX])
{
        const struct pod *pod = entry->typed;

        ret_keys[0] = STR_EMPTY;
        return pod->node_name.length == 0 && !object_meta_is_deleting(&entry->meta) &&
               !pod_is_finished(pod) && json_count(json_get(pod->spec, "schedulingGates")) == 0;
}

static size_t node_keys(const struct cache_entry *entry, struct str ret_keys[static CACHE_KEYS_MAX])
{
        const struct pod *pod = entry->typed;

        ret_keys[0] = pod->node_name;
        return ret_keys[0].length > 0 && !pod_is_finished(pod);
}

static void weigh_pod(const struct cache_entry *entry, int64_t ret_weights[static CACHE_SUMS])
{
        const struct pod *pod = entry->typed;

        ret_weights[ROOM_CPU] = pod->cpu_milli;
        ret_weights[ROOM_MEMORY] = pod->memory;
}

static size_t name_hash_keys(const struct cache_entry *entry,
                             struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = object_meta_label(&entry->meta, LABEL_NAME_HASH);
        return ret_keys[0].length > 0;
}

static size_t service_keys(const struct cache_entry *entry,
                           struct str ret_keys[static CACHE_KEYS_MAX])
{
        const struct service *service = entry->typed;

        ret_keys[0] = json_string(json_member(service->selector, LABEL_NAME_HASH));
        return json_count(service->selector) > 0;
}

/* Those of all others are listed before anything is planned, or soon after. */
static size_t owner_kind_keys(const struct cache_entry *entry,
                              struct str ret_keys[static CACHE_KEYS_MAX])
{
        struct json_iterator it = json_iterate(entry->meta.owner_references);
        struct owner_reference owner;
        size_t count = 0;

        while (count < CACHE_KEYS_MAX && owner_reference_next(&it, &owner)) {
                if (!kind_find(owner.group, owner.kind))
                        ret_keys[count++] = owner.kind;
        }
        return count;
}

static int add_indexes(struct cache *cache, struct cluster_context *context)
{
        const struct {
                int *number;
                const struct kind *kind;
                bool by_namespace;
                cache_keys_fn keys;
        } indexes[] = {
                { &context->index_namespace, NULL, false, namespace_keys },
                { &context->index_owner_kind, NULL, false, owner_kind_keys },
                { &context->index_pending, &kind_pod, false, pending_keys },
                { &context->index_node, &kind_pod, false, node_keys },
                { &context->index_name_hash, &kind_pod, true, name_hash_keys },
                { &context->index_service, &kind_service, true, service_keys },
        };

        for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
                int r = cache_add_index(cache, indexes[i].kind, indexes[i].by_namespace,
                                        indexes[i].keys);

                if (r < 0)
                        return r;
                *indexes[i].number = r;
        }
        cache_add_up(cache, context->index_node, weigh_pod);
        return 0;
}

/* ---- the set ---- */

static const struct controller controllers[] = {
        {
                .name = "bind",
                .kinds = bind_kinds,
                .map = bind_map,
                .plan = bind_plan,
                .priority = 1,
        },
        {
                .name = "collect",
                .kinds = collect_kinds,
                .every_kind = true,
                .map = collect_map,
                .listed = collect_listed,
                .plan = collect_plan,
                .priority = 2,
        },
        {
                .name = "namespace",
                .kinds = cluster_controllers_kinds,
                .every_kind = true,
                .map = namespace_map,
                .plan = namespace_plan,
                .priority = 2,
        },
        {
                .name = "service-account",
                .kinds = service_account_kinds,
                .map = service_account_map,
                .plan = service_account_plan,
                .priority = 1,
        },
        {
                .name = "endpoints",
                .kinds = endpoints_kinds,
                .map = endpoints_map,
                .plan = endpoints_plan,
                .priority = 1,
        },
        {
                .name = "replica-set",
                .kinds = replica_set_kinds,
                .map = replica_set_map,
                .plan = replica_set_plan,
                .priority = 1,
        },
        {
                .name = "deployment",
                .kinds = deployment_kinds,
                .map = deployment_map,
                .plan = deployment_plan,
                .priority = 1,
        },
        {
                .name = "volume-claim",
                .kinds = volume_claim_kinds,
                .map = volume_claim_map,
                .plan = volume_claim_plan,
                .priority = 1,
        },
        {
                .name = "volume",
                .kinds = volume_claim_kinds,
                .map = volume_map,
                .plan = volume_plan,
                .priority = 2,
        },
        {
                .name = "events",
                .kinds = event_kinds,
                .map = event_map,
                .plan = event_plan,
                .priority = 2,
        },
};

static void fill_options(struct cluster_options *options)
{
        if (options->mirror_annotation.length == 0)
                options->mirror_annotation = STR("cay.dev/mirror");
}

int cluster_controllers_new(struct controllers *set, const struct cluster_options *options,
                            struct cluster_controllers **ret_controllers)
{
        struct cluster_controllers *ours = calloc(1, sizeof(*ours));
        int r;

        if (!ours)
                return -ENOMEM;
        if (options)
                ours->context.options = *options;
        fill_options(&ours->context.options);
        r = add_indexes(controllers_cache(set), &ours->context);
        for (size_t i = 0; r == 0 && cluster_controllers_kinds[i]; i++)
                r = cache_add_kind(controllers_cache(set), cluster_controllers_kinds[i]);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(controllers); i++) {
                ours->list[i] = controllers[i];
                ours->list[i].context = &ours->context;
                r = controllers_add(set, &ours->list[i]);
        }
        if (r < 0) {
                free(ours);
                return r;
        }
        *ret_controllers = ours;
        return 0;
}

void cluster_controllers_free(struct cluster_controllers *ours)
{
        free(ours);
}
