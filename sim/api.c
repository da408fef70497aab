// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "plan/table.h"
#include "world.h"
#include "json/edit.h"
#include "json/patch.h"

/*
 * What kube-apiserver promises of any object: optimistic concurrency, uids, generation, the status
 * subresource, finalizers, graceful deletion of Pods, one order of versions.
 */

enum { KINDS_MAX = 32, OBJECTS_MAX = 4096 };

struct object {
        const struct kind *kind;
        struct json_doc *doc;
        struct object_meta meta;
        size_t last; /* its last change, in the kind's history */
};

struct history {
        const struct kind *kind;
        struct change *list;
        size_t count, capacity;
};

struct api {
        struct world *world;
        uint64_t version, uid;
        struct object objects[OBJECTS_MAX];
        size_t count;
        struct history histories[KINDS_MAX];
        size_t history_count;
        uint64_t *times; /* of each version, from the first */
        size_t time_count, time_capacity;
};

enum { VERSION_BEFORE_ALL = 100 };

struct api *api_new(struct world *world)
{
        struct api *api = calloc(1, sizeof(*api));

        if (!api)
                abort();
        api->world = world;
        api->version = VERSION_BEFORE_ALL;
        return api;
}

void api_free(struct api *api)
{
        for (size_t i = 0; i < api->count; i++)
                json_doc_unref(api->objects[i].doc);
        for (size_t i = 0; i < api->history_count; i++) {
                for (size_t j = 0; j < api->histories[i].count; j++)
                        json_doc_unref(api->histories[i].list[j].doc);
                free(api->histories[i].list);
        }
        free(api->times);
        free(api);
}

/* ---- history ---- */

static struct history *find_history(const struct api *api, const struct kind *kind)
{
        for (size_t i = 0; i < api->history_count; i++) {
                if (api->histories[i].kind == kind)
                        return (struct history *)&api->histories[i];
        }
        return NULL;
}

size_t api_history(const struct api *api, const struct kind *kind)
{
        struct history *history = find_history(api, kind);

        return history ? history->count : 0;
}

const struct change *api_change(const struct api *api, const struct kind *kind, size_t position)
{
        return &find_history(api, kind)->list[position];
}

uint64_t api_version_at(const struct api *api, const struct kind *kind, size_t position)
{
        if (position == api_history(api, kind))
                return api->version;
        return position ? api_change(api, kind, position - 1)->version : VERSION_BEFORE_ALL;
}

uint64_t api_version_at_time(const struct api *api, uint64_t at_ns)
{
        size_t after = api->time_count; /* mostly not long ago */

        while (after > 0 && api->times[after - 1] > at_ns)
                after--;
        return VERSION_BEFORE_ALL + after;
}

static uint64_t next_version(struct api *api)
{
        if (api->time_count == api->time_capacity) {
                api->time_capacity = api->time_capacity ? 2 * api->time_capacity : 1024;
                api->times = reallocarray(api->times, api->time_capacity, sizeof(*api->times));
                if (!api->times)
                        abort();
        }
        api->times[api->time_count++] = api->world->now_ns;
        return ++api->version;
}

static struct history *get_history(struct api *api, const struct kind *kind)
{
        struct history *history = find_history(api, kind);

        if (!history) {
                assert(api->history_count < KINDS_MAX);
                history = &api->histories[api->history_count++];
                history->kind = kind;
        }
        return history;
}

/* Returns the change's place in the kind's history; `previous` is that of the object's last one. */
static size_t record(struct api *api, const struct kind *kind, enum cache_event event,
                     struct json_doc *before, struct json_doc *after, size_t previous)
{
        struct history *history;
        struct world *world = api->world;
        struct object_meta meta;
        struct json_doc *doc = after ? after : before;

        if (str_equal(kind->kind, STR("Lease"))) /* watched by nobody, and nobody's business */
                return 0;
        history = get_history(api, kind);
        if (history->count == history->capacity) {
                history->capacity = history->capacity ? 2 * history->capacity : 64;
                history->list =
                        reallocarray(history->list, history->capacity, sizeof(*history->list));
                if (!history->list)
                        abort();
        }
        if (world->options.history)
                *world->options.history = table_hash(*world->options.history, json_doc_text(doc));
        object_meta_read(json_root(doc), &meta);
        history->list[history->count++] = (struct change){
                .event = event, .doc = json_doc_ref(doc), .version = api->version, .next = SIZE_MAX
        };
        if (previous != SIZE_MAX)
                history->list[previous].next = history->count - 1;
        world_log(world, "  %s %.*s %.*s/%.*s %" PRIu64,
                  event == CACHE_DELETED ? "deleted"
                  : event == CACHE_ADDED ? "added"
                                         : "modified",
                  STR_FORMAT(kind->kind), STR_FORMAT(meta.namespace), STR_FORMAT(meta.name),
                  api->version);
        world->happened++;
        checker_commit(world->checker, kind, event == CACHE_ADDED ? NULL : before, after);
        if (kind == &kind_pod && after)
                kubelet_notice(world, after);
        for (size_t i = 0; i < world->alive_count; i++)
                process_notice(world->alive[i], kind);
        return history->count - 1;
}

