// SPDX-License-Identifier: Apache-2.0
#include "controller/controller.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "controller/internal.h"

const struct kind *const sandbox_controllers_kinds[] = {
        &kind_sandbox, &kind_sandbox_claim, &kind_sandbox_template,        &kind_sandbox_warm_pool,
        &kind_pod,     &kind_service,       &kind_persistent_volume_claim, &kind_network_policy,
        NULL,
};

const struct kind *const sandbox_controllers_core_kinds[] = {
        &kind_sandbox, &kind_pod, &kind_service, &kind_persistent_volume_claim, NULL,
};
static const struct kind *const template_kinds[] = {
        &kind_sandbox_template,
        &kind_network_policy,
        NULL,
};
static const struct kind *const pool_kinds[] = {
        &kind_sandbox_warm_pool, &kind_sandbox_template, &kind_sandbox, &kind_pod, NULL,
};
static const struct kind *const claim_kinds[] = {
        &kind_sandbox_claim,
        &kind_sandbox,
        NULL,
};
static const struct kind *const match_kinds[] = {
        &kind_sandbox_claim,
        &kind_sandbox_warm_pool,
        &kind_sandbox_template,
        &kind_sandbox,
        &kind_pod,
        NULL,
};

/* ---- indexes ---- */

static size_t pod_name_keys(const struct cache_entry *entry,
                            struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = object_meta_annotation(&entry->meta, ANNOTATION_POD_NAME);
        return ret_keys[0].length > 0;
}

enum { DIGEST_MEMBER = 63, DIGEST_READY = 62, DIGEST_LEAVING = 61, TEMPLATE_BITS = 29 };

uint32_t member_digest_template(struct str template_hash, struct str template_ref_hash)
{
        uint32_t hash = str_fnv1a(template_hash) * 31 + str_fnv1a(template_ref_hash);

        return hash >> (32 - TEMPLATE_BITS);
}

uint64_t member_digest(const struct cache_entry *entry)
{
        uint32_t template;
        bool ready = false;

        if (entry->kind == &kind_sandbox)
                ready = ((const struct sandbox *)entry->typed)->ready;
        else if (entry->kind == &kind_pod)
                ready = ((const struct pod *)entry->typed)->ready;
        else
                return 0;
        template = member_digest_template(object_meta_label(&entry->meta, LABEL_TEMPLATE_HASH),
                                          object_meta_label(&entry->meta, LABEL_TEMPLATE_REF_HASH));
        return UINT64_C(1) << DIGEST_MEMBER | (uint64_t)ready << DIGEST_READY |
               (uint64_t)object_meta_is_deleting(&entry->meta) << DIGEST_LEAVING |
               (uint64_t) template << 32 | (uint32_t)(entry->meta.creation_ns / NS_PER_SECOND);
}

/* Of what the cache tells without a look; 0: look at it. */
static uint64_t plain_digest(const struct cache_entry *entry)
{
        struct owner_reference owner;

        return json_count(entry->meta.owner_references) == 1 &&
                               controlled_by_kind(&entry->meta, &kind_sandbox_warm_pool, &owner)
                       ? member_digest(entry)
                       : 0;
}

struct member_digest member_digest_read(uint64_t digest)
{
        return (struct member_digest){
                .is_member = digest >> DIGEST_MEMBER & 1,
                .ready = digest >> DIGEST_READY & 1,
                .leaving = digest >> DIGEST_LEAVING & 1,
                .template = (uint32_t)(digest >> 32) & ((1U << TEMPLATE_BITS) - 1),
                .created_at = (uint32_t)digest,
        };
}

static size_t ready_keys(const struct cache_entry *entry,
                         struct str ret_keys[static CACHE_KEYS_MAX])
{
        struct owner_reference owner;
        bool ready = false;

        if (entry->kind == &kind_sandbox)
                ready = ((const struct sandbox *)entry->typed)->ready;
        else if (entry->kind == &kind_pod)
                ready = ((const struct pod *)entry->typed)->ready;
        if (!ready || object_meta_is_deleting(&entry->meta) ||
            !controlled_by_kind(&entry->meta, &kind_sandbox_warm_pool, &owner))
                return 0;
        ret_keys[0] = owner.uid;
        return 1;
}

