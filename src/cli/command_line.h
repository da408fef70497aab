// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/options.h"
#include "cli/api_client.h"

/*
 * "[OPTION…] [NAME] [--] COMMAND [ARGUMENT…]": the options may stand behind the name when "--"
 * separates the command, else the command begins after `names` operands, unless only "--" begins
 * one. All point into argv.
 */
struct command_line {
        char **operands;
        size_t operand_count; /* at most `names` */
        const char *const *arguments;
        size_t argument_count;
};

/* Returns 0, or -EINVAL with a sentence. Options were set then, too: look at --help first. */
int command_line_parse(const struct option_spec *specs, int argc, char **argv, size_t names,
                       bool needs_separator, struct error *error, struct command_line *ret_line);

/* What --help prints. Returns 0. */
int command_print_help(const char *name, const struct option_spec *specs);

/*
 * What a shell expects of a command that ended with `r`: 128 + N after signal N, also when nobody
 * reads its output, 124 after --timeout as timeout(1) has it; else `r`.
 */
int command_exit_status(const struct api_client *api, int r);
