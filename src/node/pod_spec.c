// SPDX-License-Identifier: Apache-2.0
#include "node/pod_spec.h"

#include <errno.h>
#include <stdio.h>

#include "node/pod_read.h"

enum { GRACE_DEFAULT = 30, GROUPS_MAX = 64, ALIASES_MAX = 64, GATES_MAX = 32 };

static int read_metadata(struct pod_reader *reader, struct json_value document)
{
        struct json_value metadata = json_get(document, "metadata");
        struct pod_spec *spec = reader->spec;
        int64_t grace;

        spec->is_deleting = json_type(json_get(metadata, "deletionTimestamp")) == JSON_STRING;
        int r = pod_read_string(reader, metadata, "name", STR_EMPTY, &spec->name);
        if (r >= 0)
                r = pod_read_string(reader, metadata, "namespace", STR_EMPTY, &spec->namespace);
        if (r >= 0)
                r = pod_read_string(reader, metadata, "uid", STR_EMPTY, &spec->uid);
        if (r >= 0)
                r = pod_read_int(reader, metadata, "deletionGracePeriodSeconds", 0, INT32_MAX,
                                 GRACE_DEFAULT, &grace);
        if (r < 0)
                return r;
        spec->deletion_grace_s = (uint64_t)grace;
        if (spec->name.length == 0 || spec->namespace.length == 0 || spec->uid.length == 0)
                return pod_refuse(reader, -EINVAL, NULL, "name, namespace and uid must be there");
        return 0;
}

static int read_pod_security(struct pod_reader *reader, struct json_value value)
{
        static const char *const known[] = { "runAsUser",
                                             "runAsGroup",
                                             "runAsNonRoot",
                                             "supplementalGroups",
                                             "supplementalGroupsPolicy",
                                             "fsGroup",
                                             "fsGroupChangePolicy",
                                             "seccompProfile",
                                             "appArmorProfile",
                                             "seLinuxOptions",
                                             "seLinuxChangePolicy",
                                             NULL };
        struct json_value context = json_get(value, "securityContext");
        struct pod_spec *spec = reader->spec;
        size_t back = pod_path_enter(reader, ".securityContext"), i = 0;
        uint32_t *groups;

        reader->security = (struct pod_security){ .user = -1, .group = -1 };
        int r = pod_check_members(reader, context, known);
        if (r >= 0)
                r = pod_read_security(reader, context, &reader->security);
        if (r >= 0)
                r = pod_read_int(reader, context, "fsGroup", 0, INT32_MAX, -1, &spec->fs_group);
        if (r >= 0)
                r = pod_read_array(reader, context, "supplementalGroups", GROUPS_MAX, uint32_t,
                                   &groups, &spec->group_count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(context, "supplementalGroups")) {
                int64_t group = json_int64_or(it.value, -1);
                if (group < 0 || group > INT32_MAX)
                        return pod_refuse(reader, -EINVAL, "supplementalGroups",
                                          "must be numbers of groups");
                groups[i++] = (uint32_t)group;
        }
        spec->groups = groups;
        pod_path_leave(reader, back);
        return 0;
}

static int read_dns(struct pod_reader *reader, struct json_value value)
{
        static const char *const policies[] = { "ClusterFirst", "Default", "None",
                                                "ClusterFirstWithHostNet" };
        struct json_value config = json_get(value, "dnsConfig");
        struct pod_spec *spec = reader->spec;
        struct str *options;
        unsigned policy;
        size_t i = 0;

        int r = pod_read_enum(reader, value, "dnsPolicy", policies, ARRAY_SIZE(policies), 0,
                              &policy);
        if (r >= 0)
                r = pod_read_strings(reader, config, "nameservers", &spec->dns_servers);
        if (r >= 0)
                r = pod_read_strings(reader, config, "searches", &spec->dns_searches);
        if (r >= 0)
                r = pod_read_array(reader, config, "options", GATES_MAX, struct str, &options,
                                   &spec->dns_options.count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(config, "options")) {
                struct str name = json_string(json_get(it.value, "name"));
                struct str setting = json_string(json_get(it.value, "value"));
                options[i] = setting.length == 0
                                     ? name
                                     : arena_printf(reader->arena, "%.*s:%.*s", STR_FORMAT(name),
                                                    STR_FORMAT(setting));
                if (options[i].length > 0 && !options[i].data)
                        return -ENOMEM;
                i++;
        }
        spec->dns_options.items = options;
        spec->dns_policy = policy == 3 ? POD_DNS_CLUSTER_FIRST : (enum pod_dns_policy)policy;
        return 0;
}

