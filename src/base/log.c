// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_SIZE = 2048 };

static struct {
        const char *role;
        enum log_level level;
        enum log_format format;
} log_state = { .role = "cay", .level = LOG_LEVEL_INFO };

static const char *const level_names[] = { "error", "warning", "info", "debug" };
static const char *const zap_names[] = { "error", "warn", "info", "debug" };

void log_configure(const char *role, enum log_level level, enum log_format format)
{
        log_state.role = role;
        log_state.level = level;
        log_state.format = format;
}

/* The message as a JSON string's inside: quotes, backslashes and control characters escaped. */
static void escape(const char *message, char *out, size_t size)
{
        size_t used = 0;

        for (; *message && used + 7 < size; message++) {
                unsigned char c = (unsigned char)*message;
                if (c == '"' || c == '\\') {
                        out[used++] = '\\';
                        out[used++] = (char)c;
                } else if (c < 0x20) {
                        used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
                } else {
                        out[used++] = (char)c;
                }
        }
        out[used] = '\0';
}

void log_at(enum log_level level, const char *format, ...)
{
        char message[LINE_SIZE], escaped[LINE_SIZE], line[LINE_SIZE + 128];
        char now[RFC3339_MICRO_SIZE];
        va_list arguments;

        if (level > log_state.level)
                return;
        va_start(arguments, format);
        vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        rfc3339_format_micro(clock_realtime_ns(), now);

        int length;
        if (log_state.format == LOG_FORMAT_JSON) {
                escape(message, escaped, sizeof(escaped));
                length = snprintf(
                        line, sizeof(line),
                        "{\"level\":\"%s\",\"ts\":\"%s\",\"logger\":\"%s\",\"msg\":\"%s\"}\n",
                        zap_names[level], now, log_state.role, escaped);
        } else {
                length = snprintf(line, sizeof(line), "%s %s %s: %s\n", now, level_names[level],
                                  log_state.role, message);
        }
        /* A log that cannot be written has nobody to tell. */
        ssize_t written = write(STDERR_FILENO, line, MIN((size_t)length, sizeof(line) - 1));
        (void)written;
}
