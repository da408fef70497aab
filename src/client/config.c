// SPDX-License-Identifier: Apache-2.0
#include "client/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "crypto/encode.h"
#include "json/json.h"
#include "json/writer.h"
#include "json/yaml.h"

enum {
        CONFIG_LIMIT = 1024 * 1024,
        CREDENTIAL_LIMIT = 1024 * 1024,
        TOKEN_LIMIT = 64 * 1024,
        EXEC_ITEMS_LIMIT = 256,
};
#define TOKEN_REREAD_NS   (60 * NS_PER_SECOND)
#define IN_CLUSTER_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

void kube_config_deinit(struct kube_config *config)
{
        buffer_deinit(&config->token_read);
        arena_deinit(&config->arena);
}

/* What reading one file is about. */
struct reader {
        struct kube_config *config;
        const char *folder;
        struct error *error;
};

static int copy(struct reader *reader, struct str text, struct str *ret)
{
        struct str kept = arena_str(&reader->config->arena, text);

        if (!kept.data)
                return error_set(reader->error, -ENOMEM, "out of memory");
        *ret = kept;
        return 0;
}

static int copy_member(struct reader *reader, struct json_value object, const char *key,
                       struct str *ret)
{
        struct str text = json_string(json_member(object, str_from(key)));

        return text.length > 0 ? copy(reader, text, ret) : 0;
}

/* A path as the file means it: relative to the file's own folder. */
static int copy_path(struct reader *reader, struct str path, struct str *ret)
{
        if (str_starts_with(path, STR("/")) || !reader->folder)
                return copy(reader, path, ret);
        *ret = arena_printf(&reader->config->arena, "%s/%.*s", reader->folder, STR_FORMAT(path));
        return ret->data ? 0 : error_set(reader->error, -ENOMEM, "out of memory");
}

/* `key`-data in base64 wins over the path in `key`. */
static int read_credential(struct reader *reader, struct json_value object, const char *key,
                           struct str *ret)
{
        char data_key[64];
        _cleanup_buffer_ struct buffer contents = {};
        int r;

        snprintf(data_key, sizeof(data_key), "%s-data", key);
        struct str data = json_string(json_member(object, str_from(data_key)));
        struct str path = json_string(json_member(object, str_from(key)));
        if (data.length > 0) {
                r = base64_decode(&contents, BASE64_STANDARD, data);
                if (r < 0)
                        return error_set(reader->error, r, "%s is not base64", data_key);
        } else if (path.length > 0) {
                struct str full;
                r = copy_path(reader, path, &full);
                if (r < 0)
                        return r;
                r = file_read(AT_FDCWD, full.data, CREDENTIAL_LIMIT, &contents);
                if (r < 0)
                        return error_prefix(reader->error, r, "cannot read %s %s", key, full.data);
        } else {
                return 0;
        }
        return copy(reader, buffer_str(&contents), ret);
}

/* The member `member` of the entry called `name` in a list of {name, member}. */
static struct json_value find_entry(struct json_value list, struct str name, const char *member)
{
        json_for_each (it, list)
                if (json_string_is(json_get(it.value, "name"), name))
                        return json_member(it.value, str_from(member));
        return (struct json_value){};
}

/* "https://host:port/prefix" into its parts. */
static int read_server(struct reader *reader, struct str server)
{
        struct kube_config *config = reader->config;
        struct str rest, authority, port_text = STR_EMPTY;
        uint64_t port;

        if (server.length == 0)
                return error_set(reader->error, -EINVAL, "the cluster has no server");
        int r = copy(reader, server, &config->server);
        if (r < 0)
                return r;
        rest = config->server;
        config->tls = str_starts_with(rest, STR("https://"));
        if (!config->tls && !str_starts_with(rest, STR("http://")))
                return error_set(reader->error, -EINVAL,
                                 "the server \"%.*s\" begins with neither https:// nor http://",
                                 STR_FORMAT(server));
        rest = str_slice(rest, config->tls ? 8 : 7, rest.length);

        size_t slash = 0;
        while (slash < rest.length && rest.data[slash] != '/')
                slash++;
        authority = str_slice(rest, 0, slash);
        config->prefix = str_slice(rest, slash, rest.length);
        while (str_ends_with(config->prefix, STR("/")))
                config->prefix.length--;

        if (str_starts_with(authority, STR("["))) {
                struct str after;
                if (!str_cut(str_slice(authority, 1, authority.length), ']', &config->host,
                             &after) ||
                    (after.length > 0 && after.data[0] != ':'))
                        goto bad;
                if (after.length > 0)
                        port_text = str_slice(after, 1, after.length);
        } else {
                str_cut(authority, ':', &config->host, &port_text);
        }
        port = config->tls ? 443 : 80;
        if (config->host.length == 0 || memchr(config->host.data, '@', config->host.length) ||
            memchr(config->prefix.data, '?', config->prefix.length) ||
            (port_text.length > 0 && (str_to_u64(port_text, UINT16_MAX, &port) < 0 || port == 0)))
                goto bad;
        config->port = (uint16_t)port;
        return copy(reader, config->host, &config->host);

bad:
        return error_set(reader->error, -EINVAL, "\"%.*s\" is no address of a server",
                         STR_FORMAT(server));
}

