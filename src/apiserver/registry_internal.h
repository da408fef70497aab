// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/registry.h"

/* What registry.c (core kinds, looking up) and registry_crd.c share. */
struct registry {
        struct storage *storage;
        struct json_doc *core; /* core-schema.json */
        struct schema_set *schemas;
        struct list resources;
        struct list listeners;
        uint64_t generation;
};

/* An empty entry that holds a reference to the document which its strings come from. */
struct api_resource *registry_entry_new(struct json_doc *source);

/* Puts it in the place of the entry with its name, or at the end. */
void registry_put(struct registry *registry, struct api_resource *entry);

/* Something was added, changed or removed. */
void registry_changed(struct registry *registry);

int registry_read_strings(struct arena *arena, struct json_value list, const struct str **ret_list,
                          size_t *ret_count);
