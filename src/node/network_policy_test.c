// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "node/dns_test.h"
#include "node/network_policy.h"

enum { NETWORK = 0x0a580000, MASK = 0xffff0000 };

static void assert_ranges(const struct port_ranges *ranges, const char *expected)
{
        char text[512] = "";
        size_t length = 0;

        for (unsigned protocol = 0; protocol < 256; protocol++) {
                for (unsigned port = 0; port <= UINT16_MAX; port++) {
                        for (size_t i = 0; i < ranges->count; i++)
                                if (ranges->items[i].protocol == protocol &&
                                    ranges->items[i].first == port)
                                        length += (size_t)snprintf(
                                                text + length, sizeof(text) - length, "%s%u:%u-%u",
                                                length > 0 ? " " : "", protocol, port,
                                                ranges->items[i].last);
                }
        }
        assert_string_equal(text, expected);
}

static void port_ranges_join(void **state)
{
        struct port_ranges ranges = {}, others = {}, both;

        (void)state;
        port_ranges_add(&ranges, (struct port_range){ IPPROTO_TCP, 80, 90 });
        port_ranges_add(&ranges, (struct port_range){ IPPROTO_TCP, 100, 110 });
        port_ranges_add(&ranges, (struct port_range){ IPPROTO_UDP, 85, 105 });
        assert_ranges(&ranges, "6:80-90 6:100-110 17:85-105");
        port_ranges_add(&ranges, (struct port_range){ IPPROTO_TCP, 91, 91 });
        assert_ranges(&ranges, "6:80-91 6:100-110 17:85-105");
        port_ranges_add(&others, (struct port_range){ IPPROTO_TCP, 90, 100 });
        port_ranges_add(&others, (struct port_range){ IPPROTO_SCTP, 90, 100 });
        port_ranges_intersect(&ranges, &others, &both);
        assert_ranges(&both, "6:90-91 6:100-100");
        port_ranges_add(&ranges, (struct port_range){ IPPROTO_TCP, 92, 99 });
        assert_ranges(&ranges, "6:80-110 17:85-105");
        port_ranges_add_all(&ranges);
        assert_ranges(&ranges, "6:0-65535 17:0-65535");
}

static void too_many_ranges_are_left_out(void **state)
{
        struct port_ranges ranges = {};

        (void)state;
        for (unsigned i = 0; i <= PORT_RANGES_MAX; i++) {
                assert_false(ranges.is_cut);
                port_ranges_add(&ranges, (struct port_range){ IPPROTO_TCP, (uint16_t)(i * 10),
                                                              (uint16_t)(i * 10) });
        }
        assert_true(ranges.is_cut);
        assert_int_equal(ranges.count, PORT_RANGES_MAX);
}

static struct network_policy *read_policy(const char *spec, int *ret_result)
{
        struct network_policy *policy = NULL;
        struct error error = {};
        char text[2048];

        snprintf(text, sizeof(text), "{\"metadata\":{\"namespace\":\"n\"},\"spec\":{%s}}", spec);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        *ret_result = network_policy_read(doc, NETWORK, MASK, &error, &policy);
        assert_int_equal(*ret_result < 0, error.code < 0);
        return policy;
}

static const char *const unreadable[] = {
        "\"ingress\":[{\"from\":[{}]}]",
        "\"ingress\":[{\"from\":[{\"ipBlock\":{}}]}]",
        "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/33\"}}]}]",
        "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0/8\"}}]}]",
        "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":[\"x\"]}}]}]",
        ("\"ingress\":[{\"from\":[{\"podSelector\":{\"matchExpressions\":[{\"key\":\"a\","
         "\"operator\":\"Like\"}]}}]}]"),
        "\"ingress\":[{\"ports\":[{\"protocol\":\"ICMP\"}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":0}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":65536}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":80,\"endPort\":79}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":80,\"endPort\":70000}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":\"\"}]}]",
        "\"ingress\":[{\"ports\":[{\"port\":1.5}]}]",
};

static void what_is_unclear_is_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(unreadable); i++) {
                int r;
                network_policy_free(read_policy(unreadable[i], &r));
                if (r != -EINVAL)
                        fail_msg("%s: %d", unreadable[i], r);
        }
}

