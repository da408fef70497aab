// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <stdio.h>

#include "apiserver/columns_internal.h"
#include "base/clock.h"
#include "kube/table.h"

/* The printers of Kubernetes' own kinds, but for Pods. */

static bool is(struct str column, const char *name)
{
        return str_equal(column, str_from(name));
}

static void print_data(struct cell *cell, struct str column, struct json_value object)
{
        if (is(column, "Type"))
                cell_add_string(cell, json_get(object, "type"));
        else
                cell_add(cell, "%zu",
                         json_count(json_get(object, "data")) +
                                 json_count(json_get(object, "binaryData")));
}

static void print_secrets(struct cell *cell, struct str column _unused_, struct json_value object)
{
        cell_add(cell, "%zu", json_count(json_get(object, "secrets")));
}

static void print_namespace(struct cell *cell, struct str column _unused_, struct json_value object)
{
        cell_add_string(cell, json_get(object, "status", "phase"));
}

static struct json_value address_of(struct json_value node, const char *type)
{
        json_for_each (it, json_get(node, "status", "addresses")) {
                if (json_string_is(json_get(it.value, "type"), str_from(type)))
                        return json_get(it.value, "address");
        }
        return (struct json_value){};
}

static void print_roles(struct cell *cell, struct json_value node)
{
        struct str prefix = STR("node-role.kubernetes.io/");

        json_for_each (it, json_get(node, "metadata", "labels")) {
                if (!str_starts_with(it.key, prefix))
                        continue;
                struct str role = str_slice(it.key, prefix.length, it.key.length);
                cell_add(cell, "%s%.*s", cell->length ? "," : "", STR_FORMAT(role));
        }
        if (cell->length == 0)
                cell_add(cell, "<none>");
}

static void print_node(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value info = json_get(object, "status", "nodeInfo");

        if (is(column, "Status")) {
                struct str ready = STR("Unknown");
                json_for_each (it, json_get(object, "status", "conditions")) {
                        if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                                ready = json_string_is(json_get(it.value, "status"), STR("True"))
                                                ? STR("Ready")
                                                : STR("NotReady");
                }
                cell_add(cell, "%.*s", STR_FORMAT(ready));
                if (json_bool_or(json_get(object, "spec", "unschedulable"), false))
                        cell_add(cell, ",SchedulingDisabled");
        } else if (is(column, "Roles")) {
                print_roles(cell, object);
        } else if (is(column, "Version")) {
                cell_add_string(cell, json_get(info, "kubeletVersion"));
        } else if (is(column, "Internal-IP")) {
                cell_add_or(cell, address_of(object, "InternalIP"), "<none>");
        } else if (is(column, "External-IP")) {
                cell_add_or(cell, address_of(object, "ExternalIP"), "<none>");
        } else if (is(column, "OS-Image")) {
                cell_add_or(cell, json_get(info, "osImage"), "<unknown>");
        } else if (is(column, "Kernel-Version")) {
                cell_add_or(cell, json_get(info, "kernelVersion"), "<unknown>");
        } else {
                cell_add_or(cell, json_get(info, "containerRuntimeVersion"), "<unknown>");
        }
}

static void print_service(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec");

        if (is(column, "Type")) {
                cell_add_string(cell, json_get(spec, "type"));
        } else if (is(column, "Cluster-IP")) {
                cell_add_or(cell, json_get(spec, "clusterIP"), "<none>");
        } else if (is(column, "External-IP")) {
                cell_add_or(cell, json_get(spec, "externalName"), "<none>");
        } else if (is(column, "Port(s)")) {
                json_for_each (it, json_get(spec, "ports")) {
                        if (cell->length > 0)
                                cell_add(cell, ",");
                        cell_add_string(cell, json_get(it.value, "port"));
                        if (json_int64_or(json_get(it.value, "nodePort"), 0) > 0) {
                                cell_add(cell, ":");
                                cell_add_string(cell, json_get(it.value, "nodePort"));
                        }
                        cell_add(cell, "/");
                        cell_add_or(cell, json_get(it.value, "protocol"), "TCP");
                }
                if (cell->length == 0)
                        cell_add(cell, "<none>");
        } else {
                cell_add_map(cell, json_get(spec, "selector"));
        }
}

