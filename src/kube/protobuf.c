// SPDX-License-Identifier: Apache-2.0
#include "kube/protobuf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/protowire.h"
#include "crypto/encode.h"
#include "json/writer.h"

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
        struct json_value fields; /* of every message */
        struct json_writer writer;
        unsigned depth;
};

static int write_message(struct decoder *decoder, struct str type, struct str message);

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

/* Writes one value of a type that is no list and no map. */
static int write_single(struct decoder *decoder, struct str type,
                        const struct protowire_field *field)
{
        struct json_writer *writer = &decoder->writer;
        bool is_bytes = field->type == PROTOWIRE_BYTES;

        if (str_equal(type, STR("bool")) || str_equal(type, STR("int")) ||
            str_equal(type, STR("double"))) {
                if (is_bytes)
                        return -EBADMSG;
                if (str_equal(type, STR("double")))
                        return write_double(decoder, field->value);
                if (str_equal(type, STR("bool")))
                        json_write_bool(writer, field->value != 0);
                else
                        json_write_int(writer, (int64_t)field->value);
                return 0;
        }
        if (!is_bytes)
                return -EBADMSG;
        if (str_equal(type, STR("string")))
                json_write_string(writer, field->bytes);
        else if (str_equal(type, STR("bytes")))
                return write_base64(decoder, field->bytes);
        else if (str_equal(type, STR("time")))
                return write_time(decoder, field->bytes, false);
        else if (str_equal(type, STR("microTime")))
                return write_time(decoder, field->bytes, true);
        else if (str_equal(type, STR("duration")))
                json_write_int(writer, (int64_t)number_field(field->bytes, 1));
        else if (str_equal(type, STR("quantity")))
                json_write_string(writer, bytes_field(field->bytes, 1));
        else if (str_equal(type, STR("raw")))
                return write_raw(decoder, field->bytes);
        else if (str_equal(type, STR("intOrString")) && number_field(field->bytes, 1) == 1)
                json_write_string(writer, bytes_field(field->bytes, 3));
        else if (str_equal(type, STR("intOrString")))
                json_write_int(writer, (int32_t)number_field(field->bytes, 2));
        else
                return write_message(decoder, type, field->bytes);
        return 0;
}

/* Every occurrence of `number` as the elements of an array. */
static int write_list(struct decoder *decoder, struct str type, struct str message, uint32_t number)
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

static const struct str list_mark = STR("[]"), map_mark = STR("{}"), items_mark = STR("items:[]");

static int write_value(struct decoder *decoder, struct str type,
                       const struct protowire_field *field)
{
        if (!str_starts_with(type, items_mark))
                return write_single(decoder, type, field);
        if (field->type != PROTOWIRE_BYTES)
                return -EBADMSG;
        return write_list(decoder, str_slice(type, items_mark.length, type.length), field->bytes,
                          1);
}

/* Every occurrence of `number`, an entry {1: key, 2: value}, as members of an object. */
static int write_map(struct decoder *decoder, struct str type, struct str message, uint32_t number)
{
        const struct protowire_field empty = { .type = PROTOWIRE_BYTES };
        struct protowire_field field, value;
        int r;

        json_begin_object(&decoder->writer);
        while ((r = protowire_next(&message, &field)) > 0) {
                if (field.number != number)
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

static int write_members(struct decoder *decoder, struct str type, struct str message);

/* One field of the table, [number, name, type, 1 if empty is left out], if the message has it. */
static int write_member(struct decoder *decoder, struct json_value entry, struct str message)
{
        uint32_t number = (uint32_t)json_int64_or(json_element(entry, 0), 0);
        struct str name = json_string(json_element(entry, 1));
        struct str type = json_string(json_element(entry, 2));
        bool omits_empty = json_exists(json_element(entry, 3));
        struct protowire_field field;

        int r = find_field(message, number, &field);
        if (r <= 0)
                return r;
        if (name.length == 0) /* its members stand in the object itself */
                return field.type == PROTOWIRE_BYTES ? write_members(decoder, type, field.bytes)
                                                     : -EBADMSG;
        bool is_list = str_starts_with(type, list_mark), is_map = str_starts_with(type, map_mark);
        bool is_time = str_equal(type, STR("time")) || str_equal(type, STR("microTime"));
        if (!is_list && !is_map && (omits_empty || is_time) && is_empty(&field))
                return 0;

        json_key(&decoder->writer, name);
        if (is_list)
                return write_list(decoder, str_slice(type, list_mark.length, type.length), message,
                                  number);
        if (is_map)
                return write_map(decoder, str_slice(type, map_mark.length, type.length), message,
                                 number);
        return write_value(decoder, type, &field);
}

static int write_members(struct decoder *decoder, struct str type, struct str message)
{
        struct json_value fields = json_member(decoder->fields, type);

        if (!json_exists(fields))
                return -ENOENT;
        json_for_each (it, fields) {
                int r = write_member(decoder, it.value, message);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int write_message(struct decoder *decoder, struct str type, struct str message)
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

int protobuf_to_json(struct json_value fields, struct str body, struct error *error,
                     struct buffer *out)
{
        struct decoder decoder = { .fields = fields };
        char name[256];

        if (!protobuf_is_body(body))
                return error_set(error, -EBADMSG, "the body is no Kubernetes protobuf message");
        struct str unknown = str_slice(body, magic.length, body.length);
        struct str type_meta = bytes_field(unknown, 1), raw = bytes_field(unknown, 2);
        struct str api_version = bytes_field(type_meta, 1), kind = bytes_field(type_meta, 2);
        struct str type = message_name(api_version, kind, name, sizeof(name));

        if (!json_exists(json_member(fields, type)))
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
