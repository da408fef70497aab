// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/limit.h"
#include "json/index.h"
#include "json/yaml.h"
#include "json/yaml_scalar.h"

#define TAG_PREFIX STR("tag:yaml.org,2002:")

/* The JSON text of an anchored node, by its place in the output. */
struct anchor {
        struct anchor *older;
        struct str name;
        size_t start, end; /* end 0: still being read */
};

struct reader {
        yaml_parser_t parser;
        struct buffer out;
        struct arena arena;
        struct anchor *anchors;
        unsigned depth;
        struct error *error;
};

static int read_node(struct reader *reader, const yaml_event_t *event);

static int refuse(struct reader *reader, const yaml_event_t *event, const char *why)
{
        return error_set(reader->error, -EBADMSG, "line %zu: %s", event->start_mark.line + 1, why);
}

static int no_memory(struct reader *reader)
{
        return error_set(reader->error, -ENOMEM, "out of memory");
}

static int next_event(struct reader *reader, yaml_event_t *event)
{
        const yaml_parser_t *parser = &reader->parser;

        if (yaml_parser_parse(&reader->parser, event))
                return 0;
        if (parser->error == YAML_MEMORY_ERROR)
                return no_memory(reader);
        if (parser->error == YAML_READER_ERROR)
                return error_set(reader->error, -EBADMSG, "at byte %zu: %s", parser->problem_offset,
                                 parser->problem);
        return error_set(reader->error, -EBADMSG, "line %zu: %s%s%s", parser->problem_mark.line + 1,
                         parser->problem ? parser->problem : "bad YAML",
                         parser->context ? ", " : "", parser->context ? parser->context : "");
}

static int put(struct reader *reader, struct str text)
{
        if (reader->out.length + text.length > LIMIT_BODY)
                return error_set(reader->error, -EFBIG, "the document is larger than %d bytes",
                                 LIMIT_BODY);
        return buffer_append_str(&reader->out, text) < 0 ? no_memory(reader) : 0;
}

static int put_string(struct reader *reader, struct str text)
{
        int r = put(reader, STR_EMPTY);

        if (r == 0 && json_append_string(&reader->out, text) < 0)
                r = no_memory(reader);
        return r < 0 ? r : put(reader, STR_EMPTY);
}

/* ---- scalars ---- */

/* The kind that a tag demands, or -1 without one, or -EBADMSG. */
static int tag_kind(struct reader *reader, const yaml_event_t *event)
{
        static const struct {
                struct str name;
                enum yaml_scalar kind;
        } tags[] = {
                { STR("str"), YAML_SCALAR_STRING },  { STR("int"), YAML_SCALAR_INTEGER },
                { STR("float"), YAML_SCALAR_FLOAT }, { STR("bool"), YAML_SCALAR_BOOL },
                { STR("null"), YAML_SCALAR_NULL },   { STR("timestamp"), YAML_SCALAR_STRING },
        };
        struct str tag = str_from((const char *)event->data.scalar.tag);

        if (!tag.data)
                return -1;
        if (str_equal(tag, STR("!")))
                return YAML_SCALAR_STRING;
        if (str_starts_with(tag, TAG_PREFIX)) {
                tag = str_slice(tag, TAG_PREFIX.length, tag.length);
                for (size_t i = 0; i < ARRAY_SIZE(tags); i++)
                        if (str_equal(tag, tags[i].name))
                                return (int)tags[i].kind;
        }
        return refuse(reader, event, "this tag is not supported");
}

static int read_scalar(struct reader *reader, const yaml_event_t *event)
{
        struct str text = { (const char *)event->data.scalar.value, event->data.scalar.length };
        bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        int wanted = tag_kind(reader, event);

        if (wanted < -1)
                return wanted;
        if (wanted == YAML_SCALAR_STRING || (wanted < 0 && !plain))
                return put_string(reader, text);

        size_t before = reader->out.length;
        int kind = yaml_resolve(text, &reader->out);
        if (kind < 0)
                return no_memory(reader);
        if (wanted >= 0 && kind != wanted &&
            !(wanted == YAML_SCALAR_FLOAT && kind == YAML_SCALAR_INTEGER)) {
                reader->out.length = before;
                return refuse(reader, event, "the value does not fit its tag");
        }
        if (kind == YAML_SCALAR_SPECIAL_FLOAT)
                return refuse(reader, event, "infinity and not-a-number have no JSON form");
        if (kind == YAML_SCALAR_STRING || kind == YAML_SCALAR_MERGE)
                return put_string(reader, text);
        return put(reader, STR_EMPTY);
}

