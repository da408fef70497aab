// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include <errno.h>
#include <stdio.h>

#include "apiserver/behaviour.h"
#include "apiserver/pod_defaults.h"
#include "apiserver/server.h"
#include "base/random.h"

/* Pods and what holds Pod templates. */

static bool is_absent(struct json_value object, const char *key)
{
        return !json_exists(json_member(object, str_from(key)));
}

/* ---- Pods ---- */

static int pod_defaults(struct arena *arena, struct json_value object, struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");

        if (is_absent(spec, "enableServiceLinks"))
                json_edit_set_bool(edit, "/spec/enableServiceLinks", true);
        return pod_set_defaults(arena, spec, "/spec", edit);
}

/* BestEffort, Burstable or Guaranteed (k8s.io/kubernetes pkg/apis/core/v1/helper/qos). */
static const char *qos_class(struct json_value spec)
{
        bool any = false, guaranteed = true;

        json_for_each (it, json_get(spec, "containers")) {
                struct json_value limits = json_get(it.value, "resources", "limits");
                struct json_value requests = json_get(it.value, "resources", "requests");
                static const char *const names[] = { "cpu", "memory" };

                for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                        struct json_value limit = json_member(limits, str_from(names[i]));
                        struct json_value request = json_member(requests, str_from(names[i]));
                        any = any || json_exists(limit) || json_exists(request);
                        if (!json_exists(limit) ||
                            (json_exists(request) && !json_equal(limit, request)))
                                guaranteed = false;
                }
        }
        return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

static int pod_prepare(struct api_call *call _unused_, struct json_value object,
                       struct json_edit *edit)
{
        json_edit_set_string(edit, "/status/phase", STR("Pending"));
        json_edit_set_string(edit, "/status/qosClass",
                             str_from(qos_class(json_get(object, "spec"))));
        return 0;
}

/* Everything but what a running Pod may change must be as it was. */
static bool pod_spec_may_become(struct json_value before, struct json_value after)
{
        static const char *const mutable[] = { "activeDeadlineSeconds", "tolerations",
                                               "terminationGracePeriodSeconds" };
        static const char *const lists[] = { "containers", "initContainers" };

        json_for_each (it, after) {
                struct json_value old = json_member(before, it.key);
                bool free_to_change = false, is_list = false;

                for (size_t i = 0; i < ARRAY_SIZE(mutable); i++)
                        free_to_change = free_to_change || str_equal(it.key, str_from(mutable[i]));
                for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                        is_list = is_list || str_equal(it.key, str_from(lists[i]));
                if (free_to_change || json_equal(it.value, old))
                        continue;
                /* Binding: from no node to one. */
                if (str_equal(it.key, STR("nodeName")) && !json_exists(old))
                        continue;
                if (!is_list || json_count(it.value) != json_count(old))
                        return false;
                for (size_t i = 0; i < json_count(old); i++) {
                        struct json_value a = json_element(it.value, i), b = json_element(old, i);
                        if (json_count(a) != json_count(b))
                                return false;
                        json_for_each (member, a) {
                                if (!str_equal(member.key, STR("image")) &&
                                    !json_equal(member.value, json_member(b, member.key)))
                                        return false;
                        }
                }
        }
        json_for_each (it, before) {
                bool may_go = false;
                for (size_t i = 0; i < ARRAY_SIZE(mutable); i++)
                        may_go = may_go || str_equal(it.key, str_from(mutable[i]));
                if (!may_go && !json_exists(json_member(after, it.key)))
                        return false;
        }
        return true;
}

static void validate_containers(struct json_value spec, const char *key,
                                struct field_errors *errors)
{
        struct json_value list = json_member(spec, str_from(key));
        char field[128];

