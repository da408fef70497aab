// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "kube/schema_internal.h"

#define OBJECT_META STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")

struct compiler {
        struct schema_set *set;
        struct error *error;
        bool is_crd; /* lists are held to their type; for core kinds it only guides patches */
};

static int compile(struct compiler *c, struct json_value source, const struct field_path *path,
                   struct schema *schema);

static int no_memory(struct compiler *c)
{
        return error_set(c->error, -ENOMEM, "out of memory");
}

static int malformed(struct compiler *c, const struct field_path *path, const char *why)
{
        _cleanup_buffer_ struct buffer place = {};

        if (field_path_write(path, &place) < 0)
                return no_memory(c);
        return error_set(c->error, -EINVAL, "%.*s: %s", STR_FORMAT(buffer_str(&place)), why);
}

static void *set_alloc(struct schema_set *set, size_t size, size_t count)
{
        set->size += size * count;
        return arena_alloc_array(&set->arena, size, count);
}

static int copy_text(struct compiler *c, struct str text, struct str *ret_copy)
{
        *ret_copy = arena_str(&c->set->arena, text);
        c->set->size += text.length + 1;
        return ret_copy->data ? 0 : no_memory(c);
}

static struct schema *new_schema(struct schema_set *set)
{
        struct schema *schema = set_alloc(set, sizeof(*schema), 1);

        if (!schema)
                return NULL;
        schema->next = set->all;
        set->all = schema;
        return schema;
}

/* ---- words ---- */

static int read_type(struct compiler *c, struct json_value source, const struct field_path *path,
                     struct schema *schema)
{
        static const struct {
                struct str name;
                enum schema_type type;
        } types[] = {
                { STR("object"), SCHEMA_OBJECT }, { STR("array"), SCHEMA_ARRAY },
                { STR("string"), SCHEMA_STRING }, { STR("integer"), SCHEMA_INTEGER },
                { STR("number"), SCHEMA_NUMBER }, { STR("boolean"), SCHEMA_BOOLEAN },
        };
        struct json_value type = json_get(source, "type");

        if (json_bool_or(json_get(source, "x-kubernetes-int-or-string"), false)) {
                schema->type = SCHEMA_INT_OR_STRING;
                return 0;
        }
        if (!json_exists(type) || json_string_is(type, STR("")))
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                if (!json_string_is(type, types[i].name))
                        continue;
                schema->type = types[i].type;
                return 0;
        }
        return malformed(c, path, "unknown type");
}

static void read_format(const struct compiler *c, struct json_value source, struct schema *schema)
{
        static const struct {
                struct str name;
                enum schema_format format;
        } formats[] = {
                { STR("int32"), SCHEMA_FORMAT_INT32 },
                { STR("int64"), SCHEMA_FORMAT_INT64 },
                { STR("date-time"), SCHEMA_FORMAT_DATE_TIME },
                { STR("byte"), SCHEMA_FORMAT_BYTE },
        };

        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                if (json_string_is(json_get(source, "format"), formats[i].name))
                        schema->format = formats[i].format;
        /* custom resources hold any integer */
        if (c->is_crd && schema->format == SCHEMA_FORMAT_INT32)
                schema->format = SCHEMA_FORMAT_INT64;
}

static void read_extensions(struct json_value source, struct schema *schema)
{
        struct json_value list_type = json_get(source, "x-kubernetes-list-type");
        struct str strategies = json_string(json_get(source, "x-kubernetes-patch-strategy")),
                   strategy;

        schema->nullable = json_bool_or(json_get(source, "nullable"), false);
        schema->preserves_unknown =
                json_bool_or(json_get(source, "x-kubernetes-preserve-unknown-fields"), false);
        schema->embedded_resource =
                json_bool_or(json_get(source, "x-kubernetes-embedded-resource"), false);
        schema->list_set = json_string_is(list_type, STR("set"));
        schema->list_map = json_string_is(list_type, STR("map"));
        while (strategies.length > 0) {
                str_cut(strategies, ',', &strategy, &strategies);
                schema->patch_merge |= str_equal(strategy, STR("merge"));
                schema->retain_keys |= str_equal(strategy, STR("retainKeys"));
        }
}

