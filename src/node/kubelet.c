// SPDX-License-Identifier: Apache-2.0
#include "node/kubelet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "json/writer.h"

#define DEFAULT_CONTAINER "kubectl.kubernetes.io/default-container"

/* ---- Status ---- */

static void begin_status(struct json_writer *writer, struct buffer *out, bool success)
{
        json_writer_init(writer, out);
        json_begin_object(writer);
        json_field_string(writer, "kind", STR("Status"));
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_object(writer, "metadata");
        json_end_object(writer);
        json_field_string(writer, "status", success ? STR("Success") : STR("Failure"));
}

static int end_status(struct json_writer *writer)
{
        json_end_object(writer);
        return json_writer_finish(writer);
}

int kubelet_status_success(struct buffer *out)
{
        struct json_writer writer;

        begin_status(&writer, out, true);
        return end_status(&writer);
}

int kubelet_status_exit(struct buffer *out, unsigned code)
{
        struct json_writer writer;
        char text[96];

        if (code == 0)
                return kubelet_status_success(out);
        begin_status(&writer, out, false);
        snprintf(text, sizeof(text), "command terminated with non-zero exit code: exit status %u",
                 code);
        json_field_string(&writer, "message", str_from(text));
        json_field_string(&writer, "reason", STR("NonZeroExitCode"));
        json_field_object(&writer, "details");
        json_field_array(&writer, "causes");
        json_begin_object(&writer);
        json_field_string(&writer, "reason", STR("ExitCode"));
        snprintf(text, sizeof(text), "%u", code);
        json_field_string(&writer, "message", str_from(text));
        json_end_object(&writer);
        json_end_array(&writer);
        json_end_object(&writer);
        return end_status(&writer);
}

int kubelet_status_failure(struct buffer *out, const char *reason, unsigned code,
                           const char *message)
{
        struct json_writer writer;

        begin_status(&writer, out, false);
        json_field_string(&writer, "message", str_from(message));
        json_field_string(&writer, "reason", str_from(reason));
        json_field_int(&writer, "code", code);
        return end_status(&writer);
}

void kubelet_refuse(struct http_exchange *exchange, unsigned status, const char *reason,
                    const char *format, ...)
{
        _cleanup_buffer_ struct buffer body = {};
        char message[POD_MESSAGE_SIZE];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        if (kubelet_status_failure(&body, reason, status, message) < 0)
                http_exchange_abort(exchange);
        else
                http_exchange_respond_text(exchange, status, "application/json", buffer_str(&body));
}

/* ---- requests ---- */

int kubelet_query(const struct kubelet_request *request, const char *name, struct str *ret_value)
{
        struct http_exchange *exchange = request->exchange;

        *ret_value = STR_EMPTY;
        int r = http_query_get(exchange->arena, exchange->request.query, str_from(name), ret_value);
        return r < 0 ? r : 0;
}

bool kubelet_query_is_true(const struct kubelet_request *request, const char *name)
{
        struct str value;

        return kubelet_query(request, name, &value) == 0 &&
               (str_equal(value, STR("1")) || str_equal_ignoring_case(value, STR("true")) ||
                str_equal(value, STR("t")));
}

/* The one that was named, or that the Pod names as its default, or its first. */
static int find_container(struct kubelet_request *request)
{
        const struct pod_spec *spec = pod_spec_of(request->pod);
        struct json_value annotations = json_get(spec->document, "metadata", "annotations");
        struct str name;

        int r = kubelet_query(request, "container", &name);
        if (r < 0)
                return r;
        bool is_named = name.length > 0;
        if (!is_named)
                name = json_string(json_member(annotations, STR(DEFAULT_CONTAINER)));
        int index = name.length > 0 ? pod_spec_find_container(spec, name) : -1;
        if (index < 0 && !is_named && spec->container_count > spec->init_count)
                index = (int)spec->init_count;
        if (index < 0) {
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "container %.*s is not valid for pod %s", STR_FORMAT(name),
                               request->pod->name);
                return 1;
        }
        request->index = (size_t)index;
        return 0;
}

/* Cuts "/pods/NAMESPACE/NAME/SUBRESOURCE". */
static bool split_path(struct str path, struct str *ret_namespace, struct str *ret_name,
                       struct str *ret_subresource)
{
        struct str first, pods;

        return str_cut(path, '/', &first, &path) && first.length == 0 &&
               str_cut(path, '/', &pods, &path) && str_equal(pods, STR("pods")) &&
               str_cut(path, '/', ret_namespace, &path) && str_cut(path, '/', ret_name, &path) &&
               (*ret_subresource = path).length > 0;
}

static bool may_ask(const struct kubelet *kubelet, struct http_exchange *exchange)
{
        const struct stream_peer *peer = stream_peer(exchange->connection);

        return peer->has_credentials && (peer->uid == 0 || peer->uid == geteuid() ||
                                         peer->uid == (uid_t)kubelet->node->config->socket_user);
}

static void dispatch(struct kubelet_request *request, struct str subresource)
{
        if (find_container(request) != 0)
                return;
        if (str_equal(subresource, STR("log")))
                kubelet_log(request);
        else if (str_equal(subresource, STR("exec")))
                kubelet_exec(request, false);
        else if (str_equal(subresource, STR("attach")))
                kubelet_exec(request, true);
        else if (str_equal(subresource, STR("portforward")))
                kubelet_forward(request);
        else
                kubelet_refuse(request->exchange, 404, "NotFound",
                               "the node serves log, exec, attach and portforward");
}

