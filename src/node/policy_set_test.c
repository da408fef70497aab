// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/dns_test.h"
#include "node/policy_set.h"

enum { NETWORK = 0x0a580000, MASK = 0xffff0000, API = NETWORK + 1, KERNEL_MAX = 20000 };

/* A kernel that insists on what policy.h says. */
struct kernel {
        struct policy_rule rules[KERNEL_MAX];
        size_t count;
        unsigned calls;
        int fails_with; /* the next calls */
};

struct world {
        struct policy_set *set;
        struct kernel kernel;
        struct policy_sink sink;
};

static bool is_same(const struct policy_rule *a, const struct policy_rule *b)
{
        return a->source_first == b->source_first && a->source_last == b->source_last &&
               a->destination_first == b->destination_first &&
               a->destination_last == b->destination_last && a->protocol == b->protocol &&
               a->port_first == b->port_first && a->port_last == b->port_last;
}

static bool overlaps(const struct policy_rule *a, const struct policy_rule *b)
{
        return a->source_first == b->source_first && a->destination_first == b->destination_first &&
               a->protocol == b->protocol && a->port_first <= b->port_last &&
               b->port_first <= a->port_last;
}

static void add_rule(struct kernel *kernel, const struct policy_rule *rule)
{
        for (size_t i = 0; kernel->count < 3000 && i < kernel->count; i++)
                assert_false(overlaps(&kernel->rules[i], rule));
        assert_true(kernel->count < KERNEL_MAX);
        kernel->rules[kernel->count++] = *rule;
}

static int on_change(void *user, const struct policy_rule *removed, size_t removed_count,
                     const struct policy_rule *added, size_t added_count)
{
        struct kernel *kernel = user;

        kernel->calls++;
        if (kernel->fails_with)
                return kernel->fails_with;
        for (size_t i = 0; i < removed_count; i++) {
                size_t place = 0;
                while (place < kernel->count && !is_same(&kernel->rules[place], &removed[i]))
                        place++;
                assert_true(place < kernel->count);
                kernel->rules[place] = kernel->rules[--kernel->count];
        }
        for (size_t i = 0; i < added_count; i++)
                add_rule(kernel, &added[i]);
        return 0;
}

static int on_replace(void *user, const struct policy_rule *rules, size_t count)
{
        struct kernel *kernel = user;

        kernel->calls++;
        if (kernel->fails_with)
                return kernel->fails_with;
        kernel->count = 0;
        for (size_t i = 0; i < count; i++)
                add_rule(kernel, &rules[i]);
        return 0;
}

static int set_up(void **state)
{
        const struct policy_set_options options = {
                .network = NETWORK, .mask = MASK, .api_address = API, .api_port = 6443
        };
        struct world *world = calloc(1, sizeof(*world));

        assert_non_null(world);
        assert_int_equal(policy_set_new(&options, &world->set), 0);
        world->sink = (struct policy_sink){ on_change, on_replace, &world->kernel };
        *state = world;
        return 0;
}

static int tear_down(void **state)
{
        struct world *world = *state;

        policy_set_free(world->set);
        free(world);
        return 0;
}

static void put_pod(struct world *world, const char *name_space, const char *uid,
                    const char *labels, uint32_t address)
{
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"p\",\"uid\":\"%s\",\"namespace\":\"%s\",\"labels\":{"
                 "%s}},\"spec\":{\"containers\":[{\"ports\":[{\"name\":\"web\",\"containerPort\":"
                 "8888}]}]}}",
                 uid, name_space, labels);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        assert_int_equal(policy_set_put_pod(world->set, doc, address ? NETWORK + address : 0), 0);
}

static int try_policy(struct world *world, const char *owner, const char *spec)
{
        struct error error = {};
        char text[1024];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"t-network-policy\",\"namespace\":\"n\","
                 "\"ownerReferences\":[%s]},\"spec\":{\"podSelector\":{\"matchLabels\":{\"t\":"
                 "\"1\"}},\"policyTypes\":[\"Ingress\",\"Egress\"],%s}}",
                 owner, spec);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        return policy_set_put_policy(world->set, doc, &error);
}

