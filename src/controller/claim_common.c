// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/clock.h"
#include "controller/internal.h"

uint64_t claim_expiry(const struct sandbox_claim *claim)
{
        uint64_t expiry = claim->shutdown_ns, finished_ns;
        struct condition finished;

        if (claim->ttl_seconds < 0 ||
            !condition_find(claim->conditions, STR("Finished"), &finished) ||
            !str_equal(finished.status, STR("True")) ||
            rfc3339_parse(finished.last_transition, &finished_ns) < 0)
                return expiry;
        finished_ns += (uint64_t)MIN(claim->ttl_seconds, INT64_C(1) << 32) * NS_PER_SECOND;
        return expiry ? MIN(expiry, finished_ns) : finished_ns;
}

const struct cache_entry *claim_sandbox(const struct view *seen, const struct cache_entry *claim)
{
        const struct sandbox_claim *typed = claim->typed;
        const struct cache_entry *found = NULL;

        cache_for_each_owned(it, seen->cache, &kind_sandbox, claim->meta.uid)
        {
                if (!controlled_by_uid(it.entry, claim->meta.uid) ||
                    !str_equal(it.entry->meta.namespace, claim->meta.namespace))
                        continue;
                if (str_equal(it.entry->meta.name, typed->sandbox_name))
                        return it.entry;
                if (!found || str_compare(it.entry->meta.name, found->meta.name) < 0)
                        found = it.entry;
        }
        return found;
}

void claim_status_of_sandbox(const struct cache_entry *sandbox, struct claim_status *ret)
{
        const struct sandbox *typed = sandbox->typed;
        struct condition ready;

        *ret = (struct claim_status){
                .sandbox_name = sandbox->meta.name,
                .pod_ips = typed->pod_ips,
                .finished = typed->conditions,
        };
        if (condition_find(typed->conditions, STR("Ready"), &ready)) {
                ret->status = ready.status;
                ret->reason = ready.reason;
                ret->message = ready.message;
        } else {
                ret->status = STR("False");
                ret->reason = STR("SandboxNotReady");
                ret->message = STR("The Sandbox has not reported yet");
        }
}

static void set_conditions(const struct cache_entry *claim, const struct claim_status *status,
                           uint64_t now_ns, struct condition_list *list)
{
        const struct sandbox_claim *typed = claim->typed;
        struct condition finished;

        conditions_init(list, typed->conditions, claim->meta.generation, now_ns);
        conditions_set(list, STR("Ready"), status->status, status->reason, status->message);
        if (condition_find(status->finished, STR("Finished"), &finished))
                conditions_set(list, STR("Finished"), finished.status, finished.reason,
                               finished.message);
        else
                conditions_keep(list, STR("Finished"));
}

int claim_status_patch(struct plan *plan, const struct view *seen, const struct cache_entry *claim,
                       const struct claim_status *status, int after)
{
        const struct sandbox_claim *typed = claim->typed;
        struct json_value present_ips = json_get(typed->status, "sandbox", "podIPs");
        struct condition_list list;
        struct json_writer *writer;

        set_conditions(claim, status, seen->now.realtime_ns, &list);
        if (conditions_are_present(&list) && str_equal(typed->sandbox_name, status->sandbox_name) &&
            ips_equal(present_ips, status->pod_ips))
                return ACTION_NONE;
        writer = plan_patch_body(plan, &claim->meta, EXPECT_VERSION);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_key(writer, STR("conditions"));
        conditions_put(&list, writer);
        if (status->sandbox_name.length) {
                json_field_object(writer, "sandbox");
                json_field_string(writer, "name", status->sandbox_name);
                json_key(writer, STR("podIPs"));
                if (json_count(status->pod_ips))
                        write_ips(writer, status->pod_ips);
                else
                        json_write_null(writer);
                json_end_object(writer);
        }
        json_end_object(writer);
        return plan_patch_status(plan, &kind_sandbox_claim, &claim->meta, json_root(claim->doc),
                                 after);
}

int claim_refuse(struct plan *plan, const struct view *seen, const struct cache_entry *claim,
                 struct str reason, struct str message)
{
        const struct sandbox_claim *typed = claim->typed;

        /* What was bound stays so: a name once told is never taken back. */
        return claim_status_patch(plan, seen, claim,
                                  &(struct claim_status){
                                          .sandbox_name = typed->sandbox_name,
                                          .pod_ips = json_get(typed->status, "sandbox", "podIPs"),
                                          .status = STR("False"),
                                          .reason = reason,
                                          .message = message,
                                  },
                                  ACTION_NONE);
}

/* ---- what a claim may ask for ---- */

/* The part of a label or annotation key before the slash. */
static struct str key_domain(struct str key)
{
        struct str domain, name;

        return str_cut(key, '/', &domain, &name) ? domain : STR_EMPTY;
}

