// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>

#include "base/clock.h"
#include "controller/internal.h"

/* How long what a new Sandbox names may be missing because a watch lags, and how soon to look
 * again: the watch's next bookmark may be a minute away. */
#define PATIENCE_NS   (8 * NS_PER_SECOND)
#define LOOK_AGAIN_NS NS_PER_SECOND

/* What one pass knows and finds out. */
struct pass {
        const struct view *seen;
        struct plan *plan;
        const struct sandbox_context *context;
        const struct cache_entry *entry;
        const struct sandbox *sandbox;
        const struct cache_entry *pod;     /* ours, or about to be */
        const struct cache_entry *foreign; /* has our Pod's name but is another's */
        const struct cache_entry *service; /* owned */
        bool pod_leaves, multiple_pods, take_pod, clear_pod_name;
        bool pod_unknown;      /* the watch of Pods has not come so far as that of Sandboxes */
        struct str rename_pod; /* what the annotation shall say; empty: as it is */
        int annotated;         /* the action that patches our annotations, or ACTION_NONE */
        struct buffer error;
};

static void _printf_(2, 3) add_error(struct pass *pass, const char *format, ...)
{
        va_list arguments;

        if (pass->error.length)
                (void)buffer_append_str(&pass->error, STR("; "));
        va_start(arguments, format);
        if (buffer_vprintf(&pass->error, format, arguments) < 0)
                plan_fail(pass->plan, -ENOMEM);
        va_end(arguments);
}

/* ---- volumes ---- */

