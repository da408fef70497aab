// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kube/name.h"
#include "kube/selector.h"

/* ---- the string form: k8s.io/apimachinery pkg/labels ---- */

struct lexer {
        struct str rest;
        struct arena *arena;
        struct error *error;
        struct str *pool; /* room for values */
        size_t pool_used;
};

static bool is_special(char c)
{
        return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct lexer *lexer)
{
        while (lexer->rest.length > 0 && is_blank(lexer->rest.data[0]))
                lexer->rest = str_slice(lexer->rest, 1, lexer->rest.length);
}

static bool take(struct lexer *lexer, struct str token)
{
        skip_blanks(lexer);
        if (!str_starts_with(lexer->rest, token))
                return false;
        lexer->rest = str_slice(lexer->rest, token.length, lexer->rest.length);
        return true;
}

/* Up to a blank or a special character; may be empty. */
static struct str take_word(struct lexer *lexer)
{
        size_t length = 0;

        skip_blanks(lexer);
        while (length < lexer->rest.length && !is_special(lexer->rest.data[length]) &&
               !is_blank(lexer->rest.data[length]))
                length++;
        struct str word = str_slice(lexer->rest, 0, length);
        lexer->rest = str_slice(lexer->rest, length, lexer->rest.length);
        return word;
}

static int check_key(struct str key, struct error *error)
{
        const char *problem = name_check_qualified(key);

        if (!problem)
                return 0;
        return error_set(error, -EINVAL, "<nil>: Invalid value: \"%.*s\": %s", STR_FORMAT(key),
                         problem);
}

static int check_values(const struct selector_requirement *requirement, struct error *error)
{
        for (size_t i = 0; i < requirement->value_count; i++) {
                struct str value = requirement->values[i];
                const char *problem = name_check_label_value(value);
                if (problem)
                        return error_set(error, -EINVAL,
                                         "values[%zu][%.*s]: Invalid value: \"%.*s\": %s", i,
                                         STR_FORMAT(requirement->key), STR_FORMAT(value), problem);
        }
        return 0;
}

static int unexpected(struct lexer *lexer, const char *expected)
{
        struct str rest = lexer->rest;
        size_t length = rest.length > 0;

        if (length > 0 && !is_special(rest.data[0]))
                while (length < MIN(rest.length, (size_t)64) && !is_special(rest.data[length]) &&
                       !is_blank(rest.data[length]))
                        length++;
        return error_set(lexer->error, -EINVAL, "found '%.*s', expected: %s",
                         STR_FORMAT(str_slice(rest, 0, length)), expected);
}

static void add_value(struct lexer *lexer, struct selector_requirement *requirement,
                      struct str value)
{
        if (requirement->value_count == 0)
                requirement->values = &lexer->pool[lexer->pool_used];
        lexer->pool[lexer->pool_used++] = value;
        requirement->value_count++;
}

static int parse_set(struct lexer *lexer, struct selector_requirement *requirement)
{
        if (!take(lexer, STR("(")))
                return unexpected(lexer, "'('");
        do {
                add_value(lexer, requirement, take_word(lexer));
        } while (take(lexer, STR(",")));
        return take(lexer, STR(")")) ? 0 : unexpected(lexer, "',' or ')'");
}

static int parse_comparison(struct lexer *lexer, struct selector_requirement *requirement)
{
        struct str value = take_word(lexer);
        uint64_t number;

        add_value(lexer, requirement, value);
        if (str_to_u64(value, INT64_MAX, &number) == 0)
                return 0;
        return error_set(lexer->error, -EINVAL,
                         "values[0]: Invalid value: \"%.*s\": for 'Gt', 'Lt' operators, the "
                         "value must be an integer",
                         STR_FORMAT(value));
}

static int parse_operator(struct lexer *lexer, struct selector_requirement *requirement)
{
        skip_blanks(lexer);
        if (lexer->rest.length == 0 || lexer->rest.data[0] == ',') {
                requirement->how = SELECTOR_EXISTS;
                return 0;
        }
        if (take(lexer, STR("==")) || take(lexer, STR("="))) {
                add_value(lexer, requirement, take_word(lexer));
                return 0;
        }
        if (take(lexer, STR("!="))) {
                requirement->how = SELECTOR_NOT_IN;
                add_value(lexer, requirement, take_word(lexer));
                return 0;
        }
        if (take(lexer, STR(">"))) {
                requirement->how = SELECTOR_GREATER;
                return parse_comparison(lexer, requirement);
        }
        if (take(lexer, STR("<"))) {
                requirement->how = SELECTOR_LESS;
                return parse_comparison(lexer, requirement);
        }
        struct lexer before = *lexer;
        struct str word = take_word(lexer);
        if (str_equal(word, STR("in")))
                return parse_set(lexer, requirement);
        if (str_equal(word, STR("notin"))) {
                requirement->how = SELECTOR_NOT_IN;
                return parse_set(lexer, requirement);
        }
        *lexer = before;
        return unexpected(lexer, "in, notin, =, ==, !=, gt, lt");
}

