// SPDX-License-Identifier: Apache-2.0
#include "base/options.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

int duration_parse(struct str text, uint64_t *ret_ns)
{
        static const struct {
                struct str name;
                uint64_t ns;
        } units[] = {
                { STR("ns"), 1 },
                { STR("us"), 1000 },
                { STR("ms"), NS_PER_MS },
                { STR("s"), NS_PER_SECOND },
                { STR("m"), 60 * NS_PER_SECOND },
                { STR("h"), 3600 * NS_PER_SECOND },
        };
        uint64_t total = 0;

        if (text.length == 0)
                return -EINVAL;
        while (text.length > 0) {
                size_t digits = 0, letters = 0;
                while (digits < text.length &&
                       ((text.data[digits] >= '0' && text.data[digits] <= '9') ||
                        text.data[digits] == '.'))
                        digits++;
                struct str whole, fraction, number = str_slice(text, 0, digits);
                bool has_fraction = str_cut(number, '.', &whole, &fraction);
                text = str_slice(text, digits, text.length);
                while (letters < text.length && text.data[letters] >= 'a' &&
                       text.data[letters] <= 'z')
                        letters++;
                struct str unit = letters > 0 ? str_slice(text, 0, letters) : STR("s");
                text = str_slice(text, letters, text.length);
                if (letters == 0 && text.length > 0)
                        return -EINVAL;

                uint64_t scale = 0, value, part = 0, divisor = 1;
                for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                        if (str_equal(unit, units[i].name))
                                scale = units[i].ns;
                if (scale == 0 || str_to_u64(whole, UINT64_MAX / 2, &value) < 0)
                        return -EINVAL;
                if (has_fraction &&
                    (fraction.length > 9 || str_to_u64(fraction, UINT64_MAX, &part) < 0))
                        return -EINVAL;
                for (size_t i = 0; i < fraction.length; i++)
                        divisor *= 10;
                if (__builtin_mul_overflow(value, scale, &value) ||
                    __builtin_add_overflow(total, value, &total) ||
                    __builtin_mul_overflow(part, scale, &part) ||
                    __builtin_add_overflow(total, part / divisor, &total))
                        return -EINVAL;
        }
        *ret_ns = total;
        return 0;
}

static int parse_number(const char *value, int64_t *ret_number)
{
        bool negative = value[0] == '-';
        uint64_t magnitude;

        if (str_to_u64(str_from(value + (negative ? 1 : 0)), INT64_MAX, &magnitude) < 0)
                return -EINVAL;
        *ret_number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
        return 0;
}

/* Whatever Go takes for one. */
static int parse_flag(const char *value, bool *ret_flag)
{
        static const char *const words[][6] = { { "false", "0", "f", "F", "FALSE", "False" },
                                                { "true", "1", "t", "T", "TRUE", "True" } };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                for (size_t j = 0; j < ARRAY_SIZE(words[i]); j++)
                        if (strcmp(value, words[i][j]) == 0) {
                                *ret_flag = i == 1;
                                return 0;
                        }
        return -EINVAL;
}

static int set(const struct option_spec *spec, const char *value, struct error *error)
{
        struct option_strings *strings;

        switch (spec->type) {
        case OPTION_TYPE_STRING:
                *(const char **)spec->target = value;
                return 0;
        case OPTION_TYPE_FLAG:
                if (parse_flag(value, spec->target) < 0)
                        return error_set(error, -EINVAL, "--%s takes true or false, not '%s'",
                                         spec->name, value);
                return 0;
        case OPTION_TYPE_NUMBER:
                if (parse_number(value, spec->target) < 0)
                        return error_set(error, -EINVAL, "--%s takes a number, not '%s'",
                                         spec->name, value);
                return 0;
        case OPTION_TYPE_DURATION:
                if (duration_parse(str_from(value), spec->target) < 0)
                        return error_set(error, -EINVAL,
                                         "--%s takes a duration such as 90s or 1m30s, not '%s'",
                                         spec->name, value);
                return 0;
        case OPTION_TYPE_STRINGS:
                strings = spec->target;
                if (strings->count == OPTION_STRINGS_MAX)
                        return error_set(error, -EINVAL, "--%s is given more than %d times",
                                         spec->name, OPTION_STRINGS_MAX);
                strings->items[strings->count++] = value;
                return 0;
        case OPTION_TYPE_END:
                break;
        }
        return error_set(error, -EINVAL, "--%s is unknown", spec->name);
}

