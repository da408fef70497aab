// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/stream.h"

/*
 * Bytes that wait to be written, in order: pieces that are kept until they are released, and copies
 * of those that were only borrowed (see struct stream_piece).
 */
struct piece_queue {
        struct queued_piece *first, **end;
        size_t pending; /* bytes */
};

struct queued_piece {
        struct queued_piece *next;
        struct str data; /* what is left of it */
        void (*release)(void *user);
        void *user;
        size_t capacity; /* of bytes */
        char bytes[];    /* of a copy */
};

void piece_queue_init(struct piece_queue *queue);

/* Releases everything. The queue may be used again. */
void piece_queue_clear(struct piece_queue *queue);

/* Appends the piece from its byte `skip` on. -ENOMEM: it has been released. */
int piece_queue_append(struct piece_queue *queue, const struct stream_piece *piece, size_t skip);

/* Copies the first bytes to `out`, at most `size` of them, and drops them. Returns how many. */
size_t piece_queue_take(struct piece_queue *queue, uint8_t *out, size_t size);

/*
 * Drops the first `length` bytes (at most `pending`), releasing what is used up; a piece is out of
 * the queue before its release is called, which may clear the queue.
 */
void piece_queue_consume(struct piece_queue *queue, size_t length);
