// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

/* How long to wait after failures in a row: doubling, with jitter so that clients spread out. */
struct backoff {
        uint64_t first_ms, most_ms;
        unsigned failures;
};

/* The next delay: between half of and all of first_ms × 2^failures, at most most_ms. */
uint64_t backoff_next(struct backoff *backoff);

static inline void backoff_reset(struct backoff *backoff)
{
        backoff->failures = 0;
}
