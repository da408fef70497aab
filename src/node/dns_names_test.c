// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "node/dns_names.h"
#include "node/dns_test.h"

static int set_up(void **state)
{
        struct dns_names *names;

        assert_int_equal(dns_names_new(STR("cluster.local"), &names), 0);
        *state = names;
        return 0;
}

static int tear_down(void **state)
{
        dns_names_free(*state);
        return 0;
}

static void put_service(struct dns_names *names, const char *name, const char *spec)
{
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\"},\"spec\":{%s}}", name, spec);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        assert_int_equal(dns_names_put_service(names, doc), 0);
}

static void put_pod(struct dns_names *names, const char *name_space, const char *name,
                    const char *labels, const char *spec, uint32_t address, bool is_ready)
{
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"namespace\":\"%s\","
                 "\"labels\":{%s}},\"spec\":{%s}}",
                 name, name, name_space, labels, spec);
        _cleanup_doc_ struct json_doc *doc = test_doc(text);
        assert_int_equal(dns_names_put_pod(names, doc, address, is_ready), 0);
}

/* What is found, with the sum of the addresses. */
static enum dns_found find(const struct dns_names *names, const char *name, uint32_t *ret_sum)
{
        uint32_t addresses[DNS_ADDRESSES_MAX];
        size_t count = 77;
        enum dns_found found = dns_names_find(names, str_from(name), addresses, &count);

        *ret_sum = 0;
        for (size_t i = 0; i < count; i++)
                *ret_sum += addresses[i];
        assert_int_equal(found == DNS_FOUND_ADDRESSES, count > 0);
        return found;
}

#define assert_found(names, name, found, wanted_sum)                                               \
        do {                                                                                       \
                uint32_t _sum;                                                                     \
                assert_int_equal(find(names, name, &_sum), found);                                 \
                assert_int_equal(_sum, wanted_sum);                                                \
        } while (0)

#define HEADLESS(selector) "\"clusterIP\":\"None\",\"selector\":{" selector "}"
#define BOX                "box.n.svc.cluster.local"

static void a_headless_service_has_the_addresses_of_its_ready_pods(void **state)
{
        struct dns_names *names = *state;

        put_service(names, "box", HEADLESS("\"a\":\"1\",\"b\":\"2\""));
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
        put_pod(names, "n", "p1", "\"a\":\"1\",\"b\":\"2\"", "", 1, true);
        put_pod(names, "n", "p2", "\"b\":\"2\",\"c\":\"3\",\"a\":\"1\"", "", 2, true);
        put_pod(names, "n", "unready", "\"a\":\"1\",\"b\":\"2\"", "", 4, false);
        put_pod(names, "n", "half", "\"a\":\"1\"", "", 8, true);
        put_pod(names, "n", "other", "\"a\":\"1\",\"b\":\"3\"", "", 16, true);
        put_pod(names, "m", "elsewhere", "\"a\":\"1\",\"b\":\"2\"", "", 32, true);
        put_pod(names, "n", "homeless", "\"a\":\"1\",\"b\":\"2\"", "", 0, true);
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 3);

        /* Each change holds for the next question. */
        put_pod(names, "n", "unready", "\"a\":\"1\",\"b\":\"2\"", "", 4, true);
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 7);
        put_pod(names, "n", "p1", "\"a\":\"0\",\"b\":\"2\"", "", 1, true);
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 6);
        dns_names_remove_pod(names, STR("p2"));
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 4);
        dns_names_remove_pod(names, STR("p2"));
        dns_names_remove_service(names, STR("n"), STR("box"));
        assert_found(names, BOX, DNS_FOUND_NOTHING, 0);
}

static void pods_may_be_there_before_the_service(void **state)
{
        struct dns_names *names = *state;

        put_pod(names, "n", "p", "\"a\":\"1\"", "", 1, true);
        put_pod(names, "n", "q", "\"a\":\"1\"", "", 2, false);
        assert_found(names, BOX, DNS_FOUND_NOTHING, 0);
        put_service(names, "box", HEADLESS("\"a\":\"1\"") ",\"publishNotReadyAddresses\":true");
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 3);
        put_service(names, "box", HEADLESS("\"a\":\"2\""));
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
}

static void a_service_without_selector_has_no_pods(void **state)
{
        struct dns_names *names = *state;

        put_pod(names, "n", "p", "", "", 1, true);
        put_service(names, "box", HEADLESS(""));
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
        put_service(names, "box", "\"clusterIP\":\"None\"");
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
}

