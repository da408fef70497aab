// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kube/schema_internal.h"

/*
 * CRDs write patterns in RE2's dialect, matched here by POSIX extended expressions: what both have
 * is copied, what only RE2 has is put in POSIX words or given up. regcomp() unrolls repetitions, so
 * the unrolled size is reckoned beforehand and bounded.
 */
enum { PATTERN_MAX = 2048, UNROLLED_MAX = 5000, GROUPS_MAX = 32, MATCH_MAX = 256 * 1024 };

/* Of a group while it is read: the sizes of what is before its last atom, and of that. */
struct group {
        unsigned long before, atom;
};

struct translator {
        struct str pattern;
        size_t at;
        struct buffer out;
        struct group groups[GROUPS_MAX];
        size_t depth;
        bool repeated; /* the last atom has its quantifier */
};

static char peek(const struct translator *t)
{
        return t->at < t->pattern.length ? t->pattern.data[t->at] : '\0';
}

static void begin_atom(struct translator *t)
{
        struct group *group = &t->groups[t->depth];

        group->before += group->atom;
        group->atom = 1;
        t->repeated = false;
}

static int repeat_atom(struct translator *t, unsigned long times)
{
        struct group *group = &t->groups[t->depth];

        if (t->repeated || group->atom == 0)
                return -EINVAL;
        t->repeated = true;
        group->atom *= times;
        return group->before + group->atom > UNROLLED_MAX ? -EOPNOTSUPP : 0;
}

static int begin_group(struct translator *t)
{
        begin_atom(t);
        if (t->depth + 1 == GROUPS_MAX)
                return -EOPNOTSUPP;
        t->groups[++t->depth] = (struct group){};
        return 0;
}

static int end_group(struct translator *t)
{
        struct group inner = t->groups[t->depth];

        if (t->depth == 0)
                return -EINVAL;
        t->groups[--t->depth].atom += inner.before + inner.atom;
        t->repeated = false;
        return 0;
}

/* The class that \d and its like stand for, without brackets; NULL if it is none. */
static const char *class_of(char letter)
{
        switch (letter) {
        case 'd':
                return "0-9";
        case 'w':
                return "0-9A-Za-z_";
        case 's':
                return "[:space:]";
        }
        return NULL;
}

static int translate_escape(struct translator *t)
{
        char c = peek(t);
        const char *class = class_of((char)(c | 32));

        t->at++;
        if (class)
                return buffer_printf(&t->out, "[%s%s]", c < 'a' ? "^" : "", class);
        switch (c) {
        case 't':
                return buffer_append_char(&t->out, '\t');
        case 'n':
                return buffer_append_char(&t->out, '\n');
        case 'r':
                return buffer_append_char(&t->out, '\r');
        case 'A':
                return buffer_append_char(&t->out, '^');
        case 'z':
                return buffer_append_char(&t->out, '$');
        case '\0':
                return -EINVAL;
        }
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
                return -EOPNOTSUPP;
        if (strchr(".[]{}()*+?|^$\\", c))
                return buffer_append(&t->out, (char[]){ '\\', c }, 2);
        return buffer_append_char(&t->out, c);
}

/* In POSIX brackets a backslash is itself, "]" must come first and a literal "-" last. */
static int translate_bracket(struct translator *t)
{
        _cleanup_buffer_ struct buffer body = {};
        bool closing = false, dash = false, first = true;
        int r = buffer_append_char(&t->out, '[');

        if (peek(t) == '^') {
                t->at++;
                if (r == 0)
                        r = buffer_append_char(&t->out, '^');
        }
        for (; r == 0 && (peek(t) != ']' || first); first = false) {
                char c = peek(t);
                if (c == '\0')
                        return -EINVAL;
                t->at++;
                if (c == '[' && (peek(t) == '.' || peek(t) == '='))
                        return -EOPNOTSUPP;
                if (c == '[' && peek(t) == ':') {
                        r = buffer_append_char(&body, '[');
                        do {
                                c = peek(t);
                                if (c == '\0')
                                        return -EINVAL;
                                t->at++;
                                if (r == 0)
                                        r = buffer_append_char(&body, c);
                        } while (c != ']');
                } else if (c == '\\') {
                        char escaped = peek(t);
                        const char *class = class_of(escaped);
                        t->at++;
                        if (class)
                                r = buffer_append_str(&body, str_from(class));
                        else if (escaped == ']')
                                closing = true;
                        else if (escaped == '-')
                                dash = true;
                        else if (escaped == 'n' || escaped == 't' || escaped == 'r')
                                r = buffer_append_char(&body, escaped == 'n'   ? '\n'
                                                              : escaped == 't' ? '\t'
                                                                               : '\r');
                        else if ((escaped | 32) >= 'a' && (escaped | 32) <= 'z')
                                return -EOPNOTSUPP;
                        else
                                r = buffer_append_char(&body, escaped);
                } else if (c == ']') {
                        closing = true;
                } else {
                        r = buffer_append_char(&body, c);
                }
        }
        t->at++;
        if (r == 0 && closing)
                r = buffer_append_char(&t->out, ']');
        if (r == 0)
                r = buffer_append_str(&t->out, buffer_str(&body));
        if (r == 0 && dash)
                r = buffer_append_char(&t->out, '-');
        return r < 0 ? r : buffer_append_char(&t->out, ']');
}

