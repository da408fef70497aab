// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/test.h"
#include "initproto/client.h"

#define BYTES(literal) ((struct str){ literal, sizeof(literal) - 1 })

static const struct initproto_frame samples[] = {
        { .type = INITPROTO_HELLO,
          .hello = { .version = 1,
                     .state = INITPROTO_RUNNING,
                     .pid = 2,
                     .started_ns = 0x1122334455667788,
                     .log_end = 96,
                     .exit = { .code = 137, .signal = 9, .finished_ns = 5 } } },
        { .type = INITPROTO_STARTED, .stream = 1, .started = { .pid = 2, .time_ns = 77 } },
        { .type = INITPROTO_FAILED, .stream = 3, .failed = { 2, BYTES("no such file") } },
        { .type = INITPROTO_EXITED, .stream = 4, .exited = { .code = 3, .finished_ns = 8 } },
        { .type = INITPROTO_OUTPUT, .stream = 2, .data = BYTES("out\0put") },
        { .type = INITPROTO_ERROR, .stream = 2, .data = STR_EMPTY },
        { .type = INITPROTO_LOG, .log_end = UINT64_MAX },
        { .type = INITPROTO_START,
          .stream = 1,
          .process = { .flags = INITPROTO_TERMINAL,
                       .rows = 24,
                       .columns = 80,
                       .argv_count = 2,
                       .env_count = 1,
                       .argv = BYTES("echo\0hello\0"),
                       .env = BYTES("A=b\0"),
                       .working_directory = BYTES("/work") } },
        { .type = INITPROTO_EXEC,
          .stream = 9,
          .process = { .argv_count = 1, .argv = BYTES("true\0") } },
        { .type = INITPROTO_CONNECT, .stream = 5, .connect = { 8080, BYTES("10.0.0.1") } },
        { .type = INITPROTO_INPUT, .stream = 1, .data = BYTES("x") },
        { .type = INITPROTO_RESIZE, .stream = 1, .resize = { 50, 132 } },
        { .type = INITPROTO_SIGNAL, .stream = 1, .signal = 15 },
        { .type = INITPROTO_CLOSE, .stream = 7 },
        { .type = INITPROTO_LOG_WATCH, .log_end = 64 },
        { .type = INITPROTO_WINDOW_ADD, .stream = 2, .window = { INITPROTO_CHANNEL_ERROR, 4096 } },
};

static void frames_survive_the_way(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
                _cleanup_buffer_ struct buffer wire = {}, again = {};
                struct initproto_frame frame;
                size_t size = 0;

                assert_int_equal(initproto_encode(&samples[i], &wire), 0);
                for (size_t length = 0; length < wire.length; length++) {
                        struct str part = str_slice(buffer_str(&wire), 0, length);
                        assert_int_equal(initproto_decode(part, &frame, &size), 0);
                }
                assert_int_equal(buffer_append(&wire, "next", 4), 0);
                assert_int_equal(initproto_decode(buffer_str(&wire), &frame, &size), 1);
                assert_int_equal(size, wire.length - 4);
                assert_int_equal(frame.type, samples[i].type);
                assert_int_equal(frame.stream, samples[i].stream);
                assert_int_equal(initproto_encode(&frame, &again), 0);
                assert_int_equal(again.length, size);
                assert_memory_equal(again.data, wire.data, size);
        }
}

static void strings_of_a_process_are_found(void **state)
{
        _cleanup_buffer_ struct buffer strings = {};
        struct str rest;

        (void)state;
        assert_int_equal(initproto_append_string(&strings, STR("sh")), 0);
        assert_int_equal(initproto_append_string(&strings, STR("")), 0);
        rest = buffer_str(&strings);
        assert_string_equal(initproto_next_string(&rest), "sh");
        assert_string_equal(initproto_next_string(&rest), "");
        assert_null(initproto_next_string(&rest));
}

