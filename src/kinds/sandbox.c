// SPDX-License-Identifier: Apache-2.0
#include "kinds/sandbox.h"

#include "base/clock.h"
#include "kinds/names.h"
#include "kube/condition.h"

static uint64_t read_time(struct json_value value)
{
        uint64_t ns;

        return rfc3339_parse(json_string(value), &ns) == 0 ? ns : 0;
}

static enum tristate read_tristate(struct json_value value)
{
        if (json_type(value) != JSON_BOOL)
                return TRISTATE_UNSET;
        return json_bool_or(value, false) ? TRISTATE_TRUE : TRISTATE_FALSE;
}

static void read_blueprint(struct json_value spec, struct blueprint *ret)
{
        struct json_value template = json_get(spec, "podTemplate");

        *ret = (struct blueprint){
                .pod_spec = json_get(template, "spec"),
                .pod_labels = json_get(template, "metadata", "labels"),
                .pod_annotations = json_get(template, "metadata", "annotations"),
                .volume_claim_templates = json_get(spec, "volumeClaimTemplates"),
                .service = read_tristate(json_get(spec, "service")),
        };
}

enum generation generation_read(const struct object_meta *meta, struct json_value object)
{
        struct str pinned = object_meta_annotation(meta, ANNOTATION_GENERATION);
        struct str first_time = STR_EMPTY, first_version = STR_EMPTY;

        if (str_equal(pinned, STR("v1alpha1")))
                return GENERATION_V1ALPHA1;
        if (str_equal(pinned, STR("v1beta1")))
                return GENERATION_V1BETA1;
        json_for_each (it, json_get(object, "metadata", "managedFields")) {
                struct str time = json_string(json_get(it.value, "time"));
                struct str group, version;

                api_version_split(json_string(json_get(it.value, "apiVersion")), &group, &version);
                if (json_string(json_get(it.value, "subresource")).length ||
                    !str_ends_with(group, GROUP_AGENTS))
                        continue;
                if (!first_version.data || str_compare(time, first_time) < 0) {
                        first_version = version;
                        first_time = time;
                }
        }
        if (first_version.data)
                return str_equal(first_version, STR("v1alpha1")) ? GENERATION_V1ALPHA1
                                                                 : GENERATION_V1BETA1;
        json_for_each (it, meta->annotations) {
                if (str_starts_with(it.key, STR("api.agents.x-k8s.io/v1alpha1-")) &&
                    str_ends_with(it.key, STR("-state")))
                        return GENERATION_V1ALPHA1;
        }
        return GENERATION_UNKNOWN;
}

static enum generation read_generation(struct json_value object)
{
        struct object_meta meta;

        object_meta_read(object, &meta);
        return generation_read(&meta, object);
}

void sandbox_read(struct json_value object, void *ret_sandbox)
{
        struct sandbox *sandbox = ret_sandbox;
        struct json_value spec = json_get(object, "spec");
        struct json_value status = json_get(object, "status");

        *sandbox = (struct sandbox){
                .suspended = json_string_is(json_get(spec, "operatingMode"), STR("Suspended")),
                .shutdown_ns = read_time(json_get(spec, "shutdownTime")),
                .shutdown_deletes = json_string_is(json_get(spec, "shutdownPolicy"), STR("Delete")),
                .status = status,
                .conditions = json_get(status, "conditions"),
                .pod_ips = json_get(status, "podIPs"),
                .node_name = json_string(json_get(status, "nodeName")),
                .generation = read_generation(object),
        };
        read_blueprint(spec, &sandbox->blueprint);
        sandbox->ready = condition_is_true(sandbox->conditions, STR("Ready"));
}

static enum injection_policy read_policy(struct json_value value)
{
        if (json_string_is(value, STR("Allowed")))
                return INJECTION_ALLOWED;
        if (json_string_is(value, STR("Overrides")))
                return INJECTION_OVERRIDES;
        return INJECTION_DISALLOWED;
}

