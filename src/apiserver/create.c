// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/behaviour.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/random.h"
#include "json/writer.h"

enum { NAME_TRIES = 8 };

/* Who wrote it, for managedFields: ?fieldManager=, or the first word of the User-Agent. */
static struct str manager_of(const struct api_call *call)
{
        struct str name, rest;

        if (call->options.field_manager.length > 0)
                return call->options.field_manager;
        str_cut(call->user_agent, '/', &name, &rest);
        return name.length > 0 ? name : STR("unknown");
}

/*
 * One entry tells who made the object and in which apiVersion, which decides the generation of our
 * own kinds for good. Ownership of single fields is not kept.
 */
static void stamp_manager(struct api_call *call, struct json_edit *edit, struct str time)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_array(&writer);
        json_begin_object(&writer);
        json_field_string(&writer, "manager", manager_of(call));
        json_field_string(&writer, "operation", STR("Update"));
        json_field_string(
                &writer, "apiVersion",
                api_group_version(call->arena, call->resource->group, call->version->name));
        json_field_string(&writer, "time", time);
        json_field_string(&writer, "fieldsType", STR("FieldsV1"));
        json_field_raw(&writer, "fieldsV1", STR("{}"));
        json_end_object(&writer);
        json_end_array(&writer);
        struct str copy = STR_EMPTY;
        if (json_writer_finish(&writer) == 0)
                copy = arena_str(call->arena, buffer_str(&text));
        if (copy.data)
                json_edit_set_raw(edit, "/metadata/managedFields", copy);
        else
                edit->failure = -ENOMEM;
}

static int replace(struct json_doc **doc, struct json_edit *edit)
{
        struct json_doc *edited;
        int r = json_edit_apply(edit, &edited);

        if (r < 0)
                return r;
        json_doc_unref(*doc);
        *doc = edited;
        return 0;
}

/* What the server says about every new object; a status is not its maker's to say. */
static int set_metadata(struct api_call *call, struct json_doc **doc)
{
        static const char *const server_owned[] = { "/metadata/resourceVersion",
                                                    "/metadata/deletionTimestamp",
                                                    "/metadata/deletionGracePeriodSeconds",
                                                    "/metadata/selfLink", "/metadata/generation" };
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_edit edit;
        char uid[UUID_SIZE], time[RFC3339_SECONDS_SIZE];

        json_edit_init(&edit, *doc, call->arena);
        for (size_t i = 0; i < ARRAY_SIZE(server_owned); i++)
                json_edit_remove(&edit, server_owned[i]);
        if (call->version->has_status)
                json_edit_remove(&edit, "/status");
        random_uuid(uid);
        rfc3339_format_seconds(call->now_ns, time);
        if (call->path.name.length > 0)
                json_edit_set_string(&edit, "/metadata/name", call->path.name);
        if (call->resource->namespaced)
                json_edit_set_string(&edit, "/metadata/namespace", call->path.name_space);
        json_edit_set_string(&edit, "/metadata/uid", str_from(uid));
        json_edit_set_string(&edit, "/metadata/creationTimestamp", str_from(time));
        if (call->resource->custom || (behaviour && behaviour->has_generation))
                json_edit_set_int(&edit, "/metadata/generation", 1);
        stamp_manager(call, &edit, str_from(time));
        json_edit_set_string(
                &edit, "/apiVersion",
                api_group_version(call->arena, call->resource->group, call->version->name));
        json_edit_set_string(&edit, "/kind", call->resource->kind);
        return replace(doc, &edit);
}

/* The kind's own part: its first status, fields that only the server sets. */
static int prepare(struct api_call *call, struct json_doc **doc)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_edit edit;
        int r;

        if (!behaviour || !behaviour->prepare)
                return 0;
        json_edit_init(&edit, *doc, call->arena);
        r = behaviour->prepare(call, json_root(*doc), &edit);
        return r < 0 ? r : replace(doc, &edit);
}

/* Name and namespace: of the body, which must not say another namespace than the path. */
static int choose_name(struct api_call *call, struct json_value root)
{
        struct json_value metadata = json_get(root, "metadata");
        struct str name_space = json_string(json_get(metadata, "namespace"));
        struct str name = json_string(json_get(metadata, "name"));
        struct str base = json_string(json_get(metadata, "generateName"));

        if (call->resource->namespaced && name_space.length > 0 &&
            !str_equal(name_space, call->path.name_space))
                return api_call_refuse(
                        call, kube_status_bad_request(
                                      call->arena, "the namespace of the provided object does not "
                                                   "match the namespace sent on the request"));
        if (name.length == 0 && base.length > 0) {
                name = name_generate(call->arena, base);
                if (!name.data)
                        return -ENOMEM;
                call->tries = 1;
        }
        call->path.name = name;
        return 0;
}