/* No container, so nothing to run commands in. */
static void dispatch_mirror(struct kubelet_request *request, struct str subresource)
{
        const struct mirrored_program *program = &mirrored_programs[request->mirror];
        struct str container;

        int r = kubelet_query(request, "container", &container);
        if (r < 0 || (container.length > 0 && !str_equal(container, str_from(program->container))))
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "container %.*s is not valid for pod %s", STR_FORMAT(container),
                               program->pod);
        else if (str_equal(subresource, STR("log")))
                kubelet_log_mirror(request);
        else if (str_equal(subresource, STR("portforward")))
                kubelet_forward(request);
        else
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "pod %s shows the program cay %s of this machine, which is no "
                               "container: there are logs and port-forward, no %.*s",
                               program->pod, program->role, STR_FORMAT(subresource));
}

static void on_request(void *user, struct http_exchange *exchange)
{
        struct kubelet_request request = { .kubelet = user, .exchange = exchange };
        struct str namespace, name, subresource;

        if (!may_ask(request.kubelet, exchange)) {
                kubelet_refuse(exchange, 403, "Forbidden", "only the API server may ask the node");
                return;
        }
        if (!split_path(exchange->request.path, &namespace, &name, &subresource)) {
                kubelet_refuse(exchange, 404, "NotFound", "there is no such path");
                return;
        }
        request.pod = pod_find(request.kubelet->node, namespace, name);
        request.mirror = mirrored_find(namespace, name);
        if (!request.pod && request.mirror >= 0) {
                dispatch_mirror(&request, subresource);
                return;
        }
        if (!request.pod) {
                kubelet_refuse(exchange, 404, "NotFound", "pod %.*s is not known to the node",
                               (int)MIN(name.length, (size_t)LIMIT_NAME), name.data);
                return;
        }
        dispatch(&request, subresource);
}

/* ---- containers ---- */

int kubelet_open_log(struct node_pod *pod, size_t index, bool previous, int *ret_fd,
                     uint32_t *ret_attempt)
{
        uint32_t attempt = pod->worker.containers[index].attempt;
        struct container_key key;

        for (unsigned tries = 0; attempt > 0 && tries < 4; attempt--, tries++) {
                container_key(pod, index, attempt, &key);
                if (runtime_open_log(pod->node->runtime, &key, ret_fd) < 0)
                        continue;
                if (!previous) {
                        *ret_attempt = attempt;
                        return 0;
                }
                fd_close(*ret_fd);
                previous = false;
        }
        return -ENOENT;
}

struct node_container *kubelet_running(struct node_pod *pod, size_t index)
{
        struct node_container *container = pod ? pod->containers[index] : NULL;

        return container && pod->worker.containers[index].phase == POD_CONTAINER_RUNNING &&
                               container->was_started && !container->has_exited
                       ? container
                       : NULL;
}

/* ---- beginning and end ---- */

/* Who listens everywhere is reached by loopback. */
static void make_connectable(struct net_address *address)
{
        if (address->generic.sa_family == AF_INET && address->in.sin_addr.s_addr == INADDR_ANY)
                address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        else if (address->generic.sa_family == AF_INET6 &&
                 IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr))
                address->in6.sin6_addr = in6addr_loopback;
}

static int read_mirror_addresses(struct kubelet *kubelet, struct error *error)
{
        for (size_t i = 0; i < MIRRORED_PROGRAMS; i++) {
                const char *text = kubelet->node->config->mirror_addresses[i];
                if (!text)
                        continue;
                int r = net_address_parse(str_from(text), &kubelet->mirror_addresses[i]);
                if (r < 0)
                        return error_set(error, r, "'%s' is no address and port", text);
                make_connectable(&kubelet->mirror_addresses[i]);
        }
        return 0;
}

int kubelet_new(struct node *node, struct error *error, struct kubelet **ret_kubelet)
{
        const char *path = node->config->socket_path;
        struct kubelet *kubelet = calloc(1, sizeof(*kubelet));
        struct net_address address;

        if (!kubelet)
                return -ENOMEM;
        kubelet->node = node;
        list_init(&kubelet->logs);
        list_init(&kubelet->mirror_logs);
        list_init(&kubelet->commands);
        list_init(&kubelet->forwards);
        const struct http_server_options options = { .on_request = on_request, .user = kubelet };
        int r = net_address_from_path(str_from(path), &address);
        if (r < 0)
                error_set(error, r, "%s is too long for a socket", path);
        if (r >= 0)
                r = read_mirror_addresses(kubelet, error);
        if (r >= 0)
                r = http_server_new(node->loop, &options, &kubelet->server);
        if (r >= 0)
                r = http_server_listen(kubelet->server, &address, NULL, 0, error, NULL);
        /* Whoever connects is asked for credentials. */
        if (r >= 0 && chmod(path, 0666) < 0)
                r = error_set(error, -errno, "cannot open %s to the API server: %s", path,
                              strerror(errno));
        if (r < 0) {
                kubelet_free(kubelet);
                return r;
        }
        *ret_kubelet = kubelet;
        return 0;
}

void kubelet_pod_gone(struct kubelet *kubelet, const struct node_pod *pod)
{
        if (!kubelet)
                return;
        kubelet_forget_commands(kubelet, pod);
        kubelet_forget_forwards(kubelet, pod);
}

void kubelet_free(struct kubelet *kubelet)
{
        if (!kubelet)
                return;
        kubelet_free_logs(kubelet);
        kubelet_free_mirror_logs(kubelet);
        kubelet_free_commands(kubelet);
        kubelet_free_forwards(kubelet);
        if (kubelet->server)
                http_server_free(kubelet->server);
        free(kubelet);
}
