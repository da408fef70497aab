// SPDX-License-Identifier: Apache-2.0
#include "node/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "client/reflector.h"
#include "client/resource.h"
#include "kinds/kind.h"
#include "kube/meta.h"
#include "node/dns_server.h"
#include "node/event.h"
#include "node/internal.h"
#include "node/policy_set.h"
#include "runtime/native.h"

enum { RETRY_MS = 1000, FEEDS = 3 };

#define DOMAIN STR("cluster.local")

/* One collection that is watched. */
struct feed {
        struct network *network;
        const struct kind *kind;
        void (*put)(struct network *network, struct json_doc *doc);
        void (*remove)(struct network *network, struct str name_space, struct str name);
        struct kube_reflector *reflector;
        bool is_settled;
};

struct network {
        struct node *node;
        struct dns_names *names;
        struct dns_server *server; /* NULL: Pods ask somebody else */
        struct policy_set *policies;
        struct policy_sink sink;
        int netfilter;
        struct feed feeds[FEEDS];
        void (*known)(struct node *node);
        struct net_task telling, applying;
        struct net_timer retry;
        bool pods_are_known;
        bool is_in_force; /* what an earlier process left is gone */
};

/* ---- rules ---- */

static int change_rules(void *user, const struct policy_rule *removed, size_t removed_count,
                        const struct policy_rule *added, size_t added_count)
{
        const struct network *network = user;

        return policy_change(network->netfilter, removed, removed_count, added, added_count);
}

static int replace_rules(void *user, const struct policy_rule *rules, size_t count)
{
        const struct network *network = user;

        return policy_replace(network->netfilter, rules, count);
}

static void try_again(struct net_timer *timer)
{
        struct network *network = container_of(timer, struct network, retry);

        network_pods_known(network->node);
}

/*
 * Until all Pods are known rules of an earlier process stay beside. When the kernel does not have
 * what we think it has, everything is put there anew.
 */
static int apply(struct network *network)
{
        if (!network->pods_are_known)
                return -EAGAIN;
        int r = network->is_in_force ? policy_set_apply(network->policies, &network->sink)
                                     : -ENOENT;
        if (r < 0)
                r = policy_set_apply_all(network->policies, &network->sink);
        network->is_in_force = r >= 0;
        if (r < 0) {
                log_error("cannot set the rules of the Pod network: %s", strerror(-r));
                net_timer_start(network->node->loop, &network->retry, RETRY_MS, try_again);
        }
        return r;
}

static void apply_task(struct net_task *task)
{
        struct network *network = container_of(task, struct network, applying);

        (void)apply(network);
}

/* What comes in one turn of the loop goes to the kernel as one change. */
static void apply_soon(struct network *network)
{
        if (policy_set_is_dirty(network->policies))
                net_loop_defer(network->node->loop, &network->applying);
}

static void note_failure(int r, const char *what, struct str name)
{
        if (r < 0)
                log_error("the network of %s %.*s: %s", what, STR_FORMAT(name), strerror(-r));
}

/* ---- Services, Namespaces, NetworkPolicies ---- */

static struct str name_of(const struct json_doc *doc)
{
        return json_string(json_get(json_root(doc), "metadata", "name"));
}

static void put_service(struct network *network, struct json_doc *doc)
{
        note_failure(dns_names_put_service(network->names, doc), "Service", name_of(doc));
}

static void remove_service(struct network *network, struct str name_space, struct str name)
{
        dns_names_remove_service(network->names, name_space, name);
}

static void put_namespace(struct network *network, struct json_doc *doc)
{
        note_failure(policy_set_put_namespace(network->policies, doc), "Namespace", name_of(doc));
        apply_soon(network);
}

static void remove_namespace(struct network *network, struct str name_space, struct str name)
{
        (void)name_space;
        policy_set_remove_namespace(network->policies, name);
        apply_soon(network);
}

static int write_event(const struct network *network, const struct object_meta *meta,
                       const char *reason, const char *message, struct buffer *out)
{
        char name[LIMIT_NAME + 1];

        snprintf(name, sizeof(name), "%.*s.%08x", (int)MIN(meta->name.length, (size_t)200),
                 meta->name.data, str_fnv1a(meta->uid) ^ str_fnv1a(str_from(reason)));
        const struct node_event event = {
                .name = str_from(name), /* the same in every process of the node: told once */
                .about = { STR("networking.k8s.io/v1"), STR("NetworkPolicy"), meta->namespace,
                           meta->name, meta->uid },
                .reason = str_from(reason),
                .message = str_from(message),
                .is_warning = true,
                .component = STR("cay-node"),
                .host = str_from(network->node->config->name),
                .at_ns = clock_realtime_ns(),
        };
        return node_event_append(&event, out);
}