static int parse_requirement(struct lexer *lexer, struct selector_requirement *requirement)
{
        bool negated = take(lexer, STR("!"));

        requirement->key = take_word(lexer);
        if (requirement->key.length == 0)
                return unexpected(lexer, "!, identifier, or 'end of string'");
        int r = check_key(requirement->key, lexer->error);
        if (r < 0)
                return r;
        if (negated) {
                requirement->how = SELECTOR_NOT_EXISTS;
                return 0;
        }
        r = parse_operator(lexer, requirement);
        return r < 0 ? r : check_values(requirement, lexer->error);
}

int label_selector_parse(struct str text, struct arena *arena, struct error *error,
                         struct label_selector *ret_selector)
{
        struct lexer lexer = { .rest = text, .arena = arena, .error = error };
        size_t room = 1, count = 0;

        skip_blanks(&lexer);
        if (lexer.rest.length == 0) {
                *ret_selector = (struct label_selector){};
                return 0;
        }
        for (size_t i = 0; i < text.length; i++)
                room += text.data[i] == ',';
        struct selector_requirement *requirements =
                arena_new(arena, struct selector_requirement, room);
        lexer.pool = arena_new(arena, struct str, room);
        if (!requirements || !lexer.pool)
                return error_set(error, -ENOMEM, "out of memory");
        do {
                int r = parse_requirement(&lexer, &requirements[count++]);
                if (r < 0)
                        return error_prefix(error, r, "unable to parse requirement");
        } while (take(&lexer, STR(",")));
        skip_blanks(&lexer);
        if (lexer.rest.length > 0)
                return unexpected(&lexer, "',' or 'end of string'");
        *ret_selector = (struct label_selector){ requirements, count, false };
        return 0;
}

/* ---- the object form: metav1.LabelSelector ---- */

static int read_values(struct json_value values, struct arena *arena, struct error *error,
                       struct selector_requirement *requirement)
{
        struct str *list = arena_new(arena, struct str, json_count(values));
        size_t count = 0;

        if (!list)
                return error_set(error, -ENOMEM, "out of memory");
        json_for_each (it, values) {
                if (json_type(it.value) != JSON_STRING)
                        return error_set(error, -EINVAL, "label values must be strings");
                list[count++] = json_string(it.value);
        }
        requirement->values = list;
        requirement->value_count = count;
        return check_values(requirement, error);
}

static int read_expression(struct json_value expression, struct arena *arena, struct error *error,
                           struct selector_requirement *requirement)
{
        static const struct {
                struct str name;
                enum selector_operator how;
                bool has_values;
        } operators[] = {
                { STR("In"), SELECTOR_IN, true },
                { STR("NotIn"), SELECTOR_NOT_IN, true },
                { STR("Exists"), SELECTOR_EXISTS, false },
                { STR("DoesNotExist"), SELECTOR_NOT_EXISTS, false },
        };
        struct json_value operator= json_get(expression, "operator");
        size_t i = 0;

        requirement->key = json_string(json_get(expression, "key"));
        int r = check_key(requirement->key, error);
        if (r < 0)
                return r;
        while (i < ARRAY_SIZE(operators) && !json_string_is(operator, operators[i].name))
                i++;
        if (i == ARRAY_SIZE(operators))
                return error_set(error, -EINVAL, "\"%.*s\" is not a valid label selector operator",
                                 STR_FORMAT(json_string(operator)));
        requirement->how = operators[i].how;
        r = read_values(json_get(expression, "values"), arena, error, requirement);
        if (r < 0)
                return r;
        if (operators[i].has_values && requirement->value_count == 0)
                return error_set(error, -EINVAL,
                                 "for 'in', 'notin' operators, values set can't be empty");
        if (!operators[i].has_values && requirement->value_count > 0)
                return error_set(error, -EINVAL,
                                 "values set must be empty for exists and does not exist");
        return 0;
}

static int read_label(struct str key, struct json_value value, struct arena *arena,
                      struct error *error, struct selector_requirement *requirement)
{
        struct str *list = arena_new(arena, struct str, 1);

        if (!list)
                return error_set(error, -ENOMEM, "out of memory");
        if (json_type(value) != JSON_STRING)
                return error_set(error, -EINVAL, "label values must be strings");
        list[0] = json_string(value);
        *requirement = (struct selector_requirement){ key, SELECTOR_IN, list, 1 };
        int r = check_key(key, error);
        return r < 0 ? r : check_values(requirement, error);
}

int label_selector_read(struct json_value selector, struct arena *arena, struct error *error,
                        struct label_selector *ret_selector)
{
        struct json_value labels = json_get(selector, "matchLabels"),
                          expressions = json_get(selector, "matchExpressions");
        size_t count = 0, room = json_count(labels) + json_count(expressions);
        int r = 0;

