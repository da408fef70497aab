// SPDX-License-Identifier: Apache-2.0
#include "kube/schema.h"

#include <stdlib.h>

#include "kube/schema_internal.h"

void schema_set_free(struct schema_set *set)
{
        for (struct schema_pattern *pattern = set->patterns; pattern; pattern = pattern->next)
                regfree(&pattern->regex);
        arena_deinit(&set->arena);
        free(set);
}

static const struct schema_property *find(const struct schema_property *properties, size_t count,
                                          struct str name)
{
        size_t low = 0, high = count;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = str_compare(name, properties[middle].name);
                if (order == 0)
                        return &properties[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

const struct schema *schema_set_find(const struct schema_set *set, struct str name)
{
        const struct schema_property *found = find(set->definitions, set->definition_count, name);

        if (found)
                return found->schema;
        return set->base ? schema_set_find(set->base, name) : NULL;
}

size_t schema_set_size(const struct schema_set *set)
{
        return sizeof(*set) + set->size;
}

const struct schema *schema_property_find(const struct schema *schema, struct str key)
{
        const struct schema_property *found = find(schema->properties, schema->property_count, key);

        return found ? found->schema : NULL;
}

const struct schema *schema_member_find(const struct schema *schema, struct str key)
{
        const struct schema *found = schema_property_find(schema, key);

        return found ? found : schema->additional;
}

bool schema_is_object_field(const struct schema *schema, struct str key)
{
        return (schema->is_root || schema->embedded_resource) &&
               (str_equal(key, STR("metadata")) || str_equal(key, STR("kind")) ||
                str_equal(key, STR("apiVersion")));
}

const struct schema *schema_member(const struct schema *schema, struct str key)
{
        const struct schema *found;

        schema = schema_resolve(schema);
        found = key.length == 0 ? schema->items : schema_member_find(schema, key);
        return found ? schema_resolve(found) : NULL;
}

const struct schema *schema_at(const struct schema *schema, struct str path)
{
        struct str key;

        schema = schema_resolve(schema);
        while (path.length > 0) {
                str_cut(path, '.', &key, &path);
                while (schema->items)
                        schema = schema_resolve(schema->items);
                schema = schema_member(schema, key);
                if (!schema)
                        return NULL;
        }
        return schema;
}

enum schema_type schema_type(const struct schema *schema)
{
        return schema_resolve(schema)->type;
}

struct json_strategy schema_strategy(const void *schema, struct str key)
{
        const struct schema *declared, *place;

        if (!schema)
                return (struct json_strategy){};
        place = schema_resolve(schema);
        declared = key.length == 0 ? place->items : schema_member_find(place, key);
        if (!declared)
                return (struct json_strategy){};
        place = schema_resolve(declared);
        bool merges = place->patch_merge && place->type == SCHEMA_ARRAY;
        return (struct json_strategy){
                .merge_key = merges ? place->merge_key : NULL,
                .merge_set = merges && !place->merge_key,
                .retain_keys = place->retain_keys || declared->retain_keys,
                .schema = place,
        };
}

static int write_path(const struct field_path *path, size_t start, struct buffer *out)
{
        int r;

        if (!path->parent)
                return buffer_append_str(out, path->key);
        r = write_path(path->parent, start, out);
        if (r < 0)
                return r;
        if (!path->key.data)
                return buffer_printf(out, "[%zu]", path->index);
        if (out->length > start)
                r = buffer_append_char(out, '.');
        return r < 0 ? r : buffer_append_str(out, path->key);
}

int field_path_write(const struct field_path *path, struct buffer *out)
{
        return write_path(path, out->length, out);
}