void sandbox_template_read(struct json_value object, void *ret_template)
{
        struct sandbox_template *template = ret_template;
        struct json_value spec = json_get(object, "spec");

        *template = (struct sandbox_template){
                .network_policy = json_get(spec, "networkPolicy"),
                .network_management =
                        json_string_is(json_get(spec, "networkPolicyManagement"), STR("Unmanaged"))
                                ? NETWORK_UNMANAGED
                                : NETWORK_MANAGED,
                .env_policy = read_policy(json_get(spec, "envVarsInjectionPolicy")),
                .volume_policy = read_policy(json_get(spec, "volumeClaimTemplatesPolicy")),
        };
        read_blueprint(spec, &template->blueprint);
}

void sandbox_warm_pool_read(struct json_value object, void *ret_pool)
{
        struct json_value spec = json_get(object, "spec");
        int64_t replicas = json_int64_or(json_get(spec, "replicas"), 1);

        *(struct sandbox_warm_pool *)ret_pool = (struct sandbox_warm_pool){
                .replicas = replicas < 0 ? 0 : replicas,
                .template_name = json_string(json_get(spec, "sandboxTemplateRef", "name")),
                .recreate =
                        json_string_is(json_get(spec, "updateStrategy", "type"), STR("Recreate")),
                .status = json_get(object, "status"),
                .generation = read_generation(object),
        };
}

/* Whether the v1alpha1 form of a claim, kept by conversion, asks for no warm pool. State of another
 * template than the hub names is old. */
static bool wants_no_pool(struct json_value object, struct str template)
{
        struct str state = json_string(json_get(object, "metadata", "annotations",
                                                "api.agents.x-k8s.io/v1alpha1-sandboxclaim-state"));
        _cleanup_doc_ struct json_doc *doc = NULL;

        if (state.length == 0 || json_doc_parse(state, NULL, NULL, NULL, &doc) < 0)
                return false;
        struct json_value spec = json_get(json_root(doc), "spec");
        return json_string_is(json_get(spec, "warmpool"), STR("none")) &&
               json_string_is(json_get(spec, "sandboxTemplateRef", "name"), template);
}

void sandbox_claim_read(struct json_value object, void *ret_claim)
{
        static const struct str shadow = { "shadow-pool-", 12 };
        struct sandbox_claim *claim = ret_claim;
        struct json_value spec = json_get(object, "spec");
        struct json_value lifecycle = json_get(spec, "lifecycle");
        struct json_value status = json_get(object, "status");

        *claim = (struct sandbox_claim){
                .pool_name = json_string(json_get(spec, "warmPoolRef", "name")),
                .shutdown_ns = read_time(json_get(lifecycle, "shutdownTime")),
                .ttl_seconds = json_int64_or(json_get(lifecycle, "ttlSecondsAfterFinished"), -1),
                .extra_labels = json_get(spec, "additionalPodMetadata", "labels"),
                .extra_annotations = json_get(spec, "additionalPodMetadata", "annotations"),
                .env = json_get(spec, "env"),
                .volume_claim_templates = json_get(spec, "volumeClaimTemplates"),
                .status = status,
                .conditions = json_get(status, "conditions"),
                .sandbox_name = json_string(json_get(status, "sandbox", "name")),
                .generation = read_generation(object),
        };
        if (json_string_is(json_get(lifecycle, "shutdownPolicy"), STR("Delete")))
                claim->shutdown = CLAIM_SHUTDOWN_DELETE;
        else if (json_string_is(json_get(lifecycle, "shutdownPolicy"), STR("DeleteForeground")))
                claim->shutdown = CLAIM_SHUTDOWN_FOREGROUND;
        claim->ready = condition_is_true(claim->conditions, STR("Ready"));
        if (claim->generation == GENERATION_V1ALPHA1 && str_starts_with(claim->pool_name, shadow)) {
                claim->by_template = true;
                claim->template_name =
                        str_slice(claim->pool_name, shadow.length, claim->pool_name.length);
                claim->cold_only = wants_no_pool(object, claim->template_name);
        }
}
