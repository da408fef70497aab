// SPDX-License-Identifier: Apache-2.0
#include "node/dns_message.h"

#include <errno.h>

enum {
        HEADER_SIZE = 12,
        LABEL_MAX = 63,
        NAME_MAX_WIRE = 255,
        POINTERS_MAX = 8,
        ADDITIONAL_MAX = 4, /* OPT, and a signature that nobody checks */
        QUESTION_TAIL = 4,  /* type and class */
        RECORD_TAIL = 10,   /* type, class, TTL, length */
        ADDRESS_RECORD = 16,
        OPT_RECORD = 11,
        POINTER = 0xc000,
        FLAG_ANSWER = 0x8000,
        FLAG_AUTHORITATIVE = 0x0400,
        FLAG_TRUNCATED = 0x0200,
        FLAG_RECURSION_DESIRED = 0x0100,
        FLAG_CHECKING_DISABLED = 0x0010,
        EDNS_DNSSEC_OK = 0x8000,
        TYPE_TRANSFER_FIRST = 251, /* IXFR, AXFR */
        TYPE_TRANSFER_LAST = 252,
        TYPE_META_FIRST = 128, /* RFC 6895 3.1: not of data */
        TYPE_META_LAST = 254,
};

/* ---- reading ---- */

static uint16_t read16(struct str message, size_t at)
{
        return (uint16_t)((uint8_t)message.data[at] << 8 | (uint8_t)message.data[at + 1]);
}

static char host_character(char c)
{
        if (c >= 'A' && c <= 'Z')
                return (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
                return c;
        return '?';
}

/*
 * Reads a name at *at, which moves behind it. Pointers lead back only, each before the last, so
 * that reading ends. `text` may be NULL. Returns whether it is one.
 */
static bool read_name(struct str message, size_t *at, char *text)
{
        size_t position = *at, length = 0, wire = 1, pointers = 0, bound = *at;

        for (;;) {
                if (position >= message.length)
                        return false;
                uint8_t first = (uint8_t)message.data[position];
                if (first >= POINTER >> 8) {
                        if (position + 2 > message.length || ++pointers > POINTERS_MAX)
                                return false;
                        size_t target = read16(message, position) & ~(size_t)POINTER;
                        if (target >= bound || target < HEADER_SIZE)
                                return false;
                        if (pointers == 1)
                                *at = position + 2;
                        position = bound = target;
                        continue;
                }
                wire += (size_t)first + 1;
                if (first > LABEL_MAX || position + 1 + first > message.length ||
                    (first > 0 && wire > NAME_MAX_WIRE))
                        return false;
                position++;
                if (first == 0)
                        break;
                for (size_t i = 0; text && i < first; i++) {
                        if (i == 0 && length > 0)
                                text[length++] = '.';
                        text[length++] = host_character(message.data[position + i]);
                }
                position += first;
        }
        if (pointers == 0)
                *at = position;
        if (text)
                text[length] = '\0';
        return true;
}

static bool read_question(struct str message, size_t *at, struct dns_query *query)
{
        size_t begin = *at;

        if (!read_name(message, at, query->name) || message.length - *at < QUESTION_TAIL)
                return false;
        query->type = read16(message, *at);
        query->class = read16(message, *at + 2);
        *at += QUESTION_TAIL;
        query->question = str_slice(message, begin, *at);
        return true;
}

/* Returns 0 or a dns_code. */
static int read_additional(struct str message, size_t *at, struct dns_query *query)
{
        size_t begin = *at;

        if (!read_name(message, at, NULL) || message.length - *at < RECORD_TAIL)
                return DNS_FORMAT_ERROR;
        uint16_t type = read16(message, *at), class = read16(message, *at + 2);
        uint16_t high = read16(message, *at + 4), low = read16(message, *at + 6);
        size_t length = read16(message, *at + 8);
        bool is_root = message.data[begin] == '\0';
        *at += RECORD_TAIL;
        if (message.length - *at < length)
                return DNS_FORMAT_ERROR;
        *at += length;
        if (type != DNS_TYPE_OPT)
                return 0;
        if (query->has_edns || !is_root)
                return DNS_FORMAT_ERROR;
        query->has_edns = true;
        query->udp_size = MAX(class, (uint16_t)DNS_UDP_PLAIN);
        query->dnssec_ok = low & EDNS_DNSSEC_OK;
        return (high & 0xff) == 0 ? 0 : DNS_BAD_VERSION;
}

static int check_type(const struct dns_query *query)
{
        if (query->class != DNS_CLASS_IN && query->class != DNS_CLASS_ANY)
                return DNS_REFUSED;
        if (query->type >= TYPE_TRANSFER_FIRST && query->type <= TYPE_TRANSFER_LAST)
                return DNS_REFUSED;
        if (query->type == 0 || query->type == DNS_TYPE_OPT ||
            (query->type >= TYPE_META_FIRST && query->type <= TYPE_META_LAST))
                return DNS_NOT_IMPLEMENTED;
        return 0;
}

int dns_query_read(struct str message, struct dns_query *ret_query)
{
        struct dns_query *query = ret_query;
        size_t at = HEADER_SIZE;

        if (message.length < HEADER_SIZE)
                return -EBADMSG;
        uint16_t flags = read16(message, 2);
        if (flags & FLAG_ANSWER)
                return -EBADMSG;
        *query = (struct dns_query){
                .id = read16(message, 0),
                .opcode = flags >> 11 & 15,
                .recursion_desired = flags & FLAG_RECURSION_DESIRED,
                .checking_disabled = flags & FLAG_CHECKING_DISABLED,
                .udp_size = DNS_UDP_PLAIN,
        };
        if (query->opcode != 0)
                return DNS_NOT_IMPLEMENTED;
        uint16_t questions = read16(message, 4), additional = read16(message, 10);
        if (message.length > DNS_MESSAGE_MAX || questions != 1 || read16(message, 6) > 0 ||
            read16(message, 8) > 0 || additional > ADDITIONAL_MAX)
                return DNS_FORMAT_ERROR;
        if (!read_question(message, &at, query))
                return DNS_FORMAT_ERROR;
        for (uint16_t i = 0; i < additional; i++) {
                int r = read_additional(message, &at, query);
                if (r != 0)
                        return r;
        }
        return at == message.length ? check_type(query) : DNS_FORMAT_ERROR;
}

/* ---- writing ---- */

static void put16(uint8_t *at, unsigned value)
{
        at[0] = (uint8_t)(value >> 8);
        at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
        put16(at, value >> 16);
        put16(at + 2, value & 0xffff);
}

/* The name and head of a record of class IN, whose name stands at `name` in the message. */
static int append_record(struct buffer *out, size_t name, enum dns_type type, uint32_t ttl,
                         const void *data, size_t length)
{
        uint8_t head[2 + RECORD_TAIL];

        put16(head, POINTER | (unsigned)name);
        put16(head + 2, type);
        put16(head + 4, DNS_CLASS_IN);
        put32(head + 6, ttl);
        put16(head + 10, (unsigned)length);
        int r = buffer_append(out, head, sizeof(head));
        return r < 0 ? r : buffer_append(out, data, length);
}

/*
 * RFC 2308: with a TTL and a MINIMUM of 0 nobody remembers that there was nothing. The names of
 * server and postmaster end in a pointer to the zone, which is the end of the question's name.
 */
static int append_soa(const struct dns_query *query, struct str zone, struct buffer *out)
{
        static const char server[] = "\2ns\3dns", postmaster[] = "\12hostmaster";
        enum { FIRST = sizeof(server) - 1, SECOND = sizeof(postmaster) - 1, NUMBERS = 20 };
        static const uint32_t numbers[] = { 1, 7200, 1800, 86400, 0 };
        uint8_t data[FIRST + 2 + SECOND + 2 + NUMBERS], *at = data;
        size_t zone_wire = zone.length + 2 + QUESTION_TAIL;

        if (query->question.length < zone_wire)
                return 0;
        size_t place = HEADER_SIZE + query->question.length - zone_wire;
        memcpy(at, server, FIRST);
        put16(at + FIRST, POINTER | (unsigned)place);
        at += FIRST + 2;
        memcpy(at, postmaster, SECOND);
        put16(at + SECOND, POINTER | (unsigned)place);
        at += SECOND + 2;
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++, at += 4)
                put32(at, numbers[i]);
        int r = append_record(out, place, DNS_TYPE_SOA, 0, data, sizeof(data));
        return r < 0 ? r : 1;
}

