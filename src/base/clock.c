// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <errno.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
        struct timespec now;

        clock_gettime(id, &now);
        return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_realtime_ns(void)
{
        return read_clock(CLOCK_REALTIME);
}

/*
 * The calendar (Gregorian, from 1970 on) without gmtime_r() and timegm(), which look for the local
 * time zone's file first. Years begin in March here, so that leap days are at their end; month m of
 * these begins on day (153 m + 2) / 5, and day 0 is 0000-03-01.
 */
enum {
        SECONDS_A_DAY = 24 * 60 * 60,
        DAYS_TO_1970 = 719468,
        DAYS_IN_400_YEARS = 146097,
};

static uint64_t days_before_year(uint64_t year)
{
        return year * 365 + year / 4 - year / 100 + year / 400;
}

/* Days since 1970-01-01. */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
        uint64_t from_march = (month + 9) % 12;

        return days_before_year(month <= 2 ? year - 1 : year) + (153 * from_march + 2) / 5 + day -
               1 - DAYS_TO_1970;
}

static void date_of(uint64_t days, uint64_t *ret_year, uint64_t *ret_month, uint64_t *ret_day)
{
        days += DAYS_TO_1970;
        uint64_t year = days * 400 / DAYS_IN_400_YEARS - 1; /* or one or two later */
        while (days_before_year(year + 1) <= days)
                year++;
        uint64_t day = days - days_before_year(year), from_march = (5 * day + 2) / 153;

        *ret_day = day - (153 * from_march + 2) / 5 + 1;
        *ret_month = from_march < 10 ? from_march + 3 : from_march - 9;
        *ret_year = from_march < 10 ? year : year + 1;
}

static char *put_number(char *at, uint64_t value, size_t digits, char after)
{
        for (size_t i = digits; i > 0; i--, value /= 10)
                at[i - 1] = (char)('0' + value % 10);
        at[digits] = after;
        return at + digits + 1;
}

/* Writes "2026-11-21T10:00:00" with `after` behind it; returns where it ends. */
static char *put_calendar(char *at, uint64_t realtime_ns, char after)
{
        uint64_t seconds = realtime_ns / NS_PER_SECOND, year, month, day;

        date_of(seconds / SECONDS_A_DAY, &year, &month, &day);
        at = put_number(at, year, 4, '-');
        at = put_number(at, month, 2, '-');
        at = put_number(at, day, 2, 'T');
        at = put_number(at, seconds / 3600 % 24, 2, ':');
        at = put_number(at, seconds / 60 % 60, 2, ':');
        return put_number(at, seconds % 60, 2, after);
}

void rfc3339_format_seconds(uint64_t realtime_ns, char text[static RFC3339_SECONDS_SIZE])
{
        *put_calendar(text, realtime_ns, 'Z') = '\0';
}

void rfc3339_format_micro(uint64_t realtime_ns, char text[static RFC3339_MICRO_SIZE])
{
        char *at = put_calendar(text, realtime_ns, '.');

        *put_number(at, realtime_ns % NS_PER_SECOND / 1000, 6, 'Z') = '\0';
}

void rfc3339_format_nano(uint64_t realtime_ns, char text[static RFC3339_NANO_SIZE])
{
        char *at = put_calendar(text, realtime_ns, '.');

        *put_number(at, realtime_ns % NS_PER_SECOND, 9, 'Z') = '\0';
}

/* Takes exactly `digits` digits and, unless it is NUL, the character `after` from *text. */
static int take_number(struct str *text, size_t digits, char after, uint64_t *ret_value)
{
        size_t needed = digits + (after ? 1 : 0);

        if (text->length < needed || (after && text->data[digits] != after))
                return -EINVAL;
        int r = str_to_u64(str_slice(*text, 0, digits), UINT64_MAX, ret_value);
        if (r < 0)
                return r;
        *text = str_slice(*text, needed, text->length);
        return 0;
}

static int take_fraction(struct str *text, uint64_t *ret_ns)
{
        uint64_t ns = 0;
        size_t digits = 0;

        *ret_ns = 0;
        if (text->length == 0 || text->data[0] != '.')
                return 0;
        *text = str_slice(*text, 1, text->length);
        while (digits < text->length && text->data[digits] >= '0' && text->data[digits] <= '9') {
                ns = ns * 10 + (uint64_t)(text->data[digits] - '0');
                digits++;
                if (digits > 9)
                        return -EINVAL;
        }
        if (digits == 0)
                return -EINVAL;
        *text = str_slice(*text, digits, text->length);
        for (; digits < 9; digits++)
                ns *= 10;
        *ret_ns = ns;
        return 0;
}

/* "Z" or "+hh:mm" to the end of the text; seconds east of UTC. */
static int take_offset(struct str text, int64_t *ret_seconds)
{
        uint64_t hours, minutes;

        if (text.length == 1 && (text.data[0] == 'Z' || text.data[0] == 'z')) {
                *ret_seconds = 0;
                return 0;
        }
        if (text.length != 6 || (text.data[0] != '+' && text.data[0] != '-'))
                return -EINVAL;
        bool west = text.data[0] == '-';
        text = str_slice(text, 1, text.length);
        if (take_number(&text, 2, ':', &hours) < 0 || take_number(&text, 2, '\0', &minutes) < 0 ||
            hours > 23 || minutes > 59)
                return -EINVAL;
        int64_t seconds = (int64_t)(hours * 3600 + minutes * 60);
        *ret_seconds = west ? -seconds : seconds;
        return 0;
}

int rfc3339_parse(struct str text, uint64_t *ret_realtime_ns)
{
        static const unsigned char month_days[] = {
                31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
        };
        uint64_t year, month, day, hour, minute, second, fraction;
        int64_t offset;

        if (take_number(&text, 4, '-', &year) < 0 || take_number(&text, 2, '-', &month) < 0 ||
            take_number(&text, 2, '\0', &day) < 0)
                return -EINVAL;
        if (text.length == 0 || (text.data[0] != 'T' && text.data[0] != 't'))
                return -EINVAL;
        text = str_slice(text, 1, text.length);
        if (take_number(&text, 2, ':', &hour) < 0 || take_number(&text, 2, ':', &minute) < 0 ||
            take_number(&text, 2, '\0', &second) < 0 || take_fraction(&text, &fraction) < 0 ||
            take_offset(text, &offset) < 0)
                return -EINVAL;
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] ||
            (month == 2 && day == 29 && !leap) || hour > 23 || minute > 59 || second > 59)
                return -EINVAL;
        if (year < 1970 || year > 2261)
                return -ERANGE;

        int64_t seconds = (int64_t)(days_of(year, month, day) * SECONDS_A_DAY + hour * 3600 +
                                    minute * 60 + second) -
                          offset;
        if (seconds < 0)
                return -ERANGE;
        *ret_realtime_ns = (uint64_t)seconds * NS_PER_SECOND + fraction;
        return 0;
}
