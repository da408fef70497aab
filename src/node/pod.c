// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/internal.h"

enum { RETRY_MS = 1000 };

#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

const struct pod_spec *pod_spec_of(const struct node_pod *pod)
{
        return &pod->document->spec;
}

struct pod_facts pod_facts_of(const struct node_pod *pod, char address[static ADDRESS_TEXT_SIZE])
{
        const struct node *node = pod->node;
        const struct node_config *config = node->config;

        address_format(pod->address, address);
        return (struct pod_facts){
                .pod_ip = pod->address ? str_from(address) : STR_EMPTY,
                .host_ip = str_from(config->host_address),
                .node_name = str_from(config->name),
                .allocatable = node->allocatable,
                .api_host = str_from(config->api_host),
                .api_port = str_from(config->api_port),
        };
}

/* ---- documents ---- */

static void document_free(struct pod_document *document)
{
        if (!document)
                return;
        json_doc_unref(document->doc);
        arena_deinit(&document->arena);
        free(document);
}
DEFINE_POINTER_CLEANUP(document_freep, struct pod_document, document_free)

static struct pod_document *document_read(struct json_doc *doc)
{
        struct pod_document *document = calloc(1, sizeof(*document));

        if (!document)
                return NULL;
        document->doc = json_doc_ref(doc);
        document->result =
                pod_spec_read(json_root(doc), &document->arena, &document->error, &document->spec);
        return document;
}

/* ---- events and actions ---- */

static void create_sandbox(struct node_pod *pod);
static void destroy_sandbox(struct node_pod *pod);
static void release(struct node_pod *pod);

static void carry_out(struct node_pod *pod, const struct pod_action *action)
{
        struct node_container *container = pod->containers[action->container];

        switch (action->type) {
        case POD_ACTION_PREPARE:
                material_prepare(pod);
                break;
        case POD_ACTION_CREATE_SANDBOX:
                create_sandbox(pod);
                break;
        case POD_ACTION_START:
                container_start(pod, action->container, action->attempt);
                break;
        case POD_ACTION_STOP:
                container_stop(pod, action->container);
                break;
        case POD_ACTION_KILL:
                container_kill(pod, action->container);
                break;
        case POD_ACTION_DESTROY_SANDBOX:
                destroy_sandbox(pod);
                break;
        case POD_ACTION_START_PROBE:
                if (container && container->attempt == action->attempt)
                        probe_start(container, action->role);
                break;
        case POD_ACTION_STOP_PROBE:
                if (container && container->attempt == action->attempt)
                        probe_stop(container, action->role);
                break;
        case POD_ACTION_RUN_HOOK:
                if (container && container->attempt == action->attempt)
                        hook_start(container, action->hook);
                break;
        case POD_ACTION_STOP_HOOK:
                if (container && container->attempt == action->attempt)
                        hook_stop(container);
                break;
        case POD_ACTION_PUBLISH:
                report_publish(pod);
                break;
        case POD_ACTION_DELETE:
                report_delete(pod);
                break;
        case POD_ACTION_EVENT:
                report_event(pod, action);
                break;
        case POD_ACTION_RELEASE:
                release(pod);
                break;
        }
}

static void timer_expired(struct net_timer *timer)
{
        const struct pod_event event = { .type = POD_EVENT_TIMER };

        pod_tell(container_of(timer, struct node_pod, timer), &event);
}

static void set_timer(struct node_pod *pod)
{
        uint64_t now = clock_monotonic_ns(), deadline = pod->worker.deadline;

        net_timer_stop(&pod->timer);
        if (deadline == 0 || pod->worker.is_released)
                return;
        uint64_t delay = deadline > now ? (deadline - now + NS_PER_MS - 1) / NS_PER_MS : 0;
        net_timer_start(pod->node->loop, &pod->timer, delay, timer_expired);
}

static void handle_queue(struct node *node)
{
        node->is_handling = true;
        while (node->queue_count > 0) {
                struct node_queued *queued = &node->queue[node->queue_first];
                struct node_pod *pod = queued->pod;
                struct pod_event event = queued->event;
                if (pod) {
                        node->actions.count = 0;
                        pod_worker_handle(&pod->worker, &event, node_now(), &node->actions);
                }
                node->queue_first = (node->queue_first + 1) % NODE_QUEUE_MAX;
                node->queue_count--;
                for (size_t i = 0; pod && i < node->actions.count; i++)
                        carry_out(pod, &node->actions.items[i]);
                if (pod) {
                        set_timer(pod);
                        network_pod_changed(pod);
                }
        }
        node->is_handling = false;
}

