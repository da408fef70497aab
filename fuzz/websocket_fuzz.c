// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "net/websocket.h"

/* A head that is read is written again the same, and unmasking twice changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str input = { (const char *)data, size };
        struct websocket_frame frame;
        char head[WEBSOCKET_HEAD_SIZE];

        int r = websocket_parse_head(input, &frame);
        if (r <= 0)
                return 0;
        for (int i = 0; i < r; i++)
                check(websocket_parse_head(str_slice(input, 0, (size_t)i), &frame) == 0);
        check(websocket_parse_head(input, &frame) == r);
        check(websocket_write_head(head, &frame) == (size_t)r &&
              memcmp(head, data, (size_t)r) == 0);

        struct str rest = str_slice(input, (size_t)r, size);
        char *whole = malloc(rest.length + 1), *again = malloc(rest.length + 1);
        if (whole && again) {
                size_t cut = rest.length / 3;
                websocket_mask(whole, rest.data, rest.length, frame.mask, 0);
                websocket_mask(again, rest.data, cut, frame.mask, 0);
                websocket_mask(again + cut, rest.data + cut, rest.length - cut, frame.mask, cut);
                check(memcmp(whole, again, rest.length) == 0);
        }
        free(whole);
        free(again);
        return 0;
}
