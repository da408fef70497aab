// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/registry.h"

#include <errno.h>
#include <stdlib.h>

#include "apiserver/behaviour.h"
#include "apiserver/registry_internal.h"
#include "kinds/kind.h"

static const struct {
        enum api_verb verb;
        struct str name;
} verbs[] = {
        { API_CREATE, STR("create") },
        { API_DELETE, STR("delete") },
        { API_DELETE_COLLECTION, STR("deletecollection") },
        { API_GET, STR("get") },
        { API_LIST, STR("list") },
        { API_PATCH, STR("patch") },
        { API_UPDATE, STR("update") },
        { API_WATCH, STR("watch") },
};

struct str api_verb_name(enum api_verb verb)
{
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
                if (verbs[i].verb == verb)
                        return verbs[i].name;
        }
        return STR_EMPTY;
}

static unsigned read_verbs(struct json_value list)
{
        unsigned set = 0;

        json_for_each (it, list) {
                for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
                        if (str_equal(verbs[i].name, json_string(it.value)))
                                set |= verbs[i].verb;
                }
        }
        return set;
}

struct str api_group_version(struct arena *arena, struct str group, struct str version)
{
        if (group.length == 0)
                return version;
        return arena_printf(arena, "%.*s/%.*s", STR_FORMAT(group), STR_FORMAT(version));
}

/* ---- entries ---- */

const struct api_resource *api_resource_ref(const struct api_resource *resource)
{
        ((struct api_resource *)(uintptr_t)resource)->references++;
        return resource;
}

void api_resource_unref(const struct api_resource *resource)
{
        struct api_resource *entry = (struct api_resource *)(uintptr_t)resource;

        if (!entry || --entry->references > 0)
                return;
        for (size_t i = 0; i < entry->schema_count; i++)
                schema_set_free(entry->schemas[i]);
        if (entry->source)
                json_doc_unref(entry->source);
        arena_deinit(&entry->arena);
        free(entry);
}

struct api_resource *registry_entry_new(struct json_doc *source)
{
        struct api_resource *entry = calloc(1, sizeof(*entry));

        if (!entry)
                return NULL;
        list_init(&entry->in_registry);
        entry->references = 1;
        entry->source = json_doc_ref(source);
        return entry;
}

int registry_read_strings(struct arena *arena, struct json_value list, const struct str **ret_list,
                          size_t *ret_count)
{
        size_t count = json_count(list), i = 0;
        struct str *strings;

        if (count == 0)
                return 0;
        strings = arena_new(arena, struct str, count);
        if (!strings)
                return -ENOMEM;
        json_for_each (it, list)
                strings[i++] = json_string(it.value);
        *ret_list = strings;
        *ret_count = count;
        return 0;
}

void registry_changed(struct registry *registry)
{
        struct registry_listener *listener;

        registry->generation++;
        list_for_each (listener, &registry->listeners, link)
                listener->changed(listener);
}

void registry_listen(struct registry *registry, struct registry_listener *listener)
{
        list_append(&registry->listeners, &listener->link);
}

void registry_put(struct registry *registry, struct api_resource *entry)
{
        struct api_resource *other;

        entry->behaviour = behaviour_find(entry->group, entry->plural);
        entry->hash = 0;
        for (size_t i = 0; i < entry->version_count; i++)
                entry->hash =
                        entry->hash * 16777619 ^ str_fnv1a(json_text(entry->versions[i].openapi));
        if (entry->custom && !entry->alias)
                entry->kind_known = kind_find_plural(entry->group, entry->plural);
        list_for_each (other, &registry->resources, in_registry) {
                if (!str_equal(other->group, entry->group) ||
                    !str_equal(other->plural, entry->plural))
                        continue;
                /* The new one takes the old one's place in every order. */
                list_append(&other->in_registry, &entry->in_registry);
                list_remove(&other->in_registry);
                api_resource_unref(other);
                registry_changed(registry);
                return;
        }
        list_append(&registry->resources, &entry->in_registry);
        registry_changed(registry);
}

/* ---- Kubernetes' own kinds ---- */

static int read_columns(struct arena *arena, struct json_value list, struct table_columns *ret)
{
        size_t count = json_count(list), i = 0;
        struct table_column *columns = arena_new(arena, struct table_column, count);

        if (!columns)
                return -ENOMEM;
        json_for_each (it, list) {
                columns[i++] = (struct table_column){
                        .name = json_string(json_get(it.value, "name")),
                        .type = json_string(json_get(it.value, "type")),
                        .format = json_string(json_get(it.value, "format")),
                        .priority = json_int64_or(json_get(it.value, "priority"), 0),
                };
        }
        *ret = (struct table_columns){ columns, count };
        return 0;
}

static int read_subresources(struct arena *arena, struct json_value item, struct json_value list,
                             struct api_version *version)
{
        size_t count = json_count(list), i = 0;
        struct api_subresource *subresources = arena_new(arena, struct api_subresource, count);

        if (!subresources)
                return -ENOMEM;
        json_for_each (it, list) {
                subresources[i] = (struct api_subresource){
                        .name = json_string(json_get(it.value, "name")),
                        .group = json_string_or(json_get(it.value, "group"),
                                                json_string(json_get(item, "group"))),
                        .version = json_string_or(json_get(it.value, "version"), version->name),
                        .kind = json_string(json_get(it.value, "kind")),
                        .verbs = read_verbs(json_get(it.value, "verbs")),
                };
                if (str_equal(subresources[i].name, STR("status")))
                        version->has_status = true;
                i++;
        }
        version->subresources = subresources;
        version->subresource_count = count;
        return 0;
}

