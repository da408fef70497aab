// SPDX-License-Identifier: Apache-2.0
#include "kinds/names.h"

#include <stdio.h>

#include "base/limit.h"

struct str name_hash(struct str name, char text[static NAME_HASH_SIZE])
{
        snprintf(text, NAME_HASH_SIZE, "%08x", str_fnv1a(name));
        return (struct str){ text, NAME_HASH_SIZE - 1 };
}

static bool is_alphanumeric(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_is_dns_label(struct str name)
{
        if (name.length == 0 || name.length > LIMIT_LABEL || !is_alphanumeric(name.data[0]) ||
            !is_alphanumeric(name.data[name.length - 1]))
                return false;
        for (size_t i = 0; i < name.length; i++) {
                if (!is_alphanumeric(name.data[i]) && name.data[i] != '-')
                        return false;
        }
        return true;
}

bool key_is_reserved(struct str key)
{
        return str_starts_with(key, STR("agents.x-k8s.io/")) ||
               str_starts_with(key, STR("extensions.agents.x-k8s.io/"));
}
