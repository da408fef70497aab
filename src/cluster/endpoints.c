// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/internal.h"
#include "kinds/names.h"
#include "kube/selector.h"

/*
 * One EndpointSlice a Service that selects: the Pods with an address, in the order of their names,
 * so that the same Pods give the same slice. At most 1000, as Kubernetes has it in one slice.
 */

enum { ENDPOINTS_MAX = 1000, PORTS_MAX = 100 };

struct endpoints {
        const struct view *seen;
        struct plan *plan;
        const struct cluster_context *context;
        const struct cache_entry *entry; /* the Service */
        const struct service *service;
        const struct cache_entry **pods;
        size_t count;
};

static int compare_names(const void *a, const void *b)
{
        const struct cache_entry *const *x = a, *const *y = b;

        return str_compare((*x)->meta.name, (*y)->meta.name);
}

static bool is_endpoint(const struct cache_entry *entry, const struct label_selector *selector)
{
        const struct pod *pod = entry->typed;

        return pod->ip.length && !pod_is_finished(pod) &&
               label_selector_matches(selector, entry->meta.labels);
}

/* Pods of the Service; of a sandbox's Service only those with its name hash are looked at. */
static int find_pods(struct endpoints *pass)
{
        const struct cache *cache = pass->seen->cache;
        struct str hash = json_string(json_member(pass->service->selector, LABEL_NAME_HASH));
        struct label_selector selector;
        size_t most;
        int r = label_selector_read_map(pass->service->selector, pass->plan->arena, &selector);

        if (r < 0)
                return r;
        most = hash.length ? cache_index_count(cache, pass->context->index_name_hash,
                                               pass->seen->namespace, hash)
                           : cache_count(cache, &kind_pod);
        pass->pods = arena_new(pass->plan->arena, const struct cache_entry *, most);
        if (!pass->pods)
                return -ENOMEM;
        struct cache_iterator it =
                hash.length ? cache_iterate_index(cache, pass->context->index_name_hash, &kind_pod,
                                                  pass->seen->namespace, hash)
                            : cache_iterate(cache, &kind_pod, pass->seen->namespace);
        while (cache_next(&it)) {
                if (is_endpoint(it.entry, &selector))
                        pass->pods[pass->count++] = it.entry;
        }
        qsort(pass->pods, pass->count, sizeof(struct cache_entry *), compare_names);
        pass->count = MIN(pass->count, (size_t)ENDPOINTS_MAX);
        return 0;
}

static void write_endpoint(struct json_writer *writer, const struct cache_entry *entry,
                           bool publish_not_ready)
{
        const struct pod *pod = entry->typed;
        bool leaving = object_meta_is_deleting(&entry->meta);

        json_begin_object(writer);
        json_field_array(writer, "addresses");
        json_write_string(writer, pod->ip);
        json_end_array(writer);
        json_field_object(writer, "conditions");
        json_field_bool(writer, "ready", publish_not_ready || (pod->ready && !leaving));
        json_field_bool(writer, "serving", pod->ready);
        json_field_bool(writer, "terminating", leaving);
        json_end_object(writer);
        json_field_string(writer, "nodeName", pod->node_name);
        json_field_object(writer, "targetRef");
        json_field_string(writer, "kind", STR("Pod"));
        json_field_string(writer, "name", entry->meta.name);
        json_field_string(writer, "namespace", entry->meta.namespace);
        json_field_string(writer, "uid", entry->meta.uid);
        json_end_object(writer);
        json_end_object(writer);
}

/* A port by name is the one of the first Pod that has it. */
static int64_t target_port(const struct endpoints *pass, struct json_value port)
{
        struct json_value target = json_get(port, "targetPort");
        struct str name = json_string(target);
        int64_t number = json_int64_or(json_get(port, "port"), 0);

        if (name.length == 0)
                return json_int64_or(target, number);
        for (size_t i = 0; i < pass->count; i++) {
                const struct pod *pod = pass->pods[i]->typed;

                json_for_each (container, json_get(pod->spec, "containers")) {
                        json_for_each (it, json_get(container.value, "ports")) {
                                if (json_string_is(json_get(it.value, "name"), name))
                                        return json_int64_or(json_get(it.value, "containerPort"),
                                                             0);
                        }
                }
        }
        return 0;
}

