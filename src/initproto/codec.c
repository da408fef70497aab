// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "initproto/initproto.h"

enum { SIGNAL_MAX = 64, HOST_MAX = 15, PROCESS_HEAD = 24 };

/* A cursor over a payload; running over its end sets `failed` and gives zeros. */
struct reader {
        struct str rest;
        bool failed;
};

static uint64_t get(struct reader *reader, size_t bytes)
{
        uint64_t value = 0;

        if (reader->rest.length < bytes) {
                reader->failed = true;
                return 0;
        }
        for (size_t i = 0; i < bytes; i++)
                value |= (uint64_t)(uint8_t)reader->rest.data[i] << (8 * i);
        reader->rest = str_slice(reader->rest, bytes, reader->rest.length);
        return value;
}

static uint16_t get_u16(struct reader *reader)
{
        return (uint16_t)get(reader, 2);
}

static uint32_t get_u32(struct reader *reader)
{
        return (uint32_t)get(reader, 4);
}

static struct str get_bytes(struct reader *reader, size_t length)
{
        if (reader->rest.length < length) {
                reader->failed = true;
                return STR_EMPTY;
        }
        struct str bytes = str_slice(reader->rest, 0, length);
        reader->rest = str_slice(reader->rest, length, reader->rest.length);
        return bytes;
}

static struct initproto_exit get_exit(struct reader *reader)
{
        struct initproto_exit exit;

        exit.code = get_u32(reader);
        exit.signal = get_u32(reader);
        exit.finished_ns = get(reader, 8);
        return exit;
}

/* Whether `strings` is exactly `count` NUL-terminated strings. */
static bool are_strings(struct str strings, uint32_t count)
{
        uint32_t found = 0;

        for (size_t i = 0; i < strings.length; i++)
                found += strings.data[i] == '\0';
        return found == count && (strings.length == 0 || strings.data[strings.length - 1] == '\0');
}

static bool is_valid_process(const struct initproto_process *process)
{
        struct str directory = process->working_directory;

        if (process->flags & ~(uint32_t)INITPROTO_FLAGS)
                return false;
        if (process->argv_count == 0 || process->argv_count > INITPROTO_STRINGS ||
            process->env_count > INITPROTO_STRINGS)
                return false;
        if (process->argv.length > LIMIT_ARGUMENTS ||
            process->env.length > LIMIT_ARGUMENTS - process->argv.length)
                return false;
        if (!are_strings(process->argv, process->argv_count) ||
            !are_strings(process->env, process->env_count) || process->argv.data[0] == '\0')
                return false;
        if (directory.length == 0)
                return true;
        return directory.length < 4096 && directory.data[0] == '/' &&
               !memchr(directory.data, '\0', directory.length);
}

static bool is_valid_exit(const struct initproto_exit *exit)
{
        return exit->code <= 255 && exit->signal <= SIGNAL_MAX;
}

static bool is_valid_stream(const struct initproto_frame *frame)
{
        switch (frame->type) {
        case INITPROTO_HELLO:
        case INITPROTO_LOG:
        case INITPROTO_LOG_WATCH:
                return frame->stream == INITPROTO_STREAM_CONNECTION;
        case INITPROTO_START:
                return frame->stream == INITPROTO_STREAM_MAIN;
        case INITPROTO_EXEC:
        case INITPROTO_CONNECT:
        case INITPROTO_CLOSE:
        case INITPROTO_OUTPUT:
        case INITPROTO_ERROR:
                return frame->stream >= INITPROTO_STREAM_FIRST;
        default:
                return frame->stream != INITPROTO_STREAM_CONNECTION;
        }
}

static bool is_valid(const struct initproto_frame *frame)
{
        if (!is_valid_stream(frame))
                return false;
        switch (frame->type) {
        case INITPROTO_HELLO:
                return frame->hello.version > 0 && frame->hello.state <= INITPROTO_ENDED &&
                       is_valid_exit(&frame->hello.exit);
        case INITPROTO_FAILED:
                return frame->failed.error > 0 && frame->failed.error < 4096 &&
                       frame->failed.reason.length <= INITPROTO_REASON;
        case INITPROTO_EXITED:
                return is_valid_exit(&frame->exited);
        case INITPROTO_OUTPUT:
        case INITPROTO_ERROR:
        case INITPROTO_INPUT:
                return frame->data.length <= INITPROTO_DATA;
        case INITPROTO_START:
        case INITPROTO_EXEC:
                return is_valid_process(&frame->process);
        case INITPROTO_CONNECT:
                return frame->connect.port > 0 && frame->connect.host.length <= HOST_MAX &&
                       (frame->connect.host.length == 0 ||
                        !memchr(frame->connect.host.data, '\0', frame->connect.host.length));
        case INITPROTO_SIGNAL:
                return frame->signal >= 1 && frame->signal <= SIGNAL_MAX;
        case INITPROTO_WINDOW_ADD:
                return frame->window.channel < INITPROTO_CHANNELS && frame->window.bytes > 0 &&
                       frame->window.bytes <= INITPROTO_WINDOW;
        case INITPROTO_STARTED:
        case INITPROTO_LOG:
        case INITPROTO_RESIZE:
        case INITPROTO_CLOSE:
        case INITPROTO_LOG_WATCH:
                return true;
        }
        return false;
}

