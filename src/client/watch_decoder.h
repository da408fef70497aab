// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "kube/protobuf.h"
#include "json/json.h"

/*
 * Takes the body of a watch apart: JSON documents, one a line, without an end. Each is
 * {"type": "ADDED", "object": {…}}.
 *
 * Or, of a server that was asked for protobuf: frames of a length in four bytes, the highest first,
 * and a message {1: type, 2: {1: the object as kube/protobuf.h reads it}}
 * (k8s.io/apimachinery/pkg/apis/meta/v1 WatchEvent, pkg/util/framer). Objects are made JSON.
 */
enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

struct watch_decoder {
        struct buffer partial; /* the line or frame that has not ended */
        size_t limit;          /* bytes of one line, or of one frame without its length */
        const struct protobuf_fields *protobuf; /* borrowed; NULL: JSON */
        struct buffer text;                     /* of the frame's object */
};

enum { WATCH_LINE_LIMIT = 4 * 1024 * 1024 }; /* an object of LIMIT_BODY and what wraps it */

/* `limit` 0 is WATCH_LINE_LIMIT. */
void watch_decoder_init(struct watch_decoder *decoder, size_t limit);
void watch_decoder_deinit(struct watch_decoder *decoder);

/* Before the first byte: what follows is frames. `fields` are borrowed. */
void watch_decoder_expect_protobuf(struct watch_decoder *decoder,
                                   const struct protobuf_fields *fields);

/*
 * Adds bytes and tells each document that ended with them, in order. `object` is borrowed. A
 * handler that returns other than 0 stops it. Returns 0, what the handler returned, -EBADMSG
 * (no watch event), -EFBIG or -ENOMEM.
 */
typedef int (*watch_event_fn)(void *user, enum watch_type type, struct json_doc *object);
int watch_decoder_feed(struct watch_decoder *decoder, struct str data, struct error *error,
                       watch_event_fn handler, void *user);

/* Whether the body may end here: nothing, but for blanks between lines, is left over. */
bool watch_decoder_is_complete(const struct watch_decoder *decoder);
