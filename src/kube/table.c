// SPDX-License-Identifier: Apache-2.0
#include "kube/table.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

/* ---- columns ---- */

static int copy_text(struct arena *arena, struct json_value value, struct str *ret_text)
{
        *ret_text = arena_str(arena, json_string(value));
        return ret_text->data ? 0 : -ENOMEM;
}

static int read_column(struct json_value value, struct arena *arena, struct error *error,
                       struct table_column *column)
{
        int r = copy_text(arena, json_get(value, "name"), &column->name);

        if (r == 0)
                r = copy_text(arena, json_get(value, "type"), &column->type);
        if (r == 0)
                r = copy_text(arena, json_get(value, "format"), &column->format);
        if (r == 0)
                r = copy_text(arena, json_get(value, "description"), &column->description);
        if (r < 0)
                return error_set(error, r, "out of memory");
        if (column->description.length == 0)
                column->description = arena_printf(
                        arena, "Custom resource definition column (in JSONPath format): %.*s",
                        STR_FORMAT(json_string(json_get(value, "jsonPath"))));
        column->priority = json_int64_or(json_get(value, "priority"), 0);
        return jsonpath_parse(json_string(json_get(value, "jsonPath")), arena, error,
                              &column->path);
}

int table_columns_read(struct json_value additional_printer_columns, struct arena *arena,
                       struct error *error, struct table_columns *ret_columns)
{
        size_t additional = json_count(additional_printer_columns), count = 1;
        struct table_column *list = arena_new(arena, struct table_column, MAX(additional, 1u) + 1);
        int r = 0;

        if (!list)
                return error_set(error, -ENOMEM, "out of memory");
        list[0] = (struct table_column){ .name = STR("Name"),
                                         .type = STR("string"),
                                         .format = STR("name") };
        r = jsonpath_parse(STR(".metadata.name"), arena, error, &list[0].path);
        json_for_each (it, additional_printer_columns)
                if (r == 0)
                        r = read_column(it.value, arena, error, &list[count++]);
        if (r == 0 && additional == 0) {
                list[count] = (struct table_column){ .name = STR("Age"), .type = STR("date") };
                r = jsonpath_parse(STR(".metadata.creationTimestamp"), arena, error,
                                   &list[count++].path);
        }
        if (r < 0)
                return r;
        *ret_columns = (struct table_columns){ list, count };
        return 0;
}

void table_write_definitions(struct json_writer *writer, const struct table_columns *columns)
{
        json_begin_array(writer);
        for (size_t i = 0; i < columns->count; i++) {
                const struct table_column *column = &columns->list[i];
                json_begin_object(writer);
                json_field_string(writer, "name", column->name);
                json_field_string(writer, "type", column->type);
                json_field_string(writer, "format", column->format);
                json_field_string(writer, "description", column->description);
                json_field_int(writer, "priority", column->priority);
                json_end_object(writer);
        }
        json_end_array(writer);
}

/* ---- cells ---- */

static void write_integer(struct json_writer *writer, struct json_value value)
{
        struct str text = json_text(value);
        size_t length = 0;

        while (length < text.length && text.data[length] != '.' && text.data[length] != 'e' &&
               text.data[length] != 'E')
                length++;
        json_write_raw(writer, str_slice(text, 0, length));
}

void table_write_cell(struct json_writer *writer, const struct table_column *column,
                      struct json_value object, uint64_t now_ns)
{
        struct json_value value = jsonpath_first(column->path, object);
        enum json_type type = json_type(value);
        char age[HUMAN_DURATION_SIZE];

        if (type == JSON_NULL && str_equal(column->type, STR("string")))
                json_write_string(writer, STR("<no value>"));
        else if (type == JSON_ABSENT || type == JSON_NULL)
                json_write_null(writer);
        else if (str_equal(column->type, STR("string")))
                json_write_string(writer,
                                  type == JSON_STRING ? json_string(value) : json_text(value));
        else if (str_equal(column->type, STR("integer")) && type == JSON_NUMBER)
                write_integer(writer, value);
        else if (str_equal(column->type, STR("number")) && type == JSON_NUMBER)
                json_write_value(writer, value);
        else if (str_equal(column->type, STR("boolean")) && type == JSON_BOOL)
                json_write_value(writer, value);
        else if (str_equal(column->type, STR("date")) && type == JSON_STRING)
                json_write_string(writer, human_age(value, now_ns, age));
        else
                json_write_null(writer);
}

void table_write_cells(struct json_writer *writer, const struct table_columns *columns,
                       struct json_value object, uint64_t now_ns)
{
        json_begin_array(writer);
        for (size_t i = 0; i < columns->count; i++)
                table_write_cell(writer, &columns->list[i], object, now_ns);
        json_end_array(writer);
}

/* ---- ages: k8s.io/apimachinery pkg/util/duration ---- */

static int print_two(char *text, int64_t big, char big_unit, int64_t small, char small_unit)
{
        if (small == 0)
                return snprintf(text, HUMAN_DURATION_SIZE, "%lld%c", (long long)big, big_unit);
        return snprintf(text, HUMAN_DURATION_SIZE, "%lld%c%lld%c", (long long)big, big_unit,
                        (long long)small, small_unit);
}

struct str human_duration(int64_t seconds, char text[static HUMAN_DURATION_SIZE])
{
        int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
        int length;

        /* clocks may differ a little */
        if (seconds < -1)
                length = snprintf(text, HUMAN_DURATION_SIZE, "<invalid>");
        else if (seconds < 0)
                length = print_two(text, 0, 's', 0, 's');
        else if (seconds < 120)
                length = print_two(text, seconds, 's', 0, 's');
        else if (minutes < 10)
                length = print_two(text, minutes, 'm', seconds % 60, 's');
        else if (minutes < 180)
                length = print_two(text, minutes, 'm', 0, 's');
        else if (hours < 8)
                length = print_two(text, hours, 'h', minutes % 60, 'm');
        else if (hours < 48)
                length = print_two(text, hours, 'h', 0, 'm');
        else if (days < 8)
                length = print_two(text, days, 'd', hours % 24, 'h');
        else if (days < 2 * 365)
                length = print_two(text, days, 'd', 0, 'h');
        else if (days < 8 * 365)
                length = print_two(text, days / 365, 'y', days % 365, 'd');
        else
                length = print_two(text, days / 365, 'y', 0, 'd');
        return (struct str){ text, (size_t)length };
}

struct str human_age(struct json_value time, uint64_t now_ns, char text[static HUMAN_DURATION_SIZE])
{
        uint64_t then;

        if (json_type(time) != JSON_STRING)
                return STR("<unknown>");
        if (rfc3339_parse(json_string(time), &then) < 0)
                return STR("<invalid>");
        if (now_ns >= then)
                return human_duration((int64_t)((now_ns - then) / NS_PER_SECOND), text);
        return human_duration(-(int64_t)((then - now_ns) / NS_PER_SECOND), text);
}

void partial_object_metadata_write(struct json_writer *writer, struct json_value object)
{
        json_begin_object(writer);
        json_field_string(writer, "kind", STR("PartialObjectMetadata"));
        json_field_string(writer, "apiVersion", STR("meta.k8s.io/v1"));
        json_field_value(writer, "metadata", json_member(object, STR("metadata")));
        json_end_object(writer);
}
