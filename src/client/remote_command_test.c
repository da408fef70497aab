// SPDX-License-Identifier: Apache-2.0
#include "client/remote_command.h"

#include <errno.h>
#include <stdlib.h>

#include "client/fake_api.h"
#include "net/websocket.h"

#define EXIT_STATUS(code)                                                                          \
        "\3{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with exit "    \
        "code " code "\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":"     \
        "\"ExitCode\",\"message\":\"" code "\"}]}}"
#define SUCCESS "\3{\"metadata\":{},\"status\":\"Success\"}"

struct fixture {
        struct fake_api api;
        struct websocket *server;
        struct buffer server_got; /* each message: "channel:data;" */
        unsigned server_closes;
        struct remote_command *command;
        struct buffer output, error_output;
        unsigned opens, ends, drains;
        int error, exit_code;
        unsigned status;
        char message[160];
        bool cancels_on_output;
};

static void server_message(struct websocket *socket, void *user, enum websocket_opcode opcode,
                           struct str data)
{
        struct fixture *f = user;

        (void)socket;
        assert_int_equal(opcode, WEBSOCKET_BINARY);
        assert_true(data.length > 0);
        assert_int_equal(buffer_printf(&f->server_got, "%u:", (uint8_t)data.data[0]), 0);
        if ((uint8_t)data.data[0] == 255)
                assert_int_equal(buffer_printf(&f->server_got, "%u", (uint8_t)data.data[1]), 0);
        else
                assert_int_equal(buffer_append_str(&f->server_got, str_slice(data, 1, data.length)),
                                 0);
        assert_int_equal(buffer_append_char(&f->server_got, ';'), 0);
}

static void server_closed(struct websocket *socket, void *user, unsigned status, struct str reason)
{
        struct fixture *f = user;

        (void)socket;
        (void)status;
        (void)reason;
        f->server = NULL;
        f->server_closes++;
}

static const struct websocket_callbacks server_callbacks = { .on_message = server_message,
                                                             .on_close = server_closed };

static void on_open(void *user)
{
        ((struct fixture *)user)->opens++;
}

static void on_output(void *user, bool is_error_output, struct str data)
{
        struct fixture *f = user;

        assert_int_equal(buffer_append_str(is_error_output ? &f->error_output : &f->output, data),
                         0);
        if (f->cancels_on_output) {
                remote_command_cancel(f->command);
                f->command = NULL;
        }
}

static void on_drain(void *user)
{
        ((struct fixture *)user)->drains++;
}

static void on_end(void *user, const struct remote_command_result *result)
{
        struct fixture *f = user;

        f->ends++;
        f->command = NULL;
        f->error = result->error;
        f->status = result->status;
        f->exit_code = result->exit_code;
        snprintf(f->message, sizeof(f->message), "%.*s", STR_FORMAT(result->message));
}

static const struct remote_command_events events = {
        .on_open = on_open, .on_output = on_output, .on_drain = on_drain, .on_end = on_end
};

static const struct fake_reply hold[] = { { FAKE_HOLD } };

static void set_up(struct fixture *f)
{
        *f = (struct fixture){};
        fake_set_up(&f->api);
}

static void tear_down(struct fixture *f)
{
        remote_command_cancel(f->command);
        websocket_free(f->server);
        kube_client_free(f->api.client);
        http_server_free(f->api.server);
        f->api.client = NULL;
        f->api.server = NULL;
        /* Closing handshakes that nobody waits for any more end by themselves. */
        assert_int_equal(uv_run(&f->api.t.uv, UV_RUN_DEFAULT), 0);
        buffer_deinit(&f->server_got);
        buffer_deinit(&f->output);
        buffer_deinit(&f->error_output);
        fake_tear_down(&f->api);
}

