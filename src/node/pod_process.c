// SPDX-License-Identifier: Apache-2.0
#include "node/pod_process.h"

#include <errno.h>

#include "crypto/encode.h"

/* Variables in order of their first naming; a later value replaces an earlier one. */
struct variables {
        struct arena *arena;
        struct variable {
                struct str name, value;
        } * items;
        size_t count, capacity;
        size_t bytes;
};

static struct variable *find_variable(const struct variables *variables, struct str name)
{
        for (size_t i = 0; i < variables->count; i++)
                if (str_equal(variables->items[i].name, name))
                        return &variables->items[i];
        return NULL;
}

static int set_variable(struct variables *variables, struct str name, struct str value)
{
        struct variable *found = find_variable(variables, name);

        variables->bytes += name.length + value.length + 2;
        if (variables->bytes > LIMIT_ARGUMENTS)
                return -E2BIG;
        if (found) {
                found->value = value;
                return 0;
        }
        if (variables->count == variables->capacity) {
                size_t capacity = MAX(variables->capacity * 2, 64);
                struct variable *items = arena_new(variables->arena, struct variable, capacity);
                if (!items)
                        return -ENOMEM;
                if (variables->count > 0)
                        memcpy(items, variables->items, variables->count * sizeof(*items));
                variables->items = items;
                variables->capacity = capacity;
        }
        variables->items[variables->count++] = (struct variable){ name, value };
        return 0;
}

/* ---- $(NAME) ---- */

/*
 * Kubernetes' expansion (k8s.io/kubernetes third_party/forked/golang/expansion): "$(NAME)" is the
 * value, "$$" is "$", what is unknown or has no end stays as it is.
 */
static int expand(const struct variables *variables, struct str text, struct buffer *out)
{
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i], next = i + 1 < text.length ? text.data[i + 1] : '\0';
                int r;

                if (c != '$' || (next != '$' && next != '(')) {
                        r = buffer_append_char(out, c);
                } else if (next == '$') {
                        r = buffer_append_char(out, '$');
                        i++;
                } else {
                        const char *end = memchr(text.data + i, ')', text.length - i);
                        if (!end) {
                                r = buffer_append(out, text.data + i, 2);
                                i++;
                        } else {
                                size_t stop = (size_t)(end - text.data);
                                const struct variable *found =
                                        find_variable(variables, str_slice(text, i + 2, stop));
                                r = buffer_append_str(out, found ? found->value
                                                                 : str_slice(text, i, stop + 1));
                                i = stop;
                        }
                }
                if (r < 0)
                        return r;
                if (out->length > LIMIT_ARGUMENTS)
                        return -E2BIG;
        }
        return 0;
}

static int expand_into_arena(const struct variables *variables, struct str text,
                             struct str *ret_text)
{
        _cleanup_buffer_ struct buffer buffer = {};

        int r = expand(variables, text, &buffer);
        if (r < 0)
                return r;
        struct str copy = arena_str(variables->arena, buffer_str(&buffer));
        if (!copy.data)
                return -ENOMEM;
        *ret_text = copy;
        return 0;
}

/* ---- fields and resources ---- */

/* "metadata.labels['key']": the key, or empty. */
static struct str subscript(struct str path, struct str prefix)
{
        if (!str_starts_with(path, prefix) || !str_ends_with(path, STR("']")) ||
            path.length < prefix.length + 4 ||
            !str_equal(str_slice(path, prefix.length, prefix.length + 2), STR("['")))
                return STR_EMPTY;
        return str_slice(path, prefix.length + 2, path.length - 2);
}

/* All of a map as the downward API writes it: key="value" a line, in the order of the text. */
static int format_map(struct json_value map, struct arena *arena, struct str *ret_value)
{
        _cleanup_buffer_ struct buffer buffer = {};

        json_for_each (it, map) {
                int r = buffer_printf(&buffer, "%s%.*s=", buffer.length ? "\n" : "",
                                      STR_FORMAT(it.key));
                if (r >= 0)
                        r = buffer_append_str(&buffer, json_text(it.value));
                if (r < 0)
                        return r;
        }
        struct str copy = arena_str(arena, buffer_str(&buffer));
        if (!copy.data)
                return -ENOMEM;
        *ret_value = copy;
        return 0;
}

