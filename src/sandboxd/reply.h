// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "net/http_server.h"

/* Answers with JSON text, which is taken from `body`. */
void reply_json(struct http_exchange *exchange, unsigned status, struct buffer *body);

/* {"message": …}, what the legacy API says. */
void reply_message(struct http_exchange *exchange, unsigned status, const char *format, ...)
        _printf_(3, 4);

/* {"detail": …}, what the legacy API's framework says where no route or method fits. */
void reply_detail(struct http_exchange *exchange, unsigned status, const char *detail,
                  const char *allow);

/* {"code": …, "message": …}, what the sandboxd API says. `allow` is NULL but for 405. */
void reply_code(struct http_exchange *exchange, unsigned status, const char *code,
                const char *message, const char *allow);

/* 204 */
void reply_empty(struct http_exchange *exchange);