static void create_volume_claim(struct pass *pass, struct json_value template, struct str name)
{
        struct json_writer *writer = plan_body(pass->plan);
        struct json_value meta = json_get(template, "metadata");
        char hash[NAME_HASH_SIZE];

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("PersistentVolumeClaim"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", pass->entry->meta.namespace);
        json_field_object(writer, "labels");
        json_for_each (it, json_get(meta, "labels")) {
                if (str_equal(it.key, LABEL_NAME_HASH))
                        continue;
                json_key(writer, it.key);
                json_write_value(writer, it.value);
        }
        json_key(writer, LABEL_NAME_HASH);
        json_write_string(writer, name_hash(pass->entry->meta.name, hash));
        json_end_object(writer);
        if (json_count(json_get(meta, "annotations")))
                json_field_value(writer, "annotations", json_get(meta, "annotations"));
        write_owner(writer, &kind_sandbox, &pass->entry->meta);
        json_end_object(writer);
        json_field_value(writer, "spec", json_get(template, "spec"));
        json_end_object(writer);
        plan_create(pass->plan, &kind_persistent_volume_claim, pass->entry->meta.namespace, name,
                    ACTION_NONE);
}

static void plan_volume_claims(struct pass *pass)
{
        const struct object_meta *meta = &pass->entry->meta;

        json_for_each (it, pass->sandbox->blueprint.volume_claim_templates) {
                struct str template = json_string(json_get(it.value, "metadata", "name"));
                struct str name = arena_printf(pass->plan->arena, "%.*s-%.*s", STR_FORMAT(template),
                                               STR_FORMAT(meta->name));
                const struct cache_entry *claim;
                struct owner_reference owner;

                if (template.length == 0 || !name.data)
                        continue;
                claim = cache_get(pass->seen->cache, &kind_persistent_volume_claim, meta->namespace,
                                  name);
                if (!claim) {
                        create_volume_claim(pass, it.value, name);
                } else if (object_meta_controller(&claim->meta, &owner)) {
                        if (!str_equal(owner.uid, meta->uid))
                                add_error(pass, "PersistentVolumeClaim %.*s belongs to %.*s %.*s",
                                          STR_FORMAT(name), STR_FORMAT(owner.kind),
                                          STR_FORMAT(owner.name));
                } else if (may_adopt(&claim->meta, meta->name)) {
                        struct json_writer *writer =
                                plan_patch_body(pass->plan, &claim->meta, EXPECT_VERSION);

                        write_owner(writer, &kind_sandbox, meta);
                        json_end_object(writer);
                        plan_patch(pass->plan, &kind_persistent_volume_claim, &claim->meta,
                                   json_root(claim->doc), ACTION_NONE);
                } else {
                        add_error(pass,
                                  "PersistentVolumeClaim %.*s exists and is not of this Sandbox",
                                  STR_FORMAT(name));
                }
        }
}

/* ---- finding the Pod ---- */

/* A Pod of a pool that a claim has been given: the claim's Sandbox names it. */
static bool may_take_from_pool(const struct pass *pass, const struct object_meta *pod)
{
        struct owner_reference owner;

        return controlled_by_kind(pod, &kind_sandbox_warm_pool, &owner) &&
               controlled_by_kind(&pass->entry->meta, &kind_sandbox_claim, &owner) &&
               !object_meta_is_deleting(pod);
}

static void find_named_pod(struct pass *pass, struct str annotated)
{
        const struct object_meta *meta = &pass->entry->meta;
        struct str name = annotated.length ? annotated : meta->name;
        const struct cache_entry *pod =
                cache_get(pass->seen->cache, &kind_pod, meta->namespace, name);
        struct owner_reference owner;

        if (!pod) {
                pass->pod_unknown =
                        annotated.length > 0 &&
                        cache_progress(pass->seen->cache, &kind_pod) < meta->resource_version &&
                        pass->seen->now.monotonic_ns - pass->entry->seen_ns < PATIENCE_NS;
                pass->clear_pod_name = annotated.length > 0;
                return;
        }
        if (!object_meta_controller(&pod->meta, &owner)) {
                if (may_adopt(&pod->meta, meta->name) && !object_meta_is_deleting(&pod->meta)) {
                        pass->pod = pod;
                        pass->take_pod = true;
                        return;
                }
        } else if (annotated.length && may_take_from_pool(pass, &pod->meta)) {
                pass->pod = pod;
                pass->take_pod = true;
                return;
        } else if (annotated.length && !str_equal(annotated, meta->name)) {
                /* The member went to another claim, or leaves: begin without it. */
                pass->clear_pod_name = true;
                return;
        }
        pass->foreign = pod;
}

static void find_pod(struct pass *pass)
{
        const struct object_meta *meta = &pass->entry->meta;
        struct str annotated = object_meta_annotation(meta, ANNOTATION_POD_NAME);
        const struct cache_entry *leaving = NULL;
        size_t count = 0;

        cache_for_each_owned(it, pass->seen->cache, &kind_pod, meta->uid)
        {
                if (!controlled_by_uid(it.entry, meta->uid) ||
                    !str_equal(it.entry->meta.namespace, meta->namespace))
                        continue;
                if (object_meta_is_deleting(&it.entry->meta)) {
                        leaving = it.entry;
                        continue;
                }
                pass->pod = it.entry;
                count++;
        }
        pass->multiple_pods = count > 1;
        if (count == 0 && leaving) {
                pass->pod = leaving;
                pass->pod_leaves = true;
        }
        if (!pass->pod) {
                find_named_pod(pass, annotated);
        } else if (count == 1 && annotated.length && !str_equal(annotated, pass->pod->meta.name)) {
                pass->rename_pod = pass->pod->meta.name;
        }
}

/* ---- acting on the Pod ---- */

/* Which Pod is ours, and the generation: a Sandbox written by a client of the first keeps its
 * behaviour whoever writes it later. */
static void plan_annotations(struct pass *pass)
{
        bool pin = pass->sandbox->generation == GENERATION_V1ALPHA1 &&
                   object_meta_annotation(&pass->entry->meta, ANNOTATION_GENERATION).length == 0;
        struct json_writer *writer;

        if (!pass->clear_pod_name && pass->rename_pod.length == 0 && !pin)
                return;
        writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_UID);
        json_field_object(writer, "annotations");
        if (pin) {
                json_key(writer, ANNOTATION_GENERATION);
                json_write_string(writer, STR("v1alpha1"));
        }
        if (pass->clear_pod_name || pass->rename_pod.length) {
                json_key(writer, ANNOTATION_POD_NAME);
                if (pass->clear_pod_name)
                        json_write_null(writer);
                else
                        json_write_string(writer, pass->rename_pod);
        }
        json_end_object(writer);
        json_end_object(writer);
        pass->annotated = plan_patch(pass->plan, &kind_sandbox, &pass->entry->meta,
                                     json_root(pass->entry->doc), ACTION_NONE);
}

