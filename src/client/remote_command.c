// SPDX-License-Identifier: Apache-2.0
#include "client/remote_command.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "client/resource.h"
#include "net/websocket.h"
#include "json/json.h"

enum channel {
        CHANNEL_INPUT = 0,
        CHANNEL_OUTPUT = 1,
        CHANNEL_ERROR_OUTPUT = 2,
        CHANNEL_STATUS = 3,
        CHANNEL_RESIZE = 4,
        CHANNEL_CLOSE = 255, /* v5: its one byte of data is the channel that ends */
};

enum {
        PIECE_SIZE = 32 * 1024,   /* of input in one message, as kubectl's */
        STATUS_LIMIT = 64 * 1024, /* bytes of a Status */
        PING_INTERVAL_MS = 30 * 1000,
        LINGER_MS = 5 * 1000, /* after the Status: how long the server may take to close */
        MESSAGE_LIMIT = 0,    /* messages are taken in pieces */
};

struct remote_command {
        struct kube_client *client;
        const struct remote_command_events *on;
        void *user;
        struct kube_call *call;   /* until the connection is there */
        struct websocket *socket; /* from then on */
        struct net_timer timer;   /* pings, or the server's time to close */
        char key[WEBSOCKET_KEY_SIZE];
        bool can_end_input; /* v5 */
        bool in_message;    /* `channel` is known: more of its message comes */
        bool has_status;
        uint8_t channel;
        struct buffer status;
};

static struct net_loop *loop_of(const struct remote_command *command)
{
        return kube_client_loop(command->client);
}

static void command_free(struct remote_command *command)
{
        net_timer_stop(&command->timer);
        if (command->call)
                kube_call_cancel(command->call);
        if (command->socket)
                websocket_free(command->socket);
        buffer_deinit(&command->status);
        free(command);
}

void remote_command_cancel(struct remote_command *command)
{
        if (command)
                command_free(command);
}

static void finish(struct remote_command *command, const struct remote_command_result *result)
{
        command->on->on_end(command->user, result);
        command_free(command);
}

/* ---- the end ---- */

/* The exit code among the causes of a Status, or -1. */
static int exit_code_of(struct json_value status)
{
        json_for_each (cause, json_get(status, "details", "causes")) {
                uint64_t code;
                if (json_string_is(json_get(cause.value, "reason"), STR("ExitCode")) &&
                    str_to_u64(json_string(json_get(cause.value, "message")), INT32_MAX, &code) ==
                            0)
                        return (int)code;
        }
        return -1;
}

static void read_status(struct json_value status, struct remote_command_result *result)
{
        if (json_string_is(json_get(status, "status"), STR("Success")))
                return;
        int code = exit_code_of(status);
        if (json_string_is(json_get(status, "reason"), STR("NonZeroExitCode")) && code >= 0) {
                result->exit_code = code;
                return;
        }
        result->error = -EREMOTEIO;
        result->message = json_string_or(json_get(status, "message"),
                                         STR("the server does not say why the command failed"));
}

static void finish_closed(struct remote_command *command, struct str reason)
{
        _cleanup_doc_ struct json_doc *status = NULL;
        struct remote_command_result result = {};

        if (!command->has_status) {
                result.error = KUBE_LOST;
                result.message = reason.length > 0
                                         ? reason
                                         : STR("the connection was lost before the command ended");
        } else if (json_doc_parse(buffer_str(&command->status), NULL, NULL, NULL, &status) < 0) {
                result.error = KUBE_MALFORMED;
                result.message = STR("the server tells in no known way how the command ended");
        } else {
                read_status(json_root(status), &result);
        }
        finish(command, &result);
}

static void on_linger(struct net_timer *timer)
{
        struct remote_command *command = container_of(timer, struct remote_command, timer);

        websocket_close(command->socket, WEBSOCKET_NORMAL, STR_EMPTY);
}

static void on_ping(struct net_timer *timer)
{
        struct remote_command *command = container_of(timer, struct remote_command, timer);

        websocket_ping(command->socket);
        net_timer_start(loop_of(command), timer, PING_INTERVAL_MS, on_ping);
}

/* ---- what comes ---- */

static void take_status(struct remote_command *command, struct str data, bool final)
{
        if (data.length > STATUS_LIMIT - command->status.length ||
            buffer_append_str(&command->status, data) < 0)
                buffer_clear(&command->status); /* no JSON: told as such */
        command->has_status |= final;
}

static void on_piece(struct websocket *socket _unused_, void *user,
                     enum websocket_opcode opcode _unused_, struct str data, bool final)
{
        struct remote_command *command = user;

        if (!command->in_message && data.length > 0) {
                command->channel = (uint8_t)data.data[0];
                command->in_message = true;
                data = str_slice(data, 1, data.length);
        }
        if (command->in_message && command->channel == CHANNEL_STATUS)
                take_status(command, data, final);
        if (final && command->has_status)
                net_timer_start(loop_of(command), &command->timer, LINGER_MS, on_linger);
        bool is_error_output = command->channel == CHANNEL_ERROR_OUTPUT;
        bool is_output =
                command->in_message && (is_error_output || command->channel == CHANNEL_OUTPUT);
        command->in_message &= !final;
        if (is_output && data.length > 0)
                command->on->on_output(command->user, is_error_output, data);
}

static void on_drain(struct websocket *socket _unused_, void *user)
{
        struct remote_command *command = user;

        if (command->on->on_drain)
                command->on->on_drain(command->user);
}

static void on_close(struct websocket *socket, void *user, unsigned status _unused_,
                     struct str reason)
{
        struct remote_command *command = user;

        command->socket = NULL;
        finish_closed(command, reason);
        /* All is told: nobody waits for the connection's end. */
        websocket_free(socket);
}

