// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>

#include "base/options.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/find.h"
#include "cli/session.h"

/* Why a Pod that was to be there is not. */
static int explain_absent_pod(struct json_value sandbox, struct error *error)
{
        struct condition ready = ready_of(sandbox);
        struct str name = json_string(json_get(sandbox, "metadata", "name"));

        if (json_string_is(json_get(sandbox, "spec", "operatingMode"), STR("Suspended")))
                return error_set(error, -ENOENT,
                                 "sandbox %.*s is suspended: set its spec.operatingMode to Running",
                                 STR_FORMAT(name));
        return error_set(error, -ENOENT, "sandbox %.*s has no Pod now%s%.*s", STR_FORMAT(name),
                         ready.reason.length > 0 ? ": " : "", STR_FORMAT(ready.reason));
}

static int run(struct api_client *api, const char *name, struct session_options *session,
               struct error *error)
{
        _cleanup_doc_ struct json_doc *sandbox = NULL;
        int r = find_sandbox(api, name, error, &sandbox);

        if (r < 0)
                return r;
        session->pod = sandbox_pod(json_root(sandbox));
        r = session_run(api, session, error);
        return r == -ENOENT ? explain_absent_pod(json_root(sandbox), error) : r;
}

int command_exec(int argc, char **argv, struct error *error)
{
        struct api_client_options options = {};
        struct session_options session = {};
        const char *container = NULL;
        bool help = false;
        const struct option_spec specs[] = {
                OPTION_FLAG("stdin", 'i', &session.input, "pass standard input on"),
                OPTION_FLAG("tty", 't', &session.terminal, "run on a terminal"),
                OPTION_STRING("container", 'c', &container, "NAME", "of several in the sandbox"),
                API_CLIENT_OPTIONS(&options),
                OPTION_FLAG("help", 'h', &help, "print this"),
                OPTION_END,
        };
        struct command_line line;
        struct api_client api = {};

        int r = command_line_parse(specs, argc, argv, 1, false, error, &line);
        if (help)
                return command_print_help("exec", specs);
        if (r == 0 && line.operand_count == 0)
                r = error_set(error, -EINVAL, "name a sandbox or claim: cay exec NAME -- COMMAND");
        if (r == 0 && line.argument_count == 0)
                r = error_set(error, -EINVAL, "name a command: cay exec %s -- COMMAND",
                              line.operands[0]);
        if (r < 0)
                return r;
        session.arguments = line.arguments;
        session.argument_count = line.argument_count;
        session.container = str_from(container);
        r = session_check(&session, error);
        if (r == 0)
                r = api_client_open(&api, &options, error);
        if (r < 0)
                return r;
        r = run(&api, line.operands[0], &session, error);
        r = command_exit_status(&api, r);
        api_client_close(&api);
        return r;
}