/* An array of strings, or (as_json) of any values as JSON text. */
static int read_texts(struct compiler *c, struct json_value source, const char *word,
                      const struct field_path *path, bool as_json, const struct str **ret_list,
                      size_t *ret_count)
{
        struct json_value array = json_member(source, str_from(word));
        size_t count = 0;

        if (!json_exists(array))
                return 0;
        if (json_type(array) != JSON_ARRAY)
                return malformed(c, path, "required, enum and list-map-keys must be arrays");
        struct str *list = set_alloc(c->set, sizeof(*list), json_count(array));
        if (!list)
                return no_memory(c);
        json_for_each (it, array) {
                if (!as_json && json_type(it.value) != JSON_STRING)
                        return malformed(c, path, "a string was expected in an array");
                int r = copy_text(c, as_json ? json_text(it.value) : json_string(it.value),
                                  &list[count++]);
                if (r < 0)
                        return r;
        }
        *ret_list = list;
        *ret_count = count;
        return 0;
}

/* ---- limits ---- */

static int read_bound(struct compiler *c, struct json_value source, const char *word, bool *ret_has,
                      struct str *ret_text, double *ret_value)
{
        struct json_value value = json_member(source, str_from(word));

        if (json_type(value) != JSON_NUMBER)
                return 0;
        int r = copy_text(c, json_text(value), ret_text);
        if (r < 0)
                return r;
        *ret_value = strtod(ret_text->data, NULL);
        *ret_has = true;
        return 0;
}

static int read_pattern(struct compiler *c, struct json_value source, struct schema_limits *limits)
{
        struct json_value pattern = json_get(source, "pattern");

        if (json_type(pattern) != JSON_STRING)
                return 0;
        int r = copy_text(c, json_string(pattern), &limits->pattern);
        if (r < 0)
                return r;
        struct schema_pattern *compiled = set_alloc(c->set, sizeof(*compiled), 1);
        if (!compiled)
                return no_memory(c);
        r = schema_pattern_compile(limits->pattern, &compiled->regex);
        if (r == -ENOMEM)
                return no_memory(c);
        if (r < 0)
                return 0;
        compiled->next = c->set->patterns;
        c->set->patterns = compiled;
        limits->regex = &compiled->regex;
        return 0;
}

static int read_limits(struct compiler *c, struct json_value source, struct schema *schema)
{
        static const char *const words[] = { "minimum",   "maximum",       "multipleOf",
                                             "minLength", "maxLength",     "minItems",
                                             "maxItems",  "minProperties", "maxProperties",
                                             "pattern" };
        bool any = false, has_multiple = false;
        struct str multiple = STR_EMPTY;

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                any |= json_exists(json_member(source, str_from(words[i])));
        if (!any)
                return 0;
        struct schema_limits *limits = set_alloc(c->set, sizeof(*limits), 1);
        if (!limits)
                return no_memory(c);
        schema->limits = limits;
        limits->min_length = json_int64_or(json_get(source, "minLength"), -1);
        limits->max_length = json_int64_or(json_get(source, "maxLength"), -1);
        limits->min_items = json_int64_or(json_get(source, "minItems"), -1);
        limits->max_items = json_int64_or(json_get(source, "maxItems"), -1);
        limits->min_properties = json_int64_or(json_get(source, "minProperties"), -1);
        limits->max_properties = json_int64_or(json_get(source, "maxProperties"), -1);
        limits->exclusive_minimum = json_bool_or(json_get(source, "exclusiveMinimum"), false);
        limits->exclusive_maximum = json_bool_or(json_get(source, "exclusiveMaximum"), false);
        int r = read_bound(c, source, "minimum", &limits->has_minimum, &limits->minimum,
                           &limits->minimum_value);
        if (r == 0)
                r = read_bound(c, source, "maximum", &limits->has_maximum, &limits->maximum,
                               &limits->maximum_value);
        if (r == 0)
                r = read_bound(c, source, "multipleOf", &has_multiple, &multiple,
                               &limits->multiple_of);
        return r < 0 ? r : read_pattern(c, source, limits);
}

/* ---- inner schemas ---- */