static void print_modes(struct cell *cell, struct json_value modes)
{
        static const char *const names[][2] = { { "ReadWriteOnce", "RWO" },
                                                { "ReadOnlyMany", "ROX" },
                                                { "ReadWriteMany", "RWX" },
                                                { "ReadWriteOncePod", "RWOP" } };

        json_for_each (it, modes) {
                for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                        if (json_string_is(it.value, str_from(names[i][0])))
                                cell_add(cell, "%s%s", cell->length ? "," : "", names[i][1]);
                }
        }
}

static void print_claim(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec"), status = json_get(object, "status");

        if (is(column, "Status"))
                cell_add(cell, "%.*s",
                         STR_FORMAT(json_exists(json_get(object, "metadata", "deletionTimestamp"))
                                            ? STR("Terminating")
                                            : json_string(json_get(status, "phase"))));
        else if (is(column, "Volume"))
                cell_add_string(cell, json_get(spec, "volumeName"));
        else if (is(column, "Capacity"))
                cell_add_string(cell, json_get(status, "capacity", "storage"));
        else if (is(column, "Access Modes"))
                print_modes(cell, json_get(status, "accessModes"));
        else if (is(column, "StorageClass"))
                cell_add_string(cell, json_get(spec, "storageClassName"));
        else if (is(column, "VolumeAttributesClass"))
                cell_add_or(cell, json_get(spec, "volumeAttributesClassName"), "<unset>");
        else
                cell_add_or(cell, json_get(spec, "volumeMode"), "<unset>");
}

static void print_volume(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec"), claim = json_get(spec, "claimRef");

        if (is(column, "Capacity"))
                cell_add_string(cell, json_get(spec, "capacity", "storage"));
        else if (is(column, "Access Modes"))
                print_modes(cell, json_get(spec, "accessModes"));
        else if (is(column, "Reclaim Policy"))
                cell_add_string(cell, json_get(spec, "persistentVolumeReclaimPolicy"));
        else if (is(column, "Status"))
                cell_add_string(cell, json_get(object, "status", "phase"));
        else if (is(column, "Claim") && json_exists(claim))
                cell_add(cell, "%.*s/%.*s", STR_FORMAT(json_string(json_get(claim, "namespace"))),
                         STR_FORMAT(json_string(json_get(claim, "name"))));
        else if (is(column, "StorageClass"))
                cell_add_string(cell, json_get(spec, "storageClassName"));
        else if (is(column, "VolumeAttributesClass"))
                cell_add_or(cell, json_get(spec, "volumeAttributesClassName"), "<unset>");
        else if (is(column, "Reason"))
                cell_add_string(cell, json_get(object, "status", "reason"));
        else if (is(column, "VolumeMode"))
                cell_add_or(cell, json_get(spec, "volumeMode"), "<unset>");
}

static void print_workload(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec"), status = json_get(object, "status");
        struct json_value pod = json_get(spec, "template", "spec");
        bool is_set = json_string_is(json_get(object, "kind"), STR("ReplicaSet"));

        if (is(column, "Ready") && is_set)
                cell->number = json_int64_or(json_get(status, "readyReplicas"), 0);
        else if (is(column, "Ready"))
                cell_add(cell, "%lld/%lld",
                         (long long)json_int64_or(json_get(status, "readyReplicas"), 0),
                         (long long)json_int64_or(json_get(spec, "replicas"), 0));
        else if (is(column, "Desired"))
                cell->number = json_int64_or(json_get(spec, "replicas"), 0);
        else if (is(column, "Current"))
                cell->number = json_int64_or(json_get(status, "replicas"), 0);
        else if (is(column, "Up-to-date"))
                cell_add(cell, "%lld",
                         (long long)json_int64_or(json_get(status, "updatedReplicas"), 0));
        else if (is(column, "Available"))
                cell_add(cell, "%lld",
                         (long long)json_int64_or(json_get(status, "availableReplicas"), 0));
        else if (is(column, "Containers"))
                cell_add_containers(cell, pod, "name");
        else if (is(column, "Images"))
                cell_add_containers(cell, pod, "image");
        else
                cell_add_selector(cell, json_get(spec, "selector"));
}

/* The time of an event's first or last occurrence, wherever its writer put it. */
static struct json_value event_time(struct json_value event, bool last)
{
        struct json_value series = json_get(event, "series", "lastObservedTime");
        struct json_value stamp =
                last ? json_get(event, "lastTimestamp") : json_get(event, "firstTimestamp");

