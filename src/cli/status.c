// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/options.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "json/writer.h"

enum { CHILDREN_LIMIT = 4096, COMMAND_LINE_LIMIT = 4096, KUBECONFIG_LIMIT = 256 * 1024 };

/* The role that a child of the supervisor plays; empty: it does not run it yet. */
static struct str role_of(struct str pid, struct buffer *command_line)
{
        char path[64];
        struct str program, rest, role, more;

        snprintf(path, sizeof(path), "/proc/%.*s/cmdline", STR_FORMAT(pid));
        buffer_clear(command_line);
        if (file_read(AT_FDCWD, path, COMMAND_LINE_LIMIT, command_line) < 0)
                return STR_EMPTY;
        str_cut(buffer_str(command_line), '\0', &program, &rest);
        str_cut(rest, '\0', &role, &more);
        return str_equal(role, STR("up")) ? STR_EMPTY : role;
}

static int write_roles(struct json_writer *writer, pid_t supervisor)
{
        _cleanup_buffer_ struct buffer children = {}, command_line = {};
        char path[64];
        struct str pid, rest;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
        int r = file_read(AT_FDCWD, path, CHILDREN_LIMIT, &children);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        rest = buffer_str(&children);
        while (rest.length > 0) {
                uint64_t number;
                str_cut(rest, ' ', &pid, &rest);
                struct str role = role_of(pid, &command_line);
                if (role.length == 0 || str_to_u64(pid, INT32_MAX, &number) < 0)
                        continue;
                json_begin_object(writer);
                json_field_string(writer, "name", role);
                json_field_int(writer, "pid", (int64_t)number);
                json_end_object(writer);
        }
        return 0;
}

static int describe(const struct instance *instance, pid_t pid, struct buffer *out)
{
        struct instance_addresses addresses = {};
        struct json_writer writer;
        int r = 0;

        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_bool(&writer, "running", pid != 0);
        json_field_string(&writer, "data", str_from(instance->data));
        json_field_string(&writer, "kubeconfig", str_from(instance->kubeconfig));
        if (pid != 0) {
                r = instance_read_addresses(instance, &addresses);
                json_field_int(&writer, "pid", pid);
                json_field_string(&writer, "api", str_from(addresses.api));
                json_field_string(&writer, "router", str_from(addresses.router));
                json_field_array(&writer, "roles");
                if (r == 0)
                        r = write_roles(&writer, pid);
                json_end_array(&writer);
        }
        json_end_object(&writer);
        int written = json_writer_finish(&writer);
        return r < 0 ? r : written;
}

static void print_text(struct json_value status)
{
        if (!json_bool_or(json_get(status, "running"), false)) {
                printf("cay is not running on %.*s; start it with cay up\n",
                       STR_FORMAT(json_string(json_get(status, "data"))));
                return;
        }
        printf("API         https://%.*s\n", STR_FORMAT(json_string(json_get(status, "api"))));
        printf("router      http://%.*s\n", STR_FORMAT(json_string(json_get(status, "router"))));
        printf("kubeconfig  %.*s\n", STR_FORMAT(json_string(json_get(status, "kubeconfig"))));
        printf("processes   supervisor %lld", (long long)json_int64_or(json_get(status, "pid"), 0));
        json_for_each (role, json_get(status, "roles"))
                printf(", %.*s %lld", STR_FORMAT(json_string(json_get(role.value, "name"))),
                       (long long)json_int64_or(json_get(role.value, "pid"), 0));
        printf("\n");
}

int command_status(int argc, char **argv, struct error *error)
{
        const char *data = NULL, *output = "text";
        const struct option_spec specs[] = {
                OPTION_STRING("data", 0, &data, "FOLDER", "the instance's folder ($CAY_DATA)"),
                OPTION_STRING("output", 'o', &output, "FORMAT", "text or json"),
                OPTION_END,
        };
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct instance instance;
        pid_t pid = 0;

        if (command_help(command_find("status"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r < 0)
                return r;
        if (strcmp(output, "text") != 0 && strcmp(output, "json") != 0)
                return error_set(error, -EINVAL, "--output is text or json, not '%s'", output);
        r = instance_open(data, false, error, &instance);
        if (r < 0)
                return r;
        r = instance_running(&instance, &pid);
        if (r == 0)
                r = describe(&instance, pid, &text);
        if (r == 0)
                r = json_doc_from_buffer(&text, &doc);
        if (r < 0)
                return error_set(error, r, "cannot read the state of %s: %s", instance.data,
                                 strerror(-r));
        if (strcmp(output, "json") == 0)
                printf("%.*s\n", STR_FORMAT(json_doc_text(doc)));
        else
                print_text(json_root(doc));
        return pid == 0 ? 1 : 0;
}

int command_kubeconfig(int argc, char **argv, struct error *error)
{
        const char *data = NULL;
        const struct option_spec specs[] = {
                OPTION_STRING("data", 0, &data, "FOLDER", "the instance's folder ($CAY_DATA)"),
                OPTION_END,
        };
        _cleanup_buffer_ struct buffer text = {};
        struct instance instance;

        if (command_help(command_find("kubeconfig"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r == 0)
                r = instance_open(data, false, error, &instance);
        if (r < 0)
                return r;
        r = file_read(AT_FDCWD, instance.kubeconfig, KUBECONFIG_LIMIT, &text);
        if (r < 0)
                return error_set(error, r, "cannot read %s: %s%s", instance.kubeconfig,
                                 strerror(-r), r == -EACCES ? "; run it with sudo" : "");
        fwrite(text.data, 1, text.length, stdout);
        return 0;
}