/* A Pod of the namespace `n` or another, with labels. */
static struct network_pod make_pod(struct json_doc *doc, uint32_t address)
{
        struct json_value root = json_root(doc);

        return (struct network_pod){
                .name_space = json_string(json_get(root, "namespace")),
                .labels = json_get(root, "labels"),
                .name_space_labels = json_get(root, "namespaceLabels"),
                .spec = json_get(root, "spec"),
                .address = address,
        };
}

#define POD                                                                                        \
        "{\"namespace\":\"n\",\"labels\":{\"a\":\"1\"},\"spec\":{\"containers\":[{\"ports\":[{"    \
        "\"name\":\"web\",\"containerPort\":8888},{\"name\":\"dns\",\"protocol\":\"UDP\","         \
        "\"containerPort\":53}]},{\"ports\":[{\"name\":\"web\",\"containerPort\":8080}]}],"        \
        "\"initContainers\":[{\"ports\":[{\"name\":\"web\",\"containerPort\":99}]}]}}"
#define PEER                                                                                       \
        "{\"namespace\":\"m\",\"labels\":{\"app\":\"x\"},\"namespaceLabels\":{\"team\":\"t\"},"    \
        "\"spec\":{\"containers\":[{\"ports\":[{\"name\":\"web\",\"containerPort\":7}]}]}}"
#define NEIGHBOUR "{\"namespace\":\"n\",\"labels\":{\"app\":\"x\"},\"namespaceLabels\":{}}"

static const struct {
        const char *spec, *from_peer, *from_neighbour;
} ingress[] = {
        { "\"ingress\":[]", "", "" },
        { "\"ingress\":[{}]", "6:0-65535 17:0-65535", "6:0-65535 17:0-65535" },
        { "\"ingress\":[{\"from\":[]}]", "6:0-65535 17:0-65535", "6:0-65535 17:0-65535" },
        { "\"ingress\":[{\"from\":[{\"podSelector\":{}}]}]", "", "6:0-65535 17:0-65535" },
        { "\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{\"app\":\"y\"}}}]}]", "",
          "" },
        { "\"ingress\":[{\"from\":[{\"namespaceSelector\":{}}],\"ports\":[{\"port\":80}]}]",
          "6:80-80", "6:80-80" },
        { "\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"t\"}},"
          "\"podSelector\":{\"matchLabels\":{\"app\":\"x\"}}}],\"ports\":[{\"port\":80,\"endPort\":"
          "90,\"protocol\":\"UDP\"}]}]",
          "17:80-90", "" },
        { "\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"t\"}},"
          "\"podSelector\":{\"matchLabels\":{\"app\":\"z\"}}},{\"podSelector\":{}}],\"ports\":[{"
          "\"port\":\"web\"},{\"port\":\"dns\"},{\"port\":\"dns\",\"protocol\":\"UDP\"}]}]",
          "", "6:99-99 6:8080-8080 6:8888-8888 17:53-53" },
        { "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.88.0.0/30\"}}],\"ports\":[{"
          "\"protocol\":\"SCTP\"}]}]",
          "132:0-65535", "" },
        { "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":["
          "\"10.88.0.2/32\"]}}],\"ports\":[{\"port\":1}]}]",
          "", "6:1-1" },
        { "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"fd00::/8\"}}]}]", "", "" },
};

static void rules_allow_what_they_say(void **state)
{
        _cleanup_doc_ struct json_doc *pod_doc = test_doc(POD), *peer_doc = test_doc(PEER),
                                      *neighbour_doc = test_doc(NEIGHBOUR);
        struct network_pod pod = make_pod(pod_doc, NETWORK + 9);
        struct network_pod peer = make_pod(peer_doc, NETWORK + 2);
        struct network_pod neighbour = make_pod(neighbour_doc, NETWORK + 77);

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(ingress); i++) {
                struct port_ranges from_peer = {}, from_neighbour = {};
                int r;
                struct network_policy *policy = read_policy(ingress[i].spec, &r);
                print_message("# %s\n", ingress[i].spec);
                assert_int_equal(r, 0);
                assert_true(network_policy_selects(policy, NETWORK_INGRESS, &pod));
                network_policy_allow(policy, NETWORK_INGRESS, &pod, &peer, &from_peer);
                network_policy_allow(policy, NETWORK_INGRESS, &pod, &neighbour, &from_neighbour);
                assert_ranges(&from_peer, ingress[i].from_peer);
                assert_ranges(&from_neighbour, ingress[i].from_neighbour);
                network_policy_free(policy);
        }
}

