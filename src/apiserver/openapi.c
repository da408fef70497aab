// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "json/writer.h"

/*
 * /openapi/v3: an index of group-versions and one document for each, with what clients look for:
 * which patch types and parameters a kind takes, and its schema for `explain`. /openapi/v2: all
 * schemas, as JSON. Documents are made when they are first asked for and kept until the registry
 * changes.
 */

struct openapi_doc {
        struct list in_cache;
        char *key; /* "apis/apps/v1" */
        struct json_doc *doc;
        uint64_t generation;
};

void openapi_free(struct apiserver *server)
{
        while (!list_is_empty(&server->openapi_docs)) {
                struct openapi_doc *entry =
                        list_entry(server->openapi_docs.next, struct openapi_doc, in_cache);
                list_remove(&entry->in_cache);
                json_doc_unref(entry->doc);
                free(entry->key);
                free(entry);
        }
}

/* ---- schemas ---- */

enum { NAMES_MAX = 1024 };

/* Definitions that a document needs, each once, in the order in which they were met. */
struct closure {
        struct json_value definitions;
        struct str names[NAMES_MAX];
        size_t count;
        uint16_t slots[2 * NAMES_MAX]; /* index + 1 */
};

static void need(struct closure *closure, struct str name)
{
        size_t slot = str_fnv1a(name) % ARRAY_SIZE(closure->slots);

        while (closure->slots[slot]) {
                if (str_equal(closure->names[closure->slots[slot] - 1], name))
                        return;
                slot = (slot + 1) % ARRAY_SIZE(closure->slots);
        }
        if (closure->count == NAMES_MAX)
                return;
        closure->names[closure->count++] = name;
        closure->slots[slot] = (uint16_t)closure->count;
}

/* Copies a schema; references become those of the document, and what they name is needed too. */
static void write_schema(struct json_writer *writer, struct closure *closure, const char *prefix,
                         struct json_value schema)
{
        switch (json_type(schema)) {
        case JSON_OBJECT:
                json_begin_object(writer);
                json_for_each (it, schema) {
                        json_key(writer, it.key);
                        if (str_equal(it.key, STR("$ref")) && json_type(it.value) == JSON_STRING) {
                                char text[256];
                                struct str name = json_string(it.value);
                                snprintf(text, sizeof(text), "%s%.*s", prefix, STR_FORMAT(name));
                                json_write_string(writer, str_from(text));
                                need(closure, name);
                        } else {
                                write_schema(writer, closure, prefix, it.value);
                        }
                }
                json_end_object(writer);
                break;
        case JSON_ARRAY:
                json_begin_array(writer);
                json_for_each (it, schema)
                        write_schema(writer, closure, prefix, it.value);
                json_end_array(writer);
                break;
        default:
                json_write_value(writer, schema);
        }
}

static void write_kind(struct json_writer *writer, bool as_list,
                       const struct api_resource *resource, const struct api_version *version)
{
        json_key(writer, STR("x-kubernetes-group-version-kind"));
        if (as_list)
                json_begin_array(writer);
        json_begin_object(writer);
        json_field_string(writer, "group", resource->group);
        json_field_string(writer, "version", version->name);
        json_field_string(writer, "kind", resource->kind);
        json_end_object(writer);
        if (as_list)
                json_end_array(writer);
}

/* "io.x-k8s.agents.v1beta1.Sandbox": the group's labels backwards, as kube-apiserver names them. */
static struct str definition_name(struct arena *arena, const struct api_resource *resource,
                                  const struct api_version *version)
{
        struct str rest = resource->group, label, name = STR_EMPTY;

        if (!resource->custom)
                return version->definition;
        while (rest.length > 0) {
                str_cut(rest, '.', &label, &rest);
                name = arena_printf(arena, "%.*s%s%.*s", STR_FORMAT(label), name.length ? "." : "",
                                    STR_FORMAT(name));
        }
        return arena_printf(arena, "%.*s.%.*s.%.*s", STR_FORMAT(name), STR_FORMAT(version->name),
                            STR_FORMAT(resource->kind));
}