static int read_cluster(struct reader *reader, struct json_value cluster)
{
        struct kube_config *config = reader->config;
        int r = read_server(reader, json_string(json_get(cluster, "server")));

        config->insecure = json_bool_or(json_get(cluster, "insecure-skip-tls-verify"), false);
        if (r == 0)
                r = copy_member(reader, cluster, "tls-server-name", &config->server_name);
        if (r == 0)
                r = copy_member(reader, cluster, "proxy-url", &config->proxy);
        if (r == 0 && !config->insecure)
                r = read_credential(reader, cluster, "certificate-authority", &config->ca);
        return r;
}

static int read_strings(struct reader *reader, struct json_value list, struct str **ret_items,
                        size_t *ret_count)
{
        size_t count = json_count(list), used = 0;

        if (count > EXEC_ITEMS_LIMIT)
                return error_set(reader->error, -EINVAL, "exec has too many arguments");
        struct str *items = arena_new(&reader->config->arena, struct str, count + 1);
        if (!items)
                return error_set(reader->error, -ENOMEM, "out of memory");
        json_for_each (it, list) {
                /* Arguments are strings; variables are objects of name and value. */
                struct str name = json_string(json_get(it.value, "name"));
                if (name.length > 0)
                        items[used] =
                                arena_printf(&reader->config->arena, "%.*s=%.*s", STR_FORMAT(name),
                                             STR_FORMAT(json_string(json_get(it.value, "value"))));
                else
                        items[used] = arena_str(&reader->config->arena, json_string(it.value));
                if (!items[used++].data)
                        return error_set(reader->error, -ENOMEM, "out of memory");
        }
        *ret_items = items;
        *ret_count = used;
        return 0;
}

static int read_exec(struct reader *reader, struct json_value value)
{
        struct kube_exec *exec = arena_new(&reader->config->arena, struct kube_exec, 1);
        struct str command = json_string(json_get(value, "command"));

        if (!exec)
                return error_set(reader->error, -ENOMEM, "out of memory");
        if (command.length == 0)
                return error_set(reader->error, -EINVAL, "exec has no command");
        bool has_slash = memchr(command.data, '/', command.length);
        int r = has_slash ? copy_path(reader, command, &exec->command)
                          : copy(reader, command, &exec->command);
        if (r == 0)
                r = copy_member(reader, value, "apiVersion", &exec->api_version);
        if (r == 0)
                r = copy_member(reader, value, "installHint", &exec->install_hint);
        if (r == 0)
                r = read_strings(reader, json_get(value, "args"), &exec->arguments,
                                 &exec->argument_count);
        if (r == 0)
                r = read_strings(reader, json_get(value, "env"), &exec->environment,
                                 &exec->environment_count);
        struct str mode = json_string(json_get(value, "interactiveMode"));
        if (r == 0 && exec->api_version.length > 0 &&
            !str_equal(exec->api_version, STR("client.authentication.k8s.io/v1")) &&
            !str_equal(exec->api_version, STR("client.authentication.k8s.io/v1beta1")))
                return error_set(reader->error, -EINVAL,
                                 "exec has the apiVersion \"%.*s\": only "
                                 "client.authentication.k8s.io/v1 and v1beta1 are supported",
                                 STR_FORMAT(exec->api_version));
        if (r == 0 && str_equal(mode, STR("Always")))
                return error_set(reader->error, -EINVAL,
                                 "exec wants to ask the user (interactiveMode: Always), and there "
                                 "is no terminal for it");
        exec->provide_cluster_info = json_bool_or(json_get(value, "provideClusterInfo"), false);
        if (r == 0)
                reader->config->exec = exec;
        return r;
}

