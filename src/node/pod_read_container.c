// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "kube/quantity.h"
#include "node/pod_read.h"

enum { ENV_MAX = 1024, PORTS_MAX = 128, HEADERS_MAX = 64 };

static bool is_env_name(struct str name)
{
        for (size_t i = 0; i < name.length; i++)
                if (name.data[i] == '=' || name.data[i] < ' ' || name.data[i] == 0x7f)
                        return false;
        return name.length > 0;
}

/* A reference to a key of a ConfigMap or Secret. */
static int read_key_reference(struct pod_reader *reader, struct json_value reference,
                              struct pod_env *env)
{
        int r = pod_read_string(reader, reference, "name", STR_EMPTY, &env->name_of);
        if (r >= 0)
                r = pod_read_string(reader, reference, "key", STR_EMPTY, &env->key);
        if (r >= 0)
                r = pod_read_bool(reader, reference, "optional", false, &env->optional);
        return r;
}

static int read_env_source(struct pod_reader *reader, struct json_value from, struct pod_env *env)
{
        static const char *const known[] = { "fieldRef", "resourceFieldRef", "configMapKeyRef",
                                             "secretKeyRef", NULL };
        struct json_value reference;

        int r = pod_check_members(reader, from, known);
        if (r < 0)
                return r;
        if (json_exists(reference = json_get(from, "fieldRef"))) {
                env->kind = POD_ENV_FIELD;
                return pod_read_string(reader, reference, "fieldPath", STR_EMPTY, &env->key);
        }
        if (json_exists(reference = json_get(from, "resourceFieldRef"))) {
                env->kind = POD_ENV_RESOURCE;
                r = pod_read_string(reader, reference, "containerName", STR_EMPTY, &env->name_of);
                if (r >= 0)
                        r = pod_read_string(reader, reference, "resource", STR_EMPTY, &env->key);
                return r < 0 ? r : pod_read_divisor(reader, reference, &env->divisor_milli);
        }
        if (json_exists(reference = json_get(from, "configMapKeyRef"))) {
                env->kind = POD_ENV_CONFIG_MAP_KEY;
                return read_key_reference(reader, reference, env);
        }
        if (json_exists(reference = json_get(from, "secretKeyRef"))) {
                env->kind = POD_ENV_SECRET_KEY;
                return read_key_reference(reader, reference, env);
        }
        return pod_refuse(reader, -EINVAL, NULL, "must name a source");
}

static int read_env(struct pod_reader *reader, struct json_value value,
                    struct pod_container *container)
{
        static const char *const known[] = { "name", "value", "valueFrom", NULL };
        struct pod_env *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "env", ENV_MAX, struct pod_env, &items,
                               &container->env_count);
        if (r < 0)
                return r;
        container->env = items;
        json_for_each (it, json_get(value, "env")) {
                struct pod_env *env = &items[i];
                struct json_value from = json_get(it.value, "valueFrom");
                size_t back = pod_path_enter(reader, ".env[%zu]", i++);

                r = pod_check_members(reader, it.value, known);
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "name", STR_EMPTY, &env->name);
                if (r >= 0 && !is_env_name(env->name))
                        r = pod_refuse(reader, -EINVAL, "name", "is no name of a variable");
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "value", STR_EMPTY, &env->value);
                if (r >= 0 && json_count(from) > 0) {
                        pod_path_enter(reader, ".valueFrom");
                        r = read_env_source(reader, from, env);
                }
                if (r < 0)
                        return r;
                pod_path_leave(reader, back);
        }
        return 0;
}

static int read_env_from(struct pod_reader *reader, struct json_value value,
                         struct pod_container *container)
{
        static const char *const known[] = { "prefix", "configMapRef", "secretRef", NULL };
        struct pod_env_from *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "envFrom", ENV_MAX, struct pod_env_from, &items,
                               &container->env_from_count);
        if (r < 0)
                return r;
        container->env_from = items;
        json_for_each (it, json_get(value, "envFrom")) {
                struct pod_env_from *from = &items[i];
                struct json_value reference = json_get(it.value, "configMapRef");
                size_t back = pod_path_enter(reader, ".envFrom[%zu]", i++);

                from->kind = POD_SOURCE_CONFIG_MAP;
                if (!json_exists(reference)) {
                        from->kind = POD_SOURCE_SECRET;
                        reference = json_get(it.value, "secretRef");
                }
                r = pod_check_members(reader, it.value, known);
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "prefix", STR_EMPTY, &from->prefix);
                if (r >= 0)
                        r = pod_read_string(reader, reference, "name", STR_EMPTY, &from->name);
                if (r >= 0)
                        r = pod_read_bool(reader, reference, "optional", false, &from->optional);
                if (r >= 0 && from->name.length == 0)
                        r = pod_refuse(reader, -EINVAL, NULL, "must name a source");
                if (r < 0)
                        return r;
                pod_path_leave(reader, back);
        }
        return 0;
}

