// SPDX-License-Identifier: Apache-2.0
#include "cluster/internal.h"

/*
 * Garbage collection (https://kubernetes.io/docs/concepts/architecture/garbage-collection/). One
 * living owner keeps an object. An owner in another namespace counts as absent. Whether an owner is
 * absent must be certain, for the watches of different kinds are not ordered among each other: its
 * deletion was seen, or its kind's watch has passed the point where the dependent got this owner.
 */

/* When to ask again whether an owner is absent, and whether all dependents are known. */
#define LOOK_AGAIN_NS  UINT64_C(2000000000)
#define COUNT_AGAIN_NS UINT64_C(50000000)

enum owner_state {
        OWNER_SOLID,
        OWNER_WAITING, /* deleted in the foreground: it goes when its dependents are gone */
        OWNER_ABSENT,
        OWNER_UNKNOWN, /* perhaps absent */
};

struct owners {
        size_t solid, waiting, absent, unknown;
};

#define FINALIZER_FOREGROUND STR("foregroundDeletion")
#define FINALIZER_ORPHAN     STR("orphan")

void write_finalizers_without(struct json_writer *writer, const struct object_meta *meta,
                              struct str finalizer)
{
        json_field_array(writer, "finalizers");
        json_for_each (it, meta->finalizers) {
                if (!json_string_is(it.value, finalizer))
                        json_write_value(writer, it.value);
        }
        json_end_array(writer);
}

void write_owner_reference(struct json_writer *writer, const struct kind *kind,
                           const struct object_meta *owner)
{
        char api_version[128];

        json_field_array(writer, "ownerReferences");
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", kind_api_version(kind, api_version));
        json_field_string(writer, "kind", kind->kind);
        json_field_string(writer, "name", owner->name);
        json_field_string(writer, "uid", owner->uid);
        json_field_bool(writer, "controller", true);
        json_field_bool(writer, "blockOwnerDeletion", true);
        json_end_object(writer);
        json_end_array(writer);
}

static enum owner_state owner_state(const struct view *seen, const struct cache_entry *entry,
                                    const struct owner_reference *owner)
{
        const struct cache_entry *object = cache_get_uid(seen->cache, owner->uid);
        const struct kind *kind =
                object ? object->kind : cache_find_kind(seen->cache, owner->group, owner->kind);

        /* What is of the cluster cannot say in which namespace its owner is. */
        if (kind && kind->namespaced && !entry->kind->namespaced)
                return OWNER_SOLID;
        if (object) {
                if (object->kind->namespaced &&
                    !str_equal(object->meta.namespace, entry->meta.namespace))
                        return OWNER_ABSENT;
                return object_meta_is_deleting(&object->meta) &&
                                       object_meta_has_finalizer(&object->meta,
                                                                 FINALIZER_FOREGROUND)
                               ? OWNER_WAITING
                               : OWNER_SOLID;
        }
        if (cache_was_deleted(seen->cache, owner->uid))
                return OWNER_ABSENT;
        /* Of what is not served nothing is known, and nothing is deleted for its sake. */
        if (!kind || !cache_is_fed(seen->cache, kind))
                return OWNER_SOLID;
        return cache_is_synced(seen->cache, kind) &&
                               cache_progress(seen->cache, kind) >= entry->owners_version
                       ? OWNER_ABSENT
                       : OWNER_UNKNOWN;
}

static struct owners count_owners(const struct view *seen, const struct cache_entry *entry)
{
        struct json_iterator it = json_iterate(entry->meta.owner_references);
        struct owner_reference owner;
        struct owners owners = { 0 };

        while (owner_reference_next(&it, &owner)) {
                switch (owner_state(seen, entry, &owner)) {
                case OWNER_SOLID:
                        owners.solid++;
                        break;
                case OWNER_WAITING:
                        owners.waiting++;
                        break;
                case OWNER_ABSENT:
                        owners.absent++;
                        break;
                case OWNER_UNKNOWN:
                        owners.unknown++;
                        break;
                }
        }
        return owners;
}

/* ---- an object and its owners ---- */

static void drop_owners(const struct view *seen, struct plan *plan, const struct cache_entry *entry)
{
        struct json_iterator it = json_iterate(entry->meta.owner_references);
        struct json_writer *writer = plan_patch_body(plan, &entry->meta, EXPECT_VERSION);
        struct owner_reference owner;

        json_field_array(writer, "ownerReferences");
        while (owner_reference_next(&it, &owner)) {
                enum owner_state state = owner_state(seen, entry, &owner);

                if (state == OWNER_SOLID || state == OWNER_UNKNOWN)
                        json_write_value(writer, it.value);
        }
        json_end_array(writer);
        json_end_object(writer);
        plan_patch(plan, entry->kind, &entry->meta, json_root(entry->doc), ACTION_NONE);
}

static void plan_owners(const struct view *seen, struct plan *plan, const struct cache_entry *entry)
{
        struct owners owners = count_owners(seen, entry);
        bool has_dependents =
                cache_index_count(seen->cache, CACHE_INDEX_OWNER, STR_EMPTY, entry->meta.uid) > 0;
        enum propagation propagation = PROPAGATION_BACKGROUND;

        if (object_meta_is_deleting(&entry->meta) || owners.waiting + owners.absent == 0) {
                if (owners.unknown)
                        plan_come_back(plan, seen->now.realtime_ns + LOOK_AGAIN_NS);
                return;
        }
        if (owners.solid || owners.unknown) {
                if (owners.unknown)
                        plan_come_back(plan, seen->now.realtime_ns + LOOK_AGAIN_NS);
                if (owners.solid)
                        drop_owners(seen, plan, entry);
                return;
        }
        if ((owners.waiting && has_dependents) ||
            object_meta_has_finalizer(&entry->meta, FINALIZER_FOREGROUND))
                propagation = PROPAGATION_FOREGROUND;
        plan_note(plan, "%.*s %.*s has no owner left", STR_FORMAT(entry->kind->kind),
                  STR_FORMAT(entry->meta.name));
        plan_delete(plan, entry->kind, &entry->meta, EXPECT_VERSION, propagation, -1, ACTION_NONE);
}

