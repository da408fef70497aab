// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "controller/internal.h"

#include "kinds/blueprint.h"

/* Who answers names in a sandbox that may not ask the cluster's DNS. */
static const char *const public_resolvers[] = { "8.8.8.8", "1.1.1.1" };

/* Whether the claim sets this variable in this container (`first`: it is the first one). */
static struct json_value find_env(const struct sandbox_claim *claim, struct str container,
                                  bool first, struct str name)
{
        if (!claim)
                return (struct json_value){ 0 };
        json_for_each (it, claim->env) {
                struct str target = json_string(json_get(it.value, "containerName"));

                if (json_string_is(json_get(it.value, "name"), name) &&
                    (target.length ? str_equal(target, container) : first))
                        return it.value;
        }
        return (struct json_value){ 0 };
}

static void write_variable(struct json_writer *writer, struct json_value variable)
{
        json_begin_object(writer);
        json_field_string(writer, "name", json_string(json_get(variable, "name")));
        json_field_string(writer, "value", json_string(json_get(variable, "value")));
        json_end_object(writer);
}

static bool has_variable(struct json_value env, struct str name)
{
        json_for_each (it, env) {
                if (json_string_is(json_get(it.value, "name"), name))
                        return true;
        }
        return false;
}

/* Overridden variables keep their place, new ones are appended. */
static void write_env(struct json_writer *writer, struct json_value container, bool first,
                      const struct sandbox_claim *claim)
{
        struct str container_name = json_string(json_get(container, "name"));
        struct json_value env = json_get(container, "env");

        json_field_array(writer, "env");
        json_for_each (it, env) {
                struct json_value ours = find_env(claim, container_name, first,
                                                  json_string(json_get(it.value, "name")));

                if (json_exists(ours))
                        write_variable(writer, ours);
                else
                        json_write_value(writer, it.value);
        }
        json_for_each (it, claim->env) {
                struct str target = json_string(json_get(it.value, "containerName"));

                if ((target.length ? str_equal(target, container_name) : first) &&
                    !has_variable(env, json_string(json_get(it.value, "name"))))
                        write_variable(writer, it.value);
        }
        json_end_array(writer);
}

static void write_containers(struct json_writer *writer, struct json_value containers,
                             const struct sandbox_claim *claim, bool initial)
{
        bool first = !initial;

        json_begin_array(writer);
        json_for_each (it, containers) {
                json_begin_object(writer);
                json_for_each (member, it.value) {
                        if (str_equal(member.key, STR("env")))
                                continue;
                        json_key(writer, member.key);
                        json_write_value(writer, member.value);
                }
                write_env(writer, it.value, first, claim);
                json_end_object(writer);
                first = false;
        }
        json_end_array(writer);
}

/* Without a policy of its own, a managed sandbox may not reach the cluster's DNS either. */
static bool wants_public_dns(const struct sandbox_template *template)
{
        return template->network_management == NETWORK_MANAGED &&
               !json_exists(template->network_policy) &&
               json_string(json_get(template->blueprint.pod_spec, "dnsPolicy")).length == 0;
}

static void write_public_dns(struct json_writer *writer, struct json_value pod_spec)
{
        json_field_string(writer, "dnsPolicy", STR("None"));
        if (json_exists(json_get(pod_spec, "dnsConfig")))
                return;
        json_field_object(writer, "dnsConfig");
        json_field_array(writer, "nameservers");
        for (size_t i = 0; i < ARRAY_SIZE(public_resolvers); i++)
                json_write_string(writer, str_from(public_resolvers[i]));
        json_end_array(writer);
        json_end_object(writer);
}

void write_secure_pod_spec(struct json_writer *writer, const struct sandbox_template *template,
                           const struct sandbox_claim *claim)
{
        struct json_value spec = template->blueprint.pod_spec;
        bool has_env = claim && json_count(claim->env);

        json_begin_object(writer);
        json_for_each (it, spec) {
                bool containers = str_equal(it.key, STR("containers"));

                if (str_equal(it.key, STR("dnsPolicy")) && json_string(it.value).length == 0)
                        continue;
                json_key(writer, it.key);
                if (has_env && (containers || str_equal(it.key, STR("initContainers"))))
                        write_containers(writer, it.value, claim, !containers);
                else
                        json_write_value(writer, it.value);
        }
        if (json_type(json_get(spec, "automountServiceAccountToken")) != JSON_BOOL)
                json_field_bool(writer, "automountServiceAccountToken", false);
        if (wants_public_dns(template))
                write_public_dns(writer, spec);
        json_end_object(writer);
}