void pod_tell(struct node_pod *pod, const struct pod_event *event)
{
        struct node *node = pod->node;

        assert(node->queue_count < NODE_QUEUE_MAX);
        size_t place = (node->queue_first + node->queue_count++) % NODE_QUEUE_MAX;
        struct node_queued *queued = &node->queue[place];
        queued->pod = pod;
        queued->event = *event;
        if (event->reason) {
                snprintf(queued->reason, sizeof(queued->reason), "%s", event->reason);
                queued->event.reason = queued->reason;
        }
        if (event->message) {
                snprintf(queued->message, sizeof(queued->message), "%s", event->message);
                queued->event.message = queued->message;
        }
        if (event->id) {
                snprintf(queued->id, sizeof(queued->id), "%s", event->id);
                queued->event.id = queued->id;
        }
        if (!node->is_handling)
                handle_queue(node);
}

/* ---- the sandbox ---- */

static void tell_simple(struct node_pod *pod, enum pod_event_type type, const char *message)
{
        const struct pod_event event = { .type = type,
                                         .address = pod->address,
                                         .message = message };

        pod_tell(pod, &event);
}

static void drop_address(struct node_pod *pod)
{
        network_pod_gone(pod);
        address_pool_release(&pod->node->addresses, pod->address);
        pod->address = 0;
}

static void sandbox_answered(struct node *node, const struct node_call *call, int result,
                             const char *reason)
{
        struct node_pod *pod = call->pod;

        (void)node;
        if (!pod)
                return;
        if (result >= 0) {
                tell_simple(pod, POD_EVENT_SANDBOX_CREATED, NULL);
                return;
        }
        /* A launcher died, and may have made it before. */
        if (result == -ECONNRESET || result == -EEXIST) {
                tell_simple(pod, POD_EVENT_SANDBOX_INTERRUPTED, NULL);
                return;
        }
        drop_address(pod);
        tell_simple(pod, POD_EVENT_SANDBOX_FAILED, reason);
}

static void fill_hostname(const struct pod_spec *spec, char hostname[static RUNTIME_HOSTNAME])
{
        struct str name = spec->hostname.length > 0 ? spec->hostname : spec->name;
        size_t length = MIN(name.length, (size_t)RUNTIME_HOSTNAME - 1);

        while (length > 0 && (name.data[length - 1] == '-' || name.data[length - 1] == '.'))
                length--;
        snprintf(hostname, RUNTIME_HOSTNAME, "%.*s", (int)length, name.data);
}

static void create_sandbox(struct node_pod *pod)
{
        struct node *node = pod->node;
        struct sandbox_spec spec = {};
        uint64_t call;
        int r = 0;

        if (pod->address == 0)
                r = address_pool_take(&node->addresses, &pod->address);
        if (r < 0) {
                tell_simple(pod, POD_EVENT_SANDBOX_FAILED, "no address is left for the Pod");
                return;
        }
        memcpy(spec.id, pod->uid, sizeof(spec.id));
        spec.address = pod->address;
        fill_hostname(pod_spec_of(pod), spec.hostname);
        r = network_admit(pod);
        if (r >= 0)
                r = runtime_sandbox_create(node->runtime, &spec, &call);
        if (r >= 0)
                r = node_expect(node, call,
                                &(struct node_call){ .answered = sandbox_answered, .pod = pod });
        if (r < 0) {
                drop_address(pod);
                tell_simple(pod, POD_EVENT_SANDBOX_FAILED, strerror(-r));
        }
}

static void destroy_again(struct net_timer *timer)
{
        destroy_sandbox(container_of(timer, struct node_pod, destroy_timer));
}

static void destroy_answered(struct node *node, const struct node_call *call, int result,
                             const char *reason)
{
        struct node_pod *pod = call->pod;

        if (!pod)
                return;
        if (result == -ECONNRESET) {
                destroy_sandbox(pod);
                return;
        }
        if (result < 0 && result != -ENOENT) {
                log_warning("cannot destroy the sandbox of Pod %s: %s", pod->uid, reason);
                net_timer_start(node->loop, &pod->destroy_timer, RETRY_MS, destroy_again);
                return;
        }
        drop_address(pod);
        tell_simple(pod, POD_EVENT_SANDBOX_DESTROYED, NULL);
}

static void destroy_sandbox(struct node_pod *pod)
{
        uint64_t call;

        int r = runtime_destroy(pod->node->runtime, pod->uid, &call);
        if (r >= 0)
                r = node_expect(pod->node, call,
                                &(struct node_call){ .answered = destroy_answered, .pod = pod });
        if (r < 0)
                net_timer_start(pod->node->loop, &pod->destroy_timer, RETRY_MS, destroy_again);
}

/* ---- the end of a Pod ---- */

