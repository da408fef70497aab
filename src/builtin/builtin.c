// SPDX-License-Identifier: Apache-2.0
#include "builtin/builtin.h"

#include <assert.h>

/* Made by embed.c. */
#define EMBED(name) extern const char embedded_##name[], embedded_##name##_end[]

EMBED(core);
EMBED(sandboxes);
EMBED(sandboxclaims);
EMBED(sandboxtemplates);
EMBED(sandboxwarmpools);

static struct str between(const char *begin, const char *end)
{
        return (struct str){ begin, (size_t)(end - begin) };
}

struct str builtin_core_schema(void)
{
        return between(embedded_core, embedded_core_end);
}

size_t builtin_crd_count(void)
{
        return 4;
}

struct str builtin_crd(size_t index)
{
        switch (index) {
        case 0:
                return between(embedded_sandboxes, embedded_sandboxes_end);
        case 1:
                return between(embedded_sandboxclaims, embedded_sandboxclaims_end);
        case 2:
                return between(embedded_sandboxtemplates, embedded_sandboxtemplates_end);
        default:
                assert(index == 3);
                return between(embedded_sandboxwarmpools, embedded_sandboxwarmpools_end);
        }
}