#define TEMPLATE                                                                                   \
        "{\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\",\"kind\":\"SandboxTemplate\","     \
        "\"name\":\"t\",\"uid\":\"u\",\"controller\":true}"

static void put_policy(struct world *world, const char *spec)
{
        assert_int_equal(try_policy(world, TEMPLATE, spec), 0);
}

static void put_namespace(struct world *world, const char *name, const char *labels)
{
        char text[256];

        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}}", name,
                 labels);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        assert_int_equal(policy_set_put_namespace(world->set, doc), 0);
}

static void apply(struct world *world)
{
        assert_int_equal(policy_set_apply(world->set, &world->sink), 0);
        assert_false(policy_set_is_dirty(world->set));
        assert_int_equal(world->kernel.count, policy_set_count(world->set));
}

/* Whether the kernel lets TCP through between hosts of the network. */
static bool is_open(const struct world *world, uint32_t from, uint32_t to, uint16_t port)
{
        for (size_t i = 0; i < world->kernel.count; i++) {
                const struct policy_rule *rule = &world->kernel.rules[i];
                if (rule->source_first == NETWORK + from &&
                    rule->destination_first == NETWORK + to && rule->protocol == IPPROTO_TCP &&
                    rule->port_first <= port && port <= rule->port_last)
                        return true;
        }
        return false;
}

#define ROUTER  "\"app\":\"sandbox-router\""
#define SANDBOX "\"agents.x-k8s.io/sandbox-name-hash\":\"12345678\""
#define MEMBER  "\"agents.x-k8s.io/pool\":\"12345678\",\"t\":\"1\""

/* 10.88.0.2: a router; .3, .4: sandboxes; .5: another Pod; .6: a router of elsewhere; .7: the
 * system's */
static void put_all(struct world *world)
{
        put_pod(world, "n", "router", ROUTER, 2);
        put_pod(world, "n", "box", SANDBOX, 3);
        put_pod(world, "n", "member", MEMBER, 4);
        put_pod(world, "n", "other", "", 5);
        put_pod(world, "m", "foreign", ROUTER, 6);
        put_pod(world, "agent-sandbox-system", "system", ROUTER, 7);
}

static void without_policies_routers_reach_sandboxes(void **state)
{
        struct world *world = *state;

        put_all(world);
        apply(world);
        for (uint32_t from = 2; from <= 7; from++) {
                bool is_router = from == 2 || from == 6 || from == 7;
                for (uint32_t to = 2; to <= 7; to++) {
                        bool is_sandbox = to == 3 || to == 4;
                        assert_int_equal(is_open(world, from, to, 8888),
                                         is_sandbox && (from == 2 || from == 7));
                }
                assert_int_equal(is_open(world, from, 1, 6443), is_router);
                assert_false(is_open(world, from, 1, 22));
        }
}

/* Who labels a sandbox so makes no router of it. */
static void a_sandbox_is_no_router(void **state)
{
        struct world *world = *state;

        put_pod(world, "n", "box", SANDBOX, 3);
        put_pod(world, "n", "liar", SANDBOX "," ROUTER, 4);
        apply(world);
        assert_int_equal(world->kernel.count, 0);
}

static void pods_come_change_and_go(void **state)
{
        struct world *world = *state;

        put_pod(world, "n", "router", ROUTER, 2);
        put_pod(world, "n", "box", SANDBOX, 0);
        apply(world);
        assert_int_equal(world->kernel.count, 1);
        put_pod(world, "n", "box", SANDBOX, 3);
        apply(world);
        assert_true(is_open(world, 2, 3, 80));
        unsigned calls = world->kernel.calls;
        put_pod(world, "n", "box", SANDBOX, 3);
        assert_false(policy_set_is_dirty(world->set));
        apply(world);
        assert_int_equal(world->kernel.calls, calls);

        put_pod(world, "n", "box", SANDBOX, 9);
        apply(world);
        assert_false(is_open(world, 2, 3, 80));
        assert_true(is_open(world, 2, 9, 80));
        put_pod(world, "n", "box", "", 9);
        apply(world);
        assert_int_equal(world->kernel.count, 1);
        put_pod(world, "n", "box", MEMBER, 9);
        policy_set_remove_pod(world->set, STR("router"));
        policy_set_remove_pod(world->set, STR("router"));
        apply(world);
        assert_int_equal(world->kernel.count, 0);
}

