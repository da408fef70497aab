// SPDX-License-Identifier: Apache-2.0
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/tls.h"
#include "node/internal.h"
#include "runtime/native.h"

#define DEFAULT_CIDR "10.88.0.0/16"
#define DEFAULT_HOST "127.0.0.1"
#define USER_AGENT   "cay-node"

enum { IMAGE_MAP_MAX = 1024 * 1024 };

struct pod_time node_now(void)
{
        return (struct pod_time){ .monotonic = clock_monotonic_ns(),
                                  .realtime = clock_realtime_ns() };
}

void node_stop(struct node *node, int failure, const char *format, ...)
{
        char sentence[256];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        if (failure < 0 && node->failure == 0)
                node->failure = error_set(node->error, failure, "%s", sentence);
        uv_stop(&node->uv);
}

/* ---- answers of the runtime ---- */

int node_expect(struct node *node, uint64_t number, const struct node_call *call)
{
        struct node_call *kept = malloc(sizeof(*kept));

        if (!kept)
                return -ENOMEM;
        *kept = *call;
        kept->number = number;
        HASH_ADD(hh, node->calls, number, sizeof(kept->number), kept);
        return 0;
}

static void on_answer(void *owner, uint64_t number, int result, const char *reason)
{
        struct node *node = owner;
        struct node_call *call;

        HASH_FIND(hh, node->calls, &number, sizeof(number), call);
        if (!call)
                return;
        HASH_DELETE(hh, node->calls, call);
        call->answered(node, call, result, reason ? reason : "");
        free(call);
}

static void on_measured(void *owner, uint64_t number, int result, uint64_t bytes)
{
        struct node *node = owner;
        struct node_call *call;

        HASH_FIND(hh, node->calls, &number, sizeof(number), call);
        if (call)
                call->bytes = bytes;
        on_answer(owner, number, result, NULL);
}

static struct node_found *find_or_add_found(struct node *node, const char *uid)
{
        struct node_found *found;

        HASH_FIND_STR(node->found, uid, found);
        if (found)
                return found;
        found = calloc(1, sizeof(*found));
        if (!found)
                return NULL;
        snprintf(found->uid, sizeof(found->uid), "%.*s", RUNTIME_ID - 1, uid);
        HASH_ADD_STR(node->found, uid, found);
        return found;
}

static void on_container_exited(void *owner, const struct container_key *key,
                                const struct container_exit *exit)
{
        struct node *node = owner;
        struct node_found *found;
        struct node_pod *pod;

        HASH_FIND_STR(node->pods, key->sandbox, pod);
        if (pod) {
                container_exited(pod, key->container, key->attempt, exit);
                return;
        }
        HASH_FIND_STR(node->found, key->sandbox, found);
        for (size_t i = 0; found && i < found->count; i++) {
                if (found->containers[i].index != key->container ||
                    found->containers[i].attempt != key->attempt)
                        continue;
                found->containers[i].has_exited = true;
                found->containers[i].exit = *exit;
        }
}

static void begin_watch(struct node *node);

static void on_found(void *owner, uint64_t call, const struct sandbox_spec *sandbox,
                     const struct container_key *container)
{
        struct node *node = owner;

        (void)call;
        if (!sandbox && !container) {
                node->is_recovered = true;
                log_info("%u sandboxes of an earlier node are found again",
                         HASH_COUNT(node->found));
                int r = network_begin(node, begin_watch);
                if (r < 0)
                        node_stop(node, r, "cannot watch the network: %s", strerror(-r));
                return;
        }
        struct node_found *found =
                find_or_add_found(node, sandbox ? sandbox->id : container->sandbox);
        if (!found) {
                node_stop(node, -ENOMEM, "out of memory");
                return;
        }
        if (sandbox && found->address == 0) {
                found->address = sandbox->address;
                address_pool_reserve(&node->addresses, sandbox->address);
                address_pool_continue_after(&node->addresses, sandbox->address);
        }
        if (container && found->count < FOUND_CONTAINERS_MAX) {
                found->containers[found->count].index = container->container;
                found->containers[found->count++].attempt = container->attempt;
        }
}

static const struct runtime_events runtime_events = {
        .sandbox_created = on_answer,
        .container_launched = on_answer,
        .container_exited = on_container_exited,
        .done = on_answer,
        .measured = on_measured,
        .found = on_found,
};

static void on_runtime_readable(uv_poll_t *poll, int status, int events)
{
        struct node *node = poll->data;

        (void)events;
        int r = status < 0 ? status : runtime_dispatch(node->runtime);
        if (r < 0)
                node_stop(node, r, "the launcher is gone: %s", strerror(-r));
}

/* ---- Pods ---- */

static void unclaimed_destroyed(struct node *node, const struct node_call *call, int result,
                                const char *reason)
{
        if (result < 0 && result != -ENOENT)
                log_warning("cannot remove the sandbox of Pod %s: %s", call->uid, reason);
        files_purge(node, call->uid);
}