static void plan_pod(struct pass *pass)
{
        struct pod_identity identity;

        pod_identity_read(pass->entry, &pass->context->options, &identity);
        if (pass->foreign && !pass->sandbox->suspended) {
                add_error(pass, "Pod %.*s exists and is not of this Sandbox",
                          STR_FORMAT(pass->foreign->meta.name));
                return;
        }
        if (pass->multiple_pods || pass->foreign)
                return;
        if (pass->sandbox->suspended) {
                if (pass->pod && !pass->pod_leaves && !pass->take_pod)
                        plan_delete(pass->plan, &kind_pod, &pass->pod->meta, EXPECT_UID,
                                    PROPAGATION_DEFAULT, -1, ACTION_NONE);
                return;
        }
        if (!pass->pod)
                pod_create(pass->plan, &identity, pass->entry->meta.name, &pass->sandbox->blueprint,
                           ACTION_NONE);
        else if (!pass->pod_leaves)
                pod_patch(pass->plan, &identity, pass->pod, pass->take_pod, ACTION_NONE);
}

/* ---- the Service ---- */

static bool wants_service(const struct pass *pass, bool owned)
{
        switch (pass->sandbox->blueprint.service) {
        case TRISTATE_TRUE:
                return true;
        case TRISTATE_FALSE:
                return false;
        case TRISTATE_UNSET:
                break;
        }
        /* The first generation always had one; later an owned one is kept but none is made. */
        return owned || pass->sandbox->generation == GENERATION_V1ALPHA1;
}

static bool plan_service(struct pass *pass)
{
        const struct object_meta *meta = &pass->entry->meta;
        const struct cache_entry *service =
                cache_get(pass->seen->cache, &kind_service, meta->namespace, meta->name);
        bool owned = service && controlled_by_uid(service, meta->uid);
        bool wanted = wants_service(pass, owned);
        struct owner_reference owner;

        if (!wanted) {
                if (owned && !object_meta_is_deleting(&service->meta))
                        plan_delete(pass->plan, &kind_service, &service->meta, EXPECT_UID,
                                    PROPAGATION_DEFAULT, -1, ACTION_NONE);
                return false;
        }
        if (!service) {
                service_create(pass->plan, meta->namespace, meta->name, meta, ACTION_NONE,
                               pass->sandbox->blueprint.pod_spec, ACTION_NONE);
        } else if (owned) {
                if (!object_meta_is_deleting(&service->meta)) {
                        pass->service = service;
                        service_patch(pass->plan, service, meta, pass->sandbox->blueprint.pod_spec,
                                      false);
                }
        } else if (!object_meta_controller(&service->meta, &owner) &&
                   may_adopt(&service->meta, meta->name)) {
                service_patch(pass->plan, service, meta, pass->sandbox->blueprint.pod_spec, true);
        } else {
                add_error(pass, "Service %.*s exists and is not of this Sandbox",
                          STR_FORMAT(meta->name));
        }
        return true;
}

/* ---- status ---- */

static bool same_condition(const struct condition_list *list, struct str type)
{
        const struct condition *wanted = conditions_get(list, type);
        struct condition present;
        bool is_present = condition_find(list->present, type, &present);

        if (!wanted || !is_present)
                return !wanted && !is_present;
        return str_equal(wanted->status, present.status) &&
               str_equal(wanted->reason, present.reason) &&
               wanted->observed_generation == present.observed_generation;
}

/* A pool's member before it is Ready: there is nobody but the pool to wait for it. */
static bool is_coming(const struct pass *pass, const struct condition_list *list)
{
        const struct condition *wanted = conditions_get(list, STR("Ready"));
        struct owner_reference owner;
        struct condition present;

        return controlled_by_kind(&pass->entry->meta, &kind_sandbox_warm_pool, &owner) &&
               str_equal(wanted->reason, STR("DependenciesNotReady")) &&
               (!condition_find(list->present, wanted->type, &present) ||
                !str_equal(present.status, STR("True")));
}

/* Whether the difference is only progress, which may be told a little later. */
static bool may_wait(const struct pass *pass, const struct sandbox_status *status,
                     const struct condition_list *list, uint64_t *ret_until_ns)
{
        if (is_coming(pass, list))
                return is_held_back(pass->seen, pass->entry->meta.creation_ns, ret_until_ns);
        return pass->pod && same_condition(list, STR("Ready")) &&
               same_condition(list, STR("Suspended")) && same_condition(list, STR("Finished")) &&
               sandbox_status_ips_are(status, pass->sandbox->status) &&
               is_held_back(pass->seen, pass->pod->meta.creation_ns, ret_until_ns);
}