static void decode_process(struct reader *reader, struct initproto_process *process)
{
        process->flags = get_u32(reader);
        process->rows = get_u16(reader);
        process->columns = get_u16(reader);
        process->argv_count = get_u32(reader);
        process->env_count = get_u32(reader);
        uint32_t argv_length = get_u32(reader), env_length = get_u32(reader);
        process->argv = get_bytes(reader, argv_length);
        process->env = get_bytes(reader, env_length);
        process->working_directory = get_bytes(reader, reader->rest.length);
}

static void decode_payload(struct reader *reader, struct initproto_frame *frame)
{
        switch (frame->type) {
        case INITPROTO_HELLO:
                frame->hello.version = get_u32(reader);
                frame->hello.state = (enum initproto_state)get_u32(reader);
                frame->hello.pid = get_u32(reader);
                frame->hello.started_ns = get(reader, 8);
                frame->hello.log_end = get(reader, 8);
                frame->hello.exit = get_exit(reader);
                break;
        case INITPROTO_STARTED:
                frame->started.pid = get_u32(reader);
                frame->started.time_ns = get(reader, 8);
                break;
        case INITPROTO_FAILED:
                frame->failed.error = get_u32(reader);
                frame->failed.reason = get_bytes(reader, reader->rest.length);
                break;
        case INITPROTO_EXITED:
                frame->exited = get_exit(reader);
                break;
        case INITPROTO_OUTPUT:
        case INITPROTO_ERROR:
        case INITPROTO_INPUT:
                frame->data = get_bytes(reader, reader->rest.length);
                break;
        case INITPROTO_LOG:
        case INITPROTO_LOG_WATCH:
                frame->log_end = get(reader, 8);
                break;
        case INITPROTO_START:
        case INITPROTO_EXEC:
                decode_process(reader, &frame->process);
                break;
        case INITPROTO_CONNECT:
                frame->connect.port = get_u16(reader);
                frame->connect.host = get_bytes(reader, reader->rest.length);
                break;
        case INITPROTO_RESIZE:
                frame->resize.rows = get_u16(reader);
                frame->resize.columns = get_u16(reader);
                break;
        case INITPROTO_SIGNAL:
                frame->signal = get_u32(reader);
                break;
        case INITPROTO_CLOSE:
                break;
        case INITPROTO_WINDOW_ADD:
                frame->window.channel = (enum initproto_channel)get_u32(reader);
                frame->window.bytes = get_u32(reader);
                break;
        }
}

int initproto_decode(struct str bytes, struct initproto_frame *ret_frame, size_t *ret_size)
{
        struct reader head = { .rest = bytes };

        if (bytes.length < INITPROTO_HEADER)
                return 0;
        uint32_t length = get_u32(&head);
        struct initproto_frame frame = { .stream = get_u32(&head) };
        frame.type = (enum initproto_type)get(&head, 1);
        if (get(&head, 1) != INITPROTO_VERSION || get_u16(&head) != 0 || length > INITPROTO_PAYLOAD)
                return -EBADMSG;
        if (head.rest.length < length)
                return 0;

        struct reader payload = { .rest = str_slice(head.rest, 0, length) };
        decode_payload(&payload, &frame);
        if (payload.failed || payload.rest.length > 0 || !is_valid(&frame))
                return -EBADMSG;
        *ret_frame = frame;
        *ret_size = INITPROTO_HEADER + length;
        return 1;
}

/* Room was made before: these cannot fail. */
static void put(struct buffer *out, uint64_t value, size_t bytes)
{
        for (size_t i = 0; i < bytes; i++)
                out->data[out->length++] = (char)(uint8_t)(value >> (8 * i));
}

static void put_bytes(struct buffer *out, struct str bytes)
{
        if (bytes.length > 0)
                memcpy(out->data + out->length, bytes.data, bytes.length);
        out->length += bytes.length;
}