/* Prepares call->object from call->body. */
static int admit_create(struct api_call *call)
{
        _cleanup_doc_ struct json_doc *doc = json_doc_ref(call->body);
        struct json_doc *stored;
        int r;

        r = admit_check_type(call, json_root(doc));
        if (r == 0)
                r = choose_name(call, json_root(doc));
        if (r == 0)
                r = set_metadata(call, &doc);
        if (r == 0)
                r = admit_prepare(call, &doc);
        if (r == 0)
                r = admit_validate(call, doc, (struct json_value){});
        if (r == 0)
                r = admit_to_storage(call, doc, &stored);
        if (r < 0)
                return r;
        call->object = stored;
        return prepare(call, &call->object);
}

/* ---- the verdict ---- */

static int check_namespace(struct api_call *call)
{
        struct json_doc *name_space;

        if (!call->resource->namespaced)
                return 0;
        name_space = storage_head(&call->request, call->server->namespaces, STR_EMPTY,
                                  call->path.name_space);
        if (!name_space) {
                struct kube_resource named = { .resource = STR("namespaces"),
                                               .kind = STR("Namespace") };
                return api_call_refuse(
                        call, kube_status_not_found(call->arena, &named, call->path.name_space));
        }
        if (json_exists(json_get(json_root(name_space), "metadata", "deletionTimestamp"))) {
                struct str why = arena_printf(
                        call->arena,
                        "unable to create new content in namespace %.*s because it is being "
                        "terminated",
                        STR_FORMAT(call->path.name_space));
                return api_call_refuse(call, kube_status_forbidden(call->arena, &call->named,
                                                                   call->path.name, why));
        }
        return 0;
}

/* Another name for a generated one that is taken; the object gets it too. */
static int try_another_name(struct api_call *call)
{
        struct json_doc *edited;
        struct json_edit edit;
        int r;

        call->tries++;
        call->path.name = name_generate(
                call->arena,
                json_string(json_get(json_root(call->object), "metadata", "generateName")));
        if (!call->path.name.data)
                return -ENOMEM;
        json_edit_init(&edit, call->object, call->arena);
        json_edit_set_string(&edit, "/metadata/name", call->path.name);
        r = json_edit_apply(&edit, &edited);
        if (r < 0)
                return r;
        json_doc_unref(call->object);
        call->object = edited;
        call->request.name = call->path.name;
        return -EAGAIN;
}

static int judge(struct api_call *call, struct json_doc *head, struct storage_change *change)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_edit edit;
        int r = check_namespace(call);

        if (r < 0)
                return r;
        if (call->resource->terminating)
                return api_call_refuse(
                        call, kube_status_forbidden(call->arena, &call->named, call->path.name,
                                                    STR("create not allowed while custom resource "
                                                        "definition is terminating")));
        if (head) {
                if (call->tries > 0 && call->tries < NAME_TRIES)
                        return try_another_name(call);
                return api_call_refuse(call, kube_status_already_exists(call->arena, &call->named,
                                                                        call->path.name));
        }
        change->kind = STORAGE_PUT;
        if (!behaviour || !behaviour->admit) {
                change->doc = json_doc_ref(call->object);
                return 0;
        }
        json_edit_init(&edit, call->object, call->arena);
        r = behaviour->admit(call, json_root(call->object), &edit);
        return r < 0 ? r : json_edit_apply(&edit, &change->doc);
}

static void answer(struct api_call *call, struct json_doc *doc)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;

        if (behaviour && behaviour->created && !call->options.dry_run)
                behaviour->created(call, doc);
        else
                api_call_respond(call, 201, doc);
}

/* Whoever makes something that does not do here what it does on a cluster is told so. */
static void warn_of_stored_only(struct api_call *call)
{
        static const struct {
                struct str group, plural;
                const char *sentence;
        } kinds[] = {
                { STR(""), STR("limitranges"), "LimitRanges are stored by this API, not enforced" },
                { STR(""), STR("resourcequotas"),
                  "ResourceQuotas are stored by this API, not enforced" },
                { STR("apps"), STR("statefulsets"),
                  "StatefulSets are stored by this API, not run; the controllers of Agent Sandbox "
                  "are built in" },
                { STR("autoscaling"), STR("horizontalpodautoscalers"),
                  "HorizontalPodAutoscalers are stored by this API, and scale nothing" },
                { STR("policy"), STR("poddisruptionbudgets"),
                  "PodDisruptionBudgets are stored by this API, not enforced" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_equal(call->resource->group, kinds[i].group) &&
                    str_equal(call->resource->plural, kinds[i].plural))
                        api_call_warn(call, "%s", kinds[i].sentence);
}

void api_create(struct api_call *call)
{
        int r = admit_create(call);
        if (r == -EPERM && call->status.code) {
                struct kube_status status = call->status;
                api_call_fail(call, &status);
        } else if (r < 0) {
                api_call_fail_errno(call, r);
        } else {
                warn_of_stored_only(call);
                api_call_submit(call, judge, answer);
        }
}