/* ---- objects ---- */

static struct object *find(struct api *api, const struct kind *kind, struct str namespace,
                           struct str name)
{
        for (size_t i = 0; i < api->count; i++) {
                struct object *object = &api->objects[i];

                if (object->kind == kind && str_equal(object->meta.name, name) &&
                    str_equal(object->meta.namespace, namespace))
                        return object;
        }
        return NULL;
}

struct json_doc *api_get(struct api *api, const struct kind *kind, struct str namespace,
                         struct str name)
{
        struct object *object = find(api, kind, namespace, name);

        return object ? object->doc : NULL;
}

void api_each(struct api *api, const struct kind *kind, void (*each)(void *, struct json_doc *),
              void *context)
{
        struct json_doc *docs[512];
        size_t count = 0;

        for (size_t i = 0; i < api->count && count < 512; i++) {
                if (api->objects[i].kind == kind)
                        docs[count++] = json_doc_ref(api->objects[i].doc);
        }
        for (size_t i = 0; i < count; i++) {
                each(context, docs[i]);
                json_doc_unref(docs[i]);
        }
}

static struct json_doc *parse(struct str text)
{
        struct json_doc *doc = NULL;

        return json_doc_parse(text, NULL, NULL, NULL, &doc) < 0 ? NULL : doc;
}

static struct json_doc *apply(struct json_edit *edit)
{
        struct json_doc *doc = NULL;

        if (json_edit_apply(edit, &doc) < 0)
                abort();
        return doc;
}

static void set_version(struct json_edit *edit, uint64_t version)
{
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, version);
        json_edit_set_string(edit, "/metadata/resourceVersion", str_from(text));
}

static void set_time(struct api *api, struct json_edit *edit, const char *pointer)
{
        char text[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(world_now(api->world).realtime_ns, text);
        json_edit_set_string(edit, pointer, str_from(text));
}

static struct outcome refuse(int status, const char *reason)
{
        return (struct outcome){ .status = status, .reason = reason };
}

static struct outcome answer(int status, struct json_doc *doc)
{
        return (struct outcome){ .status = status, .reason = "", .object = json_doc_ref(doc) };
}

struct outcome api_create(struct api *api, const struct kind *kind, struct str body)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_doc_ struct json_doc *doc = parse(body);
        struct object_meta meta;
        struct json_edit edit;
        struct object *object;
        char uid[40];

        if (!doc)
                return refuse(400, "BadRequest");
        object_meta_read(json_root(doc), &meta);
        if (meta.name.length == 0)
                return refuse(422, "Invalid");
        if (find(api, kind, meta.namespace, meta.name))
                return refuse(409, "AlreadyExists");
        assert(api->count < OBJECTS_MAX);
        snprintf(uid, sizeof(uid), "00000000-0000-4000-8000-%012" PRIx64, ++api->uid);
        json_edit_init(&edit, doc, &arena);
        json_edit_set_string(&edit, "/metadata/uid", str_from(uid));
        set_version(&edit, next_version(api));
        json_edit_set_int(&edit, "/metadata/generation", 1);
        set_time(api, &edit, "/metadata/creationTimestamp");
        if (kind->has_status && kind != &kind_node)
                json_edit_remove(&edit, "/status");
        object = &api->objects[api->count++];
        object->kind = kind;
        object->doc = apply(&edit);
        object_meta_read(json_root(object->doc), &object->meta);
        doc = (json_doc_unref(doc), json_doc_ref(object->doc));
        object->last = record(api, kind, CACHE_ADDED, NULL, doc, SIZE_MAX);
        return answer(201, doc);
}

