// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/list.h"
#include "initproto/initproto.h"
#include "initproto/logring.h"

/* A descriptor in the loop. It is out of epoll while it waits for nothing, so that a hang-up that
 * nobody wants yet does not spin. */
struct source {
        int fd; /* owned; -1: none */
        uint32_t interest;
        void (*ready)(struct source *source, uint32_t events);
};

struct init {
        int epoll;
        struct source listener;
        struct source signals;
        struct list connections;
        unsigned connection_count;
        struct list tasks; /* everything that runs or is connected, the main process too */
        struct logring_writer ring;
        struct task *main; /* NULL before START */
        enum initproto_state state;
        uint64_t started_ns;
        struct initproto_exit exit;
};

/* One node's connection. */
struct connection {
        struct source source;
        struct init *init;
        struct list in_init;
        struct buffer in, out;
        bool watches_log;
        uint64_t log_watched;
        size_t main_owed; /* INPUT for the main process whose room was not given back */
        bool is_broken;   /* to be freed at the end of this turn of the loop */
};

enum task_kind { TASK_MAIN, TASK_EXEC, TASK_CONNECT };

/* The main process, an EXEC, or a CONNECT. */
struct task {
        struct list in_init;
        struct init *init;
        struct connection *connection; /* NULL: the main process's, or its node has gone */
        uint32_t stream;
        enum task_kind kind;
        pid_t pid; /* 0: reaped, or none */
        bool has_exited, is_connecting, is_terminal;
        struct initproto_exit exit;
        struct source input;  /* what INPUT is written to; of a terminal or a connection too */
        struct source output; /* -1 after its end */
        struct source error;
        struct buffer pending; /* INPUT that has not been written */
        bool input_ended;
        size_t credit[INITPROTO_CHANNELS]; /* what the node takes now */
};

/* Sets what a source waits for (EPOLLIN, EPOLLOUT; 0: nothing). */
int source_watch(struct init *init, struct source *source, uint32_t interest);
void source_close(struct init *init, struct source *source);

int connection_accept(struct init *init);
/* Frees it; what it has asked for is killed. */
void connection_free(struct connection *connection);
/* Queues a frame; on failure the connection is broken. */
void connection_send(struct connection *connection, const struct initproto_frame *frame);
/* Sends what the socket takes now. */
void connection_flush(struct connection *connection);
bool connection_is_full(const struct connection *connection);
/* Tells those who asked that the log ring has grown. */
void connections_log_grown(struct init *init);

/* START and EXEC. `connection` is answered. */
int task_run(struct init *init, struct connection *connection, uint32_t stream,
             const struct initproto_process *process);
int task_connect(struct init *init, struct connection *connection, uint32_t stream, struct str host,
                 uint16_t port);
struct task *task_find(struct init *init, const struct connection *connection, uint32_t stream);
/* Takes INPUT; -EPROTO beyond the window. */
int task_input(struct task *task, struct connection *connection, struct str data);
void task_resize(struct task *task, uint16_t rows, uint16_t columns);
void task_signal(struct task *task, int signal);
/* Reads on after the node gave room or the connection has drained. */
void task_resume(struct task *task);
/* A child was reaped. */
void task_reaped(struct init *init, pid_t pid, int status);
void task_free(struct task *task);

/* The descriptors of a process that runs now; -1 where there is none. */
struct spawned {
        pid_t pid;
        int input, output, error; /* the first two may be the same terminal, duplicated */
};

/* Starts a process in a session of its own. On failure *ret_stage says what did not go. */
int spawn(const struct initproto_process *process, struct spawned *ret_spawned,
          const char **ret_stage);
