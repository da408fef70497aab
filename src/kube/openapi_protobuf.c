// SPDX-License-Identifier: Apache-2.0
#include "kube/openapi_protobuf.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is written where: OpenAPIv2.proto, and how a member's JSON becomes its field ---- */

enum kind {
        KIND_STRING,
        KIND_STRINGS,
        KIND_BOOL,
        KIND_INT,
        KIND_DOUBLE,
        KIND_ANY, /* Any: the value as YAML, which JSON is */
        KIND_ANYS,
        KIND_MESSAGE,
        KIND_MESSAGES,
        KIND_TYPE,       /* TypeItem: a string, or several */
        KIND_ITEMS,      /* ItemsItem: a schema, or several */
        KIND_ADDITIONAL, /* AdditionalPropertiesItem: a schema, or a boolean */
        KIND_PARAMETERS, /* ParametersItem … */
};

struct message;

struct field {
        const char *name;
        unsigned number;
        enum kind kind;
        const struct message *message;
};

struct message {
        const struct field *fields;
        size_t count;
        unsigned extensions; /* field of NamedAny for members called x-…; 0: none */
        unsigned map;        /* field for members of any other name; 0: none */
        const struct message *map_value;
        unsigned wrapped; /* field of an enclosing message that holds nothing else */
};

#define FIELDS(list) .fields = (list), .count = ARRAY_SIZE(list)

static const struct message schema;

static const struct message schema_map = { .map = 1, .map_value = &schema };

static const struct field external_docs_fields[] = {
        { "description", 1, KIND_STRING, NULL },
        { "url", 2, KIND_STRING, NULL },
};
static const struct message external_docs = { FIELDS(external_docs_fields), .extensions = 3 };

static const struct field schema_fields[] = {
        { "$ref", 1, KIND_STRING, NULL },
        { "format", 2, KIND_STRING, NULL },
        { "title", 3, KIND_STRING, NULL },
        { "description", 4, KIND_STRING, NULL },
        { "default", 5, KIND_ANY, NULL },
        { "multipleOf", 6, KIND_DOUBLE, NULL },
        { "maximum", 7, KIND_DOUBLE, NULL },
        { "exclusiveMaximum", 8, KIND_BOOL, NULL },
        { "minimum", 9, KIND_DOUBLE, NULL },
        { "exclusiveMinimum", 10, KIND_BOOL, NULL },
        { "maxLength", 11, KIND_INT, NULL },
        { "minLength", 12, KIND_INT, NULL },
        { "pattern", 13, KIND_STRING, NULL },
        { "maxItems", 14, KIND_INT, NULL },
        { "minItems", 15, KIND_INT, NULL },
        { "uniqueItems", 16, KIND_BOOL, NULL },
        { "maxProperties", 17, KIND_INT, NULL },
        { "minProperties", 18, KIND_INT, NULL },
        { "required", 19, KIND_STRINGS, NULL },
        { "enum", 20, KIND_ANYS, NULL },
        { "additionalProperties", 21, KIND_ADDITIONAL, NULL },
        { "type", 22, KIND_TYPE, NULL },
        { "items", 23, KIND_ITEMS, NULL },
        { "allOf", 24, KIND_MESSAGES, &schema },
        { "properties", 25, KIND_MESSAGE, &schema_map },
        { "externalDocs", 29, KIND_MESSAGE, &external_docs },
        { "example", 30, KIND_ANY, NULL },
};
static const struct message schema = { FIELDS(schema_fields), .extensions = 31 };

static const struct field info_fields[] = {
        { "title", 1, KIND_STRING, NULL },
        { "version", 2, KIND_STRING, NULL },
        { "description", 3, KIND_STRING, NULL },
};
static const struct message info = { FIELDS(info_fields), .extensions = 7 };

static const struct message schema_item = { FIELDS(schema_fields), .extensions = 31, .wrapped = 1 };
static const struct field response_fields[] = {
        { "description", 1, KIND_STRING, NULL },
        { "schema", 2, KIND_MESSAGE, &schema_item },
};
static const struct message response_value = { FIELDS(response_fields), .extensions = 5,
                                               .wrapped = 1 };
