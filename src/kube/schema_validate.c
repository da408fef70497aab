// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kube/schema_internal.h"

struct validator {
        struct field_errors *errors; /* NULL: only whether it holds */
        bool failed;
        unsigned depth;
};

/* Schemas may refer in circles without going deeper into the value. */
enum { DEPTH_MAX = 512 };

static void validate(struct validator *v, const struct schema *schema, struct json_value value,
                     const struct field_path *path);

/* ---- telling ---- */

static int failure(struct validator *v, int r)
{
        if (r < 0 && v->errors)
                v->errors->failure = -ENOMEM;
        return r;
}

/*
 * Tells one cause. `shown` is the value as it is printed; `format` may begin with the place, which
 * "%.*s in body" is used for.
 */
static void tell(struct validator *v, enum field_error_type type, const struct field_path *path,
                 struct json_value shown, const char *text)
{
        _cleanup_buffer_ struct buffer place = {};

        v->failed = true;
        if (!v->errors || failure(v, field_path_write(path, &place)) < 0)
                return;
        field_errors_add(v->errors, type, buffer_str(&place), shown, "%s", text);
}

/* `Invalid value: …: spec.x in body WHAT`, as go-openapi words it. */
static void tell_in_body(struct validator *v, const struct field_path *path,
                         struct json_value shown, const char *what, struct str argument)
{
        _cleanup_buffer_ struct buffer place = {};

        v->failed = true;
        if (!v->errors || failure(v, field_path_write(path, &place)) < 0)
                return;
        field_errors_add(v->errors, FIELD_INVALID, buffer_str(&place), shown, "%.*s in body %s%.*s",
                         STR_FORMAT(buffer_str(&place)), what, STR_FORMAT(argument));
}

static const char *type_name(struct json_value value)
{
        int64_t number;

        switch (json_type(value)) {
        case JSON_BOOL:
                return "boolean";
        case JSON_NUMBER:
                return json_int64(value, &number) == 0 ? "integer" : "number";
        case JSON_STRING:
                return "string";
        case JSON_ARRAY:
                return "array";
        case JSON_OBJECT:
                return "object";
        default:
                return "null";
        }
}

static void tell_type(struct validator *v, const struct field_path *path, struct json_value value,
                      const char *expected)
{
        _cleanup_buffer_ struct buffer place = {};
        const char *actual = type_name(value);

        v->failed = true;
        if (!v->errors || failure(v, field_path_write(path, &place)) < 0)
                return;
        field_errors_add_string(v->errors, FIELD_TYPE_INVALID, buffer_str(&place), str_from(actual),
                                "%.*s in body must be of type %s: \"%s\"",
                                STR_FORMAT(buffer_str(&place)), expected, actual);
}

static void tell_many(struct validator *v, const struct field_path *path, size_t count,
                      int64_t limit)
{
        char text[96];

        snprintf(text, sizeof(text), "%zu: must have at most %lld items", count, (long long)limit);
        tell(v, FIELD_TOO_MANY, path, (struct json_value){}, text);
}

static void tell_long(struct validator *v, const struct field_path *path, int64_t limit)
{
        char text[64];

        snprintf(text, sizeof(text), "may not be more than %lld bytes", (long long)limit);
        tell(v, FIELD_TOO_LONG, path, (struct json_value){}, text);
}

static void tell_few(struct validator *v, const struct field_path *path, size_t count,
                     int64_t limit, const char *what)
{
        _cleanup_buffer_ struct buffer place = {};

        v->failed = true;
        if (!v->errors || failure(v, field_path_write(path, &place)) < 0)
                return;
        field_errors_add(v->errors, FIELD_INVALID, buffer_str(&place), (struct json_value){},
                         "%zu: %.*s in body should have at least %lld %s", count,
                         STR_FORMAT(buffer_str(&place)), (long long)limit, what);
}

/* kube-apiserver names the place of these in the sentence only. */
static void tell_logic(struct validator *v, const struct field_path *path, const char *text)
{
        _cleanup_buffer_ struct buffer place = {};

        v->failed = true;
        if (!v->errors || failure(v, field_path_write(path, &place)) < 0)
                return;
        field_errors_add_string(v->errors, FIELD_INVALID, STR("<nil>"), STR_EMPTY, "\"%.*s\" %s",
                                STR_FORMAT(buffer_str(&place)), text);
}

/* ---- types ---- */

static bool is_integer(struct json_value value)
{
        int64_t number;

        return json_int64(value, &number) == 0;
}

