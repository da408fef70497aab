// SPDX-License-Identifier: Apache-2.0
/* The runtime API of the first guides' Python image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "sandboxd/job.h"
#include "sandboxd/receive_file.h"
#include "sandboxd/reply.h"
#include "sandboxd/send_file.h"
#include "sandboxd/server.h"
#include "sandboxd/tree.h"
#include "sandboxd/upload.h"
#include "json/writer.h"

static const char denied[] = "Access denied";

static void upload_done(struct http_exchange *exchange, struct str name, int error)
{
        if (error == 0)
                reply_message(exchange, 200, "File '%.*s' uploaded successfully.",
                              STR_FORMAT(name));
        else if (error == -EXDEV || error == -EINVAL)
                reply_message(exchange, 403, denied);
        else if (error == -EBADMSG || error == -ENODATA)
                http_exchange_respond_text(
                        exchange, 422, "application/json",
                        STR("{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"file\"],"
                            "\"msg\":\"Field required\",\"input\":null}]}"));
        else
                reply_message(exchange, 500, "File upload failed: %s", strerror(-error));
}

static void upload(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        const struct receive_file_options options = {
                .done = upload_done,
                .mode = UPLOAD_KEEP_MODE,
                .form_only = true,
        };

        receive_file(sandboxd->uv, exchange, &sandboxd->base, NULL, &options);
}

static void download_failed(struct http_exchange *exchange, int error)
{
        if (error == -EXDEV)
                reply_message(exchange, 403, denied);
        else if (error == -ENOENT || error == -ENOTDIR || error == -EISDIR || error == -ENXIO ||
                 error == -ELOOP)
                reply_message(exchange, 404, "File not found");
        else
                reply_message(exchange, 500, "File download failed: %s", strerror(-error));
}

/* RFC 6266: the plain form for names that need no encoding, else the extended one. */
static int render_disposition(struct str name, struct buffer *out)
{
        _cleanup_buffer_ struct buffer encoded = {};
        int r;

        r = http_percent_encode(&encoded, name, "/");
        if (r < 0)
                return r;
        if (str_equal(buffer_str(&encoded), name))
                return buffer_printf(out, "attachment; filename=\"%.*s\"", STR_FORMAT(name));
        return buffer_printf(out, "attachment; filename*=utf-8''%.*s",
                             STR_FORMAT(buffer_str(&encoded)));
}

static void download(struct sandboxd *sandboxd, struct http_exchange *exchange, struct str name,
                     const char *path)
{
        _cleanup_buffer_ struct buffer disposition = {};
        int r = render_disposition(name, &disposition);
        const struct send_file_options options = {
                .fail = download_failed,
                .conditional = true,
                .disposition = buffer_str(&disposition),
        };

        if (r < 0)
                download_failed(exchange, r);
        else
                send_file(sandboxd->uv, exchange, &sandboxd->base, path, &options);
}

/* A question about a path whose answer is JSON. */
struct query {
        struct job job;
        struct http_exchange *exchange; /* NULL after the client has gone */
        const struct root *root;
        char *path;
        struct str name; /* as it was asked; in the same allocation as the path */
        int (*ask)(const struct query *query, struct buffer *body);
        void (*fail)(struct http_exchange *exchange, int error);
        struct buffer body;
        int result;
};

static void query_run(struct job *job)
{
        struct query *query = container_of(job, struct query, job);

        query->result = query->ask(query, &query->body);
}

static void query_finish(struct job *job)
{
        struct query *query = container_of(job, struct query, job);

        if (query->exchange && query->result < 0)
                query->fail(query->exchange, query->result);
        else if (query->exchange)
                reply_json(query->exchange, 200, &query->body);
        buffer_deinit(&query->body);
        free(query->path);
        free(query);
}

static void query_abort(struct http_exchange *exchange, void *user, int error)
{
        struct query *query = user;

        (void)exchange;
        (void)error;
        query->exchange = NULL;
}

static void query_start(struct sandboxd *sandboxd, struct http_exchange *exchange, struct str name,
                        const char *path,
                        int (*ask)(const struct query *query, struct buffer *body),
                        void (*fail)(struct http_exchange *exchange, int error))
{
        static const struct http_exchange_callbacks callbacks = { .on_abort = query_abort };
        struct query *query = malloc(sizeof(*query));
        size_t length = strlen(path) + 1;
        char *copy = query ? malloc(length + name.length) : NULL;

        if (!copy) {
                free(query);
                fail(exchange, -ENOMEM);
                return;
        }
        memcpy(copy, path, length);
        if (name.length > 0)
                memcpy(copy + length, name.data, name.length);
        *query = (struct query){ .job = { .run = query_run, .finish = query_finish },
                                 .exchange = exchange,
                                 .root = &sandboxd->base,
                                 .path = copy,
                                 .name = { copy + length, name.length },
                                 .ask = ask,
                                 .fail = fail };
        http_exchange_start(exchange, &callbacks, query);
        job_start(sandboxd->uv, &query->job);
}

