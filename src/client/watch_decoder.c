// SPDX-License-Identifier: Apache-2.0
#include "client/watch_decoder.h"

#include <errno.h>

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

int watch_decoder_feed(struct watch_decoder *decoder, struct str data, struct error *error,
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

bool watch_decoder_is_complete(const struct watch_decoder *decoder)
{
        struct str rest = str_trim(buffer_str(&decoder->partial));

        return rest.length == 0 || str_equal(rest, STR("\r"));
}