/* ---- anchors and aliases ---- */

static int begin_anchor(struct reader *reader, const yaml_char_t *name, struct anchor **ret_anchor)
{
        *ret_anchor = NULL;
        if (!name)
                return 0;
        struct anchor *anchor = arena_new(&reader->arena, struct anchor, 1);
        struct str copy = arena_str(&reader->arena, str_from((const char *)name));
        if (!anchor || !copy.data)
                return no_memory(reader);
        *anchor = (struct anchor){ reader->anchors, copy, reader->out.length, 0 };
        reader->anchors = anchor;
        *ret_anchor = anchor;
        return 0;
}

static int read_alias(struct reader *reader, const yaml_event_t *event)
{
        struct str name = str_from((const char *)event->data.alias.anchor);
        const struct anchor *anchor = reader->anchors;

        while (anchor && !str_equal(anchor->name, name))
                anchor = anchor->older;
        if (!anchor)
                return refuse(reader, event, "there is no such anchor");
        if (anchor->end == 0)
                return refuse(reader, event, "an anchor contains itself");

        size_t length = anchor->end - anchor->start;
        int r = put(reader, STR_EMPTY);
        if (r < 0)
                return r;
        if (reader->out.length + length > LIMIT_BODY)
                return error_set(reader->error, -EFBIG, "the document is larger than %d bytes",
                                 LIMIT_BODY);
        if (buffer_reserve(&reader->out, length) < 0)
                return no_memory(reader);
        return put(reader, (struct str){ reader->out.data + anchor->start, length });
}

/* ---- collections ---- */

static int read_sequence(struct reader *reader)
{
        int r = put(reader, STR("["));

        for (bool first = true; r == 0; first = false) {
                yaml_event_t event;
                r = next_event(reader, &event);
                if (r < 0)
                        return r;
                bool end = event.type == YAML_SEQUENCE_END_EVENT;
                if (!end && !first)
                        r = put(reader, STR(","));
                if (!end && r == 0)
                        r = read_node(reader, &event);
                yaml_event_delete(&event);
                if (end)
                        return put(reader, STR("]"));
        }
        return r;
}

static int read_key(struct reader *reader, const yaml_event_t *event)
{
        size_t start = reader->out.length;

        if (event->type != YAML_SCALAR_EVENT && event->type != YAML_ALIAS_EVENT)
                return refuse(reader, event, "a key must be a scalar");
        if (event->type == YAML_SCALAR_EVENT && event->data.scalar.plain_implicit &&
            str_equal(str_from((const char *)event->data.scalar.value), STR("<<")))
                return refuse(reader, event, "merge keys are not supported");
        int r = read_node(reader, event);
        if (r < 0)
                return r;
        struct str text = { reader->out.data + start, reader->out.length - start };
        if (text.data[0] == '{' || text.data[0] == '[' || str_equal(text, STR("null")))
                return refuse(reader, event, "a key must be a string, number or boolean");
        if (text.data[0] == '"')
                return 0;
        r = put(reader, STR("\"\""));
        if (r < 0)
                return r;
        char *key = reader->out.data + start;
        memmove(key + 1, key, text.length);
        key[0] = key[text.length + 1] = '"';
        /* an anchored key that is no string was noted without the quotes */
        for (struct anchor *anchor = reader->anchors; anchor && anchor->start == start;
             anchor = anchor->older) {
                anchor->start++;
                anchor->end++;
        }
        return 0;
}

static int read_mapping(struct reader *reader)
{
        int r = put(reader, STR("{"));

        for (bool first = true; r == 0; first = false) {
                yaml_event_t key, value;
                r = next_event(reader, &key);
                if (r < 0)
                        return r;
                bool end = key.type == YAML_MAPPING_END_EVENT;
                if (!end && !first)
                        r = put(reader, STR(","));
                if (!end && r == 0)
                        r = read_key(reader, &key);
                yaml_event_delete(&key);
                if (end)
                        return put(reader, STR("}"));
                if (r == 0)
                        r = put(reader, STR(":"));
                if (r == 0)
                        r = next_event(reader, &value);
                if (r < 0)
                        return r;
                r = read_node(reader, &value);
                yaml_event_delete(&value);
        }
        return r;
}

