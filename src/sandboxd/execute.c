// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limit.h"
#include "sandboxd/reply.h"
#include "sandboxd/server.h"
#include "sandboxd/words.h"
#include "json/writer.h"

struct execution {
        struct sandboxd *sandboxd;
        struct http_exchange *exchange; /* NULL after the client has gone */
        char *line;
        uint64_t timeout_ms;
        bool has_own_timeout;
};

static void execution_free(struct execution *execution)
{
        free(execution->line);
        free(execution);
}

static void respond(struct http_exchange *exchange, struct str out, struct str err, int exit_code,
                    bool timed_out)
{
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        json_field_string(&writer, "stdout", out);
        json_field_string(&writer, "stderr", err);
        json_field_int(&writer, "exit_code", exit_code);
        if (timed_out)
                json_field_bool(&writer, "timed_out", true);
        json_end_object(&writer);
        /*
         * Even without memory for the output it is no 5xx: the command has run, and clients repeat
         * requests that failed so.
         */
        if (json_writer_finish(&writer) < 0)
                http_exchange_respond_text(
                        exchange, 200, "application/json",
                        STR("{\"stdout\":\"\",\"stderr\":\"Failed to execute command: not enough "
                            "memory for its output\",\"exit_code\":1}"));
        else
                reply_json(exchange, 200, &body);
}

static void respond_failure(struct http_exchange *exchange, const char *format, ...) _printf_(2, 3);
static void respond_failure(struct http_exchange *exchange, const char *format, ...)
{
        _cleanup_buffer_ struct buffer text = {};
        va_list arguments;

        va_start(arguments, format);
        buffer_append_str(&text, STR("Failed to execute command: "));
        buffer_vprintf(&text, format, arguments);
        va_end(arguments);
        respond(exchange, STR(""), buffer_str(&text), 1, false);
}

static void on_done(void *owner, struct command_result *result)
{
        struct execution *execution = owner;
        _cleanup_buffer_ struct buffer note = {};
        struct str err;

        if (!execution->exchange) {
                execution_free(execution);
                return;
        }
        command_mark_dropped(&result->out);
        command_mark_dropped(&result->err);
        err = buffer_str(&result->err.text);
        if (result->timed_out) {
                buffer_printf(&note,
                              "Failed to execute command: Command '%s' timed out after %g "
                              "seconds%s",
                              execution->line, (double)execution->timeout_ms / 1000,
                              err.length > 0 ? "\n" : "");
                if (buffer_append_str(&note, err) == 0)
                        err = buffer_str(&note);
                result->exit_code = execution->has_own_timeout ? 124 : 1;
        }
        respond(execution->exchange, buffer_str(&result->out.text), err, result->exit_code,
                result->timed_out);
        execution_free(execution);
}

/* 422, as pydantic words it. `input` is JSON text. */
static void refuse(struct http_exchange *exchange, const char *type, const char *field,
                   const char *message, struct str input)
{
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        json_field_array(&writer, "detail");
        json_begin_object(&writer);
        json_field_string(&writer, "type", str_from(type));
        json_field_array(&writer, "loc");
        json_write_string(&writer, STR("body"));
        if (field)
                json_write_string(&writer, str_from(field));
        json_end_array(&writer);
        json_field_string(&writer, "msg", str_from(message));
        json_field_raw(&writer, "input", input);
        json_end_object(&writer);
        json_end_array(&writer);
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                reply_detail(exchange, 422, "the request is not valid", NULL);
        else
                reply_json(exchange, 422, &body);
}

/* Seconds as a JSON number, decimals allowed. */
static int parse_timeout(struct json_value value, uint64_t limit_ms, uint64_t *ret_ms)
{
        struct str text = json_text(value);
        char copy[64];
        double seconds;

        if (json_type(value) != JSON_NUMBER || text.length >= sizeof(copy))
                return -EINVAL;
        memcpy(copy, text.data, text.length);
        copy[text.length] = '\0';
        seconds = strtod(copy, NULL);
        if (!isfinite(seconds) || seconds <= 0)
                return -EINVAL;
        *ret_ms =
                seconds * 1000 >= (double)limit_ms ? limit_ms : MAX((uint64_t)(seconds * 1000), 1u);
        return 0;
}

static void start(struct execution *execution, struct str line)
{
        struct http_exchange *exchange = execution->exchange;
        const char *problem;
        char **words;
        size_t count;
        int r;

        r = words_split(exchange->arena, line, &words, &count, &problem);
        if (r == 0 && count == 0) {
                r = -EINVAL;
                problem = "the command is empty";
        }
        if (r == 0) {
                execution->line = str_dup(line);
                if (!execution->line)
                        r = -ENOMEM;
        }
        if (r == 0) {
                const struct command_options options = { .argv = words,
                                                         .timeout_ms = execution->timeout_ms };
                r = command_start(&execution->sandboxd->commands, &options, on_done, execution,
                                  NULL);
                if (r == 0)
                        return;
                respond_failure(exchange, "[Errno %d] %s: '%s'", -r, strerror(-r), words[0]);
        } else {
                respond_failure(exchange, "%s", r == -EINVAL ? problem : strerror(-r));
        }
        execution_free(execution);
}

static void on_whole(struct http_exchange *exchange, void *user, struct str body)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        struct execution *execution = user;
        struct json_value root, command, timeout;
        struct error error = {};
        int r;

        r = json_doc_parse(body, NULL, NULL, &error, &doc);
        if (r < 0) {
                execution_free(execution);
                refuse(exchange, "json_invalid", NULL, "JSON decode error", STR("{}"));
                return;
        }
        root = json_root(doc);
        command = json_get(root, "command");
        timeout = json_get(root, "timeout_seconds");
        execution->has_own_timeout = json_exists(timeout) && json_type(timeout) != JSON_NULL;
        if (json_type(root) != JSON_OBJECT) {
                execution_free(execution);
                refuse(exchange, "model_attributes_type", NULL,
                       "Input should be a valid dictionary or object to extract fields from",
                       json_text(root));
        } else if (!json_exists(command)) {
                execution_free(execution);
                refuse(exchange, "missing", "command", "Field required", json_text(root));
        } else if (json_type(command) != JSON_STRING) {
                execution_free(execution);
                refuse(exchange, "string_type", "command", "Input should be a valid string",
                       json_text(command));
        } else if (execution->has_own_timeout &&
                   parse_timeout(timeout, execution->timeout_ms, &execution->timeout_ms) < 0) {
                execution_free(execution);
                refuse(exchange, "greater_than", "timeout_seconds",
                       "Input should be a finite number greater than 0", json_text(timeout));
        } else {
                start(execution, json_string(command));
        }
}

/* The command goes on without its client, as it would have in the guides' image, to its limit. */
static void on_abort(struct http_exchange *exchange, void *user, int error)
{
        struct execution *execution = user;

        (void)exchange;
        (void)error;
        execution->exchange = NULL;
        if (!execution->line)
                execution_free(execution);
}

void execute_handle(struct sandboxd *sandboxd, struct http_exchange *exchange)
{
        static const struct http_exchange_callbacks callbacks = {
                .on_whole = on_whole,
                .on_abort = on_abort,
        };
        struct execution *execution = calloc(1, sizeof(*execution));

        if (!execution) {
                respond_failure(exchange, "%s", strerror(ENOMEM));
                return;
        }
        execution->sandboxd = sandboxd;
        execution->exchange = exchange;
        execution->timeout_ms = sandboxd->options->exec_timeout_ms;
        http_exchange_collect(exchange, LIMIT_BODY, &callbacks, execution);
}