static void nonsense_is_refused(void **state)
{
        static const struct {
                const char *why;
                struct str bytes;
        } cases[] = {
                { "version 2", BYTES("\x00\0\0\0\x07\0\0\0\x17\x02\0\0") },
                { "reserved bytes", BYTES("\x00\0\0\0\x07\0\0\0\x17\x01\x01\0") },
                { "unknown type", BYTES("\x00\0\0\0\x07\0\0\0\x63\x01\0\0") },
                { "too long to wait for", BYTES("\xff\xff\xff\x7f\x07\0\0\0\x05\x01\0\0") },
                { "close of the main process", BYTES("\x00\0\0\0\x01\0\0\0\x17\x01\0\0") },
                { "output on stream 0", BYTES("\x00\0\0\0\x00\0\0\0\x05\x01\0\0") },
                { "a byte too many", BYTES("\x01\0\0\0\x07\0\0\0\x17\x01\0\0!") },
                { "a byte too few", BYTES("\x03\0\0\0\x01\0\0\0\x14\x01\0\0\x0f\0\0") },
                { "signal 0", BYTES("\x04\0\0\0\x01\0\0\0\x15\x01\0\0\0\0\0\0") },
                { "signal 65", BYTES("\x04\0\0\0\x01\0\0\0\x15\x01\0\0\x41\0\0\0") },
                { "channel 3", BYTES("\x08\0\0\0\x02\0\0\0\x20\x01\0\0\x03\0\0\0\x01\0\0\0") },
                { "an empty window", BYTES("\x08\0\0\0\x02\0\0\0\x20\x01\0\0\x01\0\0\0\0\0\0\0") },
                { "a huge window",
                  BYTES("\x08\0\0\0\x02\0\0\0\x20\x01\0\0\x01\0\0\0\xff\xff\xff\xff") },
                { "exit code 256",
                  BYTES("\x10\0\0\0\x02\0\0\0\x04\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
                { "argv longer than the payload",
                  BYTES("\x1a\0\0\0\x02\0\0\0\x11\x01\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                        "\xff\xff\xff\xff\0\0\0\0a\0") },
                { "no argv", BYTES("\x18\0\0\0\x02\0\0\0\x11\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0") },
                { "argv without its NUL",
                  BYTES("\x19\0\0\0\x02\0\0\0\x11\x01\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                        "\x01\0\0\0\0\0\0\0a") },
                { "two strings where one is said",
                  BYTES("\x1c\0\0\0\x02\0\0\0\x11\x01\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                        "\x04\0\0\0\0\0\0\0a\0b\0") },
                { "a relative working directory",
                  BYTES("\x1b\0\0\0\x02\0\0\0\x11\x01\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                        "\x02\0\0\0\0\0\0\0a\0b") },
                { "an unknown flag",
                  BYTES("\x1a\0\0\0\x02\0\0\0\x11\x01\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                        "\x02\0\0\0\0\0\0\0a\0") },
                { "port 0", BYTES("\x02\0\0\0\x02\0\0\0\x12\x01\0\0\0\0") },
                { "a NUL in the host", BYTES("\x04\0\0\0\x02\0\0\0\x12\x01\0\0\x50\0\0\x31") },
        };
        struct initproto_frame frame;
        size_t size;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                if (initproto_decode(cases[i].bytes, &frame, &size) != -EBADMSG)
                        fail_msg("not refused: %s", cases[i].why);
        }
}

/* What the events said, as text. */
struct heard {
        struct initproto_client *client;
        struct initproto_stream *close_on_exit;
        char text[1024];
};

static void hear(struct heard *heard, const char *format, ...) _printf_(2, 3);
static void hear(struct heard *heard, const char *format, ...)
{
        size_t used = strlen(heard->text);
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(heard->text + used, sizeof(heard->text) - used, format, arguments);
        va_end(arguments);
}

static void on_hello(void *owner, const struct initproto_hello *hello)
{
        hear(owner, "hello:%d ", (int)hello->state);
}

static void on_started(void *owner, struct initproto_stream *stream, uint32_t pid, uint64_t time_ns)
{
        (void)time_ns;
        hear(owner, "started:%u:%u ", stream->id, pid);
}

static void on_failed(void *owner, struct initproto_stream *stream, int error, struct str reason)
{
        hear(owner, "failed:%u:%d:%.*s ", stream->id, error, STR_FORMAT(reason));
}

static void on_output(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                      struct str data)
{
        hear(owner, "output:%u:%d:%.*s ", stream->id, (int)channel,
             data.length > 64 ? 1 : (int)data.length, data.data);
}

static void on_exited(void *owner, struct initproto_stream *stream,
                      const struct initproto_exit *exit)
{
        struct heard *heard = owner;

        hear(owner, "exited:%u:%u ", stream->id, exit->code);
        if (heard->close_on_exit == stream)
                assert_int_equal(initproto_client_close(heard->client, stream), 0);
}

static void on_writable(void *owner, struct initproto_stream *stream)
{
        hear(owner, "writable:%u ", stream->id);
}

static void on_log(void *owner, uint64_t log_end)
{
        hear(owner, "log:%lu ", (unsigned long)log_end);
}

static const struct initproto_events events = { .hello = on_hello,
                                                .started = on_started,
                                                .failed = on_failed,
                                                .output = on_output,
                                                .exited = on_exited,
                                                .writable = on_writable,
                                                .log = on_log };

static const struct initproto_process true_process = { .argv_count = 1, .argv = BYTES("true\0") };

static int say(struct heard *heard, struct initproto_frame frame)
{
        _cleanup_buffer_ struct buffer wire = {};

        assert_int_equal(initproto_encode(&frame, &wire), 0);
        /* In two pieces, as sockets may deliver it. */
        struct str bytes = buffer_str(&wire);
        int r = initproto_client_receive(heard->client, str_slice(bytes, 0, 5));
        return r < 0 ? r
                     : initproto_client_receive(heard->client, str_slice(bytes, 5, bytes.length));
}

static void client_setup(struct heard *heard)
{
        *heard = (struct heard){};
        assert_int_equal(initproto_client_new(&events, heard, &heard->client), 0);
}

static struct initproto_frame hello_frame(void)
{
        return (struct initproto_frame){ .type = INITPROTO_HELLO, .hello = { .version = 1 } };
}

static void client_runs_a_command(void **state)
{
        struct heard heard;
        struct initproto_stream *stream;
        struct initproto_frame frame;
        size_t size;

        (void)state;
        client_setup(&heard);
        assert_int_equal(say(&heard, hello_frame()), 0);
        assert_int_equal(initproto_client_exec(heard.client, &true_process, NULL, &stream), 0);
        assert_int_equal(stream->id, 2);
        assert_int_equal(
                initproto_decode(buffer_str(initproto_client_output(heard.client)), &frame, &size),
                1);
        assert_int_equal(frame.type, INITPROTO_EXEC);
        heard.close_on_exit = stream;
        assert_int_equal(say(&heard, (struct initproto_frame){ .type = INITPROTO_STARTED,
                                                               .stream = 2,
                                                               .started = { .pid = 7 } }),
                         0);
        assert_int_equal(say(&heard, (struct initproto_frame){ .type = INITPROTO_OUTPUT,
                                                               .stream = 2,
                                                               .data = BYTES("hi") }),
                         0);
        assert_int_equal(
                say(&heard, (struct initproto_frame){ .type = INITPROTO_OUTPUT, .stream = 2 }), 0);
        assert_int_equal(say(&heard, (struct initproto_frame){ .type = INITPROTO_EXITED,
                                                               .stream = 2,
                                                               .exited = { .code = 3 } }),
                         0);
        assert_string_equal(heard.text,
                            "hello:0 started:2:7 output:2:1:hi output:2:1: exited:2:3 ");
        /* Late words about a stream that is over are no error. */
        assert_int_equal(
                say(&heard, (struct initproto_frame){ .type = INITPROTO_EXITED, .stream = 2 }), 0);
        initproto_client_free(heard.client);
}

static void client_refuses_lies(void **state)
{
        const struct initproto_frame started = { .type = INITPROTO_STARTED, .stream = 2 };
        const struct initproto_frame end = { .type = INITPROTO_OUTPUT, .stream = 2 };
        const struct initproto_frame exited = { .type = INITPROTO_EXITED, .stream = 2 };
        const struct initproto_frame add = { .type = INITPROTO_WINDOW_ADD,
                                             .stream = 2,
                                             .window = { INITPROTO_CHANNEL_INPUT, 1 } };
        const struct {
                const char *why;
                struct initproto_frame said[4];
        } cases[] = {
                { "hello twice", { hello_frame(), hello_frame() } },
                { "no hello", { started } },
                { "a stream that was never opened",
                  { hello_frame(), { .type = INITPROTO_STARTED, .stream = 3 } } },
                { "started twice", { hello_frame(), started, started } },
                { "exit before the start", { hello_frame(), exited } },
                { "output before the start", { hello_frame(), end } },
                { "output after its end", { hello_frame(), started, end, end } },
                { "room that was not taken", { hello_frame(), started, add } },
                { "what only the node says",
                  { hello_frame(), { .type = INITPROTO_CLOSE, .stream = 2 } } },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct initproto_stream *stream;
                struct heard heard;
                int r = 0;
                client_setup(&heard);
                assert_int_equal(initproto_client_exec(heard.client, &true_process, NULL, &stream),
                                 0);
                for (size_t j = 0; j < 4 && cases[i].said[j].type; j++) {
                        assert_int_equal(r, 0);
                        r = say(&heard, cases[i].said[j]);
                }
                if (r != -EPROTO)
                        fail_msg("believed: %s", cases[i].why);
                initproto_client_free(heard.client);
        }
}

static void windows_bound_both_ways(void **state)
{
        static char much[INITPROTO_WINDOW + 10];
        struct initproto_stream *stream;
        struct heard heard;
        int r = 0;

        (void)state;
        client_setup(&heard);
        assert_int_equal(say(&heard, hello_frame()), 0);
        struct initproto_process cat = { .flags = INITPROTO_STDIN,
                                         .argv_count = 1,
                                         .argv = BYTES("cat\0") };
        assert_int_equal(initproto_client_exec(heard.client, &cat, NULL, &stream), 0);
        assert_int_equal(
                initproto_client_input(heard.client, stream, (struct str){ much, sizeof(much) }),
                INITPROTO_WINDOW);
        assert_int_equal(initproto_client_room(heard.client, stream), 0);
        assert_int_equal(
                say(&heard, (struct initproto_frame){ .type = INITPROTO_WINDOW_ADD,
                                                      .stream = 2,
                                                      .window = { INITPROTO_CHANNEL_INPUT, 100 } }),
                0);
        assert_int_equal(initproto_client_input(heard.client, stream, STR("0123456789")), 10);
        assert_int_equal(initproto_client_input(heard.client, stream, STR_EMPTY), 0);
        assert_int_equal(initproto_client_input(heard.client, stream, STR("x")), -EPIPE);
        assert_string_equal(heard.text, "hello:0 writable:2 ");

        assert_int_equal(
                say(&heard, (struct initproto_frame){ .type = INITPROTO_STARTED, .stream = 2 }), 0);
        struct initproto_frame output = { .type = INITPROTO_OUTPUT,
                                          .stream = 2,
                                          .data = { much, INITPROTO_DATA } };
        for (int i = 0; i < INITPROTO_WINDOW / INITPROTO_DATA; i++)
                assert_int_equal(say(&heard, output), 0);
        buffer_clear(initproto_client_output(heard.client));
        assert_int_equal(initproto_client_consumed(heard.client, stream, INITPROTO_CHANNEL_OUTPUT,
                                                   INITPROTO_DATA),
                         0);
        assert_int_equal(initproto_client_output(heard.client)->length, 0);
        assert_int_equal(initproto_client_consumed(heard.client, stream, INITPROTO_CHANNEL_OUTPUT,
                                                   INITPROTO_DATA),
                         0);
        assert_true(initproto_client_output(heard.client)->length > 0);
        for (int i = 0; i < 3 && r == 0; i++)
                r = say(&heard, output);
        assert_int_equal(r, -EPROTO);
        initproto_client_free(heard.client);
}

static void main_process_may_be_found_running(void **state)
{
        struct heard heard;
        struct initproto_frame hello = hello_frame();

        (void)state;
        client_setup(&heard);
        hello.hello.state = INITPROTO_RUNNING;
        assert_int_equal(say(&heard, hello), 0);
        assert_int_equal(initproto_client_start(heard.client, &true_process), -EALREADY);
        assert_int_equal(
                say(&heard, (struct initproto_frame){ .type = INITPROTO_LOG, .log_end = 64 }), 0);
        assert_int_equal(say(&heard, (struct initproto_frame){ .type = INITPROTO_EXITED,
                                                               .stream = 1,
                                                               .exited = { .code = 1 } }),
                         0);
        assert_string_equal(heard.text, "hello:1 log:64 exited:1:1 ");
        initproto_client_free(heard.client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_survive_the_way),
                cmocka_unit_test(strings_of_a_process_are_found),
                cmocka_unit_test(nonsense_is_refused),
                cmocka_unit_test(client_runs_a_command),
                cmocka_unit_test(client_refuses_lies),
                cmocka_unit_test(windows_bound_both_ways),
                cmocka_unit_test(main_process_may_be_found_running),
        };
        return run_unit_tests("initproto", tests);
}
