// SPDX-License-Identifier: Apache-2.0
#include "kube/meta.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limit.h"
#include "kube/status.h"

static uint64_t read_time(struct json_value value)
{
        uint64_t time;

        return rfc3339_parse(json_string(value), &time) == 0 ? time : 0;
}

static void read_field(struct object_meta *meta, struct str key, struct json_value value)
{
        uint64_t number;

        if (str_equal(key, STR("name")))
                meta->name = json_string(value);
        else if (str_equal(key, STR("generateName")))
                meta->generate_name = json_string(value);
        else if (str_equal(key, STR("namespace")))
                meta->namespace = json_string(value);
        else if (str_equal(key, STR("uid")))
                meta->uid = json_string(value);
        else if (str_equal(key, STR("resourceVersion")))
                meta->resource_version =
                        str_to_u64(json_string(value), UINT64_MAX, &number) == 0 ? number : 0;
        else if (str_equal(key, STR("generation")))
                meta->generation = json_int64_or(value, 0);
        else if (str_equal(key, STR("creationTimestamp")))
                meta->creation_ns = read_time(value);
        else if (str_equal(key, STR("deletionTimestamp")))
                meta->deletion_ns = read_time(value);
        else if (str_equal(key, STR("deletionGracePeriodSeconds")))
                meta->deletion_grace_seconds = json_int64_or(value, -1);
        else if (str_equal(key, STR("labels")))
                meta->labels = value;
        else if (str_equal(key, STR("annotations")))
                meta->annotations = value;
        else if (str_equal(key, STR("finalizers")))
                meta->finalizers = value;
        else if (str_equal(key, STR("ownerReferences")))
                meta->owner_references = value;
        else if (str_equal(key, STR("managedFields")))
                meta->managed_fields = value;
}

void object_meta_read(struct json_value object, struct object_meta *ret_meta)
{
        struct json_value value = json_member(object, STR("metadata"));
        struct object_meta meta = { .value = value, .deletion_grace_seconds = -1 };

        if (json_type(value) == JSON_OBJECT)
                json_for_each (it, value)
                        read_field(&meta, it.key, it.value);
        *ret_meta = meta;
}

struct str object_meta_label(const struct object_meta *meta, struct str key)
{
        return json_string(json_member(meta->labels, key));
}

struct str object_meta_annotation(const struct object_meta *meta, struct str key)
{
        return json_string(json_member(meta->annotations, key));
}

bool object_meta_has_finalizer(const struct object_meta *meta, struct str finalizer)
{
        json_for_each (it, meta->finalizers)
                if (json_string_is(it.value, finalizer))
                        return true;
        return false;
}

void api_version_split(struct str api_version, struct str *ret_group, struct str *ret_version)
{
        struct str group, version;

        if (!str_cut(api_version, '/', &group, &version)) {
                version = group;
                group = STR_EMPTY;
        }
        *ret_group = group;
        *ret_version = version;
}

bool owner_reference_next(struct json_iterator *iterator, struct owner_reference *ret_owner)
{
        if (!json_next(iterator))
                return false;

        struct json_value value = iterator->value;
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
                if (!owner.controller)
                        continue;
                *ret_owner = owner;
                return true;
        }
        return false;
}

bool object_meta_is_owned_by(const struct object_meta *meta, struct str uid)
{
        json_for_each (it, meta->owner_references)
                if (json_string_is(json_get(it.value, "uid"), uid))
                        return true;
        return false;
}

/* ---- validation: k8s.io/apimachinery pkg/api/validation/objectmeta.go ---- */

static void check_string(struct field_errors *errors, struct str field, struct str value,
                         const char *problem)
{
        if (problem)
                field_errors_add_string(errors, FIELD_INVALID, field, value, "%s", problem);
}