/* ---- what a member was made from ---- */

/* Without memory it is kept. */
static bool has_another_blueprint(const struct sandbox *sandbox,
                                  const struct sandbox_template *template)
{
        char wanted[BLUEPRINT_HASH_SIZE], found[BLUEPRINT_HASH_SIZE];
        _cleanup_buffer_ struct buffer text = { 0 };
        _cleanup_doc_ struct json_doc *spec = NULL;
        struct blueprint blueprint = template->blueprint;
        struct json_writer writer;

        json_writer_init(&writer, &text);
        write_secure_pod_spec(&writer, template, NULL);
        if (json_writer_finish(&writer) < 0 || json_doc_from_buffer(&text, &spec) < 0)
                return false;
        blueprint.pod_spec = json_root(spec);
        blueprint_hash(&blueprint, wanted);
        blueprint_hash(&sandbox->blueprint, found);
        return !str_equal(str_from(wanted), str_from(found));
}

bool member_is_stale(const struct cache_entry *member, const struct cache_entry *template,
                     struct str template_ref_hash, struct str template_hash)
{
        struct str hash = object_meta_label(&member->meta, LABEL_TEMPLATE_HASH);

        if (!str_equal(object_meta_label(&member->meta, LABEL_TEMPLATE_REF_HASH),
                       template_ref_hash))
                return true;
        if (str_equal(hash, template_hash))
                return false;
        if (hash.length == BLUEPRINT_HASH_SIZE - 1 || !template)
                return true;
        return member->kind == &kind_sandbox &&
               has_another_blueprint(member->typed, template->typed);
}

/* ---- metadata ---- */

static void write_label(struct json_writer *writer, struct str key, struct str value)
{
        json_key(writer, key);
        json_write_string(writer, value);
}

static void write_labels(struct json_writer *writer, const struct sandbox_origin *origin)
{
        char hash[NAME_HASH_SIZE], blueprint[BLUEPRINT_HASH_SIZE];
        const struct sandbox_template *template = origin->template->typed;

        json_field_object(writer, "labels");
        write_label(writer, LABEL_TEMPLATE_REF_HASH, name_hash(origin->template->meta.name, hash));
        blueprint_hash(&template->blueprint, blueprint);
        write_label(writer, LABEL_TEMPLATE_HASH, str_from(blueprint));
        write_label(writer, LABEL_POD_TEMPLATE_HASH, str_from(blueprint));
        if (origin->claim) {
                struct str by = object_meta_label(&origin->claim->meta, LABEL_CREATED_BY);

                write_label(writer, LABEL_CLAIM_UID, origin->claim->meta.uid);
                write_label(writer, LABEL_LAUNCH_TYPE, origin->warm ? STR("warm") : STR("cold"));
                write_label(writer, LABEL_CREATED_BY, by.length ? by : STR("unknown"));
        } else {
                name_hash(origin->pool->meta.name, hash);
                write_label(writer, LABEL_WARM_POOL, str_from(hash));
                write_label(writer, LABEL_CREATED_BY, STR("controller"));
        }
        json_end_object(writer);
}

static void write_annotations(struct json_writer *writer, const struct sandbox_origin *origin)
{
        json_field_object(writer, "annotations");
        write_label(writer, ANNOTATION_TEMPLATE_REF, origin->template->meta.name);
        write_label(writer, ANNOTATION_GENERATION,
                    origin->generation == GENERATION_V1ALPHA1 ? STR("v1alpha1") : STR("v1beta1"));
        if (origin->pod_name.length)
                write_label(writer, ANNOTATION_POD_NAME, origin->pod_name);
        if (origin->claim)
                write_claim_annotations(writer, origin->claim);
        json_end_object(writer);
}

void write_claim_annotations(struct json_writer *writer, const struct cache_entry *claim)
{
        const struct sandbox_claim *typed = claim->typed;
        struct str trace = object_meta_annotation(&claim->meta, ANNOTATION_TRACE_CONTEXT);

        if (trace.length)
                write_label(writer, ANNOTATION_TRACE_CONTEXT, trace);
        write_key_list(writer, ANNOTATION_PROPAGATED_LABELS, typed->extra_labels);
        write_key_list(writer, ANNOTATION_PROPAGATED_ANNOTATIONS, typed->extra_annotations);
}

