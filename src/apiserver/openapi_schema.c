// SPDX-License-Identifier: Apache-2.0
#include "apiserver/openapi_schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macro.h"

/* ---- names that a document needs ---- */

enum { NAMES_MIN = 256 };

void openapi_schemas_init(struct openapi_schemas *schemas, bool v2, struct json_value definitions)
{
        *schemas = (struct openapi_schemas){ .v2 = v2, .definitions = definitions };
}

void openapi_schemas_deinit(struct openapi_schemas *schemas)
{
        arena_deinit(&schemas->memory);
        free(schemas->names);
        free(schemas->slots);
        *schemas = (struct openapi_schemas){};
}

/* Where the name stands or would stand. */
static uint32_t *find_slot(const struct openapi_schemas *schemas, struct str name)
{
        size_t slot = str_fnv1a(name) % schemas->slot_count;

        while (schemas->slots[slot] && !str_equal(schemas->names[schemas->slots[slot] - 1], name))
                slot = (slot + 1) % schemas->slot_count;
        return &schemas->slots[slot];
}

static int grow(struct openapi_schemas *schemas)
{
        size_t capacity = MAX(2 * schemas->capacity, NAMES_MIN);
        struct str *names = reallocarray(schemas->names, capacity, sizeof(*names));
        uint32_t *slots;

        if (!names)
                return -ENOMEM;
        schemas->names = names;
        slots = calloc(2 * capacity, sizeof(*slots));
        if (!slots)
                return -ENOMEM;
        free(schemas->slots);
        schemas->slots = slots;
        schemas->slot_count = 2 * capacity;
        schemas->capacity = capacity;
        for (size_t i = 0; i < schemas->count; i++)
                *find_slot(schemas, names[i]) = (uint32_t)(i + 1);
        return 0;
}

void openapi_need(struct openapi_schemas *schemas, struct str name)
{
        uint32_t *slot;

        if (schemas->failure < 0)
                return;
        if (!name.data || (schemas->count == schemas->capacity && grow(schemas) < 0)) {
                schemas->failure = -ENOMEM;
                return;
        }
        slot = find_slot(schemas, name);
        if (*slot)
                return;
        schemas->names[schemas->count++] = name;
        *slot = (uint32_t)schemas->count;
}

struct str openapi_definition_name(struct openapi_schemas *schemas,
                                   const struct api_resource *resource,
                                   const struct api_version *version)
{
        struct str rest = resource->group, label, name = STR_EMPTY;

        if (!resource->custom)
                return version->definition;
        while (rest.length > 0) {
                str_cut(rest, '.', &label, &rest);
                name = arena_printf(&schemas->memory, "%.*s%s%.*s", STR_FORMAT(label),
                                    name.length ? "." : "", STR_FORMAT(name));
        }
        return arena_printf(&schemas->memory, "%.*s.%.*s.%.*s", STR_FORMAT(name),
                            STR_FORMAT(version->name), STR_FORMAT(resource->kind));
}

static void write_reference(struct openapi_schemas *schemas, struct json_writer *writer,
                            struct str name)
{
        char text[512];

        snprintf(text, sizeof(text), "%s%.*s",
                 schemas->v2 ? "#/definitions/" : "#/components/schemas/", STR_FORMAT(name));
        json_field_string(writer, "$ref", str_from(text));
        openapi_need(schemas, name);
}

/* ---- schemas ---- */

/*
 * Swagger 2.0 cannot say all that a schema says, and kubectl refuses a whole document for one
 * member that it does not expect. What is left out is what kube-apiserver leaves out
 * (apiextensions-apiserver, ToStructuralOpenAPIV2).
 */
struct v2_view {
        bool untyped;    /* no type is told: anything goes */
        bool childless;  /* neither items nor properties are told */
        bool as_strings; /* a string that may be written as a number */
};

static bool is_true(struct json_value schema, const char *key)
{
        return json_bool_or(json_get(schema, key), false);
}