static void other_services_have_their_cluster_address(void **state)
{
        struct dns_names *names = *state;

        put_pod(names, "n", "p", "\"a\":\"1\"", "", 1, true);
        put_service(names, "box", "\"clusterIP\":\"0.0.1.2\",\"selector\":{\"a\":\"1\"}");
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 0x102);
        assert_found(names, "p." BOX, DNS_FOUND_NOTHING, 0);
        put_service(names, "box", "\"clusterIP\":\"fd00::1\"");
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
        put_service(names, "box", "\"type\":\"ExternalName\",\"externalName\":\"example.com\"");
        assert_found(names, BOX, DNS_FOUND_EMPTY, 0);
}

static void a_pod_with_hostname_and_subdomain_has_a_name(void **state)
{
        struct dns_names *names = *state;

        put_service(names, "box", HEADLESS("\"a\":\"1\""));
        put_pod(names, "n", "p", "\"a\":\"1\"", "\"hostname\":\"h\",\"subdomain\":\"box\"", 1,
                true);
        put_pod(names, "n", "q", "\"a\":\"1\"", "\"hostname\":\"i\",\"subdomain\":\"bag\"", 2,
                true);
        put_pod(names, "n", "r", "\"a\":\"1\"", "\"hostname\":\"j\",\"subdomain\":\"box\"", 4,
                false);
        assert_found(names, "h." BOX, DNS_FOUND_ADDRESSES, 1);
        assert_found(names, "i." BOX, DNS_FOUND_NOTHING, 0);
        assert_found(names, "j." BOX, DNS_FOUND_NOTHING, 0);
        assert_found(names, "p." BOX, DNS_FOUND_NOTHING, 0);
        assert_found(names, "x.h." BOX, DNS_FOUND_NOTHING, 0);
        assert_found(names, BOX, DNS_FOUND_ADDRESSES, 3);
}

static void names_between_exist_and_others_do_not(void **state)
{
        static const struct {
                const char *name;
                enum dns_found found;
        } cases[] = {
                { "cluster.local", DNS_FOUND_EMPTY },
                { "svc.cluster.local", DNS_FOUND_EMPTY },
                { "n.svc.cluster.local", DNS_FOUND_EMPTY },
                { "m.svc.cluster.local", DNS_FOUND_NOTHING },
                { "box.m.svc.cluster.local", DNS_FOUND_NOTHING },
                { "pod.cluster.local", DNS_FOUND_NOTHING },
                { "box.n.cluster.local", DNS_FOUND_NOTHING },
                { "example.com.cluster.local", DNS_FOUND_NOTHING },
                { "", DNS_FOUND_OUTSIDE },
                { "local", DNS_FOUND_OUTSIDE },
                { "box.n.svc", DNS_FOUND_OUTSIDE },
                { "xcluster.local", DNS_FOUND_OUTSIDE },
                { "example.com", DNS_FOUND_OUTSIDE },
                { "cluster.local.example.com", DNS_FOUND_OUTSIDE },
                { "1.1.168.192.in-addr.arpa", DNS_FOUND_OUTSIDE },
        };
        struct dns_names *names = *state;

        put_service(names, "box", HEADLESS("\"a\":\"1\""));
        put_service(names, "bag", HEADLESS("\"a\":\"1\""));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint32_t sum;
                if (find(names, cases[i].name, &sum) != cases[i].found)
                        fail_msg("%s", cases[i].name);
        }
        dns_names_remove_service(names, STR("n"), STR("box"));
        assert_found(names, "n.svc.cluster.local", DNS_FOUND_EMPTY, 0);
        dns_names_remove_service(names, STR("n"), STR("bag"));
        assert_found(names, "n.svc.cluster.local", DNS_FOUND_NOTHING, 0);
}

static void many_pods_are_cut_to_the_limit(void **state)
{
        struct dns_names *names = *state;
        uint32_t addresses[DNS_ADDRESSES_MAX];
        size_t count;

        put_service(names, "box", HEADLESS("\"a\":\"1\""));
        for (uint32_t i = 0; i < DNS_ADDRESSES_MAX + 10; i++) {
                char name[16];
                snprintf(name, sizeof(name), "p%u", i);
                put_pod(names, "n", name, "\"a\":\"1\"", "", i + 1, true);
        }
        assert_int_equal(dns_names_find(names, STR(BOX), addresses, &count), DNS_FOUND_ADDRESSES);
        assert_int_equal(count, DNS_ADDRESSES_MAX);
}

#define WITH_NAMES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_NAMES(a_headless_service_has_the_addresses_of_its_ready_pods),
                WITH_NAMES(pods_may_be_there_before_the_service),
                WITH_NAMES(a_service_without_selector_has_no_pods),
                WITH_NAMES(other_services_have_their_cluster_address),
                WITH_NAMES(a_pod_with_hostname_and_subdomain_has_a_name),
                WITH_NAMES(names_between_exist_and_others_do_not),
                WITH_NAMES(many_pods_are_cut_to_the_limit),
        };

        return run_unit_tests("dns_names", tests);
}