static void start(struct fixture *f, bool input, bool terminal)
{
        static const char *const arguments[] = { "sh", "-c", "echo a&b" };
        const struct remote_command_options options = {
                .client = f->api.client,
                .name_space = STR("default"),
                .pod = STR("box"),
                .container = STR("main"),
                .arguments = arguments,
                .argument_count = ARRAY_SIZE(arguments),
                .input = input,
                .terminal = terminal,
        };

        assert_int_equal(remote_command_start(&options, &events, f, &f->command), 0);
        assert_int_equal(f->opens + f->ends, 0);
}

/* Until the server has the request; then it answers with this subprotocol. */
static void accept_with(struct fixture *f, const char *protocol)
{
        fake_expect(&f->api, hold);
        test_run_until(&f->api.t, f->api.held_count > 0);
        assert_int_equal(websocket_accept(f->api.held[--f->api.held_count], str_from(protocol), 0,
                                          &server_callbacks, f, &f->server),
                         0);
}

static void open_command(struct fixture *f, bool input, bool terminal)
{
        start(f, input, terminal);
        accept_with(f, "v5.channel.k8s.io");
        test_run_until(&f->api.t, f->opens > 0);
}

static void say(struct fixture *f, struct str data)
{
        websocket_send(f->server, WEBSOCKET_BINARY, &(struct stream_piece){ data }, 1);
}

static void expect(struct buffer *buffer, const char *text)
{
        assert_int_equal(buffer_append_char(buffer, '\0'), 0);
        assert_string_equal(buffer->data, text);
        buffer->length--;
}

static void asks_as_kubectl_does(void **state)
{
        static const char *const show[] = { "authorization", "upgrade", "sec-websocket-protocol",
                                            NULL };
        struct fixture f;

        (void)state;
        set_up(&f);
        f.api.show = show;
        open_command(&f, true, false);
        fake_asked(&f.api, "GET /api/v1/namespaces/default/pods/box/exec?container=main&stdin=true&"
                           "stdout=true&stderr=true&command=sh&command=-c&command=echo%20a%26b "
                           "authorization=Bearer secret upgrade=websocket "
                           "sec-websocket-protocol=v5.channel.k8s.io, v4.channel.k8s.io\n");
        tear_down(&f);
}

static void a_terminal_has_no_error_output(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        open_command(&f, false, true);
        fake_asked(&f.api, "GET /api/v1/namespaces/default/pods/box/exec?container=main&"
                           "stdout=true&tty=true&command=sh&command=-c&command=echo%20a%26b\n");
        tear_down(&f);
}

static void output_and_exit_code_come_back(void **state)
{
        static const struct {
                const char *status;
                int exit_code;
        } cases[] = { { SUCCESS, 0 }, { EXIT_STATUS("3"), 3 }, { EXIT_STATUS("137"), 137 } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;
                set_up(&f);
                open_command(&f, false, false);
                say(&f, STR("\1out "));
                say(&f, STR("\2err"));
                say(&f, STR("\1put"));
                say(&f, STR("\1"));
                say(&f, STR("\x09 nobody knows this channel"));
                say(&f, str_from(cases[i].status));
                websocket_close(f.server, WEBSOCKET_NORMAL, STR_EMPTY);
                test_run_until(&f.api.t, f.ends > 0);
                assert_int_equal(f.error, 0);
                assert_int_equal(f.exit_code, cases[i].exit_code);
                expect(&f.output, "out put");
                expect(&f.error_output, "err");
                tear_down(&f);
        }
}

