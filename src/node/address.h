// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum { ADDRESS_TEXT_SIZE = sizeof("255.255.255.255") };

/*
 * The Pod addresses of one node: the hosts of an IPv4 network without its first (the fabric's own)
 * and without network and broadcast address. Addresses rotate, so that one given back rests as
 * long as possible before somebody with a stale idea of it meets a new Pod there. Host byte order.
 */
struct address_pool {
        uint32_t network, mask;
        uint32_t first, count; /* what is given out: first … first + count - 1 */
        uint32_t next;         /* offset where the search begins */
        uint32_t used;
        uint64_t *taken; /* bitmap of `count` bits */
};

/*
 * `cidr` is "10.244.0.0/16"; prefixes from /8 to /29. Returns 0, -EINVAL (with a sentence) or
 * -ENOMEM.
 */
int address_pool_init(struct address_pool *pool, struct str cidr, struct error *error);
void address_pool_deinit(struct address_pool *pool);

/* The address on the fabric's side, which the Pods use as their router. */
uint32_t address_pool_gateway(const struct address_pool *pool);

/* Returns 0 or -EADDRNOTAVAIL when all are in use. */
int address_pool_take(struct address_pool *pool, uint32_t *ret_address);

/* Marks an address that a Pod found after a restart has. Returns 0, -EINVAL (not of this pool) or
 * -EADDRINUSE. */
int address_pool_reserve(struct address_pool *pool, uint32_t address);

/* Gives back what was taken or reserved; anything else is ignored. */
void address_pool_release(struct address_pool *pool, uint32_t address);

/* Moves the rotation behind `address`, so that a restarted node does not begin at the start. */
void address_pool_continue_after(struct address_pool *pool, uint32_t address);

void address_format(uint32_t address, char text[static ADDRESS_TEXT_SIZE]);

/* Dotted decimal, exactly four parts without leading zeros. Returns 0 or -EINVAL. */
int address_parse(struct str text, uint32_t *ret_address);
