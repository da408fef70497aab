// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/process_messages.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/protowire.h"

/* Field numbers, by message. */
enum {
        START_CONFIG = 1,
        START_PTY = 2,
        PTY_COLS = 1,
        PTY_ROWS = 2,
        CONFIG_COMMAND = 1,
        CONFIG_VARIABLES = 2,
        CONFIG_CWD = 3,
        ENTRY_KEY = 1,
        ENTRY_VALUE = 2,
        REQUEST_PROCESS_ID = 1,
        STDIN_INPUT = 2,
        STDIN_EOF = 3,
        SIGNAL_SIGNAL = 2,
        RESIZE_COLS = 2,
        RESIZE_ROWS = 3,
        EXECUTE_EXIT_CODE = 1,
        EXECUTE_STDOUT = 2,
        EXECUTE_STDERR = 3,
        EVENT_NUMBER = 1, /* of InitEvent and ExitEvent alike */
};

/* A list that grows in the arena, NULL-terminated. */
struct words {
        char **items;
        size_t count, capacity;
};

static int add_word(struct arena *arena, struct words *words, char *word)
{
        if (words->count == LIMIT_PROCESS_WORDS)
                return -E2BIG;
        if (words->count + 1 >= words->capacity) {
                size_t capacity = words->capacity ? 2 * words->capacity : 16;
                char **items = arena_new(arena, char *, capacity);

                if (!items)
                        return -ENOMEM;
                if (words->count)
                        memcpy(items, words->items, words->count * sizeof(*items));
                words->items = items;
                words->capacity = capacity;
        }
        words->items[words->count++] = word;
        words->items[words->count] = NULL;
        return 0;
}

static int copy(struct arena *arena, struct str text, char **ret)
{
        if (text.length && memchr(text.data, '\0', text.length))
                return -EINVAL;
        struct str copied = arena_str(arena, text);
        *ret = (char *)(uintptr_t)copied.data;
        return copied.data ? 0 : -ENOMEM;
}

/* ---- reading ---- */

/* A field of another form than its message says is unknown, and passed over. */
static bool is(const struct protowire_field *field, uint32_t number, enum protowire_type type)
{
        return field->number == number && field->type == type;
}

static int read_variable(struct arena *arena, struct str entry, struct words *variables)
{
        struct str key = STR_EMPTY, value = STR_EMPTY, line;
        struct protowire_field field;
        int r;

        while ((r = protowire_next(&entry, &field)) > 0) {
                if (is(&field, ENTRY_KEY, PROTOWIRE_BYTES))
                        key = field.bytes;
                else if (is(&field, ENTRY_VALUE, PROTOWIRE_BYTES))
                        value = field.bytes;
        }
        if (r < 0)
                return r;
        if (key.length == 0 || memchr(key.data, '=', key.length) ||
            memchr(key.data, '\0', key.length) ||
            (value.length && memchr(value.data, '\0', value.length)))
                return -EINVAL;
        line = (struct str){ arena_alloc(arena, key.length + value.length + 2),
                             key.length + value.length + 1 };
        if (!line.data)
                return -ENOMEM;
        char *text = (char *)(uintptr_t)line.data;
        memcpy(text, key.data, key.length);
        text[key.length] = '=';
        if (value.length)
                memcpy(text + key.length + 1, value.data, value.length);
        return add_word(arena, variables, text);
}

static int read_config(struct arena *arena, struct str message, struct process_config *config,
                       struct words *command, struct words *variables)
{
        struct protowire_field field;
        char *word;
        int r, s = 0;

        while (s == 0 && (r = protowire_next(&message, &field)) != 0) {
                if (r < 0)
                        return r;
                if (is(&field, CONFIG_COMMAND, PROTOWIRE_BYTES)) {
                        s = copy(arena, field.bytes, &word);
                        if (s == 0)
                                s = add_word(arena, command, word);
                } else if (is(&field, CONFIG_VARIABLES, PROTOWIRE_BYTES)) {
                        s = read_variable(arena, field.bytes, variables);
                } else if (is(&field, CONFIG_CWD, PROTOWIRE_BYTES)) {
                        s = copy(arena, field.bytes, &word);
                        config->cwd = word;
                }
        }
        return s;
}

static int read_terminal(struct str message, struct start_request *request)
{
        struct protowire_field field;
        int r;

        request->has_terminal = true;
        while ((r = protowire_next(&message, &field)) > 0) {
                if (is(&field, PTY_COLS, PROTOWIRE_VARINT))
                        request->cols = (uint32_t)field.value;
                else if (is(&field, PTY_ROWS, PROTOWIRE_VARINT))
                        request->rows = (uint32_t)field.value;
        }
        return r;
}

struct named {
        const char *line;
        size_t name_length, position;
};

static int compare_names(const void *a, const void *b)
{
        const struct named *x = a, *y = b;
        int r = str_compare((struct str){ x->line, x->name_length },
                            (struct str){ y->line, y->name_length });

        return r ? r : x->position < y->position ? -1 : 1;
}

