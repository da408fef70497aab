// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void random_bytes(void *data, size_t size)
{
        char *next = data;

        while (size > 0) {
                ssize_t got = getrandom(next, size, 0);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        abort();
                next += got;
                size -= (size_t)got;
        }
}

void random_uuid(char text[static UUID_SIZE])
{
        uint8_t b[16];

        random_bytes(b, sizeof(b));
        b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
        b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
        snprintf(text, UUID_SIZE,
                 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                 b[15]);
}

void random_name_suffix(char text[static NAME_SUFFIX_LENGTH + 1])
{
        static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
        enum { LETTERS = sizeof(alphabet) - 1 };
        size_t filled = 0;

        /* Bytes past the largest multiple of LETTERS are dropped: each letter is equally likely. */
        while (filled < NAME_SUFFIX_LENGTH) {
                uint8_t byte;
                random_bytes(&byte, 1);
                if (byte < 256 / LETTERS * LETTERS)
                        text[filled++] = alphabet[byte % LETTERS];
        }
        text[filled] = '\0';
}
