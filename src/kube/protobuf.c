// SPDX-License-Identifier: Apache-2.0
#include "kube/protobuf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/protowire.h"
#include "crypto/encode.h"
#include "json/writer.h"

/* ---- the table ---- */

enum { FIELDS_MOST = 64, MESSAGES_MOST = UINT16_MAX };

enum shape { SHAPE_SINGLE, SHAPE_LIST, SHAPE_MAP };

enum value_type {
        VALUE_BOOL,
        VALUE_INT,
        VALUE_DOUBLE,
        VALUE_STRING,
        VALUE_BYTES,
        VALUE_TIME,
        VALUE_MICRO_TIME,
        VALUE_DURATION,
        VALUE_QUANTITY,
        VALUE_RAW,
        VALUE_INT_OR_STRING,
        VALUE_MESSAGE, /* the first that is not in scalar_names */
};

static const struct str scalar_names[] = {
        [VALUE_BOOL] = STR("bool"),
        [VALUE_INT] = STR("int"),
        [VALUE_DOUBLE] = STR("double"),
        [VALUE_STRING] = STR("string"),
        [VALUE_BYTES] = STR("bytes"),
        [VALUE_TIME] = STR("time"),
        [VALUE_MICRO_TIME] = STR("microTime"),
        [VALUE_DURATION] = STR("duration"),
        [VALUE_QUANTITY] = STR("quantity"),
        [VALUE_RAW] = STR("raw"),
        [VALUE_INT_OR_STRING] = STR("intOrString"),
};

struct field_type {
        uint8_t shape;    /* enum shape */
        uint8_t value;    /* enum value_type, of each element or map's value */
        bool is_items;    /* a message that has a list of those in its field 1 */
        bool omits_empty; /* JSON leaves an empty one out */
        uint16_t message; /* index of VALUE_MESSAGE's */
        uint32_t number;
        struct str name; /* empty: its members stand in the object itself */
};

struct message_type {
        struct str name;
        const struct field_type *fields;
        unsigned count;
};

struct protobuf_fields {
        struct arena arena;
        size_t count;
        struct message_type *messages; /* ordered by name */
};

static int compare_messages(const void *a, const void *b)
{
        return str_compare(((const struct message_type *)a)->name,
                           ((const struct message_type *)b)->name);
}

static const struct message_type *find_message(const struct protobuf_fields *fields,
                                               struct str name)
{
        const struct message_type key = { .name = name };

        return bsearch(&key, fields->messages, fields->count, sizeof(key), compare_messages);
}

static bool take_mark(struct str *type, struct str mark)
{
        if (!str_starts_with(*type, mark))
                return false;
        *type = str_slice(*type, mark.length, type->length);
        return true;
}

/* "{}items:[]string" and the like. */
static int compile_type(const struct protobuf_fields *fields, struct str type,
                        struct field_type *field)
{
        if (take_mark(&type, STR("[]")))
                field->shape = SHAPE_LIST;
        else if (take_mark(&type, STR("{}")))
                field->shape = SHAPE_MAP;
        field->is_items = take_mark(&type, STR("items:[]"));
        for (size_t i = 0; i < ARRAY_SIZE(scalar_names); i++)
                if (str_equal(type, scalar_names[i])) {
                        field->value = (uint8_t)i;
                        return 0;
                }
        const struct message_type *message = find_message(fields, type);
        if (!message)
                return -EBADMSG;
        field->value = VALUE_MESSAGE;
        field->message = (uint16_t)(message - fields->messages);
        return 0;
}

/* One field of the table: [number, name, type, 1 if empty is left out]. */
static int compile_field(struct protobuf_fields *fields, struct json_value entry,
                         struct field_type *ret_field)
{
        struct field_type field = {
                .number = (uint32_t)json_int64_or(json_element(entry, 0), 0),
                .omits_empty = json_exists(json_element(entry, 3)),
        };
        struct str name = json_string(json_element(entry, 1));

        if (name.length > 0) {
                field.name = arena_str(&fields->arena, name);
                if (!field.name.data)
                        return -ENOMEM;
        }
        int r = compile_type(fields, json_string(json_element(entry, 2)), &field);
        /* A time that is not set is null, which says no more than nothing. */
        if (field.shape == SHAPE_SINGLE && !field.is_items &&
            (field.value == VALUE_TIME || field.value == VALUE_MICRO_TIME))
                field.omits_empty = true;
        if (r == 0)
                *ret_field = field;
        return r;
}

static int compile_message(struct protobuf_fields *fields, struct json_value entries,
                           struct str without, struct message_type *message)
{
        size_t count = json_count(entries);
        struct field_type *list = arena_new(&fields->arena, struct field_type, count);
        unsigned filled = 0;

