// SPDX-License-Identifier: Apache-2.0
#include "net/stream.h"

void stream_start(struct stream *stream, const struct stream_callbacks *callbacks, void *user)
{
        assert(callbacks);
        if (stream->closed)
                return;
        stream->on = callbacks;
        stream->user = user;
        stream->ops->update(stream);
}

void stream_detach(struct stream *stream)
{
        if (stream->closed)
                return;
        stream->on = NULL;
        stream->user = NULL;
        stream->congested = false;
        stream->ops->update(stream);
}

void stream_release_pieces(const struct stream_piece *pieces, size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (pieces[i].release)
                        pieces[i].release(pieces[i].user);
}

void stream_write(struct stream *stream, const struct stream_piece *pieces, size_t count)
{
        assert(count <= STREAM_PIECES_MAX);
        if (stream->closed)
                stream_release_pieces(pieces, count);
        else
                stream->ops->write(stream, pieces, count);
}

size_t stream_pending(const struct stream *stream)
{
        return stream->closed ? 0 : stream->ops->pending(stream);
}

bool stream_is_congested(struct stream *stream)
{
        if (stream_pending(stream) > STREAM_QUEUE_HIGH)
                stream->congested = true;
        return stream->congested;
}

void stream_note_drained(struct stream *stream)
{
        if (stream->closed || !stream->congested || stream_pending(stream) > STREAM_QUEUE_LOW)
                return;
        stream->congested = false;
        if (stream->on && stream->on->on_drain)
                stream->on->on_drain(stream, stream->user);
}

static void set_paused(struct stream *stream, bool paused)
{
        if (stream->closed || stream->paused == paused)
                return;
        stream->paused = paused;
        stream->ops->update(stream);
}

void stream_pause(struct stream *stream)
{
        set_paused(stream, true);
}

void stream_resume(struct stream *stream)
{
        set_paused(stream, false);
}

void stream_shutdown(struct stream *stream)
{
        if (!stream->closed)
                stream->ops->shutdown(stream);
}

void stream_close(struct stream *stream)
{
        if (!stream || stream->closed)
                return;
        stream->closed = true;
        stream->ops->close(stream);
}

bool stream_is_fresh(struct stream *stream)
{
        return !stream->closed && stream->ops->is_fresh(stream);
}

struct net_loop *stream_loop(const struct stream *stream)
{
        return stream->loop;
}

const struct stream_peer *stream_peer(struct stream *stream)
{
        return stream->ops->peer(stream);
}

void stream_local_address(struct stream *stream, struct net_address *ret_address)
{
        stream->ops->local_address(stream, ret_address);
}

struct str stream_protocol(const struct stream *stream)
{
        return stream->ops->protocol ? stream->ops->protocol(stream) : STR_EMPTY;
}

bool stream_is_secure(const struct stream *stream)
{
        return stream->ops->protocol != NULL;
}
