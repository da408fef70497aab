// SPDX-License-Identifier: Apache-2.0
#include "client/backoff.h"

#include "base/macro.h"
#include "base/random.h"

uint64_t backoff_next(struct backoff *backoff)
{
        enum { DOUBLINGS_MOST = 20 };
        uint64_t delay = backoff->first_ms << MIN(backoff->failures, DOUBLINGS_MOST);
        uint64_t random;

        delay = MIN(delay, backoff->most_ms);
        if (backoff->failures < DOUBLINGS_MOST)
                backoff->failures++;
        random_bytes(&random, sizeof(random));
        return delay - random % (delay / 2 + 1);
}
