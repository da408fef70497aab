// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/test.h"
#include "router/index.h"

static struct index_sandbox sandbox(const char *name, const char *uid, const char *pod,
                                    const char *claim)
{
        return (struct index_sandbox){ STR("ns"),     str_from(name),  str_from(uid),
                                       str_from(pod), str_from(claim), .running = true };
}

static struct index_pod pod(const char *name, const char *owner, const char *ip, bool ready)
{
        return (struct index_pod){ STR("ns"), str_from(name), str_from(owner), str_from(ip),
                                   ready };
}

static void put(struct router_index *index, struct index_sandbox facts)
{
        assert_int_equal(router_index_put_sandbox(index, &facts), 0);
}

static void put_pod(struct router_index *index, struct index_pod facts)
{
        assert_int_equal(router_index_put_pod(index, &facts), 0);
}

/* What router_index_find() says, or the last number of the address. */
static int find(const struct router_index *index, const char *id, const char *uid)
{
        struct router_target target = {
                .id = str_from(id), .name_space = STR("ns"), .uid = str_from(uid), .port = 80
        };
        struct net_address address;

        int r = router_index_find(index, &target, &address);
        if (r < 0)
                return r;
        assert_int_equal(net_address_port(&address), 80);
        return (int)(ntohl(address.in.sin_addr.s_addr) & 255);
}

static struct router_index *complete_index(void)
{
        struct router_index *index;

        assert_int_equal(router_index_new(&index), 0);
        router_index_set_complete(index, true, STR_EMPTY);
        return index;
}

static void sandboxes_are_found_when_their_pod_is_ready(void **state)
{
        struct router_index *index = complete_index();

        (void)state;
        assert_int_equal(find(index, "a", ""), -ENOENT);
        put(index, sandbox("a", "uid-a", "", ""));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        put_pod(index, pod("a", "uid-a", "10.0.0.1", false));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        put_pod(index, pod("a", "uid-a", "", true));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        put_pod(index, pod("a", "uid-a", "10.0.0.1", true));
        assert_int_equal(find(index, "a", ""), 1);
        assert_int_equal(find(index, "other", "uid-a"), 1);
        assert_int_equal(find(index, "a", "uid-b"), -ENOENT);
        router_index_remove_pod(index, STR("ns"), STR("a"));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        router_index_remove_sandbox(index, STR("ns"), STR("a"));
        assert_int_equal(find(index, "a", ""), -ENOENT);
        assert_int_equal(find(index, "a", "uid-a"), -ENOENT);
        struct index_counters counters = router_index_counters(index);
        assert_int_equal(counters.sandboxes + counters.pods + counters.waiters, 0);
        router_index_free(index);
}

static void somebody_elses_pod_is_not_taken(void **state)
{
        struct router_index *index = complete_index();

        (void)state;
        put(index, sandbox("a", "uid-a", "shared", ""));
        put_pod(index, pod("shared", "uid-b", "10.0.0.2", true));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        /* A new Sandbox of the same name: the old one's Pod is not its. */
        put_pod(index, pod("shared", "uid-a", "10.0.0.1", true));
        assert_int_equal(find(index, "a", ""), 1);
        put(index, sandbox("a", "uid-a2", "shared", ""));
        assert_int_equal(find(index, "a", ""), -EINPROGRESS);
        assert_int_equal(find(index, "a", "uid-a"), -ENOENT);
        router_index_free(index);
}

static void pool_members_are_not_reachable_until_claimed(void **state)
{
        struct router_index *index = complete_index();
        struct index_sandbox member = sandbox("pool-x1", "uid-1", "", "");

        (void)state;
        member.pool_member = true;
        put(index, member);
        put_pod(index, pod("pool-x1", "uid-1", "10.0.0.1", true));
        assert_int_equal(find(index, "pool-x1", ""), -ENOENT);
        assert_int_equal(find(index, "pool-x1", "uid-1"), -ENOENT);
        put(index, sandbox("pool-x1", "uid-1", "", "my-claim"));
        assert_int_equal(find(index, "pool-x1", ""), 1);
        assert_int_equal(find(index, "my-claim", ""), 1);
        router_index_free(index);
}

static void a_claims_name_never_shadows_a_sandbox(void **state)
{
        struct router_index *index = complete_index();

        (void)state;
        put(index, sandbox("pool-x1", "uid-1", "", "name"));
        put_pod(index, pod("pool-x1", "uid-1", "10.0.0.1", true));
        assert_int_equal(find(index, "name", ""), 1);
        put(index, sandbox("name", "uid-2", "", ""));
        assert_int_equal(find(index, "name", ""), -EINPROGRESS);
        put_pod(index, pod("name", "uid-2", "10.0.0.2", true));
        assert_int_equal(find(index, "name", ""), 2);
        router_index_remove_sandbox(index, STR("ns"), STR("name"));
        assert_int_equal(find(index, "name", ""), 1);
        /* The claim's next Sandbox takes the alias over; the former one's end changes nothing. */
        put(index, sandbox("pool-x2", "uid-3", "", "name"));
        put_pod(index, pod("pool-x2", "uid-3", "10.0.0.3", true));
        assert_int_equal(find(index, "name", ""), 3);
        router_index_remove_sandbox(index, STR("ns"), STR("pool-x1"));
        assert_int_equal(find(index, "name", ""), 3);
        router_index_free(index);
}

