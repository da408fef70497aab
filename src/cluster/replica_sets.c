// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "cluster/internal.h"

enum { BATCH_MAX = 500 };

struct replicas {
        const struct view *seen;
        struct plan *plan;
        const struct cache_entry *entry;
        const struct replica_set *set;
        const struct cache_entry **pods;
        size_t count, ready;
};

/* Those that serve least go first: unbound, not ready, then the newest. */
static int compare_for_removal(const void *a, const void *b)
{
        const struct cache_entry *x = *(const struct cache_entry *const *)a;
        const struct cache_entry *y = *(const struct cache_entry *const *)b;
        const struct pod *p = x->typed, *q = y->typed;

        if ((p->node_name.length == 0) != (q->node_name.length == 0))
                return p->node_name.length == 0 ? -1 : 1;
        if (p->ready != q->ready)
                return p->ready ? 1 : -1;
        if (x->meta.creation_ns != y->meta.creation_ns)
                return x->meta.creation_ns > y->meta.creation_ns ? -1 : 1;
        return str_compare(y->meta.name, x->meta.name);
}

static int find_pods(struct replicas *pass)
{
        struct str uid = pass->entry->meta.uid;
        size_t most = cache_index_count(pass->seen->cache, CACHE_INDEX_OWNER, STR_EMPTY, uid);

        pass->pods = arena_new(pass->plan->arena, const struct cache_entry *, most);
        if (!pass->pods)
                return -ENOMEM;
        cache_for_each_owned(it, pass->seen->cache, &kind_pod, uid)
        {
                const struct pod *pod = it.entry->typed;
                struct owner_reference owner;

                if (object_meta_is_deleting(&it.entry->meta) || pod_is_finished(pod) ||
                    !object_meta_controller(&it.entry->meta, &owner) || !str_equal(owner.uid, uid))
                        continue;
                pass->pods[pass->count++] = it.entry;
                pass->ready += pod->ready;
        }
        return 0;
}

static void create_pod(struct replicas *pass)
{
        struct json_writer *writer;
        struct str base = pass->entry->meta.name, name;
        char suffix[6];

        base.length = MIN(base.length, (size_t)LIMIT_NAME - 6);
        plan_name_suffix(pass->plan, suffix);
        name = arena_printf(pass->plan->arena, "%.*s-%s", STR_FORMAT(base), suffix);
        if (!name.data) {
                plan_fail(pass->plan, -ENOMEM);
                return;
        }
        writer = plan_body(pass->plan);
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Pod"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", pass->seen->namespace);
        json_for_each (it, json_get(pass->set->template, "metadata")) {
                if (!str_equal(it.key, STR("labels")) && !str_equal(it.key, STR("annotations")))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        write_owner_reference(writer, &kind_replica_set, &pass->entry->meta);
        json_end_object(writer);
        if (json_exists(json_get(pass->set->template, "spec")))
                json_field_value(writer, "spec", json_get(pass->set->template, "spec"));
        json_end_object(writer);
        plan_create(pass->plan, &kind_pod, pass->seen->namespace, name, ACTION_NONE);
}

static void plan_count(struct replicas *pass)
{
        size_t wanted = (size_t)MAX(pass->set->replicas, INT64_C(0));
        /* After failures one at a time, so that a broken template costs little. */
        size_t batch = pass->seen->failures ? 1 : BATCH_MAX;

        for (size_t i = pass->count; i < wanted && i - pass->count < batch; i++)
                create_pod(pass);
        if (pass->count <= wanted)
                return;
        qsort(pass->pods, pass->count, sizeof(struct cache_entry *), compare_for_removal);
        for (size_t i = 0; i < MIN(pass->count - wanted, (size_t)BATCH_MAX); i++)
                plan_delete(pass->plan, &kind_pod, &pass->pods[i]->meta, EXPECT_UID,
                            PROPAGATION_BACKGROUND, -1, ACTION_NONE);
}

static void write_status(struct replicas *pass)
{
        struct json_writer *writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_UID);

        json_end_object(writer);
        json_field_object(writer, "status");
        json_field_int(writer, "replicas", (int64_t)pass->count);
        json_field_int(writer, "fullyLabeledReplicas", (int64_t)pass->count);
        json_field_int(writer, "readyReplicas", (int64_t)pass->ready);
        json_field_int(writer, "availableReplicas", (int64_t)pass->ready);
        json_field_int(writer, "observedGeneration", pass->entry->meta.generation);
        json_end_object(writer);
        plan_patch_status(pass->plan, &kind_replica_set, &pass->entry->meta,
                          json_root(pass->entry->doc), ACTION_NONE);
}

void replica_set_plan(const struct view *seen, struct plan *plan)
{
        struct replicas pass = {
                .seen = seen,
                .plan = plan,
                .entry = cache_get(seen->cache, &kind_replica_set, seen->namespace, seen->name),
        };
        int r;

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta))
                return;
        pass.set = pass.entry->typed;
        r = find_pods(&pass);
        if (r < 0) {
                plan_fail(plan, r);
                return;
        }
        plan_count(&pass);
        write_status(&pass);
}

void replica_set_map(struct controllers *set, const struct controller *controller,
                     const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        struct owner_reference owner;

        if (entry->kind == &kind_replica_set)
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        else if (object_meta_controller(&entry->meta, &owner) &&
                 str_equal(owner.kind, STR("ReplicaSet")) && str_equal(owner.group, STR("apps")))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
}