static void patch_status(struct pass *pass, const struct sandbox_status *status,
                         const struct condition_list *list)
{
        /* After a patch of ours the version is the one that it made. */
        bool patched = pass->annotated != ACTION_NONE;
        struct json_writer *writer = plan_patch_body(pass->plan, &pass->entry->meta,
                                                     patched ? EXPECT_UID : EXPECT_VERSION);

        if (patched) {
                json_key(writer, STR("resourceVersion"));
                plan_write_result(pass->plan, pass->annotated, ACTION_FIELD_RESOURCE_VERSION);
        }
        json_end_object(writer);
        json_key(writer, STR("status"));
        sandbox_status_write(status, list, writer);
        plan_patch_status(pass->plan, &kind_sandbox, &pass->entry->meta,
                          json_root(pass->entry->doc), pass->annotated);
}

static void plan_status(struct pass *pass, bool service_required)
{
        const struct object_meta *meta = &pass->entry->meta;
        const struct sandbox *sandbox = pass->sandbox;
        struct condition ready;
        struct sandbox_status status = {
                .name = meta->name,
                .namespace = meta->namespace,
                .suspended = sandbox->suspended,
                .pod = pass->take_pod || pass->multiple_pods ? NULL : pass->pod,
                .pod_leaves = pass->pod_leaves,
                .multiple_pods = pass->multiple_pods,
                .service_required = service_required,
                .service_exists = pass->service != NULL,
                .error = buffer_str(&pass->error),
                .fqdn = arena_printf(pass->plan->arena, "%.*s.%.*s.svc.%.*s",
                                     STR_FORMAT(meta->name), STR_FORMAT(meta->namespace),
                                     STR_FORMAT(pass->context->options.cluster_domain)),
        };
        struct condition_list list;
        uint64_t until_ns;

        if (sandbox->suspended) {
                if (pass->foreign)
                        status.suspension = SUSPEND_NOT_OWNED;
                else
                        status.suspension = status.pod ? SUSPEND_TERMINATING : SUSPEND_TERMINATED;
        }
        conditions_init(&list, sandbox->conditions, meta->generation, pass->seen->now.realtime_ns);
        sandbox_status_conditions(&status, &list);
        if (pass->multiple_pods && (!condition_find(sandbox->conditions, STR("Ready"), &ready) ||
                                    !str_equal(ready.reason, STR("MultiplePods"))))
                plan_event(pass->plan, &kind_sandbox, meta, "Warning", "MultiplePods",
                           pass->seen->now.realtime_ns, ACTION_NONE,
                           "More than one Pod is owned by this Sandbox; none was deleted");
        if (conditions_are_present(&list) && sandbox_status_is_present(&status, sandbox->status))
                return;
        if (may_wait(pass, &status, &list, &until_ns)) {
                plan_come_back(pass->plan, until_ns);
                return;
        }
        patch_status(pass, &status, &list);
}

/* ---- the end of life ---- */

static bool is_marked_expired(const struct sandbox *sandbox)
{
        struct condition ready;

        return condition_find(sandbox->conditions, STR("Ready"), &ready) &&
               str_equal(ready.reason, STR("SandboxExpired"));
}

static void write_expired_status(struct pass *pass, bool keep_fields)
{
        struct condition_list list;
        struct json_writer *writer;

        conditions_init(&list, pass->sandbox->conditions, pass->entry->meta.generation,
                        pass->seen->now.realtime_ns);
        conditions_set(&list, STR("Ready"), STR("False"), STR("SandboxExpired"),
                       STR("The Sandbox's shutdownTime has passed"));
        conditions_keep(&list, STR("Suspended"));
        conditions_keep(&list, STR("Finished"));
        if (keep_fields ? conditions_are_present(&list)
                        : conditions_are_present(&list) && json_count(pass->sandbox->status) == 1)
                return;
        writer = plan_patch_body(pass->plan, &pass->entry->meta, EXPECT_VERSION);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_key(writer, STR("conditions"));
        conditions_put(&list, writer);
        json_for_each (it, pass->sandbox->status) {
                if (keep_fields || str_equal(it.key, STR("conditions")))
                        continue;
                json_key(writer, it.key);
                json_write_null(writer);
        }
        json_end_object(writer);
        plan_patch_status(pass->plan, &kind_sandbox, &pass->entry->meta,
                          json_root(pass->entry->doc), ACTION_NONE);
}