        if (!list)
                return -ENOMEM;
        if (count > FIELDS_MOST)
                return -EBADMSG;
        json_for_each (it, entries) {
                struct str name = json_string(json_element(it.value, 1));
                if (name.length > 0 && str_equal(name, without))
                        continue;
                int r = compile_field(fields, it.value, &list[filled]);
                if (r < 0)
                        return r;
                filled++;
        }
        message->fields = list;
        message->count = filled;
        return 0;
}

static int compile(struct protobuf_fields *fields, struct json_value table, struct str without)
{
        size_t count = json_count(table);

        if (json_type(table) != JSON_OBJECT || count > MESSAGES_MOST)
                return -EBADMSG;
        fields->messages = arena_new(&fields->arena, struct message_type, count);
        if (!fields->messages)
                return -ENOMEM;
        json_for_each (it, table) {
                struct str name = arena_str(&fields->arena, it.key);
                if (!name.data)
                        return -ENOMEM;
                fields->messages[fields->count++].name = name;
        }
        qsort(fields->messages, count, sizeof(*fields->messages), compare_messages);
        for (size_t i = 0; i < count; i++) {
                struct message_type *message = &fields->messages[i];
                int r = compile_message(fields, json_member(table, message->name), without,
                                        message);
                if (r < 0)
                        return r;
        }
        return 0;
}

int protobuf_fields_new(struct str table, struct str without, struct protobuf_fields **ret_fields)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        int r = json_doc_parse(table, NULL, NULL, NULL, &doc);

        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        struct protobuf_fields *fields = calloc(1, sizeof(*fields));
        if (!fields)
                return -ENOMEM;
        r = compile(fields, json_root(doc), without);
        if (r < 0) {
                protobuf_fields_free(fields);
                return r;
        }
        *ret_fields = fields;
        return 0;
}

void protobuf_fields_free(struct protobuf_fields *fields)
{
        if (!fields)
                return;
        arena_deinit(&fields->arena);
        free(fields);
}

/* ---- the wire ---- */

/* The last field with this number, as protobuf has it for fields that are not repeated. */
static int find_field(struct str message, uint32_t number, struct protowire_field *ret_field)
{
        struct protowire_field field;
        int found = 0, r;

        while ((r = protowire_next(&message, &field)) > 0) {
                if (field.number != number)
                        continue;
                *ret_field = field;
                found = 1;
        }
        return r < 0 ? r : found;
}

struct decoder {
        const struct protobuf_fields *fields;
        struct json_writer writer;
        unsigned depth;
};

static int write_message(struct decoder *decoder, const struct message_type *type,
                         struct str message);

static struct str bytes_field(struct str message, uint32_t number)
{
        struct protowire_field field = {};

        return find_field(message, number, &field) > 0 && field.type == PROTOWIRE_BYTES
                       ? field.bytes
                       : STR_EMPTY;
}

static uint64_t number_field(struct str message, uint32_t number)
{
        struct protowire_field field = {};

        return find_field(message, number, &field) > 0 && field.type != PROTOWIRE_BYTES
                       ? field.value
                       : 0;
}

/* Time {1: seconds, 2: nanoseconds}; an empty one is the zero time, which is null in JSON. */
static int write_time(struct decoder *decoder, struct str message, bool micro)
{
        uint64_t seconds = number_field(message, 1), nanoseconds = number_field(message, 2);
        char text[RFC3339_MICRO_SIZE];

        if (message.length == 0) {
                json_write_null(&decoder->writer);
                return 0;
        }
        if (seconds > UINT64_MAX / NS_PER_SECOND - 1 || nanoseconds >= NS_PER_SECOND)
                return -EBADMSG;
        if (micro)
                rfc3339_format_micro(seconds * NS_PER_SECOND + nanoseconds, text);
        else
                rfc3339_format_seconds(seconds * NS_PER_SECOND, text);
        json_write_string(&decoder->writer, str_from(text));
        return 0;
}

static int write_base64(struct decoder *decoder, struct str bytes)
{
        _cleanup_buffer_ struct buffer text = {};
        int r = base64_append(&text, BASE64_STANDARD, bytes.data, bytes.length);

        if (r == 0)
                json_write_string(&decoder->writer, buffer_str(&text));
        return r;
}

/* JSON inside of the message: RawExtension, FieldsV1 and JSON keep it in field 1. */
static int write_raw(struct decoder *decoder, struct str message)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct str raw = bytes_field(message, 1);

        if (raw.length == 0) {
                json_write_null(&decoder->writer);
                return 0;
        }
        int r = json_doc_parse(raw, NULL, NULL, NULL, &doc);
        if (r == 0)
                json_write_raw(&decoder->writer, json_doc_text(doc));
        return r;
}

static int write_double(struct decoder *decoder, uint64_t bits)
{
        char text[32];
        double value;

        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
                return -EBADMSG;
        snprintf(text, sizeof(text), "%.17g", value);
        json_write_raw(&decoder->writer, str_from(text));
        return 0;
}