static void named_ports_are_the_destinations(void **state)
{
        _cleanup_doc_ struct json_doc *pod_doc = test_doc(POD), *peer_doc = test_doc(PEER);
        struct network_pod pod = make_pod(pod_doc, NETWORK + 9);
        struct network_pod peer = make_pod(peer_doc, NETWORK + 2);
        struct port_ranges ranges = {};
        int r;
        struct network_policy *policy = read_policy(
                "\"egress\":[{\"to\":[{\"namespaceSelector\":{}}],\"ports\":[{\"port\":\"web\"}]}]",
                &r);

        (void)state;
        assert_int_equal(r, 0);
        network_policy_allow(policy, NETWORK_EGRESS, &pod, &peer, &ranges);
        assert_ranges(&ranges, "6:7-7");
        network_policy_free(policy);
}

static const struct {
        const char *spec;
        bool ingress, egress;
} selecting[] = {
        { "", true, false },
        { "\"podSelector\":{}", true, false },
        { "\"podSelector\":{\"matchLabels\":{\"a\":\"1\"}},\"egress\":[]", true, true },
        { "\"podSelector\":{\"matchLabels\":{\"a\":\"2\"}},\"egress\":[]", false, false },
        { "\"policyTypes\":[\"Egress\"]", false, true },
        { "\"policyTypes\":[\"Ingress\"],\"egress\":[{}]", true, false },
        { "\"policyTypes\":[\"Ingress\",\"Egress\"]", true, true },
};

static void policies_select_by_type_label_and_namespace(void **state)
{
        _cleanup_doc_ struct json_doc *doc = test_doc(POD);
        struct network_pod pod = make_pod(doc, NETWORK + 9), foreign = pod;

        (void)state;
        foreign.name_space = STR("other");
        for (size_t i = 0; i < ARRAY_SIZE(selecting); i++) {
                int r;
                struct network_policy *policy = read_policy(selecting[i].spec, &r);
                assert_int_equal(r, 0);
                if (network_policy_selects(policy, NETWORK_INGRESS, &pod) != selecting[i].ingress ||
                    network_policy_selects(policy, NETWORK_EGRESS, &pod) != selecting[i].egress ||
                    network_policy_selects(policy, NETWORK_INGRESS, &foreign))
                        fail_msg("%s", selecting[i].spec);
                network_policy_free(policy);
        }
}

static const struct {
        const char *rules;
        bool names_pods;
} naming[] = {
        { "", false },
        { "{}", true },
        { "{\"to\":[{\"podSelector\":{}}]}", true },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\"}}]}", true },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"10.88.3.0/24\"}}]}", true },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"10.89.0.0/16\"}}]}", false },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":[\"10.0.0.0/8\"]}}]}", false },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":[\"10.88.0.0/17\"]}}]}", true },
        { "{\"to\":[{\"ipBlock\":{\"cidr\":\"::/0\",\"except\":[\"fc00::/7\"]}}]}", false },
};

static void it_is_known_whether_pods_are_meant(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(naming); i++) {
                char spec[256];
                int r;
                snprintf(spec, sizeof(spec), "\"egress\":[%s]", naming[i].rules);
                struct network_policy *policy = read_policy(spec, &r);
                assert_int_equal(r, 0);
                if (network_policy_names_pods(policy, NETWORK_EGRESS) != naming[i].names_pods)
                        fail_msg("%s", spec);
                assert_false(network_policy_names_pods(policy, NETWORK_INGRESS));
                network_policy_free(policy);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(port_ranges_join),
                cmocka_unit_test(too_many_ranges_are_left_out),
                cmocka_unit_test(what_is_unclear_is_refused),
                cmocka_unit_test(rules_allow_what_they_say),
                cmocka_unit_test(named_ports_are_the_destinations),
                cmocka_unit_test(policies_select_by_type_label_and_namespace),
                cmocka_unit_test(it_is_known_whether_pods_are_meant),
        };

        return run_unit_tests("network_policy", tests);
}