static struct outcome remove_object(struct api *api, struct object *object)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct json_doc *before = object->doc, *last;
        const struct kind *kind = object->kind;
        size_t previous = object->last;
        struct json_edit edit;

        json_edit_init(&edit, before, &arena);
        set_version(&edit, next_version(api));
        last = apply(&edit);
        *object = api->objects[--api->count];
        record(api, kind, CACHE_DELETED, last, NULL, previous);
        json_doc_unref(before);
        json_doc_unref(last);
        return (struct outcome){ .status = 200, .reason = "" };
}

static bool same(struct json_value a, struct json_value b)
{
        if (!json_exists(a) || !json_exists(b))
                return json_exists(a) == json_exists(b);
        return json_equal(a, b);
}

/* Makes `doc` the new state, unless it says what is. Takes the reference. */
static struct outcome replace(struct api *api, struct object *object, struct json_doc *doc)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct json_doc *before = object->doc;
        const struct kind *kind = object->kind;
        struct json_edit edit;
        struct outcome outcome;

        if (json_equal(json_root(doc), json_root(before))) {
                json_doc_unref(doc);
                outcome = answer(200, before);
                outcome.unchanged = true;
                return outcome;
        }
        json_edit_init(&edit, doc, &arena);
        set_version(&edit, next_version(api));
        if (!same(json_get(json_root(doc), "spec"), json_get(json_root(before), "spec")))
                json_edit_set_int(&edit, "/metadata/generation", object->meta.generation + 1);
        object->doc = apply(&edit);
        json_doc_unref(doc);
        object_meta_read(json_root(object->doc), &object->meta);
        if (object_meta_is_deleting(&object->meta) && json_count(object->meta.finalizers) == 0 &&
            json_count(json_get(json_root(object->doc), "spec", "finalizers")) == 0 &&
            !(kind == &kind_pod && object->meta.deletion_grace_seconds > 0)) {
                json_doc_unref(before);
                return remove_object(api, object);
        }
        doc = json_doc_ref(object->doc);
        object->last = record(api, kind, CACHE_MODIFIED, before, doc, object->last);
        json_doc_unref(before);
        outcome = (struct outcome){ .status = 200, .reason = "", .object = doc };
        return outcome;
}

struct outcome api_patch(struct api *api, const struct kind *kind, struct str namespace,
                         struct str name, struct str body, bool status)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_doc_ struct json_doc *patch = parse(body), *merged = NULL;
        struct object *object = find(api, kind, namespace, name);
        struct object_meta wanted;
        struct json_edit edit;

        if (!patch)
                return refuse(400, "BadRequest");
        if (!object)
                return refuse(404, "NotFound");
        object_meta_read(json_root(patch), &wanted);
        if ((wanted.resource_version && wanted.resource_version != object->meta.resource_version) ||
            (wanted.uid.length && !str_equal(wanted.uid, object->meta.uid)))
                return refuse(409, "Conflict");
        if (json_merge_patch(object->doc, json_root(patch), NULL, &merged) < 0)
                return refuse(422, "Invalid");
        json_edit_init(&edit, status ? object->doc : merged, &arena);
        if (status)
                json_edit_set_value(&edit, "/status", json_get(json_root(merged), "status"));
        else if (!json_exists(json_get(json_root(object->doc), "status")))
                json_edit_remove(&edit, "/status");
        else
                json_edit_set_value(&edit, "/status", json_get(json_root(object->doc), "status"));
        return replace(api, object, apply(&edit));
}

struct outcome api_update(struct api *api, const struct kind *kind, struct str namespace,
                          struct str name, struct str body)
{
        struct object *object = find(api, kind, namespace, name);
        struct json_doc *doc = parse(body);
        struct object_meta wanted;

        if (!doc || !object) {
                if (doc)
                        json_doc_unref(doc);
                return doc ? refuse(404, "NotFound") : refuse(400, "BadRequest");
        }
        object_meta_read(json_root(doc), &wanted);
        if (wanted.resource_version != object->meta.resource_version) {
                json_doc_unref(doc);
                return refuse(409, "Conflict");
        }
        return replace(api, object, doc);
}

struct outcome api_bind(struct api *api, struct str namespace, struct str name, struct str body)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_doc_ struct json_doc *binding = parse(body);
        struct object *object = find(api, &kind_pod, namespace, name);
        struct json_edit edit;
        struct outcome outcome;

        if (!object)
                return refuse(404, "NotFound");
        if (!json_string_is(json_get(json_root(binding), "metadata", "uid"), object->meta.uid) ||
            json_exists(json_get(json_root(object->doc), "spec", "nodeName")))
                return refuse(409, "Conflict");
        json_edit_init(&edit, object->doc, &arena);
        json_edit_set_value(&edit, "/spec/nodeName",
                            json_get(json_root(binding), "target", "name"));
        json_edit_set_raw(&edit, "/status/conditions",
                          STR("[{\"type\":\"PodScheduled\",\"status\":\"True\"}]"));
        json_edit_set_string(&edit, "/status/phase", STR("Pending"));
        outcome = replace(api, object, apply(&edit));
        if (outcome.object)
                json_doc_unref(outcome.object);
        outcome.object = NULL; /* a Status */
        return outcome;
}

