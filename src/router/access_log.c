// SPDX-License-Identifier: Apache-2.0
#include "router/access_log.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum {
        SHOWN_MAX = 512,                 /* bytes of a path or user agent */
        LINES_MAX = 32 * 1024,           /* that wait for the end of the turn */
        LINE_ROOM = 4 * SHOWN_MAX + 512, /* more than any line has */
};

static void write_lines(struct access_log *log)
{
        /* A log that cannot be written has nobody to tell. */
        if (log->lines.length > 0)
                (void)fd_write_full(STDERR_FILENO, log->lines.data, log->lines.length);
        buffer_clear(&log->lines);
}

static void flush(struct net_task *task)
{
        write_lines(container_of(task, struct access_log, flush));
}

void access_log_init(struct access_log *log, struct net_loop *loop, bool enabled)
{
        *log = (struct access_log){ .loop = loop, .enabled = enabled };
        log->flush.run = flush;
}

void access_log_deinit(struct access_log *log)
{
        net_task_cancel(&log->flush);
        write_lines(log);
        buffer_deinit(&log->lines);
}

/* A name and what a client sent under it. Nothing that comes from outside begins a line of its own.
 */
static char *put_text(char *at, const char *name, struct str text)
{
        size_t length = strlen(name);

        memcpy(at, name, length);
        at += length;
        for (size_t i = 0; i < text.length && i < SHOWN_MAX; i++) {
                unsigned char c = (unsigned char)text.data[i];
                *at++ = c < ' ' || c == 0x7f || c == '"' ? '?' : (char)c;
        }
        return at;
}

/* With as many digits as `width` at least. */
static char *put_number(char *at, const char *name, uint64_t number, unsigned width)
{
        char digits[20];
        size_t length = strlen(name), i = sizeof(digits);

        memcpy(at, name, length);
        at += length;
        do
                digits[--i] = (char)('0' + number % 10);
        while ((number /= 10) > 0 || sizeof(digits) - i < width);
        memcpy(at, digits + i, sizeof(digits) - i);
        return at + sizeof(digits) - i;
}

static void update_stamp(struct access_log *log, uint64_t now_ns)
{
        char text[RFC3339_SECONDS_SIZE];

        if (now_ns / NS_PER_SECOND == log->second)
                return;
        log->second = now_ns / NS_PER_SECOND;
        rfc3339_format_seconds(now_ns, text);
        memcpy(log->stamp, text, sizeof(text) - sizeof("Z"));
        log->stamp[sizeof(text) - sizeof("Z")] = '\0';
}

void access_log_add(struct access_log *log, const struct account *a, unsigned status,
                    uint64_t took_ns, uint64_t bytes_out)
{
        uint64_t now_ns = clock_realtime_ns();

        if (!log->enabled)
                return;
        update_stamp(log, now_ns);
        if (buffer_reserve(&log->lines, LINE_ROOM) < 0)
                return;
        char *begin = log->lines.data + log->lines.length, *at = begin;
        at = put_text(at, log->stamp, STR_EMPTY);
        at = put_number(at, ".", now_ns % NS_PER_SECOND / 1000, 6);
        at = put_text(at, "Z info router: method=", a->method);
        at = put_text(at, " path=", a->path);
        at = put_number(at, " status=", status, 1);
        at = put_number(at, " duration_ms=", took_ns / NS_PER_MS, 1);
        at = put_number(at, ".", took_ns % NS_PER_MS / 1000, 3);
        at = put_text(at, " client_ip=", str_from(a->client_ip));
        at = put_text(at, " sandbox_id=", a->id);
        at = put_text(at, " sandbox_namespace=", a->name_space);
        at = put_number(at, " bytes_out=", bytes_out, 1);
        at = put_text(at, " user_agent=\"", a->user_agent);
        at = put_text(at, "\" trace_id=", trace_id_text(&a->trace));
        at = put_text(at, " span_id=", trace_span_text(&a->trace));
        *at++ = '\n';
        log->lines.length += (size_t)(at - begin);
        if (log->lines.length >= LINES_MAX)
                write_lines(log);
        else
                net_loop_defer(log->loop, &log->flush);
}