static void put_exit(struct buffer *out, const struct initproto_exit *exit)
{
        put(out, exit->code, 4);
        put(out, exit->signal, 4);
        put(out, exit->finished_ns, 8);
}

static size_t variable_length(const struct initproto_frame *frame)
{
        switch (frame->type) {
        case INITPROTO_FAILED:
                return frame->failed.reason.length;
        case INITPROTO_OUTPUT:
        case INITPROTO_ERROR:
        case INITPROTO_INPUT:
                return frame->data.length;
        case INITPROTO_START:
        case INITPROTO_EXEC:
                return frame->process.argv.length + frame->process.env.length +
                       frame->process.working_directory.length;
        case INITPROTO_CONNECT:
                return frame->connect.host.length;
        default:
                return 0;
        }
}

static void put_process(struct buffer *out, const struct initproto_process *process)
{
        put(out, process->flags, 4);
        put(out, process->rows, 2);
        put(out, process->columns, 2);
        put(out, process->argv_count, 4);
        put(out, process->env_count, 4);
        put(out, process->argv.length, 4);
        put(out, process->env.length, 4);
        put_bytes(out, process->argv);
        put_bytes(out, process->env);
        put_bytes(out, process->working_directory);
}

static void put_payload(struct buffer *out, const struct initproto_frame *frame)
{
        switch (frame->type) {
        case INITPROTO_HELLO:
                put(out, frame->hello.version, 4);
                put(out, frame->hello.state, 4);
                put(out, frame->hello.pid, 4);
                put(out, frame->hello.started_ns, 8);
                put(out, frame->hello.log_end, 8);
                put_exit(out, &frame->hello.exit);
                break;
        case INITPROTO_STARTED:
                put(out, frame->started.pid, 4);
                put(out, frame->started.time_ns, 8);
                break;
        case INITPROTO_FAILED:
                put(out, frame->failed.error, 4);
                put_bytes(out, frame->failed.reason);
                break;
        case INITPROTO_EXITED:
                put_exit(out, &frame->exited);
                break;
        case INITPROTO_OUTPUT:
        case INITPROTO_ERROR:
        case INITPROTO_INPUT:
                put_bytes(out, frame->data);
                break;
        case INITPROTO_LOG:
        case INITPROTO_LOG_WATCH:
                put(out, frame->log_end, 8);
                break;
        case INITPROTO_START:
        case INITPROTO_EXEC:
                put_process(out, &frame->process);
                break;
        case INITPROTO_CONNECT:
                put(out, frame->connect.port, 2);
                put_bytes(out, frame->connect.host);
                break;
        case INITPROTO_RESIZE:
                put(out, frame->resize.rows, 2);
                put(out, frame->resize.columns, 2);
                break;
        case INITPROTO_SIGNAL:
                put(out, frame->signal, 4);
                break;
        case INITPROTO_CLOSE:
                break;
        case INITPROTO_WINDOW_ADD:
                put(out, frame->window.channel, 4);
                put(out, frame->window.bytes, 4);
                break;
        }
}

int initproto_encode(const struct initproto_frame *frame, struct buffer *out)
{
        enum { FIXED_MAX = 64 };

        if (!is_valid(frame))
                return -EINVAL;
        size_t variable = variable_length(frame);
        if (variable > INITPROTO_PAYLOAD - FIXED_MAX)
                return -E2BIG;
        int r = buffer_reserve(out, INITPROTO_HEADER + FIXED_MAX + variable);
        if (r < 0)
                return r;

        size_t start = out->length;
        put(out, 0, 4);
        put(out, frame->stream, 4);
        put(out, (uint64_t)frame->type, 1);
        put(out, INITPROTO_VERSION, 1);
        put(out, 0, 2);
        put_payload(out, frame);
        size_t end = out->length;
        out->length = start;
        put(out, end - start - INITPROTO_HEADER, 4);
        out->length = end;
        return 0;
}

const char *initproto_next_string(struct str *rest)
{
        const char *string = rest->data;
        const char *end = rest->length > 0 ? memchr(string, '\0', rest->length) : NULL;

        if (!end)
                return NULL;
        *rest = str_slice(*rest, (size_t)(end - string) + 1, rest->length);
        return string;
}

int initproto_append_string(struct buffer *strings, struct str text)
{
        int r = buffer_reserve(strings, text.length + 1);

        if (r < 0)
                return r;
        put_bytes(strings, text);
        strings->data[strings->length++] = '\0';
        return 0;
}
