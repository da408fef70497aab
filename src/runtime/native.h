// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/runtime.h"

/*
 * The native runtime as the node sees it: sends requests to the launcher, opens volumes with the
 * node's own rights and passes them on, keeps control sockets and log rings in the state folder,
 * and watches pidfds. Single-threaded, loop-neutral (runtime_poll_fd()).
 */
struct native_config {
        int launcher_fd;     /* connected SOCK_SEQPACKET to the launcher; borrowed */
        const char *volumes; /* absolute path of the folder that `source` is relative to */
        const char
                *state; /* absolute path of a folder of the node's, short (sockets stand there) */
};

/*
 * Waits until the launcher serves (ten seconds at most: -ETIMEDOUT). Calls that are under way when
 * the launcher dies are answered with -ECONNRESET as soon as the next one serves: whether they were
 * done is unknown, so destroy the sandbox and begin anew.
 */
int native_runtime_new(const struct native_config *config, const struct runtime_events *events,
                       void *owner, struct runtime **ret_runtime);

/*
 * A socket that the launcher makes in the fabric, where Pods reach it; needs a round trip, so ask
 * at the start. DNS: bound to the fabric's gateway, port 53. NETFILTER: a netlink socket over which
 * the node may change sets of the fabric's rules. Blocks until a launcher answers (ten seconds at
 * most), so nothing else may be under way. Returns 0 or a negative errno.
 */
enum native_socket { NATIVE_SOCKET_DNS_UDP = 1, NATIVE_SOCKET_DNS_TCP, NATIVE_SOCKET_NETFILTER };

int native_runtime_socket(struct runtime *runtime, enum native_socket kind, int *ret_fd);