static void write_root_properties(struct json_writer *writer, struct closure *closure,
                                  const char *prefix, struct json_value properties)
{
        struct str meta = STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        char text[256];

        json_field_object(writer, "properties");
        json_field_raw(writer, "apiVersion", STR("{\"type\":\"string\"}"));
        json_field_raw(writer, "kind", STR("{\"type\":\"string\"}"));
        snprintf(text, sizeof(text), "%s%.*s", prefix, STR_FORMAT(meta));
        json_field_object(writer, "metadata");
        json_field_string(writer, "$ref", str_from(text));
        json_end_object(writer);
        need(closure, meta);
        json_for_each (it, properties) {
                if (str_equal(it.key, STR("apiVersion")) || str_equal(it.key, STR("kind")) ||
                    str_equal(it.key, STR("metadata")))
                        continue;
                json_key(writer, it.key);
                write_schema(writer, closure, prefix, it.value);
        }
        json_end_object(writer);
}

/* The schema of a served kind, with its name as an object of that kind. */
static void write_root(struct json_writer *writer, struct closure *closure, const char *prefix,
                       const struct api_resource *resource, const struct api_version *version)
{
        json_begin_object(writer);
        json_for_each (it, version->openapi) {
                if (str_equal(it.key, STR("properties")))
                        continue;
                json_key(writer, it.key);
                write_schema(writer, closure, prefix, it.value);
        }
        write_root_properties(writer, closure, prefix, json_get(version->openapi, "properties"));
        write_kind(writer, true, resource, version);
        json_end_object(writer);
}

/* What the roots need, and what that needs. */
static void write_needed(struct json_writer *writer, struct closure *closure, const char *prefix,
                         size_t roots)
{
        for (size_t i = roots; i < closure->count; i++) {
                struct json_value schema = json_member(closure->definitions, closure->names[i]);
                if (!json_exists(schema))
                        continue;
                json_key(writer, closure->names[i]);
                write_schema(writer, closure, prefix, schema);
        }
}

/* ---- paths ---- */

static void write_operation(struct json_writer *writer, const char *method, const char *action,
                            const struct api_resource *resource, const struct api_version *version)
{
        json_field_object(writer, method);
        if (method[0] == 'p') {
                json_field_raw(writer, "parameters",
                               STR("[{\"name\":\"dryRun\",\"in\":\"query\",\"schema\":{\"type\":"
                                   "\"string\"}},{\"name\":\"fieldManager\",\"in\":\"query\","
                                   "\"schema\":{\"type\":\"string\"}},{\"name\":"
                                   "\"fieldValidation\",\"in\":\"query\",\"schema\":{\"type\":"
                                   "\"string\"}}]"));
                json_field_object(writer, "requestBody");
                json_field_object(writer, "content");
                if (method[1] == 'a') {
                        json_field_raw(writer, "application/json-patch+json", STR("{}"));
                        json_field_raw(writer, "application/merge-patch+json", STR("{}"));
                        if (!resource->custom)
                                json_field_raw(writer, "application/strategic-merge-patch+json",
                                               STR("{}"));
                } else {
                        json_field_raw(writer, "application/json", STR("{}"));
                        json_field_raw(writer, "application/yaml", STR("{}"));
                }
                json_end_object(writer);
                json_end_object(writer);
        }
        json_field_raw(writer, "responses", STR("{\"200\":{\"description\":\"OK\"}}"));
        json_field_string(writer, "x-kubernetes-action", str_from(action));
        write_kind(writer, false, resource, version);
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

static void write_path(struct json_writer *writer, const struct api_resource *resource,
                       const struct api_version *version, bool in_namespace, bool one)
{
        char path[512];

        snprintf(path, sizeof(path), "/%s%.*s%s%.*s/%s%.*s%s",
                 resource->group.length ? "apis/" : "api", STR_FORMAT(resource->group), "/",
                 STR_FORMAT(version->name), in_namespace ? "namespaces/{namespace}/" : "",
                 STR_FORMAT(resource->plural), one ? "/{name}" : "");
        json_field_object(writer, path);
        for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
                if (operations[i].one != one || !(resource->verbs & operations[i].verb))
                        continue;
                /* Across all namespaces there is only reading. */
                if (resource->namespaced && !in_namespace && operations[i].verb != API_LIST)
                        continue;
                write_operation(writer, operations[i].method, operations[i].action, resource,
                                version);
        }
        json_end_object(writer);
}