/* Deleted and made again under its name, while the former Sandbox is still told of. */
static void a_claims_former_sandbox_gives_way(void **state)
{
        for (int ends = 0; ends < 2; ends++) {
                struct router_index *index = complete_index();
                struct index_sandbox former = sandbox("x1", "uid-1", "", "name");

                (void)state;
                put(index, former);
                put_pod(index, pod("x1", "uid-1", "10.0.0.1", true));
                put(index, sandbox("x2", "uid-2", "", "name"));
                put_pod(index, pod("x2", "uid-2", "10.0.0.2", true));
                former.running = !ends;
                put(index, former);
                assert_int_equal(find(index, "name", ""), ends ? 2 : 1);
                router_index_remove_sandbox(index, STR("ns"), STR("x1"));
                assert_int_equal(find(index, "name", ""), 2);
                router_index_remove_sandbox(index, STR("ns"), STR("x2"));
                assert_int_equal(find(index, "name", ""), -ENOENT);
                router_index_free(index);
        }
}

static void what_is_not_wanted_is_not_waited_for(void **state)
{
        struct router_index *index = complete_index();
        struct index_sandbox suspended = sandbox("a", "uid-a", "", "");

        (void)state;
        suspended.running = false;
        put(index, suspended);
        assert_int_equal(find(index, "a", ""), -ENOENT);
        /* Only a complete index knows what does not exist. */
        router_index_set_complete(index, false, STR_EMPTY);
        assert_int_equal(find(index, "a", ""), -ENODATA);
        assert_int_equal(find(index, "b", ""), -ENODATA);
        router_index_set_complete(index, true, STR("elsewhere"));
        assert_int_equal(find(index, "b", ""), -ENODATA);
        router_index_set_complete(index, true, STR("ns"));
        assert_int_equal(find(index, "b", ""), -ENOENT);
        router_index_free(index);
}

struct waiter {
        struct index_waiter waiter;
        int woken;
};

static void woken(struct index_waiter *waiter)
{
        container_of(waiter, struct waiter, waiter)->woken++;
}

static void changes_wake_whom_they_concern(void **state)
{
        struct router_index *index = complete_index();
        struct waiter by_name = { .waiter.wake = woken }, by_claim = by_name, by_uid = by_name,
                      other = by_name;
        const struct router_target targets[] = {
                { .name_space = STR("ns"), .id = STR("a") },
                { .name_space = STR("ns"), .id = STR("claim") },
                { .name_space = STR("ns"), .id = STR("z"), .uid = STR("uid-a") },
                { .name_space = STR("ns2"), .id = STR("a") },
        };

        (void)state;
        router_index_wait(index, &targets[0], &by_name.waiter);
        router_index_wait(index, &targets[1], &by_claim.waiter);
        router_index_wait(index, &targets[2], &by_uid.waiter);
        router_index_wait(index, &targets[3], &other.waiter);
        put(index, sandbox("a", "uid-a", "", "claim"));
        assert_int_equal(by_name.woken, 1);
        assert_int_equal(by_claim.woken, 1);
        assert_int_equal(by_uid.woken, 1);
        assert_int_equal(other.woken, 0);
        /* Once each; and a Pod concerns whom its Sandbox does. */
        router_index_wait(index, &targets[0], &by_name.waiter);
        put_pod(index, pod("a", "uid-a", "10.0.0.1", true));
        assert_int_equal(by_name.woken, 2);
        assert_int_equal(by_claim.woken, 1);
        index_waiter_cancel(&other.waiter);
        index_waiter_cancel(&other.waiter);
        assert_int_equal(router_index_counters(index).waiters, 0);
        router_index_free(index);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sandboxes_are_found_when_their_pod_is_ready),
                cmocka_unit_test(somebody_elses_pod_is_not_taken),
                cmocka_unit_test(pool_members_are_not_reachable_until_claimed),
                cmocka_unit_test(a_claims_name_never_shadows_a_sandbox),
                cmocka_unit_test(a_claims_former_sandbox_gives_way),
                cmocka_unit_test(what_is_not_wanted_is_not_waited_for),
                cmocka_unit_test(changes_wake_whom_they_concern),
        };

        return run_unit_tests("router_index", tests);
}
