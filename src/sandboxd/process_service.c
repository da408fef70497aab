// SPDX-License-Identifier: Apache-2.0
/* process.v1.ProcessService: commands for clients that speak gRPC. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/limit.h"
#include "sandboxd/process_messages.h"
#include "sandboxd/server.h"

/* So long others may hold the output of an executed command open after its end. */
enum { EXECUTE_DRAIN_MS = 10 * 1000 };

static void fail_by_errno(struct grpc_call *call, const char *what, int error)
{
        enum grpc_status status = GRPC_INTERNAL;

        if (error == -ENOENT)
                status = GRPC_NOT_FOUND;
        else if (error == -EACCES || error == -EPERM || error == -EXDEV)
                status = GRPC_PERMISSION_DENIED;
        else if (error == -EINVAL || error == -E2BIG || error == -ENOTDIR ||
                 error == -ENAMETOOLONG || error == -ENOEXEC || error == -ELOOP)
                status = GRPC_INVALID_ARGUMENT;
        else if (error == -ENOMEM || error == -EAGAIN || error == -EMFILE || error == -ENFILE)
                status = GRPC_RESOURCE_EXHAUSTED;
        grpc_fail(call, status, "%s: %s", what,
                  error == -EXDEV ? "the path leaves the root" : strerror(-error));
}

/* ---- what Start and Execute have in common ---- */

static size_t name_length(const char *variable)
{
        return strcspn(variable, "=");
}

static bool is_among(char *const *variables, const char *variable)
{
        size_t length = name_length(variable);

        for (size_t i = 0; variables[i]; i++)
                if (name_length(variables[i]) == length &&
                    memcmp(variables[i], variable, length) == 0)
                        return true;
        return false;
}

/* Ours, with the request's over it. NULL without memory. */
static char **make_environment(struct arena *arena, char **ours,
                               const struct process_config *config)
{
        size_t count = 0, filled = 0;

        if (config->variable_count == 0)
                return ours;
        while (ours[count])
                count++;
        char **merged = arena_new(arena, char *, count + config->variable_count + 1);
        if (!merged)
                return NULL;
        for (size_t i = 0; i < count; i++)
                if (!is_among(config->variables, ours[i]))
                        merged[filled++] = ours[i];
        memcpy(merged + filled, config->variables, config->variable_count * sizeof(*merged));
        return merged;
}

static int open_directory(struct sandboxd *sandboxd, const char *cwd)
{
        char path[PATH_MAX];

        if (!cwd || !cwd[0])
                return root_open_path(&sandboxd->root, ".", O_PATH | O_DIRECTORY);
        int r = root_clean(&sandboxd->root, str_from(cwd), true, path);
        return r < 0 ? r : root_open_path(&sandboxd->root, path, O_PATH | O_DIRECTORY);
}

struct launch {
        struct start_request request;
        char **environment;
        int directory;
};

/* Fails the call and returns false, or the directory is to be closed. */
static bool prepare(struct sandboxd *sandboxd, struct grpc_call *call, struct str message,
                    struct launch *ret_launch)
{
        struct arena *arena = grpc_arena(call);
        struct launch launch;

        int r = start_request_read(arena, message, &launch.request);
        if (r == -EBADMSG) {
                grpc_fail(call, GRPC_INTERNAL, "the message is malformed");
                return false;
        }
        if (r < 0) {
                fail_by_errno(call, "the process cannot be given these words and variables", r);
                return false;
        }
        if (launch.request.config.command_count == 0 || !launch.request.config.command[0][0]) {
                grpc_fail(call, GRPC_INVALID_ARGUMENT, "command is required");
                return false;
        }
        if (sandboxd->stopping) {
                grpc_fail(call, GRPC_UNAVAILABLE, "the server is about to end");
                return false;
        }
        launch.environment =
                make_environment(arena, sandboxd->options->environment, &launch.request.config);
        if (!launch.environment) {
                fail_by_errno(call, "variables", -ENOMEM);
                return false;
        }
        launch.directory = open_directory(sandboxd, launch.request.config.cwd);
        if (launch.directory < 0) {
                fail_by_errno(call, "cwd", launch.directory);
                return false;
        }
        *ret_launch = launch;
        return true;
}