static int read_user(struct reader *reader, struct json_value user)
{
        struct kube_config *config = reader->config;
        struct str token_file = json_string(json_get(user, "tokenFile"));
        struct json_value exec = json_get(user, "exec");
        int r = read_credential(reader, user, "client-certificate", &config->certificate);

        if (r == 0)
                r = read_credential(reader, user, "client-key", &config->key);
        if (r == 0)
                r = copy_member(reader, user, "token", &config->token);
        if (r == 0 && token_file.length > 0)
                r = copy_path(reader, token_file, &config->token_file);
        if (r == 0)
                r = copy_member(reader, user, "username", &config->username);
        if (r == 0)
                r = copy_member(reader, user, "password", &config->password);
        if (r == 0)
                r = copy_member(reader, user, "as", &config->impersonate);
        if (r == 0 && json_type(exec) == JSON_OBJECT)
                r = read_exec(reader, exec);
        if (r == 0 && (config->certificate.length > 0) != (config->key.length > 0))
                r = error_set(reader->error, -EINVAL,
                              "a client certificate and its key must stand together");
        return r;
}

static int read_context(struct reader *reader, struct json_value root, struct str name)
{
        struct kube_config *config = reader->config;
        int r;

        if (name.length == 0)
                name = json_string(json_get(root, "current-context"));
        if (name.length == 0)
                return error_set(reader->error, -ENOENT, "no current-context is set");
        struct json_value context = find_entry(json_get(root, "contexts"), name, "context");
        if (json_type(context) != JSON_OBJECT)
                return error_set(reader->error, -ENOENT, "there is no context \"%.*s\"",
                                 STR_FORMAT(name));
        r = copy(reader, name, &config->context);
        if (r == 0)
                r = copy(reader, json_string_or(json_get(context, "namespace"), STR("default")),
                         &config->name_space);
        if (r < 0)
                return r;

        struct str cluster_name = json_string(json_get(context, "cluster"));
        struct json_value cluster = find_entry(json_get(root, "clusters"), cluster_name, "cluster");
        if (json_type(cluster) != JSON_OBJECT)
                return error_set(reader->error, -ENOENT,
                                 "context \"%.*s\" names the cluster \"%.*s\", which is not there",
                                 STR_FORMAT(name), STR_FORMAT(cluster_name));
        r = read_cluster(reader, cluster);
        if (r < 0)
                return error_prefix(reader->error, r, "cluster \"%.*s\"", STR_FORMAT(cluster_name));

        struct str user_name = json_string(json_get(context, "user"));
        if (user_name.length == 0)
                return 0;
        struct json_value user = find_entry(json_get(root, "users"), user_name, "user");
        if (!json_exists(user))
                return error_set(reader->error, -ENOENT,
                                 "context \"%.*s\" names the user \"%.*s\", which is not there",
                                 STR_FORMAT(name), STR_FORMAT(user_name));
        r = read_user(reader, user);
        if (r < 0)
                return error_prefix(reader->error, r, "user \"%.*s\"", STR_FORMAT(user_name));
        return 0;
}

int kube_config_parse(struct str text, const char *folder, struct str context, struct error *error,
                      struct kube_config *ret_config)
{
        _cleanup_kube_config_ struct kube_config config = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct reader reader = { &config, folder, error };
        size_t offset = 0;

        if (text.length > CONFIG_LIMIT)
                return error_set(error, -EFBIG, "the file is larger than %d bytes", CONFIG_LIMIT);
        int r = yaml_next(text, &offset, error, &doc);
        if (r < 0)
                return r;
        if (r == 0 || json_type(json_root(doc)) != JSON_OBJECT)
                return error_set(error, -EBADMSG, "this is no kubeconfig");
        r = read_context(&reader, json_root(doc), context);
        if (r < 0)
                return r;
        *ret_config = config;
        config = (struct kube_config){};
        return 0;
}

int kube_config_load(const char *path, struct str context, struct error *error,
                     struct kube_config *ret_config)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_free_ char *folder = str_dup(str_from(path));
        int r = file_read(AT_FDCWD, path, CONFIG_LIMIT, &text);

        if (r < 0)
                return error_prefix(error, r, "cannot read %s", path);
        if (!folder)
                return error_set(error, -ENOMEM, "out of memory");
        char *slash = strrchr(folder, '/');
        if (slash)
                slash[slash == folder ? 1 : 0] = '\0';
        _cleanup_kube_config_ struct kube_config config = {};
        r = kube_config_parse(buffer_str(&text), slash ? folder : ".", context, error, &config);
        if (r < 0)
                return error_prefix(error, r, "%s", path);
        /* Without it requests would be nobody's, and whoever reads the refusals misled. */
        if (config.token_file.length > 0 && config.token.length == 0 &&
            access(config.token_file.data, R_OK) < 0)
                return error_set(error, -EINVAL, "%s: cannot read the token file %.*s: %s", path,
                                 STR_FORMAT(config.token_file), strerror(errno));
        config.source = arena_str(&config.arena, str_from(path));
        if (!config.source.data)
                return error_set(error, -ENOMEM, "out of memory");
        *ret_config = config;
        config = (struct kube_config){};
        return 0;
}

