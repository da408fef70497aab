// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Interfaces, addresses, routes and neighbours by rtnetlink(7). A batch is built without errors to
 * check and sent as one message; the kernel does its parts in order and answers each. IPv4
 * addresses are in host byte order.
 */
enum { NETLINK_BATCH_SIZE = 4096, NETLINK_MAC = 6 };

struct netlink_batch {
        _Alignas(8) char bytes[NETLINK_BATCH_SIZE];
        size_t length;
        unsigned count;
        bool is_full; /* something did not fit: committing fails with -E2BIG */
};

void netlink_batch_init(struct netlink_batch *batch);

/* A socket in the present network namespace. */
int netlink_open(int *ret_fd);

/* Returns 0 or the first error; what came before the failed part stays done. */
int netlink_commit(int fd, const struct netlink_batch *batch);

struct netlink_end {
        const char *name;
        uint32_t index; /* interface index to have; 0: the kernel's choice */
        uint8_t mac[NETLINK_MAC];
        int netns;  /* where this end goes; -1: where the socket is */
        bool is_up; /* from the beginning; of the first end only: the kernel wants to have both */
};

void netlink_veth_add(struct netlink_batch *batch, const struct netlink_end *end,
                      const struct netlink_end *peer);
void netlink_link_up(struct netlink_batch *batch, uint32_t index);
void netlink_link_delete(struct netlink_batch *batch, const char *name);
void netlink_address_add(struct netlink_batch *batch, uint32_t index, uint32_t address);

/* Via a neighbour that is on the link without an address of its network (`gateway` 0: directly). A
 * `source` of 0 leaves the choice to the kernel. */
void netlink_route_add(struct netlink_batch *batch, uint32_t index, uint32_t destination,
                       unsigned prefix, uint32_t gateway, uint32_t source);
void netlink_route_delete(struct netlink_batch *batch, uint32_t index, uint32_t destination,
                          unsigned prefix);
void netlink_neighbour_add(struct netlink_batch *batch, uint32_t index, uint32_t address,
                           const uint8_t mac[static NETLINK_MAC]);
