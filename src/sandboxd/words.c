// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/words.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum state { BETWEEN, WORD, SINGLE_QUOTED, DOUBLE_QUOTED };

struct splitter {
        struct str line;
        size_t at;
        char *out; /* words one after another, each with its NUL */
        const char *problem;
};

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int fail(struct splitter *splitter, const char *problem)
{
        splitter->problem = problem;
        return -EINVAL;
}

static int take_escaped(struct splitter *splitter, enum state state)
{
        if (splitter->at == splitter->line.length)
                return fail(splitter, "No escaped character");
        char c = splitter->line.data[splitter->at++];
        if (state == DOUBLE_QUOTED && c != '\\' && c != '"')
                *splitter->out++ = '\\';
        *splitter->out++ = c;
        return 0;
}

/* Takes one word, if there is one left. Returns 1 and its start, 0 at the end, or -EINVAL. */
static int next_word(struct splitter *splitter, char **ret_word)
{
        enum state state = BETWEEN;
        char *word = splitter->out;

        while (splitter->at < splitter->line.length) {
                char c = splitter->line.data[splitter->at++];
                int r = 0;

                if (state == SINGLE_QUOTED) {
                        if (c == '\'')
                                state = WORD;
                        else
                                *splitter->out++ = c;
                } else if (state == DOUBLE_QUOTED) {
                        if (c == '"')
                                state = WORD;
                        else if (c == '\\')
                                r = take_escaped(splitter, state);
                        else
                                *splitter->out++ = c;
                } else if (is_blank(c)) {
                        if (state == WORD)
                                break;
                } else if (c == '\'') {
                        state = SINGLE_QUOTED;
                } else if (c == '"') {
                        state = DOUBLE_QUOTED;
                } else {
                        state = WORD;
                        if (c == '\\')
                                r = take_escaped(splitter, state);
                        else
                                *splitter->out++ = c;
                }
                if (r < 0)
                        return r;
        }
        if (state == SINGLE_QUOTED || state == DOUBLE_QUOTED)
                return fail(splitter, "No closing quotation");
        if (state == BETWEEN)
                return 0;
        *splitter->out++ = '\0';
        *ret_word = word;
        return 1;
}

int words_split(struct arena *arena, struct str line, char ***ret_words, size_t *ret_count,
                const char **ret_problem)
{
        /* Blanks between words pay for their NULs; only the last word needs one more byte. */
        char *space = arena_alloc(arena, line.length + 1);
        struct splitter splitter = { .line = line, .out = space };
        char *word, **words;
        size_t count = 0;
        int r;

        if (!space)
                return -ENOMEM;
        if (line.length > 0 && memchr(line.data, '\0', line.length))
                r = fail(&splitter, "embedded null byte");
        else
                while ((r = next_word(&splitter, &word)) > 0)
                        count++;
        if (r < 0) {
                *ret_problem = splitter.problem;
                return r;
        }
        words = arena_new(arena, char *, count + 1);
        if (!words)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                words[i] = space;
                space += strlen(space) + 1;
        }
        *ret_words = words;
        *ret_count = count;
        return 0;
}
