// SPDX-License-Identifier: Apache-2.0
/* The sandboxd Filesystem & Runtime REST API, version 1. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sandboxd/job.h"
#include "sandboxd/receive_file.h"
#include "sandboxd/reply.h"
#include "sandboxd/send_file.h"
#include "sandboxd/server.h"
#include "sandboxd/tree.h"
#include "json/writer.h"

static const struct {
        int error;
        unsigned status;
        const char *code, *message;
} refusals[] = {
        { -EXDEV, 403, "PERMISSION_DENIED", "path traversal outside sandbox root is forbidden" },
        { -EACCES, 403, "PERMISSION_DENIED", "permission denied" },
        { -EPERM, 403, "PERMISSION_DENIED", "permission denied" },
        { -EROFS, 403, "PERMISSION_DENIED", "the file system is read-only" },
        { -ENOENT, 404, "NOT_FOUND", "path does not exist within the sandbox" },
        { -ENOTDIR, 404, "NOT_FOUND", "a parent of the path is not a directory" },
        { -ENOTEMPTY, 409, "CONFLICT", "directory is not empty; pass recursive=true to remove it" },
        { -EISDIR, 400, "INVALID_ARGUMENT", "target path is a directory" },
        { -ENXIO, 400, "INVALID_ARGUMENT", "path is neither a file nor a directory" },
        { -EINVAL, 400, "INVALID_ARGUMENT", "path is not valid" },
        { -ENAMETOOLONG, 400, "INVALID_ARGUMENT", "path is too long" },
        { -ELOOP, 400, "INVALID_ARGUMENT", "path has too many symbolic links" },
        { -EBADMSG, 400, "INVALID_ARGUMENT", "invalid multipart body" },
        { -ENODATA, 400, "INVALID_ARGUMENT",
          "multipart body is missing the required \"file\" part" },
};

static void refuse(struct http_exchange *exchange, int error)
{
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
                if (refusals[i].error == error) {
                        reply_code(exchange, refusals[i].status, refusals[i].code,
                                   refusals[i].message, NULL);
                        return;
                }
        reply_code(exchange, 500, "INTERNAL", strerror(-error), NULL);
}

static int render_listing(const struct root *root, const char *path, struct buffer *body)
{
        _cleanup_arena_ struct arena arena = {};
        struct tree_entry *entries;
        struct json_writer writer;
        char shown[PATH_MAX + 1];
        size_t count;
        int r;

        r = tree_list(root, path, true, &arena, &entries, &count);
        if (r < 0)
                return r;
        snprintf(shown, sizeof(shown), "/%s", strcmp(path, ".") == 0 ? "" : path);
        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_string(&writer, "path", str_from(shown));
        json_field_array(&writer, "entries");
        for (size_t i = 0; i < count; i++) {
                const struct stat *stat = &entries[i].stat;
                char modified[RFC3339_SECONDS_SIZE], mode[8];

                rfc3339_format_seconds((uint64_t)MAX(stat->st_mtim.tv_sec, 0) * NS_PER_SECOND,
                                       modified);
                snprintf(mode, sizeof(mode), "%04o", (unsigned)stat->st_mode & 0777);
                json_begin_object(&writer);
                json_field_string(&writer, "name", str_from(entries[i].name));
                json_field_int(&writer, "size", stat->st_size);
                json_field_string(&writer, "type",
                                  S_ISDIR(stat->st_mode) ? STR("directory") : STR("file"));
                json_field_string(&writer, "modified_at", str_from(modified));
                json_field_string(&writer, "mode", str_from(mode));
                json_end_object(&writer);
        }
        json_end_array(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static void get_file(struct sandboxd *sandboxd, struct http_exchange *exchange, const char *path)
{
        const struct send_file_options options = {
                .fail = refuse,
                .list = render_listing,
                .conditional = true,
        };

        send_file(sandboxd->uv, exchange, &sandboxd->root, path, &options);
}

static void put_done(struct http_exchange *exchange, struct str name, int error)
{
        (void)name;
        if (error < 0)
                refuse(exchange, error);
        else
                reply_empty(exchange);
}

/* ^0[0-7]{3}$ */
static int parse_mode(struct str text, int *ret_mode)
{
        int mode = 0;

        if (text.length != 4 || text.data[0] != '0')
                return -EINVAL;
        for (size_t i = 1; i < text.length; i++) {
                if (text.data[i] < '0' || text.data[i] > '7')
                        return -EINVAL;
                mode = mode * 8 + text.data[i] - '0';
        }
        *ret_mode = mode;
        return 0;
}

static void put_file(struct sandboxd *sandboxd, struct http_exchange *exchange, const char *path)
{
        struct receive_file_options options = { .done = put_done, .durable = true, .mode = 0644 };
        struct str mode;
        int r;

        r = http_query_get(exchange->arena, exchange->request.query, STR("mode"), &mode);
        if (r == 1 && mode.length > 0)
                r = parse_mode(mode, &options.mode);
        if (r < 0)
                reply_code(exchange, 400, "INVALID_ARGUMENT", "mode must match ^0[0-7]{3}$", NULL);
        else if (strcmp(path, ".") == 0)
                refuse(exchange, -EISDIR);
        else
                receive_file(sandboxd->uv, exchange, &sandboxd->root, path, &options);
}

struct deletion {
        struct job job;
        struct http_exchange *exchange;
        const struct root *root;
        char *path;
        bool recursive;
        int result;
};

static void deletion_run(struct job *job)
{
        struct deletion *deletion = container_of(job, struct deletion, job);

        deletion->result = tree_remove(deletion->root, deletion->path, deletion->recursive);
}

