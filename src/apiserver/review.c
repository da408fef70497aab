// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"
#include "json/edit.h"
#include "json/writer.h"

/*
 * Questions that are asked by creating an object which is not stored: who am I, who is this token,
 * may I, may she, what may I. The answer is the object with its status.
 */

static void answer_with_status(struct api_call *call, struct buffer *status)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct json_edit edit;
        int r;

        json_edit_init(&edit, call->body, call->arena);
        json_edit_set_raw(&edit, "/status", buffer_str(status));
        json_edit_set_string(
                &edit, "/apiVersion",
                api_group_version(call->arena, call->resource->group, call->version->name));
        json_edit_set_string(&edit, "/kind", call->resource->kind);
        r = json_edit_apply(&edit, &doc);
        if (r < 0)
                api_call_fail_errno(call, r);
        else
                api_call_respond_raw(call, 201, doc);
}

static void write_user(struct json_writer *writer, const struct api_user *user)
{
        json_begin_object(writer);
        json_field_string(writer, "username", user->name);
        if (user->uid.length > 0)
                json_field_string(writer, "uid", user->uid);
        json_field_array(writer, "groups");
        for (size_t i = 0; i < user->group_count; i++)
                json_write_string(writer, user->groups[i]);
        json_end_array(writer);
        if (user->pod_name.length > 0) {
                json_field_object(writer, "extra");
                json_field_array(writer, "authentication.kubernetes.io/pod-name");
                json_write_string(writer, user->pod_name);
                json_end_array(writer);
                json_field_array(writer, "authentication.kubernetes.io/pod-uid");
                json_write_string(writer, user->pod_uid);
                json_end_array(writer);
                json_end_object(writer);
        }
        json_end_object(writer);
}

/* Ends the call with what the writer has made. */
static void finish(struct api_call *call, struct json_writer *writer, struct buffer *status)
{
        if (json_writer_finish(writer) < 0)
                api_call_fail_errno(call, -ENOMEM);
        else
                answer_with_status(call, status);
}

/* ---- may somebody? ---- */

static struct authorization read_question(struct json_value spec, const struct api_user *user)
{
        struct json_value resource = json_get(spec, "resourceAttributes");
        struct json_value other = json_get(spec, "nonResourceAttributes");

        if (json_exists(other))
                return (struct authorization){ .user = user,
                                               .verb = json_string(json_get(other, "verb")),
                                               .path = json_string(json_get(other, "path")) };
        return (struct authorization){
                .user = user,
                .verb = json_string(json_get(resource, "verb")),
                .group = json_string(json_get(resource, "group")),
                .resource = json_string(json_get(resource, "resource")),
                .subresource = json_string(json_get(resource, "subresource")),
                .name_space = json_string(json_get(resource, "namespace")),
                .name = json_string(json_get(resource, "name")),
        };
}

static int read_user(struct api_call *call, struct json_value spec, struct api_user *ret_user)
{
        struct json_value groups = json_get(spec, "groups");
        struct str *list = arena_new(call->arena, struct str, json_count(groups) + 1);
        struct api_user user = { .name = json_string(json_get(spec, "user")) };

        if (!list)
                return -ENOMEM;
        json_for_each (it, groups)
                list[user.group_count++] = json_string(it.value);
        user.groups = list;
        *ret_user = user;
        return 0;
}

static void answer_access(struct api_call *call, bool self)
{
        struct json_value spec = json_get(json_root(call->body), "spec");
        _cleanup_buffer_ struct buffer status = {};
        struct authorization question;
        struct json_writer writer;
        struct api_user user = call->user;

        if (!self && read_user(call, spec, &user) < 0) {
                api_call_fail_errno(call, -ENOMEM);
                return;
        }
        question = read_question(spec, &user);
        if (str_equal(call->resource->plural, STR("localsubjectaccessreviews")))
                question.name_space = call->path.name_space;
        json_writer_init(&writer, &status);
        json_begin_object(&writer);
        json_field_bool(&writer, "allowed", authorize(call->server, &question));
        json_end_object(&writer);
        finish(call, &writer, &status);
}

/* ---- what may I? ---- */

static void answer_rules(struct api_call *call)
{
        struct str name_space = json_string(json_get(json_root(call->body), "spec", "namespace"));
        _cleanup_buffer_ struct buffer status = {};
        struct json_writer writer;

        json_writer_init(&writer, &status);
        json_begin_object(&writer);
        json_field_array(&writer, "resourceRules");
        authorize_write_rules(call->server, &call->user, name_space, false, &writer);
        json_end_array(&writer);
        json_field_array(&writer, "nonResourceRules");
        authorize_write_rules(call->server, &call->user, name_space, true, &writer);
        json_end_array(&writer);
        json_field_bool(&writer, "incomplete", false);
        json_end_object(&writer);
        finish(call, &writer, &status);
}

/* ---- who? ---- */

static void answer_self(struct api_call *call)
{
        _cleanup_buffer_ struct buffer status = {};
        struct json_writer writer;

        json_writer_init(&writer, &status);
        json_begin_object(&writer);
        json_key(&writer, STR("userInfo"));
        write_user(&writer, &call->user);
        json_end_object(&writer);
        finish(call, &writer, &status);
}

static void answer_token(struct api_call *call)
{
        struct json_value spec = json_get(json_root(call->body), "spec");
        struct json_value audiences = json_get(spec, "audiences");
        struct str audience = call->server->config.issuer;
        _cleanup_buffer_ struct buffer status = {};
        struct json_writer writer;
        struct api_user user;
        int r;

        if (json_count(audiences) > 0)
                audience = json_string(json_element(audiences, 0));
        r = authenticate_token(call->server, json_string(json_get(spec, "token")), audience,
                               call->arena, &user);
        if (r == -ENOMEM) {
                api_call_fail_errno(call, r);
                return;
        }
        json_writer_init(&writer, &status);
        json_begin_object(&writer);
        if (r == 0) {
                json_field_bool(&writer, "authenticated", true);
                json_key(&writer, STR("user"));
                write_user(&writer, &user);
                json_field_array(&writer, "audiences");
                json_write_string(&writer, audience);
                json_end_array(&writer);
        } else {
                json_field_raw(&writer, "user", STR("{}"));
                json_field_string(&writer, "error", STR("invalid bearer token"));
        }
        json_end_object(&writer);
        finish(call, &writer, &status);
}

void review_answer(struct api_call *call)
{
        struct str plural = call->resource->plural;
        struct kube_status status = kube_status_no_such_path();

        if (str_equal(plural, STR("selfsubjectaccessreviews")))
                answer_access(call, true);
        else if (str_equal(plural, STR("subjectaccessreviews")) ||
                 str_equal(plural, STR("localsubjectaccessreviews")))
                answer_access(call, false);
        else if (str_equal(plural, STR("selfsubjectrulesreviews")))
                answer_rules(call);
        else if (str_equal(plural, STR("selfsubjectreviews")))
                answer_self(call);
        else if (str_equal(plural, STR("tokenreviews")))
                answer_token(call);
        else if (str_equal(plural, STR("bindings")))
                pod_binding_by_body(call);
        else
                api_call_fail(call, &status);
}
