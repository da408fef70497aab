// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "json/writer.h"

static int print_json(struct error *error)
{
        _cleanup_buffer_ struct buffer text = {};
        struct json_writer writer;

        json_writer_init(&writer, &text);
        json_begin_object(&writer);
        json_field_array(&writer, "needs");
        for (const struct machine_need *need = machine_needs; need->name; need++) {
                bool holds = need->holds();
                json_begin_object(&writer);
                json_field_string(&writer, "name", str_from(need->name));
                json_field_bool(&writer, "holds", holds);
                if (!holds)
                        json_field_string(&writer, "cure", str_from(need->cure));
                json_end_object(&writer);
        }
        json_end_array(&writer);
        json_end_object(&writer);
        int r = json_writer_finish(&writer);
        if (r < 0)
                return error_set(error, r, "out of memory");
        printf("%.*s\n", STR_FORMAT(buffer_str(&text)));
        return 0;
}

static void print_text(void)
{
        for (const struct machine_need *need = machine_needs; need->name; need++) {
                bool holds = need->holds();
                printf("%s  %s\n", holds ? "ok     " : "missing", need->name);
                if (!holds)
                        printf("         %s\n", need->cure);
        }
        if (!machine_lacks(false))
                printf("This machine has what cay needs.\n");
}

int command_doctor(int argc, char **argv, struct error *error)
{
        const char *output = "text";
        const struct option_spec specs[] = {
                OPTION_STRING("output", 'o', &output, "FORMAT", "text or json"),
                OPTION_END,
        };

        if (command_help(command_find("doctor"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r < 0)
                return r;
        if (strcmp(output, "json") == 0)
                r = print_json(error);
        else if (strcmp(output, "text") == 0)
                print_text();
        else
                return error_set(error, -EINVAL, "--output is text or json, not '%s'", output);
        return r < 0 ? r : machine_lacks(false) != NULL;
}
