// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/send_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "sandboxd/job.h"
#include "sandboxd/range.h"
#include "sandboxd/reply.h"

enum { PIECE_SIZE = 64 * 1024 };

struct sending {
        struct job job;
        uv_loop_t *uv;
        struct http_exchange *exchange; /* NULL after the client has gone */
        struct send_file_options options;
        const struct root *root;
        char *path;
        char *disposition;
        bool begun;   /* the head is sent */
        bool working; /* the job is on a thread */
        bool waiting; /* for the client to take more */

        int fd;
        int result;
        struct stat stat;
        uint64_t offset, left;
        struct buffer listing;
        size_t length; /* of what was read into the piece */
        char piece[PIECE_SIZE];
};

static void sending_free(struct sending *sending)
{
        fd_close(sending->fd);
        buffer_deinit(&sending->listing);
        free(sending->path);
        free(sending->disposition);
        free(sending);
}

static void open_file(struct sending *sending)
{
        int fd = root_open_path(sending->root, sending->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

        sending->fd = fd;
        sending->result = MIN(fd, 0);
        if (fd >= 0 && fstat(fd, &sending->stat) < 0)
                sending->result = -errno;
        if (sending->result < 0)
                return;
        if (S_ISREG(sending->stat.st_mode)) {
                sending->left = (uint64_t)sending->stat.st_size;
                return;
        }
        if (!S_ISDIR(sending->stat.st_mode))
                sending->result = -ENXIO;
        else if (!sending->options.list)
                sending->result = -EISDIR;
        else
                sending->result =
                        sending->options.list(sending->root, sending->path, &sending->listing);
}

static void read_piece(struct sending *sending)
{
        size_t size = MIN(sending->left, (uint64_t)PIECE_SIZE);
        ssize_t got;

        do
                got = pread(sending->fd, sending->piece, size, (off_t)sending->offset);
        while (got < 0 && errno == EINTR);
        /* A file that shrank since its size was told cannot be answered in full any more. */
        sending->result = got > 0 || size == 0 ? 0 : got < 0 ? -errno : -EIO;
        sending->length = got > 0 ? (size_t)got : 0;
}

static void run(struct job *job)
{
        struct sending *sending = container_of(job, struct sending, job);

        if (sending->fd < 0)
                open_file(sending);
        else
                read_piece(sending);
}

static void work(struct sending *sending)
{
        sending->working = true;
        job_start(sending->uv, &sending->job);
}

static void on_drain(struct http_exchange *exchange, void *user)
{
        struct sending *sending = user;

        (void)exchange;
        if (!sending->waiting)
                return;
        sending->waiting = false;
        work(sending);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct sending *sending = user;

        (void)exchange;
        (void)error;
        sending->exchange = NULL;
        if (!sending->working)
                sending_free(sending);
}

static const struct http_exchange_callbacks callbacks = {
        .on_drain = on_drain,
        .on_abort = on_abort,
};

static bool is_unmodified_since(const struct sending *sending, struct str date)
{
        int64_t seconds;

        return date.data && http_date_parse(date, &seconds) == 0 &&
               sending->stat.st_mtim.tv_sec <= seconds;
}

/* Applies the request's conditions: the status, with offset and left set to what is to be sent. */
static unsigned choose_part(struct sending *sending)
{
        const struct http_headers *headers = &sending->exchange->request.headers;
        struct str range = http_headers_get(headers, STR("Range"));
        struct str if_range = http_headers_get(headers, STR("If-Range"));

        if (is_unmodified_since(sending, http_headers_get(headers, STR("If-Modified-Since"))))
                return 304;
        if (!range.data || (if_range.data && !is_unmodified_since(sending, if_range)))
                return 200;
        switch (range_parse(range, sending->left, &sending->offset, &sending->left)) {
        case RANGE_PART:
                return 206;
        case RANGE_UNSATISFIABLE:
                return 416;
        case RANGE_WHOLE:
                break;
        }
        return 200;
}

/* Sends the head. Returns whether a body follows. */
static bool begin(struct sending *sending)
{
        uint64_t size = sending->left;
        unsigned status = sending->options.conditional ? choose_part(sending) : 200;
        char modified[HTTP_DATE_SIZE], range[96] = "";
        struct http_header headers[5];
        size_t count = 0;

        http_date_format((uint64_t)MAX(sending->stat.st_mtim.tv_sec, 0) * NS_PER_SECOND, modified);
        headers[count++] =
                (struct http_header){ STR("Content-Type"), STR("application/octet-stream") };
        headers[count++] = (struct http_header){ STR("Last-Modified"), str_from(modified) };
        if (sending->options.conditional)
                headers[count++] = (struct http_header){ STR("Accept-Ranges"), STR("bytes") };
        if (sending->disposition)
                headers[count++] = (struct http_header){ STR("Content-Disposition"),
                                                         str_from(sending->disposition) };
        if (status == 206)
                snprintf(range, sizeof(range), "bytes %llu-%llu/%llu",
                         (unsigned long long)sending->offset,
                         (unsigned long long)(sending->offset + sending->left - 1),
                         (unsigned long long)size);
        else if (status == 416)
                snprintf(range, sizeof(range), "bytes */%llu", (unsigned long long)size);
        if (range[0])
                headers[count++] = (struct http_header){ STR("Content-Range"), str_from(range) };
        sending->begun = true;
        if (status == 304 || status == 416) {
                http_exchange_respond(sending->exchange, status, headers, count,
                                      (struct stream_piece){});
                return false;
        }
        http_exchange_begin(sending->exchange, status, headers, count, (int64_t)sending->left);
        if (sending->left == 0 || str_equal(sending->exchange->request.method, STR("HEAD"))) {
                http_exchange_end(sending->exchange, NULL, 0);
                return false;
        }
        return true;
}

/* Sends what was read. Returns whether there is more to come. */
static bool send_piece(struct sending *sending)
{
        struct stream_piece piece = { { sending->piece, sending->length } };

        sending->offset += sending->length;
        sending->left -= sending->length;
        http_exchange_send(sending->exchange, &piece, 1);
        if (sending->left > 0)
                return true;
        http_exchange_end(sending->exchange, NULL, 0);
        return false;
}

static void finish(struct job *job)
{
        struct sending *sending = container_of(job, struct sending, job);
        bool more = false;

        sending->working = false;
        if (!sending->exchange) {
                /* The client has gone. */
        } else if (sending->result < 0 && !sending->begun) {
                sending->options.fail(sending->exchange, sending->result);
        } else if (sending->result < 0) {
                http_exchange_abort(sending->exchange);
        } else if (S_ISDIR(sending->stat.st_mode)) {
                reply_json(sending->exchange, 200, &sending->listing);
        } else {
                more = sending->begun ? send_piece(sending) : begin(sending);
        }
        if (!more) {
                sending_free(sending);
                return;
        }
        if (http_exchange_is_congested(sending->exchange))
                sending->waiting = true;
        else
                work(sending);
}

void send_file(uv_loop_t *uv, struct http_exchange *exchange, const struct root *root,
               const char *path, const struct send_file_options *options)
{
        struct sending *sending = malloc(sizeof(*sending));

        if (!sending) {
                options->fail(exchange, -ENOMEM);
                return;
        }
        /* The piece is left out, so that its pages stay untouched until it is filled. */
        memset(sending, 0, offsetof(struct sending, piece));
        sending->job = (struct job){ .run = run, .finish = finish };
        sending->uv = uv;
        sending->exchange = exchange;
        sending->options = *options;
        sending->root = root;
        sending->fd = -1;
        sending->path = str_dup(str_from(path));
        sending->disposition = options->disposition.length ? str_dup(options->disposition) : NULL;
        if (!sending->path || (options->disposition.length && !sending->disposition)) {
                sending_free(sending);
                options->fail(exchange, -ENOMEM);
                return;
        }
        http_exchange_start(exchange, &callbacks, sending);
        work(sending);
}