static bool check_type(struct validator *v, const struct schema *schema, struct json_value value,
                       const struct field_path *path)
{
        static const char *const names[] = {
                [SCHEMA_ANY] = "any",         [SCHEMA_OBJECT] = "object",
                [SCHEMA_ARRAY] = "array",     [SCHEMA_STRING] = "string",
                [SCHEMA_INTEGER] = "integer", [SCHEMA_NUMBER] = "number",
                [SCHEMA_BOOLEAN] = "boolean", [SCHEMA_INT_OR_STRING] = "integer,string",
        };
        enum json_type type = json_type(value);
        bool fits = false;

        switch (schema->type) {
        case SCHEMA_ANY:
                fits = true;
                break;
        case SCHEMA_OBJECT:
                fits = type == JSON_OBJECT;
                break;
        case SCHEMA_ARRAY:
                fits = type == JSON_ARRAY;
                break;
        case SCHEMA_STRING:
                fits = type == JSON_STRING;
                break;
        case SCHEMA_INTEGER:
                fits = is_integer(value);
                break;
        case SCHEMA_NUMBER:
                fits = type == JSON_NUMBER;
                break;
        case SCHEMA_BOOLEAN:
                fits = type == JSON_BOOL;
                break;
        case SCHEMA_INT_OR_STRING:
                fits = type == JSON_STRING || is_integer(value);
                break;
        }
        if (!fits)
                tell_type(v, path, value, names[schema->type]);
        return fits;
}

/* ---- strings and numbers ---- */

static int64_t count_characters(struct str text)
{
        int64_t count = 0;

        for (size_t i = 0; i < text.length; i++)
                count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
        return count;
}

static bool is_base64(struct str text)
{
        size_t padding = 0;

        while (padding < 2 && padding < text.length && text.data[text.length - 1 - padding] == '=')
                padding++;
        if (text.length % 4 != 0)
                return false;
        for (size_t i = 0; i < text.length - padding; i++) {
                char c = text.data[i];
                if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '+' || c == '/'))
                        return false;
        }
        return true;
}

static void check_string(struct validator *v, const struct schema *schema, struct json_value value,
                         const struct field_path *path)
{
        const struct schema_limits *limits = schema->limits;
        struct str text = json_string(value);
        int pattern_failure = 0;
        uint64_t time;

        if (schema->format == SCHEMA_FORMAT_DATE_TIME && rfc3339_parse(text, &time) == -EINVAL)
                tell_in_body(v, path, value, "must be of type date-time: ", json_text(value));
        if (schema->format == SCHEMA_FORMAT_BYTE && !is_base64(text))
                tell_in_body(v, path, value, "must be of type byte: ", json_text(value));
        if (!limits)
                return;
        if (limits->max_length >= 0 && count_characters(text) > limits->max_length)
                tell_long(v, path, limits->max_length);
        if (limits->min_length >= 0 && count_characters(text) < limits->min_length) {
                char bound[64];
                snprintf(bound, sizeof(bound), "%lld chars long", (long long)limits->min_length);
                tell_in_body(v, path, value, "should be at least ", str_from(bound));
        }
        if (limits->regex && !schema_pattern_matches(limits->regex, text, &pattern_failure)) {
                _cleanup_buffer_ struct buffer quoted = {};
                failure(v, pattern_failure);
                if (failure(v, buffer_printf(&quoted, "'%.*s'", STR_FORMAT(limits->pattern))) == 0)
                        tell_in_body(v, path, value, "should match ", buffer_str(&quoted));
        }
}

static void check_number(struct validator *v, const struct schema *schema, struct json_value value,
                         const struct field_path *path)
{
        const struct schema_limits *limits = schema->limits;
        int64_t integer;

        if (schema->format == SCHEMA_FORMAT_INT32 && json_int64(value, &integer) == 0 &&
            (integer > INT32_MAX || integer < INT32_MIN))
                tell_in_body(v, path, value, "must be of type int32: ", json_text(value));
        if (!limits)
                return;
        /* A document's text ends with a NUL, so this stops at the number's end. */
        double number = strtod(json_text(value).data, NULL);
        if (limits->has_minimum && (number < limits->minimum_value ||
                                    (limits->exclusive_minimum && number == limits->minimum_value)))
                tell_in_body(v, path, value,
                             limits->exclusive_minimum ? "should be greater than "
                                                       : "should be greater than or equal to ",
                             limits->minimum);
        if (limits->has_maximum && (number > limits->maximum_value ||
                                    (limits->exclusive_maximum && number == limits->maximum_value)))
                tell_in_body(v, path, value,
                             limits->exclusive_maximum ? "should be less than "
                                                       : "should be less than or equal to ",
                             limits->maximum);
        if (limits->multiple_of > 0 && fmod(number, limits->multiple_of) != 0) {
                char bound[64];
                snprintf(bound, sizeof(bound), "%g", limits->multiple_of);
                tell_in_body(v, path, value, "should be a multiple of ", str_from(bound));
        }
}