        for (size_t i = 0; i < json_count(list); i++) {
                struct json_value container = json_element(list, i);
                struct json_value name = json_get(container, "name");
                const char *why = name_check_dns_label(json_string(name));

                snprintf(field, sizeof(field), "spec.%s[%zu].name", key, i);
                if (why)
                        field_errors_add(errors, FIELD_INVALID, str_from(field), name, "%s", why);
                for (size_t j = 0; j < i; j++) {
                        if (str_equal(json_string(json_get(json_element(list, j), "name")),
                                      json_string(name)))
                                field_errors_add(errors, FIELD_DUPLICATE, str_from(field), name,
                                                 "%s", "");
                }
                snprintf(field, sizeof(field), "spec.%s[%zu].image", key, i);
                if (json_string(json_get(container, "image")).length == 0)
                        field_errors_add(errors, FIELD_REQUIRED, str_from(field),
                                         (struct json_value){}, "%s", "");
                for (size_t j = 0; j < json_count(json_get(container, "volumeMounts")); j++) {
                        struct json_value mount = json_get(
                                json_element(json_get(container, "volumeMounts"), j), "name");
                        bool found = false;
                        json_for_each (it, json_get(spec, "volumes")) {
                                found = found || json_equal(json_get(it.value, "name"), mount);
                        }
                        snprintf(field, sizeof(field), "spec.%s[%zu].volumeMounts[%zu].name", key,
                                 i, j);
                        if (!found)
                                field_errors_add(errors, FIELD_NOT_FOUND, str_from(field), mount,
                                                 "%s", "");
                }
        }
}

static void pod_validate(struct json_value object, struct json_value before,
                         struct field_errors *errors)
{
        struct json_value spec = json_get(object, "spec");

        if (json_exists(before)) {
                if (!pod_spec_may_become(json_get(before, "spec"), spec))
                        field_errors_add(
                                errors, FIELD_FORBIDDEN, STR("spec"), (struct json_value){},
                                "pod updates may not change fields other than "
                                "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                                "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
                                "to existing tolerations),`spec.terminationGracePeriodSeconds` "
                                "(allow it to be set to 1 if it was previously negative)");
                return;
        }
        if (json_count(json_get(spec, "containers")) == 0)
                field_errors_add(errors, FIELD_REQUIRED, STR("spec.containers"),
                                 (struct json_value){}, "%s", "");
        validate_containers(spec, "containers", errors);
        validate_containers(spec, "initContainers", errors);
}

/* ---- the ServiceAccount of a Pod ---- */

#define TOKEN_MOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"

/* Appends to a list that may be absent. */
static void append_raw(struct arena *arena, struct json_edit *edit, struct json_value list,
                       const char *pointer, struct str json)
{
        struct str at = arena_printf(arena, "%s/-", pointer);
        struct str whole = arena_printf(arena, "[%.*s]", STR_FORMAT(json));

        if (!at.data || !whole.data)
                edit->failure = -ENOMEM;
        else if (json_count(list) > 0)
                json_edit_set_raw(edit, at.data, json);
        else
                json_edit_set_raw(edit, pointer, whole);
}

static void mount_token(struct arena *arena, struct json_value spec, const char *key,
                        struct str mount, struct json_edit *edit)
{
        struct json_value list = json_member(spec, str_from(key));

        for (size_t i = 0; i < json_count(list); i++) {
                struct json_value mounts = json_get(json_element(list, i), "volumeMounts");
                struct str pointer = arena_printf(arena, "/spec/%s/%zu/volumeMounts", key, i);
                bool taken = false;

                json_for_each (it, mounts) {
                        taken = taken || json_string_is(json_get(it.value, "mountPath"),
                                                        STR(TOKEN_MOUNT_PATH));
                }
                if (!pointer.data)
                        edit->failure = -ENOMEM;
                else if (!taken)
                        append_raw(arena, edit, mounts, pointer.data, mount);
        }
}

/* The volume with token, CA and namespace (k8s.io/kubernetes plugin/pkg/admission/serviceaccount).
 */
