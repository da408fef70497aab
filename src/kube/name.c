// SPDX-License-Identifier: Apache-2.0
#include "kube/name.h"

#include "base/limit.h"

#define LABEL_TOO_LONG     "must be no more than 63 characters"
#define SUBDOMAIN_TOO_LONG "must be no more than 253 characters"
#define EMPTY_MESSAGE      "must be non-empty"

#define LABEL_MESSAGE                                                                              \
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "   \
        "and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "   \
        "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_MESSAGE                                                                          \
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "  \
        "or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "      \
        "regex used for validation is "                                                            \
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define LABEL_1035_MESSAGE                                                                         \
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "  \
        "an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "    \
        "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define QUALIFIED_TAIL                                                                             \
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "   \
        "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "  \
        "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define LABEL_VALUE_MESSAGE                                                                        \
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "   \
        "or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "      \
        "'my_value',  or '12345', regex used for validation is "                                   \
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
#define CONFIG_KEY_MESSAGE                                                                         \
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "       \
        "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "                \
        "'[-._a-zA-Z0-9]+')"

static bool is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_lower_or_digit(char c)
{
        return is_lower(c) || (c >= '0' && c <= '9');
}

static bool is_alphanumeric(char c)
{
        return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool is_mark(char c)
{
        return c == '-' || c == '_' || c == '.';
}

static bool is_label(struct str name)
{
        if (name.length == 0 || !is_lower_or_digit(name.data[0]) ||
            !is_lower_or_digit(name.data[name.length - 1]))
                return false;
        for (size_t i = 0; i < name.length; i++)
                if (!is_lower_or_digit(name.data[i]) && name.data[i] != '-')
                        return false;
        return true;
}

static bool is_subdomain(struct str name)
{
        struct str label;
        bool more;

        do {
                more = str_cut(name, '.', &label, &name);
                if (!is_label(label))
                        return false;
        } while (more);
        return true;
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool is_qualified_part(struct str name)
{
        if (name.length == 0 || !is_alphanumeric(name.data[0]) ||
            !is_alphanumeric(name.data[name.length - 1]))
                return false;
        for (size_t i = 0; i < name.length; i++)
                if (!is_alphanumeric(name.data[i]) && !is_mark(name.data[i]))
                        return false;
        return true;
}

const char *name_check_dns_label(struct str name)
{
        if (name.length > LIMIT_LABEL)
                return LABEL_TOO_LONG;
        return is_label(name) ? NULL : LABEL_MESSAGE;
}

const char *name_check_dns_subdomain(struct str name)
{
        if (name.length > LIMIT_NAME)
                return SUBDOMAIN_TOO_LONG;
        return is_subdomain(name) ? NULL : SUBDOMAIN_MESSAGE;
}

const char *name_check_dns1035_label(struct str name)
{
        if (name.length > LIMIT_LABEL)
                return LABEL_TOO_LONG;
        return is_label(name) && is_lower(name.data[0]) ? NULL : LABEL_1035_MESSAGE;
}

const char *name_check_path_segment(struct str name)
{
        if (str_equal(name, STR(".")))
                return "may not be '.'";
        if (str_equal(name, STR("..")))
                return "may not be '..'";
        if (name.length > 0 && memchr(name.data, '/', name.length))
                return "may not contain '/'";
        if (name.length > 0 && memchr(name.data, '%', name.length))
                return "may not contain '%'";
        return NULL;
}

const char *name_check_qualified(struct str key)
{
        struct str prefix = STR_EMPTY, name = key, more;

        if (str_cut(key, '/', &prefix, &name)) {
                if (str_cut(name, '/', &more, &more))
                        return "a qualified name " QUALIFIED_TAIL
                               " with an optional DNS subdomain prefix and '/' (e.g. "
                               "'example.com/MyName')";
                if (prefix.length == 0)
                        return "prefix part " EMPTY_MESSAGE;
                if (prefix.length > LIMIT_NAME)
                        return "prefix part " SUBDOMAIN_TOO_LONG;
                if (!is_subdomain(prefix))
                        return "prefix part " SUBDOMAIN_MESSAGE;
        } else {
                name = key;
        }
        if (name.length == 0)
                return "name part " EMPTY_MESSAGE;
        if (name.length > LIMIT_LABEL)
                return "name part " LABEL_TOO_LONG;
        return is_qualified_part(name) ? NULL : "name part " QUALIFIED_TAIL;
}

const char *name_check_label_value(struct str value)
{
        if (value.length > LIMIT_LABEL)
                return LABEL_TOO_LONG;
        return value.length == 0 || is_qualified_part(value) ? NULL : LABEL_VALUE_MESSAGE;
}

const char *name_check_config_key(struct str key)
{
        if (key.length > LIMIT_NAME)
                return SUBDOMAIN_TOO_LONG;
        if (str_equal(key, STR(".")))
                return "must not be '.'";
        if (str_starts_with(key, STR("..")))
                return "must not start with '..'";
        for (size_t i = 0; i < key.length; i++)
                if (!is_alphanumeric(key.data[i]) && !is_mark(key.data[i]))
                        return CONFIG_KEY_MESSAGE;
        return key.length > 0 ? NULL : CONFIG_KEY_MESSAGE;
}

struct str name_generate(struct arena *arena, struct str base)
{
        char suffix[NAME_SUFFIX_LENGTH + 1];

        random_name_suffix(suffix);
        base.length = MIN(base.length, (size_t)NAME_GENERATE_BASE);
        return arena_printf(arena, "%.*s%s", STR_FORMAT(base), suffix);
}
