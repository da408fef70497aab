// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "client/config.h"
#include "net/loop.h"

/*
 * Credential plugins (client.authentication.k8s.io): a program of the user's that prints an
 * ExecCredential. It gets no standard input; what it says on standard error is the user's to see.
 */
struct exec_credential {
        struct buffer token;       /* empty: none */
        struct buffer certificate; /* PEM; empty: none */
        struct buffer key;
        uint64_t expires_ns; /* realtime; UINT64_MAX: not said */
};

void exec_credential_deinit(struct exec_credential *credential);
#define _cleanup_exec_credential_ _cleanup_(exec_credential_deinit)

/*
 * Reads what a plugin printed, which must be of `api_version`; empty: any. Returns 0, -EBADMSG or
 * -ENOMEM with a sentence; *ret_credential is untouched on failure.
 */
int exec_credential_parse(struct str text, struct str api_version, struct error *error,
                          struct exec_credential *ret_credential);

/* Appends the value of KUBERNETES_EXEC_INFO. */
int exec_info_append(const struct kube_config *config, struct buffer *out);

struct exec_run;

/*
 * Runs the plugin of `config`. `done` is called once from the loop, with the credential, which it
 * may take out, or NULL and a sentence. Returns 0 or a negative errno with a sentence.
 */
typedef void (*exec_done_fn)(void *user, struct exec_credential *credential,
                             const struct error *error);
int exec_run_start(struct net_loop *loop, const struct kube_config *config, exec_done_fn done,
                   void *user, struct error *error, struct exec_run **ret_run);

/* Kills it; `done` is not called. The loop must run until it has no handles before it is closed. */
void exec_run_cancel(struct exec_run *run);
