// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <inttypes.h>

#include "world.h"

/*
 * On a cluster the cache keeps projections of objects, packed. Of each world everything that was
 * ever stored must be the same, byte by byte and in the same order, as with caches of whole
 * objects: then every plan was the same.
 */

enum { SEEDS = 48 };

static uint64_t history_of(struct world_options options, unsigned awake)
{
        uint64_t history = 1;
        char failure[512];

        options.awake = awake;
        options.history = &history;
        if (world_run(&options, failure) < 0)
                fail_msg("seed %" PRIu64 ", %u awake: %s", options.seed, awake, failure);
        return history;
}

static void plans_the_same(void **state)
{
        static const unsigned faults[] = { 0, 10, 50 };

        (void)state;
        for (unsigned seed = 1; seed <= SEEDS; seed++) {
                const struct world_options options = {
                        .seed = seed,
                        .events = 300,
                        .faults = faults[seed % ARRAY_SIZE(faults)],
                        .crashes = seed % 4 == 0 ? 20 : 0,
                        .elects = seed % 8 == 1,
                        .two_servers = seed % 8 == 2,
                };
                uint64_t whole = history_of(options, 0);

                assert_int_equal(whole, history_of(options, 1));
                assert_int_equal(whole, history_of(options, 8));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plans_the_same),
        };

        return run_unit_tests("projection", tests);
}
