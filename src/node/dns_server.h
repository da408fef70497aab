// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/loop.h"
#include "node/dns_names.h"

/*
 * The resolver of the Pods: answers for the names of the cluster, with authority, and refuses all
 * others. It asks nobody.
 */
struct dns_server;

struct dns_server_options {
        struct net_loop *loop;         /* borrowed */
        const struct dns_names *names; /* borrowed */
        int udp;                       /* bound; the server's from then on */
        int tcp;                       /* listening; the same; -1: none */
};

/* Begins to answer. Returns 0 or a negative errno (then the descriptors stay the caller's). */
int dns_server_new(const struct dns_server_options *options, struct dns_server **ret_server);
void dns_server_free(struct dns_server *server);

/*
 * The answer to one message, without I/O. Returns 0, 1 (it gets no answer) or -ENOMEM; `out` is
 * appended to.
 */
int dns_respond(const struct dns_names *names, struct str message, bool is_udp, struct buffer *out);
