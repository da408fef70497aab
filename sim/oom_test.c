// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "world.h"

/*
 * The worlds of the simulator, in which the controllers' allocations fail now and then: nothing
 * crashes, no invariant breaks, and all converges when there is memory again. Linked with --wrap.
 */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_reallocarray(void *pointer, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_reallocarray(void *pointer, size_t count, size_t size);

static int depth;           /* > 0: inside the controllers */
static unsigned one_in;     /* 0: never */
static unsigned long state; /* of the generator */
static unsigned long failed;

static void set_owner(int theirs)
{
        depth += theirs ? 1 : -1;
}

static bool fails(void)
{
        if (depth <= 0 || one_in == 0)
                return false;
        state = state * 6364136223846793005UL + 1442695040888963407UL;
        if ((state >> 33) % one_in)
                return false;
        failed++;
        return true;
}

void *__wrap_malloc(size_t size)
{
        return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
        return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
        return fails() ? NULL : __real_realloc(pointer, size);
}

void *__wrap_reallocarray(void *pointer, size_t count, size_t size)
{
        return fails() ? NULL : __real_reallocarray(pointer, count, size);
}

static void survives_without_memory(void **unused)
{
        static const unsigned rates[] = { 2000, 300, 50 };
        char failure[512];

        (void)unused;
        memory_owner = set_owner;
        for (unsigned seed = 1; seed <= 200; seed++) {
                struct world_options options = { .seed = seed,
                                                 .events = 200,
                                                 .faults = 20,
                                                 .crashes = seed / 4 % 2 ? 50 : 0,
                                                 .two_servers = seed / 8 % 2,
                                                 .loses_events = true,
                                                 .awake = seed % 2, /* packed, or whole */
                                                 .settles = &one_in };

                state = seed;
                one_in = rates[seed % ARRAY_SIZE(rates)];
                if (world_run(&options, failure) < 0)
                        fail_msg("seed %u: %s", seed, failure);
                assert_int_equal(depth, 0);
        }
        assert_true(failed > 500);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(survives_without_memory),
        };

        return run_unit_tests("oom", tests);
}
