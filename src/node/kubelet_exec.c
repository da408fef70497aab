// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "initproto/logring.h"
#include "node/kubelet.h"
#include "node/remote.h"

enum { INPUT_HIGH = 64 * 1024, SIZE_MAX_CELLS = 10000 };

/* One exec or attach: a client's channels on one side, a process in a container on the other. */
struct command_session {
        struct list link;
        struct node_pod *pod; /* NULL: it is gone */
        size_t index;
        struct remote *remote;
        struct container_user user; /* of exec */
        bool is_attach, has_tty, has_stdin, is_paused, input_ended, is_over;
        bool closes_stdin; /* of attach: stdinOnce */
        struct initproto_process process;
        struct buffer argv, env;
        struct buffer input;                /* that the process has not taken yet */
        size_t owed[INITPROTO_CHANNELS];    /* room to give back when the client has taken it */
        struct container_follower follower; /* of attach: output goes to the log */
        struct logring_reader reader;
        int log_fd;
};

static void session_free(struct command_session *session)
{
        list_remove(&session->link);
        list_remove(&session->follower.link);
        container_leave(&session->user);
        remote_free(session->remote);
        if (session->log_fd >= 0)
                logring_reader_deinit(&session->reader);
        fd_close(session->log_fd);
        buffer_deinit(&session->argv);
        buffer_deinit(&session->env);
        buffer_deinit(&session->input);
        free(session);
}

void kubelet_forget_commands(struct kubelet *kubelet, const struct node_pod *pod)
{
        struct command_session *session;

        list_for_each (session, &kubelet->commands, link)
                if (session->pod == pod)
                        session->pod = NULL;
}

void kubelet_free_commands(struct kubelet *kubelet)
{
        struct command_session *session;

        list_for_each (session, &kubelet->commands, link)
                session_free(session);
}

/* ---- the end ---- */

static void finish(struct command_session *session, struct buffer *status)
{
        if (session->is_over)
                return;
        session->is_over = true;
        list_remove(&session->follower.link);
        remote_finish(session->remote, buffer_str(status));
}

static void finish_failed(struct command_session *session, const char *message)
{
        _cleanup_buffer_ struct buffer status = {};

        if (kubelet_status_failure(&status, "InternalError", 500, message) < 0)
                buffer_clear(&status);
        finish(session, &status);
}

static void finish_exit(struct command_session *session, unsigned code)
{
        _cleanup_buffer_ struct buffer status = {};

        if (kubelet_status_exit(&status, code) < 0)
                buffer_clear(&status);
        finish(session, &status);
}

/* ---- from the process to the client ---- */

/* What was asked for only; a terminal has one channel for both. */
static void send_output(struct command_session *session, enum remote_channel channel,
                        struct str data)
{
        if (channel == REMOTE_STDERR && session->has_tty)
                channel = REMOTE_STDOUT;
        if (session->remote->channels & 1U << channel)
                remote_send(session->remote, channel, data);
}

static void on_output(struct container_user *user, enum initproto_channel channel, struct str data)
{
        struct command_session *session = container_of(user, struct command_session, user);

        if (data.length == 0)
                return;
        send_output(session, channel == INITPROTO_CHANNEL_ERROR ? REMOTE_STDERR : REMOTE_STDOUT,
                    data);
        session->owed[channel] += data.length;
        if (remote_is_congested(session->remote))
                return;
        container_consumed(user, channel, session->owed[channel]);
        session->owed[channel] = 0;
}

static void on_exited(struct container_user *user, const struct initproto_exit *exit)
{
        struct command_session *session = container_of(user, struct command_session, user);

        if (exit)
                finish_exit(session, exit->code);
        else
                finish_failed(session, "the container ended");
}

static void on_failed(struct container_user *user, int error, struct str reason)
{
        struct command_session *session = container_of(user, struct command_session, user);
        char message[POD_MESSAGE_SIZE];

        if (error == -ENOENT || error == -EACCES) { /* as a shell says it, with a shell's codes */
                snprintf(message, sizeof(message), "%.256s: %s\n", session->argv.data,
                         strerror(-error));
                send_output(session, REMOTE_STDERR, str_from(message));
                finish_exit(session, error == -ENOENT ? 127 : 126);
                return;
        }
        snprintf(message, sizeof(message), "error executing command in container: %.*s",
                 (int)MIN(reason.length, (size_t)512), reason.data);
        finish_failed(session, message);
}

/* ---- from the client to the process ---- */

static ssize_t give_input(struct command_session *session, struct str data)
{
        struct node_container *container = kubelet_running(session->pod, session->index);

        if (!session->is_attach)
                return container_input(&session->user, data);
        return container ? container_main_input(container, data) : -ENOTCONN;
}