/* Sandboxes and folders whose Pod is gone, once all Pods are known. */
static void remove_unclaimed(struct node *node)
{
        struct node_found *found, *next;

        files_purge_unclaimed(node);
        HASH_ITER (hh, node->found, found, next) {
                struct node_call expected = { .answered = unclaimed_destroyed };
                uint64_t call;
                log_info("removes the sandbox of Pod %s, which is gone", found->uid);
                memcpy(expected.uid, found->uid, sizeof(expected.uid));
                int r = runtime_destroy(node->runtime, found->uid, &call);
                if (r >= 0)
                        r = node_expect(node, call, &expected);
                if (r < 0)
                        log_warning("cannot remove it: %s", strerror(-r));
                address_pool_release(&node->addresses, found->address);
                HASH_DELETE(hh, node->found, found);
                free(found);
        }
}

void node_tell_ready(struct node *node)
{
        int fd = node->config->ready_fd;

        if (!node->is_synced || !report_is_registered(node->report) || node->has_told_ready)
                return;
        node->has_told_ready = true;
        log_info("node %s is ready", node->config->name);
        /* Whoever started everything has gone when a role is started again. */
        if (fd >= 0 && write(fd, "n", 1) != 1 && errno != EPIPE)
                log_warning("nobody hears that the node is ready: %s", strerror(errno));
}

static void on_pod(void *user, const struct kube_event *event)
{
        struct node *node = user;

        switch (event->type) {
        case KUBE_ADDED:
        case KUBE_MODIFIED:
                pod_object_changed(node, event->doc);
                break;
        case KUBE_DELETED:
                pod_object_deleted(node, event->name_space, event->name, event->doc);
                break;
        case KUBE_LIST_BEGIN:
        case KUBE_BOOKMARK:
                break;
        case KUBE_LIST_END:
                if (!node->is_synced)
                        remove_unclaimed(node);
                node->is_synced = true;
                network_pods_known(node);
                claims_collect(node->claims);
                node_tell_ready(node);
                break;
        }
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        (void)user;
        if (state == KUBE_REFLECTOR_WAITING || state == KUBE_REFLECTOR_FORBIDDEN)
                log_warning("watching Pods: %.*s", STR_FORMAT(message));
}

static void begin_watch(struct node *node)
{
        char selector[LIMIT_NAME + 32];

        snprintf(selector, sizeof(selector), "spec.nodeName=%s", node->config->name);
        const struct kube_reflector_options options = {
                .client = node->client,
                .kind = &kind_pod,
                .field_selector = str_from(selector),
                .tell_vanished = true,
                .handler = on_pod,
                .on_state = on_state,
                .user = node,
        };
        int r = kube_reflector_new(&options, &node->reflector);
        if (r >= 0)
                r = claims_new(node, &node->claims);
        if (r < 0)
                node_stop(node, r, "cannot watch Pods: %s", strerror(-r));
}

/* ---- beginning and end ---- */

static void on_signal(uv_signal_t *handle, int number)
{
        struct node *node = handle->data;

        (void)number;
        node_stop(node, 0, "%s", "");
}

static int read_images(struct node *node, struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};

        if (!node->config->image_map)
                return 0;
        int r = file_read(AT_FDCWD, node->config->image_map, IMAGE_MAP_MAX, &text);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(error, r, "cannot read %s: %s", node->config->image_map,
                                 strerror(-r));
        return images_read_map(&node->images, buffer_str(&text), error);
}

static void measure(struct node *node)
{
        struct sysinfo info = {};

        sysinfo(&info);
        node->allocatable.memory = (uint64_t)info.totalram * info.mem_unit;
        node->allocatable.cpu_milli = (uint64_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L) * 1000;
}

/* What needs no loop. */
static int prepare(struct node *node, struct error *error)
{
        const struct node_config *config = node->config;

        int r = address_parse(str_from(config->host_address), &node->host_address);
        if (r < 0)
                return error_set(error, r, "\"%s\" is no IPv4 address", config->host_address);
        r = address_pool_init(&node->addresses, str_from(config->pod_cidr), error);
        if (r >= 0)
                r = files_open(node, error);
        if (r >= 0)
                r = read_images(node, error);
        if (r >= 0)
                r = kube_config_load(config->kubeconfig, STR_EMPTY, error, &node->kube_config);
        measure(node);
        return r;
}

static int open_clients(struct node *node, struct error *error)
{
        const struct kube_client_options client = {
                .loop = node->loop,
                .config = &node->kube_config,
                .user_agent = STR(USER_AGENT),
        };
        const struct tls_client_options tls = { .insecure = true };

        int r = kube_client_new(&client, error, &node->client);
        if (r >= 0)
                r = tls_client_new(&tls, error, &node->probe_tls);
        if (r >= 0)
                r = http_client_new(node->loop, NULL, &node->http);
        if (r < 0)
                return r;
        node->probe_filter = tls_context_filter(node->probe_tls);
        if (node->config->socket_path)
                r = kubelet_new(node, error, &node->kubelet);
        return r < 0 ? r : report_new(node, &node->report);
}

