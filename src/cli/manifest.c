// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest.h"

#include <errno.h>

#include "base/clock.h"
#include "kube/quantity.h"
#include "json/writer.h"

#define NANO 1000000000

/* With less, a container ends before its command begins. */
#define MEMORY_LEAST (1024 * 1024)

int manifest_limits_read(const char *cpu, const char *memory, struct error *error,
                         struct manifest_limits *ret_limits)
{
        struct quantity amount;

        if (cpu && (quantity_parse(str_from(cpu), &amount) < 0 || amount.nano <= 0))
                return error_set(error, -EINVAL,
                                 "--cpu takes an amount such as 2 or 500m, not '%s'", cpu);
        if (memory && (quantity_parse(str_from(memory), &amount) < 0 || amount.nano % NANO != 0 ||
                       quantity_whole(&amount) < MEMORY_LEAST))
                return error_set(error, -EINVAL,
                                 "--memory takes an amount such as 512Mi or 2Gi, and 1Mi at least, "
                                 "not '%s'",
                                 memory);
        *ret_limits = (struct manifest_limits){ str_from(cpu), str_from(memory) };
        return 0;
}

/* apiVersion, kind and metadata; the object stays open. */
static void begin(struct json_writer *writer, const char *api_version, const char *kind,
                  struct str name, const char *label, struct str value)
{
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", str_from(api_version));
        json_field_string(writer, "kind", str_from(kind));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_object(writer, "labels");
        json_field_string(writer, label, value);
        json_end_object(writer);
        json_end_object(writer);
        json_field_object(writer, "spec");
}

static int end(struct json_writer *writer)
{
        json_end_object(writer);
        json_end_object(writer);
        return json_writer_finish(writer);
}

static void write_shutdown(struct json_writer *writer, uint64_t shutdown_ns)
{
        char time[RFC3339_SECONDS_SIZE];

        if (shutdown_ns == 0)
                return;
        rfc3339_format_seconds(shutdown_ns, time);
        json_field_string(writer, "shutdownTime", str_from(time));
        json_field_string(writer, "shutdownPolicy", STR("Delete"));
}

static void write_env(struct json_writer *writer, const struct option_strings *env)
{
        if (env->count == 0)
                return;
        json_field_array(writer, "env");
        for (size_t i = 0; i < env->count; i++) {
                struct str name, value;
                str_cut(str_from(env->items[i]), '=', &name, &value);
                json_begin_object(writer);
                json_field_string(writer, "name", name);
                json_field_string(writer, "value", value);
                json_end_object(writer);
        }
        json_end_array(writer);
}

static void write_limits(struct json_writer *writer, const struct manifest_limits *limits)
{
        if (limits->cpu.length == 0 && limits->memory.length == 0)
                return;
        json_field_object(writer, "resources");
        json_field_object(writer, "limits");
        if (limits->cpu.length > 0)
                json_field_string(writer, "cpu", limits->cpu);
        if (limits->memory.length > 0)
                json_field_string(writer, "memory", limits->memory);
        json_end_object(writer);
        json_end_object(writer);
}

int manifest_sandbox(const struct run_manifest *run, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        begin(&writer, "agents.x-k8s.io/v1beta1", "Sandbox", run->name, LABEL_RUN, run->token);
        write_shutdown(&writer, run->shutdown_ns);
        json_field_object(&writer, "podTemplate");
        json_field_object(&writer, "spec");
        json_field_bool(&writer, "automountServiceAccountToken", false);
        if (!run->keep) {
                /* What does not start is told at once, and what is thrown away goes at once. */
                json_field_string(&writer, "restartPolicy", STR("Never"));
                json_field_int(&writer, "terminationGracePeriodSeconds", 1);
        }
        json_field_array(&writer, "containers");
        json_begin_object(&writer);
        json_field_string(&writer, "name", STR("main"));
        json_field_string(&writer, "image", run->image);
        if (!str_equal(run->image, STR(DEFAULT_IMAGE))) {
                /* Most images' own command ends without a terminal, and the sandbox with it. */
                json_field_array(&writer, "command");
                json_write_string(&writer, STR("sleep"));
                json_write_string(&writer, STR("2147483647"));
                json_end_array(&writer);
        }
        write_env(&writer, run->env);
        write_limits(&writer, &run->limits);
        if (run->working_dir.length > 0)
                json_field_string(&writer, "workingDir", run->working_dir);
        json_end_object(&writer);
        json_end_array(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return end(&writer);
}

int manifest_claim(const struct run_manifest *run, struct buffer *out)
{
        struct json_writer writer;
        bool by_pool = run->pool.length > 0;

        json_writer_init(&writer, out);
        begin(&writer,
              by_pool ? "extensions.agents.x-k8s.io/v1beta1"
                      : "extensions.agents.x-k8s.io/v1alpha1",
              "SandboxClaim", run->name, LABEL_RUN, run->token);
        json_field_object(&writer, by_pool ? "warmPoolRef" : "sandboxTemplateRef");
        json_field_string(&writer, "name", by_pool ? run->pool : run->template);
        json_end_object(&writer);
        if (run->shutdown_ns > 0) {
                json_field_object(&writer, "lifecycle");
                write_shutdown(&writer, run->shutdown_ns);
                json_end_object(&writer);
        }
        return end(&writer);
}

int manifest_template(struct str name, struct str image, const struct manifest_limits *limits,
                      const char *const *arguments, size_t argument_count, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        begin(&writer, "extensions.agents.x-k8s.io/v1beta1", "SandboxTemplate", name,
              LABEL_MADE_FOR, name);
        json_field_object(&writer, "podTemplate");
        json_field_object(&writer, "spec");
        json_field_array(&writer, "containers");
        json_begin_object(&writer);
        json_field_string(&writer, "name", STR("main"));
        json_field_string(&writer, "image", image);
        write_limits(&writer, limits);
        if (argument_count > 0) {
                json_field_array(&writer, "command");
                for (size_t i = 0; i < argument_count; i++)
                        json_write_string(&writer, str_from(arguments[i]));
                json_end_array(&writer);
        } else if (str_equal(image, STR(DEFAULT_IMAGE))) {
                json_field_array(&writer, "ports");
                json_begin_object(&writer);
                json_field_int(&writer, "containerPort", 8888);
                json_end_object(&writer);
                json_end_array(&writer);
                /* A claim is to find its server listening. */
                json_field_object(&writer, "readinessProbe");
                json_field_int(&writer, "periodSeconds", 1);
                json_field_object(&writer, "httpGet");
                json_field_string(&writer, "path", STR("/"));
                json_field_int(&writer, "port", 8888);
                json_end_object(&writer);
                json_end_object(&writer);
        }
        json_end_object(&writer);
        json_end_array(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return end(&writer);
}

int manifest_pool(struct str name, int64_t replicas, struct buffer *out)
{
        struct json_writer writer;

        json_writer_init(&writer, out);
        begin(&writer, "extensions.agents.x-k8s.io/v1beta1", "SandboxWarmPool", name,
              LABEL_MADE_FOR, name);
        json_field_int(&writer, "replicas", replicas);
        json_field_object(&writer, "sandboxTemplateRef");
        json_field_string(&writer, "name", name);
        json_end_object(&writer);
        return end(&writer);
}