static void forget_calls(struct node_pod *pod)
{
        struct node_call *call, *next;

        HASH_ITER (hh, pod->node->calls, call, next)
                if (call->pod == pod)
                        call->pod = NULL;
        for (size_t i = 0; i < NODE_QUEUE_MAX; i++)
                if (pod->node->queue[i].pod == pod)
                        pod->node->queue[i].pod = NULL;
}

void pod_free(struct node_pod *pod)
{
        forget_calls(pod);
        list_remove(&pod->in_released);
        net_timer_stop(&pod->timer);
        net_timer_stop(&pod->destroy_timer);
        eviction_end(pod);
        net_task_cancel(&pod->freeing);
        report_pod_released(pod);
        material_free(pod->material);
        for (size_t i = 0; i < LIMIT_CONTAINERS; i++)
                container_free(pod->containers[i]);
        kubelet_pod_gone(pod->node->kubelet, pod);
        pod_worker_deinit(&pod->worker);
        document_free(pod->document);
        free(pod);
}

static void free_later(struct net_task *task)
{
        struct node_pod *pod = container_of(task, struct node_pod, freeing);
        struct node *node = pod->node;

        files_purge(node, pod->uid);
        drop_address(pod);
        pod_free(pod);
        claims_collect(node->claims);
}

static void forget_logs(struct node_pod *pod)
{
        for (size_t i = 0; i < pod->worker.container_count; i++) {
                uint32_t attempt = pod->worker.containers[i].attempt;
                for (uint32_t j = attempt > 1 ? attempt - 1 : 1; j <= attempt; j++) {
                        struct container_key key;
                        container_key(pod, i, j, &key);
                        runtime_forget(pod->node->runtime, &key);
                }
        }
}

/* Not freed at once: this may come from inside a callback of what belongs to it. */
static void release(struct node_pod *pod)
{
        HASH_DELETE(hh, pod->node->pods, pod);
        list_append(&pod->node->released, &pod->in_released);
        net_timer_stop(&pod->timer);
        eviction_end(pod);
        forget_logs(pod);
        net_loop_defer(pod->node->loop, &pod->freeing);
}

/* ---- objects ---- */

static struct node_pod *find_pod(struct node *node, struct str uid)
{
        struct node_pod *pod;

        HASH_FIND(hh, node->pods, uid.data, (unsigned)uid.length, pod);
        return pod;
}

struct node_pod *pod_find(struct node *node, struct str namespace, struct str name)
{
        struct node_pod *pod, *next;

        HASH_ITER (hh, node->pods, pod, next)
                if (!pod->worker.is_removed && str_equal(str_from(pod->name), name) &&
                    str_equal(str_from(pod->namespace), namespace))
                        return pod;
        return NULL;
}

static struct node_found *find_found(struct node *node, const char *uid)
{
        struct node_found *found;

        HASH_FIND_STR(node->found, uid, found);
        return found;
}

/* Ids name folders and sandboxes: a uid of another form is no uid. */
static bool is_uid(struct str uid)
{
        if (uid.length == 0 || uid.length >= RUNTIME_ID)
                return false;
        for (size_t i = 0; i < uid.length; i++) {
                char c = uid.data[i];
                if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
                    c != '-')
                        return false;
        }
        return true;
}

struct object_name {
        struct str namespace, name, uid;
};

static struct object_name name_of(const struct json_doc *doc)
{
        struct json_value metadata = json_get(json_root(doc), "metadata");

        return (struct object_name){ .namespace = json_string(json_get(metadata, "namespace")),
                                     .name = json_string(json_get(metadata, "name")),
                                     .uid = json_string(json_get(metadata, "uid")) };
}

static struct node_pod *pod_new(struct node *node, const struct object_name *meta)
{
        struct node_pod *pod = calloc(1, sizeof(*pod));

        if (!pod)
                return NULL;
        pod->node = node;
        list_init(&pod->in_released);
        pod->freeing.run = free_later;
        snprintf(pod->uid, sizeof(pod->uid), "%.*s", STR_FORMAT(meta->uid));
        snprintf(pod->namespace, sizeof(pod->namespace), "%.*s", STR_FORMAT(meta->namespace));
        snprintf(pod->name, sizeof(pod->name), "%.*s", STR_FORMAT(meta->name));
        pod_worker_init(&pod->worker, node->host_address);
        HASH_ADD_STR(node->pods, uid, pod);
        return pod;
}

static void restore_containers(struct node_pod *pod, const struct node_found *found)
{
        for (size_t i = 0; i < found->count; i++) {
                uint32_t index = found->containers[i].index;
                uint32_t attempt = found->containers[i].attempt;
                if (index >= pod->worker.container_count)
                        continue;
                if (container_adopt(pod, index, attempt) >= 0 && found->containers[i].has_exited)
                        container_exited(pod, index, attempt, &found->containers[i].exit);
        }
}