int pod_field_value(const struct pod_spec *spec, const struct pod_facts *facts, struct str path,
                    struct arena *arena, struct str *ret_value)
{
        const struct {
                const char *path;
                struct str value;
        } fields[] = {
                { "metadata.name", spec->name },
                { "metadata.namespace", spec->namespace },
                { "metadata.uid", spec->uid },
                { "spec.nodeName", facts->node_name },
                { "spec.serviceAccountName", spec->service_account },
                { "status.hostIP", facts->host_ip },
                { "status.hostIPs", facts->host_ip },
                { "status.podIP", facts->pod_ip },
                { "status.podIPs", facts->pod_ip },
        };
        struct json_value metadata = json_get(spec->document, "metadata");
        struct str key;

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                if (str_equal(path, str_from(fields[i].path))) {
                        *ret_value = fields[i].value;
                        return 0;
                }
        }
        if (str_equal(path, STR("metadata.labels")))
                return format_map(json_get(metadata, "labels"), arena, ret_value);
        if (str_equal(path, STR("metadata.annotations")))
                return format_map(json_get(metadata, "annotations"), arena, ret_value);
        if ((key = subscript(path, STR("metadata.labels"))).length > 0)
                *ret_value = json_string(json_member(json_get(metadata, "labels"), key));
        else if ((key = subscript(path, STR("metadata.annotations"))).length > 0)
                *ret_value = json_string(json_member(json_get(metadata, "annotations"), key));
        else
                return -EINVAL;
        return 0;
}

int pod_resource_value(const struct pod_container *container, const struct pod_facts *facts,
                       struct str resource, uint64_t divisor_milli, struct arena *arena,
                       struct str *ret_value)
{
        const struct pod_resources *amounts = &container->requests;
        struct str kind, name;

        if (!str_cut(resource, '.', &kind, &name))
                return -EINVAL;
        bool is_limit = str_equal(kind, STR("limits"));
        if (is_limit)
                amounts = &container->limits;
        else if (!str_equal(kind, STR("requests")))
                return -EINVAL;

        unsigned __int128 milli;
        const struct pod_resources *fallback = &facts->allocatable;
        if (str_equal(name, STR("cpu")))
                milli = amounts->cpu_milli || !is_limit ? amounts->cpu_milli : fallback->cpu_milli;
        else if (str_equal(name, STR("memory")))
                milli = (unsigned __int128)1000 *
                        (amounts->memory || !is_limit ? amounts->memory : fallback->memory);
        else if (str_equal(name, STR("ephemeral-storage")))
                milli = (unsigned __int128)1000 * (amounts->ephemeral_storage || !is_limit
                                                           ? amounts->ephemeral_storage
                                                           : fallback->ephemeral_storage);
        else
                return -EINVAL;
        if (divisor_milli == 0)
                divisor_milli = 1000;
        unsigned long long value =
                (unsigned long long)((milli + divisor_milli - 1) / divisor_milli);
        struct str text = arena_printf(arena, "%llu", value);
        if (!text.data)
                return -ENOMEM;
        *ret_value = text;
        return 0;
}

/* ---- ConfigMaps and Secrets ---- */

static const char *source_name(enum pod_source_kind kind)
{
        return kind == POD_SOURCE_SECRET ? "secret" : "configmap";
}

static struct json_value find_source(const struct pod_sources *sources, enum pod_source_kind kind,
                                     struct str name)
{
        return sources ? sources->find(sources->userdata, kind, name) : (struct json_value){};
}

/* A Secret's values are base64, a ConfigMap's text; both end at the first NUL, as in execve(2). */
static int source_value(enum pod_source_kind kind, struct json_value value, struct arena *arena,
                        struct str *ret_value)
{
        struct str text = json_string(value);

        if (kind == POD_SOURCE_SECRET) {
                _cleanup_buffer_ struct buffer decoded = {};
                int r = base64_decode(&decoded, BASE64_STANDARD, text);
                if (r < 0)
                        return r;
                text = arena_str(arena, buffer_str(&decoded));
                if (!text.data)
                        return -ENOMEM;
        }
        if (text.length > 0)
                text.length = strnlen(text.data, text.length);
        *ret_value = text;
        return 0;
}

