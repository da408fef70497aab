// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/str.h"

struct arena_block;

/* Memory of one request or one plan: given piece by piece, released at once. All zero is empty. */
struct arena {
        struct arena_block *blocks; /* newest first */
        char *next;                 /* free bytes of the newest block */
        size_t left;
};

void arena_deinit(struct arena *arena);
#define _cleanup_arena_ _cleanup_(arena_deinit)

/* Forgets all contents, keeping the newest block for use again. */
void arena_reset(struct arena *arena);

/* `size` zeroed bytes aligned for any type, or NULL without memory. They live until the arena ends.
 */
void *arena_alloc(struct arena *arena, size_t size);

#define arena_new(arena, type, count) ((type *)arena_alloc_array((arena), sizeof(type), (count)))
void *arena_alloc_array(struct arena *arena, size_t size, size_t count);

/* Copies, NUL-terminated; `data` is NULL in the result without memory. */
struct str arena_str(struct arena *arena, struct str s);
struct str arena_printf(struct arena *arena, const char *format, ...) _printf_(2, 3);