static size_t unbound_keys(const struct cache_entry *entry,
                           struct str ret_keys[static CACHE_KEYS_MAX])
{
        const struct sandbox_claim *claim = entry->typed;

        ret_keys[0] = claim->pool_name;
        return claim->sandbox_name.length == 0 && !object_meta_is_deleting(&entry->meta);
}

static size_t template_keys(const struct cache_entry *entry,
                            struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = ((const struct sandbox_warm_pool *)entry->typed)->template_name;
        return ret_keys[0].length > 0;
}

static int add_indexes(struct cache *cache, struct sandbox_context *context)
{
        const struct {
                int *number;
                const struct kind *kind;
                bool by_namespace;
                cache_keys_fn keys;
        } indexes[] = {
                { &context->index_pod_name, &kind_sandbox, true, pod_name_keys },
                { &context->index_ready, NULL, false, ready_keys },
                { &context->index_unbound, &kind_sandbox_claim, true, unbound_keys },
                { &context->index_template, &kind_sandbox_warm_pool, true, template_keys },
        };

        for (size_t i = 0; i < ARRAY_SIZE(indexes); i++) {
                int r = cache_add_index(cache, indexes[i].kind, indexes[i].by_namespace,
                                        indexes[i].keys);

                if (r < 0)
                        return r;
                *indexes[i].number = r;
        }
        return 0;
}

/* ---- the set ---- */

static void fill_options(struct sandbox_options *options)
{
        static const struct str label_domains[] = { { "sandbox.users.io", 16 } };

        if (options->cluster_domain.length == 0)
                options->cluster_domain = STR("cluster.local");
        if (options->pool_batch == 0)
                options->pool_batch = 300;
        if (options->pool_readiness_grace_ns == 0)
                options->pool_readiness_grace_ns = 300 * NS_PER_SECOND;
        if (options->pool_status_interval_ns == 0)
                options->pool_status_interval_ns = NS_PER_SECOND;
        if (options->missing_grace_ns == 0)
                options->missing_grace_ns = 2 * NS_PER_SECOND;
        if (!options->label_domains) {
                options->label_domains = label_domains;
                options->label_domain_count = ARRAY_SIZE(label_domains);
        }
}

/* Claims first: somebody waits. Then what makes Sandboxes run, then what fills pools again. */
static const struct controller controllers[] = {
        {
                .name = "match",
                .kinds = match_kinds,
                .map = sandbox_match_map,
                .plan = sandbox_match_plan,
                .overlapping = true,
                .priority = 0,
        },
        {
                .name = "claim",
                .object = &kind_sandbox_claim,
                .kinds = claim_kinds,
                .map = sandbox_claim_map,
                .plan = sandbox_claim_plan,
                .priority = 0,
        },
        {
                .name = "sandbox",
                .object = &kind_sandbox,
                .kinds = sandbox_controllers_core_kinds,
                .map = sandbox_map,
                .plan = sandbox_plan,
                .priority = 1,
        },
        {
                .name = "template",
                .object = &kind_sandbox_template,
                .kinds = template_kinds,
                .map = sandbox_template_map,
                .plan = sandbox_template_plan,
                .priority = 1,
        },
        {
                .name = "pool",
                .object = &kind_sandbox_warm_pool,
                .kinds = pool_kinds,
                .map = sandbox_warm_pool_map,
                .plan = sandbox_warm_pool_plan,
                .remembers = true,
                .priority = 2,
        },
};

int sandbox_controllers_new(struct controllers *set, const struct sandbox_options *options,
                            struct sandbox_controllers **ret_controllers)
{
        struct sandbox_controllers *ours = calloc(1, sizeof(*ours));
        int r;

        if (!ours)
                return -ENOMEM;
        if (options)
                ours->context.options = *options;
        fill_options(&ours->context.options);
        cache_set_digest(controllers_cache(set), plain_digest);
        r = add_indexes(controllers_cache(set), &ours->context);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(controllers); i++) {
                ours->list[i] = controllers[i];
                ours->list[i].context = &ours->context;
                if (ours->context.options.without_extensions && controllers[i].plan != sandbox_plan)
                        continue;
                r = controllers_add(set, &ours->list[i]);
        }
        if (r < 0) {
                free(ours);
                return r;
        }
        *ret_controllers = ours;
        return 0;
}

void sandbox_controllers_free(struct sandbox_controllers *ours)
{
        free(ours);
}
