// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/*
 * How to reach one API server and as whom: one context of a kubeconfig file
 * (client.authentication.k8s.io and clientcmd's documentation) or the ServiceAccount of a Pod.
 */
struct kube_config {
        struct arena arena; /* holds every string below; all of them are NUL-terminated */

        struct str server; /* as written: "https://host:port/prefix" */
        bool tls;
        struct str host; /* without brackets */
        uint16_t port;
        struct str prefix; /* path before /api, without a slash at its end; mostly empty */

        struct str ca;          /* PEM; empty: the system's authorities */
        struct str server_name; /* to verify instead of `host`; empty: host */
        bool insecure;          /* do not verify the server */
        struct str certificate; /* PEM; empty: none */
        struct str key;         /* PEM */

        struct str token;      /* bearer token; empty: none */
        struct str token_file; /* read again as kube_config_token() says; wins over token */
        struct buffer token_read;
        uint64_t token_read_at; /* monotonic ns; 0: never */

        struct str username, password; /* basic authentication; empty: none */

        struct str name_space;  /* the context's, or "default" */
        struct str context;     /* its name; empty in a cluster */
        struct str proxy;       /* proxy-url; empty: none */
        struct str impersonate; /* user.as; empty: none */
        struct kube_exec *exec; /* credential plugin; NULL: none */

        struct str source; /* the file, or in a cluster the folder; empty: neither */
        bool in_cluster;
};

/* user.exec: the program that prints an ExecCredential. */
struct kube_exec {
        struct str command; /* relative ones with a slash: to the file's folder */
        struct str *arguments;
        size_t argument_count;
        struct str *environment; /* NAME=value */
        size_t environment_count;
        struct str api_version; /* client.authentication.k8s.io/v1 or v1beta1; empty: v1 */
        struct str install_hint;
        bool provide_cluster_info;
};

void kube_config_deinit(struct kube_config *config);
#define _cleanup_kube_config_ _cleanup_(kube_config_deinit)

/*
 * Takes the context `context` (empty: current-context) out of a kubeconfig text. Files that it
 * names relative to itself are looked for under `folder`. Errors have a sentence that names the
 * entry: -ENOENT (no such context, cluster or user), -EBADMSG, -EINVAL, what open(2) gave,
 * -ENOMEM. *ret_config is untouched on failure.
 */
int kube_config_parse(struct str text, const char *folder, struct str context, struct error *error,
                      struct kube_config *ret_config);

/* The same from one file. */
int kube_config_load(const char *path, struct str context, struct error *error,
                     struct kube_config *ret_config);

/*
 * The ServiceAccount that every container finds in /var/run/secrets/kubernetes.io/serviceaccount,
 * KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. -ENOENT outside of a Pod. `folder` NULL is
 * the usual place.
 */
int kube_config_in_cluster(const char *folder, struct error *error, struct kube_config *ret_config);

/*
 * What a program without further orders uses: `path` if not NULL, else the first file of
 * $KUBECONFIG that has the context, else in a cluster, else ~/.kube/config.
 */
int kube_config_find(const char *path, struct str context, struct error *error,
                     struct kube_config *ret_config);

/*
 * The bearer token to send now, empty if there is none. A token file is read again every minute
 * and after kube_config_forget_token() (a 401). If it cannot be read the last token stays.
 * `now` is monotonic. The result lives until the next call.
 */
struct str kube_config_token(struct kube_config *config, uint64_t now);
void kube_config_forget_token(struct kube_config *config);

/*
 * Reads again where `config` comes from: the same context of the same file. Returns 1 with what is
 * there now if it differs in anything, 0 if it does not, or a negative errno as above.
 */
int kube_config_reload(const struct kube_config *config, struct kube_config *ret_config);

/* One cluster, user and context, for kube_config_write(). Empty members are left out. */
struct kube_config_entry {
        const char *name; /* of all three */
        struct str server, ca, certificate, key, token, name_space;
};

/* Writes a kubeconfig of one context to `path` with mode 0600, atomically. */
int kube_config_write(const char *path, const struct kube_config_entry *entry);