static void push_input(struct command_session *session)
{
        while (session->input.length > 0) {
                ssize_t taken = give_input(session, buffer_str(&session->input));
                if (taken < 0) {
                        buffer_clear(&session->input);
                        break;
                }
                buffer_consume(&session->input, (size_t)taken);
                if (taken == 0)
                        break;
        }
        bool is_full = session->input.length > INPUT_HIGH;
        if (is_full != session->is_paused && !session->is_over) {
                session->is_paused = is_full;
                if (is_full)
                        remote_pause(session->remote);
                else
                        remote_resume(session->remote);
        }
        if (session->input.length == 0 && session->input_ended) {
                session->input_ended = false;
                if (!session->is_attach || session->closes_stdin)
                        give_input(session, STR_EMPTY);
        }
}

static void on_room(struct container_user *user)
{
        push_input(container_of(user, struct command_session, user));
}

static const struct container_user_events user_events = {
        .output = on_output,
        .started = on_room,
        .writable = on_room,
        .ended = on_exited,
        .failed = on_failed,
};

/* {"Width":80,"Height":24} */
static void resize(struct command_session *session, struct str text)
{
        struct node_container *container = kubelet_running(session->pod, session->index);
        _cleanup_doc_ struct json_doc *doc = NULL;

        if (json_doc_parse(text, NULL, NULL, NULL, &doc) < 0)
                return;
        int64_t columns = json_int64_or(json_get(json_root(doc), "Width"), 0);
        int64_t rows = json_int64_or(json_get(json_root(doc), "Height"), 0);
        if (columns <= 0 || rows <= 0 || columns > SIZE_MAX_CELLS || rows > SIZE_MAX_CELLS)
                return;
        if (!session->is_attach)
                container_resize(&session->user, (uint16_t)rows, (uint16_t)columns);
        else if (container)
                container_main_resize(container, (uint16_t)rows, (uint16_t)columns);
}

static void on_data(struct remote *remote, void *user, enum remote_channel channel, struct str data)
{
        struct command_session *session = user;

        (void)remote;
        if (session->is_over)
                return;
        if (channel == REMOTE_RESIZE) {
                resize(session, data);
                return;
        }
        if (buffer_append_str(&session->input, data) < 0) {
                finish_failed(session, "out of memory");
                return;
        }
        push_input(session);
}

static void on_end(struct remote *remote, void *user, enum remote_channel channel)
{
        struct command_session *session = user;

        (void)remote, (void)channel;
        session->input_ended = true;
        push_input(session);
}

/* ---- attach: the log as it grows ---- */

static void pump_log(struct command_session *session)
{
        struct logring_record record;
        int r;

        while (!session->is_over && !remote_is_congested(session->remote)) {
                r = logring_read(&session->reader, &record);
                if (r == -EOVERFLOW)
                        continue;
                if (r <= 0)
                        return;
                send_output(session,
                            record.stream == LOGRING_STDERR ? REMOTE_STDERR : REMOTE_STDOUT,
                            record.data);
        }
}

static void on_log_grown(struct container_follower *follower)
{
        pump_log(container_of(follower, struct command_session, follower));
}

static void on_log_ended(struct container_follower *follower)
{
        struct command_session *session = container_of(follower, struct command_session, follower);
        struct logring_status status;
        unsigned code = 0;

        pump_log(session);
        if (logring_read_status(session->log_fd, &status) >= 0 && status.has_exited)
                code = status.exit.code;
        finish_exit(session, code);
}

static void on_drain(struct remote *remote, void *user)
{
        struct command_session *session = user;

        (void)remote;
        for (unsigned i = 0; i < INITPROTO_CHANNELS; i++) {
                container_consumed(&session->user, (enum initproto_channel)i, session->owed[i]);
                session->owed[i] = 0;
        }
        if (session->is_attach && session->log_fd >= 0)
                pump_log(session);
}

static void on_closed(struct remote *remote, void *user)
{
        (void)remote;
        session_free(user);
}

/* ---- beginning ---- */

static void begin_attach(struct command_session *session, struct node_container *container)
{
        struct logring_status status = {};
        uint32_t attempt;

        if (kubelet_open_log(session->pod, session->index, false, &session->log_fd, &attempt) < 0) {
                finish_failed(session, "the container has no log");
                return;
        }
        logring_read_status(session->log_fd, &status);
        logring_reader_init(&session->reader, session->log_fd, MAX(status.head, 1));
        container_follow(container, &session->follower, status.head);
}