        if (last && json_exists(series))
                return series;
        if (!json_exists(stamp))
                stamp = last ? json_get(event, "deprecatedLastTimestamp")
                             : json_get(event, "deprecatedFirstTimestamp");
        return json_string(stamp).length > 0 ? stamp : json_get(event, "eventTime");
}

static void print_event(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value target = json_get(object, "involvedObject");
        char text[HUMAN_DURATION_SIZE];

        if (!json_exists(target))
                target = json_get(object, "regarding");
        if (is(column, "Last Seen") || is(column, "First Seen")) {
                struct json_value time = event_time(object, is(column, "Last Seen"));
                cell_add(cell, "%.*s", STR_FORMAT(human_age(time, cell->now_ns, text)));
        } else if (is(column, "Type")) {
                cell_add_string(cell, json_get(object, "type"));
        } else if (is(column, "Reason")) {
                cell_add_string(cell, json_get(object, "reason"));
        } else if (is(column, "Object")) {
                struct str kind = json_string(json_get(target, "kind"));
                for (size_t i = 0; i < kind.length; i++) {
                        char c = kind.data[i];
                        cell_add(cell, "%c", c >= 'A' && c <= 'Z' ? c | 0x20 : c);
                }
                cell_add(cell, "/%.*s", STR_FORMAT(json_string(json_get(target, "name"))));
        } else if (is(column, "Subobject")) {
                cell_add_string(cell, json_get(target, "fieldPath"));
        } else if (is(column, "Source")) {
                struct json_value source = json_get(object, "source", "component");
                cell_add_string(cell, json_exists(source) ? source
                                                          : json_get(object, "reportingComponent"));
        } else if (is(column, "Message")) {
                struct json_value message = json_get(object, "message");
                cell_add_string(cell, json_exists(message) ? message : json_get(object, "note"));
        } else {
                int64_t count = json_int64_or(json_get(object, "series", "count"),
                                              json_int64_or(json_get(object, "count"), 1));
                cell_add(cell, "%lld", (long long)count);
        }
}

static void print_slice(struct cell *cell, struct str column, struct json_value object)
{
        if (is(column, "AddressType")) {
                cell_add_string(cell, json_get(object, "addressType"));
        } else if (is(column, "Ports")) {
                json_for_each (it, json_get(object, "ports")) {
                        cell_add(cell, "%s", cell->length ? "," : "");
                        cell_add_or(cell, json_get(it.value, "port"), "*");
                }
                if (cell->length == 0)
                        cell_add(cell, "<unset>");
        } else {
                json_for_each (endpoint, json_get(object, "endpoints")) {
                        json_for_each (address, json_get(endpoint.value, "addresses")) {
                                cell_add(cell, "%s", cell->length ? "," : "");
                                cell_add_string(cell, address.value);
                        }
                }
                if (cell->length == 0)
                        cell_add(cell, "<unset>");
        }
}

static void print_binding(struct cell *cell, struct str column, struct json_value object)
{
        const char *kind = is(column, "Users")    ? "User"
                           : is(column, "Groups") ? "Group"
                                                  : "ServiceAccount";

        if (is(column, "Role")) {
                cell_add(cell, "%.*s/%.*s",
                         STR_FORMAT(json_string(json_get(object, "roleRef", "kind"))),
                         STR_FORMAT(json_string(json_get(object, "roleRef", "name"))));
                return;
        }
        json_for_each (it, json_get(object, "subjects")) {
                if (!json_string_is(json_get(it.value, "kind"), str_from(kind)))
                        continue;
                cell_add(cell, "%s", cell->length ? ", " : "");
                if (kind[0] == 'S')
                        cell_add(cell, "%.*s/",
                                 STR_FORMAT(json_string(json_get(it.value, "namespace"))));
                cell_add_string(cell, json_get(it.value, "name"));
        }
}

static void print_budget(struct cell *cell, struct str column, struct json_value object)
{
        if (is(column, "Min Available"))
                cell_add_or(cell, json_get(object, "spec", "minAvailable"), "N/A");
        else if (is(column, "Max Unavailable"))
                cell_add_or(cell, json_get(object, "spec", "maxUnavailable"), "N/A");
        else
                cell->number = json_int64_or(json_get(object, "status", "disruptionsAllowed"), 0);
}

