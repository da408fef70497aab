// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kube/meta.h"
#include "json/json.h"

/* What controllers read of Kubernetes' own kinds. Views into the documents. */

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };

struct pod {
        struct json_value spec;
        struct json_value conditions;
        struct json_value ips; /* status.podIPs */
        struct str ip;         /* status.podIP */
        struct str node_name;  /* spec.nodeName */
        enum pod_phase phase;  /* absent is Pending */
        bool ready;            /* condition Ready is True */
        bool has_ip;           /* podIPs is not empty */
        struct str status_reason, status_message;
        int64_t cpu_milli, memory; /* what its containers request; bytes */
};
void pod_read(struct json_value object, void *ret_pod);

static inline bool pod_is_finished(const struct pod *pod)
{
        return pod->phase == POD_SUCCEEDED || pod->phase == POD_FAILED;
}

struct service {
        struct str cluster_ip;
        struct json_value selector, ports;
        bool publish_not_ready;
};
void service_read(struct json_value object, void *ret_service);

struct namespace
{
        bool terminating;             /* status.phase */
        struct json_value finalizers; /* spec.finalizers */
};
void namespace_read(struct json_value object, void *ret_namespace);

struct node {
        bool ready;
        bool unschedulable;
        int64_t cpu_milli, memory, pods; /* allocatable; bytes */
};
void node_read(struct json_value object, void *ret_node);

struct replica_set {
        int64_t replicas;
        struct json_value selector, template, status;
};
void replica_set_read(struct json_value object, void *ret_replica_set);

struct deployment {
        int64_t replicas;
        struct json_value selector, template, status;
        bool paused;
};
void deployment_read(struct json_value object, void *ret_deployment);
