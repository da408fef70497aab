// SPDX-License-Identifier: Apache-2.0
#include "kube/jsonpath.h"

#include <errno.h>

enum { STEPS_MAX = 64 };

enum step_kind {
        STEP_FIELD,
        STEP_INDEX,
        STEP_ALL,
        STEP_FILTER,
};

enum filter_kind {
        FILTER_EXISTS,
        FILTER_EQUAL,
        FILTER_NOT_EQUAL,
};

struct step {
        enum step_kind kind;
        struct str key; /* FIELD */
        int64_t index;  /* INDEX; negative counts from the end */

        /* FILTER: the fields behind @, and what they are compared with */
        const struct jsonpath *left;
        enum filter_kind filter;
        bool is_string; /* `literal` is a string's bytes, else JSON text */
        struct str literal;
};

struct jsonpath {
        size_t count;
        struct step steps[];
};

struct parser {
        struct str text; /* in the arena: what is parsed may point into it */
        size_t at;
        struct arena *arena;
        struct error *error;
};

static int refuse(struct parser *p, const char *why)
{
        return error_set(p->error, -EINVAL, "JSONPath '%.*s', character %zu: %s",
                         STR_FORMAT(p->text), p->at + 1, why);
}

static int no_memory(struct parser *p)
{
        return error_set(p->error, -ENOMEM, "out of memory");
}

static bool at_end(const struct parser *p)
{
        return p->at == p->text.length;
}

static char peek(const struct parser *p)
{
        return at_end(p) ? '\0' : p->text.data[p->at];
}

static void skip_blanks(struct parser *p)
{
        while (peek(p) == ' ')
                p->at++;
}

static bool take(struct parser *p, struct str token)
{
        if (!str_starts_with(str_slice(p->text, p->at, p->text.length), token))
                return false;
        p->at += token.length;
        return true;
}

/* A name to the next "." or "[" (in a filter also to blanks and operators); "\" escapes. */
static int parse_name(struct parser *p, bool in_filter, struct str *ret_name)
{
        char *name = arena_alloc(p->arena, p->text.length - p->at + 1);
        size_t length = 0;

        if (!name)
                return no_memory(p);
        while (!at_end(p)) {
                char c = peek(p);
                if (c == '.' || c == '[' || (in_filter && strchr(" =!<>)]", c)))
                        break;
                p->at++;
                if (c == '\\') {
                        if (at_end(p))
                                return refuse(p, "nothing follows the backslash");
                        c = p->text.data[p->at++];
                }
                name[length++] = c;
        }
        if (length == 0)
                return refuse(p, "a name was expected");
        *ret_name = (struct str){ name, length };
        return 0;
}

static int parse_quoted(struct parser *p, struct str *ret_text)
{
        char quote = peek(p), *text = arena_alloc(p->arena, p->text.length - p->at + 1);
        size_t length = 0;

        if (!text)
                return no_memory(p);
        p->at++;
        while (!at_end(p) && peek(p) != quote) {
                if (peek(p) == '\\' && p->at + 1 < p->text.length)
                        p->at++;
                text[length++] = p->text.data[p->at++];
        }
        if (at_end(p))
                return refuse(p, "a quote is not closed");
        p->at++;
        *ret_text = (struct str){ text, length };
        return 0;
}

static int parse_literal(struct parser *p, struct step *step)
{
        size_t start = p->at;

        if (peek(p) == '\'' || peek(p) == '"') {
                step->is_string = true;
                return parse_quoted(p, &step->literal);
        }
        while (!at_end(p) && !strchr(" )]", peek(p)))
                p->at++;
        step->literal = str_slice(p->text, start, p->at);
        if (step->literal.length == 0)
                return refuse(p, "a value was expected");
        return 0;
}

static int parse_steps(struct parser *p, bool in_filter, const struct jsonpath **ret_path);

/* Behind "[?(". */
static int parse_filter(struct parser *p, struct step *step)
{
        step->kind = STEP_FILTER;
        skip_blanks(p);
        if (!take(p, STR("@")))
                return refuse(p, "'@' was expected");
        int r = parse_steps(p, true, &step->left);
        if (r < 0)
                return r;
        skip_blanks(p);
        if (take(p, STR("==")))
                step->filter = FILTER_EQUAL;
        else if (take(p, STR("!=")))
                step->filter = FILTER_NOT_EQUAL;
        if (step->filter != FILTER_EXISTS) {
                skip_blanks(p);
                r = parse_literal(p, step);
                if (r < 0)
                        return r;
                skip_blanks(p);
        }
        return take(p, STR(")]")) ? 0 : refuse(p, "')]' was expected");
}

