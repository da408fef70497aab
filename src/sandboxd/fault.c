// SPDX-License-Identifier: Apache-2.0
/*
 * Of the program that tests failing memory: the linker sends our allocations (--wrap) through here.
 * $FAULT_AT fails the one of that number, $FAULT_EVERY each multiple of it after $FAULT_AFTER, all
 * counted from the start of the program.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static atomic_ulong counted;
static unsigned long fault_at, fault_every, fault_after;

static unsigned long number_of(const char *variable)
{
        const char *text = getenv(variable);

        return text ? strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void read_environment(void)
{
        fault_at = number_of("FAULT_AT");
        fault_every = number_of("FAULT_EVERY");
        fault_after = number_of("FAULT_AFTER");
}

static bool is_due(void)
{
        unsigned long number = atomic_fetch_add(&counted, 1) + 1;

        if (number != fault_at &&
            (fault_every == 0 || number <= fault_after || number % fault_every != 0))
                return false;
        errno = ENOMEM;
        return true;
}

void *__wrap_malloc(size_t size)
{
        return is_due() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
        return is_due() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
        return is_due() ? NULL : __real_realloc(old, size);
}
