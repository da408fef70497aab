// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/behaviour.h"
#include "apiserver/server.h"
#include "json/patch.h"
#include "json/writer.h"

/* The scale subresource: autoscaling/v1 Scale as a view of three paths of the object. */

static int write_selector(struct json_value selector, struct buffer *out)
{
        _cleanup_arena_ struct arena arena = {};
        struct label_selector parsed;

        if (json_type(selector) == JSON_STRING)
                return buffer_append_str(out, json_string(selector));
        if (json_type(selector) != JSON_OBJECT ||
            label_selector_read(selector, &arena, NULL, &parsed) < 0)
                return 0;
        return label_selector_write(&parsed, out);
}

/* `doc` in the call's version, as a Scale. */
static int make_scale(struct api_call *call, struct json_doc *doc, struct json_doc **ret_doc)
{
        static const char *const copied[] = { "name", "namespace", "uid", "resourceVersion",
                                              "creationTimestamp" };
        _cleanup_buffer_ struct buffer text = {}, selector = {};
        struct json_value root = json_root(doc), value;
        struct json_writer writer;
        int r;

        value = call->version->scale_selector ? jsonpath_first(call->version->scale_selector, root)
                                              : json_get(root, "spec", "selector");
        r = write_selector(value, &selector);
        if (r < 0)
                return r;
        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("Scale"));
        json_field_string(&writer, "apiVersion", STR("autoscaling/v1"));
        json_field_object(&writer, "metadata");
        for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
                value = json_get(root, "metadata", copied[i]);
                if (json_exists(value))
                        json_field_value(&writer, copied[i], value);
        }
        json_end_object(&writer);
        json_field_object(&writer, "spec");
        value = jsonpath_first(call->version->scale_spec, root);
        json_field_int(&writer, "replicas", json_int64_or(value, 0));
        json_end_object(&writer);
        json_field_object(&writer, "status");
        value = jsonpath_first(call->version->scale_status, root);
        json_field_int(&writer, "replicas", json_int64_or(value, 0));
        if (selector.length > 0)
                json_field_string(&writer, "selector", buffer_str(&selector));
        json_end_object(&writer);
        json_end_object(&writer);
        r = json_writer_finish(&writer);
        return r < 0 ? r : json_doc_from_buffer(&text, ret_doc);
}

static int refuse_replicas(struct api_call *call, struct json_value replicas)
{
        struct field_errors *errors = arena_new(call->arena, struct field_errors, 1);
        struct kube_resource scale = { STR("autoscaling"), STR("scales"), STR("Scale") };

        if (!errors)
                return -ENOMEM;
        field_errors_init(errors, call->arena);
        field_errors_add(errors, FIELD_INVALID, STR("spec.replicas"), replicas,
                         "should be a non-negative integer");
        return api_call_refuse(call,
                               kube_status_invalid(call->arena, &scale, call->path.name, errors));
}

/* The object with what the Scale that was sent says. */
static int apply_scale(struct api_call *call, struct json_doc *current, struct json_doc *scale,
                       struct json_doc **ret_doc)
{
        struct json_value replicas = json_get(json_root(scale), "spec", "replicas");
        struct json_edit edit;
        const char *pointer;
        int64_t count = 0;

        if (json_exists(replicas) && (json_int64(replicas, &count) < 0 || count < 0))
                return refuse_replicas(call, replicas);
        pointer = arena_str(call->arena, call->version->scale_spec_pointer).data;
        if (!pointer)
                return -ENOMEM;
        json_edit_init(&edit, current, call->arena);
        json_edit_set_int(&edit, pointer, count);
        json_edit_set_value(&edit, "/metadata/resourceVersion",
                            json_get(json_root(scale), "metadata", "resourceVersion"));
        return json_edit_apply(&edit, ret_doc);
}

static int judge(struct api_call *call, struct json_doc *head, struct storage_change *change)
{
        _cleanup_doc_ struct json_doc *current = NULL, *scale = NULL, *patched = NULL, *sent = NULL;
        const struct api_subresource *subresource = call->subresource;
        struct error error = {};
        int r;

        if (!head)
                return api_call_refuse(
                        call, kube_status_not_found(call->arena, &call->named, call->path.name));
        r = render_convert(call->resource, head, call->version->name, &error, &current);
        if (r == 0)
                r = make_scale(call, current, &scale);
        if (r < 0)
                return r;
        if (call->verb == API_PATCH) {
                bool operations = json_type(json_root(call->body)) == JSON_ARRAY;
                r = operations ? json_patch(scale, json_root(call->body), &error, &patched)
                               : json_merge_patch(scale, json_root(call->body), &error, &patched);
                if (r < 0)
                        return api_call_refuse(
                                call, kube_status_unprocessable(call->arena, "%s", error.message));
        } else {
                patched = json_doc_ref(call->body);
        }
        r = apply_scale(call, current, patched, &sent);
        if (r < 0)
                return r;
        /* From here on it is an update of the object. */
        call->subresource = NULL;
        r = update_finish(call, head, current, sent, change);
        call->subresource = subresource;
        return r;
}

static void answer(struct api_call *call, struct json_doc *doc)
{
        _cleanup_doc_ struct json_doc *current = NULL, *scale = NULL;
        struct error error = {};
        int r;

        r = render_convert(call->resource, doc, call->version->name, &error, &current);
        if (r == 0)
                r = make_scale(call, current, &scale);
        if (r < 0)
                api_call_fail_errno(call, r);
        else
                api_call_respond_raw(call, 200, scale);
}

void api_scale(struct api_call *call)
{
        struct kube_status status;
        struct json_doc *doc;

        if (call->verb != API_GET) {
                api_call_submit(call, judge, answer);
                return;
        }
        doc = storage_get(call->resource->storage, call->path.name_space, call->path.name);
        if (doc) {
                answer(call, doc);
                return;
        }
        status = kube_status_not_found(call->arena, &call->named, call->path.name);
        api_call_fail(call, &status);
}
