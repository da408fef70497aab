// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/reply.h"

#include <stdio.h>
#include <stdlib.h>

#include "json/writer.h"

static void send_json(struct http_exchange *exchange, unsigned status, const char *allow,
                      struct buffer *body)
{
        struct http_header headers[] = {
                { STR("Content-Type"), STR("application/json") },
                { STR("Allow"), str_from(allow) },
        };
        size_t length = 0;
        char *text = NULL;

        if (buffer_steal(body, &text, &length) < 0) {
                http_exchange_abort(exchange);
                return;
        }
        http_exchange_respond(exchange, status, headers, allow ? 2 : 1,
                              (struct stream_piece){ { text, length }, free, text });
}

void reply_json(struct http_exchange *exchange, unsigned status, struct buffer *body)
{
        send_json(exchange, status, NULL, body);
}

/* {first: …} or {first: …, second: …} */
static void reply_fields(struct http_exchange *exchange, unsigned status, const char *allow,
                         const char *const names[static 2], const char *const values[static 2])
{
        _cleanup_buffer_ struct buffer body = {};
        struct json_writer writer;

        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        for (int i = 0; i < 2 && names[i]; i++)
                json_field_string(&writer, names[i], str_from(values[i]));
        json_end_object(&writer);
        if (json_writer_finish(&writer) < 0)
                buffer_clear(&body);
        send_json(exchange, status, allow, &body);
}

void reply_message(struct http_exchange *exchange, unsigned status, const char *format, ...)
{
        char message[1024];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        reply_fields(exchange, status, NULL, (const char *const[]){ "message", NULL },
                     (const char *const[]){ message, NULL });
}

void reply_detail(struct http_exchange *exchange, unsigned status, const char *detail,
                  const char *allow)
{
        reply_fields(exchange, status, allow, (const char *const[]){ "detail", NULL },
                     (const char *const[]){ detail, NULL });
}

void reply_code(struct http_exchange *exchange, unsigned status, const char *code,
                const char *message, const char *allow)
{
        reply_fields(exchange, status, allow, (const char *const[]){ "code", "message" },
                     (const char *const[]){ code, message });
}

void reply_empty(struct http_exchange *exchange)
{
        http_exchange_respond(exchange, 204, NULL, 0, (struct stream_piece){});
}
