// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * One subcommand. `run` gets argv from its own name on and returns the exit status, or a negative
 * errno with a sentence that main prints.
 */
struct command {
        const char *name;
        const char *usage; /* after "cay NAME"; empty: no arguments */
        const char *help;  /* one line */
        int (*run)(int argc, char **argv, struct error *error);
        bool hidden; /* started by the supervisor, not by people */
};

extern const struct command commands[]; /* ended by one without a name */

/* The command with this name, or NULL. */
const struct command *command_find(const char *name);

/* Whether argv asks for help ("-h", "--help"); then usage and `specs` (may be NULL) were printed.
 */
struct option_spec;
bool command_help(const struct command *command, const struct option_spec *specs, int argc,
                  char **argv);

int command_up(int argc, char **argv, struct error *error);
int command_down(int argc, char **argv, struct error *error);
int command_status(int argc, char **argv, struct error *error);
int command_doctor(int argc, char **argv, struct error *error);
int command_kubeconfig(int argc, char **argv, struct error *error);
int command_version(int argc, char **argv, struct error *error);
int command_control(int argc, char **argv, struct error *error);
int command_node(int argc, char **argv, struct error *error);
int command_controller(int argc, char **argv, struct error *error);
int command_controller_drain(int argc, char **argv, struct error *error);
int command_router(int argc, char **argv, struct error *error);
int command_run(int argc, char **argv, struct error *error);
int command_ls(int argc, char **argv, struct error *error);
int command_exec(int argc, char **argv, struct error *error);
int command_logs(int argc, char **argv, struct error *error);
int command_rm(int argc, char **argv, struct error *error);
int command_pool(int argc, char **argv, struct error *error);
int command_completion(int argc, char **argv, struct error *error);
