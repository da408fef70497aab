// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Allocations of the controllers may fail, those of the world may not: what calls into the
 * controllers is between MEMORY_THEIRS and MEMORY_OURS. Nothing happens unless the program is
 * linked with memory_fail.c.
 */
extern void (*memory_owner)(int theirs);

#define MEMORY_THEIRS() (memory_owner ? memory_owner(1) : (void)0)
#define MEMORY_OURS()   (memory_owner ? memory_owner(0) : (void)0)
