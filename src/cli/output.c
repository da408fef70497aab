// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int output_format_parse(const char *text, struct error *error, enum output_format *ret_format)
{
        static const char *const names[] = {
                [OUTPUT_TEXT] = "text", [OUTPUT_JSON] = "json", [OUTPUT_NAME] = "name"
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (strcmp(text, names[i]) == 0) {
                        *ret_format = (enum output_format)i;
                        return 0;
                }
        }
        return error_set(error, -EINVAL, "--output is text, json or name, not '%s'", text);
}

void text_table_init(struct text_table *table, const char *const *titles, size_t columns)
{
        assert(columns > 0 && columns <= TABLE_COLUMNS_MAX);
        *table = (struct text_table){ .columns = columns };
        for (size_t i = 0; i < columns; i++)
                text_table_add(table, str_from(titles[i]));
}

void text_table_deinit(struct text_table *table)
{
        arena_deinit(&table->arena);
        free(table->cells);
}

void text_table_add(struct text_table *table, struct str cell)
{
        if (table->count == table->capacity) {
                size_t capacity = table->capacity > 0 ? table->capacity * 2 : 64;
                struct str *cells = reallocarray(table->cells, capacity, sizeof(*cells));
                if (!cells) {
                        table->failure = -ENOMEM;
                        return;
                }
                table->cells = cells;
                table->capacity = capacity;
        }
        struct str copy = arena_str(&table->arena, cell.length > 0 ? cell : STR("-"));
        if (!copy.data)
                table->failure = -ENOMEM;
        else
                table->cells[table->count++] = copy;
}

int text_table_print(const struct text_table *table)
{
        size_t widths[TABLE_COLUMNS_MAX] = {};

        if (table->failure < 0)
                return table->failure;
        assert(table->count % table->columns == 0);
        for (size_t i = 0; i < table->count; i++) {
                size_t *width = &widths[i % table->columns];
                *width = MAX(*width, table->cells[i].length);
        }
        for (size_t i = 0; i < table->count; i++) {
                bool is_last = i % table->columns == table->columns - 1;
                int width = is_last ? 0 : (int)widths[i % table->columns] + 3;
                printf("%-*.*s%s", width, STR_FORMAT(table->cells[i]), is_last ? "\n" : "");
        }
        return 0;
}

void progress_say(struct progress *progress, const char *format, ...)
{
        va_list arguments;
        char line[160];

        if (!isatty(STDERR_FILENO))
                return;
        va_start(arguments, format);
        vsnprintf(line, sizeof(line), format, arguments);
        va_end(arguments);
        fprintf(stderr, "\r\033[K%.78s", line);
        fflush(stderr);
        progress->stands = true;
}

void progress_end(struct progress *progress)
{
        if (progress->stands)
                fprintf(stderr, "\r\033[K");
        progress->stands = false;
}
