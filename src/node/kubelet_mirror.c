// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "node/kubelet.h"

/*
 * `kubectl logs` of a program of this machine: a text file that it appends to, each line with its
 * time as the first word. So --timestamps has nothing to add.
 */
enum { SCAN_SIZE = 64 * 1024, TIME_MAX = 40 };

struct mirror_log {
        struct list link;
        struct http_exchange *exchange;
        struct kubelet_log_options options;
        struct net_loop *loop;
        uv_fs_event_t grown;
        bool is_watching; /* `grown` is open */
        int fd;
        uint64_t offset; /* of what is sent next */
};

static void free_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void log_free(struct mirror_log *log)
{
        list_remove(&log->link);
        log->fd = fd_close(log->fd);
        if (log->is_watching)
                uv_close((uv_handle_t *)&log->grown, free_closed);
        else
                free(log);
}

void kubelet_free_mirror_logs(struct kubelet *kubelet)
{
        struct mirror_log *log;

        list_for_each (log, &kubelet->mirror_logs, link)
                log_free(log);
}

/* ---- where to begin ---- */

/* The offset of the last `lines` lines; a negative errno. */
static int64_t find_tail(int fd, uint64_t size, uint64_t lines, char *scratch)
{
        uint64_t end = size, found = 0;

        while (end > 0) {
                size_t length = (size_t)MIN(end, (uint64_t)SCAN_SIZE);
                ssize_t got = pread(fd, scratch, length, (off_t)(end - length));
                if (got != (ssize_t)length)
                        return got < 0 ? -errno : -EIO;
                for (size_t i = length; i-- > 0;) {
                        uint64_t at = end - length + i;
                        /* The last line's own end begins no other. */
                        if (scratch[i] == '\n' && at + 1 < size && ++found == lines)
                                return (int64_t)at + 1;
                }
                end -= length;
        }
        return lines == 0 ? (int64_t)size : 0;
}

/* Whether the line tells a time at or after `since_ns`; one that tells none belongs to the last. */
static bool is_since(struct str line, uint64_t since_ns)
{
        struct str time, rest;
        uint64_t at;

        return str_cut(line, ' ', &time, &rest) && time.length < TIME_MAX &&
               rfc3339_parse(time, &at) >= 0 && at >= since_ns;
}

/* The offset of the first line from `offset` on that is not older than `since_ns`. */
static int64_t find_since(int fd, uint64_t offset, uint64_t since_ns, char *scratch)
{
        for (;;) {
                ssize_t got = pread(fd, scratch, SCAN_SIZE, (off_t)offset);
                if (got <= 0)
                        return got < 0 ? -errno : (int64_t)offset;
                struct str line, rest = { scratch, (size_t)got };
                const char *next = scratch;
                while (str_cut(rest, '\n', &line, &rest)) {
                        if (is_since(line, since_ns))
                                return (int64_t)offset + (line.data - scratch);
                        next = line.data + line.length + 1;
                }
                /* A line that fills the buffer is none of ours. */
                offset += next > scratch ? (uint64_t)(next - scratch) : (uint64_t)got;
                if (got < SCAN_SIZE)
                        return (int64_t)offset;
        }
}

static int find_beginning(struct mirror_log *log, uint64_t size)
{
        char *scratch = net_loop_read_buffer(log->loop);
        int64_t offset = 0;

        if (log->options.tail < UINT64_MAX)
                offset = find_tail(log->fd, size, log->options.tail, scratch);
        if (offset >= 0 && log->options.since_ns > 0)
                offset = find_since(log->fd, (uint64_t)offset, log->options.since_ns, scratch);
        if (offset < 0)
                return (int)offset;
        log->offset = (uint64_t)offset;
        return 0;
}

/* ---- sending ---- */

static void finish(struct mirror_log *log)
{
        struct http_exchange *exchange = log->exchange;

        log_free(log);
        http_exchange_end(exchange, NULL, 0);
}