static void plan_expired(struct pass *pass)
{
        const struct object_meta *meta = &pass->entry->meta;
        const struct cache_entry *service;

        /* First said, then done: whoever watches learns why the Pod goes. */
        if (!is_marked_expired(pass->sandbox)) {
                write_expired_status(pass, true);
                return;
        }
        if (pass->sandbox->shutdown_deletes) {
                plan_delete(pass->plan, &kind_sandbox, meta, EXPECT_VERSION, PROPAGATION_BACKGROUND,
                            -1, ACTION_NONE);
                return;
        }
        cache_for_each_owned(it, pass->seen->cache, &kind_pod, meta->uid)
        {
                if (controlled_by_uid(it.entry, meta->uid) &&
                    str_equal(it.entry->meta.namespace, meta->namespace) &&
                    !object_meta_is_deleting(&it.entry->meta))
                        plan_delete(pass->plan, &kind_pod, &it.entry->meta, EXPECT_UID,
                                    PROPAGATION_DEFAULT, -1, ACTION_NONE);
        }
        service = cache_get(pass->seen->cache, &kind_service, meta->namespace, meta->name);
        if (service && controlled_by_uid(service, meta->uid) &&
            !object_meta_is_deleting(&service->meta))
                plan_delete(pass->plan, &kind_service, &service->meta, EXPECT_UID,
                            PROPAGATION_DEFAULT, -1, ACTION_NONE);
        write_expired_status(pass, false);
}

/* ---- the whole ---- */

static void plan_living(struct pass *pass)
{
        bool service_required;

        if (!name_is_dns_label(pass->entry->meta.name)) {
                add_error(pass, "A Sandbox's name must be a DNS label of at most 63 characters: "
                                "its Pod and Service carry it");
                plan_status(pass, false);
                return;
        }
        find_pod(pass);
        /* A leader that has just begun may see a Sandbox before the Pod that it names: another Pod
         * would be one too many. */
        if (pass->pod_unknown) {
                plan_come_back(pass->plan, pass->seen->now.realtime_ns + LOOK_AGAIN_NS);
                return;
        }
        plan_annotations(pass);
        plan_volume_claims(pass);
        plan_pod(pass);
        service_required = plan_service(pass);
        if (pass->seen->refusal.length)
                add_error(pass, "%.*s", STR_FORMAT(pass->seen->refusal));
        plan_status(pass, service_required);
}

void sandbox_plan(const struct view *seen, struct plan *plan)
{
        struct pass pass = {
                .seen = seen,
                .plan = plan,
                .context = seen->context,
                .annotated = ACTION_NONE,
                .entry = cache_get(seen->cache, &kind_sandbox, seen->namespace, seen->name),
        };

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta))
                return;
        pass.sandbox = pass.entry->typed;
        if (pass.sandbox->shutdown_ns && seen->now.realtime_ns >= pass.sandbox->shutdown_ns) {
                plan_expired(&pass);
                return;
        }
        if (pass.sandbox->shutdown_ns)
                plan_come_back(plan, pass.sandbox->shutdown_ns);
        plan_living(&pass);
        buffer_deinit(&pass.error);
}

/* ---- which changes matter ---- */

static void enqueue_owner(struct controllers *set, const struct controller *controller,
                          const struct cache_entry *entry)
{
        struct owner_reference owner;

        if (entry && controlled_by_kind(&entry->meta, &kind_sandbox, &owner))
                controllers_enqueue(set, controller, entry->meta.namespace, owner.name);
}

static bool is_of_namesake(const struct cache_entry *entry)
{
        struct owner_reference owner;

        return controlled_by_kind(&entry->meta, &kind_sandbox, &owner) &&
               str_equal(owner.name, entry->meta.name);
}

void sandbox_map(struct controllers *set, const struct controller *controller,
                 const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;
        const struct sandbox_context *context = controller->context;
        struct cache *cache = controllers_cache(set);

        if (entry->kind == &kind_sandbox) {
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
                return;
        }
        enqueue_owner(set, controller, before);
        enqueue_owner(set, controller, after);
        /* The coming or going of a namesake that is another's. */
        if (before && after)
                return;
        if (!is_of_namesake(entry) &&
            cache_get(cache, &kind_sandbox, entry->meta.namespace, entry->meta.name))
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        if (entry->kind != &kind_pod)
                return;
        cache_for_each_in(it, cache, context->index_pod_name, &kind_sandbox, entry->meta.namespace,
                          entry->meta.name)
                controllers_enqueue(set, controller, it.entry->meta.namespace, it.entry->meta.name);
}