/* ---- in a cluster ---- */

/* Without the line ends that files of one value mostly have. */
static struct str one_line(const struct buffer *contents)
{
        struct str text = buffer_str(contents);

        while (str_ends_with(text, STR("\n")) || str_ends_with(text, STR("\r")))
                text.length--;
        return text;
}

int kube_config_in_cluster(const char *folder, struct error *error, struct kube_config *ret_config)
{
        _cleanup_kube_config_ struct kube_config config = {};
        _cleanup_buffer_ struct buffer contents = {};
        struct reader reader = { &config, NULL, error };
        const char *host = getenv("KUBERNETES_SERVICE_HOST");
        const char *port = getenv("KUBERNETES_SERVICE_PORT");
        char server[512], path[512];

        if (!folder)
                folder = IN_CLUSTER_FOLDER;
        if (!host || !*host || !port || !*port)
                return error_set(error, -ENOENT,
                                 "this is no container of a cluster: KUBERNETES_SERVICE_HOST and "
                                 "KUBERNETES_SERVICE_PORT are not set");
        snprintf(server, sizeof(server), strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s",
                 host, port);
        int r = read_server(&reader, str_from(server));
        if (r < 0)
                return r;

        snprintf(path, sizeof(path), "%s/ca.crt", folder);
        r = file_read(AT_FDCWD, path, CREDENTIAL_LIMIT, &contents);
        if (r < 0)
                return error_prefix(error, r, "cannot read %s", path);
        r = copy(&reader, buffer_str(&contents), &config.ca);
        if (r < 0)
                return r;

        snprintf(path, sizeof(path), "%s/namespace", folder);
        buffer_clear(&contents);
        if (file_read(AT_FDCWD, path, LIMIT_NAME, &contents) < 0 || contents.length == 0)
                r = copy(&reader, STR("default"), &config.name_space);
        else
                r = copy(&reader, one_line(&contents), &config.name_space);
        if (r < 0)
                return r;

        snprintf(path, sizeof(path), "%s/token", folder);
        if (access(path, R_OK) < 0)
                return error_prefix(error, -errno, "cannot read %s", path);
        r = copy(&reader, str_from(path), &config.token_file);
        if (r == 0)
                r = copy(&reader, str_from(folder), &config.source);
        if (r < 0)
                return r;
        config.in_cluster = true;
        *ret_config = config;
        config = (struct kube_config){};
        return 0;
}

int kube_config_find(const char *path, struct str context, struct error *error,
                     struct kube_config *ret_config)
{
        const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
        char file[4096];
        int r = -ENOENT;

        if (path)
                return kube_config_load(path, context, error, ret_config);
        if (list && *list) {
                struct str rest = str_from(list), one;
                while (rest.length > 0) {
                        str_cut(rest, ':', &one, &rest);
                        if (one.length == 0 || one.length >= sizeof(file))
                                continue;
                        snprintf(file, sizeof(file), "%.*s", STR_FORMAT(one));
                        r = kube_config_load(file, context, error, ret_config);
                        if (r != -ENOENT)
                                return r;
                }
                return r < 0 && error && error->code == 0
                               ? error_set(error, r, "KUBECONFIG names no file")
                               : r;
        }
        if (getenv("KUBERNETES_SERVICE_HOST") && access(IN_CLUSTER_FOLDER "/token", F_OK) == 0)
                return kube_config_in_cluster(NULL, error, ret_config);
        if (!home || snprintf(file, sizeof(file), "%s/.kube/config", home) >= (int)sizeof(file))
                return error_set(error, -ENOENT, "there is no kubeconfig: set KUBECONFIG");
        return kube_config_load(file, context, error, ret_config);
}

/* ---- tokens ---- */

struct str kube_config_token(struct kube_config *config, uint64_t now)
{
        if (config->token_file.length == 0)
                return config->token;
        if (config->token_read_at == 0 || now - config->token_read_at >= TOKEN_REREAD_NS) {
                _cleanup_buffer_ struct buffer contents = {};
                int r = file_read(AT_FDCWD, config->token_file.data, TOKEN_LIMIT, &contents);
                contents.length = one_line(&contents).length;
                if (r == 0 && contents.length > 0) {
                        struct buffer old = config->token_read;
                        config->token_read = contents;
                        contents = old;
                }
                config->token_read_at = MAX(now, UINT64_C(1));
        }
        return config->token_read.length > 0 ? buffer_str(&config->token_read) : config->token;
}

