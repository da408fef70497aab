// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cli/command.h"

enum { EXIT_STATUS_TIMEOUT = 124, EXIT_STATUS_SIGNAL = 128 };

int command_line_parse(const struct option_spec *specs, int argc, char **argv, size_t names,
                       bool needs_separator, struct error *error, struct command_line *ret_line)
{
        int end = 1, count;

        while (end < argc && strcmp(argv[end], "--") != 0)
                end++;
        bool is_separated = end < argc;
        int r = options_parse(specs, end, argv, !is_separated && !needs_separator, error, &count);
        if (r < 0)
                return r;
        size_t operands = (size_t)count;
        if ((is_separated || needs_separator) && operands > names)
                return error_set(error, -EINVAL, "'%s'%s has no meaning here", argv[1 + names],
                                 is_separated ? " before --" : "");
        size_t named = MIN(operands, names);
        *ret_line = (struct command_line){
                .operands = argv + 1,
                .operand_count = named,
                .arguments = (const char *const *)argv + (is_separated ? (size_t)end : named) + 1,
                .argument_count = is_separated ? (size_t)(argc - end - 1) : operands - named,
        };
        return 0;
}

int command_print_help(const char *name, const struct option_spec *specs)
{
        char *argv[] = { (char *)name, (char *)"--help" };

        command_help(command_find(name), specs, ARRAY_SIZE(argv), argv);
        return 0;
}

int command_exit_status(const struct api_client *api, int r)
{
        switch (r) {
        case -EINTR:
                return EXIT_STATUS_SIGNAL + api->stopped;
        case -EPIPE:
                return EXIT_STATUS_SIGNAL + SIGPIPE;
        default:
                return r;
        }
}