static int read_ports(struct pod_reader *reader, struct json_value value,
                      struct pod_container *container)
{
        static const char *const known[] = { "name", "containerPort", "protocol", NULL };
        struct pod_port *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "ports", PORTS_MAX, struct pod_port, &items,
                               &container->port_count);
        if (r < 0)
                return r;
        container->ports = items;
        json_for_each (it, json_get(value, "ports")) {
                size_t back = pod_path_enter(reader, ".ports[%zu]", i);
                int64_t number = 0;

                r = pod_check_members(reader, it.value, known);
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "name", STR_EMPTY, &items[i].name);
                if (r >= 0)
                        r = pod_read_int(reader, it.value, "containerPort", 1, UINT16_MAX, 0,
                                         &number);
                if (r < 0)
                        return r;
                items[i++].number = (uint16_t)number;
                pod_path_leave(reader, back);
        }
        return 0;
}

static int read_resources(struct pod_reader *reader, struct json_value list,
                          struct pod_resources *resources)
{
        json_for_each (it, list) {
                bool is_cpu = str_equal(it.key, STR("cpu"));
                char key[LIMIT_LABEL + 1];
                struct quantity quantity;

                snprintf(key, sizeof(key), "%.*s", (int)MIN(it.key.length, sizeof(key) - 1),
                         it.key.data);
                if (quantity_read(it.value, &quantity) < 0 || quantity.nano < 0)
                        return pod_refuse(reader, -EINVAL, key, "is no amount");
                uint64_t amount =
                        (uint64_t)(is_cpu ? quantity_milli(&quantity) : quantity_whole(&quantity));
                if (is_cpu)
                        resources->cpu_milli = amount;
                else if (str_equal(it.key, STR("memory")))
                        resources->memory = amount;
                else if (str_equal(it.key, STR("ephemeral-storage")))
                        resources->ephemeral_storage = amount;
                else if (amount > 0)
                        return pod_refuse(reader, -EOPNOTSUPP, key, "not supported by this node");
        }
        return 0;
}

static int read_limits(struct pod_reader *reader, struct json_value value,
                       struct pod_container *container)
{
        static const char *const known[] = { "limits", "requests", NULL };
        struct json_value resources = json_get(value, "resources");
        size_t back = pod_path_enter(reader, ".resources");

        int r = pod_check_members(reader, resources, known);
        if (r < 0)
                return r;
        size_t inner = pod_path_enter(reader, ".limits");
        r = read_resources(reader, json_get(resources, "limits"), &container->limits);
        if (r < 0)
                return r;
        pod_path_leave(reader, inner);
        pod_path_enter(reader, ".requests");
        container->requests = container->limits;
        r = read_resources(reader, json_get(resources, "requests"), &container->requests);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

static bool is_mount_path(struct str path)
{
        if (path.length < 2 || path.data[0] != '/')
                return false;
        path = str_slice(path, 1, path.length);
        if (str_ends_with(path, STR("/")))
                path.length--;
        return pod_path_is_relative(path);
}

static int read_mount(struct pod_reader *reader, struct json_value value, struct pod_mount *mount)
{
        static const char *const known[] = { "name",     "mountPath",        "subPath",
                                             "readOnly", "mountPropagation", "recursiveReadOnly",
                                             NULL };
        static const char *const propagations[] = { "None" };
        static const char *const recursions[] = { "Disabled", "IfPossible" };
        const struct pod_spec *spec = reader->spec;
        struct str name;
        unsigned ignored;

        int r = pod_check_members(reader, value, known);
        if (r >= 0)
                r = pod_read_enum(reader, value, "mountPropagation", propagations, 1, 0, &ignored);
        if (r >= 0)
                r = pod_read_enum(reader, value, "recursiveReadOnly", recursions, 2, 0, &ignored);
        if (r >= 0)
                r = pod_read_string(reader, value, "name", STR_EMPTY, &name);
        if (r >= 0)
                r = pod_read_string(reader, value, "mountPath", STR_EMPTY, &mount->path);
        if (r >= 0)
                r = pod_read_string(reader, value, "subPath", STR_EMPTY, &mount->sub_path);
        if (r >= 0)
                r = pod_read_bool(reader, value, "readOnly", false, &mount->read_only);
        if (r < 0)
                return r;
        if (!is_mount_path(mount->path))
                return pod_refuse(reader, -EINVAL, "mountPath",
                                  "must be absolute, below / and without \"..\"");
        if (mount->sub_path.length > 0 && !pod_path_is_relative(mount->sub_path))
                return pod_refuse(reader, -EINVAL, "subPath",
                                  "must be relative and without \"..\"");
        for (mount->volume = 0; mount->volume < spec->volume_count; mount->volume++)
                if (str_equal(spec->volumes[mount->volume].name, name))
                        return 0;
        return pod_refuse(reader, -EINVAL, "name", "is no volume of the Pod");
}

static int read_mounts(struct pod_reader *reader, struct json_value value,
                       struct pod_container *container)
{
        struct pod_mount *items;
        size_t i = 0;