/* A number, as such a field is one on the wire. */
static int write_number(struct decoder *decoder, enum value_type type, uint64_t value)
{
        switch (type) {
        case VALUE_BOOL:
                json_write_bool(&decoder->writer, value != 0);
                return 0;
        case VALUE_INT:
                json_write_int(&decoder->writer, (int64_t)value);
                return 0;
        case VALUE_DOUBLE:
                return write_double(decoder, value);
        default:
                return -EBADMSG;
        }
}

/* Writes one value that is no list and no map. */
static int write_single(struct decoder *decoder, const struct field_type *type,
                        const struct protowire_field *field)
{
        struct json_writer *writer = &decoder->writer;
        struct str bytes = field->bytes;

        if (field->type != PROTOWIRE_BYTES)
                return write_number(decoder, type->value, field->value);
        switch ((enum value_type)type->value) {
        case VALUE_BOOL:
        case VALUE_INT:
        case VALUE_DOUBLE:
                return -EBADMSG;
        case VALUE_STRING:
                json_write_string(writer, bytes);
                return 0;
        case VALUE_BYTES:
                return write_base64(decoder, bytes);
        case VALUE_TIME:
                return write_time(decoder, bytes, false);
        case VALUE_MICRO_TIME:
                return write_time(decoder, bytes, true);
        case VALUE_DURATION:
                json_write_int(writer, (int64_t)number_field(bytes, 1));
                return 0;
        case VALUE_QUANTITY:
                json_write_string(writer, bytes_field(bytes, 1));
                return 0;
        case VALUE_RAW:
                return write_raw(decoder, bytes);
        case VALUE_INT_OR_STRING:
                if (number_field(bytes, 1) == 1)
                        json_write_string(writer, bytes_field(bytes, 3));
                else
                        json_write_int(writer, (int32_t)number_field(bytes, 2));
                return 0;
        case VALUE_MESSAGE:
                break;
        }
        return write_message(decoder, &decoder->fields->messages[type->message], bytes);
}

/* Every occurrence of `number` as the elements of an array. */
static int write_list(struct decoder *decoder, const struct field_type *type, struct str message,
                      uint32_t number)
{
        struct protowire_field field;
        int r;

        json_begin_array(&decoder->writer);
        while ((r = protowire_next(&message, &field)) > 0) {
                if (field.number != number)
                        continue;
                r = write_single(decoder, type, &field);
                if (r < 0)
                        return r;
        }
        json_end_array(&decoder->writer);
        return r;
}

static int write_value(struct decoder *decoder, const struct field_type *type,
                       const struct protowire_field *field)
{
        if (!type->is_items)
                return write_single(decoder, type, field);
        if (field->type != PROTOWIRE_BYTES)
                return -EBADMSG;
        return write_list(decoder, type, field->bytes, 1);
}

/* Every occurrence of the field, an entry {1: key, 2: value}, as members of an object. */
static int write_map(struct decoder *decoder, const struct field_type *type, struct str message)
{
        const struct protowire_field empty = { .type = PROTOWIRE_BYTES };
        struct protowire_field field, value;
        int r;

        json_begin_object(&decoder->writer);
        while ((r = protowire_next(&message, &field)) > 0) {
                if (field.number != type->number)
                        continue;
                if (field.type != PROTOWIRE_BYTES)
                        return -EBADMSG;
                r = find_field(field.bytes, 2, &value);
                if (r < 0)
                        return r;
                json_key(&decoder->writer, bytes_field(field.bytes, 1));
                r = write_value(decoder, type, r == 0 ? &empty : &value);
                if (r < 0)
                        return r;
        }
        json_end_object(&decoder->writer);
        return r;
}

/* Whether JSON leaves the value out where its field says omitempty. */
static bool is_empty(const struct protowire_field *field)
{
        return field->type == PROTOWIRE_BYTES ? field->bytes.length == 0 : field->value == 0;
}

static int write_members(struct decoder *decoder, const struct message_type *type,
                         struct str message);

/* Where a field stands in its message: from its first occurrence on, and the last one. */
struct place {
        struct str from; /* ends with the last; no data: the message has none */
        struct protowire_field last;
};

/* One field that the message has. */
static int write_member(struct decoder *decoder, const struct field_type *type,
                        const struct place *place)
{
        const struct protowire_field *last = &place->last;

        if (type->name.length == 0)
                return last->type == PROTOWIRE_BYTES && type->value == VALUE_MESSAGE
                               ? write_members(decoder, &decoder->fields->messages[type->message],
                                               last->bytes)
                               : -EBADMSG;
        if (type->shape == SHAPE_SINGLE && type->omits_empty && is_empty(last))
                return 0;
        json_key(&decoder->writer, type->name);
        if (type->shape == SHAPE_LIST)
                return write_list(decoder, type, place->from, type->number);
        if (type->shape == SHAPE_MAP)
                return write_map(decoder, type, place->from);
        return write_value(decoder, type, last);
}

