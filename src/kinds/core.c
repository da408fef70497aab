// SPDX-License-Identifier: Apache-2.0
#include "kinds/core.h"

#include "kube/condition.h"
#include "kube/quantity.h"

/* More than any node has, and so little that what many Pods ask for can be added up. */
#define REQUEST_MAX (INT64_C(1) << 44)

static enum pod_phase read_phase(struct str phase)
{
        if (str_equal(phase, STR("Running")))
                return POD_RUNNING;
        if (str_equal(phase, STR("Succeeded")))
                return POD_SUCCEEDED;
        if (str_equal(phase, STR("Failed")))
                return POD_FAILED;
        if (str_equal(phase, STR("Unknown")))
                return POD_UNKNOWN;
        return POD_PENDING;
}

static int64_t read_milli(struct json_value value)
{
        struct quantity quantity;

        return quantity_read(value, &quantity) == 0 ? quantity_milli(&quantity) : 0;
}

static int64_t read_whole(struct json_value value)
{
        struct quantity quantity;

        return quantity_read(value, &quantity) == 0 ? quantity_whole(&quantity) : 0;
}

/* A request that is left out equals the limit. */
static struct json_value request(struct json_value container, const char *resource)
{
        struct json_value value = json_get(container, "resources", "requests", resource);

        return json_exists(value) ? value : json_get(container, "resources", "limits", resource);
}

static int64_t clamp_request(int64_t value)
{
        return MAX(MIN(value, REQUEST_MAX), INT64_C(0));
}

/* Containers run together; of the init containers only the largest counts beside them. */
static void read_requests(struct json_value spec, struct pod *pod)
{
        int64_t cpu = 0, memory = 0;

        json_for_each (it, json_get(spec, "containers")) {
                cpu += clamp_request(read_milli(request(it.value, "cpu")));
                memory += clamp_request(read_whole(request(it.value, "memory")));
        }
        json_for_each (it, json_get(spec, "initContainers")) {
                cpu = MAX(cpu, read_milli(request(it.value, "cpu")));
                memory = MAX(memory, read_whole(request(it.value, "memory")));
        }
        pod->cpu_milli = MIN(cpu, REQUEST_MAX);
        pod->memory = MIN(memory, REQUEST_MAX);
}

void node_read(struct json_value object, void *ret_node)
{
        struct json_value allocatable = json_get(object, "status", "allocatable");

        *(struct node *)ret_node = (struct node){
                .ready = condition_is_true(json_get(object, "status", "conditions"), STR("Ready")),
                .unschedulable = json_bool_or(json_get(object, "spec", "unschedulable"), false),
                .cpu_milli = read_milli(json_get(allocatable, "cpu")),
                .memory = read_whole(json_get(allocatable, "memory")),
                .pods = read_whole(json_get(allocatable, "pods")),
        };
}

void pod_read(struct json_value object, void *ret_pod)
{
        struct pod *pod = ret_pod;
        struct json_value status = json_get(object, "status");

        *pod = (struct pod){
                .spec = json_get(object, "spec"),
                .conditions = json_get(status, "conditions"),
                .ips = json_get(status, "podIPs"),
                .ip = json_string(json_get(status, "podIP")),
                .node_name = json_string(json_get(object, "spec", "nodeName")),
                .phase = read_phase(json_string(json_get(status, "phase"))),
                .status_reason = json_string(json_get(status, "reason")),
                .status_message = json_string(json_get(status, "message")),
        };
        pod->ready = condition_is_true(pod->conditions, STR("Ready"));
        pod->has_ip = json_count(pod->ips) > 0;
        read_requests(pod->spec, pod);
}

void service_read(struct json_value object, void *ret_service)
{
        struct json_value spec = json_get(object, "spec");

        *(struct service *)ret_service = (struct service){
                .cluster_ip = json_string(json_get(spec, "clusterIP")),
                .selector = json_get(spec, "selector"),
                .ports = json_get(spec, "ports"),
                .publish_not_ready =
                        json_bool_or(json_get(spec, "publishNotReadyAddresses"), false),
        };
}

void namespace_read(struct json_value object, void *ret_namespace)
{
        *(struct namespace *)ret_namespace = (struct namespace){
                .terminating =
                        json_string_is(json_get(object, "status", "phase"), STR("Terminating")),
                .finalizers = json_get(object, "spec", "finalizers"),
        };
}

void replica_set_read(struct json_value object, void *ret_replica_set)
{
        struct json_value spec = json_get(object, "spec");

        *(struct replica_set *)ret_replica_set = (struct replica_set){
                .replicas = json_int64_or(json_get(spec, "replicas"), 1),
                .selector = json_get(spec, "selector"),
                .template = json_get(spec, "template"),
                .status = json_get(object, "status"),
        };
}

void deployment_read(struct json_value object, void *ret_deployment)
{
        struct json_value spec = json_get(object, "spec");

        *(struct deployment *)ret_deployment = (struct deployment){
                .replicas = json_int64_or(json_get(spec, "replicas"), 1),
                .selector = json_get(spec, "selector"),
                .template = json_get(spec, "template"),
                .status = json_get(object, "status"),
                .paused = json_bool_or(json_get(spec, "paused"), false),
        };
}
