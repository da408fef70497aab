// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/address.h"
#include "net/loop.h"
#include "router/forward.h"

/*
 * One line a request on standard error, in the form of base/log.h. Lines of one turn of the loop go
 * out together; they may then stand behind a line of another kind that was written after them.
 */
struct access_log {
        struct net_loop *loop;
        struct buffer lines;
        struct net_task flush;
        uint64_t second; /* that `stamp` is of */
        char stamp[32];
        bool enabled;
};

void access_log_init(struct access_log *log, struct net_loop *loop, bool enabled);

/* Writes what is left. */
void access_log_deinit(struct access_log *log);

/* What the log and the metrics need to know of a request. */
struct account {
        struct str method, path, user_agent, id, name_space;
        char client_ip[NET_ADDRESS_SIZE];
        struct trace trace;
        uint64_t begun_ns;
};

void access_log_add(struct access_log *log, const struct account *account, unsigned status,
                    uint64_t took_ns, uint64_t bytes_out);