static const struct websocket_callbacks socket_callbacks = {
        .on_piece = on_piece,
        .on_drain = on_drain,
        .on_close = on_close,
};

/* ---- the beginning ---- */

static void on_refused(void *user, const struct kube_response *response)
{
        struct remote_command *command = user;
        struct remote_command_result result = { .error = response->error,
                                                .status = response->status,
                                                .message = response->message };

        command->call = NULL;
        if (response->error == 0) {
                result.error = -EREMOTEIO;
                if (response->status < 300)
                        result.message = STR("the server runs no commands over WebSocket");
        }
        finish(command, &result);
}

static void on_no_data(void *user _unused_, struct str data _unused_)
{
}

static int take_connection(struct remote_command *command, struct http_call *http,
                           const struct http_response_head *head)
{
        struct str protocol = http_headers_get(&head->headers, STR("sec-websocket-protocol"));

        command->can_end_input = str_equal(protocol, STR("v5.channel.k8s.io"));
        if (!command->can_end_input && !str_equal(protocol, STR("v4.channel.k8s.io")))
                return -EBADMSG;
        return websocket_from_call(http, head, str_from(command->key), MESSAGE_LIMIT,
                                   &socket_callbacks, command, &command->socket);
}

static int on_upgrade(void *user, struct http_call *http, const struct http_response_head *head)
{
        struct remote_command *command = user;

        command->call = NULL;
        int r = take_connection(command, http, head);
        if (r < 0) {
                struct remote_command_result result = {
                        .error = r == -ENOMEM ? r : KUBE_MALFORMED,
                        .message =
                                r == -ENOMEM
                                        ? STR("out of memory")
                                        : STR("the answer is no WebSocket that carries a command"),
                };
                finish(command, &result);
                return r;
        }
        net_timer_start(loop_of(command), &command->timer, PING_INTERVAL_MS, on_ping);
        if (command->on->on_open)
                command->on->on_open(command->user);
        return 0;
}

static const struct kube_stream_events call_events = {
        .on_data = on_no_data,
        .on_upgrade = on_upgrade,
        .on_end = on_refused,
};

static int append_path(const struct remote_command_options *options, struct buffer *out)
{
        const struct {
                const char *name;
                bool value;
        } flags[] = {
                { "stdin", options->input },
                { "stdout", true },
                { "stderr", !options->terminal },
                { "tty", options->terminal },
        };
        if (options->argument_count == 0 || options->name_space.length == 0)
                return -EINVAL;
        int r = kube_path_append(out, &kind_pod, options->name_space, options->pod, STR("exec"));

        if (r == 0 && options->container.length > 0)
                r = kube_query_append(out, "container", options->container);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(flags); i++)
                if (flags[i].value)
                        r = kube_query_append(out, flags[i].name, STR("true"));
        for (size_t i = 0; r == 0 && i < options->argument_count; i++)
                r = kube_query_append(out, "command", str_from(options->arguments[i]));
        return r;
}

int remote_command_start(const struct remote_command_options *options,
                         const struct remote_command_events *events, void *user,
                         struct remote_command **ret_command)
{
        _cleanup_buffer_ struct buffer path = {};
        struct remote_command *command = calloc(1, sizeof(*command));

        if (!command)
                return -ENOMEM;
        command->client = options->client;
        command->on = events;
        command->user = user;
        websocket_make_key(command->key);
        const struct http_header headers[] = {
                { STR("Upgrade"), STR("websocket") },
                { STR("Sec-WebSocket-Version"), STR("13") },
                { STR("Sec-WebSocket-Key"), str_from(command->key) },
                { STR("Sec-WebSocket-Protocol"), STR("v5.channel.k8s.io, v4.channel.k8s.io") },
        };
        int r = append_path(options, &path);
        struct kube_request request = { .method = STR("GET"),
                                        .path = buffer_str(&path),
                                        .headers = headers,
                                        .header_count = ARRAY_SIZE(headers) };
        if (r == 0)
                r = kube_client_stream(command->client, &request, &call_events, command,
                                       &command->call);
        if (r < 0) {
                command_free(command);
                return r;
        }
        *ret_command = command;
        return 0;
}

/* ---- what goes ---- */

static void send_on(struct remote_command *command, uint8_t channel, struct str data)
{
        const struct stream_piece pieces[] = {
                { .data = { (const char *)&channel, 1 } },
                { .data = data },
        };

        if (command->socket)
                websocket_send(command->socket, WEBSOCKET_BINARY, pieces, ARRAY_SIZE(pieces));
}

void remote_command_send(struct remote_command *command, struct str data)
{
        while (data.length > 0) {
                size_t length = MIN(data.length, (size_t)PIECE_SIZE);
                send_on(command, CHANNEL_INPUT, str_slice(data, 0, length));
                data = str_slice(data, length, data.length);
        }
}

bool remote_command_is_congested(const struct remote_command *command)
{
        return command->socket && websocket_is_congested(command->socket);
}

int remote_command_end_input(struct remote_command *command)
{
        static const char input = CHANNEL_INPUT;

        if (!command->can_end_input)
                return -EOPNOTSUPP;
        send_on(command, CHANNEL_CLOSE, (struct str){ &input, 1 });
        return 0;
}

void remote_command_resize(struct remote_command *command, unsigned columns, unsigned rows)
{
        char text[64];
        int length = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", columns, rows);

        send_on(command, CHANNEL_RESIZE, (struct str){ text, (size_t)length });
}

void remote_command_pause(struct remote_command *command)
{
        if (command->socket)
                websocket_pause(command->socket);
}

void remote_command_resume(struct remote_command *command)
{
        if (command->socket)
                websocket_resume(command->socket);
}
