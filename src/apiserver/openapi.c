// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "json/writer.h"

/*
 * /openapi/v3: an index of group-versions and one document for each, with what clients look for:
 * which patch types and parameters a kind takes, and its schema for `explain`. /openapi/v2: all
 * schemas, as JSON. Documents are made when they are first asked for, in pieces, and kept until the
 * registry changes.
 */

/* ---- schemas ---- */

enum {
        NAMES_MAX = 1024,
        PIECE_NS = 500 * 1000, /* work in one turn of the loop */
};

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

/* ---- what is described ---- */

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

/* ---- one document ---- */

enum openapi_phase {
        OPENAPI_PATHS,
        OPENAPI_PATHS_END,
        OPENAPI_ROOTS,  /* the schemas of the served kinds */
        OPENAPI_NEEDED, /* what those refer to, and what that refers to */
        OPENAPI_DONE,
};

struct openapi_doc {
        struct apiserver *server;
        struct list in_cache;
        char *key; /* "apis/apps/v1"; "v2" */
        unsigned references;
        struct str group, version; /* of a v3 document; views into the key */
        bool all;                  /* v2: every group-version */
        const char *prefix;        /* of references */
        uint64_t generation;       /* of the registry */

        /* while it is made */
        enum openapi_phase phase;
        struct net_task task;
        struct list waiters;
        struct json_writer writer;
        struct closure *closure;
        struct arena arena;
        size_t next, roots;

        struct buffer text;
        int failure;
};

static bool is_root(const struct openapi_doc *doc, const struct api_resource *resource,
                    const struct api_version *version)
{
        return version->served &&
               (doc->all || served_as(resource, doc->group, doc->version) == version);
}

static const struct api_resource *resource_at(struct apiserver *server, size_t index)
{
        const struct api_resource *entry;

        for_each_served(entry, server)
        {
                if (index-- == 0)
                        return entry;
        }
        return NULL;
}

static void write_needed(struct openapi_doc *doc, size_t index)
{
        struct str name = doc->closure->names[index];
        struct json_value schema = json_member(doc->closure->definitions, name);

        if (!json_exists(schema))
                return;
        json_key(&doc->writer, name);
        write_schema(&doc->writer, doc->closure, doc->prefix, schema);
}

/* The definitions' names of every root come first in the closure; returns how many there are. */
static size_t need_roots(struct openapi_doc *doc)
{
        const struct api_resource *entry;

        for_each_served(entry, doc->server)
        {
                for (size_t i = 0; i < entry->version_count; i++) {
                        if (is_root(doc, entry, &entry->versions[i]))
                                need(doc->closure,
                                     definition_name(&doc->arena, entry, &entry->versions[i]));
                }
        }
        return doc->closure->count;
}

static void write_roots_of(struct openapi_doc *doc, const struct api_resource *resource)
{
        for (size_t i = 0; i < resource->version_count; i++) {
                const struct api_version *version = &resource->versions[i];
                if (!is_root(doc, resource, version))
                        continue;
                json_key(&doc->writer, definition_name(&doc->arena, resource, version));
                write_root(&doc->writer, doc->closure, doc->prefix, resource, version);
        }
}

static void begin_doc(struct openapi_doc *doc)
{
        struct json_writer *writer = &doc->writer;

        buffer_clear(&doc->text);
        arena_reset(&doc->arena);
        memset(doc->closure, 0, sizeof(*doc->closure));
        doc->closure->definitions = registry_definitions(doc->server->registry);
        doc->generation = registry_generation(doc->server->registry);
        doc->next = 0;
        json_writer_init(writer, &doc->text);
        json_begin_object(writer);
        json_field_string(writer, doc->all ? "swagger" : "openapi",
                          doc->all ? STR("2.0") : STR("3.0.0"));
        write_info(writer);
        json_field_object(writer, "paths");
        doc->phase = doc->all ? OPENAPI_PATHS_END : OPENAPI_PATHS;
}

static void begin_schemas(struct openapi_doc *doc)
{
        struct json_writer *writer = &doc->writer;

        json_end_object(writer);
        if (doc->all) {
                json_field_object(writer, "definitions");
        } else {
                json_field_object(writer, "components");
                json_field_object(writer, "schemas");
        }
        doc->roots = need_roots(doc);
        doc->next = 0;
        doc->phase = OPENAPI_ROOTS;
}

static void end_doc(struct openapi_doc *doc)
{
        json_end_object(&doc->writer);
        if (!doc->all)
                json_end_object(&doc->writer);
        json_end_object(&doc->writer);
        doc->failure = json_writer_finish(&doc->writer);
        free(doc->closure);
        doc->closure = NULL;
        arena_deinit(&doc->arena);
        doc->phase = OPENAPI_DONE;
}