void kube_config_forget_token(struct kube_config *config)
{
        config->token_read_at = 0;
}

/* ---- reading again ---- */

static bool same_list(const struct str *a, size_t a_count, const struct str *b, size_t b_count)
{
        if (a_count != b_count)
                return false;
        for (size_t i = 0; i < a_count; i++)
                if (!str_equal(a[i], b[i]))
                        return false;
        return true;
}

static bool same_exec(const struct kube_exec *a, const struct kube_exec *b)
{
        if (!a || !b)
                return a == b;
        return str_equal(a->command, b->command) && str_equal(a->api_version, b->api_version) &&
               same_list(a->arguments, a->argument_count, b->arguments, b->argument_count) &&
               same_list(a->environment, a->environment_count, b->environment,
                         b->environment_count);
}

static bool same_config(const struct kube_config *a, const struct kube_config *b)
{
        const struct str pairs[][2] = {
                { a->server, b->server },
                { a->ca, b->ca },
                { a->server_name, b->server_name },
                { a->certificate, b->certificate },
                { a->key, b->key },
                { a->token, b->token },
                { a->token_file, b->token_file },
                { a->username, b->username },
                { a->password, b->password },
                { a->proxy, b->proxy },
                { a->impersonate, b->impersonate },
        };

        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                if (!str_equal(pairs[i][0], pairs[i][1]))
                        return false;
        return a->insecure == b->insecure && same_exec(a->exec, b->exec);
}

int kube_config_reload(const struct kube_config *config, struct kube_config *ret_config)
{
        _cleanup_kube_config_ struct kube_config now = {};
        int r;

        if (config->source.length == 0)
                return 0;
        r = config->in_cluster ? kube_config_in_cluster(config->source.data, NULL, &now)
                               : kube_config_load(config->source.data, config->context, NULL, &now);
        if (r < 0 || same_config(config, &now))
                return MIN(r, 0);
        *ret_config = now;
        now = (struct kube_config){};
        return 1;
}

/* ---- writing ---- */

static void write_base64(struct json_writer *writer, const char *key, struct str data)
{
        _cleanup_buffer_ struct buffer text = {};

        if (data.length == 0)
                return;
        int r = base64_append(&text, BASE64_STANDARD, data.data, data.length);
        if (r < 0 && writer->failure == 0)
                writer->failure = r;
        json_field_string(writer, key, buffer_str(&text));
}

/* Begins the list `key` with its one entry and the object `member` in it. */
static void begin_entry(struct json_writer *writer, const char *key, const char *name,
                        const char *member)
{
        json_field_array(writer, key);
        json_begin_object(writer);
        json_field_string(writer, "name", str_from(name));
        json_field_object(writer, member);
}

static void end_entry(struct json_writer *writer)
{
        json_end_object(writer);
        json_end_object(writer);
        json_end_array(writer);
}

int kube_config_write(const char *path, const struct kube_config_entry *entry)
{
        _cleanup_buffer_ struct buffer json = {}, yaml = {};
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct json_writer writer;

        json_writer_init(&writer, &json);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_string(&writer, "kind", STR("Config"));
        begin_entry(&writer, "clusters", entry->name, "cluster");
        write_base64(&writer, "certificate-authority-data", entry->ca);
        json_field_string(&writer, "server", entry->server);
        end_entry(&writer);
        begin_entry(&writer, "contexts", entry->name, "context");
        json_field_string(&writer, "cluster", str_from(entry->name));
        if (entry->name_space.length > 0)
                json_field_string(&writer, "namespace", entry->name_space);
        json_field_string(&writer, "user", str_from(entry->name));
        end_entry(&writer);
        json_field_string(&writer, "current-context", str_from(entry->name));
        begin_entry(&writer, "users", entry->name, "user");
        write_base64(&writer, "client-certificate-data", entry->certificate);
        write_base64(&writer, "client-key-data", entry->key);
        if (entry->token.length > 0)
                json_field_string(&writer, "token", entry->token);
        end_entry(&writer);
        json_end_object(&writer);

        int r = json_writer_finish(&writer);
        if (r == 0)
                r = json_doc_from_buffer(&json, &doc);
        if (r == 0)
                r = yaml_write(json_root(doc), &yaml);
        if (r == 0)
                r = file_write_atomic(AT_FDCWD, path, buffer_str(&yaml), 0600);
        return r;
}
