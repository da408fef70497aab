// SPDX-License-Identifier: Apache-2.0
#include "json/writer.h"

#include <errno.h>
#include <stdio.h>

#include "base/limit.h"
#include "json/index.h"

_Static_assert(LIMIT_DEPTH <= 64, "a bit per level");

static int append_escape(struct buffer *out, unsigned char c)
{
        static const char letters[32] = {
                ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't',
        };

        if (c >= 0x20)
                return buffer_append(out, (char[]){ '\\', (char)c }, 2);
        if (letters[c])
                return buffer_append(out, (char[]){ '\\', letters[c] }, 2);
        return buffer_printf(out, "\\u%04x", c);
}

int json_append_string(struct buffer *out, struct str text)
{
        const unsigned char *at = (const unsigned char *)text.data, *end;
        int r;

        if (text.length == 0)
                return buffer_append_str(out, STR("\"\""));
        end = at + text.length;
        r = buffer_reserve(out, text.length + 2);
        if (r < 0)
                return r;
        out->data[out->length++] = '"';
        while (at < end && r == 0) {
                const unsigned char *run = at;
                unsigned length = 1;
                while (at < end && *at >= 0x20 && *at != '"' && *at != '\\' &&
                       (length = *at < 0x80 ? 1 : utf8_sequence(at, end)) > 0)
                        at += length;
                r = buffer_append(out, run, (size_t)(at - run));
                if (at == end || r < 0)
                        break;
                r = length == 0 ? buffer_append(out, "\xef\xbf\xbd", 3) : append_escape(out, *at);
                at++;
        }
        return r < 0 ? r : buffer_append_char(out, '"');
}

static bool fails(struct json_writer *writer, int r)
{
        if (r < 0 && writer->failure == 0)
                writer->failure = r;
        return writer->failure < 0;
}

static uint64_t level_bit(const struct json_writer *writer)
{
        return UINT64_C(1) << (writer->depth - 1);
}

static bool in_object(const struct json_writer *writer)
{
        return writer->depth > 0 && (writer->is_object & level_bit(writer));
}

/* The comma before an item. */
static void separate(struct json_writer *writer)
{
        if (writer->depth == 0)
                return;
        if (writer->has_items & level_bit(writer))
                fails(writer, buffer_append_char(writer->out, ','));
        writer->has_items |= level_bit(writer);
}

/* Whether a value may now be written; puts the comma of an array's element. */
static bool begin_value(struct json_writer *writer)
{
        if (writer->failure < 0)
                return false;
        assert(writer->after_key == in_object(writer));
        if (!writer->after_key)
                separate(writer);
        writer->after_key = false;
        return writer->failure == 0;
}

void json_writer_init(struct json_writer *writer, struct buffer *out)
{
        *writer = (struct json_writer){ .out = out };
}

static void begin_container(struct json_writer *writer, bool is_object)
{
        if (!begin_value(writer))
                return;
        if (writer->depth == LIMIT_DEPTH) {
                writer->failure = -E2BIG;
                return;
        }
        writer->depth++;
        writer->has_items &= ~level_bit(writer);
        if (is_object)
                writer->is_object |= level_bit(writer);
        else
                writer->is_object &= ~level_bit(writer);
        fails(writer, buffer_append_char(writer->out, is_object ? '{' : '['));
}

static void end_container(struct json_writer *writer, bool is_object)
{
        if (writer->failure < 0)
                return;
        assert(writer->depth > 0 && in_object(writer) == is_object && !writer->after_key);
        writer->depth--;
        fails(writer, buffer_append_char(writer->out, is_object ? '}' : ']'));
}

void json_begin_object(struct json_writer *writer)
{
        begin_container(writer, true);
}

void json_end_object(struct json_writer *writer)
{
        end_container(writer, true);
}

void json_begin_array(struct json_writer *writer)
{
        begin_container(writer, false);
}

void json_end_array(struct json_writer *writer)
{
        end_container(writer, false);
}

void json_key(struct json_writer *writer, struct str key)
{
        if (writer->failure < 0)
                return;
        assert(in_object(writer) && !writer->after_key);
        separate(writer);
        if (!fails(writer, json_append_string(writer->out, key)))
                fails(writer, buffer_append_char(writer->out, ':'));
        writer->after_key = true;
}

void json_write_string(struct json_writer *writer, struct str text)
{
        if (begin_value(writer))
                fails(writer, json_append_string(writer->out, text));
}

void json_write_int(struct json_writer *writer, int64_t number)
{
        if (begin_value(writer))
                fails(writer, buffer_printf(writer->out, "%lld", (long long)number));
}

void json_write_bool(struct json_writer *writer, bool value)
{
        json_write_raw(writer, value ? STR("true") : STR("false"));
}

void json_write_null(struct json_writer *writer)
{
        json_write_raw(writer, STR("null"));
}

void json_write_raw(struct json_writer *writer, struct str json)
{
        assert(json.length > 0);
        if (begin_value(writer))
                fails(writer, buffer_append_str(writer->out, json));
}

void json_write_value(struct json_writer *writer, struct json_value value)
{
        json_write_raw(writer, json_exists(value) ? json_text(value) : STR("null"));
}

void json_field_string(struct json_writer *writer, const char *key, struct str text)
{
        json_key(writer, str_from(key));
        json_write_string(writer, text);
}

void json_field_int(struct json_writer *writer, const char *key, int64_t number)
{
        json_key(writer, str_from(key));
        json_write_int(writer, number);
}

void json_field_bool(struct json_writer *writer, const char *key, bool value)
{
        json_key(writer, str_from(key));
        json_write_bool(writer, value);
}

void json_field_value(struct json_writer *writer, const char *key, struct json_value value)
{
        json_key(writer, str_from(key));
        json_write_value(writer, value);
}

void json_field_raw(struct json_writer *writer, const char *key, struct str json)
{
        json_key(writer, str_from(key));
        json_write_raw(writer, json);
}

void json_field_object(struct json_writer *writer, const char *key)
{
        json_key(writer, str_from(key));
        json_begin_object(writer);
}

void json_field_array(struct json_writer *writer, const char *key)
{
        json_key(writer, str_from(key));
        json_begin_array(writer);
}

int json_writer_finish(struct json_writer *writer)
{
        if (writer->failure < 0)
                return writer->failure;
        return writer->depth == 0 && !writer->after_key ? 0 : -EINVAL;
}