static void add_token_volume(struct arena *arena, struct json_value spec, struct json_edit *edit)
{
        char suffix[NAME_SUFFIX_LENGTH + 1];
        struct str volume, mount;

        random_name_suffix(suffix);
        volume = arena_printf(
                arena,
                "{\"name\":\"kube-api-access-%s\",\"projected\":{\"sources\":["
                "{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},"
                "{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\","
                "\"path\":\"ca.crt\"}]}},"
                "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":"
                "\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],\"defaultMode\":420}}",
                suffix);
        mount = arena_printf(arena,
                             "{\"name\":\"kube-api-access-%s\",\"readOnly\":true,\"mountPath\":"
                             "\"" TOKEN_MOUNT_PATH "\"}",
                             suffix);
        if (!volume.data || !mount.data) {
                edit->failure = -ENOMEM;
                return;
        }
        append_raw(arena, edit, json_get(spec, "volumes"), "/spec/volumes", volume);
        mount_token(arena, spec, "containers", mount, edit);
        mount_token(arena, spec, "initContainers", mount, edit);
}

static int pod_admit(struct api_call *call, struct json_value object, struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");
        struct str name = json_string_or(json_get(spec, "serviceAccountName"), STR("default"));
        struct json_value automount = json_get(spec, "automountServiceAccountToken");
        struct json_doc *account;

        if (json_exists(json_get(object, "metadata", "annotations", "kubernetes.io/config.mirror")))
                return 0;
        account = storage_head(&call->request, call->server->service_accounts,
                               call->path.name_space, name);
        if (!account) {
                struct str why = arena_printf(
                        call->arena,
                        "error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not "
                        "found",
                        STR_FORMAT(call->path.name_space), STR_FORMAT(name), STR_FORMAT(name));
                return api_call_refuse(call, kube_status_forbidden(call->arena, &call->named,
                                                                   call->path.name, why));
        }
        json_edit_set_string(edit, "/spec/serviceAccountName", name);
        json_edit_set_string(edit, "/spec/serviceAccount", name);
        if (!json_exists(automount))
                automount = json_get(json_root(account), "automountServiceAccountToken");
        if (json_bool_or(automount, true))
                add_token_volume(call->arena, spec, edit);
        return 0;
}

/* A Pod that no node has, or that has ended, goes at once. */
static int64_t pod_grace(struct json_value object, int64_t asked)
{
        struct json_value phase = json_get(object, "status", "phase");

        if (json_string(json_get(object, "spec", "nodeName")).length == 0 ||
            json_string_is(phase, STR("Succeeded")) || json_string_is(phase, STR("Failed")) ||
            json_exists(json_get(object, "metadata", "annotations", "kubernetes.io/config.mirror")))
                return 0;
        if (asked >= 0)
                return asked;
        return json_int64_or(json_get(object, "spec", "terminationGracePeriodSeconds"), 30);
}

/* ---- Deployments, ReplicaSets, StatefulSets ---- */

static int template_defaults(struct arena *arena, struct json_value object, struct json_edit *edit)
{
        return pod_set_defaults(arena, json_get(object, "spec", "template", "spec"),
                                "/spec/template/spec", edit);
}

static int replica_set_defaults(struct arena *arena, struct json_value object,
                                struct json_edit *edit)
{
        if (is_absent(json_get(object, "spec"), "replicas"))
                json_edit_set_int(edit, "/spec/replicas", 1);
        return template_defaults(arena, object, edit);
}

