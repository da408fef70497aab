// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "cli/command.h"

/* Those of the roles that this program was built with (the build option `roles`). */
const struct command commands[] = {
#if CAY_ROLE_MACHINE
        { "up", "[-d] [OPTION…]", "start everything on this machine", command_up, false },
        { "down", "[OPTION…]", "stop everything, sandboxes included; data stays", command_down,
          false },
        { "status", "[OPTION…]", "what runs, and where it listens", command_status, false },
        { "doctor", "[OPTION…]", "what this machine lacks, and how to get it", command_doctor,
          false },
        { "run", "[OPTION…] -- COMMAND [ARGUMENT…]",
          "one command in a fresh sandbox, which then goes", command_run, false },
        { "ls", "[OPTION…]", "sandboxes and claims", command_ls, false },
        { "exec", "[OPTION…] NAME -- COMMAND [ARGUMENT…]",
          "a command in a sandbox, by its name or its claim's", command_exec, false },
        { "logs", "[OPTION…] NAME", "what a sandbox's own command wrote", command_logs, false },
        { "rm", "[OPTION…] NAME…", "delete sandboxes or claims", command_rm, false },
        { "pool", "ls | create NAME [-- COMMAND] | scale NAME | rm NAME…  [OPTION…]",
          "warm pools of sandboxes", command_pool, false },
#endif
        { "completion", "bash | zsh | fish", "print a script that completes words of cay",
          command_completion, false },
#if CAY_ROLE_MACHINE
        { "kubeconfig", "[OPTION…]", "print the administrator's kubeconfig", command_kubeconfig,
          false },
#endif
        { "version", "[OPTION…]", "print the version", command_version, false },
#if CAY_ROLE_CONTROLLER
        { "controller", "[OPTION…] | drain [OPTION…]", "the controllers, for a cluster",
          command_controller, false },
#endif
#if CAY_ROLE_MACHINE
        { "control", "OPTION…", "API server and controllers (started by up)", command_control,
          true },
        { "node", "OPTION…", "the machine's kubelet (started by up)", command_node, true },
#endif
#if CAY_ROLE_ROUTER
        { "router", "[OPTION…]", "the HTTP proxy to sandboxes", command_router, false },
#endif
        { 0 },
};

const struct command *command_find(const char *name)
{
        for (const struct command *command = commands; command->name; command++)
                if (strcmp(command->name, name) == 0)
                        return command;
        return NULL;
}

bool command_help(const struct command *command, const struct option_spec *specs, int argc,
                  char **argv)
{
        bool wanted = false;

        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
                wanted |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        if (!wanted)
                return false;
        printf("usage: cay %s %s\n\n%s\n", command->name, command->usage, command->help);
        if (specs && specs->name) {
                printf("\n");
                options_print(specs);
        }
        return true;
}

static void print_usage(FILE *out)
{
        fprintf(out, "usage: cay COMMAND [ARGUMENT…]\n\n"
                     "A private, isolated computer for an agent, through the Kubernetes Agent "
                     "Sandbox API.\n\n");
        for (const struct command *command = commands; command->name; command++)
                if (!command->hidden)
                        fprintf(out, "  %-12s %s\n", command->name, command->help);
        fprintf(out, "\ncay COMMAND --help tells more.\n");
}

int main(int argc, char **argv)
{
        struct error error = {};
        char help[] = "--help";

        if (argc < 2) {
                print_usage(stderr);
                return 2;
        }
        if (argc == 3 && strcmp(argv[1], "help") == 0) {
                argv[1] = argv[2];
                argv[2] = help;
        }
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
            strcmp(argv[1], "help") == 0) {
                print_usage(stdout);
                return 0;
        }
        const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
        const struct command *command = command_find(name);
        if (!command) {
                fprintf(stderr, "cay: there is no command '%s'; cay --help lists them\n", argv[1]);
                return 2;
        }
        int r = command->run(argc - 1, argv + 1, &error);
        if (r >= 0)
                return r;
        fprintf(stderr, "cay %s: %s\n", name, error.message[0] ? error.message : strerror(-r));
        return r == -EINVAL ? 2 : 1;
}
