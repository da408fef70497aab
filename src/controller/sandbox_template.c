// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "controller/internal.h"

/*
 * One NetworkPolicy a template: who may reach its sandboxes, and what they may reach. It selects by
 * the hash of the template's name, which a claimed Pod keeps.
 */

static const char *const private_networks[] = {
        "10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16",
        "169.254.0.0/16", "100.64.0.0/10", "127.0.0.0/8",
};
static const char *const private_networks6[] = { "fc00::/7", "fe80::/10" };

static void write_pods_of_router(struct json_writer *writer)
{
        json_field_object(writer, "podSelector");
        json_field_object(writer, "matchLabels");
        json_field_string(writer, "app", STR("sandbox-router"));
        json_end_object(writer);
        json_end_object(writer);
}

/* The router of the system namespace, and one in the sandbox's own, as the first guides deploy. */
static void write_default_ingress(struct json_writer *writer)
{
        json_begin_array(writer);
        json_begin_object(writer);
        json_field_array(writer, "from");
        json_begin_object(writer);
        json_field_object(writer, "namespaceSelector");
        json_field_object(writer, "matchLabels");
        json_field_string(writer, "kubernetes.io/metadata.name", STR("agent-sandbox-system"));
        json_end_object(writer);
        json_end_object(writer);
        write_pods_of_router(writer);
        json_end_object(writer);
        json_begin_object(writer);
        write_pods_of_router(writer);
        json_end_object(writer);
        json_end_array(writer);
        json_end_object(writer);
        json_end_array(writer);
}

static void write_block(struct json_writer *writer, const char *all, const char *const *except,
                        size_t count)
{
        json_begin_object(writer);
        json_field_object(writer, "ipBlock");
        json_field_string(writer, "cidr", str_from(all));
        json_field_array(writer, "except");
        for (size_t i = 0; i < count; i++)
                json_write_string(writer, str_from(except[i]));
        json_end_array(writer);
        json_end_object(writer);
        json_end_object(writer);
}

static void write_default_egress(struct json_writer *writer)
{
        json_begin_array(writer);
        json_begin_object(writer);
        json_field_array(writer, "to");
        write_block(writer, "0.0.0.0/0", private_networks, ARRAY_SIZE(private_networks));
        write_block(writer, "::/0", private_networks6, ARRAY_SIZE(private_networks6));
        json_end_array(writer);
        json_end_object(writer);
        json_end_array(writer);
}

static void write_rules(struct json_writer *writer, struct json_value rules)
{
        if (json_type(rules) == JSON_ARRAY) {
                json_write_value(writer, rules);
                return;
        }
        json_begin_array(writer);
        json_end_array(writer);
}

static void write_policy_spec(struct json_writer *writer, const struct cache_entry *template)
{
        const struct sandbox_template *typed = template->typed;
        char hash[NAME_HASH_SIZE];

        json_begin_object(writer);
        json_field_object(writer, "podSelector");
        json_field_object(writer, "matchLabels");
        json_key(writer, LABEL_TEMPLATE_REF_HASH);
        json_write_string(writer, name_hash(template->meta.name, hash));
        json_end_object(writer);
        json_end_object(writer);
        json_field_array(writer, "policyTypes");
        json_write_string(writer, STR("Ingress"));
        json_write_string(writer, STR("Egress"));
        json_end_array(writer);
        json_key(writer, STR("ingress"));
        if (json_exists(typed->network_policy))
                write_rules(writer, json_get(typed->network_policy, "ingress"));
        else
                write_default_ingress(writer);
        json_key(writer, STR("egress"));
        if (json_exists(typed->network_policy))
                write_rules(writer, json_get(typed->network_policy, "egress"));
        else
                write_default_egress(writer);
        json_end_object(writer);
}

static void create_policy(struct plan *plan, const struct cache_entry *template, struct str name)
{
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("networking.k8s.io/v1"));
        json_field_string(writer, "kind", STR("NetworkPolicy"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", template->meta.namespace);
        write_owner(writer, &kind_sandbox_template, &template->meta);
        json_end_object(writer);
        json_key(writer, STR("spec"));
        write_policy_spec(writer, template);
        json_end_object(writer);
        plan_create(plan, &kind_network_policy, template->meta.namespace, name, ACTION_NONE);
}

/* The executor drops the patch where the policy is already so. */
static void patch_policy(struct plan *plan, const struct cache_entry *template,
                         const struct cache_entry *policy)
{
        struct json_writer *writer = plan_patch_body(plan, &policy->meta, EXPECT_UID);

        json_end_object(writer);
        json_key(writer, STR("spec"));
        write_policy_spec(writer, template);
        plan_patch(plan, &kind_network_policy, &policy->meta, json_root(policy->doc), ACTION_NONE);
}

void sandbox_template_plan(const struct view *seen, struct plan *plan)
{
        const struct cache_entry *entry =
                cache_get(seen->cache, &kind_sandbox_template, seen->namespace, seen->name);
        const struct sandbox_template *template;
        const struct cache_entry *policy;
        struct str name;
        bool owned;

        if (!entry || object_meta_is_deleting(&entry->meta))
                return;
        template = entry->typed;
        name = arena_printf(plan->arena, "%.*s-network-policy", STR_FORMAT(seen->name));
        if (!name.data) {
                plan_fail(plan, -ENOMEM);
                return;
        }
        policy = cache_get(seen->cache, &kind_network_policy, seen->namespace, name);
        owned = policy && controlled_by_uid(policy, entry->meta.uid);
        if (template->network_management == NETWORK_UNMANAGED) {
                if (owned && !object_meta_is_deleting(&policy->meta))
                        plan_delete(plan, &kind_network_policy, &policy->meta, EXPECT_UID,
                                    PROPAGATION_DEFAULT, -1, ACTION_NONE);
                return;
        }
        if (!policy)
                create_policy(plan, entry, name);
        else if (owned)
                patch_policy(plan, entry, policy);
        else
                plan_note(plan, "NetworkPolicy %.*s is not of this template and is left alone",
                          STR_FORMAT(name));
}

void sandbox_template_map(struct controllers *set, const struct controller *controller,
                          const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        struct owner_reference owner;

        if (entry->kind == &kind_sandbox_template)
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        else if (controlled_by_kind(&entry->meta, &kind_sandbox_template, &owner))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
}
