// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/macro.h"

/*
 * What is told to a person at the program's edges: a sentence that names the way out. Inside, a
 * negative errno is enough; where both matter the function returns the errno and fills this.
 */
struct error {
        int code;          /* negative errno; 0 while unset */
        char message[512]; /* one sentence, no newline */
};

/* Sets the sentence and returns `code` (negative). `error` may be NULL. */
int error_set(struct error *error, int code, const char *format, ...) _printf_(3, 4);

/* Puts "context: " in front of the sentence that is there, or of strerror(code). Returns code. */
int error_prefix(struct error *error, int code, const char *format, ...) _printf_(3, 4);
