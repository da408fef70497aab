// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/process_messages.h"

#include <errno.h>

#include "base/limit.h"
#include "base/protowire.h"
#include "base/test.h"

static void requests_are_read(void **state)
{
        /* What gRPC's Python sends for {config {command: "a" command: "" env_vars {B: "c"}
         * cwd: "d"} pty {cols: 80 rows: 300}}. */
        static const char bytes[] = "\x0a\x10\x0a\x01"
                                    "a\x0a\x00\x12\x06\x0a\x01"
                                    "B\x12\x01"
                                    "c\x1a\x01"
                                    "d\x12\x05\x08\x50\x10\xac\x02";
        _cleanup_arena_ struct arena arena = { 0 };
        struct start_request request;

        (void)state;
        assert_int_equal(
                start_request_read(&arena, (struct str){ bytes, sizeof(bytes) - 1 }, &request), 0);
        assert_int_equal(request.config.command_count, 2);
        assert_string_equal(request.config.command[0], "a");
        assert_string_equal(request.config.command[1], "");
        assert_null(request.config.command[2]);
        assert_int_equal(request.config.variable_count, 1);
        assert_string_equal(request.config.variables[0], "B=c");
        assert_null(request.config.variables[1]);
        assert_string_equal(request.config.cwd, "d");
        assert_true(request.has_terminal);
        assert_int_equal(request.cols, 80);
        assert_int_equal(request.rows, 300);

        assert_int_equal(start_request_read(&arena, STR_EMPTY, &request), 0);
        assert_int_equal(request.config.command_count, 0);
        assert_null(request.config.cwd);
        assert_false(request.has_terminal);
}

static void what_no_process_can_have_is_refused(void **state)
{
        const struct {
                struct str message;
                int result;
        } cases[] = {
                { STR("\x0a\x03\x0a\x01\x00"), -EINVAL },         /* a NUL in a word */
                { STR("\x0a\x03\x1a\x01\x00"), -EINVAL },         /* in cwd */
                { STR("\x0a\x05\x12\x03\x0a\x01="), -EINVAL },    /* "=" in a name */
                { STR("\x0a\x05\x12\x03\x0a\x01\x00"), -EINVAL }, /* a NUL there */
                { STR("\x0a\x08\x12\x06\x0a\x01"
                      "A\x12\x01\x00"),
                  -EINVAL },                          /* in a value */
                { STR("\x0a\x02\x12\x00"), -EINVAL }, /* no name */
                { STR("\x0a\x03\x0a\x02"
                      "a"),
                  -EBADMSG },                                  /* cut inside */
                { STR("\x0a\x04\x12\x02\x0a\x01"), -EBADMSG }, /* inside an entry */
                { STR("\x12\x01\x08"), -EBADMSG },             /* inside a PTY */
                { STR("\x0a"), -EBADMSG },
        };
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_buffer_ struct buffer many = { 0 };
        struct protowire_writer writer = { .out = &many };
        struct start_request request;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_int_equal(start_request_read(&arena, cases[i].message, &request),
                                 cases[i].result);
        size_t begun = protowire_begin(&writer, 1);
        for (unsigned i = 0; i < LIMIT_PROCESS_WORDS; i++)
                protowire_write_bytes(&writer, 1, STR_EMPTY);
        protowire_end(&writer, begun);
        assert_int_equal(start_request_read(&arena, buffer_str(&many), &request), 0);
        assert_int_equal(request.config.command_count, LIMIT_PROCESS_WORDS);
        begun = protowire_begin(&writer, 1);
        protowire_write_bytes(&writer, 1, STR_EMPTY);
        protowire_end(&writer, begun);
        assert_int_equal(start_request_read(&arena, buffer_str(&many), &request), -E2BIG);
}

static void the_last_of_one_name_counts(void **state)
{
        static const char *const pairs[][2] = { { "B", "1" }, { "A", "1" }, { "AB", "1" },
                                                { "A", "" },  { "B", "2" }, { "A", "=3" } };
        _cleanup_arena_ struct arena arena = { 0 };
        _cleanup_buffer_ struct buffer message = { 0 };
        struct protowire_writer writer = { .out = &message };
        struct start_request request;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                /* Each in a config of its own: they are one message in pieces. */
                size_t config = protowire_begin(&writer, 1), entry = protowire_begin(&writer, 2);

                protowire_write_bytes(&writer, 1, str_from(pairs[i][0]));
                protowire_write_bytes(&writer, 2, str_from(pairs[i][1]));
                protowire_end(&writer, entry);
                protowire_end(&writer, config);
        }
        assert_int_equal(start_request_read(&arena, buffer_str(&message), &request), 0);
        assert_int_equal(request.config.variable_count, 3);
        assert_string_equal(request.config.variables[0], "A==3");
        assert_string_equal(request.config.variables[1], "AB=1");
        assert_string_equal(request.config.variables[2], "B=2");
}

static void what_is_done_to_processes_is_read(void **state)
{
        struct process_request request;

        (void)state;
        assert_int_equal(
                process_request_read(WRITE_STDIN_REQUEST, STR("\x08\x07\x12\x02hi"), &request), 0);
        assert_int_equal(request.process_id, 7);
        assert_true(str_equal(request.input, STR("hi")) && !request.eof);
        /* Of a oneof the last counts. */
        assert_int_equal(
                process_request_read(WRITE_STDIN_REQUEST, STR("\x12\x02hi\x1a\x00"), &request), 0);
        assert_true(request.eof && request.input.length == 0);
        assert_int_equal(
                process_request_read(WRITE_STDIN_REQUEST, STR("\x1a\x00\x12\x02hi"), &request), 0);
        assert_true(!request.eof && request.input.length == 2);
        assert_int_equal(
                process_request_read(SEND_SIGNAL_REQUEST,
                                     STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x0f"),
                                     &request),
                0);
        assert_int_equal(request.process_id, -1);
        assert_int_equal(request.signal, 15);
        assert_int_equal(
                process_request_read(RESIZE_TTY_REQUEST, STR("\x10\x50\x18\x18"), &request), 0);
        assert_true(request.cols == 80 && request.rows == 24);
        assert_int_equal(process_request_read(RESIZE_TTY_REQUEST, STR("\x10"), &request), -EBADMSG);
}

static void expect(struct buffer *written, struct str expected)
{
        assert_true(str_equal(buffer_str(written), expected));
        buffer_clear(written);
}

static void answers_are_written(void **state)
{
        _cleanup_buffer_ struct buffer out = { 0 };

        (void)state;
        assert_int_equal(execute_response_write(&out, 0, STR_EMPTY, STR_EMPTY), 0);
        expect(&out, STR_EMPTY);
        assert_int_equal(execute_response_write(&out, -1, STR("o"), STR("e")), 0);
        expect(&out, STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x01o\x1a\x01"
                         "e"));
        assert_int_equal(start_init_write(&out, 300), 0);
        expect(&out, STR("\x0a\x03\x08\xac\x02"));
        assert_int_equal(start_output_write(&out, START_STDERR, STR("x")), 0);
        expect(&out, STR("\x1a\x01x"));
        assert_int_equal(start_exit_write(&out, 0), 0);
        expect(&out, STR("\x22\x00"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_are_read),
                cmocka_unit_test(what_no_process_can_have_is_refused),
                cmocka_unit_test(the_last_of_one_name_counts),
                cmocka_unit_test(what_is_done_to_processes_is_read),
                cmocka_unit_test(answers_are_written),
        };

        return run_unit_tests("process_messages", tests);
}
