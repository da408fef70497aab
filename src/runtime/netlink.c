// SPDX-License-Identifier: Apache-2.0
#include "runtime/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/macro.h"

enum { PART_MAX = 512 };

void netlink_batch_init(struct netlink_batch *batch)
{
        *batch = (struct netlink_batch){};
}

/* The head of the next part; parts beyond the end go to a place that is never sent. */
static struct nlmsghdr *begin(struct netlink_batch *batch, uint16_t type, uint16_t flags)
{
        static _Alignas(8) char overflow[PART_MAX];
        char *place = batch->bytes + batch->length;

        if (batch->length + PART_MAX > sizeof(batch->bytes)) {
                batch->is_full = true;
                place = overflow;
        }
        struct nlmsghdr *header = mnl_nlmsg_put_header(place);
        header->nlmsg_type = type;
        header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
        header->nlmsg_seq = ++batch->count;
        return header;
}

static void end(struct netlink_batch *batch, const struct nlmsghdr *header)
{
        assert(header->nlmsg_len <= PART_MAX);
        if (!batch->is_full)
                batch->length += (header->nlmsg_len + 3U) & ~3U;
}

int netlink_open(int *ret_fd)
{
        int one = 1;
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

        if (fd < 0)
                return -errno;
        /* Errors without a copy of the request. */
        setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
        *ret_fd = fd;
        return 0;
}

int netlink_commit(int fd, const struct netlink_batch *batch)
{
        struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
        _Alignas(8) char answer[8192];
        unsigned answers = 0;
        int result = 0;

        if (batch->is_full)
                return -E2BIG;
        if (batch->count == 0)
                return 0;
        if (sendto(fd, batch->bytes, batch->length, 0, (struct sockaddr *)&kernel, sizeof(kernel)) <
            0)
                return -errno;
        while (answers < batch->count) {
                ssize_t got = recv(fd, answer, sizeof(answer), 0);
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
                        answers++;
                        if (error->error < 0 && result == 0)
                                result = error->error;
                }
        }
        return result;
}

static void put_end(struct nlmsghdr *header, struct ifinfomsg *link, const struct netlink_end *end)
{
        link->ifi_index = (int)end->index;
        if (end->is_up)
                link->ifi_flags = link->ifi_change = IFF_UP;
        mnl_attr_put_strz(header, IFLA_IFNAME, end->name);
        mnl_attr_put(header, IFLA_ADDRESS, NETLINK_MAC, end->mac);
        /* One queue: a Pod's wire needs no more, and each costs memory. */
        mnl_attr_put_u32(header, IFLA_NUM_TX_QUEUES, 1);
        mnl_attr_put_u32(header, IFLA_NUM_RX_QUEUES, 1);
        if (end->netns >= 0)
                mnl_attr_put_u32(header, IFLA_NET_NS_FD, (uint32_t)end->netns);
}

void netlink_veth_add(struct netlink_batch *batch, const struct netlink_end *here,
                      const struct netlink_end *peer)
{
        struct nlmsghdr *header = begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        struct ifinfomsg *link = mnl_nlmsg_put_extra_header(header, sizeof(*link));

        put_end(header, link, here);
        struct nlattr *info = mnl_attr_nest_start(header, IFLA_LINKINFO);
        mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
        struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
        struct nlattr *other = mnl_attr_nest_start(header, VETH_INFO_PEER);
        struct ifinfomsg *peer_link = mnl_nlmsg_put_extra_header(header, sizeof(*peer_link));
        put_end(header, peer_link, peer);
        mnl_attr_nest_end(header, other);
        mnl_attr_nest_end(header, data);
        mnl_attr_nest_end(header, info);
        end(batch, header);
}

void netlink_link_up(struct netlink_batch *batch, uint32_t index)
{
        struct nlmsghdr *header = begin(batch, RTM_NEWLINK, 0);
        struct ifinfomsg *link = mnl_nlmsg_put_extra_header(header, sizeof(*link));

        link->ifi_index = (int)index;
        link->ifi_flags = IFF_UP;
        link->ifi_change = IFF_UP;
        end(batch, header);
}

void netlink_link_delete(struct netlink_batch *batch, const char *name)
{
        struct nlmsghdr *header = begin(batch, RTM_DELLINK, 0);

        mnl_nlmsg_put_extra_header(header, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(header, IFLA_IFNAME, name);
        end(batch, header);
}

void netlink_address_add(struct netlink_batch *batch, uint32_t index, uint32_t address)
{
        struct nlmsghdr *header = begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
        struct ifaddrmsg *message = mnl_nlmsg_put_extra_header(header, sizeof(*message));

        message->ifa_family = AF_INET;
        message->ifa_prefixlen = 32;
        message->ifa_index = index;
        mnl_attr_put_u32(header, IFA_LOCAL, htonl(address));
        mnl_attr_put_u32(header, IFA_ADDRESS, htonl(address));
        end(batch, header);
}

static struct nlmsghdr *begin_route(struct netlink_batch *batch, uint16_t type, uint16_t flags,
                                    uint32_t index, uint32_t destination, unsigned prefix,
                                    bool is_direct)
{
        struct nlmsghdr *header = begin(batch, type, flags);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));

        route->rtm_family = AF_INET;
        route->rtm_dst_len = (unsigned char)prefix;
        route->rtm_table = RT_TABLE_MAIN;
        route->rtm_protocol = RTPROT_STATIC;
        route->rtm_type = RTN_UNICAST;
        route->rtm_scope = is_direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
        if (!is_direct)
                route->rtm_flags = RTNH_F_ONLINK;
        if (prefix > 0)
                mnl_attr_put_u32(header, RTA_DST, htonl(destination));
        mnl_attr_put_u32(header, RTA_OIF, index);
        return header;
}

void netlink_route_add(struct netlink_batch *batch, uint32_t index, uint32_t destination,
                       unsigned prefix, uint32_t gateway, uint32_t source)
{
        struct nlmsghdr *header = begin_route(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                                              index, destination, prefix, gateway == 0);

        if (gateway)
                mnl_attr_put_u32(header, RTA_GATEWAY, htonl(gateway));
        if (source)
                mnl_attr_put_u32(header, RTA_PREFSRC, htonl(source));
        end(batch, header);
}

void netlink_route_delete(struct netlink_batch *batch, uint32_t index, uint32_t destination,
                          unsigned prefix)
{
        end(batch, begin_route(batch, RTM_DELROUTE, 0, index, destination, prefix, true));
}

void netlink_neighbour_add(struct netlink_batch *batch, uint32_t index, uint32_t address,
                           const uint8_t mac[static NETLINK_MAC])
{
        struct nlmsghdr *header = begin(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
        struct ndmsg *neighbour = mnl_nlmsg_put_extra_header(header, sizeof(*neighbour));

        neighbour->ndm_family = AF_INET;
        neighbour->ndm_ifindex = (int)index;
        neighbour->ndm_state = NUD_PERMANENT;
        mnl_attr_put_u32(header, NDA_DST, htonl(address));
        mnl_attr_put(header, NDA_LLADDR, NETLINK_MAC, mac);
        end(batch, header);
}