static const struct message responses = { .extensions = 2, .map = 1, .map_value = &response_value };

static const struct field body_parameter_fields[] = {
        { "description", 1, KIND_STRING, NULL }, { "name", 2, KIND_STRING, NULL },
        { "in", 3, KIND_STRING, NULL },          { "required", 4, KIND_BOOL, NULL },
        { "schema", 5, KIND_MESSAGE, &schema },
};
static const struct message body_parameter = { FIELDS(body_parameter_fields), .extensions = 6 };

static const struct field query_parameter_fields[] = {
        { "required", 1, KIND_BOOL, NULL },      { "in", 2, KIND_STRING, NULL },
        { "description", 3, KIND_STRING, NULL }, { "name", 4, KIND_STRING, NULL },
        { "type", 6, KIND_STRING, NULL },
};
static const struct message query_parameter = { FIELDS(query_parameter_fields), .extensions = 23 };

static const struct field path_parameter_fields[] = {
        { "required", 1, KIND_BOOL, NULL },      { "in", 2, KIND_STRING, NULL },
        { "description", 3, KIND_STRING, NULL }, { "name", 4, KIND_STRING, NULL },
        { "type", 5, KIND_STRING, NULL },
};
static const struct message path_parameter = { FIELDS(path_parameter_fields), .extensions = 22 };

static const struct field operation_fields[] = {
        { "tags", 1, KIND_STRINGS, NULL },          { "summary", 2, KIND_STRING, NULL },
        { "description", 3, KIND_STRING, NULL },    { "operationId", 5, KIND_STRING, NULL },
        { "produces", 6, KIND_STRINGS, NULL },      { "consumes", 7, KIND_STRINGS, NULL },
        { "parameters", 8, KIND_PARAMETERS, NULL }, { "responses", 9, KIND_MESSAGE, &responses },
        { "schemes", 10, KIND_STRINGS, NULL },      { "deprecated", 11, KIND_BOOL, NULL },
};
static const struct message operation = { FIELDS(operation_fields), .extensions = 13 };

static const struct field path_item_fields[] = {
        { "get", 2, KIND_MESSAGE, &operation },     { "put", 3, KIND_MESSAGE, &operation },
        { "post", 4, KIND_MESSAGE, &operation },    { "delete", 5, KIND_MESSAGE, &operation },
        { "options", 6, KIND_MESSAGE, &operation }, { "head", 7, KIND_MESSAGE, &operation },
        { "patch", 8, KIND_MESSAGE, &operation },   { "parameters", 9, KIND_PARAMETERS, NULL },
};
static const struct message path_item = { FIELDS(path_item_fields), .extensions = 10 };
static const struct message paths = { .extensions = 1, .map = 2, .map_value = &path_item };

static const struct field document_fields[] = {
        { "swagger", 1, KIND_STRING, NULL },
        { "info", 2, KIND_MESSAGE, &info },
        { "host", 3, KIND_STRING, NULL },
        { "basePath", 4, KIND_STRING, NULL },
        { "schemes", 5, KIND_STRINGS, NULL },
        { "consumes", 6, KIND_STRINGS, NULL },
        { "produces", 7, KIND_STRINGS, NULL },
        { "paths", 8, KIND_MESSAGE, &paths },
        { "definitions", 9, KIND_MESSAGE, &schema_map },
};
static const struct message document_message = { FIELDS(document_fields), .extensions = 16 };

/* ---- Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/ ---- */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, VARINT_BYTES_MAX = 10 };

struct encoder {
        struct buffer *out;
        int failure;
};

static size_t encode_varint(uint64_t value, char text[static VARINT_BYTES_MAX])
{
        size_t length = 0;

        while (value >= 0x80) {
                text[length++] = (char)(value | 0x80);
                value >>= 7;
        }
        text[length++] = (char)value;
        return length;
}

