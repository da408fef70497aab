// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/buffer.h"
#include "base/test.h"
#include "sandboxd/multipart.h"

/* Runs the parser over `body` in pieces of `step`, writing what it reports as text. */
static int run(const char *type, struct str body, size_t step, struct buffer *out)
{
        struct multipart multipart;
        int r = multipart_init(&multipart, str_from(type));

        if (r < 0)
                return r;
        for (size_t at = 0; at < body.length; at += step) {
                struct str input = str_slice(body, at, MIN(at + step, body.length)), data;

                while ((r = multipart_next(&multipart, &input, &data)) > 0) {
                        if (r == MULTIPART_PART_BEGINS && multipart.has_filename)
                                buffer_printf(out, "{%.*s|%.*s:", STR_FORMAT(multipart.name),
                                              STR_FORMAT(multipart.filename));
                        else if (r == MULTIPART_PART_BEGINS)
                                buffer_printf(out, "{%.*s:", STR_FORMAT(multipart.name));
                        else if (r == MULTIPART_DATA)
                                buffer_append_str(out, data);
                        else
                                buffer_append_char(out, r == MULTIPART_PART_ENDS ? '}' : '.');
                }
                if (r < 0)
                        return r;
                assert_int_equal(input.length, 0);
        }
        return 0;
}

#define FORM        "multipart/form-data; boundary=XX"
#define DISPOSITION "Content-Disposition: form-data; name=\"file\""

static const struct {
        const char *type, *body, *expected;
        int result;
} cases[] = {
        { FORM, "--XX\r\n" DISPOSITION "; filename=\"a/b.txt\"\r\n\r\nhello\r\n--XX--\r\n",
          "{file|a/b.txt:hello}." },
        { FORM, "preamble\r\n--XX\r\n" DISPOSITION "\r\n\r\na\r\n--XX--\r\nepilogue\r\n--XX\r\n",
          "{file:a}." },
        { FORM, "--XX\r\n" DISPOSITION "\r\n\r\n\r\n--XX--", "{file:}." },
        { FORM, "--XX\r\n" DISPOSITION "\r\n\r\n--XX--", "{file:}." },
        { FORM, "--XX\r\n" DISPOSITION "\r\n\r\n--Xa\r\n--XX--", "{file:--Xa}." },
        { FORM, "--XX\r\n\r\nno headers\r\n--XX--", "{:no headers}." },
        { FORM,
          "--XX \t\r\n" DISPOSITION "\r\nContent-Type: text/plain\r\n\r\n\r\r\n--X\r\n-XX\r\n\r\n"
          "--XX\r\ncontent-DISPOSITION:form-data;name=b\r\n\r\n2\r\n--XX--",
          "{file:\r\r\n--X\r\n-XX\r\n}{b:2}." },
        { FORM, "--XX\r\n" DISPOSITION "; filename=\"a\\\"b\\\\c\\d%22\"\r\n\r\n\r\n--XX--",
          "{file|a\"b\\c\\d%22:}." },
        { FORM,
          "--XX\r\n" DISPOSITION "; filename*=utf-8''%e2%82%ac%20x; filename=no\r\n\r\n\r\n--XX--",
          "{file|\xe2\x82\xac x:}." },
        { FORM, "--XX\r\n" DISPOSITION "; filename=\"\"\r\n\r\n\r\n--XX--", "{file|:}." },
        { "Multipart/Form-Data ; x=\"a;b\" ; Boundary=\"X X\"",
          "--X X\r\n" DISPOSITION "\r\n\r\n1\r\n--X X--", "{file:1}." },
        { FORM, "--XX\r\n" DISPOSITION "\r\n\r\ncut off", "{file:cut off" },
        { FORM, "", "" },
        { FORM, "--XXY\r\n", "", -EBADMSG },
        { FORM, "--XX-\r\n", "", -EBADMSG },
        { FORM, "--XX\rx", "", -EBADMSG },
        { FORM, "--XX\r\nno colon\r\n\r\n", "", -EBADMSG },
        { FORM, "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n", "", -EBADMSG },
        { FORM, "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n", "", -EBADMSG },
        { FORM, "--XX\r\nContent-Disposition: form-data name=a\r\n\r\n", "", -EBADMSG },
        { FORM, "--XX\r\nContent-Disposition: form-data; filename*=utf-8''%e\r\n\r\n", "",
          -EBADMSG },
        { FORM, "--XX\r\nContent-Disposition: form-data; filename*=x\r\n\r\n", "", -EBADMSG },
        { FORM, "--XX\r\na: b\rc\r\n\r\n", "", -EBADMSG },
        { "multipart/form-data", "", "", -EINVAL },
        { "multipart/form-data; boundary=", "", "", -EINVAL },
        { "multipart/form-data; boundary=\"a", "", "", -EINVAL },
        { "multipart/form-data; boundary=\"a\rb\"", "", "", -EINVAL },
        { "multipart/mixed; boundary=XX", "", "", -EINVAL },
        { "", "", "", -EINVAL },
};

static void bodies_in_pieces_of_every_size(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                for (size_t step = 1; step <= strlen(cases[i].body) + 1; step++) {
                        _cleanup_buffer_ struct buffer out = {};

                        assert_int_equal(run(cases[i].type, str_from(cases[i].body), step, &out),
                                         cases[i].result);
                        if (!str_equal(buffer_str(&out), str_from(cases[i].expected)))
                                fail_msg("case %zu in steps of %zu gave %.*s", i, step,
                                         (int)out.length, out.data);
                }
}

static void headers_are_limited(void **state)
{
        _cleanup_buffer_ struct buffer body = {}, out = {};

        (void)state;
        assert_int_equal(buffer_append_str(&body, STR("--XX\r\nx: ")), 0);
        while (body.length < 2 * LIMIT_PART_HEADERS)
                assert_int_equal(buffer_append_char(&body, 'x'), 0);
        assert_int_equal(run(FORM, buffer_str(&body), 1000, &out), -E2BIG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bodies_in_pieces_of_every_size),
                cmocka_unit_test(headers_are_limited),
        };
        return run_unit_tests("multipart", tests);
}
