// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "cli/command.h"

int command_version(int argc, char **argv, struct error *error)
{
        const char *output = "text";
        const struct option_spec specs[] = {
                OPTION_STRING("output", 'o', &output, "FORMAT", "text or json"),
                OPTION_END,
        };

        if (command_help(command_find("version"), specs, argc, argv))
                return 0;
        int r = options_parse_alone(specs, argc, argv, error);
        if (r < 0)
                return r;
        if (strcmp(output, "json") == 0)
                printf("{\"version\":\"" CAY_VERSION "\"}\n");
        else if (strcmp(output, "text") == 0)
                printf("cay " CAY_VERSION "\n");
        else
                return error_set(error, -EINVAL, "--output is text or json, not '%s'", output);
        return 0;
}
