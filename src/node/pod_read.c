// SPDX-License-Identifier: Apache-2.0
#include "node/pod_read.h"

#include <errno.h>
#include <stdio.h>

#include "kube/quantity.h"

size_t pod_path_enter(struct pod_reader *reader, const char *format, ...)
{
        size_t length = reader->path_length;
        va_list arguments;

        va_start(arguments, format);
        int written =
                vsnprintf(reader->path + length, sizeof(reader->path) - length, format, arguments);
        va_end(arguments);
        if (written > 0)
                reader->path_length = MIN(length + (size_t)written, sizeof(reader->path) - 1);
        return length;
}

void pod_path_leave(struct pod_reader *reader, size_t length)
{
        reader->path_length = length;
        reader->path[length] = '\0';
}

int pod_refuse(struct pod_reader *reader, int code, const char *key, const char *format, ...)
{
        char sentence[256];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        return error_set(reader->error, code, "%s%s%s: %s", reader->path, key ? "." : "",
                         key ? key : "", sentence);
}

static bool says_nothing(struct json_value value)
{
        switch (json_type(value)) {
        case JSON_BOOL:
                return !json_bool_or(value, true);
        case JSON_NUMBER:
                return json_int64_or(value, 1) == 0;
        case JSON_STRING:
                return json_string(value).length == 0;
        case JSON_ARRAY:
        case JSON_OBJECT:
                return json_count(value) == 0;
        default:
                return true;
        }
}

int pod_check_members(struct pod_reader *reader, struct json_value object, const char *const *known)
{
        json_for_each (it, object) {
                const char *const *name = known;
                while (*name && !str_equal(str_from(*name), it.key))
                        name++;
                if (*name || says_nothing(it.value))
                        continue;
                char key[LIMIT_LABEL + 1];
                snprintf(key, sizeof(key), "%.*s", (int)MIN(it.key.length, sizeof(key) - 1),
                         it.key.data);
                return pod_refuse(reader, -EOPNOTSUPP, key, "not supported by this node");
        }
        return 0;
}

static bool is_absent(struct json_value value)
{
        return !json_exists(value) || json_type(value) == JSON_NULL;
}

static int take_string(struct pod_reader *reader, struct json_value value, const char *key,
                       struct str *ret)
{
        if (json_type(value) != JSON_STRING)
                return pod_refuse(reader, -EINVAL, key, "must be a string");
        struct str text = json_string(value);
        if (text.length > 0 && memchr(text.data, '\0', text.length))
                return pod_refuse(reader, -EINVAL, key, "must not contain NUL");
        *ret = text;
        return 0;
}

int pod_read_string(struct pod_reader *reader, struct json_value object, const char *key,
                    struct str fallback, struct str *ret)
{
        struct json_value value = json_get(object, key);

        if (is_absent(value)) {
                *ret = fallback;
                return 0;
        }
        return take_string(reader, value, key, ret);
}

int pod_read_bool(struct pod_reader *reader, struct json_value object, const char *key,
                  bool fallback, bool *ret)
{
        struct json_value value = json_get(object, key);

        if (!is_absent(value) && json_type(value) != JSON_BOOL)
                return pod_refuse(reader, -EINVAL, key, "must be true or false");
        *ret = json_bool_or(value, fallback);
        return 0;
}

int pod_read_int(struct pod_reader *reader, struct json_value object, const char *key, int64_t min,
                 int64_t max, int64_t fallback, int64_t *ret)
{
        struct json_value value = json_get(object, key);
        int64_t number;

        if (is_absent(value)) {
                *ret = fallback;
                return 0;
        }
        if (json_int64(value, &number) < 0 || number < min || number > max)
                return pod_refuse(reader, -EINVAL, key, "must be a number from %lld to %lld",
                                  (long long)min, (long long)max);
        *ret = number;
        return 0;
}

int pod_read_array_of(struct pod_reader *reader, struct json_value object, const char *key,
                      size_t limit, size_t size, void **ret_items, size_t *ret_count)
{
        struct json_value value = json_get(object, key);

        if (!is_absent(value) && json_type(value) != JSON_ARRAY)
                return pod_refuse(reader, -EINVAL, key, "must be a list");
        size_t count = json_count(value);
        if (count > limit)
                return pod_refuse(reader, -E2BIG, key, "has %zu items; this node allows %zu", count,
                                  limit);
        void *items = arena_alloc_array(reader->arena, size, count);
        if (!items)
                return -ENOMEM;
        *ret_items = items;
        *ret_count = count;
        return 0;
}

int pod_read_strings(struct pod_reader *reader, struct json_value object, const char *key,
                     struct pod_strings *ret)
{
        struct str *items;
        size_t count, i = 0;

        int r = pod_read_array(reader, object, key, LIMIT_ARGUMENTS / 8, struct str, &items,
                               &count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(object, key)) {
                r = take_string(reader, it.value, key, &items[i++]);
                if (r < 0)
                        return r;
        }
        *ret = (struct pod_strings){ items, count };
        return 0;
}

int pod_read_enum(struct pod_reader *reader, struct json_value object, const char *key,
                  const char *const *names, size_t count, unsigned fallback, unsigned *ret)
{
        struct str text;

        int r = pod_read_string(reader, object, key, STR_EMPTY, &text);
        if (r < 0)
                return r;
        if (text.length == 0) {
                *ret = fallback;
                return 0;
        }
        for (unsigned i = 0; i < count; i++) {
                if (str_equal(text, str_from(names[i]))) {
                        *ret = i;
                        return 0;
                }
        }
        return pod_refuse(reader, -EOPNOTSUPP, key, "\"%.*s\" is not supported by this node",
                          (int)MIN(text.length, LIMIT_LABEL), text.data);
}

bool pod_path_is_relative(struct str path)
{
        if (path.length == 0 || path.length >= 4096 || path.data[0] == '/')
                return false;
        for (bool more = true; more;) {
                struct str part;
                more = str_cut(path, '/', &part, &path);
                if (part.length == 0 || str_equal(part, STR(".")) || str_equal(part, STR("..")))
                        return false;
        }
        return true;
}

int pod_read_divisor(struct pod_reader *reader, struct json_value reference, uint64_t *ret)
{
        struct json_value value = json_get(reference, "divisor");
        struct quantity divisor;

        if (is_absent(value) || json_string_is(value, STR("0")) || json_string_is(value, STR(""))) {
                *ret = 1000;
                return 0;
        }
        if (quantity_read(value, &divisor) < 0 || quantity_milli(&divisor) < 1)
                return pod_refuse(reader, -EINVAL, "divisor", "must be a positive quantity");
        *ret = (uint64_t)quantity_milli(&divisor);
        return 0;
}
