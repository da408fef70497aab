// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "net/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that is told must lie within the limits. */
static void on_open(void *user, uint32_t stream, const struct http_headers *headers, bool fin)
{
        (void)user;
        (void)fin;
        if (stream % 2 == 0 || headers->count > SPDY_HEADER_BLOCK_LIMIT)
                abort();
}

static void on_data(void *user, uint32_t stream, struct str data, bool fin)
{
        (void)stream;
        (void)fin;
        *(size_t *)user += data.length;
}

static void on_reset(void *user, uint32_t stream, uint32_t status)
{
        (void)user;
        (void)stream;
        (void)status;
}

static void on_go_away(void *user)
{
        (void)user;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct spdy_events events = { on_open, on_data, on_reset, on_go_away };
        _cleanup_(spdy_freep) struct spdy *spdy = NULL;
        _cleanup_buffer_ struct buffer out = {};
        size_t told = 0;

        if (spdy_new(&events, &told, &out, &spdy) < 0)
                return 0;
        /* The first byte says how the rest is cut. */
        size_t step = size > 0 ? data[0] + 1u : 1;
        for (size_t at = 1; at < size; at += step)
                spdy_feed(spdy, (struct str){ (const char *)data + at, MIN(step, size - at) });
        if (told > size)
                abort();
        return 0;
}
