// SPDX-License-Identifier: Apache-2.0
#include "kube/meta.h"

#include "base/clock.h"

static uint64_t read_time(struct json_value value)
{
        uint64_t ns;

        return rfc3339_parse(json_string(value), &ns) == 0 ? ns : 0;
}

void object_meta_read(struct json_value object, struct object_meta *ret)
{
        struct json_value meta = json_get(object, "metadata");
        uint64_t version = 0;

        if (str_to_u64(json_string(json_get(meta, "resourceVersion")), UINT64_MAX, &version) < 0)
                version = 0;
        *ret = (struct object_meta){
                .name = json_string(json_get(meta, "name")),
                .namespace = json_string(json_get(meta, "namespace")),
                .uid = json_string(json_get(meta, "uid")),
                .generate_name = json_string(json_get(meta, "generateName")),
                .value = meta,
                .deletion_grace_seconds =
                        json_int64_or(json_get(meta, "deletionGracePeriodSeconds"), -1),
                .managed_fields = json_get(meta, "managedFields"),
                .resource_version = version,
                .generation = json_int64_or(json_get(meta, "generation"), 0),
                .creation_ns = read_time(json_get(meta, "creationTimestamp")),
                .deletion_ns = read_time(json_get(meta, "deletionTimestamp")),
                .labels = json_get(meta, "labels"),
                .annotations = json_get(meta, "annotations"),
                .owner_references = json_get(meta, "ownerReferences"),
                .finalizers = json_get(meta, "finalizers"),
        };
}

struct str object_meta_label(const struct object_meta *meta, struct str key)
{
        return json_string(json_member(meta->labels, key));
}

struct str object_meta_annotation(const struct object_meta *meta, struct str key)
{
        return json_string(json_member(meta->annotations, key));
}

bool object_meta_has_finalizer(const struct object_meta *meta, struct str name)
{
        json_for_each (it, meta->finalizers) {
                if (json_string_is(it.value, name))
                        return true;
        }
        return false;
}

void api_version_split(struct str api_version, struct str *ret_group, struct str *ret_version)
{
        struct str group, version;

        if (str_cut(api_version, '/', &group, &version)) {
                *ret_group = group;
                *ret_version = version;
        } else {
                *ret_group = STR_EMPTY;
                *ret_version = api_version;
        }
}

bool owner_reference_next(struct json_iterator *iterator, struct owner_reference *ret_owner)
{
        struct json_value value;

        if (!json_next(iterator))
                return false;
        value = iterator->value;
        *ret_owner = (struct owner_reference){
                .kind = json_string(json_get(value, "kind")),
                .name = json_string(json_get(value, "name")),
                .uid = json_string(json_get(value, "uid")),
                .controller = json_bool_or(json_get(value, "controller"), false),
                .block_owner_deletion = json_bool_or(json_get(value, "blockOwnerDeletion"), false),
        };
        api_version_split(json_string(json_get(value, "apiVersion")), &ret_owner->group,
                          &ret_owner->version);
        return true;
}

bool object_meta_controller(const struct object_meta *meta, struct owner_reference *ret_owner)
{
        struct json_iterator it = json_iterate(meta->owner_references);
        struct owner_reference owner;

        while (owner_reference_next(&it, &owner)) {
                if (owner.controller) {
                        *ret_owner = owner;
                        return true;
                }
        }
        return false;
}

bool object_meta_is_owned_by(const struct object_meta *meta, struct str uid)
{
        struct json_iterator it = json_iterate(meta->owner_references);
        struct owner_reference owner;

        while (owner_reference_next(&it, &owner)) {
                if (uid.length && str_equal(owner.uid, uid))
                        return true;
        }
        return false;
}
