// SPDX-License-Identifier: Apache-2.0
#include "serve/leader.h"

#include <errno.h>

#include "base/clock.h"
#include "client/fake_api.h"

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/n/leases"
#define LEASE(holder, seconds, version)                                                            \
        "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\",\"resourceVersion\":\"" version          \
        "\",\"labels\":{\"kept\":\"yes\"}},\"spec\":{\"holderIdentity\":\"" holder                 \
        "\",\"leaseDurationSeconds\":" seconds ",\"leaseTransitions\":4}}"

struct fixture {
        struct fake_api api;
        struct leader *leader;
        unsigned leads, losses, dones, asks;
        char why[128];
        char trouble[64]; /* that may_say was asked about */
};

static void on_lead(void *user)
{
        ((struct fixture *)user)->leads++;
}

static void on_lost(void *user, struct str why)
{
        struct fixture *f = user;

        f->losses++;
        snprintf(f->why, sizeof(f->why), "%.*s", STR_FORMAT(why));
}

static void on_done(void *user)
{
        ((struct fixture *)user)->dones++;
}

static bool may_say(void *user, struct str trouble)
{
        struct fixture *f = user;

        f->asks++;
        snprintf(f->trouble, sizeof(f->trouble), "%.*s", STR_FORMAT(trouble));
        return false;
}

static struct leader_options options_for(struct fixture *f)
{
        return (struct leader_options){ .client = f->api.client,
                                        .name_space = STR("n"),
                                        .name = STR("l"),
                                        .identity = STR("me"),
                                        .duration_ms = 1000,
                                        .deadline_ms = 300,
                                        .retry_ms = 20,
                                        .on_lead = on_lead,
                                        .on_lost = on_lost,
                                        .may_say = may_say,
                                        .user = f };
}

static void set_up(struct fixture *f, const struct fake_reply *replies, size_t count)
{
        *f = (struct fixture){};
        fake_set_up(&f->api);
        f->api.replies = replies;
        f->api.reply_count = count;
        f->api.repeats = true;
        const struct leader_options options = options_for(f);
        assert_int_equal(leader_new(&options, &f->leader), 0);
}

static void tear_down(struct fixture *f)
{
        leader_free(f->leader);
        fake_tear_down(&f->api);
}

static bool asked(const struct fixture *f, const char *text)
{
        return f->api.log.length > 0 &&
               memmem(f->api.log.data, f->api.log.length, text, strlen(text));
}

static void who_makes_the_lease_leads_until_it_cannot_renew(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404, "{}" },
                { FAKE_ANSWER, 201, LEASE("me", "1", "1") },
                { FAKE_ANSWER, 200, LEASE("me", "1", "2") },
                { FAKE_ANSWER, 500, "{}" },
                { FAKE_ANSWER, 200, LEASE("me", "1", "2") },
                { FAKE_ANSWER, 200, LEASE("me", "1", "3") },
                { FAKE_HOLD },
        };
        struct fixture f;

        (void)state;
        set_up(&f, replies, ARRAY_SIZE(replies));
        char why[128];
        assert_false(leader_is_leading(f.leader));
        assert_false(leader_is_well(f.leader, why));
        assert_string_equal(why, "the lease is not read yet");
        test_run_until(&f.api.t, f.leads == 1);
        assert_true(leader_is_leading(f.leader));
        assert_true(leader_is_well(f.leader, why));
        assert_true(asked(&f, "GET " LEASES "/l\nPOST " LEASES " {\"apiVersion\""));
        test_run_until(&f.api.t, f.api.held_count == 1);
        assert_true(leader_is_leading(f.leader));
        assert_int_equal(f.losses, 0);
        test_run_until(&f.api.t, f.losses == 1);
        assert_string_equal(f.why, "the lease could not be renewed in time");
        assert_false(leader_is_leading(f.leader));
        assert_int_equal(f.leads, 1);
        assert_int_equal(f.asks, 0); /* that it cannot be renewed is always said */
        tear_down(&f);
}

