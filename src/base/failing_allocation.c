// SPDX-License-Identifier: Apache-2.0
#include "base/failing_allocation.h"

#include <errno.h>
#include <stddef.h>

static bool (*is_due)(void);
static long left = -1; /* allocations that still succeed; < 0: all */
static bool refused;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void allocation_fail_after(long successes)
{
        left = successes;
        refused = false;
}

bool allocation_failed(void)
{
        left = -1;
        return refused;
}

void allocation_fail_when(bool (*due)(void))
{
        is_due = due;
}

static bool is_next(void)
{
        if (left < 0 || left-- > 0)
                return false;
        refused = true;
        return true;
}

static bool fails_now(void)
{
        if (is_due ? !is_due() : !is_next())
                return false;
        errno = ENOMEM;
        return true;
}

void *__wrap_malloc(size_t size)
{
        return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
        return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
        return fails_now() ? NULL : __real_realloc(old, size);
}