static void write_paths(struct json_writer *writer, const struct api_resource *resource,
                        const struct api_version *version)
{
        if (resource->namespaced) {
                if (resource->verbs & API_LIST)
                        write_path(writer, resource, version, false, false);
                write_path(writer, resource, version, true, false);
                write_path(writer, resource, version, true, true);
        } else {
                write_path(writer, resource, version, false, false);
                write_path(writer, resource, version, false, true);
        }
}

/* ---- documents ---- */

#define for_each_served(entry, server)                                                             \
        list_for_each (entry, registry_resources((server)->registry), in_registry)

static const struct api_version *served_as(const struct api_resource *resource, struct str group,
                                           struct str version_name)
{
        const struct api_version *version;

        if (!str_equal(resource->group, group))
                return NULL;
        version = api_resource_version(resource, version_name);
        return version && version->served ? version : NULL;
}

static void write_info(struct json_writer *writer)
{
        json_field_object(writer, "info");
        json_field_string(writer, "title", STR("Kubernetes"));
        json_field_string(writer, "version", STR("v1.34.0"));
        json_end_object(writer);
}

/* Every root of a group-version (of all, if `version_name` is empty) comes first in `closure`. */
static void write_schemas(struct apiserver *server, struct json_writer *writer,
                          struct closure *closure, const char *prefix, struct str group,
                          struct str version_name, struct arena *arena)
{
        const struct api_resource *entry;
        size_t roots;

        for_each_served(entry, server)
        {
                for (size_t i = 0; i < entry->version_count; i++) {
                        const struct api_version *version = &entry->versions[i];
                        if (version->served && (version_name.length == 0 ||
                                                served_as(entry, group, version_name) == version))
                                need(closure, definition_name(arena, entry, version));
                }
        }
        roots = closure->count;
        for_each_served(entry, server)
        {
                for (size_t i = 0; i < entry->version_count; i++) {
                        const struct api_version *version = &entry->versions[i];
                        if (!version->served || (version_name.length > 0 &&
                                                 served_as(entry, group, version_name) != version))
                                continue;
                        json_key(writer, definition_name(arena, entry, version));
                        write_root(writer, closure, prefix, entry, version);
                }
        }
        write_needed(writer, closure, prefix, roots);
}

static int write_v3(struct apiserver *server, struct str group, struct str version_name,
                    struct closure *closure, struct buffer *out)
{
        _cleanup_arena_ struct arena arena = {};
        const struct api_resource *entry;
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "openapi", STR("3.0.0"));
        write_info(&writer);
        json_field_object(&writer, "paths");
        for_each_served(entry, server)
        {
                const struct api_version *version = served_as(entry, group, version_name);
                if (version)
                        write_paths(&writer, entry, version);
        }
        json_end_object(&writer);
        json_field_object(&writer, "components");
        json_field_object(&writer, "schemas");
        write_schemas(server, &writer, closure, "#/components/schemas/", group, version_name,
                      &arena);
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int write_v2(struct apiserver *server, struct closure *closure, struct buffer *out)
{
        _cleanup_arena_ struct arena arena = {};
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "swagger", STR("2.0"));
        write_info(&writer);
        json_field_raw(&writer, "paths", STR("{}"));
        json_field_object(&writer, "definitions");
        write_schemas(server, &writer, closure, "#/definitions/", STR_EMPTY, STR_EMPTY, &arena);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

/* The document under `key`, made if it is not there or old. */
static int find_doc(struct apiserver *server, struct str key, struct json_doc **ret_doc)
{
        uint64_t generation = registry_generation(server->registry);
        _cleanup_buffer_ struct buffer text = {};
        struct str rest = key, group = STR_EMPTY, version;
        struct openapi_doc *entry;
        struct closure *closure;
        struct json_doc *doc;
        int r;

        list_for_each (entry, &server->openapi_docs, in_cache) {
                if (entry->generation == generation && str_equal(str_from(entry->key), key)) {
                        *ret_doc = entry->doc;
                        return 0;
                }
        }
        list_for_each (entry, &server->openapi_docs, in_cache) {
                if (entry->generation != generation) {
                        openapi_free(server);
                        break;
                }
        }
        closure = calloc(1, sizeof(*closure));
        if (!closure)
                return -ENOMEM;
        closure->definitions = registry_definitions(server->registry);
        if (str_equal(key, STR("v2"))) {
                r = write_v2(server, closure, &text);
        } else {
                str_cut(rest, '/', &version, &rest);
                if (str_equal(version, STR("apis")))
                        str_cut(rest, '/', &group, &rest);
                r = write_v3(server, group, rest, closure, &text);
        }
        free(closure);
        if (r == 0)
                r = json_doc_from_buffer(&text, &doc);
        if (r < 0)
                return r;
        entry = calloc(1, sizeof(*entry));
        if (entry)
                entry->key = str_dup(key);
        if (!entry || !entry->key) {
                free(entry);
                json_doc_unref(doc);
                return -ENOMEM;
        }
        entry->doc = doc;
        entry->generation = generation;
        list_append(&server->openapi_docs, &entry->in_cache);
        *ret_doc = doc;
        return 0;
}