void write_key_list(struct json_writer *writer, struct str annotation, struct json_value map)
{
        _cleanup_buffer_ struct buffer keys = { 0 };

        json_for_each (it, map) {
                if (key_is_reserved(it.key))
                        continue;
                if ((keys.length && buffer_append_char(&keys, ',') < 0) ||
                    buffer_append_str(&keys, it.key) < 0) {
                        writer->failure = -ENOMEM;
                        return;
                }
        }
        if (keys.length == 0)
                return;
        json_key(writer, annotation);
        json_write_string(writer, buffer_str(&keys));
}

/* The blueprint's map with the claim's over it. */
static void write_merged(struct json_writer *writer, const char *field, struct json_value base,
                         struct json_value over)
{
        if (json_count(base) == 0 && json_count(over) == 0)
                return;
        json_field_object(writer, field);
        json_for_each (it, base) {
                if (json_exists(json_member(over, it.key)))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        json_for_each (it, over) {
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        json_end_object(writer);
}

/* ---- volumes ---- */

static struct json_value find_volume(struct json_value templates, struct str name)
{
        json_for_each (it, templates) {
                if (json_string_is(json_get(it.value, "metadata", "name"), name))
                        return it.value;
        }
        return (struct json_value){ 0 };
}

/* The template's claims, each replaced by the SandboxClaim's of the same name, then its others. */
static void write_volume_claims(struct json_writer *writer, struct json_value base,
                                struct json_value over)
{
        if (json_count(base) == 0 && json_count(over) == 0)
                return;
        json_field_array(writer, "volumeClaimTemplates");
        json_for_each (it, base) {
                struct str name = json_string(json_get(it.value, "metadata", "name"));
                struct json_value ours = find_volume(over, name);

                json_write_value(writer, json_exists(ours) ? ours : it.value);
        }
        json_for_each (it, over) {
                struct str name = json_string(json_get(it.value, "metadata", "name"));

                if (!json_exists(find_volume(base, name)))
                        json_write_value(writer, it.value);
        }
        json_end_array(writer);
}

static void write_spec(struct json_writer *writer, const struct sandbox_origin *origin)
{
        const struct sandbox_template *template = origin->template->typed;
        const struct blueprint *blueprint = &template->blueprint;
        const struct sandbox_claim *claim = origin->claim ? origin->claim->typed : NULL;
        struct json_value none = { 0 };

        json_field_object(writer, "spec");
        json_field_string(writer, "operatingMode", STR("Running"));
        json_field_object(writer, "podTemplate");
        json_field_object(writer, "metadata");
        write_merged(writer, "labels", blueprint->pod_labels, claim ? claim->extra_labels : none);
        write_merged(writer, "annotations", blueprint->pod_annotations,
                     claim ? claim->extra_annotations : none);
        json_end_object(writer);
        json_key(writer, STR("spec"));
        write_secure_pod_spec(writer, template, claim);
        json_end_object(writer);
        write_volume_claims(writer, blueprint->volume_claim_templates,
                            claim ? claim->volume_claim_templates : none);
        if (blueprint->service != TRISTATE_UNSET)
                json_field_bool(writer, "service", blueprint->service == TRISTATE_TRUE);
        json_end_object(writer);
}

int sandbox_plan_create(struct plan *plan, const struct sandbox_origin *origin, int after)
{
        char api_version[128];
        struct json_writer *writer = plan_body(plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", kind_api_version(&kind_sandbox, api_version));
        json_field_string(writer, "kind", STR("Sandbox"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", origin->name);
        json_field_string(writer, "namespace", origin->namespace);
        write_labels(writer, origin);
        write_annotations(writer, origin);
        if (origin->claim)
                write_owner(writer, &kind_sandbox_claim, &origin->claim->meta);
        else
                write_owner(writer, &kind_sandbox_warm_pool, &origin->pool->meta);
        json_end_object(writer);
        write_spec(writer, origin);
        json_end_object(writer);
        return plan_create(plan, &kind_sandbox, origin->namespace, origin->name, after);
}
