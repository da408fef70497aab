// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/command.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
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
        struct child child;
        uint64_t drain_ms;
        bool reported, abandoned;
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
        bool ended = (command->streams[0].ended && command->streams[1].ended) ||
                     command->result.timed_out || command->abandoned;

        if (command->reported || !command->child.exited || !ended)
                return;
        command->reported = true;
        children_remove(command->commands->children, &command->child);
        if (command->done)
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

static void on_timeout(uv_timer_t *timer)
{
        struct command *command = timer->data;

        command->result.timed_out = true;
        kill(-command->child.pid, SIGKILL);
        finish_if_complete(command);
}

/* What escaped the command and holds its output open is waited for no longer. */
static void on_drain_time(uv_timer_t *timer)
{
        struct command *command = timer->data;

        command->abandoned = true;
        finish_if_complete(command);
}

static void on_exit_status(struct child *child)
{
        struct command *command = container_of(child, struct command, child);

        command->result.exit_code = child->exit_code;
        if (command->drain_ms > 0)
                uv_timer_start(&command->timer, on_drain_time, command->drain_ms, 0);
        finish_if_complete(command);
}

void commands_init(struct commands *commands, struct children *children, int directory,
                   char **environment)
{
        *commands = (struct commands){ .children = children,
                                       .directory = directory,
                                       .environment = environment };
}

static int stream_start(struct command *command, int index, int fd, struct command_output *output)
{
        struct command_stream *stream = &command->streams[index];
        int r;

        *stream = (struct command_stream){ .command = command, .output = output };
        r = uv_pipe_init(command->commands->children->loop, &stream->pipe, 0);
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

int command_start(struct commands *commands, const struct command_options *options,
                  command_done *done, void *owner, struct command **ret_command)
{
        struct command *command = calloc(1, sizeof(*command));
        uv_loop_t *loop = commands->children->loop;
        const struct spawn_options spawned = {
                .argv = options->argv,
                .environment = options->environment ? options->environment : commands->environment,
                .directory = options->own_directory ? options->directory : commands->directory,
        };
        struct spawned process;
        int r;

        if (!command)
                return -ENOMEM;
        r = spawn(&spawned, &process);
        if (r < 0) {
                free(command);
                return r;
        }
        command->commands = commands;
        command->child = (struct child){ .pid = process.pid, .on_exit = on_exit_status };
        command->drain_ms = options->drain_ms;
        command->done = done;
        command->owner = owner;
        children_add(commands->children, &command->child);

        /* None of these allocates or makes a descriptor, so they fail only on misuse. */
        r = uv_timer_init(loop, &command->timer);
        assert(r == 0);
        command->timer.data = command;
        command->handles = 1;
        if (options->timeout_ms > 0)
                r = uv_timer_start(&command->timer, on_timeout, options->timeout_ms, 0);
        assert(r == 0);
        r = stream_start(command, 0, process.out, &command->result.out);
        assert(r == 0);
        r = stream_start(command, 1, process.err, &command->result.err);
        assert(r == 0);
        if (ret_command)
                *ret_command = command;
        return 0;
}

void command_abandon(struct command *command)
{
        command->done = NULL;
        command->abandoned = true;
        kill(-command->child.pid, SIGKILL);
        finish_if_complete(command);
}

void command_mark_dropped(struct command_output *output)
{
        if (output->dropped > 0)
                buffer_printf(&output->text, "\n[%llu more bytes of output were dropped]\n",
                              (unsigned long long)output->dropped);
}
