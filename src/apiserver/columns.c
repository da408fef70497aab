// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/columns.h"

#include <stdio.h>

#include "apiserver/columns_internal.h"
#include "kube/selector.h"

/* The columns that many kinds share, and where each kind's own are found. */

void cell_add(struct cell *cell, const char *format, ...)
{
        va_list arguments;
        int length;

        if (cell->length >= sizeof(cell->text))
                return;
        va_start(arguments, format);
        length = vsnprintf(cell->text + cell->length, sizeof(cell->text) - cell->length, format,
                           arguments);
        va_end(arguments);
        if (length > 0)
                cell->length = MIN(cell->length + (size_t)length, sizeof(cell->text) - 1);
}

void cell_add_string(struct cell *cell, struct json_value value)
{
        struct str text = json_string(value);

        if (json_type(value) == JSON_NUMBER || json_type(value) == JSON_BOOL)
                text = json_text(value);
        cell_add(cell, "%.*s", STR_FORMAT(text));
}

void cell_add_or(struct cell *cell, struct json_value value, const char *fallback)
{
        if (json_type(value) == JSON_NUMBER || json_string(value).length > 0)
                cell_add_string(cell, value);
        else
                cell_add(cell, "%s", fallback);
}

void cell_add_selector(struct cell *cell, struct json_value selector)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_buffer_ struct buffer text = {};
        struct label_selector parsed;

        if (label_selector_read(selector, &arena, NULL, &parsed) == 0 &&
            label_selector_write(&parsed, &text) == 0 && text.length > 0)
                cell_add(cell, "%.*s", STR_FORMAT(buffer_str(&text)));
        else
                cell_add(cell, "<none>");
}

void cell_add_map(struct cell *cell, struct json_value map)
{
        const char *separator = "";

        json_for_each (it, map) {
                cell_add(cell, "%s%.*s=%.*s", separator, STR_FORMAT(it.key),
                         STR_FORMAT(json_string(it.value)));
                separator = ",";
        }
        if (cell->length == 0)
                cell_add(cell, "<none>");
}

void cell_add_containers(struct cell *cell, struct json_value spec, const char *key)
{
        const char *separator = "";

        json_for_each (it, json_get(spec, "containers")) {
                cell_add(cell, "%s", separator);
                cell_add_string(cell, json_member(it.value, str_from(key)));
                separator = ",";
        }
}

static void write_age(struct json_writer *writer, struct json_value object, uint64_t now_ns)
{
        char text[HUMAN_DURATION_SIZE];

        json_write_string(
                writer, human_age(json_get(object, "metadata", "creationTimestamp"), now_ns, text));
}

static const struct column_printer *find_printer(const struct api_resource *resource)
{
        for (size_t i = 0; i < column_printers_count; i++) {
                if (str_equal(column_printers[i].plural, resource->plural) &&
                    str_equal(column_printers[i].group, resource->group))
                        return &column_printers[i];
        }
        return NULL;
}

static void write_cell(struct json_writer *writer, const struct column_printer *printer,
                       const struct table_column *column, struct json_value object, uint64_t now_ns)
{
        struct cell cell = { .now_ns = now_ns };

        if (str_equal(column->name, STR("Name"))) {
                json_write_value(writer, json_get(object, "metadata", "name"));
        } else if (str_equal(column->name, STR("Age"))) {
                write_age(writer, object, now_ns);
        } else if (str_equal(column->name, STR("Created At"))) {
                json_write_value(writer, json_get(object, "metadata", "creationTimestamp"));
        } else if (!printer) {
                json_write_string(writer, STR("<unknown>"));
        } else {
                printer->print(&cell, column->name, object);
                if (str_equal(column->type, STR("integer")))
                        json_write_int(writer, cell.number);
                else
                        json_write_string(writer, (struct str){ cell.text, cell.length });
        }
}

void columns_write_cells(struct json_writer *writer, const struct api_resource *resource,
                         const struct api_version *version, struct json_value object,
                         uint64_t now_ns)
{
        const struct column_printer *printer;

        if (resource->custom) {
                table_write_cells(writer, &version->columns, object, now_ns);
                return;
        }
        printer = find_printer(resource);
        json_begin_array(writer);
        for (size_t i = 0; i < version->columns.count; i++)
                write_cell(writer, printer, &version->columns.list[i], object, now_ns);
        json_end_array(writer);
}
