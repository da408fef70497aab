// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>

#include "apiserver/behaviour.h"
#include "apiserver/emptying.h"
#include "apiserver/server.h"
#include "base/limit.h"
#include "json/patch.h"

/*
 * PUT and PATCH, of an object or its status: the new object is made from the head inside the
 * verdict, in the version of the request.
 */

static int refuse_conflict(struct api_call *call, struct str why)
{
        return api_call_refuse(
                call, kube_status_conflict(call->arena, &call->named, call->path.name, why));
}

/* ---- patches ---- */

static int refuse_patch(struct api_call *call, int r, const struct error *error)
{
        switch (r) {
        case -EBADMSG:
                return api_call_refuse(call,
                                       kube_status_bad_request(call->arena, "%s", error->message));
        case -ENOENT:
        case -EILSEQ:
                return api_call_refuse(
                        call, kube_status_unprocessable(call->arena, "%s", error->message));
        case -EFBIG:
        case -E2BIG:
                return api_call_refuse(call, kube_status_too_large(LIMIT_BODY, call->arena));
        default:
                return r;
        }
}

static int apply_patch(struct api_call *call, struct json_doc *current, struct json_doc **ret_doc)
{
        struct str type, parameters;
        struct error error = {};
        int r;

        str_cut(call->content_type, ';', &type, &parameters);
        type = str_trim(type);
        if (str_equal(type, STR("application/json-patch+json")))
                r = json_patch(current, json_root(call->body), &error, ret_doc);
        else if (str_equal(type, STR("application/merge-patch+json")))
                r = json_merge_patch(current, json_root(call->body), &error, ret_doc);
        else
                r = json_strategic_patch(current, json_root(call->body), schema_strategy,
                                         call->version->schema, &error, ret_doc);
        return r < 0 ? refuse_patch(call, r, &error) : 0;
}

/* ---- from what was sent to what would be stored ---- */

/* Name, namespace, uid and resourceVersion, where they are said, must be those of the head. */
static int check_identity(struct api_call *call, struct json_value sent, struct json_value current)
{
        struct json_value metadata = json_get(sent, "metadata");
        struct json_value before = json_get(current, "metadata");
        struct str version = json_string(json_get(metadata, "resourceVersion"));
        struct str uid = json_string(json_get(metadata, "uid"));
        struct str name = json_string(json_get(metadata, "name"));
        struct str name_space = json_string(json_get(metadata, "namespace"));

        if (name.length > 0 && !str_equal(name, call->path.name))
                return api_call_refuse(
                        call,
                        kube_status_bad_request(call->arena,
                                                "the name of the object (%.*s) does not match the "
                                                "name on the URL (%.*s)",
                                                STR_FORMAT(name), STR_FORMAT(call->path.name)));
        if (call->resource->namespaced && name_space.length > 0 &&
            !str_equal(name_space, call->path.name_space))
                return api_call_refuse(
                        call, kube_status_bad_request(
                                      call->arena, "the namespace of the provided object does not "
                                                   "match the namespace sent on the request"));
        if (uid.length > 0 && !str_equal(uid, json_string(json_get(before, "uid"))))
                return refuse_conflict(
                        call, arena_printf(call->arena,
                                           "Precondition failed: UID in precondition: %.*s, UID in "
                                           "object meta: %.*s",
                                           STR_FORMAT(uid),
                                           STR_FORMAT(json_string(json_get(before, "uid")))));
        if (version.length == 0 && call->verb == API_UPDATE && call->resource->custom) {
                struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);
                if (!errors)
                        return -ENOMEM;
                field_errors_init(errors, call->arena);
                field_errors_add(errors, FIELD_INVALID, STR("metadata.resourceVersion"),
                                 (struct json_value){}, "must be specified for an update");
                return api_call_refuse(call, kube_status_invalid(call->arena, &call->named,
                                                                 call->path.name, errors));
        }
        if (version.length > 0 && !str_equal(version, STR("0")) &&
            !str_equal(version, json_string(json_get(before, "resourceVersion"))))
                return refuse_conflict(call, STR_EMPTY);
        return 0;
}