static bool check_type(struct field_errors *errors, struct str field, struct json_value value,
                       enum json_type type, const char *name)
{
        if (json_type(value) == type)
                return true;
        if (json_exists(value) && json_type(value) != JSON_NULL)
                field_errors_add(errors, FIELD_TYPE_INVALID, field, value,
                                 "%.*s in body must be of type %s", STR_FORMAT(field), name);
        return false;
}

/* A generated name goes on after its base, so that may end with a dash. */
static void check_generate_name(struct field_errors *errors, struct str base,
                                name_check_fn check_name)
{
        struct str checked = base;
        char masked[LIMIT_NAME + 1];

        if (base.length > 1 && base.length <= LIMIT_NAME && base.data[base.length - 1] == '-') {
                memcpy(masked, base.data, base.length);
                masked[base.length - 2] = 'a';
                checked = (struct str){ masked, base.length - 1 };
        }
        check_string(errors, STR("metadata.generateName"), base, check_name(checked));
}

static void check_names(struct field_errors *errors, struct json_value meta, bool namespaced,
                        name_check_fn check_name)
{
        struct json_value name = json_get(meta, "name"), base = json_get(meta, "generateName"),
                          namespace = json_get(meta, "namespace");
        struct str namespace_field = STR("metadata.namespace");

        if (check_type(errors, STR("metadata.generateName"), base, JSON_STRING, "string") &&
            json_string(base).length > 0)
                check_generate_name(errors, json_string(base), check_name);
        bool named = json_exists(name) && json_type(name) != JSON_NULL;
        if (named && check_type(errors, STR("metadata.name"), name, JSON_STRING, "string"))
                named = json_string(name).length > 0;
        if (json_string(name).length > 0)
                check_string(errors, STR("metadata.name"), json_string(name),
                             check_name(json_string(name)));
        else if (!named && json_string(base).length == 0)
                field_errors_add(errors, FIELD_REQUIRED, STR("metadata.name"), meta,
                                 "name or generateName is required");

        check_type(errors, namespace_field, namespace, JSON_STRING, "string");
        struct str text = json_string(namespace);
        if (namespaced && text.length == 0)
                field_errors_add(errors, FIELD_REQUIRED, namespace_field, meta, "%s", "");
        else if (namespaced)
                check_string(errors, namespace_field, text, name_check_dns_label(text));
        else if (text.length > 0)
                field_errors_add(errors, FIELD_FORBIDDEN, namespace_field, meta,
                                 "not allowed on this type");
}

static void check_labels(struct field_errors *errors, struct json_value labels)
{
        struct str field = STR("metadata.labels");

        if (!check_type(errors, field, labels, JSON_OBJECT, "object"))
                return;
        json_for_each (it, labels) {
                check_string(errors, field, it.key, name_check_qualified(it.key));
                if (check_type(errors, field, it.value, JSON_STRING, "string"))
                        check_string(errors, field, json_string(it.value),
                                     name_check_label_value(json_string(it.value)));
        }
}

/* Keys of annotations are checked as if they were in lower case. */
static const char *check_annotation_key(struct str key)
{
        char lower[LIMIT_NAME + LIMIT_LABEL + 2];

        if (key.length > sizeof(lower))
                return name_check_qualified(key);
        for (size_t i = 0; i < key.length; i++)
                lower[i] = key.data[i] >= 'A' && key.data[i] <= 'Z'
                                   ? (char)(key.data[i] - 'A' + 'a')
                                   : key.data[i];
        return name_check_qualified((struct str){ lower, key.length });
}

static void check_annotations(struct field_errors *errors, struct json_value annotations)
{
        struct str field = STR("metadata.annotations");
        size_t size = 0;

        if (!check_type(errors, field, annotations, JSON_OBJECT, "object"))
                return;
        json_for_each (it, annotations) {
                check_string(errors, field, it.key, check_annotation_key(it.key));
                check_type(errors, field, it.value, JSON_STRING, "string");
                size += it.key.length + json_string(it.value).length;
        }
        if (size > LIMIT_ANNOTATIONS)
                field_errors_add(errors, FIELD_TOO_LONG, field, annotations,
                                 "may not be more than %d bytes", LIMIT_ANNOTATIONS);
}

