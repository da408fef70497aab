// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "controller/internal.h"

static void set_ready(const struct sandbox_status *status, const struct pod *pod,
                      struct condition_list *list)
{
        struct str ready = STR("False"), reason, message;

        if (status->error.length) {
                reason = STR("ReconcilerError");
                message = status->error;
        } else if (status->multiple_pods) {
                reason = STR("MultiplePods");
                message = STR("More than one Pod is owned by this Sandbox; delete all but one");
        } else if (status->suspended) {
                reason = STR("SandboxSuspended");
                message = STR("The Sandbox is suspended");
        } else if (pod && pod->phase == POD_SUCCEEDED) {
                reason = STR("PodSucceeded");
                message = STR("The Pod has run to its end");
        } else if (pod && pod->phase == POD_FAILED) {
                reason = STR("PodFailed");
                message = pod->status_message.length ? pod->status_message
                                                     : STR("The Pod has failed");
        } else {
                reason = STR("DependenciesNotReady");
                if (!pod)
                        message = STR("The Pod does not exist yet");
                else if (status->pod_leaves)
                        message = STR("The Pod is being deleted");
                else if (pod->phase != POD_RUNNING)
                        message = STR("The Pod is not running yet");
                else if (!pod->ready)
                        message = STR("The Pod is running but not ready");
                else if (!pod->has_ip)
                        message = STR("The Pod has no address yet");
                else if (status->service_required && !status->service_exists)
                        message = STR("The Service does not exist yet");
                else {
                        ready = STR("True");
                        reason = STR("DependenciesReady");
                        message = status->service_required ? STR("Pod and Service are ready")
                                                           : STR("The Pod is ready");
                }
        }
        conditions_set(list, STR("Ready"), ready, reason, message);
}

static void set_suspended(const struct sandbox_status *status, const struct pod *pod,
                          struct condition_list *list)
{
        struct str type = STR("Suspended");

        switch (status->suspension) {
        case NOT_SUSPENDED:
                conditions_set(list, type, STR("False"), STR("NotSuspended"),
                               STR("The Sandbox is not suspended"));
                return;
        case SUSPEND_TERMINATED:
                conditions_set(list, type, STR("True"), STR("PodTerminated"),
                               STR("The Pod is gone"));
                return;
        case SUSPEND_NOT_OWNED:
                conditions_set(list, type, STR("False"), STR("PodNotOwned"),
                               STR("The Pod belongs to somebody else and is left alone"));
                return;
        case SUSPEND_TERMINATING:
                break;
        }
        if (pod && pod->phase == POD_UNKNOWN)
                conditions_set(list, type, STR("Unknown"), STR("PodStateUnknown"),
                               STR("The Pod's node does not report"));
        else
                conditions_set(list, type, STR("False"), STR("PodTerminating"),
                               STR("The Pod is being deleted"));
}

static void set_scheduled(const struct pod *pod, struct condition_list *list)
{
        struct str type = STR("PodScheduled");
        struct condition scheduled;

        if (!condition_find(pod->conditions, type, &scheduled)) {
                conditions_set(list, type, STR("Unknown"), STR("PodSchedulingUnknown"),
                               STR("The Pod's scheduling is not known yet"));
                return;
        }
        if (scheduled.reason.length == 0)
                scheduled.reason = str_equal(scheduled.status, STR("True"))
                                           ? type
                                           : STR("PodSchedulingUnknown");
        conditions_set(list, type, scheduled.status, scheduled.reason, scheduled.message);
}

void sandbox_status_conditions(const struct sandbox_status *status, struct condition_list *list)
{
        const struct pod *pod = status->pod ? status->pod->typed : NULL;

        set_ready(status, pod, list);
        set_suspended(status, pod, list);
        if (!pod)
                return;
        set_scheduled(pod, list);
        if (pod->phase == POD_SUCCEEDED)
                conditions_set(list, STR("Finished"), STR("True"), STR("PodSucceeded"),
                               STR("The Pod has run to its end"));
        else if (pod->phase == POD_FAILED)
                conditions_set(list, STR("Finished"), STR("True"), STR("PodFailed"),
                               pod->status_message.length ? pod->status_message
                                                          : STR("The Pod has failed"));
}

static const struct pod *living_pod(const struct sandbox_status *status)
{
        return status->pod && !status->pod_leaves ? status->pod->typed : NULL;
}

enum { SELECTOR_SIZE = 64 };

static struct str selector(const struct sandbox_status *status, char text[static SELECTOR_SIZE])
{
        char hash[NAME_HASH_SIZE];
        int length = snprintf(text, SELECTOR_SIZE, "%.*s=%s", STR_FORMAT(LABEL_NAME_HASH),
                              name_hash(status->name, hash).data);

        return (struct str){ text, (size_t)length };
}

void sandbox_status_write(const struct sandbox_status *status, const struct condition_list *list,
                          struct json_writer *writer)
{
        const struct pod *pod = living_pod(status);
        char text[SELECTOR_SIZE];

        json_begin_object(writer);
        json_key(writer, STR("conditions"));
        conditions_put(list, writer);
        json_field_string(writer, "selector", selector(status, text));
        if (status->service_exists) {
                json_field_string(writer, "service", status->name);
                json_field_string(writer, "serviceFQDN", status->fqdn);
        } else {
                json_key(writer, STR("service"));
                json_write_null(writer);
                json_key(writer, STR("serviceFQDN"));
                json_write_null(writer);
        }
        json_key(writer, STR("podIPs"));
        if (pod && pod->has_ip)
                write_ips(writer, pod->ips);
        else
                json_write_null(writer);
        json_key(writer, STR("nodeName"));
        if (pod && pod->node_name.length)
                json_write_string(writer, pod->node_name);
        else
                json_write_null(writer);
        json_end_object(writer);
}

/* An absent string is equal to an empty one. */
static bool string_is(struct json_value object, const char *key, struct str text)
{
        return str_equal(json_string(json_member(object, str_from(key))), text);
}

bool sandbox_status_ips_are(const struct sandbox_status *status, struct json_value present)
{
        const struct pod *pod = living_pod(status);
        struct json_value none = { 0 };

        return ips_equal(json_get(present, "podIPs"), pod ? pod->ips : none);
}

bool sandbox_status_is_present(const struct sandbox_status *status, struct json_value present)
{
        const struct pod *pod = living_pod(status);
        char text[SELECTOR_SIZE];

        return string_is(present, "selector", selector(status, text)) &&
               string_is(present, "service", status->service_exists ? status->name : STR_EMPTY) &&
               string_is(present, "serviceFQDN",
                         status->service_exists ? status->fqdn : STR_EMPTY) &&
               string_is(present, "nodeName", pod ? pod->node_name : STR_EMPTY) &&
               sandbox_status_ips_are(status, present);
}
