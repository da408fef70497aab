// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "json/json.h"

/*
 * Takes the body of a watch apart: JSON documents, one a line, without an end. Each is
 * {"type": "ADDED", "object": {…}}.
 */
enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

struct watch_decoder {
        struct buffer partial; /* the line that has not ended */
        size_t limit;          /* bytes of one line */
};

enum { WATCH_LINE_LIMIT = 4 * 1024 * 1024 }; /* an object of LIMIT_BODY and what wraps it */

/* `limit` 0 is WATCH_LINE_LIMIT. */
void watch_decoder_init(struct watch_decoder *decoder, size_t limit);
void watch_decoder_deinit(struct watch_decoder *decoder);

/*
 * Adds bytes and tells each document that ended with them, in order. `object` is borrowed. A
 * handler that returns other than 0 stops it. Returns 0, what the handler returned, -EBADMSG
 * (no watch event), -EFBIG or -ENOMEM.
 */
typedef int (*watch_event_fn)(void *user, enum watch_type type, struct json_doc *object);
int watch_decoder_feed(struct watch_decoder *decoder, struct str data, struct error *error,
                       watch_event_fn handler, void *user);

/* Whether the body may end here: nothing but blanks is left over. */
bool watch_decoder_is_complete(const struct watch_decoder *decoder);
