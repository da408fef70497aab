// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <regex.h>

#include "kube/schema.h"

/* How a schema is kept; for schema*.c alone. */

enum schema_format {
        SCHEMA_FORMAT_NONE,
        SCHEMA_FORMAT_INT32,
        SCHEMA_FORMAT_INT64,
        SCHEMA_FORMAT_DATE_TIME,
        SCHEMA_FORMAT_BYTE,
};

struct schema_property {
        struct str name;
        struct schema *schema;
};

/* What few schemas have. */
struct schema_limits {
        bool has_minimum, has_maximum, exclusive_minimum, exclusive_maximum;
        struct str minimum, maximum; /* JSON text, for messages */
        double minimum_value, maximum_value, multiple_of;
        int64_t min_length, max_length; /* -1: none, as below */
        int64_t min_items, max_items;
        int64_t min_properties, max_properties;
        struct str pattern;
        regex_t *regex; /* NULL: none, or beyond POSIX: not enforced */
};

struct schema_list {
        struct schema **list;
        size_t count;
};

struct schema {
        struct schema
                *target;     /* a $ref with words of its own beside it: all but default is there */
        struct schema *next; /* of the set, for passes over all */

        enum schema_type type;
        enum schema_format format;
        bool nullable, preserves_unknown, embedded_resource;
        bool list_set, list_map;       /* x-kubernetes-list-type */
        bool patch_merge, retain_keys; /* x-kubernetes-patch-strategy */
        bool is_root;                  /* of an object: metadata is its own affair */
        bool has_defaults;             /* here or beneath */

        const struct schema_property *properties; /* sorted by name */
        size_t property_count;
        struct schema *items, *additional;

        const struct str *required;
        size_t required_count;
        const struct str *enum_values; /* JSON text */
        size_t enum_count;
        const struct str *map_keys; /* x-kubernetes-list-map-keys */
        size_t map_key_count;
        const char *merge_key;
        struct str default_json; /* no data: none */
        struct schema_limits *limits;
        struct schema_list all_of, any_of, one_of;
        struct schema * not ;
};

struct schema_pattern {
        struct schema_pattern *next;
        regex_t regex;
};

struct schema_set {
        struct arena arena;
        struct schema_property *definitions; /* sorted by name */
        size_t definition_count;
        const struct schema_set *base; /* where "$ref" is looked up too; borrowed */
        struct schema *all;
        struct schema_pattern *patterns;
        size_t size;
};

/* A place in an object, to be written out only when there is something to say about it. */
struct field_path {
        const struct field_path *parent; /* NULL: `key` is the beginning as it stands */
        struct str key;
        size_t index; /* of an element, when `key` has no data */
};

/* Appends "spec.containers[0].name". */
int field_path_write(const struct field_path *path, struct buffer *out);

static inline const struct schema *schema_resolve(const struct schema *schema)
{
        while (schema->target)
                schema = schema->target;
        return schema;
}

/* A property as it was declared, or NULL. `schema` is resolved. */
const struct schema *schema_property_find(const struct schema *schema, struct str key);

/* A property, or what additionalProperties says; or NULL. `schema` is resolved. */
const struct schema *schema_member_find(const struct schema *schema, struct str key);

/* apiVersion, kind and metadata, which objects have whatever their schema says. */
bool schema_is_object_field(const struct schema *schema, struct str key);

/*
 * Writes the value with defaults put in. Returns 1 if any were, 0 if none (nothing is then
 * written), or -ENOMEM.
 */
int schema_write_defaulted(const struct schema *schema, struct json_value value,
                           struct buffer *out);

/*
 * Compiles a pattern of RE2's dialect. Returns 0, -EOPNOTSUPP (it needs more than POSIX has, or
 * could grow without bound), -EINVAL or -ENOMEM.
 */
int schema_pattern_compile(struct str pattern, regex_t *ret_regex);
bool schema_pattern_matches(const regex_t *regex, struct str text, int *ret_failure);
