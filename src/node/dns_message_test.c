// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "node/dns_test.h"

#define BYTES(text)         ((struct str){ text, sizeof(text) - 1 })
#define HEAD(flags, counts) "\x12\x34" flags counts
#define ONE_QUESTION        "\0\1\0\0\0\0\0\0"
#define WITH_ADDITIONAL     "\0\1\0\0\0\0\0\1"
#define QUESTION            "\1a\3svc\0\0\1\0\1"
#define OPT                 "\0\0\x29\4\xd0\0\0\0\0\0\0"

static void a_query_is_read(void **state)
{
        _cleanup_buffer_ struct buffer message = {};
        struct dns_query query;

        (void)state;
        test_put_query(&message, "Box-1.NS.svc.Cluster.Local", DNS_TYPE_A, 4096);
        assert_int_equal(dns_query_read(buffer_str(&message), &query), 0);
        assert_string_equal(query.name, "box-1.ns.svc.cluster.local");
        assert_int_equal(query.id, 0x1234);
        assert_int_equal(query.type, DNS_TYPE_A);
        assert_int_equal(query.class, DNS_CLASS_IN);
        assert_true(query.recursion_desired && query.has_edns && !query.dnssec_ok);
        assert_int_equal(query.udp_size, 4096);
        assert_int_equal(query.question.length, 28 + 4);

        buffer_clear(&message);
        test_put_query(&message, "", DNS_TYPE_A, 100);
        assert_int_equal(dns_query_read(buffer_str(&message), &query), 0);
        assert_string_equal(query.name, "");
        assert_int_equal(query.udp_size, DNS_UDP_PLAIN);
}

/* Bytes that no host name has are not taken for others: "a\.b" is not "a.b". */
static void strange_labels_equal_no_name(void **state)
{
        struct dns_query query;

        (void)state;
        assert_int_equal(
                dns_query_read(BYTES(HEAD("\1\0", ONE_QUESTION) "\5a.b\0c\1d\0\0\1\0\1"), &query),
                0);
        assert_string_equal(query.name, "a?b?c.d");
}

