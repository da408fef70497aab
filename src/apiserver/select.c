// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>

#include "apiserver/alias.h"
#include "apiserver/server.h"

/* The fields that Kubernetes' kinds may be selected by, besides metadata.name and .namespace. */
static const struct {
        struct str group, plural;
        const char *const *fields;
} selectable[] = {
        { STR(""), STR("pods"),
          (const char *const[]){ "spec.nodeName", "spec.restartPolicy", "spec.schedulerName",
                                 "spec.serviceAccountName", "spec.hostNetwork", "status.phase",
                                 "status.podIP", "status.podIPs", "status.nominatedNodeName",
                                 NULL } },
        { STR(""), STR("events"),
          (const char *const[]){ "involvedObject.kind", "involvedObject.namespace",
                                 "involvedObject.name", "involvedObject.uid",
                                 "involvedObject.apiVersion", "involvedObject.resourceVersion",
                                 "involvedObject.fieldPath", "reason", "reportingComponent",
                                 "source", "type", NULL } },
        { STR("events.k8s.io"), STR("events"),
          (const char *const[]){ "regarding.kind", "regarding.namespace", "regarding.name",
                                 "regarding.uid", "regarding.apiVersion",
                                 "regarding.resourceVersion", "regarding.fieldPath", "reason",
                                 "reportingController", "type", NULL } },
        { STR(""), STR("namespaces"), (const char *const[]){ "status.phase", NULL } },
        { STR(""), STR("nodes"), (const char *const[]){ "spec.unschedulable", NULL } },
        { STR(""), STR("secrets"), (const char *const[]){ "type", NULL } },
        { STR("apps"), STR("replicasets"), (const char *const[]){ "status.replicas", NULL } },
};

static bool is_selectable(const struct api_resource *resource, struct str path)
{
        if (str_equal(path, STR("metadata.name")) ||
            (resource->namespaced && str_equal(path, STR("metadata.namespace"))))
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(selectable); i++) {
                if (!str_equal(selectable[i].group, resource->group) ||
                    !str_equal(selectable[i].plural, resource->plural))
                        continue;
                for (const char *const *field = selectable[i].fields; *field; field++) {
                        if (str_equal(path, str_from(*field)))
                                return true;
                }
        }
        return false;
}

/* Stored objects are asked by the words that they are stored with. */
static void translate_field(struct api_call *call, const struct field_selector *fields, size_t i)
{
        const struct api_alias *alias = call->resource->alias;
        struct field_requirement *requirement =
                (struct field_requirement *)(uintptr_t)&fields->requirements[i];

        if (alias && alias->target_field)
                requirement->path = alias->target_field(requirement->path, call->arena);
}

int select_check(struct api_call *call, struct kube_status *status)
{
        for (size_t i = 0; i < call->options.fields.count; i++) {
                struct str path = call->options.fields.requirements[i].path;
                if (is_selectable(call->resource, path)) {
                        translate_field(call, &call->options.fields, i);
                        continue;
                }
                *status = kube_status_bad_request(call->arena, "field label not supported: %.*s",
                                                  STR_FORMAT(path));
                return -EINVAL;
        }
        return 0;
}

bool select_matches(const struct api_call *call, struct json_doc *doc)
{
        struct json_value root;

        if (!call->options.has_selector)
                return true;
        root = json_root(doc);
        return (call->options.labels.count == 0 ||
                label_selector_matches(&call->options.labels,
                                       json_get(root, "metadata", "labels"))) &&
               (call->options.fields.count == 0 ||
                field_selector_matches(&call->options.fields, root));
}
