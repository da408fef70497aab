// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/multipart.h"

#include <errno.h>
#include <string.h>

enum state {
        PREAMBLE,
        DELIMITER,       /* all of it was seen: what follows says whether it was the last */
        DELIMITER_DASH,  /* one dash after it */
        DELIMITER_BLANK, /* padding after it */
        DELIMITER_CR,
        HEADERS,
        CONTENTS,
        CONTENTS_END, /* the delimiter was seen, the part's end not yet reported */
        EPILOGUE_BEGIN,
        EPILOGUE,
};

static bool is_token(char c)
{
        return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

struct parameter {
        struct str name;
        char *value; /* unquoted in place */
        size_t value_length;
};

static char *skip_blanks(char *at, const char *end)
{
        while (at < end && (*at == ' ' || *at == '\t'))
                at++;
        return at;
}

/*
 * Takes the next "; name=value" at *at, removing quotes in place. Only `\"` and `\\` are escapes:
 * clients send other backslashes of a file name as they are (WHATWG HTML).
 * Returns 1, 0 at the end, -EBADMSG.
 */
static int next_parameter(char **at, char *end, struct parameter *ret_parameter)
{
        char *next = skip_blanks(*at, end), *name, *out;

        if (next == end)
                return 0;
        if (*next != ';')
                return -EBADMSG;
        name = next = skip_blanks(next + 1, end);
        if (next == end)
                return 0;
        while (next < end && is_token(*next))
                next++;
        ret_parameter->name = (struct str){ name, (size_t)(next - name) };
        if (next == name || next == end || *next != '=')
                return -EBADMSG;
        next++;
        ret_parameter->value = out = next;
        if (next < end && *next == '"') {
                next++;
                while (next < end && *next != '"') {
                        if (*next == '\\' && next + 1 < end && (next[1] == '"' || next[1] == '\\'))
                                next++;
                        *out++ = *next++;
                }
                if (next == end)
                        return -EBADMSG;
                next++;
        } else {
                while (next < end && *next != ';' && *next != ' ' && *next != '\t')
                        *out++ = *next++;
        }
        ret_parameter->value_length = (size_t)(out - ret_parameter->value);
        *at = next;
        return 1;
}

static struct str parameter_value(const struct parameter *parameter)
{
        return (struct str){ parameter->value, parameter->value_length };
}

static bool media_type_is_form(struct str content_type, struct str *ret_parameters)
{
        struct str type, rest;

        str_cut(content_type, ';', &type, &rest);
        if (!str_equal_ignoring_case(str_trim(type), STR("multipart/form-data")))
                return false;
        *ret_parameters = str_slice(content_type, type.length, content_type.length);
        return true;
}

bool multipart_is_type(struct str content_type)
{
        struct str parameters;

        return media_type_is_form(content_type, &parameters);
}

int multipart_init(struct multipart *multipart, struct str content_type)
{
        char copy[512], *at = copy;
        struct parameter parameter;
        struct str text;
        int r;

        if (!media_type_is_form(content_type, &text) || text.length > sizeof(copy))
                return -EINVAL;
        if (text.length > 0)
                memcpy(copy, text.data, text.length);
        while ((r = next_parameter(&at, copy + text.length, &parameter)) > 0)
                if (str_equal_ignoring_case(parameter.name, STR("boundary")))
                        break;
        if (r <= 0 || parameter.value_length == 0 ||
            parameter.value_length > MULTIPART_BOUNDARY_LIMIT)
                return -EINVAL;
        for (size_t i = 0; i < parameter.value_length; i++)
                if (parameter.value[i] < ' ' || parameter.value[i] == 0x7f)
                        return -EINVAL;

        *multipart = (struct multipart){ .delimiter = "\r\n--",
                                         .delimiter_length = 4 + parameter.value_length,
                                         /* The first delimiter may lack its CR LF. */
                                         .matched = 2,
                                         .lent = 2,
                                         .state = PREAMBLE };
        memcpy(multipart->delimiter + 4, parameter.value, parameter.value_length);
        return 0;
}

/*
 * Looks for the delimiter in *input. Returns true when it is complete, else false with the piece
 * that is certainly none of it in *ret_data (empty: needs input). CR stands only at its start, so
 * a failed match never hides another one, and what was held back is the delimiter's own start.
 */
static bool find_delimiter(struct multipart *multipart, struct str *input, struct str *ret_data)
{
        const char *at = input->data, *end = input->data + input->length;

        if (multipart->matched == 0) {
                const char *cr = at < end ? memchr(at, '\r', (size_t)(end - at)) : NULL;
                const char *stop = cr ? cr : end;
                if (stop > at) {
                        *ret_data = (struct str){ at, (size_t)(stop - at) };
                        *input = (struct str){ stop, (size_t)(end - stop) };
                        return false;
                }
        }
        while (at < end && multipart->matched < multipart->delimiter_length &&
               *at == multipart->delimiter[multipart->matched]) {
                multipart->matched++;
                at++;
        }
        *input = (struct str){ at, (size_t)(end - at) };
        *ret_data = STR_EMPTY;
        if (multipart->matched == multipart->delimiter_length) {
                multipart->matched = multipart->lent = 0;
                return true;
        }
        if (at < end) {
                *ret_data = (struct str){ multipart->delimiter + multipart->lent,
                                          multipart->matched - multipart->lent };
                multipart->matched = multipart->lent = 0;
        }
        return false;
}

/* RFC 8187 ext-value, decoded in place; only UTF-8 is told apart by nobody, so it is the only one.
 */
static int decode_extended(struct parameter *parameter)
{
        struct str charset, language, value;
        char *out = parameter->value;

        if (!str_cut(parameter_value(parameter), '\'', &charset, &value) ||
            !str_cut(value, '\'', &language, &value) ||
            !str_equal_ignoring_case(charset, STR("utf-8")))
                return -EBADMSG;
        for (size_t i = 0; i < value.length; i++) {
                if (value.data[i] != '%') {
                        *out++ = value.data[i];
                        continue;
                }
                int high = i + 2 < value.length ? hex_digit(value.data[i + 1]) : -1;
                int low = i + 2 < value.length ? hex_digit(value.data[i + 2]) : -1;
                if (high < 0 || low < 0)
                        return -EBADMSG;
                *out++ = (char)(high << 4 | low);
                i += 2;
        }
        parameter->value_length = (size_t)(out - parameter->value);
        return 0;
}

static int parse_disposition(struct multipart *multipart, char *at, char *end)
{
        struct parameter parameter;
        bool extended = false;
        char *type = at;
        int r;

        while (at < end && is_token(*at))
                at++;
        if (!str_equal_ignoring_case((struct str){ type, (size_t)(at - type) }, STR("form-data")))
                return -EBADMSG;
        while ((r = next_parameter(&at, end, &parameter)) > 0) {
                if (str_equal_ignoring_case(parameter.name, STR("name"))) {
                        multipart->name = parameter_value(&parameter);
                } else if (str_equal_ignoring_case(parameter.name, STR("filename*"))) {
                        r = decode_extended(&parameter);
                        if (r < 0)
                                return r;
                        multipart->filename = parameter_value(&parameter);
                        multipart->has_filename = extended = true;
                } else if (str_equal_ignoring_case(parameter.name, STR("filename")) && !extended) {
                        multipart->filename = parameter_value(&parameter);
                        multipart->has_filename = true;
                }
        }
        return r;
}

/* `headers` holds whole lines, the last one empty. */
static int parse_headers(struct multipart *multipart)
{
        char *line = multipart->headers, *end = multipart->headers + multipart->headers_length - 2;

        multipart->name = multipart->filename = STR_EMPTY;
        multipart->has_filename = false;
        while (line < end) {
                char *stop = memchr(line, '\r', (size_t)(end - line));
                struct str name, value;

                if (!stop || stop[1] != '\n')
                        return -EBADMSG;
                if (!str_cut((struct str){ line, (size_t)(stop - line) }, ':', &name, &value))
                        return -EBADMSG;
                if (str_equal_ignoring_case(name, STR("content-disposition"))) {
                        int r = parse_disposition(multipart,
                                                  skip_blanks(line + name.length + 1, stop), stop);
                        if (r < 0)
                                return r;
                }
                line = stop + 2;
        }
        return 0;
}

static int take_headers(struct multipart *multipart, struct str *input)
{
        while (input->length > 0) {
                if (multipart->headers_length == LIMIT_PART_HEADERS)
                        return -E2BIG;
                multipart->headers[multipart->headers_length++] = input->data[0];
                *input = str_slice(*input, 1, input->length);

                struct str so_far = { multipart->headers, multipart->headers_length };
                if (!str_equal(so_far, STR("\r\n")) && !str_ends_with(so_far, STR("\r\n\r\n")))
                        continue;
                int r = parse_headers(multipart);
                if (r < 0)
                        return r;
                multipart->state = CONTENTS;
                /* An empty part's delimiter may use the CR LF that ended the headers. */
                multipart->matched = multipart->lent = 2;
                return MULTIPART_PART_BEGINS;
        }
        return MULTIPART_NEEDS_INPUT;
}

/* One byte after a delimiter: "--" ends the body, padding and CR LF begin a part. */
static int take_after_delimiter(struct multipart *multipart, char c)
{
        switch (multipart->state) {
        case DELIMITER:
                if (c == '-') {
                        multipart->state = DELIMITER_DASH;
                        return 0;
                }
                /* fall through */
        case DELIMITER_BLANK:
                if (c != ' ' && c != '\t' && c != '\r')
                        return -EBADMSG;
                multipart->state = c == '\r' ? DELIMITER_CR : DELIMITER_BLANK;
                return 0;
        case DELIMITER_DASH:
                multipart->state = EPILOGUE_BEGIN;
                return c == '-' ? 0 : -EBADMSG;
        default:
                multipart->state = HEADERS;
                multipart->headers_length = 0;
                return c == '\n' ? 0 : -EBADMSG;
        }
}

int multipart_next(struct multipart *multipart, struct str *input, struct str *ret_data)
{
        struct str data;
        int r;

        for (;;) {
                switch ((enum state)multipart->state) {
                case PREAMBLE:
                        if (find_delimiter(multipart, input, &data))
                                multipart->state = DELIMITER;
                        else if (data.length == 0 && input->length == 0)
                                return MULTIPART_NEEDS_INPUT;
                        break;
                case CONTENTS:
                        if (find_delimiter(multipart, input, &data)) {
                                multipart->state = CONTENTS_END;
                        } else if (data.length > 0) {
                                *ret_data = data;
                                return MULTIPART_DATA;
                        } else if (input->length == 0) {
                                return MULTIPART_NEEDS_INPUT;
                        }
                        break;
                case CONTENTS_END:
                        multipart->state = DELIMITER;
                        return MULTIPART_PART_ENDS;
                case HEADERS:
                        return take_headers(multipart, input);
                case EPILOGUE_BEGIN:
                        multipart->state = EPILOGUE;
                        return MULTIPART_ENDS;
                case EPILOGUE:
                        *input = STR_EMPTY;
                        return MULTIPART_NEEDS_INPUT;
                case DELIMITER:
                case DELIMITER_DASH:
                case DELIMITER_BLANK:
                case DELIMITER_CR:
                        if (input->length == 0)
                                return MULTIPART_NEEDS_INPUT;
                        r = take_after_delimiter(multipart, input->data[0]);
                        *input = str_slice(*input, 1, input->length);
                        if (r < 0)
                                return r;
                        break;
                }
        }
}