static const struct option_spec *find(const struct option_spec *specs, struct str name)
{
        for (; specs->name; specs++)
                if (str_equal(name, str_from(specs->name)) ||
                    (name.length == 1 && specs->letter == name.data[0]))
                        return specs;
        return NULL;
}

/* "it" of "-it": whether all of them are letters of flags, which then are set. */
static bool set_letters(const struct option_spec *specs, struct str letters)
{
        const struct option_spec *spec;

        for (size_t i = 0; i < letters.length; i++) {
                spec = find(specs, str_slice(letters, i, i + 1));
                if (!spec || spec->type != OPTION_TYPE_FLAG)
                        return false;
        }
        for (size_t i = 0; i < letters.length; i++) {
                spec = find(specs, str_slice(letters, i, i + 1));
                *(bool *)spec->target = true;
        }
        return true;
}

int options_set(const struct option_spec *specs, const char *name, const char *value,
                struct error *error)
{
        const struct option_spec *spec = find(specs, str_from(name));

        if (!spec)
                return error_set(error, -EINVAL, "there is no option --%s", name);
        return set(spec, value, error);
}

int options_parse(const struct option_spec *specs, int argc, char **argv, bool stop_at_operand,
                  struct error *error, int *ret_operands)
{
        int operands = 0, i;

        for (i = 1; i < argc; i++) {
                const char *word = argv[i];
                if (strcmp(word, "--") == 0) {
                        i++;
                        break;
                }
                if (word[0] != '-' || word[1] == '\0') {
                        if (stop_at_operand)
                                break;
                        argv[1 + operands++] = argv[i];
                        continue;
                }

                struct str name, value;
                bool attached =
                        str_cut(str_from(word + (word[1] == '-' ? 2 : 1)), '=', &name, &value);
                const struct option_spec *spec = find(specs, name);
                if (!spec && word[1] != '-' && !attached && set_letters(specs, name))
                        continue;
                if (!spec)
                        return error_set(error, -EINVAL, "there is no option %.*s; see --help",
                                         (int)(name.data + name.length - word), word);
                const char *given = attached ? value.data : "true";
                if (!attached && spec->type != OPTION_TYPE_FLAG) {
                        if (i + 1 == argc)
                                return error_set(error, -EINVAL, "%s needs a value: %s", word,
                                                 spec->argument);
                        given = argv[++i];
                }
                int r = set(spec, given, error);
                if (r < 0)
                        return r;
        }
        for (; i < argc; i++)
                argv[1 + operands++] = argv[i];
        *ret_operands = operands;
        return 0;
}

int options_parse_alone(const struct option_spec *specs, int argc, char **argv, struct error *error)
{
        int operands;
        int r = options_parse(specs, argc, argv, false, error, &operands);

        if (r < 0 || operands == 0)
                return r;
        return error_set(error, -EINVAL, "%s takes no operand, but '%s' was given; see --help",
                         argv[0], argv[1]);
}

void options_print(const struct option_spec *specs)
{
        for (; specs->name; specs++) {
                char left[64];
                char letter[8] = "    ";
                if (specs->letter)
                        snprintf(letter, sizeof(letter), "-%c, ", specs->letter);
                snprintf(left, sizeof(left), "%s--%s%s%s", letter, specs->name,
                         specs->argument ? " " : "", specs->argument ? specs->argument : "");
                printf("  %-38s %s\n", left, specs->help);
        }
}