/* {n}, {n,}, {n,m} */
static int translate_bounds(struct translator *t)
{
        size_t start = t->at;
        unsigned long largest = 0, number = 0;

        for (; peek(t) != '}'; t->at++) {
                char c = peek(t);
                if (c >= '0' && c <= '9' && number < UNROLLED_MAX)
                        number = number * 10 + (unsigned long)(c - '0');
                else if (c == ',')
                        number = 0;
                else
                        return -EOPNOTSUPP;
                largest = MAX(largest, number);
        }
        t->at++;
        int r = repeat_atom(t, largest + 1);
        if (r == 0)
                r = buffer_append_char(&t->out, '{');
        return r < 0 ? r : buffer_append_str(&t->out, str_slice(t->pattern, start, t->at));
}

static int translate_other(struct translator *t, char c)
{
        int r = 0;

        switch (c) {
        case '(':
                r = begin_group(t);
                if (r == 0 && peek(t) == '?') {
                        if (t->pattern.length - t->at < 2 || t->pattern.data[t->at + 1] != ':')
                                return -EOPNOTSUPP;
                        t->at += 2;
                }
                break;
        case ')':
                r = end_group(t);
                break;
        case '+':
                r = repeat_atom(t, 2);
                break;
        case '*':
        case '?':
                r = repeat_atom(t, 1);
                break;
        default:
                begin_atom(t);
        }
        return r < 0 ? r : buffer_append_char(&t->out, c);
}

static int translate(struct translator *t)
{
        while (t->at < t->pattern.length) {
                char c = t->pattern.data[t->at++];
                int r;
                if (c == '\0')
                        return -EINVAL;
                if (c == '\\') {
                        begin_atom(t);
                        r = translate_escape(t);
                } else if (c == '[') {
                        begin_atom(t);
                        r = translate_bracket(t);
                } else if (c == '{') {
                        r = translate_bounds(t);
                } else {
                        r = translate_other(t, c);
                }
                /* a lazy quantifier matches the same texts */
                if (r == 0 && (c == '*' || c == '+' || c == '?' || c == '{') && peek(t) == '?')
                        t->at++;
                if (r < 0)
                        return r;
        }
        return buffer_append_char(&t->out, '\0');
}

int schema_pattern_compile(struct str pattern, regex_t *ret_regex)
{
        struct translator t = { .pattern = pattern };
        int r;

        if (pattern.length > PATTERN_MAX)
                return -EOPNOTSUPP;
        r = translate(&t);
        if (r == 0) {
                int code = regcomp(ret_regex, t.out.data, REG_EXTENDED | REG_NOSUB);
                r = code == 0 ? 0 : code == REG_ESPACE ? -ENOMEM : -EINVAL;
        }
        buffer_deinit(&t.out);
        return r;
}

bool schema_pattern_matches(const regex_t *regex, struct str text, int *ret_failure)
{
        regmatch_t range = { 0, (regoff_t)text.length };

        if (text.length > MATCH_MAX)
                return false;
        int code = regexec(regex, text.length > 0 ? text.data : "", 1, &range, REG_STARTEND);
        if (code == REG_ESPACE)
                *ret_failure = -ENOMEM;
        return code == 0;
}
