// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/registry.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/registry_internal.h"

static const struct api_subresource status_subresource = {
        .name = STR("status"), .verbs = API_GET | API_PATCH | API_UPDATE
};
static const struct api_subresource scale_subresource = {
        .name = STR("scale"),
        .group = STR("autoscaling"),
        .version = STR("v1"),
        .kind = STR("Scale"),
        .verbs = API_GET | API_PATCH | API_UPDATE,
};

/* "spec.replicas" of a CRD's path ".spec.replicas" as a JSON pointer. */
static struct str pointer_of_path(struct arena *arena, struct str path)
{
        struct str pointer = arena_str(arena, path);

        if (pointer.data) {
                for (size_t i = 0; i < pointer.length; i++) {
                        if (pointer.data[i] == '.')
                                ((char *)(uintptr_t)pointer.data)[i] = '/';
                }
        }
        return pointer;
}

static int read_scale(struct arena *arena, struct json_value scale, struct error *error,
                      struct api_version *version)
{
        struct str spec = json_string(json_get(scale, "specReplicasPath"));
        struct str status = json_string(json_get(scale, "statusReplicasPath"));
        struct str selector = json_string(json_get(scale, "labelSelectorPath"));
        int r;

        r = jsonpath_parse(spec, arena, error, &version->scale_spec);
        if (r == 0)
                r = jsonpath_parse(status, arena, error, &version->scale_status);
        if (r == 0 && selector.length > 0)
                r = jsonpath_parse(selector, arena, error, &version->scale_selector);
        version->scale_spec_pointer = pointer_of_path(arena, spec);
        return r;
}

static int read_subresources(struct api_resource *entry, struct json_value subresources,
                             struct error *error, struct api_version *version)
{
        struct api_subresource *list = arena_new(&entry->arena, struct api_subresource, 2);
        struct json_value scale = json_get(subresources, "scale");

        if (!list)
                return -ENOMEM;
        version->subresources = list;
        if (json_exists(json_get(subresources, "status"))) {
                version->has_status = true;
                list[version->subresource_count] = status_subresource;
                list[version->subresource_count].group = entry->group;
                list[version->subresource_count].version = version->name;
                list[version->subresource_count].kind = entry->kind;
                version->subresource_count++;
        }
        if (!json_exists(scale))
                return 0;
        list[version->subresource_count++] = scale_subresource;
        return read_scale(&entry->arena, scale, error, version);
}

static int read_version(struct registry *registry, struct api_resource *entry,
                        struct json_value crd_spec, struct json_value item, struct error *error,
                        struct api_version *version)
{
        struct json_value schema = json_get(item, "schema", "openAPIV3Schema");
        int r;

        version->name = json_string(json_get(item, "name"));
        version->served = json_bool_or(json_get(item, "served"), false);
        version->openapi = schema;
        version->prunes = !json_bool_or(json_get(crd_spec, "preserveUnknownFields"), false);
        if (json_bool_or(json_get(item, "deprecated"), false)) {
                version->deprecation = json_string(json_get(item, "deprecationWarning"));
                if (version->deprecation.length == 0)
                        version->deprecation =
                                arena_printf(&entry->arena, "%.*s/%.*s %.*s is deprecated",
                                             STR_FORMAT(entry->group), STR_FORMAT(version->name),
                                             STR_FORMAT(entry->kind));
        }
        if (json_exists(schema)) {
                struct schema_set *set;
                r = schema_set_new_crd(schema, registry->schemas, error, &set, &version->schema);
                if (r < 0)
                        return r;
                entry->schemas[entry->schema_count++] = set;
        }
        r = table_columns_read(json_get(item, "additionalPrinterColumns"), &entry->arena, error,
                               &version->columns);
        if (r < 0)
                return r;
        return read_subresources(entry, json_get(item, "subresources"), error, version);
}

/* v2 > v1 > v2beta1 > v1beta2 > v1alpha1 > what is no such name (Kubernetes' version priority). */
static uint64_t version_rank(struct str name)
{
        uint64_t major = 0, minor = 0, stage = 3;
        size_t i = 1;

        if (name.length < 2 || name.data[0] != 'v')
                return 0;
        for (; i < name.length && name.data[i] >= '0' && name.data[i] <= '9'; i++)
                major = major * 10 + (uint64_t)(name.data[i] - '0');
        if (i == 1)
                return 0;
        if (i < name.length) {
                struct str rest = str_slice(name, i, name.length);
                bool beta = str_starts_with(rest, STR("beta"));
                if (!beta && !str_starts_with(rest, STR("alpha")))
                        return 0;
                stage = beta ? 2 : 1;
                rest = str_slice(rest, beta ? 4 : 5, rest.length);
                if (str_to_u64(rest, 999, &minor) < 0)
                        return 0;
        }
        return stage << 40 | (major & 0xffff) << 16 | minor;
}

static void sort_versions(struct api_version *versions, size_t count)
{
        for (size_t i = 1; i < count; i++) {
                struct api_version moving = versions[i];
                size_t j = i;
                for (; j > 0 && version_rank(versions[j - 1].name) < version_rank(moving.name); j--)
                        versions[j] = versions[j - 1];
                versions[j] = moving;
        }
}

