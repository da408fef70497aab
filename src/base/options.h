// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/*
 * Command-line options from a table: `--name value`, `--name=value`, `--flag`, `--flag=false`, and
 * one-letter forms; letters of flags may stand together ("-it"). One dash before a long name is
 * taken too, as Go programs (whose flags some of our commands keep) do. "--" ends the options; the
 * first operand does where `stop_at_operand`.
 *
 *     struct { const char *listen; uint64_t timeout_ns; bool verbose; } o = { .listen = ":8080" };
 *     const struct option_spec specs[] = {
 *             OPTION_STRING("listen", 'l', &o.listen, "ADDRESS", "where to listen"),
 *             OPTION_DURATION("timeout", 0, &o.timeout_ns, "how long to wait"),
 *             OPTION_FLAG("verbose", 'v', &o.verbose, "say more"),
 *             OPTION_END,
 *     };
 */
enum option_type {
        OPTION_TYPE_END,
        OPTION_TYPE_STRING,   /* const char *: points into argv */
        OPTION_TYPE_FLAG,     /* bool */
        OPTION_TYPE_NUMBER,   /* int64_t: decimal, may be negative */
        OPTION_TYPE_DURATION, /* uint64_t nanoseconds: Go's "1m30s", "200ms", or seconds: "90" */
        OPTION_TYPE_STRINGS,  /* struct option_strings: may be given again */
};

enum { OPTION_STRINGS_MAX = 64 };

struct option_strings {
        const char *items[OPTION_STRINGS_MAX]; /* point into argv */
        size_t count;
};

struct option_spec {
        const char *name; /* without dashes */
        char letter;      /* 0: none */
        enum option_type type;
        void *target;         /* of the type that `type` tells; keeps its value if not given */
        const char *argument; /* how help calls the value */
        const char *help;     /* what it does, in lower case, without a full stop */
};

#define OPTION_STRING(name, letter, target, argument, help)                                        \
        {                                                                                          \
                name, letter, OPTION_TYPE_STRING, 1 ? (target) : (const char **)NULL, argument,    \
                        help                                                                       \
        }
#define OPTION_FLAG(name, letter, target, help)                                                    \
        {                                                                                          \
                name, letter, OPTION_TYPE_FLAG, 1 ? (target) : (bool *)NULL, NULL, help            \
        }
#define OPTION_NUMBER(name, letter, target, argument, help)                                        \
        {                                                                                          \
                name, letter, OPTION_TYPE_NUMBER, 1 ? (target) : (int64_t *)NULL, argument, help   \
        }
#define OPTION_DURATION(name, letter, target, help)                                                \
        {                                                                                          \
                name, letter, OPTION_TYPE_DURATION, 1 ? (target) : (uint64_t *)NULL, "DURATION",   \
                        help                                                                       \
        }
#define OPTION_STRINGS(name, letter, target, argument, help)                                       \
        {                                                                                          \
                name, letter, OPTION_TYPE_STRINGS, 1 ? (target) : (struct option_strings *)NULL,   \
                        argument, help                                                             \
        }
#define OPTION_END                                                                                 \
        {                                                                                          \
                0                                                                                  \
        }

/*
 * Reads the options of argv (argv[0] is skipped), moving the operands to its front: argv[1 …
 * *ret_operands]. With `stop_at_operand` everything from the first operand on is an operand.
 * Returns 0, or -EINVAL with a sentence that names the option.
 */
int options_parse(const struct option_spec *specs, int argc, char **argv, bool stop_at_operand,
                  struct error *error, int *ret_operands);

/* The same for a command without operands: -EINVAL, with a sentence, if there is one. */
int options_parse_alone(const struct option_spec *specs, int argc, char **argv,
                        struct error *error);

/* The table as lines of help on standard output. */
void options_print(const struct option_spec *specs);

/* Sets one option by its long name, as a line of a configuration file does. Errors as above. */
int options_set(const struct option_spec *specs, const char *name, const char *value,
                struct error *error);

/* A Go duration ("1h2m3.5s", "200ms", "10us") or plain seconds ("180", "2.5"). 0 or -EINVAL. */
int duration_parse(struct str text, uint64_t *ret_ns);
