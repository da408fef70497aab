// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kube/schema_internal.h"
#include "json/writer.h"

/* Pruning and defaulting: a walk that only looks, and one that writes if there is need. */

static int write_key(struct buffer *out, bool *first, struct str key)
{
        struct json_writer writer;
        int r = *first ? 0 : buffer_append_char(out, ',');

        *first = false;
        if (r < 0)
                return r;
        json_writer_init(&writer, out);
        json_write_string(&writer, key);
        r = json_writer_finish(&writer);
        return r < 0 ? r : buffer_append_char(out, ':');
}

static int finish(const struct json_doc *before, int changed, struct buffer *text,
                  struct json_doc **ret_doc)
{
        if (changed < 0)
                return changed == -EOVERFLOW ? -ENOMEM : changed;
        if (changed > 0)
                return json_doc_from_buffer(text, ret_doc);
        *ret_doc = json_doc_ref((struct json_doc *)(uintptr_t)before);
        return 0;
}

/* ---- pruning ---- */

enum fate {
        FATE_KEEP, /* as it is, whatever is in it */
        FATE_WALK, /* by the schema found */
        FATE_PRUNE,
};

static enum fate member_fate(const struct schema *schema, struct str key,
                             const struct schema **ret_inner)
{
        const struct schema *inner = schema_property_find(schema, key);

        if (schema_is_object_field(schema, key)) {
                /* metadata without a schema of its own is for others to judge */
                if (!inner || schema_resolve(inner)->property_count == 0)
                        return FATE_KEEP;
        }
        if (!inner)
                inner = schema->additional;
        if (inner) {
                *ret_inner = schema_resolve(inner);
                return FATE_WALK;
        }
        return schema->preserves_unknown ? FATE_KEEP : FATE_PRUNE;
}

/* A schema that says nothing about what is in an object lets it be; one with a type does not. */
static bool is_open(const struct schema *schema)
{
        return schema->property_count == 0 && !schema->additional &&
               (schema->preserves_unknown || schema->type == SCHEMA_ANY);
}

struct pruner {
        struct buffer *unknown; /* or NULL */
};

static int tell_unknown(struct pruner *p, const struct field_path *path)
{
        int r;

        if (!p->unknown)
                return 0;
        r = buffer_append_str(p->unknown, STR("unknown field \""));
        if (r == 0)
                r = field_path_write(path, p->unknown);
        return r < 0 ? r : buffer_append_str(p->unknown, STR("\"\n"));
}

/* Returns 1 if something is unknown, 0 or -ENOMEM. */
static int look_for_unknown(struct pruner *p, const struct schema *schema, struct json_value value,
                            const struct field_path *path)
{
        struct field_path inner_path = { .parent = path };
        const struct schema *inner;
        int found = 0, r = 0;

        if (json_type(value) == JSON_ARRAY && schema->items) {
                json_for_each (it, value) {
                        r = look_for_unknown(p, schema_resolve(schema->items), it.value,
                                             &inner_path);
                        if (r < 0)
                                return r;
                        found |= r;
                        inner_path.index++;
                }
                return found;
        }
        if (json_type(value) != JSON_OBJECT || is_open(schema))
                return 0;
        json_for_each (it, value) {
                inner_path.key = it.key;
                enum fate fate = member_fate(schema, it.key, &inner);
                if (fate == FATE_WALK)
                        r = look_for_unknown(p, inner, it.value, &inner_path);
                else if (fate == FATE_PRUNE)
                        r = tell_unknown(p, &inner_path) < 0 ? -ENOMEM : 1;
                else
                        r = 0;
                if (r < 0)
                        return r;
                found |= r;
                if (found && !p->unknown)
                        return 1;
        }
        return found;
}

static int write_pruned(const struct schema *schema, struct json_value value, struct buffer *out)
{
        enum json_type type = json_type(value);
        const struct schema *inner;
        bool first = true;
        int r;

        if ((type != JSON_ARRAY || !schema->items) && (type != JSON_OBJECT || is_open(schema)))
                return buffer_append_str(out, json_text(value));
        r = buffer_append_char(out, type == JSON_ARRAY ? '[' : '{');
        json_for_each (it, value) {
                if (r < 0)
                        return r;
                if (type == JSON_ARRAY) {
                        r = first ? 0 : buffer_append_char(out, ',');
                        first = false;
                        if (r == 0)
                                r = write_pruned(schema_resolve(schema->items), it.value, out);
                        continue;
                }
                enum fate fate = member_fate(schema, it.key, &inner);
                if (fate == FATE_PRUNE)
                        continue;
                r = write_key(out, &first, it.key);
                if (r == 0)
                        r = fate == FATE_KEEP ? buffer_append_str(out, json_text(it.value))
                                              : write_pruned(inner, it.value, out);
        }
        return r < 0 ? r : buffer_append_char(out, type == JSON_ARRAY ? ']' : '}');
}