static void event_sent(void *user, const struct kube_response *response)
{
        (void)user;
        if (!kube_response_ok(response) && response->status != 409)
                log_warning("an Event of a NetworkPolicy: %.*s", STR_FORMAT(response->message));
}

static void tell_of_policy(struct network *network, const struct json_doc *doc, const char *reason,
                           const char *message)
{
        _cleanup_buffer_ struct buffer body = {}, path = {};
        struct object_meta meta;

        object_meta_read(json_root(doc), &meta);
        log_info("NetworkPolicy %.*s/%.*s: %s", STR_FORMAT(meta.namespace), STR_FORMAT(meta.name),
                 message);
        int r = write_event(network, &meta, reason, message, &body);
        if (r >= 0)
                r = kube_path_append(&path, &kind_event, meta.namespace, STR_EMPTY, STR_EMPTY);
        if (r < 0)
                return;
        const struct kube_request request = { .method = STR("POST"),
                                              .path = buffer_str(&path),
                                              .body = buffer_str(&body) };
        (void)kube_client_request(network->node->client, &request, event_sent, NULL, NULL);
}

static void put_policy(struct network *network, struct json_doc *doc)
{
        struct error error = {};

        int r = policy_set_put_policy(network->policies, doc, &error);
        if (r == 1)
                tell_of_policy(network, doc, "NotEnforced",
                               "only the policies of SandboxTemplates are enforced here");
        else if (r == -EINVAL)
                tell_of_policy(network, doc, "NotUnderstood", error.message);
        else
                note_failure(r, "NetworkPolicy", name_of(doc));
        apply_soon(network);
}

static void remove_policy(struct network *network, struct str name_space, struct str name)
{
        policy_set_remove_policy(network->policies, name_space, name);
        apply_soon(network);
}

/* ---- watching ---- */

static void tell_known(struct net_task *task)
{
        struct network *network = container_of(task, struct network, telling);
        void (*known)(struct node *) = network->known;

        network->known = NULL;
        if (known)
                known(network->node);
}

static void settle(struct feed *feed)
{
        struct network *network = feed->network;

        feed->is_settled = true;
        for (size_t i = 0; i < FEEDS; i++)
                if (!network->feeds[i].is_settled)
                        return;
        if (network->known)
                net_loop_defer(network->node->loop, &network->telling);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct feed *feed = user;

        switch (event->type) {
        case KUBE_ADDED:
        case KUBE_MODIFIED:
                feed->put(feed->network, event->doc);
                break;
        case KUBE_DELETED:
                feed->remove(feed->network, event->name_space, event->name);
                break;
        case KUBE_LIST_END:
                settle(feed);
                break;
        case KUBE_LIST_BEGIN:
        case KUBE_BOOKMARK:
                break;
        }
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct feed *feed = user;

        if (state != KUBE_REFLECTOR_WAITING && state != KUBE_REFLECTOR_FORBIDDEN)
                return;
        log_warning("watching %.*s: %.*s", STR_FORMAT(feed->kind->plural), STR_FORMAT(message));
        /* Without a right to look nothing is opened that somebody must have asked for. */
        if (state == KUBE_REFLECTOR_FORBIDDEN)
                settle(feed);
}

int network_begin(struct node *node, void (*known)(struct node *node))
{
        struct network *network = node->network;
        int r = 0;

        if (!network) {
                known(node);
                return 0;
        }
        network->known = known;
        for (size_t i = 0; i < FEEDS && r >= 0; i++) {
                struct feed *feed = &network->feeds[i];
                const struct kube_reflector_options options = {
                        .client = node->client,
                        .kind = feed->kind,
                        .tell_vanished = true,
                        .handler = on_event,
                        .on_state = on_state,
                        .user = feed,
                };
                r = kube_reflector_new(&options, &feed->reflector);
        }
        return r;
}

/* ---- Pods ---- */

void network_pods_known(struct node *node)
{
        struct network *network = node->network;
        struct node_pod *pod, *next;

        if (!network)
                return;
        network->pods_are_known = true;
        if (apply(network) < 0)
                return;
        HASH_ITER (hh, node->pods, pod, next) {
                if (!pod->awaits_network)
                        continue;
                pod->awaits_network = false;
                pod_begin(pod);
        }
}

bool network_is_in_force(const struct node *node)
{
        return !node->network || node->network->is_in_force;
}

