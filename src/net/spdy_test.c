// SPDX-License-Identifier: Apache-2.0
#include "net/spdy.h"

#include <errno.h>
#include <stdio.h>

#include "base/test.h"

/* What happened, as one line each. */
struct log {
        struct buffer text;
};

static void on_open(void *user, uint32_t stream, const struct http_headers *headers, bool fin)
{
        struct log *log = user;

        buffer_printf(&log->text, "open %u%s", stream, fin ? " fin" : "");
        struct str type = http_headers_get(headers, STR("streamtype"));
        struct str port = http_headers_get(headers, STR("port"));
        buffer_printf(&log->text, " %.*s %.*s\n", STR_FORMAT(type), STR_FORMAT(port));
}

static void on_data(void *user, uint32_t stream, struct str data, bool fin)
{
        struct log *log = user;

        buffer_printf(&log->text, "data %u '%.*s'%s\n", stream, STR_FORMAT(data),
                      fin ? " fin" : "");
}

static void on_reset(void *user, uint32_t stream, uint32_t status)
{
        struct log *log = user;

        buffer_printf(&log->text, "reset %u %u\n", stream, status);
}

static void on_go_away(void *user)
{
        struct log *log = user;

        buffer_printf(&log->text, "go away\n");
}

static const struct spdy_events events = { on_open, on_data, on_reset, on_go_away };

static void unhex(const char *hex, struct buffer *out)
{
        for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2)
                assert_int_equal(buffer_append_char(out, (char)byte), 0);
}

/* As client-go's library writes them: two streams, a ping, data, an end, a reset, a farewell. */
static const char client_bytes[] =
        "800300010100003e0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625ac"
        "a9a0808614cb45e01c60616061c0c0c0c0590489c64c50f2663400000000ffff800300010000"
        "001c00000003000000000000826ac61445350e543225a29b06000000ffff8003000600000004"
        "00000001000000030000000568656c6c6f000000030100000080030003000000080000000300"
        "00000580030007000000080000000000000000";

static void a_clients_frames_are_understood(void **state)
{
        static const char expected[] = "open 1 fin error 8080\n"
                                       "open 3 data 8080\n"
                                       "data 3 'hello'\n"
                                       "data 3 '' fin\n"
                                       "reset 3 5\n"
                                       "go away\n";
        _cleanup_buffer_ struct buffer input = {};

        (void)state;
        unhex(client_bytes, &input);
        for (size_t step = 1; step < 40; step += 3) { /* however it is cut */
                _cleanup_buffer_ struct buffer out = {};
                _cleanup_(spdy_freep) struct spdy *spdy = NULL;
                struct log log = {};
                assert_int_equal(spdy_new(&events, &log, &out, &spdy), 0);
                for (size_t at = 0; at < input.length; at += step)
                        assert_int_equal(spdy_feed(spdy, str_slice(buffer_str(&input), at,
                                                                   MIN(at + step, input.length))),
                                         0);
                if (step > 5) /* data comes in pieces when it was cut */
                        assert_true(
                                str_starts_with(buffer_str(&log.text),
                                                STR("open 1 fin error 8080\nopen 3 data 8080")));
                if (step == 22)
                        assert_true(str_equal(buffer_str(&log.text), str_from(expected)));
                /* The ping comes back as it was. */
                assert_int_equal(out.length, 12);
                assert_memory_equal(out.data, "\x80\x03\0\x06\0\0\0\x04\0\0\0\x01", 12);
                buffer_deinit(&log.text);
        }
}

static void broken_frames_end_the_connection(void **state)
{
        static const struct {
                const char *hex;
                int r;
        } cases[] = {
                { "80020001000000000000", -EBADMSG },     /* version 2 */
                { "800300630000000000", -EBADMSG },       /* an unknown type */
                { "8003000101ffffff00", -E2BIG },         /* too long for a control frame */
                { "800300030000000400000001", -EBADMSG }, /* a short reset */
                { "8003000600000002000000", -EBADMSG },   /* a short ping */
                { "80030001000000020000", -EBADMSG },     /* no room for a stream's id */
                { "800300010000000a00000002000000000000", -EBADMSG },         /* an even stream */
                { "800300010000000e00000001000000000000deadbeef", -EBADMSG }, /* no zlib */
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buffer_ struct buffer out = {}, input = {};
                _cleanup_(spdy_freep) struct spdy *spdy = NULL;
                struct log log = {};
                unhex(cases[i].hex, &input);
                assert_int_equal(spdy_new(&events, &log, &out, &spdy), 0);
                int r = spdy_feed(spdy, buffer_str(&input));
                if (r != cases[i].r)
                        fail_msg("case %zu: %d", i, r);
                assert_int_equal(spdy_feed(spdy, STR("x")), cases[i].r);
                buffer_deinit(&log.text);
        }
}

static void data_is_cut_into_frames(void **state)
{
        _cleanup_buffer_ struct buffer out = {}, data = {};
        _cleanup_(spdy_freep) struct spdy *spdy = NULL;
        struct log log = {};

        (void)state;
        assert_int_equal(buffer_reserve(&data, 70000), 0);
        memset(data.data, 'x', 70000);
        data.length = 70000;
        assert_int_equal(spdy_new(&events, &log, &out, &spdy), 0);
        assert_int_equal(spdy_send(spdy, 3, buffer_str(&data), true), 0);
        assert_int_equal(out.length, 70000 + 3 * 8);
        /* Only the last frame ends the stream. */
        assert_int_equal(out.data[4], 0);
        assert_int_equal(out.data[2 * (8 + SPDY_DATA_PIECE_MAX) + 4], 1);
        out.length = 0;
        assert_int_equal(spdy_send(spdy, 3, STR_EMPTY, false), 0);
        assert_int_equal(out.length, 0);
        assert_int_equal(spdy_send(spdy, 3, STR_EMPTY, true), 0);
        assert_int_equal(out.length, 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_clients_frames_are_understood),
                cmocka_unit_test(broken_frames_end_the_connection),
                cmocka_unit_test(data_is_cut_into_frames),
        };

        return run_unit_tests("spdy", tests);
}