static int add_env_from(const struct pod_env_from *from, const struct pod_sources *sources,
                        struct variables *variables, struct error *error)
{
        struct json_value source = find_source(sources, from->kind, from->name);

        if (!json_exists(source))
                return from->optional ? 0
                                      : error_set(error, -ENOENT, "%s \"%.*s\" not found",
                                                  source_name(from->kind), STR_FORMAT(from->name));
        json_for_each (it, json_get(source, "data")) {
                struct str value, name = it.key;
                int r = source_value(from->kind, it.value, variables->arena, &value);
                if (r >= 0 && from->prefix.length > 0) {
                        name = arena_printf(variables->arena, "%.*s%.*s", STR_FORMAT(from->prefix),
                                            STR_FORMAT(it.key));
                        r = name.data ? 0 : -ENOMEM;
                }
                if (r >= 0)
                        r = set_variable(variables, name, value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int key_value(const struct pod_env *env, const struct pod_sources *sources,
                     struct arena *arena, struct error *error, struct str *ret_value,
                     bool *ret_absent)
{
        enum pod_source_kind kind =
                env->kind == POD_ENV_SECRET_KEY ? POD_SOURCE_SECRET : POD_SOURCE_CONFIG_MAP;
        struct json_value source = find_source(sources, kind, env->name_of);
        struct json_value value = json_member(json_get(source, "data"), env->key);

        *ret_absent = false;
        if (json_exists(value))
                return source_value(kind, value, arena, ret_value);
        *ret_absent = true;
        if (env->optional)
                return 0;
        if (!json_exists(source))
                return error_set(error, -ENOENT, "%s \"%.*s\" not found", source_name(kind),
                                 STR_FORMAT(env->name_of));
        return error_set(error, -ENOENT, "couldn't find key %.*s in %s %.*s", STR_FORMAT(env->key),
                         source_name(kind), STR_FORMAT(env->name_of));
}

/* ---- all of it ---- */

struct context {
        const struct pod_spec *spec;
        const struct pod_container *container;
        const struct pod_sources *sources;
        const struct pod_facts *facts;
        struct error *error;
};

static int env_value(const struct context *context, const struct pod_env *env,
                     const struct variables *variables, struct str *ret_value, bool *ret_absent)
{
        struct arena *arena = variables->arena;
        int r;

        *ret_absent = false;
        switch (env->kind) {
        case POD_ENV_VALUE:
                return expand_into_arena(variables, env->value, ret_value);
        case POD_ENV_FIELD:
                r = pod_field_value(context->spec, context->facts, env->key, arena, ret_value);
                if (r == -EINVAL)
                        return error_set(context->error, r, "unsupported fieldPath: %.*s",
                                         STR_FORMAT(env->key));
                return r;
        case POD_ENV_RESOURCE: {
                const struct pod_container *container = context->container;
                int index = env->name_of.length > 0
                                    ? pod_spec_find_container(context->spec, env->name_of)
                                    : -1;
                if (env->name_of.length > 0 && index < 0)
                        return error_set(context->error, -EINVAL, "container %.*s not found",
                                         STR_FORMAT(env->name_of));
                if (index >= 0)
                        container = &context->spec->containers[index];
                r = pod_resource_value(container, context->facts, env->key, env->divisor_milli,
                                       arena, ret_value);
                if (r == -EINVAL)
                        return error_set(context->error, r, "unsupported container resource: %.*s",
                                         STR_FORMAT(env->key));
                return r;
        }
        default:
                return key_value(env, context->sources, arena, context->error, ret_value,
                                 ret_absent);
        }
}

static int add_base(const struct context *context, const struct image *image,
                    struct variables *variables)
{
        const struct pod_facts *facts = context->facts;
        struct str hostname =
                context->spec->hostname.length > 0 ? context->spec->hostname : context->spec->name;
        int r = set_variable(variables, STR("HOSTNAME"), hostname);

        for (const char *const *entry = image->env; entry && *entry && r >= 0; entry++) {
                struct str name, value;
                str_cut(str_from(*entry), '=', &name, &value);
                r = set_variable(variables, name, value);
        }
        if (r < 0 || facts->api_host.length == 0)
                return r;
        r = set_variable(variables, STR("KUBERNETES_SERVICE_HOST"), facts->api_host);
        if (r >= 0)
                r = set_variable(variables, STR("KUBERNETES_SERVICE_PORT"), facts->api_port);
        if (r >= 0)
                r = set_variable(variables, STR("KUBERNETES_SERVICE_PORT_HTTPS"), facts->api_port);
        return r;
}

static int add_environment(const struct context *context, const struct image *image,
                           struct variables *variables)
{
        const struct pod_container *container = context->container;

        int r = add_base(context, image, variables);
        for (size_t i = 0; i < container->env_from_count && r >= 0; i++)
                r = add_env_from(&container->env_from[i], context->sources, variables,
                                 context->error);
        for (size_t i = 0; i < container->env_count && r >= 0; i++) {
                struct str value = STR_EMPTY;
                bool is_absent;
                r = env_value(context, &container->env[i], variables, &value, &is_absent);
                if (r >= 0 && !is_absent)
                        r = set_variable(variables, container->env[i].name, value);
        }
        return r;
}

static int add_arguments(const struct variables *variables, const struct pod_strings *strings,
                         const char *const *plain, struct pod_process *process, size_t *bytes)
{
        for (size_t i = 0; i < strings->count; i++) {
                struct str text;
                int r = expand_into_arena(variables, strings->items[i], &text);
                if (r < 0)
                        return r;
                *bytes += text.length + 1;
                process->argv[process->argc++] = (char *)text.data;
        }
        for (; plain && *plain; plain++) {
                struct str text = arena_str(variables->arena, str_from(*plain));
                if (!text.data)
                        return -ENOMEM;
                *bytes += text.length + 1;
                process->argv[process->argc++] = (char *)text.data;
        }
        return *bytes > LIMIT_ARGUMENTS ? -E2BIG : 0;
}

/* The image's default stands only where neither command nor args are given, as with a Docker CMD
 * without ENTRYPOINT. */
static int add_command(const struct context *context, const struct image *image,
                       const struct variables *variables, struct pod_process *process,
                       size_t *bytes)
{
        const struct pod_container *container = context->container;
        size_t defaults = 0;

        while (image->argv[defaults])
                defaults++;
        size_t room = container->command.count + container->args.count + defaults + 1;
        process->argv = arena_new(variables->arena, char *, room);
        if (!process->argv)
                return -ENOMEM;
        bool uses_image = container->command.count == 0 && container->args.count == 0;
        int r = add_arguments(variables, &container->command, uses_image ? image->argv : NULL,
                              process, bytes);
        if (r >= 0)
                r = add_arguments(variables, &container->args, NULL, process, bytes);
        return r;
}

int pod_process_resolve(const struct pod_spec *spec, const struct pod_container *container,
                        const struct image *image, const struct pod_sources *sources,
                        const struct pod_facts *facts, struct arena *arena, struct error *error,
                        struct pod_process *ret_process)
{
        struct context context = { spec, container, sources, facts, error };
        struct variables variables = { .arena = arena };
        struct pod_process process = {};

        int r = add_environment(&context, image, &variables);
        if (r >= 0)
                r = add_command(&context, image, &variables, &process, &variables.bytes);
        if (r == -E2BIG)
                return error_set(error, r, "command and environment are longer than %d bytes",
                                 LIMIT_ARGUMENTS);
        if (r < 0)
                return r;
        process.env = arena_new(arena, char *, variables.count + 1);
        if (!process.env)
                return -ENOMEM;
        for (size_t i = 0; i < variables.count; i++) {
                struct str entry =
                        arena_printf(arena, "%.*s=%.*s", STR_FORMAT(variables.items[i].name),
                                     STR_FORMAT(variables.items[i].value));
                if (!entry.data)
                        return -ENOMEM;
                process.env[process.env_count++] = (char *)entry.data;
        }
        struct str directory = container->working_dir.length > 0 ? container->working_dir
                                                                 : str_from(image->working_dir);
        struct str copy = arena_str(arena, directory);
        if (!copy.data)
                return -ENOMEM;
        process.working_dir = (char *)copy.data;
        *ret_process = process;
        return 0;
}