/* The policy that templates have unless they say otherwise. */
static void the_default_policy_admits_the_system_and_the_own_router(void **state)
{
        struct world *world = *state;

        put_namespace(world, "agent-sandbox-system",
                      "\"kubernetes.io/metadata.name\":\"agent-sandbox-system\"");
        put_policy(world,
                   "\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{"
                   "\"kubernetes.io/metadata.name\":\"agent-sandbox-system\"}},\"podSelector\":{"
                   "\"matchLabels\":{" ROUTER "}}},{\"podSelector\":{\"matchLabels\":{" ROUTER
                   "}}}]}],\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":["
                   "\"10.0.0.0/8\"]}}]}]");
        put_all(world);
        apply(world);
        for (uint32_t from = 2; from <= 7; from++)
                assert_int_equal(is_open(world, from, 4, 8888), from == 2 || from == 7);
        for (uint32_t to = 1; to <= 7; to++)
                assert_false(is_open(world, 4, to, to == 1 ? 6443 : 8888));

        /* What a namespace is called decides, and may change. */
        put_namespace(world, "agent-sandbox-system", "\"a\":\"b\"");
        apply(world);
        assert_false(is_open(world, 7, 4, 8888));
        policy_set_remove_namespace(world->set, STR("agent-sandbox-system"));
        put_namespace(world, "m", "\"kubernetes.io/metadata.name\":\"agent-sandbox-system\"");
        apply(world);
        assert_true(is_open(world, 6, 4, 8888));
}

static void a_custom_policy_replaces_the_default(void **state)
{
        struct world *world = *state;

        put_all(world);
        apply(world);
        assert_true(is_open(world, 2, 4, 8888));
        put_policy(world, "\"ingress\":[{\"ports\":[{\"port\":\"web\"},{\"port\":9000,\"endPort\":"
                          "9010}],\"from\":[{\"podSelector\":{}}]}]");
        apply(world);
        assert_true(is_open(world, 2, 4, 8888) && is_open(world, 2, 4, 9010));
        assert_false(is_open(world, 2, 4, 80));
        /* The other end must allow it too: who has no policy is closed. */
        assert_false(is_open(world, 5, 4, 8888));
        assert_false(is_open(world, 7, 4, 8888));
        assert_true(is_open(world, 2, 3, 80) && is_open(world, 7, 3, 80));

        put_policy(world, "\"ingress\":[]");
        apply(world);
        assert_false(is_open(world, 2, 4, 8888));
        policy_set_remove_policy(world->set, STR("n"), STR("t-network-policy"));
        apply(world);
        assert_true(is_open(world, 2, 4, 80));
}

static void sandboxes_of_a_template_may_talk_if_it_says_so(void **state)
{
        struct world *world = *state;

        put_pod(world, "n", "one", MEMBER, 2);
        put_pod(world, "n", "two", MEMBER, 3);
        put_pod(world, "n", "three", SANDBOX, 4);
        put_policy(world, "\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{\"t\":\"1\"}}"
                          "}],\"ports\":[{\"port\":80,\"endPort\":90}]}],\"egress\":[{\"to\":[{"
                          "\"podSelector\":{}}],\"ports\":[{\"port\":85,\"endPort\":99},{\"port\":"
                          "87}]}]");
        apply(world);
        assert_int_equal(world->kernel.count, 2);
        assert_true(is_open(world, 2, 3, 85) && is_open(world, 3, 2, 90));
        assert_false(is_open(world, 2, 3, 84) || is_open(world, 2, 3, 91));
        assert_false(is_open(world, 2, 4, 87) || is_open(world, 4, 2, 87));
}

/* What a policy says that cannot be read allows nothing, not everything. */
static void an_unreadable_policy_closes(void **state)
{
        struct world *world = *state;

        put_all(world);
        assert_int_equal(try_policy(world, TEMPLATE, "\"ingress\":[{\"from\":[{}]}]"), -EINVAL);
        apply(world);
        assert_false(is_open(world, 2, 4, 8888));
        assert_true(is_open(world, 2, 3, 8888));
}

static void only_policies_of_templates_are_enforced(void **state)
{
        static const char *const owners[] = {
                "",
                "{\"apiVersion\":\"extensions.agents.x-k8s.io/v1beta1\",\"kind\":"
                "\"SandboxTemplate\",\"name\":\"t\",\"uid\":\"u\"}",
                "{\"apiVersion\":\"apps/v1\",\"kind\":\"SandboxTemplate\",\"name\":\"t\",\"uid\":"
                "\"u\",\"controller\":true}",
        };
        struct world *world = *state;

        put_all(world);
        for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
                assert_int_equal(try_policy(world, owners[i], "\"ingress\":[]"), 1);
        apply(world);
        assert_true(is_open(world, 2, 4, 8888));
        put_policy(world, "\"ingress\":[]");
        assert_int_equal(try_policy(world, "", "\"ingress\":[]"), 1);
        apply(world);
        assert_true(is_open(world, 2, 4, 8888));
}

static void what_failed_is_tried_again(void **state)
{
        struct world *world = *state;

        put_all(world);
        world->kernel.fails_with = -EPERM;
        assert_int_equal(policy_set_apply(world->set, &world->sink), -EPERM);
        assert_true(policy_set_is_dirty(world->set));
        assert_int_equal(policy_set_apply_all(world->set, &world->sink), -EPERM);
        policy_set_remove_pod(world->set, STR("box"));
        world->kernel.fails_with = 0;
        apply(world);
        assert_true(is_open(world, 2, 4, 8888));
        assert_false(is_open(world, 2, 3, 8888));
}

static void everything_can_be_put_into_force_anew(void **state)
{
        struct world *world = *state;

        put_all(world);
        apply(world);
        size_t count = world->kernel.count;
        policy_set_remove_pod(world->set, STR("box"));
        world->kernel.rules[0].source_first = world->kernel.rules[0].source_last = 1;
        assert_int_equal(policy_set_apply_all(world->set, &world->sink), 0);
        assert_false(policy_set_is_dirty(world->set));
        assert_true(world->kernel.count < count);
        assert_int_equal(world->kernel.count, policy_set_count(world->set));
        assert_true(is_open(world, 2, 4, 8888));
}

static void thousands_of_rules_go_in_pieces(void **state)
{
        struct world *world = *state;

        for (unsigned i = 0; i < 4500; i++) {
                char uid[16];
                snprintf(uid, sizeof(uid), "box-%u", i);
                put_pod(world, "n", uid, SANDBOX, 100 + i);
        }
        put_pod(world, "n", "router", ROUTER, 2);
        apply(world);
        assert_int_equal(world->kernel.count, 2 * 4500 + 1);
        assert_int_equal(world->kernel.calls, 5);
        assert_int_equal(policy_set_apply_all(world->set, &world->sink), 0);
        assert_int_equal(world->kernel.count, 2 * 4500 + 1);
        assert_int_equal(world->kernel.calls, 7);
        policy_set_remove_pod(world->set, STR("router"));
        apply(world);
        assert_int_equal(world->kernel.count, 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_WORLD(without_policies_routers_reach_sandboxes),
                WITH_WORLD(a_sandbox_is_no_router),
                WITH_WORLD(pods_come_change_and_go),
                WITH_WORLD(the_default_policy_admits_the_system_and_the_own_router),
                WITH_WORLD(a_custom_policy_replaces_the_default),
                WITH_WORLD(sandboxes_of_a_template_may_talk_if_it_says_so),
                WITH_WORLD(an_unreadable_policy_closes),
                WITH_WORLD(only_policies_of_templates_are_enforced),
                WITH_WORLD(what_failed_is_tried_again),
                WITH_WORLD(everything_can_be_put_into_force_anew),
                WITH_WORLD(thousands_of_rules_go_in_pieces),
        };

        return run_unit_tests("policy_set", tests);
}