static struct v2_view view_as_v2(struct json_value schema, bool custom)
{
        struct json_value type = json_get(schema, "type");
        bool preserves = custom && is_true(schema, "x-kubernetes-preserve-unknown-fields");
        bool nullable = custom && is_true(schema, "nullable");
        bool itemless = nullable || preserves || !json_exists(json_get(schema, "items"));

        return (struct v2_view){
                .childless = nullable || preserves,
                .untyped = nullable || (preserves && json_string_is(type, STR("object"))) ||
                           (json_string_is(type, STR("array")) && itemless),
                .as_strings = !custom && is_true(schema, "x-kubernetes-int-or-string"),
        };
}

static bool is_left_out_of_v2(struct str key, const struct v2_view *view, bool custom)
{
        static const char *const never[] = { "allOf", "oneOf", "anyOf", "not", "nullable" };

        for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
                if (str_equal(key, str_from(never[i])))
                        return true;
        }
        if (str_equal(key, STR("type")))
                return view->untyped;
        if (str_equal(key, STR("items")) || str_equal(key, STR("properties")))
                return view->childless;
        return !custom && (str_equal(key, STR("x-kubernetes-int-or-string")) ||
                           str_equal(key, STR("x-kubernetes-preserve-unknown-fields")));
}

/* A field that may be null cannot be said to be required: kubectl takes null for absent. */
static void write_required(struct json_writer *writer, struct json_value schema,
                           struct json_value required)
{
        struct json_value properties = json_get(schema, "properties");
        bool begun = false;

        json_for_each (it, required) {
                if (is_true(json_member(properties, json_string(it.value)), "nullable"))
                        continue;
                if (!begun)
                        json_field_array(writer, "required");
                begun = true;
                json_write_value(writer, it.value);
        }
        if (begun)
                json_end_array(writer);
}

static void write_schema(struct openapi_schemas *schemas, struct json_writer *writer,
                         struct json_value schema, bool custom);

static void write_properties(struct openapi_schemas *schemas, struct json_writer *writer,
                             struct json_value properties, bool custom)
{
        json_for_each (it, properties) {
                json_key(writer, it.key);
                write_schema(schemas, writer, it.value, custom);
        }
}

/* A schema's members without its braces, `properties` only if told. */
static void write_members(struct openapi_schemas *schemas, struct json_writer *writer,
                          struct json_value schema, bool custom, bool with_properties)
{
        struct v2_view view = schemas->v2 ? view_as_v2(schema, custom) : (struct v2_view){};

        if (view.as_strings)
                json_field_string(writer, "type", STR("string"));
        json_for_each (it, schema) {
                bool is_properties = str_equal(it.key, STR("properties"));
                if (schemas->v2 && is_left_out_of_v2(it.key, &view, custom))
                        continue;
                if (is_properties && !with_properties)
                        continue;
                if (schemas->v2 && custom && str_equal(it.key, STR("required"))) {
                        write_required(writer, schema, it.value);
                        continue;
                }
                if (str_equal(it.key, STR("$ref")) && json_type(it.value) == JSON_STRING) {
                        write_reference(schemas, writer, json_string(it.value));
                        continue;
                }
                json_key(writer, it.key);
                if (is_properties) {
                        json_begin_object(writer);
                        write_properties(schemas, writer, it.value, custom);
                        json_end_object(writer);
                } else if (str_equal(it.key, STR("items")) ||
                           str_equal(it.key, STR("additionalProperties"))) {
                        write_schema(schemas, writer, it.value, custom);
                } else {
                        json_write_value(writer, it.value);
                }
        }
}

static void write_schema(struct openapi_schemas *schemas, struct json_writer *writer,
                         struct json_value schema, bool custom)
{
        if (json_type(schema) != JSON_OBJECT) {
                json_write_value(writer, schema);
                return;
        }
        json_begin_object(writer);
        write_members(schemas, writer, schema, custom, true);
        json_end_object(writer);
}

/* ---- served kinds ---- */