static int set_scale(struct arena *arena, struct api_version *version)
{
        int r;

        if (!api_version_subresource(version, STR("scale")))
                return 0;
        r = jsonpath_parse(STR(".spec.replicas"), arena, NULL, &version->scale_spec);
        if (r == 0)
                r = jsonpath_parse(STR(".status.replicas"), arena, NULL, &version->scale_status);
        version->scale_spec_pointer = STR("/spec/replicas");
        return r;
}

static int add_core(struct registry *registry, struct json_value item)
{
        struct api_resource *entry = registry_entry_new(registry->core);
        struct api_version *version;
        int r;

        if (!entry)
                return -ENOMEM;
        entry->group = json_string(json_get(item, "group"));
        entry->plural = json_string(json_get(item, "resource"));
        entry->singular = json_string(json_get(item, "singular"));
        entry->kind = json_string(json_get(item, "kind"));
        entry->namespaced = json_bool_or(json_get(item, "namespaced"), false);
        entry->verbs = read_verbs(json_get(item, "verbs"));
        entry->list_kind = arena_printf(&entry->arena, "%.*sList", STR_FORMAT(entry->kind));
        version = arena_new(&entry->arena, struct api_version, 1);
        r = version && entry->list_kind.data ? 0 : -ENOMEM;
        if (r == 0)
                r = registry_read_strings(&entry->arena, json_get(item, "shortNames"),
                                          &entry->short_names, &entry->short_name_count);
        if (r == 0)
                r = registry_read_strings(&entry->arena, json_get(item, "categories"),
                                          &entry->categories, &entry->category_count);
        if (r == 0) {
                version->name = json_string(json_get(item, "version"));
                version->served = true;
                version->prunes = true;
                version->definition = json_string(json_get(item, "schema"));
                version->schema = schema_set_find(registry->schemas, version->definition);
                version->openapi = json_member(json_get(json_root(registry->core), "definitions"),
                                               version->definition);
                r = read_columns(&entry->arena, json_get(item, "columns"), &version->columns);
        }
        if (r == 0)
                r = read_subresources(&entry->arena, item, json_get(item, "subresources"), version);
        if (r == 0)
                r = set_scale(&entry->arena, version);
        if (r == 0 && (entry->verbs & API_GET)) {
                entry->storage = storage_type(registry->storage, entry->group, entry->plural);
                r = entry->storage ? 0 : -ENOMEM;
        }
        if (r < 0) {
                api_resource_unref(entry);
                return r;
        }
        entry->versions = entry->storage_version = version;
        entry->version_count = 1;
        registry_put(registry, entry);
        return 0;
}

int registry_new(struct storage *storage, struct str core_schema, struct error *error,
                 struct registry **ret_registry)
{
        struct registry *registry = calloc(1, sizeof(*registry));
        struct json_value definitions;
        int r;

        if (!registry)
                return -ENOMEM;
        list_init(&registry->resources);
        list_init(&registry->listeners);
        registry->storage = storage;
        r = json_doc_parse(core_schema, NULL, NULL, error, &registry->core);
        if (r == 0) {
                definitions = json_get(json_root(registry->core), "definitions");
                r = schema_set_new(definitions, error, &registry->schemas);
        }
        if (r == 0) {
                json_for_each (it, json_get(json_root(registry->core), "resources")) {
                        r = add_core(registry, it.value);
                        if (r < 0)
                                break;
                }
        }
        if (r < 0) {
                registry_free(registry);
                return r;
        }
        *ret_registry = registry;
        return 0;
}

void registry_free(struct registry *registry)
{
        if (!registry)
                return;
        while (!list_is_empty(&registry->resources)) {
                struct api_resource *entry =
                        list_entry(registry->resources.next, struct api_resource, in_registry);
                list_remove(&entry->in_registry);
                api_resource_unref(entry);
        }
        if (registry->schemas)
                schema_set_free(registry->schemas);
        if (registry->core)
                json_doc_unref(registry->core);
        free(registry);
}

/* ---- looking up ---- */

const struct api_resource *registry_find(const struct registry *registry, struct str group,
                                         struct str plural)
{
        const struct api_resource *entry;

        list_for_each (entry, &registry->resources, in_registry) {
                if (str_equal(entry->plural, plural) && str_equal(entry->group, group))
                        return entry;
        }
        return NULL;
}

const struct api_resource *registry_find_kind(const struct registry *registry, struct str group,
                                              struct str kind)
{
        const struct api_resource *entry;

        list_for_each (entry, &registry->resources, in_registry) {
                if (str_equal(entry->kind, kind) && str_equal(entry->group, group))
                        return entry;
        }
        return NULL;
}

const struct api_version *api_resource_version(const struct api_resource *resource,
                                               struct str version)
{
        for (size_t i = 0; i < resource->version_count; i++) {
                if (str_equal(resource->versions[i].name, version))
                        return &resource->versions[i];
        }
        return NULL;
}

const struct api_subresource *api_version_subresource(const struct api_version *version,
                                                      struct str name)
{
        for (size_t i = 0; i < version->subresource_count; i++) {
                if (str_equal(version->subresources[i].name, name))
                        return &version->subresources[i];
        }
        return NULL;
}

const struct list *registry_resources(const struct registry *registry)
{
        return &registry->resources;
}

uint64_t registry_generation(const struct registry *registry)
{
        return registry->generation;
}

struct json_value registry_definitions(const struct registry *registry)
{
        return json_get(json_root(registry->core), "definitions");
}

const struct schema_set *registry_schemas(const struct registry *registry)
{
        return registry->schemas;
}
