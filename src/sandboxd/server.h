// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "net/http_server.h"
#include "sandboxd/command.h"
#include "sandboxd/grpc.h"
#include "sandboxd/process.h"
#include "sandboxd/root.h"

enum { PORT_OFF = -1, PORT_ANY = 0 };

/* Listening sockets that were handed over: from this descriptor on, at most so many. */
enum { INHERITED_FIRST = 3, INHERITED_MAX = 8 };

struct sandboxd_options {
        const char *listen_host;
        int inherited; /* sockets: each is used for the API of its port, if there is one */
        int64_t legacy_port, rest_port, grpc_port; /* PORT_OFF, PORT_ANY or 1 … 65535 */
        const char *base_dir;                      /* of the legacy API */
        const char *root_dir;                      /* of the sandboxd API */
        const char *metadata_prefix;
        uint64_t exec_timeout_ms;
        uint64_t shutdown_timeout_ms;
        uint32_t idle_timeout_ms;
        size_t stream_chunk; /* of the process API's output */
        char **environment;  /* borrowed: of the commands, and of the metadata */
};

/* The three APIs on one loop, one thread; what may block runs on uv's pool. */
struct sandboxd {
        const struct sandboxd_options *options;
        uv_loop_t *uv;
        struct net_loop *loop;
        struct http_server *server;
        struct children children;
        struct commands commands;
        struct processes processes;
        struct grpc_methods methods;
        struct root base, root;
        uint64_t started_ns; /* monotonic */
        bool stopping;
        struct net_timer stop_timer;
        uint64_t stop_kill_ms, stop_deadline_ms; /* of the loop's clock */
        void (*on_stopped)(struct sandboxd *sandboxd);
};

/*
 * Opens the directories (making them if missing) and listens. `options` is borrowed.
 * Returns 0 or a negative errno with a sentence.
 */
int sandboxd_init(struct sandboxd *sandboxd, uv_loop_t *uv, const struct sandboxd_options *options,
                  struct error *error);

/*
 * Asks the commands to end, kills them two seconds later, lets transfers finish until the shutdown
 * timeout, then calls `on_stopped` from the loop. /v1/health says 503 meanwhile.
 */
void sandboxd_stop(struct sandboxd *sandboxd, void (*on_stopped)(struct sandboxd *sandboxd));

/* After `on_stopped`, when nothing else stands on the loop. The process must end soon after. */
void sandboxd_deinit(struct sandboxd *sandboxd);

/* ---- for the APIs ---- */

/* Each answers or starts the exchange. */
void legacy_handle(struct sandboxd *sandboxd, struct http_exchange *exchange);
void files_api_handle(struct sandboxd *sandboxd, struct http_exchange *exchange);

/* process.v1.ProcessService; the context is the struct sandboxd. */
enum { PROCESS_SERVICE_METHODS = 5 };
extern const struct grpc_method process_service_methods[PROCESS_SERVICE_METHODS];

/* POST /execute: a command line, its output and exit code. */
void execute_handle(struct sandboxd *sandboxd, struct http_exchange *exchange);
