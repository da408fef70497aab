// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "net/http_server.h"
#include "net/loop.h"

/*
 * The local Kubernetes API: what kube-apiserver is on a cluster, for one machine. One loop thread
 * owns it; its store has a writer thread.
 */
struct apiserver;

/* A bearer token known from the start. */
struct apiserver_token {
        struct str token;
        struct str user; /* "system:node:cay" */
        const struct str *groups;
        size_t group_count;
};

/* Who a request comes from, once that is known. Strings live as long as the request. */
struct api_user {
        struct str name; /* "system:serviceaccount:default:x", "system:anonymous" */
        struct str uid;  /* may be empty */
        const struct str *groups;
        size_t group_count;
        struct str pod_name, pod_uid; /* of a token that is bound to a Pod; else empty */
};

/* A request for what only the node can give: log, exec, attach or portforward of a Pod. */
struct apiserver_pod_request {
        struct str subresource; /* "log" */
        struct str name_space, name;
        struct json_doc *pod; /* as it is now; borrowed for the call */
        struct str query;     /* as it came */
        const struct api_user *user;
};

struct jwt_key;

struct apiserver_config {
        struct net_loop *loop;
        const char *data_directory; /* of the store; NULL: memory only */
        const char *data_vfs;       /* see store.h; for tests */

        const struct apiserver_token *tokens; /* copied */
        size_t token_count;

        /* ServiceAccount tokens: keys[0] signs, all verify. Borrowed. None: no such tokens. */
        const struct jwt_key *const *jwt_keys;
        size_t jwt_key_count;
        struct str issuer;         /* "https://kubernetes.default.svc" if empty */
        struct str ca_certificate; /* PEM: what kube-root-ca.crt holds. Copied */
        struct str build_version;  /* "0.1.0+abcdef", for /version. Copied */

        /*
         * Takes the exchange over: it was authorised and not started. NULL: answered with 501. The
         * Pod is bound to a node.
         */
        void (*pod_stream)(void *user, struct http_exchange *exchange,
                           const struct apiserver_pod_request *request);

        /* More checks for /readyz, appended as lines "[+]name ok"; NULL: none. */
        bool (*ready)(void *user, char why[static 128]);

        /* What is on disk is not known: say so, end the process and start anew. */
        void (*failed)(void *user, int reason);

        /* Appends Prometheus lines of the rest of the process to /metrics. NULL: none. */
        int (*metrics)(void *user, struct buffer *out);
        void *user;
};

/*
 * Opens the data, makes what every cluster has (namespaces, roles, the built-in definitions) and is
 * ready to serve. Errors have a sentence: see store_open().
 */
int apiserver_new(const struct apiserver_config *config, struct error *error,
                  struct apiserver **ret_server);

/*
 * Ends all requests, writes what was accepted and closes the data. Memory goes when the uv loop has
 * run its closing callbacks.
 */
void apiserver_free(struct apiserver *server);

/*
 * Serves on an address, with TLS if `filter` is not NULL (without it only on Unix sockets and
 * loopback). `ret_listener` may be NULL; it is the server's.
 */
int apiserver_listen(struct apiserver *server, const struct net_address *address,
                     struct stream_filter *filter, struct error *error,
                     struct listener **ret_listener);

/* The same over a listening descriptor, which is the server's from then on. */
int apiserver_adopt(struct apiserver *server, int fd, struct stream_filter *filter,
                    struct error *error, struct listener **ret_listener);

/* The objects, for controllers in the same process. */
struct storage *apiserver_storage(struct apiserver *server);

/* Whether `user` may do so: for those who serve streams themselves. */
bool apiserver_is_allowed(struct apiserver *server, const struct api_user *user, struct str verb,
                          struct str group, struct str resource, struct str subresource,
                          struct str name_space, struct str name);