        int r = pod_read_array(reader, value, "volumeMounts", LIMIT_MOUNTS, struct pod_mount,
                               &items, &container->mount_count);
        if (r < 0)
                return r;
        container->mounts = items;
        json_for_each (it, json_get(value, "volumeMounts")) {
                size_t back = pod_path_enter(reader, ".volumeMounts[%zu]", i);
                r = read_mount(reader, it.value, &items[i++]);
                if (r < 0)
                        return r;
                pod_path_leave(reader, back);
        }
        return 0;
}

/* ---- probes ---- */

static int read_probe_port(struct pod_reader *reader, struct json_value handler,
                           const struct pod_container *container, uint16_t *ret_port)
{
        struct json_value value = json_get(handler, "port");
        int64_t number;
        uint64_t digits;

        if (json_int64(value, &number) >= 0 && number > 0 && number <= UINT16_MAX) {
                *ret_port = (uint16_t)number;
                return 0;
        }
        struct str name = json_string(value);
        for (size_t i = 0; i < container->port_count && name.length > 0; i++) {
                if (str_equal(container->ports[i].name, name)) {
                        *ret_port = container->ports[i].number;
                        return 0;
                }
        }
        if (str_to_u64(name, UINT16_MAX, &digits) >= 0 && digits > 0) {
                *ret_port = (uint16_t)digits;
                return 0;
        }
        return pod_refuse(reader, -EINVAL, "port", "is neither a port nor the name of one");
}

static bool is_header_text(struct str text)
{
        for (size_t i = 0; i < text.length; i++)
                if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
                        return false;
        return true;
}

static int read_http(struct pod_reader *reader, struct json_value http,
                     const struct pod_container *container, struct pod_handler *handler)
{
        static const char *const known[] = {
                "path", "port", "host", "scheme", "httpHeaders", NULL
        };
        static const char *const schemes[] = { "HTTP", "HTTPS" };
        struct pod_header *headers;
        unsigned scheme;
        size_t i = 0;

        int r = pod_check_members(reader, http, known);
        if (r >= 0)
                r = read_probe_port(reader, http, container, &handler->port);
        if (r >= 0)
                r = pod_read_string(reader, http, "path", STR("/"), &handler->path);
        if (r >= 0)
                r = pod_read_string(reader, http, "host", STR_EMPTY, &handler->host);
        if (r >= 0)
                r = pod_read_enum(reader, http, "scheme", schemes, 2, 0, &scheme);
        if (r >= 0)
                r = pod_read_array(reader, http, "httpHeaders", HEADERS_MAX, struct pod_header,
                                   &headers, &handler->header_count);
        if (r < 0)
                return r;
        handler->https = scheme == 1;
        handler->headers = headers;
        if (handler->path.length == 0)
                handler->path = STR("/");
        if (!is_header_text(handler->path) || memchr(handler->path.data, ' ', handler->path.length))
                return pod_refuse(reader, -EINVAL, "path", "is no path");
        json_for_each (it, json_get(http, "httpHeaders")) {
                r = pod_read_string(reader, it.value, "name", STR_EMPTY, &headers[i].name);
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "value", STR_EMPTY,
                                            &headers[i].value);
                if (r >= 0 &&
                    (!is_header_text(headers[i].name) || !is_header_text(headers[i].value)))
                        r = pod_refuse(reader, -EINVAL, "httpHeaders", "contain a control code");
                if (r < 0)
                        return r;
                i++;
        }
        return 0;
}

