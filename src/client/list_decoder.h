// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/*
 * Takes the body of a LIST apart while it comes in: {…, "items": [O, …], …}. Each item is told as
 * its text as soon as it has ended; what stands around them is small and kept. It looks at no more
 * than quotes and brackets: whether an item is JSON, its parser says.
 */
struct list_decoder {
        struct buffer rest; /* the body without its items and blanks: to be parsed at the end */
        struct buffer item; /* what has come of the one that has not ended */
        size_t limit;       /* bytes of an item, and of the rest */
        unsigned depth;
        bool in_string, escaped;
        bool in_items; /* of the array, whatever the depth */
        bool in_item;
};

/* `limit` 0 is WATCH_LINE_LIMIT. */
void list_decoder_init(struct list_decoder *decoder, size_t limit);
void list_decoder_deinit(struct list_decoder *decoder);

/*
 * Adds bytes and tells each item that ended with them, in order. A handler that returns other than
 * 0 stops it. Returns 0, what the handler returned, -EBADMSG (brackets that do not match, an item
 * that is no object), -EFBIG or -ENOMEM.
 */
typedef int (*list_item_fn)(void *user, struct str item);
int list_decoder_feed(struct list_decoder *decoder, struct str data, struct error *error,
                      list_item_fn handler, void *user);