/* The schema that a "$ref" names, compiled or yet to be. */
static struct schema *find_reference(const struct schema_set *set, struct str reference)
{
        static const struct str prefixes[] = { STR("#/definitions/"),
                                               STR("#/components/schemas/") };

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
                if (str_starts_with(reference, prefixes[i]))
                        reference = str_slice(reference, prefixes[i].length, reference.length);
        return (struct schema *)(uintptr_t)schema_set_find(set, reference);
}

/* A new schema for `source`, or the very one that it refers to. */
static int compile_inner(struct compiler *c, struct json_value source,
                         const struct field_path *path, struct schema **ret_schema)
{
        struct json_value reference = json_get(source, "$ref");

        if (json_type(source) != JSON_OBJECT)
                return malformed(c, path, "a schema must be an object");
        if (json_exists(reference) && json_count(source) == 1) {
                *ret_schema = find_reference(c->set, json_string(reference));
                return *ret_schema ? 0 : malformed(c, path, "$ref names no definition");
        }
        *ret_schema = new_schema(c->set);
        return *ret_schema ? compile(c, source, path, *ret_schema) : no_memory(c);
}

static int compare_properties(const void *a, const void *b)
{
        return str_compare(((const struct schema_property *)a)->name,
                           ((const struct schema_property *)b)->name);
}

static int compile_properties(struct compiler *c, struct json_value properties,
                              const struct field_path *path, struct schema *schema)
{
        size_t count = 0;

        if (!json_exists(properties))
                return 0;
        if (json_type(properties) != JSON_OBJECT)
                return malformed(c, path, "properties must be an object");
        struct schema_property *list = set_alloc(c->set, sizeof(*list), json_count(properties));
        if (!list)
                return no_memory(c);
        json_for_each (it, properties) {
                struct field_path inner = { .parent = path, .key = it.key };
                int r = copy_text(c, it.key, &list[count].name);
                if (r == 0)
                        r = compile_inner(c, it.value, &inner, &list[count].schema);
                if (r < 0)
                        return r;
                count++;
        }
        qsort(list, count, sizeof(*list), compare_properties);
        schema->properties = list;
        schema->property_count = count;
        return 0;
}

/* Both items and additionalProperties; the latter may be a boolean. */
static int compile_content(struct compiler *c, struct json_value source,
                           const struct field_path *path, struct schema *schema)
{
        struct json_value items = json_get(source, "items"),
                          additional = json_get(source, "additionalProperties");
        struct field_path inner = { .parent = path, .key = STR("*") };
        int r = 0;

        if (json_exists(items))
                r = compile_inner(c, items, &inner, &schema->items);
        if (r == 0 && json_type(additional) == JSON_OBJECT)
                r = compile_inner(c, additional, &inner, &schema->additional);
        if (json_type(additional) == JSON_BOOL && json_bool_or(additional, false))
                schema->preserves_unknown = true;
        return r;
}

static int compile_list(struct compiler *c, struct json_value source, const char *word,
                        const struct field_path *path, struct schema_list *ret_list)
{
        struct json_value array = json_member(source, str_from(word));
        size_t count = 0;

        if (json_type(array) != JSON_ARRAY)
                return json_exists(array) ? malformed(c, path, "an array was expected") : 0;
        struct schema **list = set_alloc(c->set, sizeof(struct schema *), json_count(array));
        if (!list)
                return no_memory(c);
        json_for_each (it, array) {
                int r = compile_inner(c, it.value, path, &list[count++]);
                if (r < 0)
                        return r;
        }
        *ret_list = (struct schema_list){ list, count };
        return 0;
}

static int compile_logic(struct compiler *c, struct json_value source,
                         const struct field_path *path, struct schema *schema)
{
        int r = compile_list(c, source, "allOf", path, &schema->all_of);

        /* the one form that int-or-string is allowed with says the same again */
        if (r == 0 && schema->type != SCHEMA_INT_OR_STRING)
                r = compile_list(c, source, "anyOf", path, &schema->any_of);
        if (r == 0)
                r = compile_list(c, source, "oneOf", path, &schema->one_of);
        if (r == 0 && json_exists(json_get(source, "not")))
                r = compile_inner(c, json_get(source, "not"), path, &schema->not );
        return r;
}

