// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/macro.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
/* Text is for people; JSON is as Go's zap writes it, with the role as "logger". */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/*
 * The process's log: lines on standard error, one write(2) each. `role` ("node", "router") is a
 * static string that each line carries. Secrets are never passed here: log names and lengths.
 */
void log_configure(const char *role, enum log_level level, enum log_format format);

void log_at(enum log_level level, const char *format, ...) _printf_(2, 3);

#define log_error(...)   log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