static int read_probe_times(struct pod_reader *reader, struct json_value value,
                            struct pod_probe *probe)
{
        const struct {
                const char *key;
                int64_t min, fallback;
                uint32_t *target;
        } fields[] = {
                { "initialDelaySeconds", 0, 0, &probe->initial_delay_s },
                { "periodSeconds", 0, 10, &probe->period_s },
                { "timeoutSeconds", 0, 1, &probe->timeout_s },
                { "successThreshold", 0, 1, &probe->success_threshold },
                { "failureThreshold", 0, 3, &probe->failure_threshold },
        };

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                int64_t number;
                int r = pod_read_int(reader, value, fields[i].key, fields[i].min, INT32_MAX,
                                     fields[i].fallback, &number);
                if (r < 0)
                        return r;
                *fields[i].target = (uint32_t)(number == 0 ? fields[i].fallback : number);
        }
        return pod_read_int(reader, value, "terminationGracePeriodSeconds", 1, INT32_MAX, -1,
                            &probe->grace_s);
}

static int read_exec(struct pod_reader *reader, struct json_value exec, struct pod_handler *handler)
{
        int r = pod_read_strings(reader, exec, "command", &handler->command);

        if (r >= 0 && handler->command.count == 0)
                r = pod_refuse(reader, -EINVAL, "command", "must not be empty");
        return r;
}

static int read_grpc(struct pod_reader *reader, struct json_value grpc,
                     const struct pod_container *container, struct pod_handler *handler)
{
        static const char *const known[] = { "port", "service", NULL };

        int r = pod_check_members(reader, grpc, known);
        if (r >= 0)
                r = read_probe_port(reader, grpc, container, &handler->port);
        if (r >= 0)
                r = pod_read_string(reader, grpc, "service", STR_EMPTY, &handler->service);
        return r;
}

static int read_probe_handler(struct pod_reader *reader, struct json_value value,
                              const struct pod_container *container, struct pod_handler *ret)
{
        struct json_value handler;

        if (json_count(handler = json_get(value, "httpGet")) > 0) {
                ret->kind = POD_HANDLER_HTTP;
                pod_path_enter(reader, ".httpGet");
                return read_http(reader, handler, container, ret);
        }
        if (json_count(handler = json_get(value, "tcpSocket")) > 0) {
                ret->kind = POD_HANDLER_TCP;
                pod_path_enter(reader, ".tcpSocket");
                int r = read_probe_port(reader, handler, container, &ret->port);
                if (r >= 0)
                        r = pod_read_string(reader, handler, "host", STR_EMPTY, &ret->host);
                return r;
        }
        if (json_count(handler = json_get(value, "grpc")) > 0) {
                ret->kind = POD_HANDLER_GRPC;
                pod_path_enter(reader, ".grpc");
                return read_grpc(reader, handler, container, ret);
        }
        ret->kind = POD_HANDLER_EXEC;
        pod_path_enter(reader, ".exec");
        return read_exec(reader, json_get(value, "exec"), ret);
}

