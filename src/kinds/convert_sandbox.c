// SPDX-License-Identifier: Apache-2.0
#include "base/limit.h"
#include "kinds/convert_internal.h"
#include "kube/condition.h"

#define POLICY_KEY STR("api.agents.x-k8s.io/v1beta1-volume-claim-templates-policy")
#define POLICY_POINTER                                                                             \
        "/metadata/annotations/api.agents.x-k8s.io~1v1beta1-volume-claim-templates-policy"

/* Whether the state that came along says that the spec was without this member. */
static bool kept_unset(const struct conversion *conversion, const char *member)
{
        struct json_value spec = json_get(conversion->kept, "spec");

        return is_object(spec) && !is_given(json_member(spec, str_from(member)));
}

/* The state is that the spec was without the one member whose absence the other version loses. */
static void keep_unset(struct conversion *conversion)
{
        json_field_object(&conversion->state, "spec");
        json_end_object(&conversion->state);
}

/* ---- Sandbox ---- */

/*
 * v1alpha1 has no nodeName. It belongs to the Pod with these addresses: beside others, an old
 * annotation that was applied again would name a node that the Pod has left.
 */
static void restore_node_name(struct conversion *conversion)
{
        struct json_value kept = json_get(conversion->kept, "status");
        struct json_value kept_ips = json_get(kept, "podIPs");
        struct json_value ips = json_get(conversion->status, "podIPs");
        struct str node_name = json_string(json_get(kept, "nodeName"));

        if (node_name.length == 0 || node_name.length > LIMIT_NAME ||
            is_given(json_get(conversion->status, "nodeName")))
                return;
        if (is_given(kept_ips) != is_given(ips) || (is_given(ips) && !json_equal(kept_ips, ips)))
                return;
        json_edit_set_string(&conversion->edit, "/status/nodeName", node_name);
}

void sandbox_to_hub(struct conversion *conversion)
{
        struct json_value replicas = json_get(conversion->spec, "replicas");
        struct json_edit *edit = &conversion->edit;

        if (is_object(conversion->spec)) {
                if (json_int64_or(replicas, 1) == 0)
                        json_edit_set_string(edit, "/spec/operatingMode", STR("Suspended"));
                else if (kept_unset(conversion, "operatingMode"))
                        json_edit_remove(edit, "/spec/operatingMode");
                else
                        json_edit_set_string(edit, "/spec/operatingMode", STR("Running"));
                json_edit_remove(edit, "/spec/replicas");
                if (!is_given(replicas))
                        keep_unset(conversion);
        }
        if (is_object(conversion->status)) {
                json_edit_remove(edit, "/status/replicas");
                restore_node_name(conversion);
        }
}

/* The number of Pods. The condition PodScheduled is there while the Pod is. */
static int64_t count_pods(struct json_value status)
{
        struct condition scheduled;

        return condition_find(json_get(status, "conditions"), STR("PodScheduled"), &scheduled) ||
                               json_count(json_get(status, "podIPs")) > 0
                       ? 1
                       : 0;
}

static void sandbox_status_from_hub(struct conversion *conversion)
{
        struct json_value node_name = json_get(conversion->status, "nodeName");
        struct json_value ips = json_get(conversion->status, "podIPs");

        json_edit_remove(&conversion->edit, "/status/nodeName");
        json_edit_set_int(&conversion->edit, "/status/replicas", count_pods(conversion->status));
        if (json_string(node_name).length == 0)
                return;
        json_field_object(&conversion->state, "status");
        if (is_given(ips))
                json_field_value(&conversion->state, "podIPs", ips);
        json_field_value(&conversion->state, "nodeName", node_name);
        json_end_object(&conversion->state);
}

void sandbox_from_hub(struct conversion *conversion)
{
        struct json_value mode = json_get(conversion->spec, "operatingMode");
        struct json_edit *edit = &conversion->edit;

        if (is_object(conversion->spec)) {
                if (json_string_is(mode, STR("Suspended")))
                        json_edit_set_int(edit, "/spec/replicas", 0);
                else if (kept_unset(conversion, "replicas"))
                        json_edit_remove(edit, "/spec/replicas");
                else
                        json_edit_set_int(edit, "/spec/replicas", 1);
                json_edit_remove(edit, "/spec/operatingMode");
                if (!is_given(mode))
                        keep_unset(conversion);
        }
        if (is_object(conversion->status))
                sandbox_status_from_hub(conversion);
}

/* ---- SandboxTemplate ---- */

static bool is_policy(struct json_value value)
{
        return json_string_is(value, STR("Disallowed")) || json_string_is(value, STR("Allowed")) ||
               json_string_is(value, STR("Overrides"));
}

void template_to_hub(struct conversion *conversion)
{
        struct json_value policy = json_member(conversion->annotations, POLICY_KEY);

        if (!is_policy(policy) || !is_object(conversion->spec))
                return;
        json_edit_set_value(&conversion->edit, "/spec/volumeClaimTemplatesPolicy", policy);
        conversion_remove_annotation(conversion, POLICY_KEY, POLICY_POINTER);
}

void template_from_hub(struct conversion *conversion)
{
        struct json_value policy = json_get(conversion->spec, "volumeClaimTemplatesPolicy");

        if (is_policy(policy)) {
                json_edit_remove(&conversion->edit, "/spec/volumeClaimTemplatesPolicy");
                conversion_set_annotation(conversion, POLICY_KEY, POLICY_POINTER,
                                          json_string(policy));
        } else if (is_policy(json_member(conversion->annotations, POLICY_KEY))) {
                /* In the hub it means nothing; on the way back it would become the policy. */
                conversion_remove_annotation(conversion, POLICY_KEY, POLICY_POINTER);
        }
}

/* ---- SandboxWarmPool ---- */

void pool_to_hub(struct conversion *conversion)
{
        if (json_int64_or(json_get(conversion->spec, "replicas"), 0) == 1 &&
            kept_unset(conversion, "replicas"))
                json_edit_remove(&conversion->edit, "/spec/replicas");
}

void pool_from_hub(struct conversion *conversion)
{
        if (!is_object(conversion->spec) || is_given(json_get(conversion->spec, "replicas")))
                return;
        json_edit_set_int(&conversion->edit, "/spec/replicas", 1);
        keep_unset(conversion);
}
