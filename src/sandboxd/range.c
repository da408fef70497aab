// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/range.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum range_kind suffix(struct str digits, uint64_t size, uint64_t *ret_start,
                              uint64_t *ret_length)
{
        uint64_t length;
        int r = str_to_u64(digits, UINT64_MAX, &length);

        if (r == -EINVAL)
                return RANGE_WHOLE;
        if (r == -ERANGE || length > size)
                length = size;
        if (length == 0)
                return RANGE_UNSATISFIABLE;
        *ret_start = size - length;
        *ret_length = length;
        return RANGE_PART;
}

enum range_kind range_parse(struct str header, uint64_t size, uint64_t *ret_start,
                            uint64_t *ret_length)
{
        struct str unit, ranges, first, last;
        uint64_t start, end = UINT64_MAX;
        int r;

        if (!str_cut(header, '=', &unit, &ranges) ||
            !str_equal_ignoring_case(str_trim(unit), STR("bytes")))
                return RANGE_WHOLE;
        if (!str_cut(str_trim(ranges), '-', &first, &last))
                return RANGE_WHOLE;
        if (first.length == 0)
                return suffix(last, size, ret_start, ret_length);

        r = str_to_u64(first, UINT64_MAX, &start);
        if (r == -EINVAL)
                return RANGE_WHOLE;
        if (last.length > 0) {
                int q = str_to_u64(last, UINT64_MAX, &end);
                if (q == -EINVAL || (q == 0 && r == 0 && end < start))
                        return RANGE_WHOLE;
                if (q == -ERANGE)
                        end = UINT64_MAX;
        }
        if (r == -ERANGE || start >= size)
                return RANGE_UNSATISFIABLE;
        *ret_start = start;
        *ret_length = (end >= size ? size - 1 : end) - start + 1;
        return RANGE_PART;
}

static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

enum { DATE_SIZE = sizeof("Sun, 06 Nov 1994 08:49:37 GMT") };

static void format_date(int64_t seconds, char text[static DATE_SIZE])
{
        /* Four digits are all that the form has room for. */
        time_t when = MIN(MAX(seconds, 0), INT64_C(253402300799));
        struct tm tm = {};

        gmtime_r(&when, &tm);
        snprintf(text, DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
                 (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
                 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

static int two_digits(const char *text)
{
        if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
                return -1;
        return (text[0] - '0') * 10 + text[1] - '0';
}

int http_date_parse(struct str text, int64_t *ret_seconds)
{
        char copy[DATE_SIZE];
        struct tm tm = {};
        int century, year;

        if (text.length != DATE_SIZE - 1)
                return -EINVAL;
        memcpy(copy, text.data, text.length);
        tm.tm_mday = two_digits(copy + 5);
        century = two_digits(copy + 12);
        year = two_digits(copy + 14);
        tm.tm_hour = two_digits(copy + 17);
        tm.tm_min = two_digits(copy + 20);
        tm.tm_sec = two_digits(copy + 23);
        tm.tm_mon = -1;
        for (int month = 0; month < 12; month++)
                if (memcmp(copy + 8, months[month], 3) == 0)
                        tm.tm_mon = month;
        if (tm.tm_mday < 1 || tm.tm_mon < 0 || century < 0 || year < 0 || tm.tm_hour < 0 ||
            tm.tm_min < 0 || tm.tm_sec < 0)
                return -EINVAL;
        tm.tm_year = century * 100 + year - 1900;

        /* Writing it again proves the separators, the day of the week and every range. */
        int64_t seconds = timegm(&tm);
        format_date(seconds, copy);
        if (seconds < 0 || memcmp(copy, text.data, text.length) != 0)
                return -EINVAL;
        *ret_seconds = seconds;
        return 0;
}
