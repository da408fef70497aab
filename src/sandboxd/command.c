// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/command.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limit.h"
#include "sandboxd/spawn.h"

enum { READ_SIZE = 4096, READ_SIZE_MAX = 256 * 1024 };

struct command_stream {
        struct command *command;
        uv_pipe_t pipe;
        struct command_output *output;
        bool ended;
};

struct command {
        struct commands *commands;
        struct list running;
        pid_t pid;
        bool exited, reported;
        unsigned handles; /* not yet closed */
        uv_timer_t timer;
        struct command_stream streams[2];
        struct command_result result;
        command_done *done;
        void *owner;
};

static void handle_closed(struct command *command)
{
        if (--command->handles > 0)
                return;
        buffer_deinit(&command->result.out.text);
        buffer_deinit(&command->result.err.text);
        free(command);
}

static void timer_closed(uv_handle_t *handle)
{
        handle_closed(handle->data);
}

static void stream_closed(uv_handle_t *handle)
{
        struct command_stream *stream = handle->data;

        handle_closed(stream->command);
}

/* The process is gone; what its escaped children still hold open is waited for until the limit. */
static void finish_if_complete(struct command *command)
{
        bool ended = command->streams[0].ended && command->streams[1].ended;

        if (command->reported || !command->exited || (!ended && !command->result.timed_out))
                return;
        command->reported = true;
        list_remove(&command->running);
        if (list_is_empty(&command->commands->running))
                uv_unref((uv_handle_t *)&command->commands->child_signal);
        if (getpid() != 1)
                waitpid(command->pid, NULL, WNOHANG);
        command->done(command->owner, &command->result);
        uv_close((uv_handle_t *)&command->timer, timer_closed);
        for (int i = 0; i < 2; i++)
                uv_close((uv_handle_t *)&command->streams[i].pipe, stream_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
        struct command_stream *stream = handle->data;
        struct buffer *text = &stream->output->text;
        size_t room = MIN(MAX(text->length, (size_t)READ_SIZE), (size_t)READ_SIZE_MAX);

        (void)suggested;
        room = MIN(room, LIMIT_COMMAND_OUTPUT - text->length);
        if (room > 0 && buffer_reserve(text, room) == 0)
                *buffer = uv_buf_init(text->data + text->length, (unsigned)room);
        else
                *buffer = uv_buf_init(stream->command->commands->discard,
                                      sizeof(stream->command->commands->discard));
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
        struct command_stream *stream = handle->data;

        if (count < 0) {
                stream->ended = true;
                uv_read_stop(handle);
                finish_if_complete(stream->command);
        } else if (buffer->base == stream->command->commands->discard) {
                stream->output->dropped += (uint64_t)count;
        } else {
                stream->output->text.length += (size_t)count;
        }
}

static void on_exit_status(struct command *command, int exit_code)
{
        command->exited = true;
        command->result.exit_code = exit_code;
        finish_if_complete(command);
}

static void on_timeout(uv_timer_t *timer)
{
        struct command *command = timer->data;

        command->result.timed_out = true;
        kill(-command->pid, SIGKILL);
        finish_if_complete(command);
}

static void reap_all(struct commands *commands)
{
        struct command *command;
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                list_for_each (command, &commands->running, running) {
                        if (command->pid == pid && !command->exited) {
                                on_exit_status(command, WIFSIGNALED(status) ? -WTERMSIG(status)
                                                                            : WEXITSTATUS(status));
                                break;
                        }
                }
        }
}

/*
 * The zombie is left until the command is reported, so that its process group's number stays its
 * own while it may still be signalled. Only PID 1, which must reap what it does not know, cannot.
 */
static void on_child_signal(uv_signal_t *signal, int number)
{
        struct commands *commands = signal->data;
        struct command *command;

        (void)number;
        if (getpid() == 1) {
                reap_all(commands);
                return;
        }
        list_for_each (command, &commands->running, running) {
                siginfo_t info = {};

                if (command->exited ||
                    waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
                    info.si_pid != command->pid)
                        continue;
                on_exit_status(command,
                               info.si_code == CLD_EXITED ? info.si_status : -info.si_status);
        }
}

int commands_init(struct commands *commands, uv_loop_t *loop, int directory, char **environment)
{
        int r;

        *commands = (struct commands){ .loop = loop,
                                       .directory = directory,
                                       .environment = environment };
        list_init(&commands->running);
        r = uv_signal_init(loop, &commands->child_signal);
        if (r < 0)
                return r;
        commands->child_signal.data = commands;
        uv_unref((uv_handle_t *)&commands->child_signal);
        r = uv_signal_start(&commands->child_signal, on_child_signal, SIGCHLD);
        if (r < 0)
                uv_close((uv_handle_t *)&commands->child_signal, NULL);
        return r;
}

void commands_signal(struct commands *commands, int signal)
{
        struct command *command;

        list_for_each (command, &commands->running, running)
                kill(-command->pid, signal);
}

void commands_close(struct commands *commands)
{
        uv_close((uv_handle_t *)&commands->child_signal, NULL);
}

static int stream_start(struct command *command, int index, int fd, struct command_output *output)
{
        struct command_stream *stream = &command->streams[index];
        int r;

        *stream = (struct command_stream){ .command = command, .output = output };
        r = uv_pipe_init(command->commands->loop, &stream->pipe, 0);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        stream->pipe.data = stream;
        command->handles++;
        r = uv_pipe_open(&stream->pipe, fd);
        if (r < 0)
                fd_close(fd);
        else
                r = uv_read_start((uv_stream_t *)&stream->pipe, on_allocate, on_read);
        stream->ended = r < 0;
        return r;
}

int command_start(struct commands *commands, char *const *argv, uint64_t timeout_ms,
                  command_done *done, void *owner)
{
        struct command *command = calloc(1, sizeof(*command));
        struct spawned child;
        int r;

        if (!command)
                return -ENOMEM;
        r = spawn(argv, commands->environment, commands->directory, &child);
        if (r < 0) {
                free(command);
                return r;
        }
        command->commands = commands;
        command->pid = child.pid;
        command->done = done;
        command->owner = owner;
        list_append(&commands->running, &command->running);
        uv_ref((uv_handle_t *)&commands->child_signal);

        /* None of these allocates or makes a descriptor, so they fail only on misuse. */
        r = uv_timer_init(commands->loop, &command->timer);
        assert(r == 0);
        command->timer.data = command;
        command->handles = 1;
        r = uv_timer_start(&command->timer, on_timeout, timeout_ms, 0);
        assert(r == 0);
        r = stream_start(command, 0, child.out, &command->result.out);
        assert(r == 0);
        r = stream_start(command, 1, child.err, &command->result.err);
        assert(r == 0);
        return 0;
}
