// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

/*
 * DNS messages as far as an authoritative server of addresses needs them: RFC 1035, EDNS(0) of RFC
 * 6891, the limits of RFC 2181. Strict: what is no well-formed query of one question is refused.
 */
enum {
        DNS_NAME_SIZE = 256,    /* a name as dotted text, with NUL; on the wire at most 255 bytes */
        DNS_MESSAGE_MAX = 4096, /* of a query; nobody has that much to ask */
        DNS_UDP_PLAIN = 512,    /* of an answer to a query without EDNS */
        DNS_UDP_MAX = 1232,     /* of any answer over UDP: never a fragment */
        DNS_TCP_MAX = 65535,
};

enum dns_type { DNS_TYPE_A = 1, DNS_TYPE_SOA = 6, DNS_TYPE_OPT = 41, DNS_TYPE_ANY = 255 };
enum dns_class { DNS_CLASS_IN = 1, DNS_CLASS_ANY = 255 };

/* RCODE; what is beyond 15 needs EDNS to be told. */
enum dns_code {
        DNS_OK = 0,
        DNS_FORMAT_ERROR = 1,
        DNS_SERVER_FAILURE = 2,
        DNS_NO_SUCH_NAME = 3,
        DNS_NOT_IMPLEMENTED = 4,
        DNS_REFUSED = 5,
        DNS_BAD_VERSION = 16,
};

struct dns_query {
        uint16_t id;
        uint8_t opcode;
        bool recursion_desired, checking_disabled;
        /* Lower case, without the last dot; empty is the root. Bytes that stand in no host name are
         * written as '?', so that such a name equals none that exists. */
        char name[DNS_NAME_SIZE];
        struct str question; /* as it came, to be repeated; empty: it could not be read */
        uint16_t type, class;
        bool has_edns, dnssec_ok;
        uint16_t udp_size; /* what the asker takes over UDP; at least DNS_UDP_PLAIN */
};

/*
 * Reads a query. Strings point into `message`. Returns 0, a positive dns_code that is to be
 * answered (then *ret_query holds what the answer needs), or -EBADMSG: it gets no answer, being too
 * short or an answer itself.
 */
int dns_query_read(struct str message, struct dns_query *ret_query);

struct dns_answer {
        enum dns_code code;
        bool is_authoritative;
        const uint32_t *addresses; /* IPv4, host byte order: A records of the name asked for */
        size_t count;
        uint32_t ttl; /* seconds */
        /* With an empty answer about a name of this zone: its SOA, which forbids to remember it. */
        struct str zone; /* "cluster.local", a suffix of the name; empty: none */
};

/*
 * Writes the answer, at most `limit` bytes: what does not fit is left out, and the answer says so.
 * Returns 0 or -ENOMEM; `out` is appended to.
 */
int dns_answer_write(const struct dns_query *query, const struct dns_answer *answer, size_t limit,
                     struct buffer *out);
