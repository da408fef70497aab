// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/receive_file.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "sandboxd/job.h"
#include "sandboxd/multipart.h"
#include "sandboxd/upload.h"

/* What is collected before a thread writes it, and again while it does. */
enum { COLLECT_SIZE = 64 * 1024 };

enum part_state { PART_AWAITED, PART_OPEN, PART_COMPLETE };

struct receiving {
        struct job job;
        uv_loop_t *uv;
        struct http_exchange *exchange; /* NULL after the client has gone */
        struct receive_file_options options;
        const struct root *root;
        struct multipart *form; /* NULL: the body is the file */
        enum part_state part;
        bool form_ended, body_ended;
        bool working, paused;
        int error; /* seen by the loop: nothing more is written */
        char *name;
        struct buffer collected;

        /* The thread's while `working`. */
        char path[PATH_MAX];
        struct upload upload;
        struct buffer writing;
        bool begun, commit, committed;
        int result;
};

static void receiving_free(struct receiving *receiving)
{
        if (receiving->begun)
                upload_abort(&receiving->upload);
        buffer_deinit(&receiving->collected);
        buffer_deinit(&receiving->writing);
        free(receiving->form);
        free(receiving->name);
        free(receiving);
}

static void run(struct job *job)
{
        struct receiving *receiving = container_of(job, struct receiving, job);
        int r = 0;

        if (!receiving->begun) {
                r = upload_begin(&receiving->upload, receiving->root, receiving->path,
                                 receiving->options.mode);
                receiving->begun = r == 0;
        }
        if (r == 0 && receiving->writing.length > 0)
                r = upload_write(&receiving->upload, receiving->writing.data,
                                 receiving->writing.length);
        if (r == 0 && receiving->commit) {
                r = upload_commit(&receiving->upload, receiving->options.durable);
                receiving->committed = r == 0;
        }
        receiving->result = r;
}

static void answer(struct receiving *receiving)
{
        struct http_exchange *exchange = receiving->exchange;
        struct receive_file_options options = receiving->options;
        int error = receiving->error;
        struct str name = arena_str(exchange->arena, str_from(receiving->name));

        receiving_free(receiving);
        options.done(exchange, name, error);
}

/* Goes on as far as it can: gives work to a thread, or answers. May free. */
static void advance(struct receiving *receiving)
{
        bool complete = receiving->body_ended && receiving->part == PART_COMPLETE;

        if (receiving->working)
                return;
        if (!receiving->exchange) {
                receiving_free(receiving);
                return;
        }
        if (receiving->error < 0 || receiving->committed) {
                answer(receiving);
                return;
        }
        if (!complete &&
            (receiving->collected.length < COLLECT_SIZE || receiving->part == PART_AWAITED))
                return;
        struct buffer empty = receiving->writing;
        receiving->writing = receiving->collected;
        receiving->collected = empty;
        buffer_clear(&receiving->collected);
        receiving->commit = complete;
        receiving->working = true;
        job_start(receiving->uv, &receiving->job);
        if (receiving->paused) {
                receiving->paused = false;
                http_exchange_resume(receiving->exchange);
        }
}

static void finish(struct job *job)
{
        struct receiving *receiving = container_of(job, struct receiving, job);

        receiving->working = false;
        if (receiving->result < 0)
                receiving->error = receiving->result;
        advance(receiving);
}

static int set_name(struct receiving *receiving, struct str name)
{
        int r = root_clean(receiving->root, name, false, receiving->path);

        if (r < 0)
                return r;
        receiving->name = str_dup(name);
        return receiving->name ? 0 : -ENOMEM;
}

static int begin_part(struct receiving *receiving)
{
        const struct multipart *form = receiving->form;

        if (receiving->part != PART_AWAITED || !str_equal(form->name, STR("file")))
                return 0;
        receiving->part = PART_OPEN;
        if (receiving->name)
                return 0;
        if (!form->has_filename || form->filename.length == 0)
                return -ENODATA;
        return set_name(receiving, form->filename);
}

static int take_form(struct receiving *receiving, struct str input)
{
        struct str data;
        int r;

        while ((r = multipart_next(receiving->form, &input, &data)) > 0) {
                if (r == MULTIPART_ENDS)
                        receiving->form_ended = true;
                else if (r == MULTIPART_PART_BEGINS)
                        r = begin_part(receiving);
                else if (receiving->part == PART_OPEN && r == MULTIPART_PART_ENDS)
                        receiving->part = PART_COMPLETE;
                else if (receiving->part == PART_OPEN)
                        r = buffer_append_str(&receiving->collected, data);
                if (r < 0)
                        break;
        }
        return r;
}

static void on_body(struct http_exchange *exchange, void *user, struct str data)
{
        struct receiving *receiving = user;
        int r;

        if (receiving->error < 0)
                return;
        r = receiving->form ? take_form(receiving, data)
                            : buffer_append_str(&receiving->collected, data);
        if (r < 0)
                receiving->error = r;
        else if (receiving->collected.length >= COLLECT_SIZE && receiving->working &&
                 !receiving->paused) {
                receiving->paused = true;
                http_exchange_pause(exchange);
        }
        advance(receiving);
}

static void on_body_end(struct http_exchange *exchange, void *user)
{
        struct receiving *receiving = user;

        (void)exchange;
        receiving->body_ended = true;
        if (receiving->error == 0 && receiving->form && !receiving->form_ended)
                receiving->error = -EBADMSG;
        else if (receiving->error == 0 && receiving->form && receiving->part == PART_AWAITED)
                receiving->error = -ENODATA;
        else if (!receiving->form)
                receiving->part = PART_COMPLETE;
        advance(receiving);
}

static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct receiving *receiving = user;

        (void)exchange;
        (void)error;
        receiving->exchange = NULL;
        advance(receiving);
}

static const struct http_exchange_callbacks callbacks = {
        .on_body = on_body,
        .on_body_end = on_body_end,
        .on_abort = on_abort,
};

static int prepare(struct receiving *receiving, const char *path)
{
        struct str type =
                http_headers_get(&receiving->exchange->request.headers, STR("Content-Type"));

        if (path && set_name(receiving, str_from(path)) < 0)
                return -ENOMEM;
        if (!receiving->options.form_only && !multipart_is_type(type)) {
                receiving->part = PART_OPEN;
                return 0;
        }
        receiving->form = malloc(sizeof(*receiving->form));
        if (!receiving->form)
                return -ENOMEM;
        return multipart_init(receiving->form, type) < 0 ? -EBADMSG : 0;
}

void receive_file(uv_loop_t *uv, struct http_exchange *exchange, const struct root *root,
                  const char *path, const struct receive_file_options *options)
{
        struct receiving *receiving = calloc(1, sizeof(*receiving));
        int r = -ENOMEM;

        if (receiving) {
                receiving->job = (struct job){ .run = run, .finish = finish };
                receiving->uv = uv;
                receiving->exchange = exchange;
                receiving->options = *options;
                receiving->root = root;
                r = prepare(receiving, path);
        }
        if (r < 0) {
                if (receiving)
                        receiving_free(receiving);
                options->done(exchange, STR(""), r);
                return;
        }
        http_exchange_start(exchange, &callbacks, receiving);
}
