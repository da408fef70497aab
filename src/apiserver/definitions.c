// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdlib.h>

#include "apiserver/alias.h"
#include "apiserver/cleanup.h"
#include "apiserver/internal_call.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "builtin/builtin.h"
#include "json/edit.h"
#include "json/writer.h"

/*
 * Serves what CustomResourceDefinitions say: those in the storage at the start, then every change,
 * telling by their conditions what became of it. Ours are served from the program itself, whatever
 * their objects say.
 */
struct definitions {
        struct apiserver *server;
        struct storage_type *type;
        struct storage_watch watch;
        struct net_task restart;
        struct list cleanups; /* of definitions that are being deleted */
};

static bool is_true(struct json_value conditions, struct str type)
{
        json_for_each (it, conditions) {
                if (json_string_is(json_get(it.value, "type"), type))
                        return json_string_is(json_get(it.value, "status"), STR("True"));
        }
        return false;
}

static bool has(struct json_value conditions, struct str type)
{
        json_for_each (it, conditions) {
                if (json_string_is(json_get(it.value, "type"), type))
                        return true;
        }
        return false;
}

static void write_condition(struct json_writer *writer, const char *type, bool status,
                            const char *reason, const char *message)
{
        char now[RFC3339_SECONDS_SIZE];

        rfc3339_format_seconds(clock_realtime_ns(), now);
        json_begin_object(writer);
        json_field_string(writer, "type", str_from(type));
        json_field_string(writer, "status", status ? STR("True") : STR("False"));
        json_field_string(writer, "reason", str_from(reason));
        json_field_string(writer, "message", str_from(message));
        json_field_string(writer, "lastTransitionTime", str_from(now));
        json_end_object(writer);
}

