// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kube/selector.h"

/* k8s.io/apimachinery pkg/fields. */

/* The length of the first term: to a comma that is not escaped. */
static size_t term_length(struct str text)
{
        bool escaped = false;

        for (size_t i = 0; i < text.length; i++) {
                if (!escaped && text.data[i] == ',')
                        return i;
                escaped = !escaped && text.data[i] == '\\';
        }
        return text.length;
}

static int unescape(struct str value, struct arena *arena, struct error *error,
                    struct str *ret_value)
{
        char *out = arena_alloc(arena, value.length + 1);
        size_t length = 0;

        if (!out)
                return error_set(error, -ENOMEM, "out of memory");
        for (size_t i = 0; i < value.length; i++) {
                char c = value.data[i];
                if (c == '\\') {
                        if (++i == value.length)
                                return error_set(error, -EINVAL,
                                                 "invalid field selector: invalid escape "
                                                 "sequence: \\");
                        c = value.data[i];
                        if (c != '\\' && c != ',' && c != '=')
                                return error_set(error, -EINVAL,
                                                 "invalid field selector: invalid escape "
                                                 "sequence: \\%c",
                                                 c);
                } else if (c == '=') {
                        return error_set(error, -EINVAL,
                                         "invalid field selector: unescaped character in value: =");
                }
                out[length++] = c;
        }
        *ret_value = (struct str){ out, length };
        return 0;
}

static int parse_term(struct str term, struct arena *arena, struct error *error,
                      struct field_requirement *requirement)
{
        size_t at = 0, end;

        while (at < term.length && term.data[at] != '=' &&
               !(term.data[at] == '!' && at + 1 < term.length && term.data[at + 1] == '='))
                at++;
        if (at == term.length || at == 0)
                return error_set(error, -EINVAL,
                                 "invalid selector: '%.*s'; can't understand '%.*s'",
                                 STR_FORMAT(term), STR_FORMAT(term));
        requirement->path = str_slice(term, 0, at);
        requirement->negated = term.data[at] == '!';
        end = at + 1;
        if (requirement->negated || (end < term.length && term.data[end] == '='))
                end++;
        return unescape(str_slice(term, end, term.length), arena, error, &requirement->value);
}

int field_selector_parse(struct str text, struct arena *arena, struct error *error,
                         struct field_selector *ret_selector)
{
        size_t room = 1, count = 0;

        for (size_t i = 0; i < text.length; i++)
                room += text.data[i] == ',';
        struct field_requirement *requirements = arena_new(arena, struct field_requirement, room);
        if (!requirements)
                return error_set(error, -ENOMEM, "out of memory");
        while (text.length > 0) {
                size_t length = term_length(text);
                struct str term = str_slice(text, 0, length);
                text = str_slice(text, MIN(length + 1, text.length), text.length);
                if (term.length == 0)
                        continue;
                int r = parse_term(term, arena, error, &requirements[count++]);
                if (r < 0)
                        return r;
        }
        *ret_selector = (struct field_selector){ requirements, count };
        return 0;
}

static struct str field_value(struct json_value object, struct str path)
{
        struct str key;
        bool more;

        do {
                more = str_cut(path, '.', &key, &path);
                object = json_member(object, key);
        } while (more && json_exists(object));
        switch (json_type(object)) {
        case JSON_STRING:
                return json_string(object);
        case JSON_NUMBER:
        case JSON_BOOL:
                return json_text(object);
        default:
                return STR_EMPTY;
        }
}

bool field_selector_matches(const struct field_selector *selector, struct json_value object)
{
        for (size_t i = 0; i < selector->count; i++) {
                const struct field_requirement *requirement = &selector->requirements[i];
                bool equal = str_equal(field_value(object, requirement->path), requirement->value);
                if (equal == requirement->negated)
                        return false;
        }
        return true;
}

bool field_selector_requires(const struct field_selector *selector, struct str path,
                             struct str *ret_value)
{
        for (size_t i = 0; i < selector->count; i++) {
                const struct field_requirement *requirement = &selector->requirements[i];
                if (requirement->negated || !str_equal(requirement->path, path))
                        continue;
                *ret_value = requirement->value;
                return true;
        }
        return false;
}
