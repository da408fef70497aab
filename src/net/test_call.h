// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdio.h>

#include "base/buffer.h"
#include "base/test.h"
#include "net/http_client.h"

/* Writes fields down as "name: value\n", after what is in `text` already. */
static inline void test_note_fields(const struct http_headers *fields, char *text, size_t size)
{
        size_t at = strlen(text);

        for (size_t i = 0; i < fields->count && at < size; i++)
                at += (size_t)snprintf(text + at, size - at, "%.*s: %.*s\n",
                                       STR_FORMAT(fields->items[i].name),
                                       STR_FORMAT(fields->items[i].value));
        assert_true(at < size);
}

/* What one call of the HTTP client was told, over either version. */
struct result {
        struct http_call *call; /* NULL when it is over */
        struct fixture *f;      /* the test's own */
        int connected, ends, errors, drains;
        unsigned status;
        struct buffer body;
        enum http_error error;
        int code;
        char trailers[256];
        bool http2, reused, pause_in_head, cancel_in_body;
};

static inline void call_connected(struct http_call *call, void *user)
{
        struct result *result = user;

        assert_non_null(http_call_connection(call));
        result->connected++;
        result->http2 = http_call_is_http2(call);
        result->reused = http_call_is_reused(call);
}

static inline void call_head(struct http_call *call, void *user,
                             const struct http_response_head *head)
{
        struct result *result = user;

        result->status = head->status;
        if (result->pause_in_head)
                http_call_pause(call);
}

static inline void call_body(struct http_call *call, void *user, struct str data)
{
        struct result *result = user;

        assert_int_equal(buffer_append_str(&result->body, data), 0);
        if (result->cancel_in_body) {
                result->call = NULL;
                http_call_cancel(call);
        }
}

static inline void call_end(struct http_call *call, void *user)
{
        struct result *result = user;

        assert_ptr_equal(call, result->call);
        result->call = NULL;
        result->ends++;
}

static inline void call_drain(struct http_call *call _unused_, void *user)
{
        ((struct result *)user)->drains++;
}

static inline void call_error(struct http_call *call _unused_, void *user, enum http_error error,
                              int code)
{
        struct result *result = user;

        result->call = NULL;
        result->errors++;
        result->error = error;
        result->code = code;
}
