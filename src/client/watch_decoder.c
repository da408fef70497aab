// SPDX-License-Identifier: Apache-2.0
#include "client/watch_decoder.h"

#include <errno.h>

#include "base/protowire.h"

enum { FRAME_HEAD = 4 };

static const struct str type_names[] = {
        [WATCH_ADDED] = STR("ADDED"),     [WATCH_MODIFIED] = STR("MODIFIED"),
        [WATCH_DELETED] = STR("DELETED"), [WATCH_BOOKMARK] = STR("BOOKMARK"),
        [WATCH_ERROR] = STR("ERROR"),
};

void watch_decoder_init(struct watch_decoder *decoder, size_t limit)
{
        *decoder = (struct watch_decoder){ .limit = limit ? limit : WATCH_LINE_LIMIT };
}

void watch_decoder_deinit(struct watch_decoder *decoder)
{
        buffer_deinit(&decoder->partial);
        buffer_deinit(&decoder->text);
}

void watch_decoder_expect_protobuf(struct watch_decoder *decoder,
                                   const struct protobuf_fields *fields)
{
        decoder->protobuf = fields;
}

static bool find_type(struct str name, enum watch_type *ret_type)
{
        for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
                if (str_equal(name, type_names[i])) {
                        *ret_type = (enum watch_type)i;
                        return true;
                }
        return false;
}

static int parse_object(const struct watch_decoder *decoder, struct str text, struct error *error,
                        struct json_doc **ret_doc)
{
        struct json_options options = { .size_limit = decoder->limit };

        return json_doc_parse(text, &options, NULL, error, ret_doc);
}

/*
 * Every server writes {"type":"T","object":O}. Then O is what stands between, and parsing it alone
 * saves parsing everything twice. If it is not so, O does not parse, and the general way decides.
 */
static bool take_usual_form(const struct watch_decoder *decoder, struct str line,
                            enum watch_type *ret_type, struct json_doc **ret_object)
{
        static const struct str begin = STR("{\"type\":\""), middle = STR("\",\"object\":");

        if (!str_starts_with(line, begin) || !str_ends_with(line, STR("}")))
                return false;
        struct str rest = str_slice(line, begin.length, line.length - 1), name, after;
        if (!str_cut(rest, '"', &name, &after) || !find_type(name, ret_type))
                return false;
        rest = str_slice(rest, name.length, rest.length);
        if (!str_starts_with(rest, middle))
                return false;
        rest = str_slice(rest, middle.length, rest.length);
        return str_starts_with(rest, STR("{")) &&
               parse_object(decoder, rest, NULL, ret_object) == 0;
}

static int take_any_form(const struct watch_decoder *decoder, struct str line, struct error *error,
                         enum watch_type *ret_type, struct json_doc **ret_object)
{
        _cleanup_doc_ struct json_doc *event = NULL;
        int r = parse_object(decoder, line, error, &event);

        if (r < 0)
                return r;
        struct str name = json_string(json_get(json_root(event), "type"));
        struct json_value object = json_get(json_root(event), "object");
        if (!find_type(name, ret_type) || json_type(object) != JSON_OBJECT)
                return error_set(error, -EBADMSG, "this is no watch event");
        return parse_object(decoder, json_text(object), error, ret_object);
}

static int take_line(const struct watch_decoder *decoder, struct str line, struct error *error,
                     watch_event_fn handler, void *user)
{
        _cleanup_doc_ struct json_doc *object = NULL;
        enum watch_type type = WATCH_ERROR;

        if (str_ends_with(line, STR("\r")))
                line.length--;
        line = str_trim(line);
        if (line.length == 0)
                return 0;
        if (!take_usual_form(decoder, line, &type, &object)) {
                int r = take_any_form(decoder, line, error, &type, &object);
                if (r < 0)
                        return r;
        }
        return handler(user, type, object);
}

static int feed_lines(struct watch_decoder *decoder, struct str data, struct error *error,
                      watch_event_fn handler, void *user)
{
        while (data.length > 0) {
                struct str line, rest;
                bool ended = str_cut(data, '\n', &line, &rest);
                int r;

                if (line.length > decoder->limit - decoder->partial.length)
                        return error_set(error, -EFBIG, "a watch event is larger than %zu bytes",
                                         decoder->limit);
                if (!ended || decoder->partial.length > 0) {
                        r = buffer_append_str(&decoder->partial, line);
                        if (r < 0)
                                return error_set(error, r, "out of memory");
                        line = buffer_str(&decoder->partial);
                }
                if (!ended)
                        return 0;
                r = take_line(decoder, line, error, handler, user);
                buffer_clear(&decoder->partial);
                if (r != 0)
                        return r;
                data = rest;
        }
        return 0;
}