static void failures_tell_why(void **state)
{
        static const struct {
                const char *last; /* message of the server's; NULL: none */
                int error;
                const char *message;
        } cases[] = {
                { NULL, KUBE_LOST, "the connection was lost before the command ended" },
                { "\1half", KUBE_LOST, "the connection was lost before the command ended" },
                { "\3{", KUBE_MALFORMED, "the server tells in no known way how the command ended" },
                { "\3{\"status\":\"Failure\",\"message\":\"no such container\"}", -EREMOTEIO,
                  "no such container" },
                { "\3{}", -EREMOTEIO, "the server does not say why the command failed" },
                { "\3{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"message\":\"odd\","
                  "\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"-1\"}]}}",
                  -EREMOTEIO, "odd" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fixture f;
                set_up(&f);
                open_command(&f, false, false);
                if (cases[i].last)
                        say(&f, str_from(cases[i].last));
                websocket_close(f.server, WEBSOCKET_NORMAL, STR_EMPTY);
                test_run_until(&f.api.t, f.ends > 0);
                assert_int_equal(f.error, cases[i].error);
                assert_string_equal(f.message, cases[i].message);
                tear_down(&f);
        }
}

static void a_long_status_is_refused(void **state)
{
        struct fixture f;
        char text[70 * 1024];

        (void)state;
        set_up(&f);
        open_command(&f, false, false);
        memset(text, ' ', sizeof(text));
        text[0] = 3;
        say(&f, (struct str){ text, sizeof(text) });
        websocket_close(f.server, WEBSOCKET_NORMAL, STR_EMPTY);
        test_run_until(&f.api.t, f.ends > 0);
        assert_int_equal(f.error, KUBE_MALFORMED);
        tear_down(&f);
}

static void input_goes_and_ends(void **state)
{
        struct fixture f;
        char large[40 * 1024];

        (void)state;
        set_up(&f);
        open_command(&f, true, true);
        remote_command_resize(f.command, 80, 24);
        remote_command_send(f.command, STR("abc"));
        remote_command_send(f.command, STR_EMPTY);
        assert_int_equal(remote_command_end_input(f.command), 0);
        test_run_until(&f.api.t, str_ends_with(buffer_str(&f.server_got), STR("255:0;")));
        expect(&f.server_got, "4:{\"Width\":80,\"Height\":24};0:abc;255:0;");
        tear_down(&f);

        set_up(&f);
        open_command(&f, true, false);
        memset(large, 'x', sizeof(large));
        remote_command_send(f.command, (struct str){ large, sizeof(large) });
        test_run_until(&f.api.t, f.server_got.length == sizeof(large) + 2 * 3);
        assert_int_equal(f.server_got.data[2 + 32 * 1024], ';');
        tear_down(&f);
}

static void much_input_waits_for_the_server(void **state)
{
        struct fixture f;
        static char large[32 * 1024];

        (void)state;
        set_up(&f);
        open_command(&f, true, false);
        websocket_pause(f.server);
        while (!remote_command_is_congested(f.command))
                remote_command_send(f.command, (struct str){ large, sizeof(large) });
        test_run_turns(&f.api.t, 5);
        assert_int_equal(f.drains, 0);
        websocket_resume(f.server);
        test_run_until(&f.api.t, f.drains > 0);
        assert_false(remote_command_is_congested(f.command));
        tear_down(&f);
}

static void the_older_protocol_has_no_end_of_input(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        start(&f, true, false);
        accept_with(&f, "v4.channel.k8s.io");
        test_run_until(&f.api.t, f.opens > 0);
        assert_int_equal(remote_command_end_input(f.command), -EOPNOTSUPP);
        say(&f, STR("\1out"));
        say(&f, STR(EXIT_STATUS("4")));
        websocket_close(f.server, WEBSOCKET_NORMAL, STR_EMPTY);
        test_run_until(&f.api.t, f.ends > 0);
        assert_int_equal(f.exit_code, 4);
        expect(&f.output, "out");
        tear_down(&f);
}

static void other_protocols_are_refused(void **state)
{
        static const char *const protocols[] = { "", "channel.k8s.io", "base64.channel.k8s.io" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
                struct fixture f;
                set_up(&f);
                start(&f, false, false);
                accept_with(&f, protocols[i]);
                test_run_until(&f.api.t, f.ends > 0 && f.server_closes > 0);
                assert_int_equal(f.opens, 0);
                assert_int_equal(f.error, KUBE_MALFORMED);
                tear_down(&f);
        }
}

static void refusals_come_as_the_server_words_them(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404,
                  "{\"kind\":\"Status\",\"code\":404,\"reason\":\"NotFound\",\"message\":\"pods "
                  "\\\"box\\\" not found\"}" },
                { FAKE_ANSWER, 200, "{}" },
                { FAKE_CUT },
        };
        static const struct {
                int error;
                unsigned status;
                const char *message;
        } expected[] = {
                { -EREMOTEIO, 404, "pods \"box\" not found" },
                { -EREMOTEIO, 200, "the server runs no commands over WebSocket" },
                { KUBE_LOST, 0, NULL },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
                struct fixture f;
                set_up(&f);
                start(&f, false, false);
                f.api.replies = &replies[i];
                f.api.reply_count = 1;
                test_run_until(&f.api.t, f.ends > 0);
                assert_int_equal(f.opens, 0);
                assert_int_equal(f.error, expected[i].error);
                assert_int_equal(f.status, expected[i].status);
                if (expected[i].message)
                        assert_string_equal(f.message, expected[i].message);
                tear_down(&f);
        }
}

