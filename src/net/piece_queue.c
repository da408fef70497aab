// SPDX-License-Identifier: Apache-2.0
#include "net/piece_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_CAPACITY = 4096 }; /* at least, so that small writes share a piece */

void piece_queue_init(struct piece_queue *queue)
{
        *queue = (struct piece_queue){ .end = &queue->first };
}

static void release(struct queued_piece *queued)
{
        if (queued->release)
                queued->release(queued->user);
        free(queued);
}

void piece_queue_clear(struct piece_queue *queue)
{
        struct queued_piece *queued = queue->first;

        piece_queue_init(queue);
        while (queued) {
                struct queued_piece *next = queued->next;
                release(queued);
                queued = next;
        }
}

static bool append_to_last(struct piece_queue *queue, struct str data)
{
        if (!queue->first)
                return false;
        struct queued_piece *last = container_of(queue->end, struct queued_piece, next);
        if (last->capacity == 0)
                return false;
        size_t used = (size_t)(last->data.data - last->bytes) + last->data.length;
        if (data.length > last->capacity - used)
                return false;
        memcpy(last->bytes + used, data.data, data.length);
        last->data.length += data.length;
        return true;
}

int piece_queue_append(struct piece_queue *queue, const struct stream_piece *piece, size_t skip)
{
        struct str data = str_slice(piece->data, skip, piece->data.length);
        size_t capacity = piece->release ? 0 : MAX(data.length, (size_t)COPY_CAPACITY);

        if (!piece->release && append_to_last(queue, data)) {
                queue->pending += data.length;
                return 0;
        }
        struct queued_piece *queued = malloc(sizeof(*queued) + capacity);
        if (!queued) {
                stream_release_pieces(piece, 1);
                return -ENOMEM;
        }
        *queued = (struct queued_piece){ .release = piece->release,
                                         .user = piece->user,
                                         .capacity = capacity };
        if (!piece->release) {
                memcpy(queued->bytes, data.data, data.length);
                data.data = queued->bytes;
        }
        queued->data = data;
        *queue->end = queued;
        queue->end = &queued->next;
        queue->pending += data.length;
        return 0;
}

void piece_queue_consume(struct piece_queue *queue, size_t length)
{
        queue->pending -= length;
        while (queue->first && length >= queue->first->data.length) {
                struct queued_piece *queued = queue->first;
                length -= queued->data.length;
                queue->first = queued->next;
                if (!queue->first)
                        queue->end = &queue->first;
                release(queued);
        }
        /* A release may have closed the stream and cleared the queue. */
        if (length > 0 && queue->first)
                queue->first->data =
                        str_slice(queue->first->data, length, queue->first->data.length);
}

size_t piece_queue_take(struct piece_queue *queue, uint8_t *out, size_t size)
{
        size_t done = 0;

        for (const struct queued_piece *q = queue->first; q && done < size; q = q->next) {
                size_t length = MIN(q->data.length, size - done);
                memcpy(out + done, q->data.data, length);
                done += length;
        }
        piece_queue_consume(queue, done);
        return done;
}
