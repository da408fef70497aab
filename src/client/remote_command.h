// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "client/client.h"

/*
 * A command in a Pod's container, by the exec subresource over a WebSocket: Kubernetes'
 * remotecommand, subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006). The first byte of
 * each message is its channel; the last that comes is a metav1.Status with the exit code.
 */
struct remote_command;

struct remote_command_options {
        struct kube_client *client; /* borrowed */
        struct str name_space, pod;
        struct str container; /* empty: the Pod's only one */
        const char *const *arguments;
        size_t argument_count;
        bool input;    /* it gets a standard input */
        bool terminal; /* on a terminal of its own: all of its output is standard output */
};

/* What ended it. Views live until the callback returns. */
struct remote_command_result {
        int error;       /* 0: it ran; KUBE_…, or -EREMOTEIO: the other side refused or failed */
        unsigned status; /* HTTP status of a refusal; 0: none */
        int exit_code;   /* with error 0; 128 + N after signal N, as the runtime tells it */
        struct str message; /* with error: a sentence */
};

struct remote_command_events {
        /* It is connected; input that was sent earlier is on its way. May be NULL. */
        void (*on_open)(void *user);

        /* What it wrote, there until this returns. */
        void (*on_output)(void *user, bool is_error_output, struct str data);

        /* After remote_command_is_congested(): more may be sent. */
        void (*on_drain)(void *user);

        /* The last callback: the command is gone when it returns. */
        void (*on_end)(void *user, const struct remote_command_result *result);
};

/*
 * Starts it. Callbacks come from the loop only. `events` must live as long as the command, the
 * rest is copied. Returns 0, -EINVAL (a name that cannot stand in a path, no argument) or -ENOMEM.
 */
int remote_command_start(const struct remote_command_options *options,
                         const struct remote_command_events *events, void *user,
                         struct remote_command **ret_command);

/* Gives it up at once: no more callbacks. The server kills what still runs. */
void remote_command_cancel(struct remote_command *command);

/*
 * Input, from on_open on. With too much of it on its way remote_command_is_congested() says so
 * and on_drain will come.
 */
void remote_command_send(struct remote_command *command, struct str data);
bool remote_command_is_congested(const struct remote_command *command);

/*
 * The input has ended. Returns 0, or -EOPNOTSUPP if the server speaks only v4, which has no word
 * for it: the command waits for more.
 */
int remote_command_end_input(struct remote_command *command);

/* The terminal's size in characters. */
void remote_command_resize(struct remote_command *command, unsigned columns, unsigned rows);

/* Holds output back, and lets it come again. A little may still come after pausing. */
void remote_command_pause(struct remote_command *command);
void remote_command_resume(struct remote_command *command);
