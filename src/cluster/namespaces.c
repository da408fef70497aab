// SPDX-License-Identifier: Apache-2.0
#include "cluster/internal.h"

enum { DELETIONS_MAX = 500 };

/* Deletes what a terminating namespace holds; when nothing is left, takes its finalizer away. */
void namespace_plan(const struct view *seen, struct plan *plan)
{
        const struct cluster_context *context = seen->context;
        const struct cache_entry *entry =
                cache_get(seen->cache, &kind_namespace, STR_EMPTY, seen->name);
        struct json_writer *writer;
        size_t left = 0;

        if (!entry || !object_meta_is_deleting(&entry->meta) ||
            json_count(((const struct namespace *)entry->typed)->finalizers) == 0)
                return;
        cache_for_each_in(it, seen->cache, context->index_namespace, NULL, STR_EMPTY, seen->name)
        {
                left++;
                if (it.entry->locked)
                        plan_wait(plan, it.entry->kind, it.entry->meta.namespace,
                                  it.entry->meta.name);
                else if (!object_meta_is_deleting(&it.entry->meta) && plan->count < DELETIONS_MAX)
                        plan_delete(plan, it.entry->kind, &it.entry->meta, EXPECT_UID,
                                    PROPAGATION_BACKGROUND, -1, ACTION_NONE);
        }
        plan_note(plan, "%zu objects left", left);
        if (left)
                return;
        writer = plan_body(plan);
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Namespace"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", seen->name);
        json_field_string(writer, "uid", entry->meta.uid);
        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_array(writer, "finalizers");
        json_end_array(writer);
        json_end_object(writer);
        json_end_object(writer);
        plan_finalize(plan, &entry->meta);
}

void namespace_map(struct controllers *set, const struct controller *controller,
                   const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        const struct cache_entry *namespace;

        if (entry->kind == &kind_namespace) {
                if (after && object_meta_is_deleting(&after->meta))
                        controllers_enqueue(set, controller, STR_EMPTY, entry->meta.name);
                return;
        }
        if (entry->meta.namespace.length == 0)
                return;
        namespace = cache_get(controllers_cache(set), &kind_namespace, STR_EMPTY,
                              entry->meta.namespace);
        if (namespace && object_meta_is_deleting(&namespace->meta))
                controllers_enqueue(set, controller, STR_EMPTY, entry->meta.namespace);
}

/* ---- what every namespace has ---- */

static void create_named(struct plan *plan, const struct kind *kind, struct str namespace,
                         struct str name, struct str certificate)
{
        struct json_writer *writer = plan_body(plan);
        char api_version[128];

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", kind_api_version(kind, api_version));
        json_field_string(writer, "kind", kind->kind);
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", namespace);
        json_end_object(writer);
        if (certificate.length) {
                json_field_object(writer, "data");
                json_field_string(writer, "ca.crt", certificate);
                json_end_object(writer);
        }
        json_end_object(writer);
        plan_create(plan, kind, namespace, name, ACTION_NONE);
}

/* The API server makes the first with the namespace; here they come back when they are deleted. */
void service_account_plan(const struct view *seen, struct plan *plan)
{
        const struct cluster_context *context = seen->context;
        const struct cache_entry *entry =
                cache_get(seen->cache, &kind_namespace, STR_EMPTY, seen->name);

        if (!entry || object_meta_is_deleting(&entry->meta))
                return;
        if (!cache_get(seen->cache, &kind_service_account, seen->name, STR("default")))
                create_named(plan, &kind_service_account, seen->name, STR("default"), STR_EMPTY);
        if (context->options.ca_certificate.length &&
            !cache_get(seen->cache, &kind_config_map, seen->name, STR("kube-root-ca.crt")))
                create_named(plan, &kind_config_map, seen->name, STR("kube-root-ca.crt"),
                             context->options.ca_certificate);
}

void service_account_map(struct controllers *set, const struct controller *controller,
                         const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;

        if (entry->kind == &kind_namespace && after && !before)
                controllers_enqueue(set, controller, STR_EMPTY, entry->meta.name);
        else if (!after && (str_equal(entry->meta.name, STR("default")) ||
                            str_equal(entry->meta.name, STR("kube-root-ca.crt"))))
                controllers_enqueue(set, controller, STR_EMPTY, entry->meta.namespace);
}
