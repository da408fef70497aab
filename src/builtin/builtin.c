// SPDX-License-Identifier: Apache-2.0
#include "builtin/builtin.h"

#include <assert.h>

/* The bytes of a file, named by the build, between two symbols of read-only data. */
#define EMBED(name, path)                                                                          \
        __asm__(".pushsection .rodata\n"                                                           \
                "embedded_" #name ": .incbin \"" path "\"\n"                                       \
                "embedded_" #name "_end:\n"                                                        \
                ".popsection\n");                                                                  \
        extern const char embedded_##name[], embedded_##name##_end[]

EMBED(core, BUILTIN_CORE);
EMBED(protobuf, BUILTIN_PROTOBUF);
EMBED(sandboxes, BUILTIN_SANDBOXES);
EMBED(sandboxclaims, BUILTIN_SANDBOXCLAIMS);
EMBED(sandboxtemplates, BUILTIN_SANDBOXTEMPLATES);
EMBED(sandboxwarmpools, BUILTIN_SANDBOXWARMPOOLS);

static struct str between(const char *begin, const char *end)
{
        return (struct str){ begin, (size_t)(end - begin) };
}

struct str builtin_core_schema(void)
{
        return between(embedded_core, embedded_core_end);
}

struct str builtin_core_protobuf(void)
{
        return between(embedded_protobuf, embedded_protobuf_end);
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