        if (!json_exists(selector) || json_type(selector) == JSON_NULL) {
                *ret_selector = (struct label_selector){ .matches_nothing = true };
                return 0;
        }
        if (json_type(selector) != JSON_OBJECT)
                return error_set(error, -EINVAL, "a label selector must be an object");
        struct selector_requirement *requirements =
                arena_new(arena, struct selector_requirement, room);
        if (!requirements)
                return error_set(error, -ENOMEM, "out of memory");
        json_for_each (it, labels)
                if (r == 0)
                        r = read_label(it.key, it.value, arena, error, &requirements[count++]);
        json_for_each (it, expressions)
                if (r == 0)
                        r = read_expression(it.value, arena, error, &requirements[count++]);
        if (r < 0)
                return r;
        *ret_selector = (struct label_selector){ requirements, count, false };
        return 0;
}

int label_selector_read_map(struct json_value labels, struct arena *arena,
                            struct label_selector *ret_selector)
{
        size_t count = 0;

        if (json_type(labels) != JSON_OBJECT) {
                *ret_selector = (struct label_selector){ .matches_nothing = true };
                return 0;
        }
        struct selector_requirement *requirements =
                arena_new(arena, struct selector_requirement, json_count(labels));
        struct str *values = arena_new(arena, struct str, json_count(labels));
        if (!requirements || !values)
                return -ENOMEM;
        json_for_each (it, labels) {
                values[count] = json_string(it.value);
                requirements[count] =
                        (struct selector_requirement){ it.key, SELECTOR_IN, &values[count], 1 };
                count++;
        }
        *ret_selector = (struct label_selector){ requirements, count, false };
        return 0;
}

/* ---- matching ---- */

static bool has_value(const struct selector_requirement *requirement, struct str value)
{
        for (size_t i = 0; i < requirement->value_count; i++)
                if (str_equal(requirement->values[i], value))
                        return true;
        return false;
}

static bool compares(const struct selector_requirement *requirement, struct str value)
{
        uint64_t number, bound;

        if (str_to_u64(value, INT64_MAX, &number) < 0 ||
            str_to_u64(requirement->values[0], INT64_MAX, &bound) < 0)
                return false;
        return requirement->how == SELECTOR_GREATER ? number > bound : number < bound;
}

static bool requirement_holds(const struct selector_requirement *requirement,
                              struct json_value labels)
{
        struct json_value label = json_member(labels, requirement->key);
        struct str value = json_string(label);

        switch (requirement->how) {
        case SELECTOR_IN:
                return json_exists(label) && has_value(requirement, value);
        case SELECTOR_NOT_IN:
                return !json_exists(label) || !has_value(requirement, value);
        case SELECTOR_EXISTS:
                return json_exists(label);
        case SELECTOR_NOT_EXISTS:
                return !json_exists(label);
        case SELECTOR_GREATER:
        case SELECTOR_LESS:
                return json_exists(label) && compares(requirement, value);
        }
        return false;
}

bool label_selector_matches(const struct label_selector *selector, struct json_value labels)
{
        if (selector->matches_nothing)
                return false;
        for (size_t i = 0; i < selector->count; i++)
                if (!requirement_holds(&selector->requirements[i], labels))
                        return false;
        return true;
}

bool label_selector_requires(const struct label_selector *selector, struct str key,
                             struct str *ret_value)
{
        for (size_t i = 0; i < selector->count; i++) {
                const struct selector_requirement *requirement = &selector->requirements[i];
                if (requirement->how != SELECTOR_IN || requirement->value_count != 1 ||
                    !str_equal(requirement->key, key))
                        continue;
                *ret_value = requirement->values[0];
                return true;
        }
        return false;
}

/* ---- writing ---- */

static int write_values(const struct selector_requirement *requirement, struct buffer *out)
{
        int r = buffer_append_str(out,
                                  requirement->how == SELECTOR_IN ? STR(" in (") : STR(" notin ("));

        for (size_t i = 0; i < requirement->value_count && r == 0; i++) {
                if (i > 0)
                        r = buffer_append_char(out, ',');
                if (r == 0)
                        r = buffer_append_str(out, requirement->values[i]);
        }
        return r < 0 ? r : buffer_append_char(out, ')');
}

static int write_requirement(const struct selector_requirement *requirement, struct buffer *out)
{
        static const char *const signs[] = {
                [SELECTOR_IN] = "=",        [SELECTOR_NOT_IN] = "!=", [SELECTOR_EXISTS] = "",
                [SELECTOR_NOT_EXISTS] = "", [SELECTOR_GREATER] = ">", [SELECTOR_LESS] = "<",
        };
        int r = requirement->how == SELECTOR_NOT_EXISTS ? buffer_append_char(out, '!') : 0;

        if (r == 0)
                r = buffer_append_str(out, requirement->key);
        if (r == 0 && requirement->value_count > 1)
                return write_values(requirement, out);
        if (r == 0)
                r = buffer_append_str(out, str_from(signs[requirement->how]));
        if (r == 0 && requirement->value_count == 1)
                r = buffer_append_str(out, requirement->values[0]);
        return r;
}

int label_selector_write(const struct label_selector *selector, struct buffer *out)
{
        int r = 0;

        for (size_t i = 0; i < selector->count && r == 0; i++) {
                if (i > 0)
                        r = buffer_append_char(out, ',');
                if (r == 0)
                        r = write_requirement(&selector->requirements[i], out);
        }
        return r;
}