static int read_names(struct api_resource *entry, struct json_value names)
{
        int r;

        entry->plural = json_string(json_get(names, "plural"));
        entry->kind = json_string(json_get(names, "kind"));
        entry->singular = json_string(json_get(names, "singular"));
        entry->list_kind = json_string(json_get(names, "listKind"));
        if (entry->singular.length == 0) {
                struct str lower = arena_str(&entry->arena, entry->kind);
                if (!lower.data)
                        return -ENOMEM;
                for (size_t i = 0; i < lower.length; i++) {
                        char *c = (char *)(uintptr_t)&lower.data[i];
                        if (*c >= 'A' && *c <= 'Z')
                                *c = (char)(*c + ('a' - 'A'));
                }
                entry->singular = lower;
        }
        if (entry->list_kind.length == 0)
                entry->list_kind = arena_printf(&entry->arena, "%.*sList", STR_FORMAT(entry->kind));
        r = registry_read_strings(&entry->arena, json_get(names, "shortNames"), &entry->short_names,
                                  &entry->short_name_count);
        if (r < 0)
                return r;
        return registry_read_strings(&entry->arena, json_get(names, "categories"),
                                     &entry->categories, &entry->category_count);
}

static int read_versions(struct registry *registry, struct api_resource *entry,
                         struct json_value spec, struct error *error)
{
        struct json_value list = json_get(spec, "versions");
        size_t count = json_count(list), i = 0;
        struct api_version *versions = arena_new(&entry->arena, struct api_version, count);
        struct str storage_name = STR_EMPTY;
        int r = 0;

        entry->schemas = arena_new(&entry->arena, struct schema_set *, count);
        if (!versions || !entry->schemas)
                return -ENOMEM;
        json_for_each (it, list) {
                r = read_version(registry, entry, spec, it.value, error, &versions[i]);
                if (r < 0)
                        return r;
                if (json_bool_or(json_get(it.value, "storage"), false))
                        storage_name = versions[i].name;
                i++;
        }
        sort_versions(versions, count);
        entry->versions = versions;
        entry->version_count = count;
        entry->storage_version = api_resource_version(entry, storage_name);
        if (!entry->storage_version)
                return error_set(error, -EINVAL, "must have exactly one version marked as storage");
        return 0;
}

static int check_names(const struct registry *registry, const struct api_resource *entry,
                       bool built_in, struct error *error)
{
        const struct api_resource *other;

        if (entry->plural.length == 0 || entry->kind.length == 0 || entry->group.length == 0)
                return error_set(error, -EINVAL, "spec.group and spec.names must be complete");
        list_for_each (other, &registry->resources, in_registry) {
                if (!str_equal(other->group, entry->group))
                        continue;
                if (!other->custom)
                        return error_set(error, -EINVAL, "the group %.*s is not for definitions",
                                         STR_FORMAT(entry->group));
                if (str_equal(other->plural, entry->plural)) {
                        if (other->built_in && !built_in)
                                return error_set(error, -EPERM,
                                                 "%.*s.%.*s is served by its built-in definition",
                                                 STR_FORMAT(entry->plural),
                                                 STR_FORMAT(entry->group));
                } else if (str_equal(other->kind, entry->kind)) {
                        return error_set(error, -EINVAL, "\"%.*s\" is already in use",
                                         STR_FORMAT(entry->kind));
                }
        }
        return 0;
}

int registry_add_crd(struct registry *registry, struct json_doc *crd, bool built_in,
                     struct error *error)
{
        struct json_value spec = json_get(json_root(crd), "spec");
        struct api_resource *entry = registry_entry_new(crd);
        int r;

        if (!entry)
                return -ENOMEM;
        entry->custom = true;
        entry->built_in = built_in;
        entry->group = json_string(json_get(spec, "group"));
        entry->namespaced = !json_string_is(json_get(spec, "scope"), STR("Cluster"));
        entry->verbs = API_GET | API_LIST | API_WATCH | API_CREATE | API_UPDATE | API_PATCH |
                       API_DELETE | API_DELETE_COLLECTION;
        r = read_names(entry, json_get(spec, "names"));
        if (r == 0)
                r = check_names(registry, entry, built_in, error);
        if (r == 0)
                r = read_versions(registry, entry, spec, error);
        if (r == 0) {
                entry->storage = storage_type(registry->storage, entry->group, entry->plural);
                r = entry->storage ? 0 : -ENOMEM;
        }
        if (r < 0) {
                api_resource_unref(entry);
                return r;
        }
        registry_put(registry, entry);
        return 0;
}

static struct api_resource *find_removable(struct registry *registry, struct str group,
                                           struct str plural)
{
        struct api_resource *entry;

        list_for_each (entry, &registry->resources, in_registry) {
                if (entry->custom && !entry->built_in && str_equal(entry->group, group) &&
                    str_equal(entry->plural, plural))
                        return entry;
        }
        return NULL;
}

void registry_terminate_crd(struct registry *registry, struct str group, struct str plural)
{
        struct api_resource *entry = find_removable(registry, group, plural);

        if (entry)
                entry->terminating = true;
}

bool registry_remove_crd(struct registry *registry, struct str group, struct str plural)
{
        struct api_resource *entry = find_removable(registry, group, plural);

        if (!entry)
                return false;
        list_remove(&entry->in_registry);
        api_resource_unref(entry);
        registry_changed(registry);
        return true;
}
