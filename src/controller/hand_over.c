// SPDX-License-Identifier: Apache-2.0
#include "controller/hand_over.h"

#include <errno.h>
#include <stdlib.h>

#include "controller/internal.h"

/* Pods of one plan: each takes two actions. */
enum { BATCH = PLAN_ACTIONS_MAX / 4 };

const struct kind *const hand_over_kinds[] = { &kind_sandbox_warm_pool, &kind_sandbox_template,
                                               &kind_sandbox,           &kind_pod,
                                               &kind_sandbox_claim,     NULL };

struct hand_over {
        struct hand_over_options options;
        struct controller controller;
};

/* ---- what is left ---- */

static bool is_bare_member(const struct cache_entry *pod, const struct cache_entry *pool)
{
        return !object_meta_is_deleting(&pod->meta) && controlled_by_uid(pod, pool->meta.uid) &&
               str_equal(pod->meta.namespace, pool->meta.namespace);
}

static bool is_marked(const struct cache_entry *pool)
{
        return str_equal(object_meta_annotation(&pool->meta, ANNOTATION_GENERATION),
                         STR("v1alpha1"));
}

size_t hand_over_left(const struct cache *cache)
{
        size_t left = 0;

        cache_for_each(pool, cache, &kind_sandbox_warm_pool, STR_EMPTY)
        {
                if (object_meta_is_deleting(&pool.entry->meta))
                        continue;
                left += is_marked(pool.entry);
                cache_for_each_owned(pod, cache, &kind_pod, pool.entry->meta.uid) left +=
                        is_bare_member(pod.entry, pool.entry);
        }
        return left;
}

/* ---- the plan ---- */

static void delete_pod(struct plan *plan, const struct cache_entry *pod, const char *why)
{
        plan_note(plan, "delete %.*s: %s", STR_FORMAT(pod->meta.name), why);
        plan_delete(plan, &kind_pod, &pod->meta, EXPECT_VERSION, PROPAGATION_BACKGROUND, -1,
                    ACTION_NONE);
}

/* `sandbox` is one that an earlier attempt made; NULL: none. */
static void wrap(struct plan *plan, const struct cache_entry *pool, const struct cache_entry *pod,
                 const struct cache_entry *template, const struct cache_entry *sandbox)
{
        const struct blueprint *blueprint =
                &((const struct sandbox_template *)template->typed)->blueprint;
        char template_hash[NAME_HASH_SIZE], pool_hash[NAME_HASH_SIZE];
        const struct sandbox_origin origin = {
                .namespace = pool->meta.namespace,
                .name = pod->meta.name,
                .template = template,
                .pool = pool,
                .pod_name = pod->meta.name,
                .generation = GENERATION_V1BETA1,
        };
        struct pod_identity identity = {
                .namespace = pool->meta.namespace,
                .sandbox_name = pod->meta.name,
                .owner = sandbox ? &sandbox->meta : NULL,
                .owner_kind = &kind_sandbox,
                .labels = blueprint->pod_labels,
                .annotations = blueprint->pod_annotations,
                .template_ref_hash = name_hash(template->meta.name, template_hash),
                .pool_hash = name_hash(pool->meta.name, pool_hash),
        };
        int created = ACTION_NONE;

        if (!sandbox) {
                created = sandbox_plan_create(plan, &origin, ACTION_NONE);
                identity.created_owner = created;
        }
        pod_patch(plan, &identity, pod, true, created);
}

static void hand_over_pod(const struct view *seen, struct plan *plan,
                          const struct cache_entry *pool, const struct cache_entry *pod,
                          const struct cache_entry *template)
{
        const struct hand_over_options *options = seen->context;
        const struct cache_entry *sandbox =
                cache_get(seen->cache, &kind_sandbox, pod->meta.namespace, pod->meta.name);

        if (options->deletes)
                delete_pod(plan, pod, "as was asked for");
        else if (!template)
                delete_pod(plan, pod, "its template is gone");
        else if (pod_is_finished(pod->typed))
                delete_pod(plan, pod, "it has ended");
        else if (sandbox && (!controlled_by_uid(sandbox, pool->meta.uid) ||
                             object_meta_is_deleting(&sandbox->meta)))
                delete_pod(plan, pod, "a Sandbox has its name");
        else
                wrap(plan, pool, pod, template, sandbox);
}

static void mark(struct plan *plan, const struct cache_entry *pool)
{
        struct json_writer *writer = plan_patch_body(plan, &pool->meta, EXPECT_UID);

        json_field_object(writer, "annotations");
        json_key(writer, ANNOTATION_GENERATION);
        json_write_string(writer, STR("v1beta1"));
        json_end_object(writer);
        json_end_object(writer);
        plan_patch(plan, &kind_sandbox_warm_pool, &pool->meta, json_root(pool->doc), ACTION_NONE);
}

void hand_over_plan(const struct view *seen, struct plan *plan)
{
        const struct cache_entry *pool =
                cache_get(seen->cache, &kind_sandbox_warm_pool, seen->namespace, seen->name);
        const struct cache_entry *template;
        size_t count = 0;

        if (!pool || object_meta_is_deleting(&pool->meta))
                return;
        template = cache_get(seen->cache, &kind_sandbox_template, seen->namespace,
                             ((const struct sandbox_warm_pool *)pool->typed)->template_name);
        if (template && object_meta_is_deleting(&template->meta))
                template = NULL;
        cache_for_each_owned(it, seen->cache, &kind_pod, pool->meta.uid)
        {
                if (!is_bare_member(it.entry, pool) || count++ >= BATCH)
                        continue;
                hand_over_pod(seen, plan, pool, it.entry, template);
        }
        if (count == 0 && is_marked(pool))
                mark(plan, pool);
}

/* ---- the controller ---- */

static void map(struct controllers *set, const struct controller *controller,
                const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entries[] = { before, after };
        struct owner_reference owner;

        for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
                const struct cache_entry *entry = entries[i];
                if (!entry)
                        continue;
                if (entry->kind == &kind_sandbox_warm_pool)
                        controllers_enqueue(set, controller, entry->meta.namespace,
                                            entry->meta.name);
                else if (controlled_by_kind(&entry->meta, &kind_sandbox_warm_pool, &owner))
                        controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
        }
}

int hand_over_new(struct controllers *set, const struct hand_over_options *options,
                  struct hand_over **ret_hand_over)
{
        struct hand_over *ours = calloc(1, sizeof(*ours));

        if (!ours)
                return -ENOMEM;
        ours->options = *options;
        ours->controller = (struct controller){
                .name = "hand-over",
                .object = &kind_sandbox_warm_pool,
                .kinds = hand_over_kinds,
                .map = map,
                .plan = hand_over_plan,
                .context = &ours->options,
        };
        int r = controllers_add(set, &ours->controller);
        if (r < 0) {
                free(ours);
                return r;
        }
        *ret_hand_over = ours;
        return 0;
}

void hand_over_free(struct hand_over *ours)
{
        free(ours);
}

const void *hand_over_context(const struct hand_over *ours)
{
        return &ours->options;
}
