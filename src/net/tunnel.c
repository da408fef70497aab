// SPDX-License-Identifier: Apache-2.0
#include "net/tunnel.h"

static unsigned side_of(const struct tunnel *tunnel, const struct stream *stream)
{
        return stream == tunnel->sides[0] ? 0 : 1;
}

static void on_data(struct stream *stream, void *user, struct str data)
{
        struct tunnel *tunnel = user;
        unsigned side = side_of(tunnel, stream);
        struct stream *other = tunnel->sides[!side];

        tunnel->bytes[side] += data.length;
        if (!other)
                return;
        stream_write_str(other, data);
        if (stream_is_congested(other))
                stream_pause(stream);
}

static void on_drain(struct stream *stream, void *user)
{
        struct tunnel *tunnel = user;
        struct stream *other = tunnel->sides[!side_of(tunnel, stream)];

        if (other)
                stream_resume(other);
}

static void on_end(struct stream *stream, void *user)
{
        struct tunnel *tunnel = user;
        struct stream *other = tunnel->sides[!side_of(tunnel, stream)];

        if (other)
                stream_shutdown(other);
        else
                stream_shutdown(stream);
}

static void on_close(struct stream *stream, void *user, int error)
{
        struct tunnel *tunnel = user;
        unsigned side = side_of(tunnel, stream);
        struct stream *other = tunnel->sides[!side];

        tunnel->sides[side] = NULL;
        if (other && error < 0) {
                stream_close(other);
                tunnel->sides[!side] = other = NULL;
        }
        if (other)
                stream_shutdown(other);
        else
                tunnel->on_close(tunnel, tunnel->user);
}

static const struct stream_callbacks callbacks = {
        .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close
};

void tunnel_start(struct tunnel *tunnel, struct stream *a, struct str from_a, struct stream *b,
                  struct str from_b, void (*on_closed)(struct tunnel *tunnel, void *user),
                  void *user)
{
        tunnel->sides[0] = a;
        tunnel->sides[1] = b;
        tunnel->on_close = on_closed;
        tunnel->user = user;
        tunnel->bytes[0] = from_a.length;
        tunnel->bytes[1] = from_b.length;
        stream_write_str(b, from_a);
        stream_write_str(a, from_b);
        stream_start(a, &callbacks, tunnel);
        stream_start(b, &callbacks, tunnel);
}

void tunnel_close(struct tunnel *tunnel)
{
        for (unsigned i = 0; i < 2; i++) {
                stream_close(tunnel->sides[i]);
                tunnel->sides[i] = NULL;
        }
}