/* Takes up what an earlier process of the node did for this Pod. */
static void restore(struct node_pod *pod)
{
        struct node *node = pod->node;
        struct node_found *found = find_found(node, pod->uid);

        pod_worker_restore(&pod->worker, pod_spec_of(pod), node_now());
        if (found) {
                pod->address = found->address;
                tell_simple(pod, POD_EVENT_SANDBOX_CREATED, NULL);
                restore_containers(pod, found);
                HASH_DELETE(hh, node->found, found);
                free(found);
        }
        tell_simple(pod, POD_EVENT_RESTORED, NULL);
}

static void refuse(struct node_pod *pod, const struct pod_document *document)
{
        const struct pod_event event = { .type = POD_EVENT_REFUSED,
                                         .reason = document->result == -EOPNOTSUPP ? "Unsupported"
                                                                                   : "InvalidSpec",
                                         .message = document->error.code
                                                            ? document->error.message
                                                            : strerror(-document->result) };

        log_info("refuses Pod %s/%s: %s", pod->namespace, pod->name, event.message);
        pod_tell(pod, &event);
}

/* A Pod whose object says now what the node cannot read keeps running as it is. */
static bool fits(const struct node_pod *pod, const struct pod_document *document)
{
        return document->spec.container_count == pod->worker.container_count;
}

static void update(struct node_pod *pod, struct pod_document *document)
{
        struct pod_document *old = pod->document;

        if (pod->awaits_network) {
                pod->document = document;
                document_free(old);
                return;
        }
        if (!fits(pod, document)) {
                old->spec.is_deleting |= document->spec.is_deleting;
                old->spec.deletion_grace_s = document->spec.deletion_grace_s;
                document_free(document);
                old = NULL;
        } else {
                pod->document = document;
                for (size_t i = 0; i < LIMIT_CONTAINERS; i++)
                        if (pod->containers[i]) {
                                probe_respec(pod->containers[i]);
                                hook_respec(pod->containers[i]);
                        }
        }
        const struct pod_event event = { .type = POD_EVENT_DESIRED, .spec = pod_spec_of(pod) };
        pod_tell(pod, &event);
        document_free(old);
}

static bool is_ours(const struct node *node, const struct object_name *meta,
                    const struct json_doc *doc)
{
        struct json_value root = json_root(doc);
        struct json_value mirror =
                json_member(json_get(root, "metadata", "annotations"), STR(MIRROR_ANNOTATION));

        return is_uid(meta->uid) && !json_exists(mirror) && meta->namespace.length <= LIMIT_LABEL &&
               meta->name.length <= LIMIT_NAME &&
               json_string_is(json_get(root, "spec", "nodeName"), str_from(node->config->name));
}

void pod_begin(struct node_pod *pod)
{
        if (pod->document->result < 0)
                refuse(pod, pod->document);
        if (json_exists(json_get(pod_spec_of(pod)->status, "startTime"))) {
                restore(pod);
                return;
        }
        const struct pod_event event = { .type = POD_EVENT_DESIRED, .spec = pod_spec_of(pod) };
        pod_tell(pod, &event);
}

void pod_object_changed(struct node *node, struct json_doc *doc)
{
        const struct object_name meta = name_of(doc);

        if (!is_ours(node, &meta, doc))
                return;
        _cleanup_(document_freep) struct pod_document *document = document_read(doc);
        if (!document) {
                log_error("out of memory: a change of Pod %.*s is lost", STR_FORMAT(meta.name));
                return;
        }
        struct node_pod *pod = find_pod(node, meta.uid);
        if (pod) {
                update(pod, TAKE_POINTER(document));
                return;
        }
        pod = pod_new(node, &meta);
        if (!pod)
                return;
        pod->document = TAKE_POINTER(document);
        /* What runs already is part of what is to be known before anything new begins. */
        pod->awaits_network = !network_is_in_force(node) && !find_found(node, pod->uid);
        if (!pod->awaits_network)
                pod_begin(pod);
}

static void object_gone(struct node_pod *pod)
{
        const struct pod_event event = { .type = POD_EVENT_REMOVED };

        if (pod->awaits_network)
                release(pod);
        else
                pod_tell(pod, &event);
}

void pod_object_deleted(struct node *node, struct str namespace, struct str name,
                        struct json_doc *doc)
{
        struct str uid = doc ? json_string(json_get(json_root(doc), "metadata", "uid")) : STR_EMPTY;
        struct node_pod *pod, *next;

        if (doc) {
                pod = find_pod(node, uid);
                if (pod)
                        object_gone(pod);
                return;
        }
        HASH_ITER (hh, node->pods, pod, next)
                if (str_equal(str_from(pod->name), name) &&
                    str_equal(str_from(pod->namespace), namespace))
                        object_gone(pod);
}