static int deployment_defaults(struct arena *arena, struct json_value object,
                               struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec"), strategy = json_get(spec, "strategy");
        struct json_value rolling = json_get(strategy, "rollingUpdate");

        if (is_absent(spec, "revisionHistoryLimit"))
                json_edit_set_int(edit, "/spec/revisionHistoryLimit", 10);
        if (is_absent(spec, "progressDeadlineSeconds"))
                json_edit_set_int(edit, "/spec/progressDeadlineSeconds", 600);
        if (is_absent(strategy, "type"))
                json_edit_set_string(edit, "/spec/strategy/type", STR("RollingUpdate"));
        if (is_absent(strategy, "type") ||
            json_string_is(json_get(strategy, "type"), STR("RollingUpdate"))) {
                if (is_absent(rolling, "maxUnavailable"))
                        json_edit_set_string(edit, "/spec/strategy/rollingUpdate/maxUnavailable",
                                             STR("25%"));
                if (is_absent(rolling, "maxSurge"))
                        json_edit_set_string(edit, "/spec/strategy/rollingUpdate/maxSurge",
                                             STR("25%"));
        }
        return replica_set_defaults(arena, object, edit);
}

static int stateful_set_defaults(struct arena *arena, struct json_value object,
                                 struct json_edit *edit)
{
        struct json_value spec = json_get(object, "spec");

        if (is_absent(spec, "podManagementPolicy"))
                json_edit_set_string(edit, "/spec/podManagementPolicy", STR("OrderedReady"));
        if (is_absent(spec, "revisionHistoryLimit"))
                json_edit_set_int(edit, "/spec/revisionHistoryLimit", 10);
        if (is_absent(spec, "updateStrategy"))
                json_edit_set_raw(edit, "/spec/updateStrategy",
                                  STR("{\"type\":\"RollingUpdate\",\"rollingUpdate\":"
                                      "{\"partition\":0}}"));
        return replica_set_defaults(arena, object, edit);
}

/* The selector must select what the template makes, and stays as it is. */
static void workload_validate(struct json_value object, struct json_value before,
                              struct field_errors *errors)
{
        struct json_value selector = json_get(object, "spec", "selector");
        struct json_value labels = json_get(object, "spec", "template", "metadata", "labels");
        _cleanup_arena_ struct arena arena = {};
        struct label_selector parsed;

        if (label_selector_read(selector, &arena, NULL, &parsed) == 0 &&
            !label_selector_matches(&parsed, labels))
                field_errors_add(errors, FIELD_INVALID, STR("spec.template.metadata.labels"),
                                 labels, "`selector` does not match template `labels`");
        if (json_exists(before) && !json_equal(selector, json_get(before, "spec", "selector")))
                field_errors_add(errors, FIELD_INVALID, STR("spec.selector"), selector,
                                 "field is immutable");
}

/* Installing upstream's controller changes the Deployment that shows the built-in one. */
static int deployment_prepare_update(struct api_call *call, struct json_value object _unused_,
                                     struct json_value before, struct json_edit *edit _unused_)
{
        if (json_exists(json_get(before, "metadata", "annotations", "cay.dev/mirror")))
                api_call_warn(call,
                              "Deployment %.*s shows what is built in: its spec is stored, not run",
                              STR_FORMAT(call->path.name));
        return 0;
}

const struct api_behaviour behaviours_workload[] = {
        {
                .plural = STR("pods"),
                .has_generation = true,
                .returns_deleted = true,
                .set_defaults = pod_defaults,
                .prepare = pod_prepare,
                .validate = pod_validate,
                .admit = pod_admit,
                .grace = pod_grace,
        },
        {
                .group = STR("apps"),
                .plural = STR("deployments"),
                .has_generation = true,
                .set_defaults = deployment_defaults,
                .prepare_update = deployment_prepare_update,
                .validate = workload_validate,
        },
        {
                .group = STR("apps"),
                .plural = STR("replicasets"),
                .has_generation = true,
                .set_defaults = replica_set_defaults,
                .validate = workload_validate,
        },
        {
                .group = STR("apps"),
                .plural = STR("statefulsets"),
                .has_generation = true,
                .set_defaults = stateful_set_defaults,
                .validate = workload_validate,
        },
};
const size_t behaviours_workload_count = ARRAY_SIZE(behaviours_workload);
