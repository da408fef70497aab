// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "net/http_server.h"
#include "sandboxd/root.h"

struct send_file_options {
        /* Answers when the file cannot be sent: -EISDIR, -ENXIO (no regular file), -EXDEV … */
        void (*fail)(struct http_exchange *exchange, int error);

        /*
         * For directories, on a thread: appends the JSON text to answer with. NULL: -EISDIR.
         * Returns 0 or a negative errno.
         */
        int (*list)(const struct root *root, const char *path, struct buffer *body);

        bool conditional;       /* Range, If-Range and If-Modified-Since are honoured */
        struct str disposition; /* Content-Disposition, or empty; copied */
};

/*
 * Answers with the contents of the file at a cleaned path, read in pieces as the client takes
 * them, so that its size does not matter.
 */
void send_file(uv_loop_t *uv, struct http_exchange *exchange, const struct root *root,
               const char *path, const struct send_file_options *options);
