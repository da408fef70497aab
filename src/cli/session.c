// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/standard_io.h"
#include "client/remote_command.h"

struct session {
        struct api_client *api;
        const struct session_options *options;
        struct remote_command *command;
        struct standard_input *input;
        struct standard_output *output;
        uv_signal_t resized;
        struct termios before; /* the terminal as it was */
        bool is_raw;
        bool ended;   /* the command */
        bool written; /* and all of its output, or nobody wants it */
        int result;
        struct error *error;
};

/* ---- the terminal ---- */

int session_check(const struct session_options *options, struct error *error)
{
        if (options->terminal && !isatty(STDIN_FILENO))
                return error_set(error, -EINVAL,
                                 "--tty needs a terminal as standard input: leave it out");
        return 0;
}

static int take_terminal(struct session *session)
{
        if (tcgetattr(STDIN_FILENO, &session->before) < 0)
                return -errno;
        struct termios raw = session->before;
        cfmakeraw(&raw);
        if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
                return -errno;
        session->is_raw = true;
        return 0;
}

static void give_terminal_back(struct session *session)
{
        if (session->is_raw)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &session->before);
        session->is_raw = false;
}

static void tell_size(struct session *session)
{
        struct winsize size;

        if (session->command && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
                remote_command_resize(session->command, size.ws_col, size.ws_row);
}

static void on_resized(uv_signal_t *handle, int signal)
{
        (void)signal;
        tell_size(handle->data);
}

/* ---- input ---- */

static void on_input(void *user, struct str data)
{
        struct session *session = user;

        if (!session->command)
                return;
        remote_command_send(session->command, data);
        if (remote_command_is_congested(session->command))
                standard_input_pause(session->input);
}

static void on_input_end(void *user, int error)
{
        struct session *session = user;

        (void)error; /* a terminal that is gone (EIO) says no more either */
        if (session->command && remote_command_end_input(session->command) < 0)
                fprintf(stderr, "cay: this API server cannot tell the command that its input has "
                                "ended (it speaks only v4.channel.k8s.io)\n");
}

static const struct standard_input_events input_events = { .on_data = on_input,
                                                           .on_end = on_input_end };

/* ---- output ---- */

static void note_written(struct session *session)
{
        if (session->ended && standard_output_is_written(session->output) != 0)
                session->written = true;
}

/* Nobody takes the output: the command has no purpose any more. */
static void give_up(struct session *session, int r)
{
        if (session->command)
                remote_command_cancel(session->command);
        session->command = NULL;
        session->result = error_set(session->error, r, "cannot write its output: %s", strerror(-r));
        session->ended = session->written = true;
}

static void on_output_drained(void *user)
{
        struct session *session = user;
        int r = standard_output_is_written(session->output);

        if (r < 0 && !session->written)
                give_up(session, r);
        else if (session->command)
                remote_command_resume(session->command);
        note_written(session);
}

static void on_output(void *user, bool is_error_output, struct str data)
{
        struct session *session = user;
        int fd = is_error_output ? STDERR_FILENO : STDOUT_FILENO;
        int r = standard_output_write(session->output, fd, data);

        if (r < 0)
                give_up(session, r);
        else if (r > 0)
                remote_command_pause(session->command);
}

/* ---- the command ---- */

static void on_open(void *user)
{
        struct session *session = user;

        if (session->options->terminal)
                tell_size(session);
        if (!session->options->input)
                return;
        int r = standard_input_new(session->api->loop, STDIN_FILENO, &input_events, session,
                                   &session->input);
        if (r < 0)
                give_up(session, r);
}

static void on_drain(void *user)
{
        struct session *session = user;

        if (session->input)
                standard_input_resume(session->input);
}

static void on_end(void *user, const struct remote_command_result *result)
{
        struct session *session = user;

        session->command = NULL;
        session->ended = true;
        session->result = result->exit_code;
        if (result->error != 0) {
                int r = result->status == 404 ? -ENOENT : api_client_errno(result->error);
                session->result = error_set(session->error, r, "%.*s", STR_FORMAT(result->message));
        }
        note_written(session);
}

static const struct remote_command_events command_events = {
        .on_open = on_open, .on_output = on_output, .on_drain = on_drain, .on_end = on_end
};

static int begin(struct session *session)
{
        const struct session_options *options = session->options;
        const struct remote_command_options command = {
                .client = session->api->client,
                .name_space = session->api->name_space,
                .pod = options->pod,
                .container = options->container,
                .arguments = options->arguments,
                .argument_count = options->argument_count,
                .input = options->input,
                .terminal = options->terminal,
        };
        int r = standard_output_new(session->api->loop, on_output_drained, session,
                                    &session->output);

        if (r == 0 && options->terminal)
                r = take_terminal(session);
        if (r == 0)
                r = remote_command_start(&command, &command_events, session, &session->command);
        return r < 0 ? error_set(session->error, r, "cannot run the command: %s", strerror(-r)) : 0;
}

int session_run(struct api_client *api, const struct session_options *options, struct error *error)
{
        struct session session = { .api = api, .options = options, .error = error };

        uv_signal_init(&api->uv, &session.resized);
        session.resized.data = &session;
        uv_signal_start(&session.resized, on_resized, SIGWINCH);
        int r = begin(&session);
        if (r == 0)
                r = api_client_wait(api, &session.written, error);
        remote_command_cancel(session.command);
        give_terminal_back(&session);
        standard_input_free(session.input);
        standard_output_free(session.output);
        uv_close((uv_handle_t *)&session.resized, NULL);
        uv_run(&api->uv, UV_RUN_NOWAIT);
        return r < 0 ? r : session.result;
}