static int open_runtime(struct node *node, struct error *error)
{
        const struct node_config *config = node->config;
        char volumes[PATH_MAX], state[PATH_MAX];
        uint64_t call;

        snprintf(volumes, sizeof(volumes), "%s/volumes", config->data_folder);
        snprintf(state, sizeof(state), "%s/state", config->data_folder);
        const struct native_config native = { .launcher_fd = config->launcher_fd,
                                              .volumes = volumes,
                                              .state = state };
        int r = config->runtime_new
                        ? config->runtime_new(config->runtime_user, &runtime_events, node,
                                              &node->runtime)
                        : native_runtime_new(&native, &runtime_events, node, &node->runtime);
        if (r < 0)
                return error_set(error, r, "cannot reach the launcher: %s", strerror(-r));
        if (!config->runtime_new)
                r = network_new(node, error, &node->network);
        if (r < 0)
                return r;
        r = uv_poll_init(&node->uv, &node->runtime_poll, runtime_poll_fd(node->runtime));
        if (r < 0)
                return error_set(error, r, "cannot watch the launcher: %s", strerror(-r));
        node->runtime_poll.data = node;
        uv_poll_start(&node->runtime_poll, UV_READABLE, on_runtime_readable);
        r = runtime_recover(node->runtime, &call);
        if (r < 0)
                return error_set(error, r, "cannot ask the launcher what runs: %s", strerror(-r));
        return 0;
}

static int open_signals(struct node *node)
{
        static const int numbers[] = { SIGTERM, SIGINT };

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                int r = uv_signal_init(&node->uv, &node->signals[i]);
                if (r >= 0)
                        r = uv_signal_start(&node->signals[i], on_signal, numbers[i]);
                if (r < 0)
                        return r;
                node->signals[i].data = node;
        }
        return 0;
}

static void close_handle(uv_handle_t *handle, void *user)
{
        (void)user;
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

/* Sandboxes run on: only what this process has of them goes. */
static void close_all(struct node *node)
{
        struct node_pod *pod, *next_pod;
        struct node_found *found, *next_found;
        struct node_call *call, *next_call;

        if (node->runtime_poll.data)
                uv_poll_stop(&node->runtime_poll);
        if (node->reflector)
                kube_reflector_free(node->reflector);
        claims_free(node->claims);
        node->claims = NULL;
        list_for_each (pod, &node->released, in_released)
                pod_free(pod);
        HASH_ITER (hh, node->pods, pod, next_pod) {
                HASH_DELETE(hh, node->pods, pod);
                pod_free(pod);
        }
        HASH_ITER (hh, node->found, found, next_found) {
                HASH_DELETE(hh, node->found, found);
                free(found);
        }
        HASH_ITER (hh, node->calls, call, next_call) {
                HASH_DELETE(hh, node->calls, call);
                free(call);
        }
        network_free(node->network);
        kubelet_free(node->kubelet);
        report_free(node->report);
        if (node->http)
                http_client_free(node->http);
        tls_context_free(node->probe_tls);
        if (node->client)
                kube_client_free(node->client);
        runtime_free(node->runtime);
        uv_run(&node->uv, UV_RUN_NOWAIT);
        if (node->loop)
                net_loop_free(node->loop);
        uv_walk(&node->uv, close_handle, NULL);
        uv_run(&node->uv, UV_RUN_DEFAULT);
        uv_loop_close(&node->uv);
        kube_config_deinit(&node->kube_config);
        images_deinit(&node->images);
        address_pool_deinit(&node->addresses);
        fd_close(node->volumes_fd);
}

int node_run(const struct node_config *config, struct error *error)
{
        struct node_config filled = *config;
        struct node *node = calloc(1, sizeof(*node));

        if (!node)
                return error_set(error, -ENOMEM, "out of memory");
        signal(SIGPIPE, SIG_IGN); /* the launcher and whoever waits for `ready` may be gone */
        fd_raise_limit();
        if (!filled.pod_cidr)
                filled.pod_cidr = DEFAULT_CIDR;
        if (!filled.host_address)
                filled.host_address = DEFAULT_HOST;
        if (!filled.dns_address && !filled.runtime_new)
                filled.dns_address = NETWORK_RESOLVER;
        node->config = &filled;
        node->error = error;
        node->volumes_fd = -1;
        list_init(&node->released);
        int r = uv_loop_init(&node->uv);
        if (r < 0) {
                free(node);
                return error_set(error, r, "cannot make a loop: %s", strerror(-r));
        }
        r = net_loop_new(&node->uv, &node->loop);
        if (r >= 0)
                r = prepare(node, error);
        if (r >= 0)
                r = open_clients(node, error);
        if (r >= 0)
                r = open_runtime(node, error);
        /* Until here a signal ends the process at once: the launcher may not answer for long. */
        if (r >= 0)
                r = open_signals(node);
        if (r >= 0) {
                uv_run(&node->uv, UV_RUN_DEFAULT);
                r = node->failure;
        }
        close_all(node);
        free(node);
        if (r < 0 && error && error->code == 0)
                error_set(error, r, "the node cannot go on: %s", strerror(-r));
        return r;
}