static void put(struct encoder *encoder, const void *data, size_t length)
{
        if (encoder->failure == 0)
                encoder->failure = buffer_append(encoder->out, data, length);
}

static void put_varint(struct encoder *encoder, uint64_t value)
{
        char text[VARINT_BYTES_MAX];

        put(encoder, text, encode_varint(value, text));
}

static void put_tag(struct encoder *encoder, unsigned number, unsigned wire_type)
{
        put_varint(encoder, number << 3 | wire_type);
}

static void put_string(struct encoder *encoder, unsigned number, struct str text)
{
        put_tag(encoder, number, WIRE_BYTES);
        put_varint(encoder, text.length);
        put(encoder, text.data, text.length);
}

static void put_bool(struct encoder *encoder, unsigned number, bool value)
{
        put_tag(encoder, number, WIRE_VARINT);
        put_varint(encoder, value);
}

static void put_double(struct encoder *encoder, unsigned number, double value)
{
        char bytes[8];
        uint64_t bits;

        memcpy(&bits, &value, sizeof(bits));
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)(bits >> (8 * i));
        put_tag(encoder, number, WIRE_FIXED64);
        put(encoder, bytes, sizeof(bytes));
}

/* Begins a field that is a message; returns where it begins, for end_message(). */
static size_t begin_message(struct encoder *encoder, unsigned number)
{
        put_tag(encoder, number, WIRE_BYTES);
        return encoder->out->length;
}

/* Puts the length, known only now, before what was written since. */
static void end_message(struct encoder *encoder, size_t start)
{
        struct buffer *out = encoder->out;
        size_t length = out->length - start, size;
        char text[VARINT_BYTES_MAX];

        if (encoder->failure < 0)
                return;
        size = encode_varint(length, text);
        encoder->failure = buffer_reserve(out, size);
        if (encoder->failure < 0)
                return;
        memmove(out->data + start + size, out->data + start, length);
        memcpy(out->data + start, text, size);
        out->length += size;
}

/* ---- from values to fields ---- */

static void put_message(struct encoder *encoder, unsigned number, const struct message *message,
                        struct json_value value);

static void put_any(struct encoder *encoder, unsigned number, struct json_value value)
{
        size_t start = begin_message(encoder, number);

        put_string(encoder, 2, json_text(value));
        end_message(encoder, start);
}

static void put_strings(struct encoder *encoder, unsigned number, struct json_value value)
{
        if (json_type(value) == JSON_STRING)
                put_string(encoder, number, json_string(value));
        json_for_each (it, value) {
                if (json_type(it.value) == JSON_STRING)
                        put_string(encoder, number, json_string(it.value));
        }
}

static void put_number(struct encoder *encoder, const struct field *field, struct json_value value)
{
        int64_t number;
        char text[64];
        struct str digits = json_text(value);
        double real;

        if (json_type(value) != JSON_NUMBER)
                return;
        if (field->kind == KIND_INT) {
                if (json_int64(value, &number) < 0)
                        return;
                put_tag(encoder, field->number, WIRE_VARINT);
                put_varint(encoder, (uint64_t)number);
                return;
        }
        if (digits.length >= sizeof(text))
                return;
        memcpy(text, digits.data, digits.length);
        text[digits.length] = '\0';
        real = strtod(text, NULL);
        if (isfinite(real))
                put_double(encoder, field->number, real);
}

/* ParametersItem { Parameter { BodyParameter | NonBodyParameter { path | query } } } */
static void put_parameter(struct encoder *encoder, unsigned number, struct json_value value)
{
        bool in_body = json_string_is(json_get(value, "in"), STR("body"));
        bool in_path = json_string_is(json_get(value, "in"), STR("path"));
        size_t item = begin_message(encoder, number);
        size_t parameter = begin_message(encoder, 1), other = 0;

        if (in_body) {
                put_message(encoder, 1, &body_parameter, value);
        } else {
                other = begin_message(encoder, 2);
                put_message(encoder, in_path ? 4 : 3, in_path ? &path_parameter : &query_parameter,
                            value);
                end_message(encoder, other);
        }
        end_message(encoder, parameter);
        end_message(encoder, item);
}

