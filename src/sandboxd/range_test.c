// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/test.h"
#include "sandboxd/range.h"

static const struct {
        const char *header;
        uint64_t size;
        enum range_kind kind;
        uint64_t start, length;
} cases[] = {
        { "bytes=0-3", 10, RANGE_PART, 0, 4 },
        { "bytes=3-", 10, RANGE_PART, 3, 7 },
        { "bytes=-3", 10, RANGE_PART, 7, 3 },
        { "bytes=-30", 10, RANGE_PART, 0, 10 },
        { "bytes=9-9", 10, RANGE_PART, 9, 1 },
        { "bytes=9-100", 10, RANGE_PART, 9, 1 },
        { "bytes=0-9", 10, RANGE_PART, 0, 10 },
        { "bytes=0-10", 10, RANGE_PART, 0, 10 },
        { "Bytes = 1-2", 10, RANGE_PART, 1, 2 },
        { "bytes=0-99999999999999999999", 10, RANGE_PART, 0, 10 },
        { "bytes=-99999999999999999999", 10, RANGE_PART, 0, 10 },
        { "bytes=0-18446744073709551615", 10, RANGE_PART, 0, 10 },
        { "bytes=10-", 10, RANGE_UNSATISFIABLE },
        { "bytes=99999999999999999999-", 10, RANGE_UNSATISFIABLE },
        { "bytes=-0", 10, RANGE_UNSATISFIABLE },
        { "bytes=0-0", 0, RANGE_UNSATISFIABLE },
        { "bytes=-1", 0, RANGE_UNSATISFIABLE },
        { "bytes=3-2", 10, RANGE_WHOLE },
        { "bytes=", 10, RANGE_WHOLE },
        { "bytes", 10, RANGE_WHOLE },
        { "bytes=-", 10, RANGE_WHOLE },
        { "bytes=a-b", 10, RANGE_WHOLE },
        { "bytes=1-b", 10, RANGE_WHOLE },
        { "bytes=0-1,3-4", 10, RANGE_WHOLE },
        { "lines=0-1", 10, RANGE_WHOLE },
};

static void ranges(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint64_t start = 99, length = 99;

                assert_int_equal(
                        range_parse(str_from(cases[i].header), cases[i].size, &start, &length),
                        cases[i].kind);
                if (cases[i].kind == RANGE_PART) {
                        assert_int_equal(start, cases[i].start);
                        assert_int_equal(length, cases[i].length);
                } else {
                        assert_int_equal(start, 99);
                        assert_int_equal(length, 99);
                }
        }
}

static void dates_are_read_strictly(void **state)
{
        int64_t seconds = 7;

        (void)state;
        assert_int_equal(http_date_parse(STR("Sun, 06 Nov 1994 08:49:37 GMT"), &seconds), 0);
        assert_int_equal(seconds, 784111777);
        assert_int_equal(http_date_parse(STR("Thu, 01 Jan 1970 00:00:00 GMT"), &seconds), 0);
        assert_int_equal(seconds, 0);

        const char *const wrong[] = {
                "",
                "Sunday, 06-Nov-94 08:49:37 GMT",
                "Sun Nov  6 08:49:37 1994",
                "Mon, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08:49:37 UTC",
                "Sun, 06 Nov 1994 24:49:37 GMT",
                "Sun, 36 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nox 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08-49:37 GMT",
        };
        seconds = 7;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(http_date_parse(str_from(wrong[i]), &seconds), -EINVAL);
        assert_int_equal(seconds, 7);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ranges),
                cmocka_unit_test(dates_are_read_strictly),
        };
        return run_unit_tests("range", tests);
}