static int read_probe(struct pod_reader *reader, struct json_value parent, const char *key,
                      const struct pod_container *container, struct pod_probe *probe)
{
        static const char *const known[] = { "exec",
                                             "httpGet",
                                             "tcpSocket",
                                             "grpc",
                                             "initialDelaySeconds",
                                             "periodSeconds",
                                             "timeoutSeconds",
                                             "successThreshold",
                                             "failureThreshold",
                                             "terminationGracePeriodSeconds",
                                             NULL };
        struct json_value value = json_get(parent, key);

        if (json_count(value) == 0)
                return 0;
        size_t back = pod_path_enter(reader, ".%s", key);
        int r = pod_check_members(reader, value, known);
        if (r >= 0)
                r = read_probe_times(reader, value, probe);
        if (r >= 0)
                r = read_probe_handler(reader, value, container, &probe->handler);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

/* ---- lifecycle ---- */

/* tcpSocket is in the API but was never carried out by Kubernetes: here it is refused. */
static int read_hook(struct pod_reader *reader, struct json_value lifecycle, const char *key,
                     const struct pod_container *container, struct pod_handler *hook)
{
        static const char *const known[] = { "exec", "httpGet", "sleep", NULL };
        struct json_value value = json_get(lifecycle, key), handler;
        int64_t seconds = 0;

        if (json_count(value) == 0)
                return 0;
        size_t back = pod_path_enter(reader, ".%s", key);
        int r = pod_check_members(reader, value, known);
        if (r < 0)
                return r;
        if (json_count(handler = json_get(value, "httpGet")) > 0) {
                hook->kind = POD_HANDLER_HTTP;
                pod_path_enter(reader, ".httpGet");
                r = read_http(reader, handler, container, hook);
        } else if (json_count(handler = json_get(value, "sleep")) > 0) {
                hook->kind = POD_HANDLER_SLEEP;
                pod_path_enter(reader, ".sleep");
                r = pod_read_int(reader, handler, "seconds", 0, INT32_MAX, 0, &seconds);
                hook->sleep_s = (uint32_t)seconds;
        } else {
                hook->kind = POD_HANDLER_EXEC;
                pod_path_enter(reader, ".exec");
                r = read_exec(reader, json_get(value, "exec"), hook);
        }
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

static int read_lifecycle(struct pod_reader *reader, struct json_value value,
                          struct pod_container *container)
{
        static const char *const known[] = { "postStart", "preStop", NULL };
        struct json_value lifecycle = json_get(value, "lifecycle");

        size_t back = pod_path_enter(reader, ".lifecycle");
        int r = pod_check_members(reader, lifecycle, known);
        if (r >= 0)
                r = read_hook(reader, lifecycle, "postStart", container, &container->post_start);
        if (r >= 0)
                r = read_hook(reader, lifecycle, "preStop", container, &container->pre_stop);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

/* What only those may have that are meant to run on. */
static int refuse_of_init(struct pod_reader *reader, struct json_value value)
{
        static const char *const keys[] = { "startupProbe", "livenessProbe", "readinessProbe",
                                            "lifecycle" };

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (json_count(json_get(value, keys[i])) > 0)
                        return pod_refuse(reader, -EINVAL, keys[i],
                                          "must not be set for an init container without "
                                          "restartPolicy Always");
        return 0;
}

/* ---- security ---- */

/* NET_BIND_SERVICE is granted by other means: every port of a sandbox is open to any user. */
static int check_capabilities(struct pod_reader *reader, struct json_value context)
{
        json_for_each (it, json_get(context, "capabilities", "add")) {
                struct str name = json_string(it.value);
                if (!str_equal(name, STR("NET_BIND_SERVICE")))
                        return pod_refuse(reader, -EOPNOTSUPP, "capabilities.add",
                                          "%.*s is not given by this node",
                                          (int)MIN(name.length, LIMIT_LABEL), name.data);
        }
        return 0;
}

int pod_read_security(struct pod_reader *reader, struct json_value context,
                      struct pod_security *security)
{
        static const char *const profiles[] = { "RuntimeDefault" };
        unsigned ignored;

        int r = pod_read_int(reader, context, "runAsUser", 0, INT32_MAX, security->user,
                             &security->user);
        if (r >= 0)
                r = pod_read_int(reader, context, "runAsGroup", 0, INT32_MAX, security->group,
                                 &security->group);
        if (r >= 0)
                r = pod_read_bool(reader, context, "runAsNonRoot", security->must_run_as_non_root,
                                  &security->must_run_as_non_root);
        if (r < 0)
                return r;
        size_t back = pod_path_enter(reader, ".seccompProfile");
        r = pod_read_enum(reader, json_get(context, "seccompProfile"), "type", profiles, 1, 0,
                          &ignored);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

static int read_container_security(struct pod_reader *reader, struct json_value value,
                                   struct pod_container *container)
{
        static const char *const known[] = { "runAsUser",
                                             "runAsGroup",
                                             "runAsNonRoot",
                                             "readOnlyRootFilesystem",
                                             "allowPrivilegeEscalation",
                                             "capabilities",
                                             "seccompProfile",
                                             "appArmorProfile",
                                             "seLinuxOptions",
                                             "procMount",
                                             NULL };
        static const char *const proc_mounts[] = { "Default" };
        struct json_value context = json_get(value, "securityContext");
        size_t back = pod_path_enter(reader, ".securityContext");
        unsigned ignored;

        container->security = reader->security;
        int r = pod_check_members(reader, context, known);
        if (r >= 0)
                r = pod_read_security(reader, context, &container->security);
        if (r >= 0)
                r = pod_read_bool(reader, context, "readOnlyRootFilesystem", false,
                                  &container->security.read_only_root);
        if (r >= 0)
                r = pod_read_enum(reader, context, "procMount", proc_mounts, 1, 0, &ignored);
        if (r >= 0)
                r = check_capabilities(reader, context);
        if (r < 0)
                return r;
        pod_path_leave(reader, back);
        return 0;
}

/* ---- the container ---- */

static int read_basics(struct pod_reader *reader, struct json_value value,
                       struct pod_container *container)
{
        static const char *const pulls[] = { "Always", "IfNotPresent", "Never" };
        static const char *const policies[] = { "File", "FallbackToLogsOnError" };
        static const char *const restarts[] = { "", "Always" };
        unsigned pull, policy, restart = 0;

        int r = pod_read_string(reader, value, "name", STR_EMPTY, &container->name);
        if (r >= 0)
                r = pod_read_string(reader, value, "image", STR_EMPTY, &container->image);
        if (r >= 0)
                r = pod_read_enum(reader, value, "imagePullPolicy", pulls, 3,
                                  POD_PULL_IF_NOT_PRESENT, &pull);
        if (r >= 0)
                r = pod_read_strings(reader, value, "command", &container->command);
        if (r >= 0)
                r = pod_read_strings(reader, value, "args", &container->args);
        if (r >= 0)
                r = pod_read_string(reader, value, "workingDir", STR_EMPTY,
                                    &container->working_dir);
        if (r >= 0)
                r = pod_read_string(reader, value, "terminationMessagePath",
                                    STR("/dev/termination-log"), &container->message_path);
        if (r >= 0)
                r = pod_read_enum(reader, value, "terminationMessagePolicy", policies, 2, 0,
                                  &policy);
        if (r >= 0)
                r = pod_read_bool(reader, value, "stdin", false, &container->has_stdin);
        if (r >= 0)
                r = pod_read_bool(reader, value, "stdinOnce", false, &container->stdin_once);
        if (r >= 0)
                r = pod_read_bool(reader, value, "tty", false, &container->has_tty);
        if (r >= 0 && container->is_init)
                r = pod_read_enum(reader, value, "restartPolicy", restarts, 2, 0, &restart);
        if (r < 0)
                return r;
        if (container->name.length == 0 || container->name.length > LIMIT_LABEL)
                return pod_refuse(reader, -EINVAL, "name", "must be a DNS label");
        container->pull_policy = (enum pod_pull_policy)pull;
        container->message_falls_back_to_log = policy == 1;
        container->is_sidecar = restart == 1;
        return 0;
}

int pod_read_container(struct pod_reader *reader, struct json_value value, bool is_init,
                       struct pod_container *container)
{
        static const char *const known[] = { "name",
                                             "image",
                                             "imagePullPolicy",
                                             "command",
                                             "args",
                                             "workingDir",
                                             "ports",
                                             "env",
                                             "envFrom",
                                             "resources",
                                             "resizePolicy",
                                             "volumeMounts",
                                             "livenessProbe",
                                             "readinessProbe",
                                             "startupProbe",
                                             "lifecycle",
                                             "stdin",
                                             "stdinOnce",
                                             "tty",
                                             "securityContext",
                                             "restartPolicy",
                                             "terminationMessagePath",
                                             "terminationMessagePolicy",
                                             NULL };

        container->is_init = is_init;
        int r = pod_check_members(reader, value, known);
        if (r >= 0)
                r = read_basics(reader, value, container);
        if (r >= 0)
                r = read_ports(reader, value, container);
        if (r >= 0)
                r = read_env(reader, value, container);
        if (r >= 0)
                r = read_env_from(reader, value, container);
        if (r >= 0)
                r = read_limits(reader, value, container);
        if (r >= 0)
                r = read_mounts(reader, value, container);
        if (r >= 0)
                r = read_container_security(reader, value, container);
        if (r < 0)
                return r;
        if (is_init && !container->is_sidecar)
                return refuse_of_init(reader, value);
        r = read_probe(reader, value, "startupProbe", container, &container->startup);
        if (r >= 0)
                r = read_probe(reader, value, "livenessProbe", container, &container->liveness);
        if (r >= 0)
                r = read_probe(reader, value, "readinessProbe", container, &container->readiness);
        if (r >= 0)
                r = read_lifecycle(reader, value, container);
        return r;
}