static bool is_ready(const struct node_pod *pod)
{
        const struct pod_condition_state *ready = &pod->worker.conditions[POD_CONDITION_READY];

        return ready->is_set && ready->is_true && !pod_spec_of(pod)->is_deleting;
}

void network_pod_changed(struct node_pod *pod)
{
        struct network *network = pod->node->network;

        if (!network || pod->worker.is_released)
                return;
        int r = dns_names_put_pod(network->names, pod->document->doc, pod->address, is_ready(pod));
        note_failure(r, "Pod", str_from(pod->name));
        r = policy_set_put_pod(network->policies, pod->document->doc, pod->address);
        note_failure(r, "Pod", str_from(pod->name));
        apply_soon(network);
}

int network_admit(struct node_pod *pod)
{
        struct network *network = pod->node->network;

        if (!network)
                return 0;
        network_pod_changed(pod);
        return apply(network);
}

void network_pod_gone(struct node_pod *pod)
{
        struct network *network = pod->node->network;
        struct str uid = str_from(pod->uid);

        if (!network)
                return;
        dns_names_remove_pod(network->names, uid);
        policy_set_remove_pod(network->policies, uid);
        /* At once: the next Pod may have the address. If it fails, that one is not admitted. */
        if (policy_set_is_dirty(network->policies))
                (void)apply(network);
}

/* ---- beginning and end ---- */

static int open_resolver(struct network *network)
{
        struct runtime *runtime = network->node->runtime;
        _cleanup_close_ int udp = -1, tcp = -1;

        int r = native_runtime_socket(runtime, NATIVE_SOCKET_DNS_UDP, &udp);
        if (r >= 0)
                r = native_runtime_socket(runtime, NATIVE_SOCKET_DNS_TCP, &tcp);
        if (r < 0)
                return r;
        const struct dns_server_options options = {
                .loop = network->node->loop, .names = network->names, .udp = udp, .tcp = tcp
        };
        r = dns_server_new(&options, &network->server);
        if (r < 0)
                return r;
        TAKE_FD(udp);
        TAKE_FD(tcp);
        return 0;
}

static int open_policies(struct network *network)
{
        const struct node *node = network->node;
        struct policy_set_options options = { .network = node->addresses.network,
                                              .mask = node->addresses.mask };
        uint64_t port;

        if (node->config->api_host &&
            address_parse(str_from(node->config->api_host), &options.api_address) >= 0 &&
            str_to_u64(str_from(node->config->api_port), UINT16_MAX, &port) >= 0)
                options.api_port = (uint16_t)port;
        else
                options.api_address = 0;
        network->sink = (struct policy_sink){ change_rules, replace_rules, network };
        int r = policy_set_new(&options, &network->policies);
        if (r < 0)
                return r;
        return native_runtime_socket(node->runtime, NATIVE_SOCKET_NETFILTER, &network->netfilter);
}

int network_new(struct node *node, struct error *error, struct network **ret_network)
{
        struct network *network = calloc(1, sizeof(*network));

        if (!network)
                return -ENOMEM;
        network->node = node;
        network->netfilter = -1;
        network->telling.run = tell_known;
        network->applying.run = apply_task;
        network->feeds[0] = (struct feed){ .kind = &kind_service,
                                           .put = put_service,
                                           .remove = remove_service };
        network->feeds[1] = (struct feed){ .kind = &kind_network_policy,
                                           .put = put_policy,
                                           .remove = remove_policy };
        network->feeds[2] = (struct feed){ .kind = &kind_namespace,
                                           .put = put_namespace,
                                           .remove = remove_namespace };
        for (size_t i = 0; i < FEEDS; i++)
                network->feeds[i].network = network;
        int r = dns_names_new(DOMAIN, &network->names);
        if (r >= 0)
                r = open_policies(network);
        if (r >= 0 && strcmp(node->config->dns_address, NETWORK_RESOLVER) == 0)
                r = open_resolver(network);
        if (r < 0) {
                network_free(network);
                return error_set(error, r, "cannot open the Pod network: %s", strerror(-r));
        }
        *ret_network = network;
        return 0;
}

void network_free(struct network *network)
{
        if (!network)
                return;
        for (size_t i = 0; i < FEEDS; i++)
                if (network->feeds[i].reflector)
                        kube_reflector_free(network->feeds[i].reflector);
        net_task_cancel(&network->telling);
        net_task_cancel(&network->applying);
        net_timer_stop(&network->retry);
        dns_server_free(network->server);
        dns_names_free(network->names);
        policy_set_free(network->policies);
        fd_close(network->netfilter);
        free(network);
}
