// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/openapi_schema.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "kube/openapi_protobuf.h"
#include "json/writer.h"

/*
 * /openapi/v3: an index of group-versions and one document for each, with what clients look for:
 * which patch types and parameters a kind takes, and its schema for `explain`. /openapi/v2: all of
 * it in one document, as JSON or protobuf. Documents are made when they are first asked for, in
 * pieces, and kept until the registry changes.
 */
enum { PIECE_NS = 500 * 1000 }; /* work in one turn of the loop */

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

/* ---- one document ---- */

enum openapi_phase {
        OPENAPI_PATHS,
        OPENAPI_KINDS,  /* the schemas of the served kinds */
        OPENAPI_NEEDED, /* what those refer to, and what that refers to */
        OPENAPI_DONE,
};

struct openapi_doc {
        struct apiserver *server;
        struct list in_cache;
        char *key; /* "apis/apps/v1"; "v2"; "v2+protobuf" */
        unsigned references;
        struct str group, version; /* of a v3 document; views into the key */
        bool v2, protobuf;
        uint64_t generation; /* of the registry */

        /* while it is made */
        enum openapi_phase phase;
        struct net_task task;
        struct list waiters;
        struct json_writer writer;
        struct openapi_schemas schemas;
        struct buffer part; /* protobuf: a part of the document, still as JSON */
        size_t next, roots;

        struct buffer text;
        uint64_t digest; /* of the text, 64-bit FNV-1a: the ETag */
        size_t digested; /* bytes of the text that are in it */
        int failure;
};

/*
 * A part of the document: definitions or paths. As JSON they all stand in one object; a protobuf
 * document is put together of many.
 */
static void begin_part(struct openapi_doc *doc, const char *member)
{
        if (!doc->protobuf)
                return;
        buffer_clear(&doc->part);
        json_writer_init(&doc->writer, &doc->part);
        json_begin_object(&doc->writer);
        json_field_object(&doc->writer, member);
}

static void end_part(struct openapi_doc *doc)
{
        _cleanup_doc_ struct json_doc *part = NULL;
        int r;

        if (!doc->protobuf)
                return;
        json_end_object(&doc->writer);
        json_end_object(&doc->writer);
        r = json_writer_finish(&doc->writer);
        if (r == 0)
                r = json_doc_from_buffer(&doc->part, &part);
        if (r == 0)
                r = openapi_v2_to_protobuf(json_root(part), &doc->text);
        if (r < 0)
                doc->failure = r;
}

static void begin_doc(struct openapi_doc *doc)
{
        struct json_writer *writer = &doc->writer;

        buffer_clear(&doc->text);
        openapi_schemas_deinit(&doc->schemas);
        openapi_schemas_init(&doc->schemas, doc->v2, registry_definitions(doc->server->registry));
        doc->generation = registry_generation(doc->server->registry);
        doc->failure = 0;
        doc->next = 0;
        doc->phase = OPENAPI_PATHS;
        doc->digest = 0xcbf29ce484222325;
        doc->digested = 0;
        if (doc->protobuf)
                buffer_clear(&doc->part);
        json_writer_init(writer, doc->protobuf ? &doc->part : &doc->text);
        json_begin_object(writer);
        json_field_string(writer, doc->v2 ? "swagger" : "openapi",
                          doc->v2 ? STR("2.0") : STR("3.0.0"));
        json_field_object(writer, "info");
        json_field_string(writer, "title", STR("Kubernetes"));
        json_field_string(writer, "version", STR("v1.34.0"));
        end_part(doc);
        if (doc->protobuf)
                return;
        json_end_object(writer);
        json_field_object(writer, "paths");
}

/* Walks all served versions of all resources. Returns false behind the last. */
static bool version_at(struct openapi_doc *doc, size_t index,
                       const struct api_resource **ret_resource,
                       const struct api_version **ret_version)
{
        const struct api_resource *entry;

        for_each_served(entry, doc->server)
        {
                for (size_t i = 0; i < entry->version_count; i++) {
                        const struct api_version *version = &entry->versions[i];
                        if (!version->served)
                                continue;
                        if (!doc->v2 && served_as(entry, doc->group, doc->version) != version)
                                continue;
                        if (index-- > 0)
                                continue;
                        *ret_resource = entry;
                        *ret_version = version;
                        return true;
                }
        }
        return false;
}

static void begin_kinds(struct openapi_doc *doc)
{
        const struct api_resource *resource;
        const struct api_version *version;

        if (!doc->protobuf) {
                json_end_object(&doc->writer);
                if (!doc->v2)
                        json_field_object(&doc->writer, "components");
                json_field_object(&doc->writer, doc->v2 ? "definitions" : "schemas");
        }
        /* They are written as what they are: nothing that refers to them makes it twice. */
        for (size_t i = 0; version_at(doc, i, &resource, &version); i++)
                openapi_need(&doc->schemas,
                             openapi_definition_name(&doc->schemas, resource, version));
        doc->roots = doc->schemas.count;
        doc->next = 0;
        doc->phase = OPENAPI_KINDS;
}

static void end_doc(struct openapi_doc *doc)
{
        if (!doc->protobuf) {
                json_end_object(&doc->writer);
                if (!doc->v2)
                        json_end_object(&doc->writer);
                json_end_object(&doc->writer);
                doc->failure = json_writer_finish(&doc->writer);
        }
        if (doc->schemas.failure < 0)
                doc->failure = doc->schemas.failure;
        openapi_schemas_deinit(&doc->schemas);
        buffer_deinit(&doc->part);
        doc->phase = OPENAPI_DONE;
}

