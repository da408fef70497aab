// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

/*
 * Allocations that fail on command, for tests: what depends on dep_failing_allocation calls malloc,
 * calloc and realloc through this (--wrap of the linker). Libraries that are shared objects keep
 * the true ones.
 *
 * for (long n = 0;; n++) {
 *         allocation_fail_after(n);
 *         r = attempt();
 *         if (!allocation_failed())
 *                 break;
 * }
 */

/* Lets `successes` allocations be made and refuses the one that follows; then all succeed again. */
void allocation_fail_after(long successes);

/* Whether one was refused since the last call of allocation_fail_after(). From now on none is. */
bool allocation_failed(void);

/* Instead of these two: `due` is asked at each allocation, in any thread, and true refuses it. */
void allocation_fail_when(bool (*due)(void));
