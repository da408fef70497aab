// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "cli/command.h"

int command_version(int argc, char **argv, struct error *error)
{
        (void)error;
        if (!command_help(command_find("version"), NULL, argc, argv))
                printf("cay " CAY_VERSION "\n");
        return 0;
}