int schema_prune(const struct schema *schema, const struct json_doc *doc, struct buffer *unknown,
                 struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};
        struct pruner pruner = { unknown };
        struct field_path root = { .key = STR("") };

        schema = schema_resolve(schema);
        int r = look_for_unknown(&pruner, schema, json_root(doc), &root);
        if (r > 0) {
                int written = write_pruned(schema, json_root(doc), &text);
                r = written < 0 ? written : 1;
        }
        return finish(doc, r, &text, ret_doc);
}

/* ---- defaulting ---- */

struct defaulter {
        bool nulls; /* there are null members: those that may not be null go */
};

static bool is_nullable(const struct schema *declared)
{
        return declared->nullable || schema_resolve(declared)->nullable;
}

/* Whether the default stands in for the value. */
static bool takes_default(const struct schema *declared, struct json_value value)
{
        if (!declared->default_json.data)
                return false;
        if (!json_exists(value))
                return true;
        return json_type(value) == JSON_NULL && !is_nullable(declared);
}

/* A null member without a default counts as absent where null is not allowed. */
static bool drops_null(const struct schema *declared, struct json_value value)
{
        return json_type(value) == JSON_NULL && !declared->default_json.data &&
               !is_nullable(declared);
}

static bool needs_change(const struct defaulter *d, const struct schema *declared,
                         struct json_value value)
{
        const struct schema *schema = schema_resolve(declared);

        if (!schema->has_defaults && !d->nulls)
                return false;
        if (json_type(value) == JSON_ARRAY && schema->items) {
                json_for_each (it, value)
                        if (takes_default(schema->items, it.value) ||
                            needs_change(d, schema->items, it.value))
                                return true;
                return false;
        }
        if (json_type(value) != JSON_OBJECT)
                return false;
        for (size_t i = 0; i < schema->property_count; i++)
                if (schema->properties[i].schema->default_json.data &&
                    takes_default(schema->properties[i].schema,
                                  json_member(value, schema->properties[i].name)))
                        return true;
        json_for_each (it, value) {
                const struct schema *inner = schema_member_find(schema, it.key);
                if (inner && (takes_default(inner, it.value) || drops_null(inner, it.value) ||
                              needs_change(d, inner, it.value)))
                        return true;
        }
        return false;
}

static int write_value(const struct defaulter *d, const struct schema *declared,
                       struct json_value value, struct buffer *out);

static int write_object(const struct defaulter *d, const struct schema *schema,
                        struct json_value value, struct buffer *out)
{
        bool first = true;
        int r = buffer_append_char(out, '{');

        json_for_each (it, value) {
                const struct schema *inner = schema_member_find(schema, it.key);
                if (inner && drops_null(inner, it.value))
                        continue;
                if (r == 0)
                        r = write_key(out, &first, it.key);
                if (r < 0)
                        return r;
                r = inner ? write_value(d, inner, it.value, out)
                          : buffer_append_str(out, json_text(it.value));
        }
        for (size_t i = 0; i < schema->property_count && r == 0; i++) {
                const struct schema_property *property = &schema->properties[i];
                if (!property->schema->default_json.data ||
                    json_exists(json_member(value, property->name)))
                        continue;
                r = write_key(out, &first, property->name);
                if (r == 0)
                        r = buffer_append_str(out, property->schema->default_json);
        }
        return r < 0 ? r : buffer_append_char(out, '}');
}

static int write_value(const struct defaulter *d, const struct schema *declared,
                       struct json_value value, struct buffer *out)
{
        const struct schema *schema = schema_resolve(declared);
        bool first = true;

        if (takes_default(declared, value))
                return buffer_append_str(out, declared->default_json);
        if (!schema->has_defaults && !d->nulls)
                return buffer_append_str(out, json_text(value));
        if (json_type(value) == JSON_OBJECT)
                return write_object(d, schema, value, out);
        if (json_type(value) != JSON_ARRAY || !schema->items)
                return buffer_append_str(out, json_text(value));
        int r = buffer_append_char(out, '[');
        json_for_each (it, value) {
                if (r == 0 && !first)
                        r = buffer_append_char(out, ',');
                first = false;
                if (r == 0)
                        r = write_value(d, schema->items, it.value, out);
        }
        return r < 0 ? r : buffer_append_char(out, ']');
}

int schema_write_defaulted(const struct schema *schema, struct json_value value, struct buffer *out)
{
        struct str text = json_text(value);
        struct defaulter d = { memmem(text.data, text.length, ":null", 5) != NULL };

        if (!needs_change(&d, schema, value))
                return 0;
        int r = write_value(&d, schema, value, out);
        return r < 0 ? r : 1;
}

int schema_default(const struct schema *schema, const struct json_doc *doc,
                   struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer text = {};

        return finish(doc, schema_write_defaulted(schema, json_root(doc), &text), &text, ret_doc);
}