/* ---- Execute ---- */

static void on_executed(void *owner, struct command_result *result)
{
        struct grpc_call *call = owner;
        _cleanup_buffer_ struct buffer message = { 0 };

        command_mark_dropped(&result->out);
        command_mark_dropped(&result->err);
        if (execute_response_write(&message, result->exit_code < 0 ? -1 : result->exit_code,
                                   buffer_str(&result->out.text),
                                   buffer_str(&result->err.text)) < 0)
                grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the output");
        else
                grpc_reply(call, buffer_str(&message));
}

static void on_execute_cancelled(struct grpc_call *call _unused_, void *user)
{
        command_abandon(user);
}

static void execute(struct grpc_call *call, void *context, struct str message)
{
        struct sandboxd *sandboxd = context;
        struct command *command;
        struct launch launch;

        if (!prepare(sandboxd, call, message, &launch))
                return;
        const struct command_options options = {
                .argv = launch.request.config.command,
                .environment = launch.environment,
                .own_directory = true,
                .directory = launch.directory,
                .drain_ms = EXECUTE_DRAIN_MS,
        };
        int r = command_start(&sandboxd->commands, &options, on_executed, call, &command);
        fd_close(launch.directory);
        if (r < 0) {
                fail_by_errno(call, "failed to execute command", r);
                return;
        }
        call->on_cancel = on_execute_cancelled;
        call->user = command;
}

/* ---- Start ---- */

static bool on_output(void *owner, bool is_error, struct str bytes)
{
        struct grpc_call *call = owner;
        _cleanup_buffer_ struct buffer message = { 0 };

        /* Without memory it is lost, and the client sees that something is: the call fails. */
        if (start_output_write(&message, is_error ? START_STDERR : START_STDOUT, bytes) < 0) {
                process_abandon(call->user);
                grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the output");
                return false;
        }
        grpc_send(call, buffer_str(&message));
        return !grpc_is_congested(call);
}

static void on_end(void *owner, int exit_code)
{
        struct grpc_call *call = owner;
        _cleanup_buffer_ struct buffer message = { 0 };

        if (start_exit_write(&message, exit_code < 0 ? -1 : exit_code) < 0) {
                grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the exit code");
                return;
        }
        grpc_send(call, buffer_str(&message));
        grpc_end(call);
}

static void on_start_cancelled(struct grpc_call *call _unused_, void *user)
{
        process_abandon(user);
}

static void on_start_drained(struct grpc_call *call _unused_, void *user)
{
        process_resume(user);
}

static void start(struct grpc_call *call, void *context, struct str message)
{
        static const struct process_events events = { .on_output = on_output, .on_end = on_end };
        struct sandboxd *sandboxd = context;
        _cleanup_buffer_ struct buffer init = { 0 };
        struct process *process;
        struct launch launch;

        if (!prepare(sandboxd, call, message, &launch))
                return;
        const struct start_request *request = &launch.request;
        const struct process_options options = {
                .argv = request->config.command,
                .environment = launch.environment,
                .directory = launch.directory,
                .has_terminal = request->has_terminal,
                .cols = (uint16_t)MIN(request->cols, (uint32_t)UINT16_MAX),
                .rows = (uint16_t)MIN(request->rows, (uint32_t)UINT16_MAX),
        };
        int r = process_start(&sandboxd->processes, &options, &events, call, &process);
        fd_close(launch.directory);
        if (r < 0) {
                fail_by_errno(call, "failed to start command", r);
                return;
        }
        if (start_init_write(&init, process_id(process)) < 0) {
                process_abandon(process);
                fail_by_errno(call, "failed to start command", -ENOMEM);
                return;
        }
        call->on_cancel = on_start_cancelled;
        call->on_drain = on_start_drained;
        call->user = process;
        grpc_send(call, buffer_str(&init));
        http_exchange_flush(call->exchange);
}