static void check_enum(struct validator *v, const struct schema *schema, struct json_value value,
                       const struct field_path *path)
{
        _cleanup_buffer_ struct buffer supported = {};
        struct str text = json_text(value);
        int r = 0;

        for (size_t i = 0; i < schema->enum_count; i++)
                if (str_equal(schema->enum_values[i], text))
                        return;
        if (v->errors)
                r = buffer_append_str(&supported, STR("supported values: "));
        for (size_t i = 0; i < schema->enum_count && v->errors && r == 0; i++)
                r = buffer_printf(&supported, "%s%.*s", i ? ", " : "",
                                  STR_FORMAT(schema->enum_values[i]));
        if (r == 0)
                r = buffer_append_char(&supported, '\0');
        if (failure(v, r) == 0)
                tell(v, FIELD_NOT_SUPPORTED, path, value, supported.data);
}

/* ---- lists ---- */

/* The text by which elements are compared: keyed ones by their keys one after the other. */
static struct str element_key(const struct schema *schema, struct json_value element, size_t index)
{
        if (!schema->list_map)
                return json_text(element);
        return json_text(json_member(element, schema->map_keys[index]));
}

static bool same_element(const struct schema *schema, struct json_value a, struct json_value b)
{
        size_t count = schema->list_map ? schema->map_key_count : 1;

        for (size_t i = 0; i < count; i++)
                if (!str_equal(element_key(schema, a, i), element_key(schema, b, i)))
                        return false;
        return true;
}

static void tell_duplicate(struct validator *v, const struct schema *schema,
                           struct json_value element, size_t index, const struct field_path *path)
{
        struct field_path place = { .parent = path, .index = index };
        _cleanup_buffer_ struct buffer shown = {}, where = {};
        struct json_writer writer;

        v->failed = true;
        if (!v->errors)
                return;
        if (!schema->list_map) {
                tell(v, FIELD_DUPLICATE, &place, element, "");
                return;
        }
        json_writer_init(&writer, &shown);
        json_begin_object(&writer);
        for (size_t i = 0; i < schema->map_key_count; i++) {
                struct json_value key = json_member(element, schema->map_keys[i]);
                if (!json_exists(key))
                        continue;
                json_key(&writer, schema->map_keys[i]);
                json_write_value(&writer, key);
        }
        json_end_object(&writer);
        if (failure(v, json_writer_finish(&writer)) < 0 ||
            failure(v, field_path_write(&place, &where)) < 0)
                return;
        field_errors_add(v->errors, FIELD_DUPLICATE, buffer_str(&where), (struct json_value){},
                         "%.*s", STR_FORMAT(buffer_str(&shown)));
}

struct keyed {
        struct json_value element;
        const struct schema *schema;
        size_t index;
};

static int compare_keyed(const void *a, const void *b)
{
        const struct keyed *x = a, *y = b;
        size_t count = x->schema->list_map ? x->schema->map_key_count : 1;

        for (size_t i = 0; i < count; i++) {
                int order = str_compare(element_key(x->schema, x->element, i),
                                        element_key(x->schema, y->element, i));
                if (order != 0)
                        return order;
        }
        return (x->index > y->index) - (x->index < y->index);
}

static void check_long_uniqueness(struct validator *v, const struct schema *schema,
                                  struct json_value array, const struct field_path *path)
{
        struct keyed *list = malloc(json_count(array) * sizeof(*list));
        size_t count = 0;

        if (!list) {
                failure(v, -ENOMEM);
                return;
        }
        json_for_each (it, array) {
                list[count] = (struct keyed){ it.value, schema, count };
                count++;
        }
        qsort(list, count, sizeof(*list), compare_keyed);
        for (size_t i = 1; i < count; i++)
                if (same_element(schema, list[i - 1].element, list[i].element))
                        tell_duplicate(v, schema, list[i].element, list[i].index, path);
        free(list);
}

static void check_uniqueness(struct validator *v, const struct schema *schema,
                             struct json_value array, const struct field_path *path)
{
        enum { FEW = 24 };
        struct json_value before[FEW];
        size_t count = 0;

        if (!schema->list_set && !schema->list_map)
                return;
        if (json_count(array) > FEW) {
                check_long_uniqueness(v, schema, array, path);
                return;
        }
        json_for_each (it, array) {
                size_t i = 0;
                while (i < count && !same_element(schema, before[i], it.value))
                        i++;
                if (i < count)
                        tell_duplicate(v, schema, it.value, count, path);
                before[count++] = it.value;
        }
}

