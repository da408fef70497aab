// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

enum {
        UUID_SIZE = 37,        /* with NUL */
        NAME_SUFFIX_LENGTH = 5 /* what Kubernetes appends to generateName */
};

/* Cryptographic random bytes from the kernel (getrandom(2)); aborts if the kernel has none. */
void random_bytes(void *data, size_t size);

/* A version 4 UUID in lower case, NUL-terminated (RFC 9562). */
void random_uuid(char text[static UUID_SIZE]);

/* NAME_SUFFIX_LENGTH characters of Kubernetes' vowel-free alphabet and a NUL. */
void random_name_suffix(char text[static NAME_SUFFIX_LENGTH + 1]);