static void it_can_be_given_up_at_any_time(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f); /* before the request has gone */
        start(&f, false, false);
        tear_down(&f);

        set_up(&f); /* while it waits for the answer */
        start(&f, false, false);
        fake_expect(&f.api, hold);
        test_run_until(&f.api.t, f.api.held_count > 0);
        remote_command_cancel(f.command);
        f.command = NULL;
        test_run_until(&f.api.t, f.api.aborts == 1);
        tear_down(&f);

        set_up(&f); /* from within its output: the server sees it go */
        f.cancels_on_output = true;
        open_command(&f, false, false);
        say(&f, STR("\1one"));
        say(&f, STR("\1two"));
        test_run_until(&f.api.t, f.server_closes > 0);
        expect(&f.output, "one");
        assert_int_equal(f.ends, 0);
        tear_down(&f);
}

static void held_output_comes_later(void **state)
{
        struct fixture f;

        (void)state;
        set_up(&f);
        open_command(&f, false, false);
        test_run_turns(&f.api.t, 3);
        remote_command_pause(f.command);
        say(&f, STR("\1out"));
        say(&f, STR(SUCCESS));
        websocket_close(f.server, WEBSOCKET_NORMAL, STR_EMPTY);
        test_run_turns(&f.api.t, 10);
        expect(&f.output, "");
        assert_int_equal(f.ends, 0);
        remote_command_resume(f.command);
        test_run_until(&f.api.t, f.ends > 0);
        expect(&f.output, "out");
        assert_int_equal(f.error, 0);
        tear_down(&f);
}

static void bad_options_are_refused(void **state)
{
        static const char *const arguments[] = { "true" };
        struct fixture f;
        struct remote_command_options options = { .name_space = STR("default"),
                                                  .pod = STR("box"),
                                                  .arguments = arguments,
                                                  .argument_count = 1 };
        struct remote_command *command;

        (void)state;
        set_up(&f);
        options.client = f.api.client;
        options.argument_count = 0;
        assert_int_equal(remote_command_start(&options, &events, &f, &command), -EINVAL);
        options.argument_count = 1;
        options.pod = STR("..");
        assert_int_equal(remote_command_start(&options, &events, &f, &command), -EINVAL);
        options.pod = STR("box");
        options.name_space = STR_EMPTY;
        assert_int_equal(remote_command_start(&options, &events, &f, &command), -EINVAL);
        tear_down(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(asks_as_kubectl_does),
                cmocka_unit_test(a_terminal_has_no_error_output),
                cmocka_unit_test(output_and_exit_code_come_back),
                cmocka_unit_test(failures_tell_why),
                cmocka_unit_test(a_long_status_is_refused),
                cmocka_unit_test(input_goes_and_ends),
                cmocka_unit_test(much_input_waits_for_the_server),
                cmocka_unit_test(the_older_protocol_has_no_end_of_input),
                cmocka_unit_test(other_protocols_are_refused),
                cmocka_unit_test(refusals_come_as_the_server_words_them),
                cmocka_unit_test(it_can_be_given_up_at_any_time),
                cmocka_unit_test(held_output_comes_later),
                cmocka_unit_test(bad_options_are_refused),
        };

        return run_unit_tests("remote_command", tests);
}