/* The field's index, or the type's count. Writers go through a type in its order: so does this. */
static unsigned find_number(const struct message_type *type, uint32_t number, unsigned at)
{
        for (unsigned i = 0; i < type->count; i++) {
                unsigned index = at + i < type->count ? at + i : at + i - type->count;
                if (type->fields[index].number == number)
                        return index;
        }
        return type->count;
}

static int find_places(const struct message_type *type, struct str message,
                       struct place places[static FIELDS_MOST])
{
        struct protowire_field field;
        struct str rest = message;
        unsigned at = 0;
        int r;

        for (unsigned i = 0; i < type->count; i++)
                places[i].from = STR_EMPTY;
        for (struct str from = message; (r = protowire_next(&rest, &field)) > 0; from = rest) {
                unsigned index = find_number(type, field.number, at);
                if (index == type->count)
                        continue;
                struct place *place = &places[index];
                if (place->from.length == 0)
                        place->from = from;
                place->from.length = (size_t)(rest.data - place->from.data);
                place->last = field;
                at = index;
        }
        return r;
}

static int write_members(struct decoder *decoder, const struct message_type *type,
                         struct str message)
{
        struct place places[FIELDS_MOST];
        int r = find_places(type, message, places);

        for (unsigned i = 0; r == 0 && i < type->count; i++)
                if (places[i].from.length > 0)
                        r = write_member(decoder, &type->fields[i], &places[i]);
        return r;
}

static int write_message(struct decoder *decoder, const struct message_type *type,
                         struct str message)
{
        int r;

        /* Each message may open two levels (a list and itself), the last one a map besides. */
        if (decoder->depth >= (LIMIT_DEPTH - 4) / 2)
                return -E2BIG;
        decoder->depth++;
        json_begin_object(&decoder->writer);
        r = write_members(decoder, type, message);
        if (r == 0)
                json_end_object(&decoder->writer);
        decoder->depth--;
        return r;
}

static const struct str magic = { "k8s", 4 }; /* with its NUL */

bool protobuf_is_body(struct str body)
{
        return str_starts_with(body, magic);
}

/*
 * "apps/v1" + "Deployment" → "apps/v1.Deployment"; the group's domain is not part of it, and the
 * core group is called core. Options of requests are of the meta package in any group.
 */
static struct str message_name(struct str api_version, struct str kind, char *text, size_t size)
{
        struct str group, version, first, rest;

        if (!str_cut(api_version, '/', &group, &version)) {
                version = group;
                group = STR("core");
        }
        str_cut(group, '.', &first, &rest);
        if (str_equal(kind, STR("DeleteOptions")) || str_equal(kind, STR("Status"))) {
                first = STR("meta");
                version = STR("v1");
        }
        int length = snprintf(text, size, "%.*s/%.*s.%.*s", STR_FORMAT(first), STR_FORMAT(version),
                              STR_FORMAT(kind));
        return length > 0 && (size_t)length < size ? (struct str){ text, (size_t)length }
                                                   : STR_EMPTY;
}

bool protobuf_knows(const struct protobuf_fields *fields, struct str api_version, struct str kind)
{
        char name[256];

        return find_message(fields, message_name(api_version, kind, name, sizeof(name))) != NULL;
}

int protobuf_to_json(const struct protobuf_fields *fields, struct str body, struct error *error,
                     struct buffer *out)
{
        struct decoder decoder = { .fields = fields };
        char name[256];

        if (!protobuf_is_body(body))
                return error_set(error, -EBADMSG, "the body is no Kubernetes protobuf message");
        struct str unknown = str_slice(body, magic.length, body.length);
        struct str type_meta = bytes_field(unknown, 1), raw = bytes_field(unknown, 2);
        struct str api_version = bytes_field(type_meta, 1), kind = bytes_field(type_meta, 2);
        const struct message_type *type =
                find_message(fields, message_name(api_version, kind, name, sizeof(name)));

        if (!type)
                return error_set(error, -ENOENT,
                                 "protobuf bodies of kind %.*s in %.*s are not known",
                                 STR_FORMAT(kind), STR_FORMAT(api_version));
        json_writer_init(&decoder.writer, out);
        json_begin_object(&decoder.writer);
        json_field_string(&decoder.writer, "kind", kind);
        json_field_string(&decoder.writer, "apiVersion", api_version);
        int r = write_members(&decoder, type, raw);
        if (r < 0)
                return error_set(error, r, "the protobuf body of kind %.*s is malformed",
                                 STR_FORMAT(kind));
        json_end_object(&decoder.writer);
        return json_writer_finish(&decoder.writer);
}
