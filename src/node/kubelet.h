// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/http_server.h"
#include "node/internal.h"

/*
 * The kubelet API: GET|POST /pods/NAMESPACE/NAME/SUBRESOURCE?QUERY on a Unix socket, SUBRESOURCE
 * and QUERY as in the Kubernetes API: log, exec, attach, portforward. Errors are Status objects.
 * For the programs of this machine that are shown as Pods there are log and portforward.
 * The API server has authorized whoever asks.
 */
struct kubelet {
        struct node *node;
        struct net_address mirror_addresses[MIRRORED_PROGRAMS]; /* empty: forwarded nowhere */
        struct http_server *server;
        struct list logs, mirror_logs, commands, forwards; /* what is going on */
};

/* One request, as far as all have it in common. */
struct kubelet_request {
        struct kubelet *kubelet;
        struct http_exchange *exchange;
        struct node_pod *pod;
        size_t index; /* of the container */
        int mirror;   /* with no pod: the program of this machine that is shown as it */
};

/* What `kubectl logs` asks for. */
struct kubelet_log_options {
        bool follows, with_times, previous;
        uint64_t since_ns;         /* realtime; 0: from the beginning */
        uint64_t tail, bytes_left; /* lines and bytes; UINT64_MAX: all */
};

/* A query parameter; empty when absent. Returns 0, -EINVAL or -ENOMEM. */
int kubelet_query(const struct kubelet_request *request, const char *name, struct str *ret_value);
bool kubelet_query_is_true(const struct kubelet_request *request, const char *name);

#define KUBELET_BAD_LOG_OPTIONS "sinceSeconds, sinceTime, tailLines or limitBytes is malformed"

/* Reads them from the query. A negative errno if one is malformed. */
int kubelet_read_log_options(const struct kubelet_request *request,
                             struct kubelet_log_options *ret_options);

/* Answers with a Status; ends the exchange. */
_printf_(4, 5) void kubelet_refuse(struct http_exchange *exchange, unsigned status,
                                   const char *reason, const char *format, ...);

/* Writes a Status: success, an exit code, or a failure. */
int kubelet_status_success(struct buffer *out);
int kubelet_status_exit(struct buffer *out, unsigned code);
int kubelet_status_failure(struct buffer *out, const char *reason, unsigned code,
                           const char *message);

/* Each takes the exchange over. */
void kubelet_log(const struct kubelet_request *request);
void kubelet_exec(const struct kubelet_request *request, bool is_attach);
void kubelet_forward(const struct kubelet_request *request);

/* The log of a program of this machine: a text file, not a ring. */
void kubelet_log_mirror(const struct kubelet_request *request);

void kubelet_free_logs(struct kubelet *kubelet);
void kubelet_free_mirror_logs(struct kubelet *kubelet);
void kubelet_free_commands(struct kubelet *kubelet);
void kubelet_free_forwards(struct kubelet *kubelet);

/* What is going on goes on without the Pod, which is about to be freed. */
void kubelet_forget_commands(struct kubelet *kubelet, const struct node_pod *pod);
void kubelet_forget_forwards(struct kubelet *kubelet, const struct node_pod *pod);

/*
 * The newest attempt of the container that has a log, or the one before that. *ret_fd is the ring.
 * Returns 0 or -ENOENT.
 */
int kubelet_open_log(struct node_pod *pod, size_t index, bool previous, int *ret_fd,
                     uint32_t *ret_attempt);

/* The container if it runs now, else NULL; `pod` may be NULL. */
struct node_container *kubelet_running(struct node_pod *pod, size_t index);