/* Sends until the client is slow or the file ends. The log may be gone afterwards. */
static void pump(struct mirror_log *log)
{
        char *buffer = net_loop_read_buffer(log->loop);

        while (!http_exchange_is_congested(log->exchange)) {
                size_t most = (size_t)MIN(log->options.bytes_left, (uint64_t)SCAN_SIZE);
                ssize_t got = pread(log->fd, buffer, most, (off_t)log->offset);
                if (got == 0 && most > 0 && log->options.follows) {
                        http_exchange_flush(log->exchange);
                        return;
                }
                if (got <= 0) {
                        finish(log);
                        return;
                }
                log->offset += (uint64_t)got;
                if (log->options.bytes_left < UINT64_MAX)
                        log->options.bytes_left -= (uint64_t)got;
                const struct stream_piece piece = { .data = { buffer, (size_t)got } };
                http_exchange_send(log->exchange, &piece, 1);
        }
}

static void on_grown(uv_fs_event_t *handle, const char *name, int events, int status)
{
        struct mirror_log *log = handle->data;
        struct stat file;

        (void)name, (void)events, (void)status;
        if (fstat(log->fd, &file) == 0 && (uint64_t)file.st_size < log->offset)
                log->offset = 0; /* somebody has emptied it */
        pump(log);
}

static void on_drain(struct http_exchange *exchange, void *user)
{
        (void)exchange;
        pump(user);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        (void)exchange, (void)error;
        log_free(user);
}

static const struct http_exchange_callbacks callbacks = { .on_drain = on_drain,
                                                          .on_abort = on_abort };

/* ---- the request ---- */

/* Watches the file from before it is read, so that nothing is missed. */
static int follow(struct mirror_log *log, const char *path)
{
        int r = uv_fs_event_init(net_loop_uv(log->loop), &log->grown);

        if (r < 0)
                return r;
        log->grown.data = log;
        log->is_watching = true;
        return uv_fs_event_start(&log->grown, on_grown, path, 0);
}

static int open_log(struct mirror_log *log, const char *path)
{
        struct stat file;

        log->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (log->fd < 0 || fstat(log->fd, &file) < 0)
                return -errno;
        if (!S_ISREG(file.st_mode))
                return -EINVAL;
        int r = log->options.follows ? follow(log, path) : 0;
        return r < 0 ? r : find_beginning(log, (uint64_t)file.st_size);
}

static void refuse(const struct kubelet_request *request, int error)
{
        const struct mirrored_program *program = &mirrored_programs[request->mirror];

        if (error == -EDOM)
                kubelet_refuse(request->exchange, 400, "BadRequest", KUBELET_BAD_LOG_OPTIONS);
        else if (error == -ENOENT)
                kubelet_refuse(request->exchange, 404, "NotFound",
                               "cay %s writes where cay up was started; only cay up -d keeps "
                               "its log",
                               program->role);
        else
                kubelet_refuse(request->exchange, 500, "InternalError",
                               "the log of cay %s cannot be read: %s", program->role,
                               strerror(-error));
}

static int start(const struct kubelet_request *request, struct mirror_log *log)
{
        const struct mirrored_program *program = &mirrored_programs[request->mirror];
        const char *folder = request->kubelet->node->config->mirror_logs;
        char path[PATH_MAX];

        if (kubelet_read_log_options(request, &log->options) < 0)
                return -EDOM;
        if (!folder)
                return -ENOENT;
        if ((size_t)snprintf(path, sizeof(path), "%s/%s.log", folder, program->role) >=
            sizeof(path))
                return -ENAMETOOLONG;
        return open_log(log, path);
}

void kubelet_log_mirror(const struct kubelet_request *request)
{
        const struct mirrored_program *program = &mirrored_programs[request->mirror];
        const struct http_header type = { STR("Content-Type"), STR("text/plain") };
        struct mirror_log *log = calloc(1, sizeof(*log));
        int r;

        if (!log) {
                kubelet_refuse(request->exchange, 500, "InternalError", "out of memory");
                return;
        }
        log->exchange = request->exchange;
        log->loop = request->kubelet->node->loop;
        log->fd = -1;
        list_init(&log->link);
        r = start(request, log);
        if (r == 0 && log->options.previous) {
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "previous terminated container \"%s\" in pod \"%s\" not found",
                               program->container, program->pod);
                log_free(log);
                return;
        }
        if (r < 0) {
                refuse(request, r);
                log_free(log);
                return;
        }
        list_append(&request->kubelet->mirror_logs, &log->link);
        http_exchange_start(request->exchange, &callbacks, log);
        http_exchange_begin(request->exchange, 200, &type, 1, HTTP_LENGTH_UNKNOWN);
        pump(log);
}