/* Of a map's entries with one key the last counts. */
static int keep_last(struct arena *arena, struct words *variables)
{
        struct named *named = arena_new(arena, struct named, variables->count + 1);
        size_t kept = 0;

        if (!named)
                return -ENOMEM;
        for (size_t i = 0; i < variables->count; i++)
                named[i] =
                        (struct named){ variables->items[i], strcspn(variables->items[i], "="), i };
        qsort(named, variables->count, sizeof(*named), compare_names);
        for (size_t i = 0; i < variables->count; i++)
                if (i + 1 == variables->count || named[i].name_length != named[i + 1].name_length ||
                    memcmp(named[i].line, named[i + 1].line, named[i].name_length) != 0)
                        variables->items[kept++] = (char *)(uintptr_t)named[i].line;
        variables->count = kept;
        variables->items[kept] = NULL;
        return 0;
}

int start_request_read(struct arena *arena, struct str message, struct start_request *ret_request)
{
        struct words command = { 0 }, variables = { 0 };
        struct start_request request = { 0 };
        struct protowire_field field;
        int r, s = 0;

        while ((r = protowire_next(&message, &field)) > 0) {
                if (is(&field, START_CONFIG, PROTOWIRE_BYTES))
                        s = read_config(arena, field.bytes, &request.config, &command, &variables);
                else if (is(&field, START_PTY, PROTOWIRE_BYTES))
                        s = read_terminal(field.bytes, &request);
                if (s < 0)
                        return s;
        }
        if (r == 0 && variables.count > 0)
                r = keep_last(arena, &variables);
        if (r < 0)
                return r;
        request.config.command = command.items;
        request.config.command_count = command.count;
        request.config.variables = variables.items;
        request.config.variable_count = variables.count;
        *ret_request = request;
        return 0;
}

int process_request_read(enum process_message type, struct str message,
                         struct process_request *ret_request)
{
        struct process_request request = { 0 };
        struct protowire_field field;
        int r;

        while ((r = protowire_next(&message, &field)) > 0) {
                if (is(&field, REQUEST_PROCESS_ID, PROTOWIRE_VARINT)) {
                        request.process_id = (int32_t)(uint32_t)field.value;
                } else if (type == WRITE_STDIN_REQUEST &&
                           is(&field, STDIN_INPUT, PROTOWIRE_BYTES)) {
                        request.input = field.bytes;
                        request.eof = false;
                } else if (type == WRITE_STDIN_REQUEST && is(&field, STDIN_EOF, PROTOWIRE_BYTES)) {
                        request.input = STR_EMPTY;
                        request.eof = true;
                } else if (type == SEND_SIGNAL_REQUEST &&
                           is(&field, SIGNAL_SIGNAL, PROTOWIRE_VARINT)) {
                        request.signal = (int32_t)(uint32_t)field.value;
                } else if (type == RESIZE_TTY_REQUEST &&
                           is(&field, RESIZE_COLS, PROTOWIRE_VARINT)) {
                        request.cols = (uint32_t)field.value;
                } else if (type == RESIZE_TTY_REQUEST &&
                           is(&field, RESIZE_ROWS, PROTOWIRE_VARINT)) {
                        request.rows = (uint32_t)field.value;
                }
        }
        if (r < 0)
                return r;
        *ret_request = request;
        return 0;
}

/* ---- writing ---- */

/* int32: negative ones are ten bytes. */
static void write_number(struct protowire_writer *writer, uint32_t number, int32_t value)
{
        if (value != 0)
                protowire_write_varint(writer, number, (uint64_t)(int64_t)value);
}

int execute_response_write(struct buffer *out, int32_t exit_code, struct str stdout_bytes,
                           struct str stderr_bytes)
{
        struct protowire_writer writer = { .out = out };

        write_number(&writer, EXECUTE_EXIT_CODE, exit_code);
        if (stdout_bytes.length > 0)
                protowire_write_bytes(&writer, EXECUTE_STDOUT, stdout_bytes);
        if (stderr_bytes.length > 0)
                protowire_write_bytes(&writer, EXECUTE_STDERR, stderr_bytes);
        return writer.failure;
}

static int write_event(struct buffer *out, enum start_event event, int32_t value)
{
        struct protowire_writer writer = { .out = out };
        size_t begun = protowire_begin(&writer, event);

        write_number(&writer, EVENT_NUMBER, value);
        protowire_end(&writer, begun);
        return writer.failure;
}

int start_init_write(struct buffer *out, int32_t process_id)
{
        return write_event(out, START_INIT, process_id);
}

int start_output_write(struct buffer *out, enum start_event event, struct str bytes)
{
        struct protowire_writer writer = { .out = out };

        protowire_write_bytes(&writer, event, bytes);
        return writer.failure;
}

int start_exit_write(struct buffer *out, int32_t exit_code)
{
        return write_event(out, START_EXIT, exit_code);
}