static void print_autoscaler(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec");

        if (is(column, "Reference"))
                cell_add(cell, "%.*s/%.*s",
                         STR_FORMAT(json_string(json_get(spec, "scaleTargetRef", "kind"))),
                         STR_FORMAT(json_string(json_get(spec, "scaleTargetRef", "name"))));
        else if (is(column, "Targets"))
                cell_add(cell, "<unknown>");
        else if (is(column, "MinPods"))
                cell_add_or(cell, json_get(spec, "minReplicas"), "<unset>");
        else if (is(column, "MaxPods"))
                cell_add_string(cell, json_get(spec, "maxReplicas"));
        else
                cell_add_or(cell, json_get(object, "status", "currentReplicas"), "0");
}

/* Kinds whose columns are single fields. */
static void print_fields(struct cell *cell, struct str column, struct json_value object)
{
        struct json_value spec = json_get(object, "spec");

        if (is(column, "Holder"))
                cell_add_string(cell, json_get(spec, "holderIdentity"));
        else if (is(column, "Pod-Selector"))
                cell_add_selector(cell, json_get(spec, "podSelector"));
        else if (is(column, "Handler"))
                cell_add_string(cell, json_get(object, "handler"));
        else if (is(column, "Provisioner"))
                cell_add_string(cell, json_get(object, "provisioner"));
        else if (is(column, "ReclaimPolicy"))
                cell_add_or(cell, json_get(object, "reclaimPolicy"), "Delete");
        else if (is(column, "VolumeBindingMode"))
                cell_add_or(cell, json_get(object, "volumeBindingMode"), "Immediate");
        else if (is(column, "AllowVolumeExpansion"))
                cell_add(cell, "%s",
                         json_bool_or(json_get(object, "allowVolumeExpansion"), false) ? "true"
                                                                                       : "false");
        else if (is(column, "Value"))
                cell->number = json_int64_or(json_get(object, "value"), 0);
        else if (is(column, "Global-Default"))
                cell_add(cell, "%s",
                         json_bool_or(json_get(object, "globalDefault"), false) ? "true" : "false");
        else if (is(column, "PreemptionPolicy"))
                cell_add_or(cell, json_get(object, "preemptionPolicy"), "PreemptLowerPriority");
        else
                cell_add(cell, "<none>");
}

#define RBAC STR("rbac.authorization.k8s.io")

const struct column_printer column_printers[] = {
        { STR(""), STR("pods"), print_pod },
        { STR(""), STR("configmaps"), print_data },
        { STR(""), STR("secrets"), print_data },
        { STR(""), STR("serviceaccounts"), print_secrets },
        { STR(""), STR("namespaces"), print_namespace },
        { STR(""), STR("nodes"), print_node },
        { STR(""), STR("services"), print_service },
        { STR(""), STR("events"), print_event },
        { STR("events.k8s.io"), STR("events"), print_event },
        { STR(""), STR("persistentvolumeclaims"), print_claim },
        { STR(""), STR("persistentvolumes"), print_volume },
        { STR(""), STR("endpoints"), print_fields },
        { STR(""), STR("resourcequotas"), print_fields },
        { STR("apps"), STR("deployments"), print_workload },
        { STR("apps"), STR("replicasets"), print_workload },
        { STR("apps"), STR("statefulsets"), print_workload },
        { STR("autoscaling"), STR("horizontalpodautoscalers"), print_autoscaler },
        { STR("coordination.k8s.io"), STR("leases"), print_fields },
        { STR("discovery.k8s.io"), STR("endpointslices"), print_slice },
        { STR("networking.k8s.io"), STR("networkpolicies"), print_fields },
        { STR("node.k8s.io"), STR("runtimeclasses"), print_fields },
        { STR("policy"), STR("poddisruptionbudgets"), print_budget },
        { RBAC, STR("clusterrolebindings"), print_binding },
        { RBAC, STR("rolebindings"), print_binding },
        { STR("scheduling.k8s.io"), STR("priorityclasses"), print_fields },
        { STR("storage.k8s.io"), STR("storageclasses"), print_fields },
};
const size_t column_printers_count = ARRAY_SIZE(column_printers);