static bool domain_is_within(struct str domain, struct str parent)
{
        return str_equal(domain, parent) ||
               (domain.length > parent.length && str_ends_with(domain, parent) &&
                domain.data[domain.length - parent.length - 1] == '.');
}

static bool label_is_allowed(const struct sandbox_options *options, struct str key)
{
        struct str domain = key_domain(key);

        for (size_t i = 0; i < options->label_domain_count; i++) {
                if (domain.length && domain_is_within(domain, options->label_domains[i]))
                        return true;
        }
        return false;
}

static bool annotation_is_allowed(struct str key)
{
        static const char *const closed[] = { "kubernetes.io", "k8s.io", "agents.x-k8s.io" };
        struct str domain = key_domain(key);

        if (str_equal(key, ANNOTATION_SAFE_TO_EVICT))
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
                if (domain.length && domain_is_within(domain, str_from(closed[i])))
                        return false;
        }
        return true;
}

static struct str check_metadata(const struct sandbox_options *options,
                                 const struct sandbox_claim *claim, struct arena *arena)
{
        json_for_each (it, claim->extra_labels) {
                if (!label_is_allowed(options, it.key))
                        return arena_printf(arena,
                                            "label %.*s is not in a domain that claims may use",
                                            STR_FORMAT(it.key));
        }
        json_for_each (it, claim->extra_annotations) {
                if (!annotation_is_allowed(it.key))
                        return arena_printf(arena, "annotation %.*s is in a reserved domain",
                                            STR_FORMAT(it.key));
        }
        return STR_EMPTY;
}

static struct json_value find_container(struct json_value pod_spec, struct str name)
{
        if (name.length == 0)
                return json_element(json_get(pod_spec, "containers"), 0);
        json_for_each (it, json_get(pod_spec, "containers")) {
                if (json_string_is(json_get(it.value, "name"), name))
                        return it.value;
        }
        json_for_each (it, json_get(pod_spec, "initContainers")) {
                if (json_string_is(json_get(it.value, "name"), name))
                        return it.value;
        }
        return (struct json_value){ 0 };
}

static struct json_value find_named(struct json_value list, struct str name)
{
        json_for_each (it, list) {
                if (json_string_is(json_get(it.value, "name"), name))
                        return it.value;
        }
        return (struct json_value){ 0 };
}

static struct str check_env(const struct sandbox_claim *claim,
                            const struct sandbox_template *template, struct arena *arena)
{
        if (json_count(claim->env) && template->env_policy == INJECTION_DISALLOWED)
                return STR("the template's envVarsInjectionPolicy does not allow env");
        json_for_each (it, claim->env) {
                struct str name = json_string(json_get(it.value, "name"));
                struct str target = json_string(json_get(it.value, "containerName"));
                struct json_value container = find_container(template->blueprint.pod_spec, target);

                if (!json_exists(container))
                        return arena_printf(arena, "the template has no container %.*s",
                                            STR_FORMAT(target));
                if (template->env_policy == INJECTION_ALLOWED &&
                    json_exists(find_named(json_get(container, "env"), name)))
                        return arena_printf(
                                arena,
                                "the template sets %.*s and its envVarsInjectionPolicy does not "
                                "allow overriding",
                                STR_FORMAT(name));
        }
        return STR_EMPTY;
}

static struct str check_volumes(const struct sandbox_claim *claim,
                                const struct sandbox_template *template, struct arena *arena)
{
        if (json_count(claim->volume_claim_templates) &&
            template->volume_policy == INJECTION_DISALLOWED)
                return STR("the template's volumeClaimTemplatesPolicy does not allow "
                           "volumeClaimTemplates");
        if (template->volume_policy != INJECTION_ALLOWED)
                return STR_EMPTY;
        json_for_each (it, claim->volume_claim_templates) {
                struct str name = json_string(json_get(it.value, "metadata", "name"));

                json_for_each (theirs, template->blueprint.volume_claim_templates) {
                        if (json_string_is(json_get(theirs.value, "metadata", "name"), name))
                                return arena_printf(
                                        arena,
                                        "the template has a volume %.*s and its "
                                        "volumeClaimTemplatesPolicy does not allow overriding",
                                        STR_FORMAT(name));
                }
        }
        return STR_EMPTY;
}

struct str claim_check(const struct sandbox_options *options, const struct sandbox_claim *claim,
                       const struct sandbox_template *template, struct arena *arena,
                       struct str *ret_reason)
{
        struct str message = check_metadata(options, claim, arena);

        *ret_reason = STR("InvalidMetadata");
        if (message.length || !template)
                return message;
        *ret_reason = STR("EnvVarsInjectionRejected");
        message = check_env(claim, template, arena);
        if (message.length)
                return message;
        *ret_reason = STR("VolumeClaimTemplatesError");
        return check_volumes(claim, template, arena);
}