static void write_group_version_kind(struct json_writer *writer, bool as_list, struct str group,
                                     struct str version, struct str kind)
{
        json_key(writer, STR("x-kubernetes-group-version-kind"));
        if (as_list)
                json_begin_array(writer);
        json_begin_object(writer);
        json_field_string(writer, "group", group);
        json_field_string(writer, "version", version);
        json_field_string(writer, "kind", kind);
        json_end_object(writer);
        if (as_list)
                json_end_array(writer);
}

/* apiVersion and kind, and metadata of the given type. */
static void write_type_properties(struct openapi_schemas *schemas, struct json_writer *writer,
                                  struct str metadata)
{
        json_field_raw(writer, "apiVersion", STR("{\"type\":\"string\"}"));
        json_field_raw(writer, "kind", STR("{\"type\":\"string\"}"));
        json_field_object(writer, "metadata");
        write_reference(schemas, writer, metadata);
        json_end_object(writer);
}

static void write_root(struct openapi_schemas *schemas, struct json_writer *writer,
                       const struct api_resource *resource, const struct api_version *version)
{
        struct json_value properties = json_get(version->openapi, "properties");
        struct v2_view view =
                schemas->v2 ? view_as_v2(version->openapi, resource->custom) : (struct v2_view){};

        json_begin_object(writer);
        write_members(schemas, writer, version->openapi, resource->custom, false);
        if (schemas->v2 && !json_exists(version->openapi)) {
                json_field_string(writer, "type", STR("object"));
        } else if (!view.childless) {
                json_field_object(writer, "properties");
                write_type_properties(schemas, writer,
                                      STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
                json_for_each (it, properties) {
                        if (str_equal(it.key, STR("apiVersion")) ||
                            str_equal(it.key, STR("kind")) || str_equal(it.key, STR("metadata")))
                                continue;
                        json_key(writer, it.key);
                        write_schema(schemas, writer, it.value, resource->custom);
                }
                json_end_object(writer);
        }
        write_group_version_kind(writer, true, resource->group, version->name, resource->kind);
        json_end_object(writer);
}

static void write_list(struct openapi_schemas *schemas, struct json_writer *writer,
                       const struct api_resource *resource, const struct api_version *version,
                       struct str item)
{
        json_begin_object(writer);
        json_field_string(writer, "type", STR("object"));
        json_field_raw(writer, "required", STR("[\"items\"]"));
        json_field_object(writer, "properties");
        write_type_properties(schemas, writer,
                              STR("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"));
        json_field_object(writer, "items");
        json_field_string(writer, "type", STR("array"));
        json_field_object(writer, "items");
        write_reference(schemas, writer, item);
        json_end_object(writer);
        json_end_object(writer);
        json_end_object(writer);
        write_group_version_kind(writer, true, resource->group, version->name, resource->list_kind);
        json_end_object(writer);
}

void openapi_write_kind(struct openapi_schemas *schemas, struct json_writer *writer,
                        const struct api_resource *resource, const struct api_version *version)
{
        struct str name = openapi_definition_name(schemas, resource, version);
        struct str list = arena_printf(&schemas->memory, "%.*sList", STR_FORMAT(name));

        if (!name.data || !list.data) {
                schemas->failure = -ENOMEM;
                return;
        }
        json_key(writer, name);
        write_root(schemas, writer, resource, version);
        if (resource->verbs & API_LIST) {
                json_key(writer, list);
                write_list(schemas, writer, resource, version, name);
        }
}

void openapi_write_needed(struct openapi_schemas *schemas, struct json_writer *writer, size_t index)
{
        struct str name = schemas->names[index];
        struct json_value schema = json_member(schemas->definitions, name);

        if (!json_exists(schema))
                return;
        json_key(writer, name);
        write_schema(schemas, writer, schema, false);
}

/* ---- paths ---- */

#define QUERY_PARAMETER(name, type) "{\"name\":\"" name "\",\"in\":\"query\"," type "}"
#define QUERY_PARAMETERS(type)                                                                     \
        "[" QUERY_PARAMETER("dryRun", type) "," QUERY_PARAMETER(                                   \
                "fieldManager", type) "," QUERY_PARAMETER("fieldValidation", type) "]"

static const char *const patch_types[] = {
        "application/json-patch+json", "application/merge-patch+json",
        "application/strategic-merge-patch+json", /* not of custom resources */
};
static const char *const body_types[] = { "application/json", "application/yaml" };

static void write_body_types(const struct openapi_schemas *schemas, struct json_writer *writer,
                             const char *const *types, size_t count)
{
        if (schemas->v2) {
                json_field_array(writer, "consumes");
                for (size_t i = 0; i < count; i++)
                        json_write_string(writer, str_from(types[i]));
                json_end_array(writer);
                return;
        }
        json_field_object(writer, "requestBody");
        json_field_object(writer, "content");
        for (size_t i = 0; i < count; i++)
                json_field_raw(writer, types[i], STR("{}"));
        json_end_object(writer);
        json_end_object(writer);
}

static void write_operation(const struct openapi_schemas *schemas, struct json_writer *writer,
                            const char *method, const char *action,
                            const struct api_resource *resource, const struct api_version *version)
{
        json_field_object(writer, method);
        if (method[0] == 'p') {
                json_field_raw(writer, "parameters",
                               schemas->v2
                                       ? STR(QUERY_PARAMETERS("\"type\":\"string\""))
                                       : STR(QUERY_PARAMETERS("\"schema\":{\"type\":\"string\"}")));
                if (method[1] == 'a')
                        write_body_types(schemas, writer, patch_types, resource->custom ? 2 : 3);
                else
                        write_body_types(schemas, writer, body_types, ARRAY_SIZE(body_types));
        }
        json_field_raw(writer, "responses", STR("{\"200\":{\"description\":\"OK\"}}"));
        json_field_string(writer, "x-kubernetes-action", str_from(action));
        write_group_version_kind(writer, false, resource->group, version->name, resource->kind);
        json_end_object(writer);
}

static const struct {
        enum api_verb verb;
        bool one;
        const char *method, *action;
} operations[] = {
        { API_LIST, false, "get", "list" },
        { API_CREATE, false, "post", "post" },
        { API_DELETE_COLLECTION, false, "delete", "deletecollection" },
        { API_GET, true, "get", "get" },
        { API_UPDATE, true, "put", "put" },
        { API_PATCH, true, "patch", "patch" },
        { API_DELETE, true, "delete", "delete" },
};

static void write_path(const struct openapi_schemas *schemas, struct json_writer *writer,
                       const struct api_resource *resource, const struct api_version *version,
                       bool in_namespace, bool one)
{
        char path[1024];

        snprintf(path, sizeof(path), "/%s%.*s/%.*s/%s%.*s%s",
                 resource->group.length ? "apis/" : "api", STR_FORMAT(resource->group),
                 STR_FORMAT(version->name), in_namespace ? "namespaces/{namespace}/" : "",
                 STR_FORMAT(resource->plural), one ? "/{name}" : "");
        json_field_object(writer, path);
        for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
                if (operations[i].one != one || !(resource->verbs & operations[i].verb))
                        continue;
                /* Across all namespaces there is only reading. */
                if (resource->namespaced && !in_namespace && operations[i].verb != API_LIST)
                        continue;
                write_operation(schemas, writer, operations[i].method, operations[i].action,
                                resource, version);
        }
        json_end_object(writer);
}

void openapi_write_paths(const struct openapi_schemas *schemas, struct json_writer *writer,
                         const struct api_resource *resource, const struct api_version *version)
{
        if (resource->namespaced) {
                if (resource->verbs & API_LIST)
                        write_path(schemas, writer, resource, version, false, false);
                write_path(schemas, writer, resource, version, true, false);
                write_path(schemas, writer, resource, version, true, true);
        } else {
                write_path(schemas, writer, resource, version, false, false);
                write_path(schemas, writer, resource, version, false, true);
        }
}