/* ---- an object and its dependents ---- */

static bool blocks(const struct cache_entry *dependent, struct str uid)
{
        struct json_iterator it = json_iterate(dependent->meta.owner_references);
        struct owner_reference owner;

        while (owner_reference_next(&it, &owner)) {
                if (str_equal(owner.uid, uid) && owner.block_owner_deletion)
                        return true;
        }
        return false;
}

static void remove_finalizer(struct plan *plan, const struct cache_entry *entry,
                             struct str finalizer, int after)
{
        struct json_writer *writer = plan_patch_body(plan, &entry->meta, EXPECT_VERSION);

        write_finalizers_without(writer, &entry->meta, finalizer);
        json_end_object(writer);
        plan_patch(plan, entry->kind, &entry->meta, json_root(entry->doc), after);
}

static void plan_foreground(const struct view *seen, struct plan *plan,
                            const struct cache_entry *entry)
{
        /* The dependents' own keys delete them; here we only wait. */
        cache_for_each_owned(it, seen->cache, NULL, entry->meta.uid)
        {
                if (blocks(it.entry, entry->meta.uid))
                        return;
        }
        remove_finalizer(plan, entry, FINALIZER_FOREGROUND, ACTION_NONE);
}

static void plan_orphans(const struct view *seen, struct plan *plan,
                         const struct cache_entry *entry)
{
        int after = ACTION_NONE;

        cache_for_each_owned(it, seen->cache, NULL, entry->meta.uid)
        {
                struct json_iterator owners = json_iterate(it.entry->meta.owner_references);
                struct json_writer *writer;
                struct owner_reference owner;

                if (plan->count + 2 > PLAN_ACTIONS_MAX)
                        return;
                writer = plan_patch_body(plan, &it.entry->meta, EXPECT_VERSION);
                json_field_array(writer, "ownerReferences");
                while (owner_reference_next(&owners, &owner)) {
                        if (!str_equal(owner.uid, entry->meta.uid))
                                json_write_value(writer, owners.value);
                }
                json_end_array(writer);
                json_end_object(writer);
                after = plan_patch(plan, it.entry->kind, &it.entry->meta, json_root(it.entry->doc),
                                   after);
        }
        remove_finalizer(plan, entry, FINALIZER_ORPHAN, after);
}

void collect_plan(const struct view *seen, struct plan *plan)
{
        const struct cache_entry *entry = cache_get_uid(seen->cache, seen->name);

        if (!entry)
                return;
        if (object_meta_is_deleting(&entry->meta)) {
                bool orphan = object_meta_has_finalizer(&entry->meta, FINALIZER_ORPHAN);

                if (!orphan && !object_meta_has_finalizer(&entry->meta, FINALIZER_FOREGROUND))
                        return;
                /* A dependent that is not here yet would be left behind, or not be left alone. */
                if (!cache_is_complete(seen->cache, entry->meta.resource_version))
                        plan_come_back(plan, seen->now.realtime_ns + COUNT_AGAIN_NS);
                else if (orphan)
                        plan_orphans(seen, plan, entry);
                else
                        plan_foreground(seen, plan, entry);
                return;
        }
        if (json_count(entry->meta.owner_references))
                plan_owners(seen, plan, entry);
}

/* ---- which changes matter ---- */

static void enqueue_owners(struct controllers *set, const struct controller *controller,
                           const struct cache_entry *entry)
{
        struct json_iterator it = json_iterate(entry->meta.owner_references);
        struct owner_reference owner;

        while (owner_reference_next(&it, &owner)) {
                const struct cache_entry *object = cache_get_uid(controllers_cache(set), owner.uid);

                if (object && object_meta_is_deleting(&object->meta))
                        controllers_enqueue(set, controller, STR_EMPTY, owner.uid);
        }
}

static void enqueue_dependents(struct controllers *set, const struct controller *controller,
                               struct str uid)
{
        cache_for_each_owned(it, controllers_cache(set), NULL, uid)
                controllers_enqueue(set, controller, STR_EMPTY, it.entry->meta.uid);
}

void collect_listed(struct controllers *set, const struct controller *controller,
                    const struct kind *kind)
{
        const struct cluster_context *context = controller->context;

        cache_for_each_in(it, controllers_cache(set), context->index_owner_kind, NULL, STR_EMPTY,
                          kind->kind)
                controllers_enqueue(set, controller, STR_EMPTY, it.entry->meta.uid);
}

static bool began_deleting(const struct cache_entry *before, const struct cache_entry *after)
{
        return after && object_meta_is_deleting(&after->meta) &&
               (!before || !object_meta_is_deleting(&before->meta));
}

void collect_map(struct controllers *set, const struct controller *controller,
                 const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        bool owners_same = before && after &&
                           json_equal(before->meta.owner_references, after->meta.owner_references);

        if (!after || began_deleting(before, after))
                enqueue_dependents(set, controller, entry->meta.uid);
        if (before && (!after || !owners_same))
                enqueue_owners(set, controller, before);
        if (!after)
                return;
        if ((!owners_same && json_count(after->meta.owner_references)) ||
            object_meta_is_deleting(&after->meta))
                controllers_enqueue(set, controller, STR_EMPTY, entry->meta.uid);
}
