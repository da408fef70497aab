// SPDX-License-Identifier: Apache-2.0
#include "builtin/builtin.h"

/* Made by embed.c. Apart from builtin.c, for programs that need nothing else of it. */
extern const char embedded_protobuf[], embedded_protobuf_end[];

struct str builtin_core_protobuf(void)
{
        return (struct str){ embedded_protobuf,
                             (size_t)(embedded_protobuf_end - embedded_protobuf) };
}