static void a_lease_of_another_is_taken_when_it_has_expired(void **state)
{
        static const struct fake_reply taken[] = { { FAKE_ANSWER, 200, LEASE("you", "60", "1") } };
        static const struct fake_reply expired[] = {
                { FAKE_ANSWER, 200, LEASE("you", "0", "2") },
                { FAKE_ANSWER, 409, "{\"reason\":\"Conflict\"}" },
                { FAKE_ANSWER, 200, LEASE("", "60", "3") },
                { FAKE_ANSWER, 200, LEASE("me", "1", "4") },
                { FAKE_HOLD },
        };
        struct fixture f;

        (void)state;
        set_up(&f, taken, 1);
        test_run_until(&f.api.t, kube_client_counters(f.api.client).requests >= 4);
        assert_int_equal(f.leads, 0);
        assert_true(str_equal(leader_holder(f.leader), STR("you")));
        assert_false(asked(&f, "PUT"));
        fake_expect(&f.api, expired);
        test_run_until(&f.api.t, f.leads == 1);
        assert_true(asked(&f, "\"leaseTransitions\":5"));
        assert_true(asked(&f, "\"resourceVersion\":\"3\",\"labels\":{\"kept\":\"yes\"}"));
        tear_down(&f);
}

static void a_lease_of_ours_is_taken_up_again(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, LEASE("me", "60", "1") },
                { FAKE_ANSWER, 200, LEASE("me", "60", "2") },
        };
        struct fixture f;

        (void)state;
        set_up(&f, replies, ARRAY_SIZE(replies));
        test_run_until(&f.api.t, f.leads == 1);
        assert_true(asked(&f, "\"leaseTransitions\":4"));
        tear_down(&f);
}

static void a_leader_that_is_replaced_stops(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, LEASE("", "1", "1") },
                { FAKE_ANSWER, 200, LEASE("me", "1", "2") },
                { FAKE_ANSWER, 409, "{\"reason\":\"Conflict\"}" },
                { FAKE_ANSWER, 200, LEASE("you", "60", "3") },
        };
        struct fixture f;

        (void)state;
        set_up(&f, replies, ARRAY_SIZE(replies));
        test_run_until(&f.api.t, f.losses == 1);
        assert_int_equal(f.leads, 1);
        assert_string_equal(f.why, "another one holds the lease");
        assert_false(leader_is_leading(f.leader));
        tear_down(&f);
}

static void a_pause_over_the_deadline_ends_leading_at_once(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404, "{}" },
                { FAKE_ANSWER, 201, LEASE("me", "1", "1") },
                { FAKE_HOLD },
        };
        struct fixture f;

        (void)state;
        set_up(&f, replies, ARRAY_SIZE(replies));
        test_run_until(&f.api.t, f.leads == 1);
        uint64_t until = clock_monotonic_ns() + 300 * NS_PER_MS;
        while (clock_monotonic_ns() < until)
                continue; /* the loop does not run, as in a process that is stopped */
        assert_int_equal(f.losses, 0);
        assert_false(leader_is_leading(f.leader));
        test_run_until(&f.api.t, f.losses == 1);
        /* Its time to renew had come before the deadline. */
        assert_false(asked(&f, "PUT"));
        char why[128];
        assert_false(leader_is_well(f.leader, why));
        assert_string_equal(why, "leadership was given up");
        tear_down(&f);
}

/* Reads its lease well at first, then not. */
static void a_lease_out_of_reach_is_told(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 200, LEASE("you", "60", "1") },
                { FAKE_ANSWER, 403, "{\"message\":\"leases is forbidden\"}" },
        };
        struct fixture f;
        char why[128];

        (void)state;
        set_up(&f, replies, 1);
        test_run_until(&f.api.t, leader_is_well(f.leader, why));
        assert_int_equal(f.leads, 0);
        f.api.replies = replies;
        f.api.reply_count = 2;
        test_run_until(&f.api.t, !leader_is_well(f.leader, why));
        assert_string_equal(why, "leases is forbidden");
        assert_int_equal(f.asks, 1);
        assert_string_equal(f.trouble, "leases is forbidden");
        tear_down(&f);
}

/* It can be read, or is not there, and cannot be written: nobody will lead. */
static void a_lease_that_cannot_be_written_is_told(void **state)
{
        enum { REPLIES = 12 };
        static const struct fake_reply cases[][2] = {
                { { FAKE_ANSWER, 404, "{\"message\":\"no lease\"}" },
                  { FAKE_ANSWER, 404, "{\"message\":\"no namespace\"}" } },
                { { FAKE_ANSWER, 200, LEASE("", "60", "1") },
                  { FAKE_ANSWER, 403, "{\"message\":\"no namespace\"}" } },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct fake_reply replies[REPLIES]; /* to reads and writes in turn */
                struct fixture f;
                char why[128] = "";

                for (size_t n = 0; n < REPLIES; n++)
                        replies[n] = cases[i][n % 2];
                set_up(&f, replies, REPLIES);
                test_run_until(&f.api.t, f.api.next >= 4);
                while (f.api.next < REPLIES - 1) {
                        assert_false(leader_is_well(f.leader, why));
                        assert_string_equal(why, "no namespace");
                        uv_run(&f.api.t.uv, UV_RUN_ONCE);
                }
                tear_down(&f);
        }
}