static int parse_bracket(struct parser *p, struct step *step)
{
        if (take(p, STR("?(")))
                return parse_filter(p, step);
        if (take(p, STR("*]"))) {
                step->kind = STEP_ALL;
                return 0;
        }
        if (peek(p) == '\'' || peek(p) == '"') {
                step->kind = STEP_FIELD;
                int r = parse_quoted(p, &step->key);
                if (r < 0)
                        return r;
                return take(p, STR("]")) ? 0 : refuse(p, "']' was expected");
        }
        bool negative = take(p, STR("-"));
        size_t start = p->at;
        uint64_t index;
        while (peek(p) >= '0' && peek(p) <= '9')
                p->at++;
        if (str_to_u64(str_slice(p->text, start, p->at), INT32_MAX, &index) < 0)
                return refuse(p, "an index, '*', a quoted key or a filter was expected");
        step->kind = STEP_INDEX;
        step->index = negative ? -(int64_t)index : (int64_t)index;
        return take(p, STR("]")) ? 0 : refuse(p, "']' was expected");
}

static int parse_step(struct parser *p, bool in_filter, struct step *step)
{
        if (take(p, STR("[")))
                return parse_bracket(p, step);
        if (take(p, STR("..")))
                return refuse(p, "recursive descent is not supported");
        take(p, STR("."));
        if (take(p, STR("*"))) {
                step->kind = STEP_ALL;
                return 0;
        }
        step->kind = STEP_FIELD;
        return parse_name(p, in_filter, &step->key);
}

static int parse_steps(struct parser *p, bool in_filter, const struct jsonpath **ret_path)
{
        struct step steps[STEPS_MAX];
        size_t count = 0;

        while (!at_end(p) && !(in_filter && strchr(" =!<>)", peek(p)))) {
                if (count == STEPS_MAX)
                        return refuse(p, "too many steps");
                steps[count] = (struct step){};
                int r = parse_step(p, in_filter, &steps[count]);
                if (r < 0)
                        return r;
                if (in_filter && steps[count].kind == STEP_FILTER)
                        return refuse(p, "filters do not nest");
                count++;
        }
        struct jsonpath *path =
                arena_alloc(p->arena, sizeof(*path) + count * sizeof(path->steps[0]));
        if (!path)
                return no_memory(p);
        path->count = count;
        memcpy(path->steps, steps, count * sizeof(path->steps[0]));
        *ret_path = path;
        return 0;
}

int jsonpath_parse(struct str text, struct arena *arena, struct error *error,
                   const struct jsonpath **ret_path)
{
        struct parser parser = { .arena = arena, .error = error };

        text = str_trim(text);
        if (text.length >= 2 && text.data[0] == '{' && text.data[text.length - 1] == '}')
                text = str_trim(str_slice(text, 1, text.length - 1));
        if (str_starts_with(text, STR("$")))
                text = str_slice(text, 1, text.length);
        if (text.length == 1 && text.data[0] == '.')
                text = STR_EMPTY;
        parser.text = arena_str(arena, text);
        if (!parser.text.data)
                return error_set(error, -ENOMEM, "out of memory");
        if (memchr(parser.text.data, '\0', parser.text.length))
                return error_set(error, -EINVAL, "a JSONPath must not hold NUL");
        return parse_steps(&parser, false, ret_path);
}

/* ---- finding ---- */

struct finder {
        struct json_value *found;
        size_t capacity, count;
};

static bool filter_holds(const struct step *step, struct json_value item)
{
        struct json_value left = jsonpath_first(step->left, item);
        bool equal;

        if (step->filter == FILTER_EXISTS)
                return json_exists(left);
        if (!json_exists(left))
                return false;
        if (step->is_string)
                equal = json_string_is(left, step->literal);
        else
                equal = json_type(left) != JSON_STRING && str_equal(json_text(left), step->literal);
        return equal == (step->filter == FILTER_EQUAL);
}

static void find(struct finder *finder, const struct jsonpath *path, size_t at,
                 struct json_value value)
{
        if (!json_exists(value))
                return;
        if (at == path->count) {
                if (finder->count < finder->capacity)
                        finder->found[finder->count] = value;
                finder->count++;
                return;
        }
        const struct step *step = &path->steps[at];
        int64_t index = step->index;
        switch (step->kind) {
        case STEP_FIELD:
                find(finder, path, at + 1, json_member(value, step->key));
                break;
        case STEP_INDEX:
                if (index < 0)
                        index += (int64_t)json_count(value);
                if (index >= 0)
                        find(finder, path, at + 1, json_element(value, (size_t)index));
                break;
        case STEP_ALL:
                json_for_each (it, value)
                        find(finder, path, at + 1, it.value);
                break;
        case STEP_FILTER:
                json_for_each (it, value)
                        if (filter_holds(step, it.value))
                                find(finder, path, at + 1, it.value);
                break;
        }
}

size_t jsonpath_find(const struct jsonpath *path, struct json_value root, struct json_value *found,
                     size_t capacity)
{
        struct finder finder = { found, capacity, 0 };

        find(&finder, path, 0, root);
        return finder.count;
}

struct json_value jsonpath_first(const struct jsonpath *path, struct json_value root)
{
        struct json_value first = {};

        jsonpath_find(path, root, &first, 1);
        return first;
}
