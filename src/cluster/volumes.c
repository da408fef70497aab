// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "cluster/internal.h"

/*
 * Binds PersistentVolumeClaims to volumes of their own. A volume is a folder on the node, named by
 * the PersistentVolume; its size is not enforced (docs/limits.md). Deleting the claim deletes the
 * volume.
 */

static struct str volume_name(struct plan *plan, const struct cache_entry *claim)
{
        struct str name = arena_printf(plan->arena, "pvc-%.*s", STR_FORMAT(claim->meta.uid));

        if (!name.data)
                plan_fail(plan, -ENOMEM);
        return name;
}

static void write_capacity(struct json_writer *writer, struct json_value spec)
{
        struct str storage =
                json_string_or(json_get(spec, "resources", "requests", "storage"), STR("1Gi"));

        json_field_object(writer, "capacity");
        json_field_string(writer, "storage", storage);
        json_end_object(writer);
}

static void write_modes(struct json_writer *writer, struct json_value spec)
{
        struct json_value modes = json_get(spec, "accessModes");

        json_key(writer, STR("accessModes"));
        if (json_count(modes)) {
                json_write_value(writer, modes);
                return;
        }
        json_begin_array(writer);
        json_write_string(writer, STR("ReadWriteOnce"));
        json_end_array(writer);
}

static int create_volume(struct plan *plan, const struct cache_entry *claim, struct str name)
{
        struct json_value spec = json_get(json_root(claim->doc), "spec");
        struct str class = json_string_or(json_get(spec, "storageClassName"), STR("standard"));
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("PersistentVolume"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_object(writer, "annotations");
        json_field_string(writer, "pv.kubernetes.io/provisioned-by", STR("cay.dev/folder"));
        json_field_string(writer, "cay.dev/capacity", STR("not enforced: the volume is a folder"));
        json_end_object(writer);
        json_end_object(writer);
        json_field_object(writer, "spec");
        write_capacity(writer, spec);
        write_modes(writer, spec);
        json_field_object(writer, "claimRef");
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("PersistentVolumeClaim"));
        json_field_string(writer, "namespace", claim->meta.namespace);
        json_field_string(writer, "name", claim->meta.name);
        json_field_string(writer, "uid", claim->meta.uid);
        json_end_object(writer);
        json_field_object(writer, "hostPath");
        json_field_string(writer, "path", name);
        json_end_object(writer);
        json_field_string(writer, "persistentVolumeReclaimPolicy", STR("Delete"));
        json_field_string(writer, "storageClassName", class);
        json_field_string(writer, "volumeMode", STR("Filesystem"));
        json_end_object(writer);
        json_end_object(writer);
        return plan_create(plan, &kind_persistent_volume, STR_EMPTY, name, ACTION_NONE);
}

static void bind_claim(struct plan *plan, const struct cache_entry *claim, struct str name,
                       int after)
{
        struct json_writer *writer = plan_patch_body(plan, &claim->meta, EXPECT_UID);

        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_string(writer, "volumeName", name);
        json_end_object(writer);
        plan_patch(plan, &kind_persistent_volume_claim, &claim->meta, json_root(claim->doc), after);
}

static void tell_bound(struct plan *plan, const struct cache_entry *claim)
{
        struct json_value spec = json_get(json_root(claim->doc), "spec");
        struct json_writer *writer = plan_patch_body(plan, &claim->meta, EXPECT_UID);

        json_end_object(writer);
        json_field_object(writer, "status");
        json_field_string(writer, "phase", STR("Bound"));
        write_modes(writer, spec);
        write_capacity(writer, spec);
        json_end_object(writer);
        plan_patch_status(plan, &kind_persistent_volume_claim, &claim->meta, json_root(claim->doc),
                          ACTION_NONE);
}

void volume_claim_plan(const struct view *seen, struct plan *plan)
{
        const struct cache_entry *claim =
                cache_get(seen->cache, &kind_persistent_volume_claim, seen->namespace, seen->name);
        struct json_value root;
        struct str name;

        if (!claim || object_meta_is_deleting(&claim->meta))
                return;
        root = json_root(claim->doc);
        /* Said by hand to want no volume made for it. */
        if (json_string_is(json_get(root, "spec", "storageClassName"), STR("")))
                return;
        if (json_string(json_get(root, "spec", "volumeName")).length) {
                if (!json_string_is(json_get(root, "status", "phase"), STR("Bound")))
                        tell_bound(plan, claim);
                return;
        }
        name = volume_name(plan, claim);
        if (!name.data)
                return;
        if (cache_get(seen->cache, &kind_persistent_volume, STR_EMPTY, name))
                bind_claim(plan, claim, name, ACTION_NONE);
        else
                bind_claim(plan, claim, name, create_volume(plan, claim, name));
}

void volume_claim_map(struct controllers *set, const struct controller *controller,
                      const struct cache_entry *before, const struct cache_entry *after)
{
        (void)before;
        if (after)
                controllers_enqueue(set, controller, after->meta.namespace, after->meta.name);
}

/* ---- volumes ---- */

static void tell_phase(struct plan *plan, const struct cache_entry *volume, struct str phase)
{
        struct json_writer *writer;

        if (json_string_is(json_get(json_root(volume->doc), "status", "phase"), phase))
                return;
        writer = plan_patch_body(plan, &volume->meta, EXPECT_UID);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_field_string(writer, "phase", phase);
        json_end_object(writer);
        plan_patch_status(plan, &kind_persistent_volume, &volume->meta, json_root(volume->doc),
                          ACTION_NONE);
}

void volume_plan(const struct view *seen, struct plan *plan)
{
        const struct cache_entry *volume =
                cache_get(seen->cache, &kind_persistent_volume, STR_EMPTY, seen->name);
        struct json_value spec, reference;
        struct str uid;

        if (!volume || object_meta_is_deleting(&volume->meta))
                return;
        spec = json_get(json_root(volume->doc), "spec");
        reference = json_get(spec, "claimRef");
        uid = json_string(json_get(reference, "uid"));
        if (uid.length == 0) {
                tell_phase(plan, volume, STR("Available"));
                return;
        }
        if (cache_get_uid(seen->cache, uid)) {
                tell_phase(plan, volume, STR("Bound"));
                return;
        }
        /* The claim's watch may be behind: its end must have been seen. */
        if (!cache_was_deleted(seen->cache, uid) &&
            cache_progress(seen->cache, &kind_persistent_volume_claim) <
                    volume->meta.resource_version) {
                plan_come_back(plan, seen->now.realtime_ns + UINT64_C(2000000000));
                return;
        }
        if (json_string_is(json_get(spec, "persistentVolumeReclaimPolicy"), STR("Delete")))
                plan_delete(plan, &kind_persistent_volume, &volume->meta, EXPECT_VERSION,
                            PROPAGATION_BACKGROUND, -1, ACTION_NONE);
        else
                tell_phase(plan, volume, STR("Released"));
}

void volume_map(struct controllers *set, const struct controller *controller,
                const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        struct str name;

        if (entry->kind == &kind_persistent_volume) {
                if (after)
                        controllers_enqueue(set, controller, STR_EMPTY, entry->meta.name);
                return;
        }
        name = json_string(json_get(json_root(entry->doc), "spec", "volumeName"));
        if (name.length && (!before || !after))
                controllers_enqueue(set, controller, STR_EMPTY, name);
}
