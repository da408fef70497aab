// SPDX-License-Identifier: Apache-2.0
#include "node/address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORD_BITS = 64, PREFIX_MIN = 8, PREFIX_MAX = 29 };

int address_parse(struct str text, uint32_t *ret_address)
{
        uint32_t address = 0;

        for (int part = 0; part < 4; part++) {
                struct str digits;
                uint64_t value;

                bool cut = str_cut(text, '.', &digits, &text);
                if (cut != (part < 3) || digits.length == 0 || digits.length > 3 ||
                    (digits.length > 1 && digits.data[0] == '0') ||
                    str_to_u64(digits, 255, &value) < 0)
                        return -EINVAL;
                address = address << 8 | (uint32_t)value;
        }
        *ret_address = address;
        return 0;
}

void address_format(uint32_t address, char text[static ADDRESS_TEXT_SIZE])
{
        snprintf(text, ADDRESS_TEXT_SIZE, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
                 address >> 8 & 255, address & 255);
}

int address_pool_init(struct address_pool *pool, struct str cidr, struct error *error)
{
        struct str host, bits;
        uint32_t network;
        uint64_t prefix;

        if (!str_cut(cidr, '/', &host, &bits) || address_parse(host, &network) < 0 ||
            str_to_u64(bits, PREFIX_MAX, &prefix) < 0 || prefix < PREFIX_MIN)
                return error_set(error, -EINVAL,
                                 "the Pod network \"%.*s\" is no IPv4 network from /8 to /29",
                                 STR_FORMAT(cidr));
        uint32_t mask = UINT32_MAX << (32 - prefix);
        if (network & ~mask)
                return error_set(error, -EINVAL, "the Pod network \"%.*s\" has host bits set",
                                 STR_FORMAT(cidr));

        struct address_pool made = { .network = network, .mask = mask, .first = network + 2 };
        made.count = ~mask - 2;
        made.taken = calloc((made.count + WORD_BITS - 1) / WORD_BITS, sizeof(*made.taken));
        if (!made.taken)
                return -ENOMEM;
        *pool = made;
        return 0;
}

void address_pool_deinit(struct address_pool *pool)
{
        free(pool->taken);
        *pool = (struct address_pool){};
}

uint32_t address_pool_gateway(const struct address_pool *pool)
{
        return pool->network + 1;
}

static bool is_taken(const struct address_pool *pool, uint32_t offset)
{
        return pool->taken[offset / WORD_BITS] >> (offset % WORD_BITS) & 1;
}

int address_pool_take(struct address_pool *pool, uint32_t *ret_address)
{
        if (pool->used == pool->count)
                return -EADDRNOTAVAIL;
        while (is_taken(pool, pool->next))
                pool->next = (pool->next + 1) % pool->count;
        uint32_t offset = pool->next;
        pool->taken[offset / WORD_BITS] |= UINT64_C(1) << (offset % WORD_BITS);
        pool->used++;
        pool->next = (offset + 1) % pool->count;
        *ret_address = pool->first + offset;
        return 0;
}

int address_pool_reserve(struct address_pool *pool, uint32_t address)
{
        uint32_t offset = address - pool->first;

        if (address < pool->first || offset >= pool->count)
                return -EINVAL;
        if (is_taken(pool, offset))
                return -EADDRINUSE;
        pool->taken[offset / WORD_BITS] |= UINT64_C(1) << (offset % WORD_BITS);
        pool->used++;
        return 0;
}

void address_pool_release(struct address_pool *pool, uint32_t address)
{
        uint32_t offset = address - pool->first;

        if (address < pool->first || offset >= pool->count || !is_taken(pool, offset))
                return;
        pool->taken[offset / WORD_BITS] &= ~(UINT64_C(1) << (offset % WORD_BITS));
        pool->used--;
}

void address_pool_continue_after(struct address_pool *pool, uint32_t address)
{
        uint32_t offset = address - pool->first;

        if (address >= pool->first && offset < pool->count)
                pool->next = (offset + 1) % pool->count;
}