static int ask_list(const struct query *query, struct buffer *body)
{
        _cleanup_arena_ struct arena arena = {};
        struct tree_entry *entries;
        struct json_writer writer;
        size_t count;
        int r;

        r = tree_list(query->root, query->path, false, &arena, &entries, &count);
        if (r < 0)
                return r;
        json_writer_init(&writer, body);
        json_begin_array(&writer);
        for (size_t i = 0; i < count; i++) {
                const struct stat *stat = &entries[i].stat;
                char modified[48];

                snprintf(modified, sizeof(modified), "%lld.%09ld", (long long)stat->st_mtim.tv_sec,
                         stat->st_mtim.tv_nsec);
                json_begin_object(&writer);
                json_field_string(&writer, "name", str_from(entries[i].name));
                json_field_int(&writer, "size", stat->st_size);
                json_field_string(&writer, "type",
                                  S_ISDIR(stat->st_mode) ? STR("directory") : STR("file"));
                json_field_raw(&writer, "mod_time", str_from(modified));
                json_end_object(&writer);
        }
        json_end_array(&writer);
        return json_writer_finish(&writer);
}

static void list_failed(struct http_exchange *exchange, int error)
{
        if (error == -EXDEV)
                reply_message(exchange, 403, denied);
        else if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP)
                reply_message(exchange, 404, "Path is not a directory");
        else
                reply_message(exchange, 500, "List files failed: %s", strerror(-error));
}

static int ask_exists(const struct query *query, struct buffer *body)
{
        _cleanup_close_ int fd = root_open_path(query->root, query->path, O_PATH);
        struct json_writer writer;

        if (fd == -EXDEV)
                return fd;
        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_string(&writer, "path", query->name);
        json_field_bool(&writer, "exists", fd >= 0);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static void exists_failed(struct http_exchange *exchange, int error)
{
        if (error == -EXDEV)
                reply_message(exchange, 403, denied);
        else
                reply_message(exchange, 500, "Exists check failed: %s", strerror(-error));
}

enum path_route { DOWNLOAD, LIST, EXISTS };

static void handle_path(struct sandboxd *sandboxd, struct http_exchange *exchange,
                        enum path_route route, struct str encoded)
{
        char path[PATH_MAX];
        struct str name;
        int r;

        r = http_percent_decode(exchange->arena, encoded, false, &name);
        if (r == 0)
                r = root_clean(&sandboxd->base, name, false, path);
        if (r == -ENOMEM)
                reply_message(exchange, 500, "%s", strerror(-r));
        else if (r == -ENAMETOOLONG && route == EXISTS)
                /* What no file can be called does not exist: any name that fits gives the same. */
                query_start(sandboxd, exchange, name, "file/that/is/none", ask_exists,
                            exists_failed);
        else if (r == -ENAMETOOLONG && route == DOWNLOAD)
                download_failed(exchange, -ENOENT);
        else if (r == -ENAMETOOLONG)
                list_failed(exchange, -ENOENT);
        else if (r < 0)
                reply_message(exchange, 403, denied);
        else if (route == DOWNLOAD)
                download(sandboxd, exchange, name, path);
        else if (route == LIST)
                query_start(sandboxd, exchange, name, path, ask_list, list_failed);
        else
                query_start(sandboxd, exchange, name, path, ask_exists, exists_failed);
}

static void handle_root(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        (void)sandboxd;
        http_exchange_respond_text(
                exchange, 200, "application/json",
                STR("{\"status\":\"ok\",\"message\":\"Sandbox Runtime is active.\"}"));
}

static const struct {
        const char *path;
        bool is_post;
        void (*handle)(struct sandboxd *sandboxd, struct http_exchange *exchange);
} routes[] = {
        { "/", false, handle_root },
        { "/execute", true, execute_handle },
        { "/upload", true, upload },
};

static const struct {
        const char *prefix;
        enum path_route route;
} path_routes[] = {
        { "/download/", DOWNLOAD },
        { "/list/", LIST },
        { "/exists/", EXISTS },
};

static bool method_fits(const struct http_exchange *exchange, bool is_post)
{
        struct str method = exchange->request.method;

        if (is_post)
                return str_equal(method, STR("POST"));
        return str_equal(method, STR("GET")) || str_equal(method, STR("HEAD"));
}

static void refuse_method(struct http_exchange *exchange, bool is_post)
{
        reply_detail(exchange, 405, "Method Not Allowed", is_post ? "POST" : "GET");
}

void legacy_handle(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        struct str path = exchange->request.path;

        for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
                if (!str_equal(path, str_from(routes[i].path)))
                        continue;
                if (method_fits(exchange, routes[i].is_post))
                        routes[i].handle(sandboxd, exchange);
                else
                        refuse_method(exchange, routes[i].is_post);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(path_routes); i++) {
                struct str prefix = str_from(path_routes[i].prefix);

                if (!str_starts_with(path, prefix))
                        continue;
                if (method_fits(exchange, false))
                        handle_path(sandboxd, exchange, path_routes[i].route,
                                    str_slice(path, prefix.length, path.length));
                else
                        refuse_method(exchange, false);
                return;
        }
        reply_detail(exchange, 404, "Not Found", NULL);
}
