// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "net/loop.h"

/*
 * Passes log, exec, attach and portforward of Pods on to the node's kubelet API on its Unix socket,
 * and the answer back; upgraded connections become tunnels of bytes. What is said inside them
 * (WebSocket, SPDY) is between the client and the node.
 */
struct pod_proxy;

/* `socket` is the path of the node's socket, copied. Returns 0, -ENAMETOOLONG or -ENOMEM. */
int pod_proxy_new(struct net_loop *loop, const char *socket, struct pod_proxy **ret_proxy);

/* Ends what is going on: clients see their connections cut. */
void pod_proxy_free(struct pod_proxy *proxy);

/* Takes the exchange over; for apiserver_config.pod_stream. */
void pod_proxy_pass(struct pod_proxy *proxy, struct http_exchange *exchange,
                    const struct apiserver_pod_request *request);
