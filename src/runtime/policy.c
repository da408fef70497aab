// SPDX-License-Identifier: Apache-2.0
#include "runtime/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/buffer.h"

enum {
        RULES_A_MESSAGE = 500, /* an attribute holds 64 KiB */
        MESSAGE_MAX = 64 * 1024,
        KEY_SIZE = 16, /* four fields, each filled up to 32 bits */
        ANSWER_SIZE = 16 * 1024,
};

/* Messages of one transaction. */
struct batch {
        struct buffer bytes;
        uint32_t last; /* sequence number */
};

/* Makes room for a message and writes its head; NULL without memory. */
static struct nlmsghdr *begin(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family,
                              uint16_t resource)
{
        if (buffer_reserve(&batch->bytes, MESSAGE_MAX) < 0)
                return NULL;
        struct nlmsghdr *header = mnl_nlmsg_put_header(batch->bytes.data + batch->bytes.length);
        header->nlmsg_type = type;
        header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
        header->nlmsg_seq = ++batch->last;
        struct nfgenmsg *message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
        message->nfgen_family = family;
        message->version = NFNETLINK_V0;
        message->res_id = htons(resource);
        return header;
}

static void end(struct batch *batch, const struct nlmsghdr *header)
{
        batch->bytes.length += (header->nlmsg_len + 3U) & ~3U;
}

/* saddr . daddr . protocol . destination port */
static void put_key(struct nlmsghdr *header, uint16_t attribute, uint32_t source,
                    uint32_t destination, uint8_t protocol, uint16_t port)
{
        uint8_t key[KEY_SIZE] = {};
        uint32_t network_source = htonl(source), network_destination = htonl(destination);
        uint16_t network_port = htons(port);

        memcpy(key, &network_source, 4);
        memcpy(key + 4, &network_destination, 4);
        key[8] = protocol;
        memcpy(key + 12, &network_port, 2);
        struct nlattr *nest = mnl_attr_nest_start(header, attribute);
        mnl_attr_put(header, NFTA_DATA_VALUE, sizeof(key), key);
        mnl_attr_nest_end(header, nest);
}

static struct nlmsghdr *begin_elements(struct batch *batch, uint16_t type, uint16_t flags)
{
        struct nlmsghdr *header = begin(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
                                        (uint16_t)(flags | NLM_F_ACK), NFPROTO_INET, 0);

        if (header) {
                mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, "cay");
                mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, "allow");
        }
        return header;
}

static int put_rules(struct batch *batch, uint16_t type, uint16_t flags,
                     const struct policy_rule *rules, size_t count)
{
        for (size_t done = 0; done < count;) {
                size_t piece = MIN(count - done, (size_t)RULES_A_MESSAGE);
                struct nlmsghdr *header = begin_elements(batch, type, flags);
                if (!header)
                        return -ENOMEM;
                struct nlattr *list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
                for (size_t i = 0; i < piece; i++) {
                        const struct policy_rule *rule = &rules[done + i];
                        if (rule->source_first > rule->source_last ||
                            rule->destination_first > rule->destination_last ||
                            rule->port_first > rule->port_last)
                                return -EINVAL;
                        struct nlattr *element = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
                        put_key(header, NFTA_SET_ELEM_KEY, rule->source_first,
                                rule->destination_first, rule->protocol, rule->port_first);
                        put_key(header, NFTA_SET_ELEM_KEY_END, rule->source_last,
                                rule->destination_last, rule->protocol, rule->port_last);
                        mnl_attr_nest_end(header, element);
                }
                mnl_attr_nest_end(header, list);
                end(batch, header);
                done += piece;
        }
        return 0;
}

static int put_border(struct batch *batch, uint16_t type)
{
        struct nlmsghdr *header = begin(batch, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);

        if (!header)
                return -ENOMEM;
        end(batch, header);
        return 0;
}

/* Reads answers until the last message's, which is the only one that must come. */
static int read_answers(int netfilter, uint32_t last)
{
        _Alignas(8) char answer[ANSWER_SIZE];
        int result = 0;

        for (;;) {
                ssize_t got = recv(netfilter, answer, sizeof(answer), 0);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return got < 0 ? -errno : -EIO;
                int left = (int)got;
                for (struct nlmsghdr *header = (struct nlmsghdr *)(void *)answer;
                     mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
                        if (header->nlmsg_type != NLMSG_ERROR)
                                continue;
                        const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
                        if (error->error < 0 && result == 0)
                                result = error->error;
                        /* A batch that is refused as such is answered at its first message. */
                        if (header->nlmsg_seq == last || header->nlmsg_seq == 1)
                                return result;
                }
        }
}

static int send_batch(int netfilter, struct batch *batch, uint32_t last)
{
        struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
        char leftover[256];
        ssize_t sent;

        /* What an earlier call that failed half way has left. */
        while (recv(netfilter, leftover, sizeof(leftover), MSG_DONTWAIT) > 0)
                ;
        do
                sent = sendto(netfilter, batch->bytes.data, batch->bytes.length, 0,
                              (struct sockaddr *)&kernel, sizeof(kernel));
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : read_answers(netfilter, last);
}

static int commit(int netfilter, bool clears, const struct policy_rule *removed,
                  size_t removed_count, const struct policy_rule *added, size_t added_count)
{
        struct batch batch = {};
        int r = put_border(&batch, NFNL_MSG_BATCH_BEGIN);

        if (r == 0 && clears) {
                struct nlmsghdr *header = begin_elements(&batch, NFT_MSG_DELSETELEM, 0);
                if (header)
                        end(&batch, header);
                else
                        r = -ENOMEM;
        }
        if (r == 0)
                r = put_rules(&batch, NFT_MSG_DELSETELEM, 0, removed, removed_count);
        if (r == 0)
                r = put_rules(&batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, added, added_count);
        uint32_t last = batch.last;
        if (r == 0)
                r = put_border(&batch, NFNL_MSG_BATCH_END);
        if (r == 0 && last > 1)
                r = send_batch(netfilter, &batch, last);
        buffer_deinit(&batch.bytes);
        return r;
}

int policy_change(int netfilter, const struct policy_rule *removed, size_t removed_count,
                  const struct policy_rule *added, size_t added_count)
{
        return commit(netfilter, false, removed, removed_count, added, added_count);
}

int policy_replace(int netfilter, const struct policy_rule *rules, size_t count)
{
        return commit(netfilter, true, NULL, 0, rules, count);
}