static void check_array(struct validator *v, const struct schema *schema, struct json_value value,
                        const struct field_path *path)
{
        const struct schema_limits *limits = schema->limits;
        struct field_path place = { .parent = path };
        int64_t count = (int64_t)json_count(value);

        if (limits && limits->max_items >= 0 && count > limits->max_items)
                tell_many(v, path, json_count(value), limits->max_items);
        if (limits && limits->min_items >= 0 && count < limits->min_items)
                tell_few(v, path, json_count(value), limits->min_items, "items");
        if (schema->items) {
                json_for_each (it, value) {
                        validate(v, schema->items, it.value, &place);
                        place.index++;
                }
        }
        check_uniqueness(v, schema, value, path);
}

/* ---- objects ---- */

static void require(struct validator *v, struct json_value object, struct str key,
                    const struct field_path *path)
{
        struct field_path place = { .parent = path, .key = key };

        if (!json_exists(json_member(object, key)))
                tell(v, FIELD_REQUIRED, &place, (struct json_value){}, "");
}

static void check_object(struct validator *v, const struct schema *schema, struct json_value value,
                         const struct field_path *path)
{
        const struct schema_limits *limits = schema->limits;
        struct field_path place = { .parent = path };
        int64_t count = (int64_t)json_count(value);

        for (size_t i = 0; i < schema->required_count; i++)
                require(v, value, schema->required[i], path);
        if (schema->embedded_resource) {
                require(v, value, STR("apiVersion"), path);
                require(v, value, STR("kind"), path);
        }
        if (limits && limits->max_properties >= 0 && count > limits->max_properties)
                tell_many(v, path, json_count(value), limits->max_properties);
        if (limits && limits->min_properties >= 0 && count < limits->min_properties)
                tell_few(v, path, json_count(value), limits->min_properties, "properties");
        if (schema->property_count == 0 && !schema->additional)
                return;
        json_for_each (it, value) {
                const struct schema *inner = schema_member_find(schema, it.key);
                if (!inner)
                        continue;
                place.key = it.key;
                validate(v, inner, it.value, &place);
        }
}

/* ---- logic ---- */

static bool holds(const struct validator *v, const struct schema *schema, struct json_value value)
{
        static const struct field_path nowhere = { .key = STR("") };
        struct validator quiet = { .depth = v->depth };

        validate(&quiet, schema, value, &nowhere);
        return !quiet.failed;
}

static size_t count_holding(const struct validator *v, const struct schema_list *list,
                            struct json_value value)
{
        size_t count = 0;

        for (size_t i = 0; i < list->count; i++)
                count += holds(v, list->list[i], value);
        return count;
}

static void check_logic(struct validator *v, const struct schema *schema, struct json_value value,
                        const struct field_path *path)
{
        bool failed_before = v->failed;

        v->failed = false;
        for (size_t i = 0; i < schema->all_of.count; i++)
                validate(v, schema->all_of.list[i], value, path);
        if (v->failed)
                tell_logic(v, path, "must validate all the schemas (allOf)");
        v->failed |= failed_before;
        if (schema->any_of.count > 0 && count_holding(v, &schema->any_of, value) == 0)
                tell_logic(v, path, "must validate at least one schema (anyOf)");
        if (schema->one_of.count > 0) {
                size_t count = count_holding(v, &schema->one_of, value);
                char text[96] = "must validate one and only one schema (oneOf). Found none valid";
                if (count > 0)
                        snprintf(text, sizeof(text),
                                 "must validate one and only one schema (oneOf). Found %zu valid "
                                 "alternatives",
                                 count);
                if (count != 1)
                        tell_logic(v, path, text);
        }
        if (schema->not &&holds(v, schema->not, value))
                tell_logic(v, path, "must not validate the schema (not)");
}

static void validate(struct validator *v, const struct schema *declared, struct json_value value,
                     const struct field_path *path)
{
        const struct schema *schema = schema_resolve(declared);

        if (json_type(value) == JSON_NULL &&
            (schema->nullable || declared->nullable || schema->type == SCHEMA_ANY))
                return;
        if (v->depth == DEPTH_MAX || !check_type(v, schema, value, path))
                return;
        v->depth++;
        switch (json_type(value)) {
        case JSON_OBJECT:
                check_object(v, schema, value, path);
                break;
        case JSON_ARRAY:
                check_array(v, schema, value, path);
                break;
        case JSON_STRING:
                check_string(v, schema, value, path);
                break;
        case JSON_NUMBER:
                check_number(v, schema, value, path);
                break;
        default:
                break;
        }
        if (schema->enum_count > 0)
                check_enum(v, schema, value, path);
        check_logic(v, schema, value, path);
        v->depth--;
}

void schema_validate(const struct schema *schema, struct json_value object,
                     struct field_errors *errors)
{
        schema_validate_at(schema, object, STR(""), errors);
}

void schema_validate_at(const struct schema *schema, struct json_value value, struct str field,
                        struct field_errors *errors)
{
        struct validator validator = { .errors = errors };
        struct field_path path = { .key = field };

        validate(&validator, schema, value, &path);
}