static int read_collection(struct reader *reader, const yaml_event_t *event)
{
        bool sequence = event->type == YAML_SEQUENCE_START_EVENT;
        const yaml_char_t *name =
                sequence ? event->data.sequence_start.tag : event->data.mapping_start.tag;
        struct str tag = str_from((const char *)name);
        int r;

        if (tag.data &&
            !str_equal(tag, sequence ? STR("tag:yaml.org,2002:seq") : STR("tag:yaml.org,2002:map")))
                return refuse(reader, event, "this tag is not supported");
        if (reader->depth == LIMIT_DEPTH)
                return error_set(reader->error, -E2BIG, "line %zu: nested deeper than %d levels",
                                 event->start_mark.line + 1, LIMIT_DEPTH);
        reader->depth++;
        r = sequence ? read_sequence(reader) : read_mapping(reader);
        reader->depth--;
        return r;
}

static int read_node(struct reader *reader, const yaml_event_t *event)
{
        struct anchor *anchor = NULL;
        int r = 0;

        switch (event->type) {
        case YAML_ALIAS_EVENT:
                return read_alias(reader, event);
        case YAML_SCALAR_EVENT:
                r = begin_anchor(reader, event->data.scalar.anchor, &anchor);
                if (r == 0)
                        r = read_scalar(reader, event);
                break;
        case YAML_SEQUENCE_START_EVENT:
                r = begin_anchor(reader, event->data.sequence_start.anchor, &anchor);
                if (r == 0)
                        r = read_collection(reader, event);
                break;
        case YAML_MAPPING_START_EVENT:
                r = begin_anchor(reader, event->data.mapping_start.anchor, &anchor);
                if (r == 0)
                        r = read_collection(reader, event);
                break;
        default:
                return refuse(reader, event, "a value was expected");
        }
        if (r == 0 && anchor)
                anchor->end = reader->out.length;
        return r;
}

/* ---- documents ---- */

/* Marks count characters. */
static size_t byte_offset(struct str text, size_t characters)
{
        size_t at = 0;

        while (at < text.length && characters > 0) {
                at++;
                while (at < text.length && ((unsigned char)text.data[at] & 0xc0) == 0x80)
                        at++;
                characters--;
        }
        return at;
}

/* Reads to the end of the next document that is not empty: 1, or 0 at the end of the stream. */
static int read_document(struct reader *reader, size_t *ret_characters)
{
        for (;;) {
                yaml_event_t event;
                int r = next_event(reader, &event);
                if (r < 0)
                        return r;
                yaml_event_type_t type = event.type;
                size_t end = event.end_mark.index;
                if (type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                    type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
                        r = read_node(reader, &event);
                yaml_event_delete(&event);
                if (r < 0)
                        return r;
                if (type == YAML_STREAM_END_EVENT)
                        return 0;
                if (type == YAML_DOCUMENT_END_EVENT) {
                        if (!str_equal(buffer_str(&reader->out), STR("null"))) {
                                *ret_characters = end;
                                return 1;
                        }
                        buffer_clear(&reader->out);
                        arena_reset(&reader->arena);
                        reader->anchors = NULL;
                }
        }
}

static int read_yaml(struct str text, size_t *offset, struct error *error,
                     struct json_doc **ret_doc)
{
        struct str rest = str_slice(text, *offset, text.length);
        struct reader reader = { .error = error };
        size_t characters = 0;

        if (!yaml_parser_initialize(&reader.parser))
                return error_set(error, -ENOMEM, "out of memory");
        yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&reader.parser, (const unsigned char *)rest.data, rest.length);
        int r = read_document(&reader, &characters);
        if (r > 0) {
                r = json_doc_parse(buffer_str(&reader.out), NULL, NULL, error, ret_doc);
                if (r == 0) {
                        *offset += byte_offset(rest, characters);
                        r = 1;
                }
        } else if (r == 0) {
                *offset = text.length;
        }
        yaml_parser_delete(&reader.parser);
        buffer_deinit(&reader.out);
        arena_deinit(&reader.arena);
        return r;
}

int yaml_next(struct str text, size_t *offset, struct error *error, struct json_doc **ret_doc)
{
        assert(*offset <= text.length);
        struct str rest = str_slice(text, *offset, text.length);
        size_t blanks = 0;

        while (blanks < rest.length && strchr(" \t\r\n", rest.data[blanks]) && rest.data[blanks])
                blanks++;
        if (blanks == rest.length) {
                *offset = text.length;
                return 0;
        }
        if (rest.data[blanks] == '{' && json_doc_parse(rest, NULL, NULL, NULL, ret_doc) == 0) {
                *offset = text.length;
                return 1;
        }
        return read_yaml(text, offset, error, ret_doc);
}