static int read_merge_key(struct compiler *c, struct json_value source, struct schema *schema)
{
        struct json_value key = json_get(source, "x-kubernetes-patch-merge-key");
        struct str copy;

        if (json_type(key) != JSON_STRING)
                return 0;
        int r = copy_text(c, json_string(key), &copy);
        if (r == 0)
                schema->merge_key = copy.data;
        return r;
}

static int compile(struct compiler *c, struct json_value source, const struct field_path *path,
                   struct schema *schema)
{
        struct json_value reference = json_get(source, "$ref"), value = json_get(source, "default");
        int r = 0;

        if (json_type(source) != JSON_OBJECT)
                return malformed(c, path, "a schema must be an object");
        if (json_exists(value))
                r = copy_text(c, json_text(value), &schema->default_json);
        read_extensions(source, schema);
        if (r == 0 && json_exists(reference)) {
                schema->target = find_reference(c->set, json_string(reference));
                return schema->target ? 0 : malformed(c, path, "$ref names no definition");
        }
        if (r == 0)
                r = read_type(c, source, path, schema);
        read_format(c, source, schema);
        if (r == 0)
                r = read_texts(c, source, "required", path, false, &schema->required,
                               &schema->required_count);
        if (r == 0)
                r = read_texts(c, source, "enum", path, true, &schema->enum_values,
                               &schema->enum_count);
        if (r == 0)
                r = read_texts(c, source, "x-kubernetes-list-map-keys", path, false,
                               &schema->map_keys, &schema->map_key_count);
        schema->list_set = schema->list_set && c->is_crd;
        schema->list_map = schema->list_map && c->is_crd && schema->map_key_count > 0;
        if (r == 0)
                r = read_merge_key(c, source, schema);
        if (r == 0)
                r = read_limits(c, source, schema);
        if (r == 0)
                r = compile_properties(c, json_get(source, "properties"), path, schema);
        if (r == 0)
                r = compile_content(c, source, path, schema);
        return r < 0 ? r : compile_logic(c, source, path, schema);
}

/* ---- passes over all ---- */

static bool inner_has_defaults(const struct schema *schema)
{
        const struct schema *inner[] = { schema->target, schema->items, schema->additional };

        for (size_t i = 0; i < ARRAY_SIZE(inner); i++)
                if (inner[i] && inner[i]->has_defaults)
                        return true;
        for (size_t i = 0; i < schema->property_count; i++)
                if (schema->properties[i].schema->has_defaults)
                        return true;
        return false;
}

/* Schemas may refer in circles: to a fixed point. */
static void mark_defaults(struct schema_set *set)
{
        bool changed;

        do {
                changed = false;
                for (struct schema *schema = set->all; schema; schema = schema->next) {
                        if (schema->has_defaults ||
                            (!schema->default_json.data && !inner_has_defaults(schema)))
                                continue;
                        schema->has_defaults = true;
                        changed = true;
                }
        } while (changed);
}

/* A default of {} gets the defaults of its own members, so that putting it in is a copy. */
static int complete_defaults(struct compiler *c)
{
        enum { ROUNDS = 8 };
        bool changed = true;

        for (int round = 0; round < ROUNDS && changed; round++) {
                changed = false;
                for (struct schema *schema = c->set->all; schema; schema = schema->next) {
                        _cleanup_doc_ struct json_doc *doc = NULL;
                        _cleanup_buffer_ struct buffer text = {};
                        if (!schema->default_json.data || (schema->default_json.data[0] != '{' &&
                                                           schema->default_json.data[0] != '['))
                                continue;
                        int r = json_doc_parse(schema->default_json, NULL, NULL, c->error, &doc);
                        if (r < 0)
                                return r;
                        r = schema_write_defaulted(schema, json_root(doc), &text);
                        if (r < 0)
                                return no_memory(c);
                        if (r == 0)
                                continue;
                        r = copy_text(c, buffer_str(&text), &schema->default_json);
                        if (r < 0)
                                return r;
                        changed = true;
                }
        }
        return 0;
}

/* ---- sets ---- */