static int append_opt(const struct dns_query *query, enum dns_code code, struct buffer *out)
{
        uint8_t record[OPT_RECORD] = {};

        put16(record + 1, DNS_TYPE_OPT);
        put16(record + 3, DNS_UDP_MAX);
        record[5] = (uint8_t)(code >> 4);
        put16(record + 7, query->dnssec_ok ? EDNS_DNSSEC_OK : 0);
        return buffer_append(out, record, sizeof(record));
}

static unsigned answer_flags(const struct dns_query *query, const struct dns_answer *answer)
{
        return FLAG_ANSWER | (unsigned)query->opcode << 11 |
               (answer->is_authoritative ? FLAG_AUTHORITATIVE : 0U) |
               (query->recursion_desired ? FLAG_RECURSION_DESIRED : 0U) |
               (query->checking_disabled ? FLAG_CHECKING_DISABLED : 0U) |
               ((unsigned)answer->code & 15);
}

int dns_answer_write(const struct dns_query *query, const struct dns_answer *answer, size_t limit,
                     struct buffer *out)
{
        uint8_t header[HEADER_SIZE] = {};
        size_t begin = out->length, opt = query->has_edns ? OPT_RECORD : 0;
        unsigned flags = answer_flags(query, answer);

        assert(limit >= DNS_UDP_PLAIN);
        int r = buffer_append(out, header, sizeof(header));
        if (r >= 0)
                r = buffer_append_str(out, query->question);
        if (r < 0)
                return r;
        size_t room = (limit - (out->length - begin) - opt) / ADDRESS_RECORD;
        size_t count = MIN(answer->count, room), authority = 0;
        if (count < answer->count)
                flags |= FLAG_TRUNCATED;
        for (size_t i = 0; i < count && r >= 0; i++) {
                uint8_t address[4];
                put32(address, answer->addresses[i]);
                r = append_record(out, HEADER_SIZE, DNS_TYPE_A, answer->ttl, address,
                                  sizeof(address));
        }
        if (r >= 0 && answer->count == 0 && answer->zone.length > 0) {
                r = append_soa(query, answer->zone, out);
                authority = r > 0;
        }
        if (r >= 0 && opt)
                r = append_opt(query, answer->code, out);
        if (r < 0)
                return r;
        put16(header, query->id);
        put16(header + 2, flags);
        put16(header + 4, query->question.length > 0);
        put16(header + 6, (unsigned)count);
        put16(header + 8, (unsigned)authority);
        put16(header + 10, opt > 0);
        memcpy(out->data + begin, header, sizeof(header));
        return 0;
}
