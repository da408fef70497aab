// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "cli/api_client.h"

/* A command in a Pod, joined to this process's standard input, output and error output. */
struct session_options {
        struct str pod, container; /* container empty: the Pod's only one */
        const char *const *arguments;
        size_t argument_count;
        bool input;    /* -i */
        bool terminal; /* -t: standard input is a terminal, and gives up its own ways meanwhile */
};

/* Whether standard input can be a session's terminal: 0, or -EINVAL with a sentence. */
int session_check(const struct session_options *options, struct error *error);

/*
 * Runs it to its end. Returns its exit code; or -EINTR, -ETIME (then it is ended, too), -EPIPE
 * (nobody reads its output), or as api.h says, each with a sentence.
 */
int session_run(struct api_client *api, const struct session_options *options, struct error *error);