static void make_piece(struct openapi_doc *doc)
{
        const struct api_resource *resource;
        const struct api_version *version;

        switch (doc->phase) {
        case OPENAPI_PATHS:
                if (!version_at(doc, doc->next++, &resource, &version)) {
                        begin_kinds(doc);
                        break;
                }
                begin_part(doc, "paths");
                openapi_write_paths(&doc->schemas, &doc->writer, resource, version);
                end_part(doc);
                break;
        case OPENAPI_KINDS:
                if (!version_at(doc, doc->next++, &resource, &version)) {
                        doc->next = doc->roots;
                        doc->phase = OPENAPI_NEEDED;
                        break;
                }
                begin_part(doc, "definitions");
                openapi_write_kind(&doc->schemas, &doc->writer, resource, version);
                end_part(doc);
                break;
        case OPENAPI_NEEDED:
                if (doc->failure < 0 || doc->next >= doc->schemas.count) {
                        end_doc(doc);
                        break;
                }
                begin_part(doc, "definitions");
                openapi_write_needed(&doc->schemas, &doc->writer, doc->next++);
                end_part(doc);
                break;
        case OPENAPI_DONE:
                break;
        }
}

/* One small piece of the document, and what it adds to the digest. */
static void advance(struct openapi_doc *doc)
{
        make_piece(doc);
        for (; doc->digested < doc->text.length; doc->digested++) {
                doc->digest ^= (unsigned char)doc->text.data[doc->digested];
                doc->digest *= 0x100000001b3;
        }
}

/* ---- documents that are asked for ---- */

static void doc_unref(void *user)
{
        struct openapi_doc *doc = user;

        if (--doc->references > 0)
                return;
        openapi_schemas_deinit(&doc->schemas);
        buffer_deinit(&doc->part);
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

/* Whether the client has the very document, as If-None-Match says (RFC 9110 13.1.2). */
static bool has_already(const struct api_call *call)
{
        struct str known = http_headers_get(&call->exchange->request.headers, STR("If-None-Match")),
                   one;

        while (known.length > 0) {
                str_cut(known, ',', &one, &known);
                one = str_trim(one);
                if (str_starts_with(one, STR("W/")))
                        one = str_slice(one, 2, one.length);
                if (str_equal(one, STR("*")) || str_equal(one, call->etag))
                        return true;
        }
        return false;
}

static void answer_doc(struct api_call *call, struct openapi_doc *doc)
{
        if (doc->failure < 0) {
                api_call_fail_errno(call, doc->failure);
                return;
        }
        call->etag = arena_printf(call->arena, "\"%016llX\"", (unsigned long long)doc->digest);
        if (has_already(call)) {
                api_call_respond_text(call, 304, "application/json", STR_EMPTY);
                return;
        }
        if (doc->protobuf)
                call->answer_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
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
                advance(doc);
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

#define KEY_V2          STR("v2")
#define KEY_V2_PROTOBUF STR("v2+protobuf")

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
        if (!doc->key) {
                doc_unref(doc);
                return NULL;
        }
        doc->server = server;
        doc->task.run = on_task;
        doc->protobuf = str_equal(key, KEY_V2_PROTOBUF);
        doc->v2 = doc->protobuf || str_equal(key, KEY_V2);
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

/*
 * Whether Accept takes JSON, or else protobuf of OpenAPI v2: as kube-apiserver, the first in the
 * list that there is. Returns 0 or -ENOTSUP.
 */
static int choose_form(const struct api_call *call, bool v2, bool *ret_protobuf)
{
        static const char *const json[] = { "application/json", "application/*", "*/*" };
        static const char *const protobuf[] = {
                "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", /* client-go */
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        };
        struct str accept = http_headers_get(&call->exchange->request.headers, STR("Accept"));

        *ret_protobuf = false;
        if (str_trim(accept).length == 0)
                return 0;
        while (accept.length > 0) {
                struct str range, type, parameters;
                str_cut(accept, ',', &range, &accept);
                str_cut(range, ';', &type, &parameters);
                type = str_trim(type);
                for (size_t i = 0; i < ARRAY_SIZE(json); i++) {
                        if (str_equal_ignoring_case(type, str_from(json[i])))
                                return 0;
                }
                for (size_t i = 0; v2 && i < ARRAY_SIZE(protobuf); i++) {
                        if (str_equal_ignoring_case(type, str_from(protobuf[i]))) {
                                *ret_protobuf = true;
                                return 0;
                        }
                }
        }
        return -ENOTSUP;
}

void openapi_answer(struct api_call *call)
{
        struct str path = call->exchange->request.path, key;
        struct kube_status status = kube_status_no_such_path();
        bool v2 = str_equal(path, STR("/openapi/v2")), protobuf;

        if (choose_form(call, v2, &protobuf) < 0) {
                status = kube_status_not_acceptable();
                api_call_fail(call, &status);
        } else if (v2) {
                answer_key(call, protobuf ? KEY_V2_PROTOBUF : KEY_V2);
        } else if (str_equal(path, STR("/openapi/v3")) || str_equal(path, STR("/openapi/v3/"))) {
                answer_index(call);
        } else if (str_starts_with(path, STR("/openapi/v3/"))) {
                key = str_slice(path, 12, path.length);
                if (is_group_version(call->server, key))
                        answer_key(call, key);
                else
                        api_call_fail(call, &status);
        } else {
                api_call_fail(call, &status);
        }
}
