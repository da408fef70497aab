// SPDX-License-Identifier: Apache-2.0
/*
 * Of the program that tests failing memory: $FAULT_AT fails the allocation of that number,
 * $FAULT_EVERY each multiple of it after $FAULT_AFTER, all counted from the start of the program.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/failing_allocation.h"

static atomic_ulong counted;
static unsigned long fault_at, fault_every, fault_after;

static unsigned long number_of(const char *variable)
{
        const char *text = getenv(variable);

        return text ? strtoul(text, NULL, 10) : 0;
}

static bool is_due(void)
{
        unsigned long number = atomic_fetch_add(&counted, 1) + 1;

        return number == fault_at ||
               (fault_every > 0 && number > fault_after && number % fault_every == 0);
}

__attribute__((constructor)) static void read_environment(void)
{
        fault_at = number_of("FAULT_AT");
        fault_every = number_of("FAULT_EVERY");
        fault_after = number_of("FAULT_AFTER");
        allocation_fail_when(is_due);
}
