// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/test.h"
#include "net/address.h"
#include "net/loop.h"

/* A loop for one test, and how long a test waits for anything. */
struct test_loop {
        uv_loop_t uv;
        struct net_loop *net;
        struct net_timer deadline;
        bool late;
};

enum { TEST_DEADLINE_MS = 20000 };

static inline void test_loop_set_up(struct test_loop *t)
{
        *t = (struct test_loop){};
        assert_int_equal(uv_loop_init(&t->uv), 0);
        assert_int_equal(net_loop_new(&t->uv, &t->net), 0);
}

/* Fails if a handle was left open. */
static inline void test_loop_tear_down(struct test_loop *t)
{
        net_loop_free(t->net);
        assert_int_equal(uv_run(&t->uv, UV_RUN_DEFAULT), 0);
        assert_int_equal(uv_loop_close(&t->uv), 0);
}

/* A free port of the loopback interface. */
static inline struct net_address test_loopback(void)
{
        struct net_address address;

        assert_int_equal(net_address_parse(STR("127.0.0.1:0"), &address), 0);
        return address;
}

static inline void test_loop_late(struct net_timer *timer)
{
        container_of(timer, struct test_loop, deadline)->late = true;
}

/* Runs the loop until `condition` holds. */
#define test_run_until(t, condition)                                                               \
        do {                                                                                       \
                uv_update_time(&(t)->uv);                                                          \
                net_timer_start((t)->net, &(t)->deadline, TEST_DEADLINE_MS, test_loop_late);       \
                while (!(condition) && !(t)->late)                                                 \
                        uv_run(&(t)->uv, UV_RUN_ONCE);                                             \
                net_timer_stop(&(t)->deadline);                                                    \
                if ((t)->late)                                                                     \
                        fail_msg("not so in time: %s", #condition);                                \
        } while (0)

/* Lets everything happen that is ready to happen. */
static inline void test_run_turns(struct test_loop *t, unsigned turns)
{
        for (unsigned i = 0; i < turns; i++)
                uv_run(&t->uv, UV_RUN_NOWAIT);
}
