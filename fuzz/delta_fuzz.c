// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plan/delta.h"

/* A text, a NUL, another: each told by the other, by itself and alone is read as it was. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void there_and_back(const struct like *like, struct str text)
{
        _cleanup_buffer_ struct buffer delta = {}, out = {};

        if (delta_write(like, text, &delta) < 0 ||
            delta_read(like, buffer_str(&delta), text.length, &out) < 0 ||
            !str_equal(buffer_str(&out), text))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *)data;
        size_t split = strnlen(text, size);
        struct str parts[2] = { { text, split }, { text + split, size - split } };
        struct like *like;

        for (unsigned i = 0; i < 2; i++) {
                if (like_new(parts[i], &like) < 0)
                        abort();
                there_and_back(like, parts[0]);
                there_and_back(like, parts[1]);
                like_free(like);
                there_and_back(NULL, parts[i]);
        }
        return 0;
}