static void check_finalizers(struct field_errors *errors, struct json_value finalizers)
{
        struct str field = STR("metadata.finalizers");
        bool orphan = false, foreground = false;

        if (!check_type(errors, field, finalizers, JSON_ARRAY, "array"))
                return;
        json_for_each (it, finalizers) {
                struct str name = json_string(it.value);
                if (!check_type(errors, field, it.value, JSON_STRING, "string"))
                        continue;
                check_string(errors, field, name, name_check_qualified(name));
                orphan |= str_equal(name, STR("orphan"));
                foreground |= str_equal(name, STR("foregroundDeletion"));
        }
        if (orphan && foreground)
                field_errors_add(errors, FIELD_INVALID, field, finalizers,
                                 "finalizer orphan and foregroundDeletion cannot be both set");
}

static void check_owner_field(struct field_errors *errors, struct str field, const char *name,
                              struct json_value owner, const char *problem)
{
        if (json_string(json_member(owner, str_from(name))).length == 0)
                field_errors_add_string(errors, FIELD_INVALID, field, STR_EMPTY, "%s", problem);
}

static void check_owner(struct field_errors *errors, struct json_value value,
                        const struct owner_reference *owner)
{
        check_owner_field(errors, STR("metadata.ownerReferences.apiVersion"), "apiVersion", value,
                          "version must not be empty");
        check_owner_field(errors, STR("metadata.ownerReferences.kind"), "kind", value,
                          "must not be empty");
        check_owner_field(errors, STR("metadata.ownerReferences.name"), "name", value,
                          "must not be empty");
        check_owner_field(errors, STR("metadata.ownerReferences.uid"), "uid", value,
                          "must not be empty");
        if (owner->group.length == 0 && str_equal(owner->kind, STR("Event")))
                field_errors_add(errors, FIELD_INVALID, STR("metadata.ownerReferences"), value,
                                 "/v1, Kind=Event is disallowed from being an owner");
}

static void check_owners(struct field_errors *errors, struct json_value owners)
{
        struct str field = STR("metadata.ownerReferences");
        struct owner_reference controller = {}, owner;

        if (!check_type(errors, field, owners, JSON_ARRAY, "array"))
                return;
        struct json_iterator it = json_iterate(owners);
        while (owner_reference_next(&it, &owner)) {
                check_owner(errors, it.value, &owner);
                if (!owner.controller)
                        continue;
                if (controller.controller)
                        field_errors_add(errors, FIELD_INVALID, field, owners,
                                         "Only one reference can have Controller set to true. "
                                         "Found \"true\" in references for %.*s/%.*s and %.*s/%.*s",
                                         STR_FORMAT(controller.kind), STR_FORMAT(controller.name),
                                         STR_FORMAT(owner.kind), STR_FORMAT(owner.name));
                controller = owner;
        }
}

void object_meta_validate(struct json_value object, bool namespaced, name_check_fn check_name,
                          struct field_errors *errors)
{
        struct json_value meta = json_member(object, STR("metadata"));

        if (!check_type(errors, STR("metadata"), meta, JSON_OBJECT, "object")) {
                if (json_type(meta) == JSON_ABSENT || json_type(meta) == JSON_NULL)
                        field_errors_add(errors, FIELD_REQUIRED, STR("metadata.name"), object,
                                         "name or generateName is required");
                return;
        }
        check_names(errors, meta, namespaced, check_name);
        check_labels(errors, json_get(meta, "labels"));
        check_annotations(errors, json_get(meta, "annotations"));
        check_owners(errors, json_get(meta, "ownerReferences"));
        check_finalizers(errors, json_get(meta, "finalizers"));
}