/* The container's own environment, with a terminal's name where there is one. */
static int fill_process(const struct node_container *container, struct command_session *session)
{
        const struct initproto_process *own = container_process(container);

        session->process.working_directory = own->working_directory;
        session->process.flags = (session->has_tty ? INITPROTO_TERMINAL : 0U) |
                                 (session->has_stdin ? INITPROTO_STDIN : 0U);
        session->process.rows = 24;
        session->process.columns = 80;
        int r = buffer_append_str(&session->env, own->env);
        if (r >= 0 && session->has_tty)
                r = initproto_append_string(&session->env, STR("TERM=xterm"));
        session->process.env = buffer_str(&session->env);
        session->process.env_count = own->env_count + (session->has_tty ? 1 : 0);
        return r;
}

static void on_ready(struct remote *remote, void *user)
{
        struct command_session *session = user;
        struct node_container *container = kubelet_running(session->pod, session->index);

        (void)remote;
        if (!container) {
                finish_failed(session, "the container does not run");
                return;
        }
        if (session->is_attach) {
                begin_attach(session, container);
                return;
        }
        int r = fill_process(container, session);
        if (r >= 0)
                r = container_exec(container, &session->process, &user_events, &session->user);
        if (r < 0)
                finish_failed(session, strerror(-r));
}

static const struct remote_events remote_events = {
        .ready = on_ready,
        .data = on_data,
        .end = on_end,
        .drain = on_drain,
        .closed = on_closed,
};

static int read_command(const struct kubelet_request *request, struct command_session *session)
{
        struct http_exchange *exchange = request->exchange;
        struct str rest = exchange->request.query, name, value, decoded;
        uint32_t count = 0;

        while (http_query_next(&rest, &name, &value)) {
                if (!str_equal(name, STR("command")))
                        continue;
                int r = http_percent_decode(exchange->arena, value, true, &decoded);
                if (r >= 0)
                        r = initproto_append_string(&session->argv, decoded);
                if (r < 0)
                        return r;
                count++;
        }
        session->process.argv_count = count;
        session->process.argv = buffer_str(&session->argv);
        return count > 0 ? 0 : -EINVAL;
}

static unsigned wanted_channels(const struct kubelet_request *request,
                                const struct command_session *session)
{
        unsigned channels = 0;

        if (session->has_stdin)
                channels |= 1U << REMOTE_STDIN;
        if (kubelet_query_is_true(request, "stdout"))
                channels |= 1U << REMOTE_STDOUT;
        if (kubelet_query_is_true(request, "stderr") && !session->has_tty)
                channels |= 1U << REMOTE_STDERR;
        if (session->has_tty)
                channels |= 1U << REMOTE_RESIZE;
        return channels;
}

static void refuse(const struct kubelet_request *request, int error)
{
        if (error == -EOPNOTSUPP || error == -EBADMSG)
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "exec and attach need an upgrade to a WebSocket (v5 or "
                               "v4.channel.k8s.io) or SPDY/3.1");
        else if (error == -EINVAL)
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "you must specify at least 1 command");
        else
                kubelet_refuse(request->exchange, 500, "InternalError", "%s", strerror(-error));
}

void kubelet_exec(const struct kubelet_request *request, bool is_attach)
{
        struct node_container *container = kubelet_running(request->pod, request->index);
        struct str name = pod_spec_of(request->pod)->containers[request->index].name;

        if (!container) {
                kubelet_refuse(request->exchange, 400, "BadRequest",
                               "container %.*s of pod %s does not run", STR_FORMAT(name),
                               request->pod->name);
                return;
        }
        struct command_session *session = calloc(1, sizeof(*session));
        if (!session) {
                refuse(request, -ENOMEM);
                return;
        }
        session->pod = request->pod;
        session->index = request->index;
        session->is_attach = is_attach;
        session->has_tty = kubelet_query_is_true(request, "tty");
        session->has_stdin = kubelet_query_is_true(request, "stdin");
        session->closes_stdin = pod_spec_of(request->pod)->containers[request->index].stdin_once;
        session->log_fd = -1;
        session->follower =
                (struct container_follower){ .grown = on_log_grown, .ended = on_log_ended };
        list_init(&session->link);
        list_init(&session->follower.link);
        int r = is_attach ? 0 : read_command(request, session);
        if (r >= 0)
                r = remote_accept(request->exchange, wanted_channels(request, session),
                                  &remote_events, session, &session->remote);
        if (r < 0) {
                refuse(request, r);
                session_free(session);
                return;
        }
        list_append(&request->kubelet->commands, &session->link);
}
