// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/test.h"
#include "sandboxd/words.h"

/* Expected words as Python 3.11's shlex.split() gave them. */
static const struct {
        const char *line;
        const char *words[6];
} good[] = {
        { "", {} },
        { " \t\r\n ", {} },
        { "a", { "a" } },
        { "  a  b\tc\nd ", { "a", "b", "c", "d" } },
        { "python3 -c 'print(\"Hello from SDK!\")'",
          { "python3", "-c", "print(\"Hello from SDK!\")" } },
        { "''", { "" } },
        { "\"\" a ''", { "", "a", "" } },
        { "a''b", { "ab" } },
        { "a'b c'\"d e\"f", { "ab cd ef" } },
        { "'a\\b'", { "a\\b" } },
        { "\"a\\b\\\\c\\\"d\\$e\"", { "a\\b\\c\"d\\$e" } },
        { "\"'\" '\"'", { "'", "\"" } },
        { "a\\ b \\'c \\\\", { "a b", "'c", "\\" } },
        { "a\\\nb", { "a\nb" } },
        { "a #b ; c|d $e", { "a", "#b", ";", "c|d", "$e" } },
        { "\xc3\xa9 '\xe2\x82\xac'", { "\xc3\xa9", "\xe2\x82\xac" } },
};

static const struct {
        struct str line;
        const char *problem;
} bad[] = {
        { { "a 'b", 4 }, "No closing quotation" },      { { "a \"b", 4 }, "No closing quotation" },
        { { "a \"b\\\"", 6 }, "No closing quotation" }, { { "a \\", 3 }, "No escaped character" },
        { { "\"a\\", 3 }, "No escaped character" },     { { "a\0b", 3 }, "embedded null byte" },
        { { "'a\\'b'", 6 }, "No closing quotation" },
};

static void lines_split_as_in_python(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                _cleanup_arena_ struct arena arena = {};
                const char *problem = NULL;
                size_t count, expected = 0;
                char **words;

                while (good[i].words[expected])
                        expected++;
                assert_int_equal(
                        words_split(&arena, str_from(good[i].line), &words, &count, &problem), 0);
                assert_int_equal(count, expected);
                for (size_t k = 0; k < count; k++)
                        assert_string_equal(words[k], good[i].words[k]);
                assert_null(words[count]);
        }
}

static void broken_lines_say_what_is_wrong(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_arena_ struct arena arena = {};
                const char *problem = NULL;
                size_t count = 77;
                char **words = NULL;

                assert_int_equal(words_split(&arena, bad[i].line, &words, &count, &problem),
                                 -EINVAL);
                assert_string_equal(problem, bad[i].problem);
                assert_int_equal(count, 77);
                assert_null(words);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_split_as_in_python),
                cmocka_unit_test(broken_lines_say_what_is_wrong),
        };
        return run_unit_tests("words", tests);
}