static const struct {
        const char *what;
        struct str message;
        int result;
} malformed[] = {
        { "nothing", BYTES(""), -EBADMSG },
        { "half a header", BYTES("\x12\x34\1\0\0\1\0\0\0\0\0"), -EBADMSG },
        { "an answer", BYTES(HEAD("\x81\0", ONE_QUESTION) QUESTION), -EBADMSG },
        { "no question", BYTES(HEAD("\1\0", "\0\0\0\0\0\0\0\0")), DNS_FORMAT_ERROR },
        { "two questions", BYTES(HEAD("\1\0", "\0\2\0\0\0\0\0\0") QUESTION QUESTION),
          DNS_FORMAT_ERROR },
        { "an answer section", BYTES(HEAD("\1\0", "\0\1\0\1\0\0\0\0") QUESTION), DNS_FORMAT_ERROR },
        { "an authority section", BYTES(HEAD("\1\0", "\0\1\0\0\0\1\0\0") QUESTION),
          DNS_FORMAT_ERROR },
        { "too many additional records", BYTES(HEAD("\1\0", "\0\1\0\0\0\0\0\5") QUESTION),
          DNS_FORMAT_ERROR },
        { "a question missing", BYTES(HEAD("\1\0", ONE_QUESTION)), DNS_FORMAT_ERROR },
        { "a name without end", BYTES(HEAD("\1\0", ONE_QUESTION) "\1a"), DNS_FORMAT_ERROR },
        { "a label beyond the end", BYTES(HEAD("\1\0", ONE_QUESTION) "\77a"), DNS_FORMAT_ERROR },
        { "a label of a reserved kind", BYTES(HEAD("\1\0", ONE_QUESTION) "\x41" QUESTION),
          DNS_FORMAT_ERROR },
        { "a type cut off", BYTES(HEAD("\1\0", ONE_QUESTION) "\1a\0\0\1\0"), DNS_FORMAT_ERROR },
        { "a pointer to itself", BYTES(HEAD("\1\0", ONE_QUESTION) "\xc0\x0c\0\1\0\1"),
          DNS_FORMAT_ERROR },
        { "a pointer on", BYTES(HEAD("\1\0", ONE_QUESTION) "\xc0\x0e\0\0\0\1\0\1"),
          DNS_FORMAT_ERROR },
        { "a pointer into the header", BYTES(HEAD("\1\0", ONE_QUESTION) "\xc0\x05\0\1\0\1"),
          DNS_FORMAT_ERROR },
        { "half a pointer", BYTES(HEAD("\1\0", ONE_QUESTION) "\xc0"), DNS_FORMAT_ERROR },
        { "bytes behind", BYTES(HEAD("\1\0", ONE_QUESTION) QUESTION "x"), DNS_FORMAT_ERROR },
        { "an additional record missing", BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION),
          DNS_FORMAT_ERROR },
        { "an additional record cut off",
          BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION "\0\0\x29\4\xd0\0\0\0\0\0"),
          DNS_FORMAT_ERROR },
        { "data cut off",
          BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\4abc"),
          DNS_FORMAT_ERROR },
        { "an OPT of a name",
          BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION "\xc0\x0c\0\x29\4\xd0\0\0\0\0\0\0"),
          DNS_FORMAT_ERROR },
        { "two OPTs", BYTES(HEAD("\1\0", "\0\1\0\0\0\0\0\2") QUESTION OPT OPT), DNS_FORMAT_ERROR },
        { "another version of EDNS",
          BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION "\0\0\x29\4\xd0\0\1\0\0\0\0"),
          DNS_BAD_VERSION },
        { "an update", BYTES(HEAD("\x28\0", ONE_QUESTION) QUESTION), DNS_NOT_IMPLEMENTED },
        { "class CHAOS", BYTES(HEAD("\1\0", ONE_QUESTION) "\1a\0\0\1\0\3"), DNS_REFUSED },
        { "a transfer", BYTES(HEAD("\1\0", ONE_QUESTION) "\1a\0\0\xfc\0\1"), DNS_REFUSED },
        { "a type of no data", BYTES(HEAD("\1\0", ONE_QUESTION) "\1a\0\0\xfa\0\1"),
          DNS_NOT_IMPLEMENTED },
        { "a pointer back, and OPT",
          BYTES(HEAD("\1\0", "\0\1\0\0\0\0\0\2") QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\0" OPT), 0 },
};

static void what_is_no_query_is_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
                struct dns_query query;
                int r = dns_query_read(malformed[i].message, &query);
                if (r != malformed[i].result)
                        fail_msg("%s: %d, not %d", malformed[i].what, r, malformed[i].result);
        }
}

static void the_longest_name_is_taken_and_no_longer_one(void **state)
{
        /* Three labels of 63 bytes and one of 61: 255 bytes on the wire. */
        char name[260];

        (void)state;
        for (unsigned last = 61; last <= 62; last++) {
                _cleanup_buffer_ struct buffer message = {};
                struct dns_query query;
                memset(name, 'a', sizeof(name));
                name[63] = name[127] = name[191] = '.';
                name[192 + last] = '\0';
                test_put_query(&message, name, DNS_TYPE_A, 0);
                assert_int_equal(dns_query_read(buffer_str(&message), &query),
                                 last == 61 ? 0 : DNS_FORMAT_ERROR);
                if (last == 61)
                        assert_string_equal(query.name, name);
        }
}

static void ask(struct dns_query *query, struct buffer *message, unsigned udp_size)
{
        buffer_clear(message);
        test_put_query(message, "a.b.cluster.local", DNS_TYPE_A, udp_size);
        assert_int_equal(dns_query_read(buffer_str(message), query), 0);
}

