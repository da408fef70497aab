// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/buffer.h"
#include "net/stream.h"
#include "net/test_loop.h"

/* One end of a connection, and what it has seen. All zero before test_end_start(). */
struct test_end {
        struct stream *stream; /* NULL: none, or no more */
        struct buffer got;
        unsigned opened, drained, ended, closed;
        int error;
        void (*on_got)(struct test_end *end, struct str data); /* `got` has them; may be NULL */
        void *user;                                            /* on_got's */
};

static inline void test_end_open(struct stream *stream _unused_, void *user)
{
        ((struct test_end *)user)->opened++;
}

static inline void test_end_data(struct stream *stream, void *user, struct str data)
{
        struct test_end *end = user;

        assert_ptr_equal(stream, end->stream);
        assert_int_equal(buffer_append_str(&end->got, data), 0);
        if (end->on_got)
                end->on_got(end, data);
}

static inline void test_end_drain(struct stream *stream _unused_, void *user)
{
        ((struct test_end *)user)->drained++;
}

static inline void test_end_end(struct stream *stream _unused_, void *user)
{
        ((struct test_end *)user)->ended++;
}

static inline void test_end_gone(struct stream *stream, void *user, int error)
{
        struct test_end *end = user;

        assert_ptr_equal(stream, end->stream);
        end->stream = NULL;
        end->closed++;
        end->error = error;
}

static const struct stream_callbacks test_end_callbacks = { test_end_open, test_end_data,
                                                            test_end_drain, test_end_end,
                                                            test_end_gone };

static inline void test_end_start(struct test_end *end, struct stream *stream)
{
        end->stream = stream;
        stream_start(stream, &test_end_callbacks, end);
}

static inline void test_end_connect(struct test_end *end, struct test_loop *t,
                                    const struct listener *listener)
{
        struct stream *stream;

        assert_int_equal(stream_connect(t->net, listener_address(listener), &stream), 0);
        test_end_start(end, stream);
}

/* Closes it from this side. */
static inline void test_end_close(struct test_end *end)
{
        stream_close(end->stream);
        end->stream = NULL;
}

static inline void test_end_deinit(struct test_end *end)
{
        test_end_close(end);
        buffer_deinit(&end->got);
}

/* An on_got that says it back. */
static inline void test_end_echo(struct test_end *end, struct str data)
{
        stream_write_str(end->stream, data);
}

/* A server that is nothing but its ends of the connections, in the order in which they came. */
struct test_peers {
        struct listener *listener;
        struct stream_filter *filter; /* over each connection; NULL: none */
        struct test_end ends[16];
        unsigned count;
};

static inline void test_peers_accept(struct listener *listener _unused_, void *user,
                                     struct stream *stream)
{
        struct test_peers *peers = user;
        struct stream_filter *filter = peers->filter;

        assert_true(peers->count < ARRAY_SIZE(peers->ends));
        if (filter)
                assert_int_equal(filter->wrap(filter, stream, STR_EMPTY, &stream), 0);
        test_end_start(&peers->ends[peers->count++], stream);
}

/* Listens on a free port; `on_got` and `user` are each end's. */
static inline void test_peers_listen(struct test_peers *peers, struct test_loop *t,
                                     void (*on_got)(struct test_end *, struct str), void *user)
{
        const struct listener_options options = { .on_accept = test_peers_accept, .user = peers };
        const struct net_address address = test_loopback();

        *peers = (struct test_peers){};
        for (size_t i = 0; i < ARRAY_SIZE(peers->ends); i++) {
                peers->ends[i].on_got = on_got;
                peers->ends[i].user = user;
        }
        assert_int_equal(listener_open(t->net, &address, &options, NULL, &peers->listener), 0);
}

/* Ends listening and all connections. */
static inline void test_peers_close(struct test_peers *peers)
{
        listener_close(peers->listener);
        peers->listener = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(peers->ends); i++)
                test_end_deinit(&peers->ends[i]);
}