/* One small piece of the document. */
static void make_piece(struct openapi_doc *doc)
{
        const struct api_resource *resource = resource_at(doc->server, doc->next);
        const struct api_version *version;

        switch (doc->phase) {
        case OPENAPI_PATHS:
                doc->next++;
                version = resource ? served_as(resource, doc->group, doc->version) : NULL;
                if (version)
                        write_paths(&doc->writer, resource, version);
                if (!resource)
                        doc->phase = OPENAPI_PATHS_END;
                break;
        case OPENAPI_PATHS_END:
                begin_schemas(doc);
                break;
        case OPENAPI_ROOTS:
                doc->next++;
                if (resource) {
                        write_roots_of(doc, resource);
                } else {
                        doc->next = doc->roots;
                        doc->phase = OPENAPI_NEEDED;
                }
                break;
        case OPENAPI_NEEDED:
                if (doc->next < doc->closure->count)
                        write_needed(doc, doc->next++);
                else
                        end_doc(doc);
                break;
        case OPENAPI_DONE:
                break;
        }
}

/* ---- documents that are asked for ---- */

static void doc_unref(void *user)
{
        struct openapi_doc *doc = user;

        if (--doc->references > 0)
                return;
        free(doc->closure);
        arena_deinit(&doc->arena);
        buffer_deinit(&doc->text);
        free(doc->key);
        free(doc);
}

static void drop_doc(struct openapi_doc *doc)
{
        net_task_cancel(&doc->task);
        list_remove(&doc->in_cache);
        doc_unref(doc);
}

void openapi_free(struct apiserver *server)
{
        while (!list_is_empty(&server->openapi_docs))
                drop_doc(list_entry(server->openapi_docs.next, struct openapi_doc, in_cache));
}

static void answer_doc(struct api_call *call, struct openapi_doc *doc)
{
        if (doc->failure < 0) {
                api_call_fail_errno(call, doc->failure);
                return;
        }
        doc->references++;
        api_call_respond_piece(call, 200,
                               (struct stream_piece){ buffer_str(&doc->text), doc_unref, doc });
}

/* A call that waits for a document. */
struct openapi_waiter {
        struct list in_doc;
        struct api_call *call;
};

static void stop_waiting(struct api_call *call)
{
        struct openapi_waiter *waiter = call->stream;

        list_remove(&waiter->in_doc);
}

static void on_task(struct net_task *task)
{
        struct openapi_doc *doc = container_of(task, struct openapi_doc, task);
        uint64_t deadline = clock_monotonic_ns() + PIECE_NS;

        /* What is described has changed meanwhile: once more from the beginning. */
        if (doc->phase != OPENAPI_DONE &&
            doc->generation != registry_generation(doc->server->registry))
                begin_doc(doc);
        while (doc->phase != OPENAPI_DONE && clock_monotonic_ns() < deadline)
                make_piece(doc);
        if (doc->phase != OPENAPI_DONE) {
                net_loop_defer(doc->server->loop, task);
                return;
        }
        while (!list_is_empty(&doc->waiters)) {
                struct openapi_waiter *waiter =
                        list_entry(doc->waiters.next, struct openapi_waiter, in_doc);
                list_remove(&waiter->in_doc);
                waiter->call->stream_end = NULL;
                answer_doc(waiter->call, doc);
        }
        if (doc->failure < 0)
                drop_doc(doc);
}

static struct openapi_doc *doc_new(struct apiserver *server, struct str key)
{
        struct openapi_doc *doc = calloc(1, sizeof(*doc));
        struct str head, rest;

        if (!doc)
                return NULL;
        list_init(&doc->in_cache);
        list_init(&doc->waiters);
        doc->references = 1;
        doc->key = str_dup(key);
        doc->closure = calloc(1, sizeof(*doc->closure));
        if (!doc->key || !doc->closure) {
                doc_unref(doc);
                return NULL;
        }
        doc->server = server;
        doc->task.run = on_task;
        doc->all = str_equal(key, STR("v2"));
        doc->prefix = doc->all ? "#/definitions/" : "#/components/schemas/";
        str_cut((struct str){ doc->key, key.length }, '/', &head, &rest);
        doc->version = rest;
        if (str_equal(head, STR("apis")))
                str_cut(rest, '/', &doc->group, &doc->version);
        begin_doc(doc);
        list_append(&server->openapi_docs, &doc->in_cache);
        return doc;
}

/* Answers with the document under `key`, at once if there is one, else when it is made. */
static void answer_key(struct api_call *call, struct str key)
{
        struct apiserver *server = call->server;
        struct openapi_waiter *waiter;
        struct openapi_doc *doc, *found = NULL;

        list_for_each (doc, &server->openapi_docs, in_cache) {
                if (doc->phase == OPENAPI_DONE &&
                    doc->generation != registry_generation(server->registry))
                        drop_doc(doc);
                else if (str_equal(str_from(doc->key), key))
                        found = doc;
        }
        if (!found)
                found = doc_new(server, key);
        waiter = arena_new(call->arena, struct openapi_waiter, 1);
        if (!found || !waiter) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        if (found->phase == OPENAPI_DONE) {
                answer_doc(call, found);
                return;
        }
        waiter->call = call;
        list_append(&found->waiters, &waiter->in_doc);
        call->stream = waiter;
        call->stream_end = stop_waiting;
        if (!net_task_is_queued(&found->task))
                on_task(&found->task);
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
        answer_key(call, key);
}