static void write_ports(const struct endpoints *pass, struct json_writer *writer)
{
        size_t count = 0;

        json_field_array(writer, "ports");
        json_for_each (it, pass->service->ports) {
                int64_t number = target_port(pass, it.value);

                if (number <= 0 || ++count > PORTS_MAX)
                        continue;
                json_begin_object(writer);
                json_field_string(writer, "name", json_string(json_get(it.value, "name")));
                json_field_int(writer, "port", number);
                json_field_string(writer, "protocol",
                                  json_string_or(json_get(it.value, "protocol"), STR("TCP")));
                json_end_object(writer);
        }
        json_end_array(writer);
}

static void write_contents(const struct endpoints *pass, struct json_writer *writer)
{
        json_field_array(writer, "endpoints");
        for (size_t i = 0; i < pass->count; i++)
                write_endpoint(writer, pass->pods[i], pass->service->publish_not_ready);
        json_end_array(writer);
        write_ports(pass, writer);
}

static void create_slice(const struct endpoints *pass, struct str name)
{
        struct json_writer *writer = plan_body(pass->plan);

        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("discovery.k8s.io/v1"));
        json_field_string(writer, "kind", STR("EndpointSlice"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", pass->seen->namespace);
        json_field_object(writer, "labels");
        json_field_string(writer, "kubernetes.io/service-name", pass->seen->name);
        json_field_string(writer, "endpointslice.kubernetes.io/managed-by",
                          STR("endpointslice-controller.k8s.io"));
        json_end_object(writer);
        write_owner_reference(writer, &kind_service, &pass->entry->meta);
        json_end_object(writer);
        json_field_string(writer, "addressType", STR("IPv4"));
        write_contents(pass, writer);
        json_end_object(writer);
        plan_create(pass->plan, &kind_endpoint_slice, pass->seen->namespace, name, ACTION_NONE);
}

void endpoints_plan(const struct view *seen, struct plan *plan)
{
        struct endpoints pass = {
                .seen = seen,
                .plan = plan,
                .context = seen->context,
                .entry = cache_get(seen->cache, &kind_service, seen->namespace, seen->name),
        };
        const struct cache_entry *slice;
        struct json_writer *writer;
        struct str name;
        char hash[NAME_HASH_SIZE];
        int r;

        if (!pass.entry || object_meta_is_deleting(&pass.entry->meta))
                return;
        pass.service = pass.entry->typed;
        if (json_count(pass.service->selector) == 0)
                return;
        r = find_pods(&pass);
        name = arena_printf(plan->arena, "%.*s-%.5s", STR_FORMAT(seen->name),
                            name_hash(pass.entry->meta.uid, hash).data);
        if (r < 0 || !name.data) {
                plan_fail(plan, r < 0 ? r : -ENOMEM);
                return;
        }
        slice = cache_get(seen->cache, &kind_endpoint_slice, seen->namespace, name);
        if (!slice) {
                create_slice(&pass, name);
                return;
        }
        /* The executor drops it when nothing changes. */
        writer = plan_patch_body(plan, &slice->meta, EXPECT_UID);
        json_end_object(writer);
        write_contents(&pass, writer);
        plan_patch(plan, &kind_endpoint_slice, &slice->meta, json_root(slice->doc), ACTION_NONE);
}

/* ---- which changes matter ---- */

static void enqueue_services(struct controllers *set, const struct controller *controller,
                             struct str namespace, struct str hash)
{
        const struct cluster_context *context = controller->context;

        cache_for_each_in(it, controllers_cache(set), context->index_service, &kind_service,
                          namespace, hash)
                controllers_enqueue(set, controller, namespace, it.entry->meta.name);
}

static void enqueue_of_pod(struct controllers *set, const struct controller *controller,
                           const struct cache_entry *pod)
{
        struct str hash = object_meta_label(&pod->meta, LABEL_NAME_HASH);

        if (hash.length)
                enqueue_services(set, controller, pod->meta.namespace, hash);
        /* Services that do not select by the name hash may select anything. */
        enqueue_services(set, controller, pod->meta.namespace, STR_EMPTY);
}

void endpoints_map(struct controllers *set, const struct controller *controller,
                   const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cache_entry *entry = after ? after : before;

        if (entry->kind == &kind_service) {
                controllers_enqueue(set, controller, entry->meta.namespace, entry->meta.name);
        } else if (entry->kind == &kind_endpoint_slice) {
                struct str service =
                        object_meta_label(&entry->meta, STR("kubernetes.io/service-name"));

                if (service.length)
                        controllers_enqueue(set, controller, entry->meta.namespace, service);
        } else {
                if (before)
                        enqueue_of_pod(set, controller, before);
                if (after)
                        enqueue_of_pod(set, controller, after);
        }
}