/* ---- the index ---- */

/* Changes with what the document says: clients keep documents by it. */
static uint32_t hash_of(struct apiserver *server, struct str group, struct str version)
{
        const struct api_resource *entry;
        uint32_t hash = str_fnv1a(server->config.build_version);

        for_each_served(entry, server)
        {
                if (!served_as(entry, group, version))
                        continue;
                hash = hash * 16777619 ^ entry->hash;
        }
        return hash;
}

static void write_index_entry(struct apiserver *server, struct json_writer *writer,
                              const struct api_resource *resource, struct str version)
{
        char key[320], url[400];

        snprintf(key, sizeof(key), "%s%.*s/%.*s", resource->group.length ? "apis/" : "api",
                 STR_FORMAT(resource->group), STR_FORMAT(version));
        snprintf(url, sizeof(url), "/openapi/v3/%s?hash=%08X", key,
                 hash_of(server, resource->group, version));
        json_field_object(writer, key);
        json_field_string(writer, "serverRelativeURL", str_from(url));
        json_end_object(writer);
}

/* Whether an earlier entry has the same group-version. */
static bool is_repeated(struct apiserver *server, const struct api_resource *resource,
                        struct str version)
{
        const struct api_resource *entry;

        for_each_served(entry, server)
        {
                if (entry == resource)
                        return false;
                if (served_as(entry, resource->group, version))
                        return true;
        }
        return false;
}

static void answer_index(struct api_call *call)
{
        _cleanup_buffer_ struct buffer text = {};
        const struct api_resource *entry;
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_object(&writer, "paths");
        for_each_served(entry, call->server)
        {
                for (size_t i = 0; i < entry->version_count; i++) {
                        struct str version = entry->versions[i].name;
                        if (entry->versions[i].served && !is_repeated(call->server, entry, version))
                                write_index_entry(call->server, &writer, entry, version);
                }
        }
        json_end_object(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                api_call_fail_errno(call, -ENOMEM);
        else
                api_call_respond_buffer(call, 200, &text);
}

static bool is_group_version(struct apiserver *server, struct str key)
{
        struct str head, group = STR_EMPTY, version;
        const struct api_resource *entry;

        str_cut(key, '/', &head, &version);
        if (str_equal(head, STR("apis")))
                str_cut(version, '/', &group, &version);
        else if (!str_equal(head, STR("api")))
                return false;
        for_each_served(entry, server)
        {
                if (served_as(entry, group, version))
                        return true;
        }
        return false;
}

void openapi_answer(struct api_call *call)
{
        struct str path = call->exchange->request.path, key;
        struct kube_status status = kube_status_no_such_path();
        struct json_doc *doc;
        int r;

        if (call->form == FORM_PROTOBUF_ONLY) {
                status = kube_status_not_acceptable();
                api_call_fail(call, &status);
                return;
        }
        if (str_equal(path, STR("/openapi/v3")) || str_equal(path, STR("/openapi/v3/"))) {
                answer_index(call);
                return;
        }
        if (str_equal(path, STR("/openapi/v2"))) {
                key = STR("v2");
        } else if (str_starts_with(path, STR("/openapi/v3/"))) {
                key = str_slice(path, 12, path.length);
        } else {
                api_call_fail(call, &status);
                return;
        }
        if (!str_equal(key, STR("v2")) && !is_group_version(call->server, key)) {
                api_call_fail(call, &status);
                return;
        }
        r = find_doc(call->server, key, &doc);
        if (r < 0)
                api_call_fail_errno(call, r);
        else
                api_call_respond_raw(call, 200, doc);
}