/* Whether anything but metadata and status differs: then the generation rises. */
static bool content_differs(struct json_value a, struct json_value b)
{
        json_for_each (it, a) {
                if (str_equal(it.key, STR("metadata")) || str_equal(it.key, STR("status")) ||
                    str_equal(it.key, STR("apiVersion")) || str_equal(it.key, STR("kind")))
                        continue;
                if (!json_equal(it.value, json_member(b, it.key)))
                        return true;
        }
        json_for_each (it, b) {
                if (!str_equal(it.key, STR("metadata")) && !str_equal(it.key, STR("status")) &&
                    !json_exists(json_member(a, it.key)))
                        return true;
        }
        return false;
}

/* metadata that only the server sets stays as it was. */
static void keep_metadata(struct json_edit *edit, struct json_value current)
{
        static const char *const kept[] = { "uid",
                                            "creationTimestamp",
                                            "deletionTimestamp",
                                            "deletionGracePeriodSeconds",
                                            "generation",
                                            "resourceVersion",
                                            "name",
                                            "namespace",
                                            "generateName" };
        struct json_value metadata = json_get(current, "metadata");

        for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
                char pointer[64];
                snprintf(pointer, sizeof(pointer), "/metadata/%s", kept[i]);
                json_edit_set_value(edit, pointer, json_get(metadata, kept[i]));
        }
        json_edit_remove(edit, "/metadata/selfLink");
        json_edit_set_value(edit, "/metadata/managedFields", json_get(metadata, "managedFields"));
        json_edit_set_value(edit, "/apiVersion", json_get(current, "apiVersion"));
        json_edit_set_value(edit, "/kind", json_get(current, "kind"));
}

/* What a write to a subresource takes from the body; the rest is the head's. */
static int merge_subresource(struct api_call *call, struct json_doc *current, struct json_doc *sent,
                             struct json_doc **ret_doc)
{
        struct str name = call->subresource->name;
        struct json_value root = json_root(sent);
        struct json_edit edit;

        json_edit_init(&edit, current, call->arena);
        if (str_equal(name, STR("status"))) {
                json_edit_set_value(&edit, "/status", json_get(root, "status"));
                if (!call->resource->custom) {
                        json_edit_set_value(&edit, "/metadata/labels",
                                            json_get(root, "metadata", "labels"));
                        json_edit_set_value(&edit, "/metadata/annotations",
                                            json_get(root, "metadata", "annotations"));
                }
        } else {
                /* finalize, resize, ephemeralcontainers: parts of the spec */
                json_edit_set_value(&edit, "/spec", json_get(root, "spec"));
        }
        return json_edit_apply(&edit, ret_doc);
}

/* The object as a whole: everything is the body's but status and the server's metadata. */
static int merge_object(struct api_call *call, struct json_doc *current, struct json_doc *sent,
                        struct json_doc **ret_doc)
{
        const struct api_behaviour *behaviour = call->resource->behaviour;
        struct json_value before = json_root(current), after = json_root(sent);
        struct json_edit edit;

        json_edit_init(&edit, sent, call->arena);
        keep_metadata(&edit, before);
        if (call->version->has_status)
                json_edit_set_value(&edit, "/status", json_get(before, "status"));
        if ((call->resource->custom || (behaviour && behaviour->has_generation)) &&
            content_differs(after, before))
                json_edit_set_int(&edit, "/metadata/generation",
                                  json_int64_or(json_get(before, "metadata", "generation"), 0) + 1);
        if (behaviour && behaviour->prepare_update) {
                int r = behaviour->prepare_update(call, after, before, &edit);
                if (r < 0)
                        return r;
        }
        return json_edit_apply(&edit, ret_doc);
}

/* ---- the verdict ---- */

/* While it is being deleted, finalizers may only go. */
static int check_finalizers(struct api_call *call, struct json_value after,
                            struct json_value before)
{
        struct json_value allowed = json_get(before, "metadata", "finalizers");

