// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

/*
 * What the kernel remembers of TCP connections between an address of the present network namespace
 * (the source, whoever opened them) and another, see ip-tcp_metrics(8). It is all in one table,
 * which the kernel goes through from end to end whenever a network namespace ends: so it must be
 * removed with the Pod that it tells of, lest the end of each Pod takes longer than that of the one
 * before. IPv4 addresses are in host byte order.
 */
struct tcp_metrics {
        struct mnl_socket *socket;
        uint16_t family; /* of generic netlink */
};

/* -ENOENT: the kernel remembers nothing (it is built without). */
int tcp_metrics_open(struct tcp_metrics *metrics);
void tcp_metrics_close(struct tcp_metrics *metrics);

/* 1 if something was remembered, 0 if not. -EPERM without CAP_NET_ADMIN on the host. */
int tcp_metrics_forget(struct tcp_metrics *metrics, uint32_t source, uint32_t address);
/* Of all addresses; 0, or the first error. */
int tcp_metrics_forget_all(struct tcp_metrics *metrics, uint32_t source);