static int read_aliases(struct pod_reader *reader, struct json_value value)
{
        struct pod_host_alias *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "hostAliases", ALIASES_MAX, struct pod_host_alias,
                               &items, &reader->spec->host_alias_count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(value, "hostAliases")) {
                r = pod_read_string(reader, it.value, "ip", STR_EMPTY, &items[i].ip);
                if (r >= 0)
                        r = pod_read_strings(reader, it.value, "hostnames", &items[i].names);
                if (r < 0)
                        return r;
                i++;
        }
        reader->spec->host_aliases = items;
        return 0;
}

static int read_gates(struct pod_reader *reader, struct json_value value)
{
        struct str *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "readinessGates", GATES_MAX, struct str, &items,
                               &reader->spec->readiness_gates.count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(value, "readinessGates"))
                items[i++] = json_string(json_get(it.value, "conditionType"));
        reader->spec->readiness_gates.items = items;
        return 0;
}

static int read_basics(struct pod_reader *reader, struct json_value value)
{
        static const char *const restarts[] = { "Always", "OnFailure", "Never" };
        static const char *const systems[] = { "linux" };
        struct pod_spec *spec = reader->spec;
        int64_t grace, deadline;
        unsigned restart, ignored;

        int r = pod_read_enum(reader, value, "restartPolicy", restarts, 3, 0, &restart);
        if (r >= 0)
                r = pod_read_int(reader, value, "terminationGracePeriodSeconds", 0, INT32_MAX,
                                 GRACE_DEFAULT, &grace);
        if (r >= 0)
                r = pod_read_int(reader, value, "activeDeadlineSeconds", 0, INT32_MAX, 0,
                                 &deadline);
        if (r >= 0)
                r = pod_read_string(reader, value, "nodeName", STR_EMPTY, &spec->node_name);
        if (r >= 0)
                r = pod_read_string(reader, value, "serviceAccountName", STR("default"),
                                    &spec->service_account);
        if (r >= 0)
                r = pod_read_string(reader, value, "hostname", STR_EMPTY, &spec->hostname);
        if (r >= 0)
                r = pod_read_string(reader, value, "subdomain", STR_EMPTY, &spec->subdomain);
        if (r < 0)
                return r;
        size_t back = pod_path_enter(reader, ".os");
        r = pod_read_enum(reader, json_get(value, "os"), "name", systems, 1, 0, &ignored);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        spec->restart_policy = (enum pod_restart_policy)restart;
        spec->grace_s = (uint64_t)grace;
        spec->active_deadline_s = (uint64_t)deadline;
        return 0;
}

static int read_containers(struct pod_reader *reader, struct json_value value)
{
        size_t init_count = json_count(json_get(value, "initContainers"));
        size_t count = json_count(json_get(value, "containers"));
        struct pod_container *items;

        if (count == 0)
                return pod_refuse(reader, -EINVAL, "containers", "must not be empty");
        if (count > LIMIT_CONTAINERS || init_count > LIMIT_CONTAINERS - count)
                return pod_refuse(reader, -E2BIG, "containers",
                                  "%zu of them with init containers; this node allows %d",
                                  count + init_count, LIMIT_CONTAINERS);
        items = arena_new(reader->arena, struct pod_container, count + init_count);
        if (!items)
                return -ENOMEM;
        for (size_t i = 0; i < init_count + count; i++) {
                bool is_init = i < init_count;
                const char *key = is_init ? "initContainers" : "containers";
                size_t index = is_init ? i : i - init_count;
                size_t back = pod_path_enter(reader, ".%s[%zu]", key, index);

                int r = pod_read_container(reader, json_element(json_get(value, key), index),
                                           is_init, &items[i]);
                if (r < 0)
                        return r;
                for (size_t j = 0; j < i; j++)
                        if (str_equal(items[j].name, items[i].name))
                                return pod_refuse(reader, -EINVAL, "name", "stands there twice");
                pod_path_leave(reader, back);
        }
        reader->spec->containers = items;
        reader->spec->init_count = init_count;
        reader->spec->container_count = init_count + count;
        return 0;
}