/* status: what is served under which names. */
static int write_status(struct json_value root, int served, const char *why, struct buffer *out)
{
        struct json_value spec = json_get(root, "spec");
        bool accepted = served == 0 || served == -EPERM;
        struct json_writer writer;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_array(&writer, "conditions");
        write_condition(&writer, "NamesAccepted", accepted,
                        accepted ? "NoConflicts" : "NamesConflict",
                        accepted ? "no conflicts found" : why);
        write_condition(&writer, "Established", accepted,
                        accepted ? "InitialNamesAccepted" : "NotAccepted",
                        accepted ? "the initial names have been accepted" : why);
        if (served == -EPERM)
                write_condition(&writer, "ServedAsWritten", false, "BuiltIn", why);
        json_end_array(&writer);
        json_field_value(&writer, "acceptedNames", json_get(spec, "names"));
        json_field_array(&writer, "storedVersions");
        json_for_each (it, json_get(spec, "versions")) {
                if (json_bool_or(json_get(it.value, "storage"), false))
                        json_write_value(&writer, json_get(it.value, "name"));
        }
        json_end_array(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static void tell(struct definitions *definitions, struct json_doc *doc, int served, const char *why)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer status = {};
        _cleanup_doc_ struct json_doc *body = NULL;
        struct json_value root = json_root(doc);
        struct json_value conditions = json_get(root, "status", "conditions");
        bool established = served == 0 || served == -EPERM;
        bool told = json_count(conditions) > 0 &&
                    is_true(conditions, STR("Established")) == established &&
                    has(conditions, STR("ServedAsWritten")) == (served == -EPERM);
        struct json_edit edit;
        struct internal_request request = {
                .verb = API_UPDATE,
                .group = STR("apiextensions.k8s.io"),
                .plural = STR("customresourcedefinitions"),
                .subresource = STR("status"),
                .name = json_string(json_get(root, "metadata", "name")),
                .manager = STR("cay-apiserver"),
        };

        if (told || json_exists(json_get(root, "metadata", "deletionTimestamp")))
                return;
        if (write_status(root, served, why, &status) < 0)
                return;
        json_edit_init(&edit, doc, &arena);
        json_edit_set_raw(&edit, "/status", buffer_str(&status));
        /* Whatever changed meanwhile comes as another event, with its own status. */
        if (json_edit_apply(&edit, &body) < 0)
                return;
        request.body = body;
        internal_call_start(definitions->server, &request, NULL);
}

/* Whether the object of a built-in definition says what is served. */
static bool is_as_written(struct apiserver *server, struct json_value spec)
{
        const struct api_resource *resource =
                registry_find(server->registry, json_string(json_get(spec, "group")),
                              json_string(json_get(spec, "names", "plural")));

        return resource && json_equal(json_get(json_root(resource->source), "spec", "versions"),
                                      json_get(spec, "versions"));
}

static void serve(struct definitions *definitions, struct json_doc *doc)
{
        struct error error = {};
        int r = registry_add_crd(definitions->server->registry, doc, false, &error);

        if (r == -ENOMEM) {
                log_error("no memory to serve a definition");
                return;
        }
        if (r == -EPERM && is_as_written(definitions->server, json_get(json_root(doc), "spec")))
                r = 0;
        tell(definitions, doc, r, error.message);
}

/* A definition that is deleted goes when its objects have gone. */
static void terminate(struct definitions *definitions, struct json_doc *doc)
{
        struct json_value root = json_root(doc), spec = json_get(root, "spec");

        registry_terminate_crd(definitions->server->registry, json_string(json_get(spec, "group")),
                               json_string(json_get(spec, "names", "plural")));
        if (cleanup_start(definitions->server, &definitions->cleanups, root) < 0)
                log_error("no memory to delete what a definition defined");
}

/* One object of a definition that is gone. */
struct purge {
        struct storage_request request;
        char key[];
};

static int judge_purge(struct storage_request *request _unused_, struct json_doc *head,
                       struct storage_change *change)
{
        change->kind = head ? STORAGE_DELETE : STORAGE_KEEP;
        return head ? 0 : -ENOENT;
}

static void purge_done(struct storage_request *request, int result, struct json_doc *doc _unused_)
{
        if (result < 0 && result != -ENOENT)
                log_error("an object of a deleted definition stays: %s", strerror(-result));
        free(container_of(request, struct purge, request));
}

static void purge_object(struct storage *storage, struct storage_type *type, struct str name_space,
                         struct str name)
{
        struct purge *purge = calloc(1, sizeof(*purge) + name_space.length + name.length);

        if (!purge)
                return;
        if (name_space.length > 0)
                memcpy(purge->key, name_space.data, name_space.length);
        memcpy(purge->key + name_space.length, name.data, name.length);
        purge->request.type = type;
        purge->request.name_space = (struct str){ purge->key, name_space.length };
        purge->request.name = (struct str){ purge->key + name_space.length, name.length };
        purge->request.judge = judge_purge;
        purge->request.done = purge_done;
        storage_submit(storage, &purge->request);
}

/* Objects that are left, somebody having taken our finalizer away, go: nothing could serve them. */
static void drop(struct definitions *definitions, struct json_doc *doc)
{
        struct json_value spec = json_get(json_root(doc), "spec");
        struct str group = json_string(json_get(spec, "group"));
        struct str plural = json_string(json_get(spec, "names", "plural"));
        struct storage_type *type = storage_type(definitions->server->storage, group, plural);
        struct storage_list list;
        struct json_doc *object;

        cleanup_stop(&definitions->cleanups,
                     json_string(json_get(json_root(doc), "metadata", "name")));
        if (!registry_remove_crd(definitions->server->registry, group, plural) || !type ||
            storage_list_begin(&list, type, STR_EMPTY, 0, STR_EMPTY, STR_EMPTY) < 0)
                return;
        while (storage_list_next(&list, &object) == 1) {
                struct str name_space, name;
                storage_list_position(&list, &name_space, &name);
                purge_object(definitions->server->storage, type, name_space, name);
        }
        storage_list_end(&list);
}

static bool on_event(struct storage_watch *watch, const struct storage_event *event)
{
        struct definitions *definitions = container_of(watch, struct definitions, watch);

        if (!event->after) {
                drop(definitions, event->last);
                return true;
        }
        /* Its own status is no change of what is served. */
        if (!event->before || !json_equal(json_get(json_root(event->before), "spec"),
                                          json_get(json_root(event->after), "spec")))
                serve(definitions, event->after);
        if (cleanup_is_wanted(json_root(event->after)))
                terminate(definitions, event->after);
        return true;
}

static int serve_all(struct definitions *definitions)
{
        struct storage_list list;
        struct json_doc *doc;
        int r = storage_list_begin(&list, definitions->type, STR_EMPTY, 0, STR_EMPTY, STR_EMPTY);

        if (r < 0)
                return r;
        while ((r = storage_list_next(&list, &doc)) == 1) {
                serve(definitions, doc);
                if (cleanup_is_wanted(json_root(doc)))
                        terminate(definitions, doc);
        }
        storage_list_end(&list);
        if (r < 0)
                return r;
        return storage_watch_start(&definitions->watch,
                                   storage_revision(definitions->server->storage));
}

static void on_restart(struct net_task *task)
{
        struct definitions *definitions = container_of(task, struct definitions, restart);

        if (serve_all(definitions) < 0)
                net_loop_defer(definitions->server->loop, task);
}

static void on_end(struct storage_watch *watch, enum storage_watch_end why)
{
        struct definitions *definitions = container_of(watch, struct definitions, watch);

        if (why == STORAGE_WATCH_EXPIRED)
                net_loop_defer(definitions->server->loop, &definitions->restart);
}

static int serve_built_in(struct apiserver *server, struct error *error)
{
        /* The extensions first: of two groups with a resource, clients prefer the first. */
        for (size_t i = builtin_crd_count(); i-- > 0;) {
                _cleanup_doc_ struct json_doc *doc = NULL;
                struct json_options options = { .size_limit = 4 * 1024 * 1024 };
                int r = json_doc_parse(builtin_crd(i), &options, NULL, error, &doc);
                if (r == 0)
                        r = registry_add_crd(server->registry, doc, true, error);
                if (r < 0)
                        return r;
        }
        return aliases_add(server->registry);
}

int definitions_new(struct apiserver *server, struct error *error, struct definitions **ret)
{
        struct definitions *definitions = calloc(1, sizeof(*definitions));
        int r;

        if (!definitions)
                return -ENOMEM;
        definitions->server = server;
        list_init(&definitions->cleanups);
        definitions->restart.run = on_restart;
        definitions->type = storage_type(server->storage, STR("apiextensions.k8s.io"),
                                         STR("customresourcedefinitions"));
        definitions->watch.event = on_event;
        definitions->watch.end = on_end;
        definitions->watch.type = definitions->type;
        r = definitions->type ? serve_built_in(server, error) : -ENOMEM;
        if (r == 0)
                r = serve_all(definitions);
        if (r < 0) {
                cleanup_stop_all(&definitions->cleanups);
                free(definitions);
                return r;
        }
        *ret = definitions;
        return 0;
}

void definitions_free(struct definitions *definitions)
{
        storage_watch_stop(&definitions->watch);
        net_task_cancel(&definitions->restart);
        cleanup_stop_all(&definitions->cleanups);
        free(definitions);
}