static bool ends_at_once(const struct object *object, int64_t grace)
{
        struct json_value root = json_root(object->doc);
        struct str phase = json_string(json_get(root, "status", "phase"));

        if (object->kind != &kind_pod || grace == 0)
                return true;
        return json_string(json_get(root, "spec", "nodeName")).length == 0 ||
               str_equal(phase, STR("Succeeded")) || str_equal(phase, STR("Failed"));
}

struct outcome api_delete(struct api *api, const struct kind *kind, struct str namespace,
                          struct str name, struct str options)
{
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_doc_ struct json_doc *doc = parse(options.length ? options : STR("{}"));
        struct object *object = find(api, kind, namespace, name);
        struct json_value root = json_root(doc);
        struct str uid = json_string(json_get(root, "preconditions", "uid"));
        struct str version = json_string(json_get(root, "preconditions", "resourceVersion"));
        int64_t grace = json_int64_or(json_get(root, "gracePeriodSeconds"), 30);
        struct json_edit edit;
        bool foreground, orphan, at_once;

        if (!object)
                return refuse(404, "NotFound");
        if ((uid.length && !str_equal(uid, object->meta.uid)) ||
            (version.length &&
             !json_string_is(json_get(object->meta.value, "resourceVersion"), version)))
                return refuse(409, "Conflict");
        foreground = json_string_is(json_get(root, "propagationPolicy"), STR("Foreground"));
        orphan = json_string_is(json_get(root, "propagationPolicy"), STR("Orphan"));
        at_once = ends_at_once(object, grace);
        if (at_once && !foreground && !orphan && json_count(object->meta.finalizers) == 0 &&
            json_count(json_get(json_root(object->doc), "spec", "finalizers")) == 0)
                return remove_object(api, object);
        json_edit_init(&edit, object->doc, &arena);
        if (!object_meta_is_deleting(&object->meta)) {
                set_time(api, &edit, "/metadata/deletionTimestamp");
                json_edit_set_int(&edit, "/metadata/deletionGracePeriodSeconds",
                                  at_once ? 0 : grace);
                json_edit_set_int(&edit, "/metadata/generation", object->meta.generation + 1);
        } else if (at_once) {
                json_edit_set_int(&edit, "/metadata/deletionGracePeriodSeconds", 0);
        }
        if (foreground && !object_meta_has_finalizer(&object->meta, STR("foregroundDeletion")))
                json_edit_set_raw(&edit, "/metadata/finalizers", STR("[\"foregroundDeletion\"]"));
        if (orphan && !object_meta_has_finalizer(&object->meta, STR("orphan")))
                json_edit_set_raw(&edit, "/metadata/finalizers", STR("[\"orphan\"]"));
        return replace(api, object, apply(&edit));
}

/* The namespace loses its finalizers, and goes if it is being deleted. */
static struct outcome finalize(struct api *api, struct str name)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct object *object = find(api, &kind_namespace, STR_EMPTY, name);
        struct json_edit edit;

        if (!object)
                return refuse(404, "NotFound");
        if (object_meta_is_deleting(&object->meta))
                return remove_object(api, object);
        json_edit_init(&edit, object->doc, &arena);
        json_edit_set_raw(&edit, "/spec/finalizers", STR("[]"));
        return replace(api, object, apply(&edit));
}

struct outcome api_act(struct api *api, const struct action *action)
{
        switch (action->type) {
        case ACTION_CREATE:
                return api_create(api, action->kind, action->body);
        case ACTION_PATCH:
        case ACTION_PATCH_STATUS:
                return api_patch(api, action->kind, action->namespace, action->name, action->body,
                                 action->type == ACTION_PATCH_STATUS);
        case ACTION_DELETE:
                return api_delete(api, action->kind, action->namespace, action->name, action->body);
        case ACTION_BIND:
                return api_bind(api, action->namespace, action->name, action->body);
        case ACTION_FINALIZE:
                return finalize(api, action->name);
        }
        return refuse(405, "MethodNotAllowed");
}
