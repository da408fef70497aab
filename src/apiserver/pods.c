// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/server.h"
#include "base/clock.h"
#include "json/edit.h"

/* pods/binding and pods/eviction. */

static void answer_created(struct api_call *call, struct json_doc *doc _unused_)
{
        struct kube_status status = kube_status_success();

        status.code = 201;
        api_call_fail(call, &status);
}

static int judge_binding(struct api_call *call, struct json_doc *head,
                         struct storage_change *change)
{
        struct json_value target = json_get(json_root(call->body), "target");
        struct str node = json_string(json_get(target, "name"));
        struct str uid = json_string(json_get(json_root(call->body), "metadata", "uid"));
        char now[RFC3339_SECONDS_SIZE];
        struct json_value root, conditions;
        struct json_edit edit;
        struct str condition, whole;

        if (!head)
                return api_call_refuse(
                        call, kube_status_not_found(call->arena, &call->named, call->path.name));
        root = json_root(head);
        if (node.length == 0)
                return api_call_refuse(
                        call, kube_status_bad_request(call->arena, "target.name is required"));
        if (uid.length > 0 && !json_string_is(json_get(root, "metadata", "uid"), uid))
                return api_call_refuse(call, kube_status_conflict(call->arena, &call->named,
                                                                  call->path.name, STR_EMPTY));
        if (json_exists(json_get(root, "metadata", "deletionTimestamp")) ||
            json_string(json_get(root, "spec", "nodeName")).length > 0) {
                struct str why =
                        arena_printf(call->arena, "pod %.*s is %s, cannot be assigned to a host",
                                     STR_FORMAT(call->path.name),
                                     json_string(json_get(root, "spec", "nodeName")).length > 0
                                             ? "already assigned to a node"
                                             : "being deleted");
                return api_call_refuse(call, kube_status_conflict(call->arena, &call->named,
                                                                  call->path.name, why));
        }
        rfc3339_format_seconds(call->now_ns, now);
        condition = arena_printf(call->arena,
                                 "{\"type\":\"PodScheduled\",\"status\":\"True\","
                                 "\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\"}",
                                 now);
        whole = arena_printf(call->arena, "[%.*s]", STR_FORMAT(condition));
        if (!condition.data || !whole.data)
                return -ENOMEM;
        json_edit_init(&edit, head, call->arena);
        json_edit_set_string(&edit, "/spec/nodeName", node);
        conditions = json_get(root, "status", "conditions");
        size_t index = 0;
        json_for_each (it, conditions) {
                if (json_string_is(json_get(it.value, "type"), STR("PodScheduled")))
                        break;
                index++;
        }
        if (json_count(conditions) == 0) {
                json_edit_set_raw(&edit, "/status/conditions", whole);
        } else if (index == json_count(conditions)) {
                json_edit_set_raw(&edit, "/status/conditions/-", condition);
        } else {
                struct str pointer = arena_printf(call->arena, "/status/conditions/%zu", index);
                if (!pointer.data)
                        return -ENOMEM;
                json_edit_set_raw(&edit, pointer.data, condition);
        }
        change->kind = STORAGE_PUT;
        return json_edit_apply(&edit, &change->doc);
}

void pod_binding(struct api_call *call)
{
        api_call_submit(call, judge_binding, answer_created);
}

void pod_binding_by_body(struct api_call *call)
{
        struct str name = json_string(json_get(json_root(call->body), "metadata", "name"));
        const struct api_resource *pods =
                registry_find(call->server->registry, STR_EMPTY, STR("pods"));

        api_resource_unref(call->resource);
        call->resource = api_resource_ref(pods);
        call->path.name = name;
        api_call_submit(call, judge_binding, answer_created);
}

/* Nothing keeps a budget here: an eviction is a deletion. */
void pod_eviction(struct api_call *call)
{
        struct json_value options = json_get(json_root(call->body), "deleteOptions");
        struct kube_status status;

        if (json_exists(options) &&
            api_options_add_delete(options, &call->options, call->arena, &status) < 0) {
                api_call_fail(call, &status);
                return;
        }
        delete_submit(call, answer_created);
}
