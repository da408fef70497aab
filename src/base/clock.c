// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
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

/* Writes "2026-11-21T10:00:00" and returns its length. */
static size_t format_calendar(uint64_t realtime_ns, char *text, size_t size)
{
        time_t seconds = (time_t)(realtime_ns / NS_PER_SECOND);
        struct tm parts;

        gmtime_r(&seconds, &parts);
        return strftime(text, size, "%Y-%m-%dT%H:%M:%S", &parts);
}

void rfc3339_format_seconds(uint64_t realtime_ns, char text[static RFC3339_SECONDS_SIZE])
{
        size_t used = format_calendar(realtime_ns, text, RFC3339_SECONDS_SIZE);

        snprintf(text + used, RFC3339_SECONDS_SIZE - used, "Z");
}

void rfc3339_format_micro(uint64_t realtime_ns, char text[static RFC3339_MICRO_SIZE])
{
        size_t used = format_calendar(realtime_ns, text, RFC3339_MICRO_SIZE);

        snprintf(text + used, RFC3339_MICRO_SIZE - used, ".%06uZ",
                 (unsigned)(realtime_ns % NS_PER_SECOND / 1000));
}

void rfc3339_format_nano(uint64_t realtime_ns, char text[static RFC3339_NANO_SIZE])
{
        size_t used = format_calendar(realtime_ns, text, RFC3339_NANO_SIZE);

        snprintf(text + used, RFC3339_NANO_SIZE - used, ".%09uZ",
                 (unsigned)(realtime_ns % NS_PER_SECOND));
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

        struct tm parts = {
                .tm_year = (int)year - 1900,
                .tm_mon = (int)month - 1,
                .tm_mday = (int)day,
                .tm_hour = (int)hour,
                .tm_min = (int)minute,
                .tm_sec = (int)second,
        };
        int64_t seconds = (int64_t)timegm(&parts) - offset;
        if (seconds < 0)
                return -ERANGE;
        *ret_realtime_ns = (uint64_t)seconds * NS_PER_SECOND + fraction;
        return 0;
}