        if (!json_exists(json_get(before, "metadata", "deletionTimestamp")))
                return 0;
        json_for_each (it, json_get(after, "metadata", "finalizers")) {
                bool found = false;
                json_for_each (old, allowed) {
                        found = found || str_equal(json_string(old.value), json_string(it.value));
                }
                if (found)
                        continue;
                struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);
                if (!errors)
                        return -ENOMEM;
                field_errors_init(errors, call->arena);
                field_errors_add(errors, FIELD_FORBIDDEN, STR("metadata.finalizers"),
                                 (struct json_value){},
                                 "no new finalizers can be added if the object is being deleted, "
                                 "found new finalizers []string{\"%.*s\"}",
                                 STR_FORMAT(json_string(it.value)));
                return api_call_refuse(call, kube_status_invalid(call->arena, &call->named,
                                                                 call->path.name, errors));
        }
        return 0;
}

bool update_ends_deletion(struct json_value object)
{
        struct json_value metadata = json_get(object, "metadata");

        return json_exists(json_get(metadata, "deletionTimestamp")) &&
               json_count(json_get(metadata, "finalizers")) == 0 &&
               json_int64_or(json_get(metadata, "deletionGracePeriodSeconds"), 0) == 0 &&
               json_count(json_get(object, "spec", "finalizers")) == 0;
}

/* From what was sent, as a document of the call's version, to the change. */
int update_finish(struct api_call *call, struct json_doc *head, struct json_doc *current,
                  struct json_doc *sent, struct storage_change *change)
{
        _cleanup_doc_ struct json_doc *merged = NULL, *stored = NULL;
        bool same;
        int r;

        r = check_identity(call, json_root(sent), json_root(current));
        if (r == 0)
                r = call->subresource ? merge_subresource(call, current, sent, &merged)
                                      : merge_object(call, current, sent, &merged);
        if (r == 0)
                r = check_finalizers(call, json_root(merged), json_root(current));
        if (r < 0)
                return r;
        /* Judged before conversion, which might tidy up what another version left behind. */
        same = json_equal(json_root(merged), json_root(current));
        if (same && !update_ends_deletion(json_root(merged)))
                return 0;
        r = same ? 0 : admit_validate(call, merged, json_root(current));
        if (r == 0)
                r = admit_to_storage(call, merged, &stored);
        if (r < 0)
                return r;

        if (update_ends_deletion(json_root(stored))) {
                change->kind = STORAGE_DELETE;
        } else if (json_equal(json_root(stored), json_root(head))) {
                return 0;
        } else {
                change->kind = STORAGE_PUT;
        }
        change->doc = TAKE_POINTER(stored);
        return 0;
}

/*
 * A namespace is let go when nothing is in it any more. The controller that asks for it deletes
 * what it watches; the rest goes here, while it asks again.
 */
static int hold_namespace(struct api_call *call, struct json_doc *head)
{
        if (call->resource->storage != call->server->namespaces || !call->subresource ||
            !str_equal(call->subresource->name, STR("finalize")) ||
            !json_exists(json_get(json_root(head), "metadata", "deletionTimestamp")) ||
            namespace_is_empty(call->server, call->path.name))
                return 0;
        int r = emptying_start(call->server, call->path.name);
        if (r < 0)
                return r;
        return api_call_refuse(
                call, kube_status_conflict(
                              call->arena, &call->named, call->path.name,
                              STR("objects are left in it, which are being deleted: ask again")));
}

static int judge(struct api_call *call, struct json_doc *head, struct storage_change *change)
{
        _cleanup_doc_ struct json_doc *current = NULL, *sent = NULL;
        struct error error = {};
        int r;

        if (!head)
                return api_call_refuse(
                        call, kube_status_not_found(call->arena, &call->named, call->path.name));
        r = hold_namespace(call, head);
        if (r == 0)
                r = render_convert(call->resource, head, call->version->name, &error, &current);
        if (r < 0)
                return r;
        if (call->verb == API_PATCH)
                r = apply_patch(call, current, &sent);
        else
                sent = json_doc_ref(call->body);
        if (r == 0)
                r = admit_check_type(call, json_root(sent));
        if (r == 0)
                r = admit_prepare(call, &sent);
        if (r < 0)
                return r;
        return update_finish(call, head, current, sent, change);
}

static void answer(struct api_call *call, struct json_doc *doc)
{
        api_call_respond(call, 200, doc);
}

void api_update(struct api_call *call)
{
        api_call_submit(call, judge, answer);
}