static void deletion_finish(struct job *job)
{
        struct deletion *deletion = container_of(job, struct deletion, job);

        if (deletion->exchange && deletion->result < 0)
                refuse(deletion->exchange, deletion->result);
        else if (deletion->exchange)
                reply_empty(deletion->exchange);
        free(deletion->path);
        free(deletion);
}

static void deletion_abort(struct http_exchange *exchange, void *user, int error)
{
        struct deletion *deletion = user;

        (void)exchange;
        (void)error;
        deletion->exchange = NULL;
}

/* What Go's strconv.ParseBool() takes, as the API's first implementation does. */
static int parse_bool(struct str text, bool *ret_value)
{
        static const char *const words[2][6] = { { "0", "f", "F", "FALSE", "false", "False" },
                                                 { "1", "t", "T", "TRUE", "true", "True" } };

        for (int value = 0; value < 2; value++)
                for (size_t i = 0; i < ARRAY_SIZE(words[0]); i++)
                        if (str_equal(text, str_from(words[value][i]))) {
                                *ret_value = value;
                                return 0;
                        }
        return -EINVAL;
}

static void delete_file(struct sandboxd *sandboxd, struct http_exchange *exchange, const char *path)
{
        static const struct http_exchange_callbacks callbacks = { .on_abort = deletion_abort };
        bool recursive = false;
        struct str text;
        int r;

        r = http_query_get(exchange->arena, exchange->request.query, STR("recursive"), &text);
        if (r == 1 && text.length > 0)
                r = parse_bool(text, &recursive);
        if (r < 0) {
                reply_code(exchange, 400, "INVALID_ARGUMENT", "recursive must be a boolean", NULL);
                return;
        }
        struct deletion *deletion = malloc(sizeof(*deletion));
        char *copy = deletion ? str_dup(str_from(path)) : NULL;
        if (!copy) {
                free(deletion);
                refuse(exchange, -ENOMEM);
                return;
        }
        *deletion = (struct deletion){ .job = { .run = deletion_run, .finish = deletion_finish },
                                       .exchange = exchange,
                                       .root = &sandboxd->root,
                                       .path = copy,
                                       .recursive = recursive };
        http_exchange_start(exchange, &callbacks, deletion);
        job_start(sandboxd->uv, &deletion->job);
}

static void get_health(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        char body[80];

        if (sandboxd->stopping) {
                reply_code(exchange, 503, "UNAVAILABLE", "sandboxd is shutting down", NULL);
                return;
        }
        snprintf(body, sizeof(body), "{\"status\":\"ok\",\"uptime_seconds\":%llu}",
                 (unsigned long long)((clock_monotonic_ns() - sandboxd->started_ns) /
                                      NS_PER_SECOND));
        http_exchange_respond_text(exchange, 200, "application/json", str_from(body));
}

/* A name that looks like a secret's. The template's author is asked not to put any there at all. */
static bool is_sensitive(struct str name)
{
        static const char *const markers[] = { "TOKEN", "SECRET", "PASSWORD", "PASSWD",  "CRED",
                                               "KEY",   "AUTH",   "BEARER",   "PRIVATE", "CERT" };

        for (size_t i = 0; i < ARRAY_SIZE(markers); i++) {
                struct str marker = str_from(markers[i]);
                for (size_t at = 0; at + marker.length <= name.length; at++)
                        if (str_equal_ignoring_case(str_slice(name, at, at + marker.length),
                                                    marker))
                                return true;
        }
        return false;
}

static void get_metadata(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        struct str prefix = str_from(sandboxd->options->metadata_prefix), name, value;
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        json_field_object(&writer, "env");
        for (char **variable = sandboxd->options->environment; *variable; variable++) {
                if (!str_cut(str_from(*variable), '=', &name, &value) ||
                    !str_starts_with(name, prefix) || is_sensitive(name))
                        continue;
                json_key(&writer, name);
                json_write_string(&writer, value);
        }
        json_end_object(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                refuse(exchange, -ENOMEM);
        else
                reply_json(exchange, 200, &body);
}

static bool method_is(const struct http_exchange *exchange, const char *method)
{
        return str_equal(exchange->request.method, str_from(method));
}

static void handle_file(struct sandboxd *sandboxd, struct http_exchange *exchange,
                        struct str encoded)
{
        char path[PATH_MAX];
        struct str decoded;
        int r;

        r = http_percent_decode(exchange->arena, encoded, false, &decoded);
        if (r == 0)
                r = root_clean(&sandboxd->root, decoded, true, path);
        if (r < 0)
                refuse(exchange, r);
        else if (method_is(exchange, "GET") || method_is(exchange, "HEAD"))
                get_file(sandboxd, exchange, path);
        else if (method_is(exchange, "PUT"))
                put_file(sandboxd, exchange, path);
        else if (method_is(exchange, "DELETE"))
                delete_file(sandboxd, exchange, path);
        else
                reply_code(exchange, 405, "INVALID_ARGUMENT", "method not allowed",
                           "DELETE, GET, HEAD, PUT");
}

void files_api_handle(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        const struct str files = STR("/v1/files");
        struct str path = exchange->request.path;

        if (str_equal(path, files) ||
            (str_starts_with(path, files) && path.data[files.length] == '/')) {
                handle_file(
                        sandboxd, exchange,
                        str_slice(path, files.length + (path.length > files.length), path.length));
                return;
        }
        bool health = str_equal(path, STR("/v1/health"));
        if (!health && !str_equal(path, STR("/v1/metadata")))
                reply_code(exchange, 404, "NOT_FOUND", "there is no such resource", NULL);
        else if (!method_is(exchange, "GET") && !method_is(exchange, "HEAD"))
                reply_code(exchange, 405, "INVALID_ARGUMENT", "method not allowed", "GET, HEAD");
        else if (health)
                get_health(sandboxd, exchange);
        else
                get_metadata(sandboxd, exchange);
}