static void addresses_are_written(void **state)
{
        static const uint32_t addresses[] = { 0x0a580002, 0x0a580003 };
        _cleanup_buffer_ struct buffer message = {}, out = {};
        const struct dns_answer answer = {
                .is_authoritative = true, .addresses = addresses, .count = 2, .ttl = 7
        };
        static const char records[] = "\xc0\x0c\0\1\0\1\0\0\0\7\0\4\x0a\x58\0\2"
                                      "\xc0\x0c\0\1\0\1\0\0\0\7\0\4\x0a\x58\0\3";
        struct dns_query query;

        (void)state;
        ask(&query, &message, 0);
        assert_int_equal(dns_answer_write(&query, &answer, 512, &out), 0);
        struct str text = buffer_str(&out);
        assert_memory_equal(text.data, "\x12\x34\x85\0\0\1\0\2\0\0\0\0", 12);
        assert_int_equal(text.length, 12 + 19 + 4 + sizeof(records) - 1);
        assert_memory_equal(text.data + 12, message.data + 12, 23);
        assert_memory_equal(text.data + 35, records, sizeof(records) - 1);
}

static void a_negative_answer_is_not_to_be_remembered(void **state)
{
        static const char soa[] = "\xc0\x10\0\6\0\1\0\0\0\0\0\x2a"
                                  "\2ns\3dns\xc0\x10\12hostmaster\xc0\x10"
                                  "\0\0\0\1\0\0\x1c\x20\0\0\7\x08\0\1\x51\x80\0\0\0\0";
        _cleanup_buffer_ struct buffer message = {}, out = {};
        const struct dns_answer answer = { .code = DNS_NO_SUCH_NAME,
                                           .is_authoritative = true,
                                           .zone = STR("cluster.local") };
        struct dns_query query;

        (void)state;
        ask(&query, &message, 0);
        assert_int_equal(dns_answer_write(&query, &answer, 512, &out), 0);
        struct str text = buffer_str(&out);
        assert_memory_equal(text.data, "\x12\x34\x85\3\0\1\0\0\0\1\0\0", 12);
        assert_int_equal(text.length, 35 + sizeof(soa) - 1);
        assert_memory_equal(text.data + 35, soa, sizeof(soa) - 1);
}

static void an_edns_query_gets_an_edns_answer(void **state)
{
        _cleanup_buffer_ struct buffer out = {};
        const struct str versioned =
                BYTES(HEAD("\1\0", WITH_ADDITIONAL) QUESTION "\0\0\x29\4\xd0\0\1\x80\0\0\0");
        const struct dns_answer answer = { .code = DNS_BAD_VERSION };
        struct dns_query query;

        (void)state;
        assert_int_equal(dns_query_read(versioned, &query), DNS_BAD_VERSION);
        assert_int_equal(dns_answer_write(&query, &answer, 512, &out), 0);
        struct str text = buffer_str(&out);
        assert_memory_equal(text.data, "\x12\x34\x81\0\0\1\0\0\0\0\0\1", 12);
        assert_memory_equal(text.data + text.length - 11, "\0\0\x29\4\xd0\1\0\x80\0\0\0", 11);
}

static void an_answer_never_exceeds_its_limit(void **state)
{
        static uint32_t addresses[5000];
        const struct dns_answer answer = { .addresses = addresses, .count = 5000 };
        _cleanup_buffer_ struct buffer message = {};

        (void)state;
        for (unsigned edns = 0; edns <= 1232; edns += 1232) {
                struct dns_query query;
                ask(&query, &message, edns);
                for (size_t limit = 512; limit < 65536; limit += 997) {
                        _cleanup_buffer_ struct buffer out = {};
                        assert_int_equal(buffer_append(&out, "xx", 2), 0);
                        assert_int_equal(dns_answer_write(&query, &answer, limit, &out), 0);
                        struct str text = str_slice(buffer_str(&out), 2, out.length);
                        assert_true(text.length <= limit && text.length + 16 > limit);
                        assert_true(test_get16(text, 2) & 0x0200);
                        assert_int_equal(text.length,
                                         35 + 16 * test_answers(text) + (edns ? 11 : 0));
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_query_is_read),
                cmocka_unit_test(strange_labels_equal_no_name),
                cmocka_unit_test(what_is_no_query_is_refused),
                cmocka_unit_test(the_longest_name_is_taken_and_no_longer_one),
                cmocka_unit_test(addresses_are_written),
                cmocka_unit_test(a_negative_answer_is_not_to_be_remembered),
                cmocka_unit_test(an_edns_query_gets_an_edns_answer),
                cmocka_unit_test(an_answer_never_exceeds_its_limit),
        };

        return run_unit_tests("dns_message", tests);
}
