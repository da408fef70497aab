// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "initproto/client.h"
#include "runtime/launcher.h"
#include "runtime/native.h"

/*
 * For tests and benches: a launcher in a process of its own with names, addresses and folders that
 * are free, and the node's side in this process, made to block. Failures abort with a sentence.
 */
struct testbed {
        char folder[64], run[80], volumes[80], state[80], skeleton[80], cgroup[32], interface[16];
        struct launcher_config config;
        pid_t launcher;
        int sockets[2]; /* node's, launcher's */
        struct runtime *runtime;
        /* What the events said last. */
        uint64_t answered;
        unsigned answers, failures; /* so far */
        int result;
        char reason[RUNTIME_REASON];
        struct container_usage usage;
        uint64_t measured;
        struct container_exit exits[LIMIT_CONTAINERS];
        unsigned exit_count[LIMIT_CONTAINERS];
        unsigned exit_total;
        struct container_key found[64];
        struct sandbox_spec found_sandboxes[64];
        unsigned found_count, found_containers;
        bool found_end;
};

/* `init` is the static init's path; `change` may change the configuration before the start. */
void testbed_start(struct testbed *bed, const char *init,
                   void (*change)(struct launcher_config *config));
/* Ends the launcher, cleans up, and removes the folders. */
void testbed_stop(struct testbed *bed);
/* Starts the launcher process (again) on the same sockets. */
void testbed_launcher_start(struct testbed *bed);
void testbed_launcher_end(struct testbed *bed, int signal);
/* A new node on the same state. */
void testbed_node_restart(struct testbed *bed);

/* Waits for the answer to `call` and returns its result. */
int testbed_wait(struct testbed *bed, uint64_t call);
void testbed_dispatch_until(struct testbed *bed, const bool *condition);
void testbed_wait_exit(struct testbed *bed, uint32_t container, unsigned count);

/* Address number `n` of the Pod network. */
uint32_t testbed_address(const struct testbed *bed, uint32_t n);
int testbed_create(struct testbed *bed, const char *id, uint32_t address);
struct container_spec testbed_spec(const char *id, uint32_t container);
int testbed_launch(struct testbed *bed, const struct container_spec *spec);
int testbed_destroy(struct testbed *bed, const char *id);
struct container_key testbed_key(const char *id, uint32_t container);

/* A connection to a container's init. */
struct session {
        struct initproto_client *client;
        int fd;
        struct initproto_hello hello;
        bool has_hello, started, failed, exited, ended;
        int error;
        struct initproto_exit exit;
        struct buffer output, error_output;
};

void session_open(struct session *session, struct testbed *bed, const struct container_key *key);
void session_close(struct session *session);
/* One turn of sending and receiving; false when init has closed. */
bool session_pump(struct session *session);
void session_until(struct session *session, const bool *condition);
/* Starts the main process: `sh -c script`. */
void session_start(struct session *session, const char *script);

/* Runs `sh -c script` in the container; returns its exit code, or a negative errno. The output,
 * NUL-terminated, is in `output` if that is not NULL. */
int testbed_run(struct testbed *bed, const struct container_key *key, const char *script,
                char *output, size_t size);