static void releasing_empties_the_lease(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404, "{}" },
                { FAKE_ANSWER, 201, LEASE("me", "1", "1") },
                { FAKE_ANSWER, 200, LEASE("", "1", "2") },
        };
        struct fixture f;

        (void)state;
        set_up(&f, replies, ARRAY_SIZE(replies));
        test_run_until(&f.api.t, f.leads == 1);
        leader_release(f.leader, on_done, &f);
        assert_false(leader_is_leading(f.leader));
        assert_int_equal(f.dones, 0);
        test_run_until(&f.api.t, f.dones == 1);
        assert_true(asked(&f, "\"holderIdentity\":\"\",\"leaseDurationSeconds\":1"));
        assert_int_equal(f.losses, 0);
        tear_down(&f);

        set_up(&f, replies, ARRAY_SIZE(replies));
        leader_release(f.leader, on_done, &f);
        test_run_until(&f.api.t, f.dones == 1);
        assert_int_equal(kube_client_counters(f.api.client).requests, 0);
        tear_down(&f);
}

/* The API server may have done it already: the next write must say the version that it made. */
static void a_renewal_on_its_way_is_waited_for(void **state)
{
        static const struct fake_reply replies[] = {
                { FAKE_ANSWER, 404, "{}" },
                { FAKE_ANSWER, 201, LEASE("me", "1", "1") },
                { FAKE_HOLD },
        };
        static const struct {
                struct fake_reply renewal;
                const char *release; /* NULL: none */
        } cases[] = {
                { { FAKE_ANSWER, 200, LEASE("me", "1", "2") }, "\"resourceVersion\":\"2\"" },
                { { FAKE_ANSWER, 500, "{}" }, "\"resourceVersion\":\"1\"" },
                { { FAKE_ANSWER, 200, LEASE("you", "1", "2") } },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                static const struct fake_reply released[] = {
                        { FAKE_ANSWER, 200, LEASE("", "1", "3") },
                };
                struct fixture f;

                set_up(&f, replies, ARRAY_SIZE(replies));
                test_run_until(&f.api.t, f.api.held_count == 1);
                buffer_clear(&f.api.log);
                leader_release(f.leader, on_done, &f);
                assert_false(leader_is_leading(f.leader));
                fake_expect(&f.api, released);
                test_run_turns(&f.api.t, 5);
                assert_int_equal(f.api.log.length, 0);
                fake_answer(f.api.held[0], &cases[i].renewal);
                fake_forget(&f.api, f.api.held[0]);
                test_run_until(&f.api.t, f.dones == 1);
                if (cases[i].release) {
                        assert_true(asked(&f, "\"holderIdentity\":\"\""));
                        assert_true(asked(&f, cases[i].release));
                } else {
                        assert_int_equal(f.api.log.length, 0);
                }
                assert_int_equal(f.losses, 0);
                tear_down(&f);
        }
}

static void impossible_times_are_refused(void **state)
{
        struct fixture f = {};
        struct leader *leader = NULL;

        (void)state;
        fake_set_up(&f.api);
        struct leader_options options = options_for(&f);
        options.deadline_ms = 1000;
        assert_int_equal(leader_new(&options, &leader), -EINVAL);
        options = options_for(&f);
        options.retry_ms = 300;
        assert_int_equal(leader_new(&options, &leader), -EINVAL);
        options = options_for(&f);
        options.identity = STR("");
        assert_int_equal(leader_new(&options, &leader), -EINVAL);
        fake_tear_down(&f.api);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(who_makes_the_lease_leads_until_it_cannot_renew),
                cmocka_unit_test(a_lease_of_another_is_taken_when_it_has_expired),
                cmocka_unit_test(a_lease_of_ours_is_taken_up_again),
                cmocka_unit_test(a_leader_that_is_replaced_stops),
                cmocka_unit_test(a_pause_over_the_deadline_ends_leading_at_once),
                cmocka_unit_test(a_lease_out_of_reach_is_told),
                cmocka_unit_test(a_lease_that_cannot_be_written_is_told),
                cmocka_unit_test(releasing_empties_the_lease),
                cmocka_unit_test(a_renewal_on_its_way_is_waited_for),
                cmocka_unit_test(impossible_times_are_refused),
        };
        return run_unit_tests("leader", tests);
}