static enum pod_qos classify(const struct pod_spec *spec)
{
        bool guaranteed = true, best_effort = true;

        for (size_t i = 0; i < spec->container_count; i++) {
                const struct pod_resources *limits = &spec->containers[i].limits;
                const struct pod_resources *requests = &spec->containers[i].requests;
                if (limits->cpu_milli || limits->memory || requests->cpu_milli || requests->memory)
                        best_effort = false;
                if (!limits->cpu_milli || !limits->memory ||
                    limits->cpu_milli != requests->cpu_milli || limits->memory != requests->memory)
                        guaranteed = false;
        }
        return best_effort  ? POD_QOS_BEST_EFFORT
               : guaranteed ? POD_QOS_GUARANTEED
                            : POD_QOS_BURSTABLE;
}

/* Members of a Pod's spec that are read, or that concern others than the node. */
static const char *const spec_members[] = {
        "volumes",
        "initContainers",
        "containers",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "dnsPolicy",
        "dnsConfig",
        "nodeSelector",
        "serviceAccountName",
        "serviceAccount",
        "automountServiceAccountToken",
        "nodeName",
        "securityContext",
        "imagePullSecrets",
        "hostname",
        "subdomain",
        "affinity",
        "schedulerName",
        "tolerations",
        "hostAliases",
        "priorityClassName",
        "priority",
        "preemptionPolicy",
        "overhead",
        "topologySpreadConstraints",
        "readinessGates",
        "schedulingGates",
        "enableServiceLinks",
        "os",
        NULL,
};

static int read_spec(struct pod_reader *reader, struct json_value value)
{
        int r = pod_check_members(reader, value, spec_members);
        if (r >= 0)
                r = read_basics(reader, value);
        if (r >= 0)
                r = read_pod_security(reader, value);
        if (r >= 0)
                r = read_dns(reader, value);
        if (r >= 0)
                r = read_aliases(reader, value);
        if (r >= 0)
                r = read_gates(reader, value);
        if (r >= 0)
                r = pod_read_volumes(reader, value);
        if (r >= 0)
                r = read_containers(reader, value);
        return r;
}

int pod_spec_read(struct json_value document, struct arena *arena, struct error *error,
                  struct pod_spec *spec)
{
        struct pod_reader reader = { .arena = arena, .error = error, .spec = spec };

        *spec = (struct pod_spec){
                .document = document,
                .status = json_get(document, "status"),
                .grace_s = GRACE_DEFAULT,
                .fs_group = -1,
        };
        pod_path_enter(&reader, "metadata");
        int r = read_metadata(&reader, document);
        if (r < 0)
                return r;
        pod_path_leave(&reader, 0);
        pod_path_enter(&reader, "spec");
        r = read_spec(&reader, json_get(document, "spec"));
        if (r < 0) {
                spec->container_count = spec->init_count = 0;
                return r;
        }
        spec->qos = classify(spec);
        return 0;
}

int pod_spec_find_container(const struct pod_spec *spec, struct str name)
{
        for (size_t i = 0; i < spec->container_count; i++)
                if (str_equal(spec->containers[i].name, name))
                        return (int)i;
        return -1;
}

const char *pod_qos_name(enum pod_qos qos)
{
        static const char *const names[] = { "BestEffort", "Burstable", "Guaranteed" };

        return names[qos];
}
