// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK_SIZE = 8192 };

struct arena_block {
        struct arena_block *older;
        size_t size; /* of `bytes` */
        alignas(max_align_t) char bytes[];
};

static void free_blocks(struct arena_block *block)
{
        while (block) {
                struct arena_block *older = block->older;
                free(block);
                block = older;
        }
}

void arena_deinit(struct arena *arena)
{
        free_blocks(arena->blocks);
        *arena = (struct arena){};
}

void arena_reset(struct arena *arena)
{
        if (!arena->blocks)
                return;
        free_blocks(arena->blocks->older);
        arena->blocks->older = NULL;
        arena->next = arena->blocks->bytes;
        arena->left = arena->blocks->size;
}

void *arena_alloc(struct arena *arena, size_t size)
{
        size_t aligned;

        if (__builtin_add_overflow(size, alignof(max_align_t) - 1, &aligned))
                return NULL;
        aligned &= ~(alignof(max_align_t) - 1);

        if (aligned > arena->left || !arena->blocks) {
                size_t capacity = MAX(aligned, (size_t)ARENA_BLOCK_SIZE);
                if (capacity > SIZE_MAX / 2)
                        return NULL;
                struct arena_block *block = malloc(sizeof(*block) + capacity);
                if (!block)
                        return NULL;
                block->older = arena->blocks;
                block->size = capacity;
                arena->blocks = block;
                arena->next = block->bytes;
                arena->left = capacity;
        }

        void *memory = arena->next;
        arena->next += aligned;
        arena->left -= aligned;
        memset(memory, 0, size);
        return memory;
}

void *arena_alloc_array(struct arena *arena, size_t size, size_t count)
{
        size_t total;

        if (__builtin_mul_overflow(size, count, &total))
                return NULL;
        return arena_alloc(arena, total);
}

struct str arena_str(struct arena *arena, struct str s)
{
        char *copy = arena_alloc(arena, s.length + 1);

        if (!copy)
                return STR_EMPTY;
        if (s.length > 0)
                memcpy(copy, s.data, s.length);
        return (struct str){ copy, s.length };
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        int length = vsnprintf(NULL, 0, format, arguments);
        va_end(arguments);
        if (length < 0)
                return STR_EMPTY;

        char *text = arena_alloc(arena, (size_t)length + 1);
        if (!text)
                return STR_EMPTY;
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
        return (struct str){ text, (size_t)length };
}