static void put_list(struct encoder *encoder, const struct field *field, struct json_value value)
{
        json_for_each (it, value) {
                if (field->kind == KIND_ANYS)
                        put_any(encoder, field->number, it.value);
                else if (field->kind == KIND_PARAMETERS)
                        put_parameter(encoder, field->number, it.value);
                else
                        put_message(encoder, field->number, field->message, it.value);
        }
}

/* The fields whose JSON is one of two things. */
static void put_choice(struct encoder *encoder, const struct field *field, struct json_value value)
{
        size_t start = begin_message(encoder, field->number);

        if (field->kind == KIND_TYPE) {
                put_strings(encoder, 1, value);
        } else if (json_type(value) == JSON_BOOL) {
                put_bool(encoder, 2, json_bool_or(value, false));
        } else if (json_type(value) == JSON_ARRAY) {
                json_for_each (it, value)
                        put_message(encoder, 1, &schema, it.value);
        } else {
                put_message(encoder, 1, &schema, value);
        }
        end_message(encoder, start);
}

static void put_field(struct encoder *encoder, const struct field *field, struct json_value value)
{
        switch (field->kind) {
        case KIND_STRING:
                if (json_type(value) == JSON_STRING)
                        put_string(encoder, field->number, json_string(value));
                break;
        case KIND_STRINGS:
                put_strings(encoder, field->number, value);
                break;
        case KIND_BOOL:
                if (json_type(value) == JSON_BOOL)
                        put_bool(encoder, field->number, json_bool_or(value, false));
                break;
        case KIND_INT:
        case KIND_DOUBLE:
                put_number(encoder, field, value);
                break;
        case KIND_ANY:
                put_any(encoder, field->number, value);
                break;
        case KIND_MESSAGE:
                put_message(encoder, field->number, field->message, value);
                break;
        case KIND_ANYS:
        case KIND_MESSAGES:
        case KIND_PARAMETERS:
                put_list(encoder, field, value);
                break;
        case KIND_TYPE:
        case KIND_ITEMS:
        case KIND_ADDITIONAL:
                put_choice(encoder, field, value);
                break;
        }
}

static const struct field *find_field(const struct message *message, struct str name)
{
        for (size_t i = 0; i < message->count; i++) {
                if (str_equal(str_from(message->fields[i].name), name))
                        return &message->fields[i];
        }
        return NULL;
}

static void put_member(struct encoder *encoder, const struct message *message, struct str name,
                       struct json_value value)
{
        const struct field *field = find_field(message, name);
        size_t start;

        if (field) {
                put_field(encoder, field, value);
        } else if (message->extensions > 0 && str_starts_with(name, STR("x-"))) {
                start = begin_message(encoder, message->extensions);
                put_string(encoder, 1, name);
                put_any(encoder, 2, value);
                end_message(encoder, start);
        } else if (message->map > 0) {
                start = begin_message(encoder, message->map);
                put_string(encoder, 1, name);
                put_message(encoder, 2, message->map_value, value);
                end_message(encoder, start);
        }
}

static void put_members(struct encoder *encoder, const struct message *message,
                        struct json_value value)
{
        if (json_type(value) != JSON_OBJECT)
                return;
        json_for_each (it, value)
                put_member(encoder, message, it.key, it.value);
}

static void put_message(struct encoder *encoder, unsigned number, const struct message *message,
                        struct json_value value)
{
        size_t start = begin_message(encoder, number), inner;

        if (message->wrapped > 0) {
                inner = begin_message(encoder, message->wrapped);
                put_members(encoder, message, value);
                end_message(encoder, inner);
        } else {
                put_members(encoder, message, value);
        }
        end_message(encoder, start);
}

int openapi_v2_to_protobuf(struct json_value document, struct buffer *out)
{
        struct encoder encoder = { .out = out };

        put_members(&encoder, &document_message, document);
        return encoder.failure;
}