/* ---- protobuf ---- */

/* A message's field of bytes, the last if there are many; empty if there is none. */
static int find_bytes(struct str message, uint32_t number, struct str *ret_bytes)
{
        struct protowire_field field;
        struct str found = STR_EMPTY;
        int r;

        while ((r = protowire_next(&message, &field)) > 0) {
                if (field.number != number)
                        continue;
                if (field.type != PROTOWIRE_BYTES)
                        return -EBADMSG;
                found = field.bytes;
        }
        if (r == 0)
                *ret_bytes = found;
        return r;
}

static int take_frame(struct watch_decoder *decoder, struct str frame, struct error *error,
                      watch_event_fn handler, void *user)
{
        _cleanup_doc_ struct json_doc *object = NULL;
        struct str name, extension, body;
        enum watch_type type;
        int r = find_bytes(frame, 1, &name);

        if (r == 0)
                r = find_bytes(frame, 2, &extension);
        if (r == 0)
                r = find_bytes(extension, 1, &body);
        if (r < 0 || !find_type(name, &type))
                return error_set(error, -EBADMSG, "this is no watch event");
        buffer_clear(&decoder->text);
        r = protobuf_to_json(decoder->protobuf, body, error, &decoder->text);
        if (r == 0)
                r = parse_object(decoder, buffer_str(&decoder->text), error, &object);
        if (r < 0)
                return r == -ENOMEM || r == -EFBIG ? r : -EBADMSG;
        return handler(user, type, object);
}

/* Of at least FRAME_HEAD bytes. */
static size_t frame_length(struct str head)
{
        const unsigned char *bytes = (const unsigned char *)head.data;

        return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
}

/* Adds to the frame that has begun what is missing of its head or, that being there, of the rest.
 * Returns 1 when it is whole. */
static int gather_frame(struct watch_decoder *decoder, struct str *data, struct error *error)
{
        size_t have = decoder->partial.length, whole = FRAME_HEAD;

        if (have >= FRAME_HEAD)
                whole += frame_length(buffer_str(&decoder->partial));
        size_t take = MIN(whole - have, data->length);
        if (buffer_append(&decoder->partial, data->data, take) < 0)
                return error_set(error, -ENOMEM, "out of memory");
        *data = str_slice(*data, take, data->length);
        if (decoder->partial.length < FRAME_HEAD)
                return 0;
        size_t length = frame_length(buffer_str(&decoder->partial));
        if (length > decoder->limit)
                return error_set(error, -EFBIG, "a watch event is larger than %zu bytes",
                                 decoder->limit);
        return decoder->partial.length == FRAME_HEAD + length;
}

static int feed_frames(struct watch_decoder *decoder, struct str data, struct error *error,
                       watch_event_fn handler, void *user)
{
        int r = 0;

        while (r == 0 && data.length > 0) {
                struct str frame;

                /* Mostly it is there as a whole, and need not be copied. */
                if (decoder->partial.length == 0 && data.length >= FRAME_HEAD &&
                    frame_length(data) <= MIN(decoder->limit, data.length - FRAME_HEAD)) {
                        size_t end = FRAME_HEAD + frame_length(data);
                        frame = str_slice(data, FRAME_HEAD, end);
                        data = str_slice(data, end, data.length);
                        r = take_frame(decoder, frame, error, handler, user);
                        continue;
                }
                r = gather_frame(decoder, &data, error);
                if (r <= 0)
                        continue;
                frame = buffer_str(&decoder->partial);
                r = take_frame(decoder, str_slice(frame, FRAME_HEAD, frame.length), error, handler,
                               user);
                buffer_clear(&decoder->partial);
        }
        return r;
}

/* ---- both ---- */

int watch_decoder_feed(struct watch_decoder *decoder, struct str data, struct error *error,
                       watch_event_fn handler, void *user)
{
        return decoder->protobuf ? feed_frames(decoder, data, error, handler, user)
                                 : feed_lines(decoder, data, error, handler, user);
}

bool watch_decoder_is_complete(const struct watch_decoder *decoder)
{
        if (decoder->protobuf)
                return decoder->partial.length == 0;
        struct str rest = str_trim(buffer_str(&decoder->partial));

        return rest.length == 0 || str_equal(rest, STR("\r"));
}
