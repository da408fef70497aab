// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "net/http_server.h"
#include "sandboxd/root.h"

struct receive_file_options {
        /*
         * Answers. `name` is the path given to receive_file() or the file name of the form.
         * `error` is 0, what upload.h gave, -EBADMSG (no form, or cut off), -ENODATA (a form
         * without a part `file`), or what root_clean() gave for the file name.
         */
        void (*done)(struct http_exchange *exchange, struct str name, int error);

        bool durable;   /* on disk before the answer */
        int mode;       /* permission bits, or UPLOAD_KEEP_MODE */
        bool form_only; /* the body must be multipart/form-data; else raw bodies are taken too */
};

/*
 * Writes a request's body, or the part `file` of a form, to a file as it comes, holding the client
 * back when the disk is slower. The file at `path` (a cleaned one) appears whole or not at all;
 * without `path` the part's file name says where, and its parents are made.
 */
void receive_file(uv_loop_t *uv, struct http_exchange *exchange, const struct root *root,
                  const char *path, const struct receive_file_options *options);