/* ---- what is done to a process ---- */

/* The process that the message names; else the call has failed. */
static struct process *find(struct sandboxd *sandboxd, struct grpc_call *call,
                            enum process_message type, struct str message,
                            struct process_request *ret_request)
{
        if (process_request_read(type, message, ret_request) < 0) {
                grpc_fail(call, GRPC_INTERNAL, "the message is malformed");
                return NULL;
        }
        struct process *process = process_find(&sandboxd->processes, ret_request->process_id);
        if (!process)
                grpc_fail(call, GRPC_NOT_FOUND, "process %d not found", ret_request->process_id);
        return process;
}

static void fail_input(struct grpc_call *call, int32_t id, int error)
{
        if (error == -EPIPE)
                grpc_fail(call, GRPC_FAILED_PRECONDITION, "process %d has no stdin", id);
        else if (error == -ENOBUFS)
                grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "process %d has not read what was written",
                          id);
        else
                fail_by_errno(call, "failed to write stdin", error);
}

static void on_written(void *user, int error)
{
        struct grpc_call *call = user;

        if (error < 0)
                grpc_fail(call, GRPC_INTERNAL, "failed to write stdin: %s", strerror(-error));
        else
                grpc_reply(call, STR_EMPTY);
}

static void on_write_cancelled(struct grpc_call *call _unused_, void *user)
{
        process_write_forget(user);
}

static void write_stdin(struct grpc_call *call, void *context, struct str message)
{
        struct process_request request;
        struct process *process = find(context, call, WRITE_STDIN_REQUEST, message, &request);
        struct process_write *write;
        int r = 0;

        if (!process)
                return;
        if (request.eof)
                r = process_close_input(process);
        if (r < 0) {
                fail_input(call, request.process_id, r);
        } else if (request.eof || request.input.length == 0) {
                grpc_reply(call, STR_EMPTY);
        } else {
                r = process_write(process, request.input, on_written, call, &write);
                if (r < 0) {
                        fail_input(call, request.process_id, r);
                        return;
                }
                call->on_cancel = on_write_cancelled;
                call->user = write;
        }
}

static void send_signal(struct grpc_call *call, void *context, struct str message)
{
        struct process_request request;
        struct process *process = find(context, call, SEND_SIGNAL_REQUEST, message, &request);

        if (!process)
                return;
        if (request.signal != SIGINT && request.signal != SIGKILL && request.signal != SIGTERM) {
                grpc_fail(call, GRPC_INVALID_ARGUMENT, "signal %d is none of 2, 9 and 15",
                          request.signal);
                return;
        }
        int r = process_signal(process, request.signal);
        if (r < 0)
                fail_by_errno(call, "failed to send signal", r);
        else
                grpc_reply(call, STR_EMPTY);
}

static void resize_tty(struct grpc_call *call, void *context, struct str message)
{
        struct process_request request;
        struct process *process = find(context, call, RESIZE_TTY_REQUEST, message, &request);

        if (!process)
                return;
        if (request.cols > UINT16_MAX || request.rows > UINT16_MAX) {
                grpc_fail(call, GRPC_INVALID_ARGUMENT, "a terminal has at most %d columns and rows",
                          UINT16_MAX);
                return;
        }
        int r = process_resize(process, (uint16_t)request.cols, (uint16_t)request.rows);
        if (r < 0)
                grpc_fail(call, GRPC_FAILED_PRECONDITION, "process %d has no terminal",
                          request.process_id);
        else
                grpc_reply(call, STR_EMPTY);
}

const struct grpc_method process_service_methods[PROCESS_SERVICE_METHODS] = {
        { "/process.v1.ProcessService/Start", start },
        { "/process.v1.ProcessService/Execute", execute },
        { "/process.v1.ProcessService/WriteStdin", write_stdin },
        { "/process.v1.ProcessService/SendSignal", send_signal },
        { "/process.v1.ProcessService/ResizeTTY", resize_tty },
};