static int compile_definitions(struct compiler *c, struct json_value definitions)
{
        size_t count = 0;

        struct schema_property *list = set_alloc(c->set, sizeof(*list), json_count(definitions));
        if (!list)
                return no_memory(c);
        json_for_each (it, definitions) {
                list[count].schema = new_schema(c->set);
                if (!list[count].schema)
                        return no_memory(c);
                int r = copy_text(c, it.key, &list[count++].name);
                if (r < 0)
                        return r;
        }
        qsort(list, count, sizeof(*list), compare_properties);
        c->set->definitions = list;
        c->set->definition_count = count;
        json_for_each (it, definitions) {
                struct field_path path = { .key = it.key };
                struct schema *schema = find_reference(c->set, it.key);
                int r = compile(c, it.value, &path, schema);
                if (r < 0)
                        return r;
                schema->is_root = json_exists(json_get(it.value, "properties", "kind")) &&
                                  json_exists(json_get(it.value, "properties", "metadata"));
        }
        return 0;
}

/* $refs from definition to definition must end somewhere. */
static int check_references(struct compiler *c)
{
        for (struct schema *schema = c->set->all; schema; schema = schema->next) {
                const struct schema *slow = schema, *fast = schema;
                while (fast && fast->target) {
                        slow = slow->target;
                        fast = fast->target->target;
                        if (slow == fast && slow)
                                return error_set(c->error, -EINVAL, "a $ref leads back to itself");
                }
        }
        return 0;
}

static int new_set(const struct schema_set *base, struct error *error, struct schema_set **ret_set)
{
        *ret_set = calloc(1, sizeof(**ret_set));
        if (!*ret_set)
                return error_set(error, -ENOMEM, "out of memory");
        (*ret_set)->base = base;
        return 0;
}

static int finish_set(struct compiler *c)
{
        int r = check_references(c);

        if (r < 0)
                return r;
        mark_defaults(c->set);
        return complete_defaults(c);
}

int schema_set_new(struct json_value definitions, struct error *error, struct schema_set **ret_set)
{
        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
        int r = new_set(NULL, error, &set);

        if (r < 0)
                return r;
        struct compiler compiler = { set, error, false };
        if (json_exists(definitions) && json_type(definitions) != JSON_OBJECT)
                return error_set(error, -EINVAL, "definitions must be an object");
        r = compile_definitions(&compiler, definitions);
        if (r == 0)
                r = finish_set(&compiler);
        if (r < 0)
                return r;
        *ret_set = TAKE_POINTER(set);
        return 0;
}

/* The root's metadata is what every object's is. */
static int take_object_meta(struct compiler *c, struct schema *root)
{
        struct schema *meta = find_reference(c->set, OBJECT_META);
        size_t count = root->property_count;

        if (!meta)
                return 0;
        struct schema_property *list = set_alloc(c->set, sizeof(*list), count + 1);
        if (!list)
                return no_memory(c);
        if (count > 0)
                memcpy(list, root->properties, count * sizeof(*list));
        size_t at = 0;
        while (at < count && !str_equal(list[at].name, STR("metadata")))
                at++;
        list[at] = (struct schema_property){ STR("metadata"), meta };
        count = MAX(count, at + 1);
        qsort(list, count, sizeof(*list), compare_properties);
        root->properties = list;
        root->property_count = count;
        return 0;
}

int schema_set_new_crd(struct json_value openapi_schema, const struct schema_set *definitions,
                       struct error *error, struct schema_set **ret_set,
                       const struct schema **ret_schema)
{
        _cleanup_(schema_set_freep) struct schema_set *set = NULL;
        struct field_path path = { .key = STR("openAPIV3Schema") };
        int r = new_set(definitions, error, &set);

        if (r < 0)
                return r;
        struct compiler compiler = { set, error, true };
        struct schema *root = new_schema(set);
        if (!root)
                return no_memory(&compiler);
        r = compile(&compiler, openapi_schema, &path, root);
        if (r == 0) {
                root->is_root = true;
                r = take_object_meta(&compiler, root);
        }
        if (r == 0)
                r = finish_set(&compiler);
        if (r < 0)
                return r;
        *ret_schema = root;
        *ret_set = TAKE_POINTER(set);
        return 0;
}
