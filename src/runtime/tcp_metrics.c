// SPDX-License-Identifier: Apache-2.0
#include "runtime/tcp_metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/tcp_metrics.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/macro.h"
#include "base/str.h"

enum { REQUEST_MAX = 256, ANSWER_MAX = 32768 };

struct addresses {
        uint32_t source;
        uint32_t *items;
        size_t count, capacity;
};

static struct nlmsghdr *begin(char *place, uint16_t family, uint8_t command, uint16_t flags)
{
        struct nlmsghdr *header = mnl_nlmsg_put_header(place);
        struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(header, sizeof(*generic));

        header->nlmsg_type = family;
        header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
        generic->cmd = command;
        generic->version = 1;
        return header;
}

/* Sends one request and hands each message of the answer to `on_message`. */
static int ask(struct mnl_socket *socket, const struct nlmsghdr *request, mnl_cb_t on_message,
               void *user)
{
        _cleanup_free_ char *answer = malloc(ANSWER_MAX);
        int verdict = MNL_CB_OK;

        if (!answer)
                return -ENOMEM;
        if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
                return -errno;
        while (verdict == MNL_CB_OK) {
                ssize_t got = mnl_socket_recvfrom(socket, answer, ANSWER_MAX);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                verdict = mnl_cb_run(answer, (size_t)got, 0, 0, on_message, user);
        }
        return verdict < 0 ? -errno : 0;
}

static int on_family_attribute(const struct nlattr *attribute, void *user)
{
        uint16_t *family = user;

        if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID &&
            mnl_attr_validate(attribute, MNL_TYPE_U16) == 0)
                *family = mnl_attr_get_u16(attribute);
        return MNL_CB_OK;
}

static int on_family(const struct nlmsghdr *header, void *user)
{
        return mnl_attr_parse(header, sizeof(struct genlmsghdr), on_family_attribute, user);
}

int tcp_metrics_open(struct tcp_metrics *metrics)
{
        _Alignas(NLMSG_ALIGNTO) char request[REQUEST_MAX];
        struct nlmsghdr *header = begin(request, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);

        *metrics = (struct tcp_metrics){};
        mnl_attr_put_strz(header, CTRL_ATTR_FAMILY_NAME, TCP_METRICS_GENL_NAME);
        metrics->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
        if (!metrics->socket)
                return -errno;
        int r = ask(metrics->socket, header, on_family, &metrics->family);
        if (r == 0 && metrics->family == 0)
                r = -ENOENT;
        if (r < 0)
                tcp_metrics_close(metrics);
        return r;
}

void tcp_metrics_close(struct tcp_metrics *metrics)
{
        if (metrics->socket)
                mnl_socket_close(metrics->socket);
        metrics->socket = NULL;
}

int tcp_metrics_forget(struct tcp_metrics *metrics, uint32_t source, uint32_t address)
{
        _Alignas(NLMSG_ALIGNTO) char request[REQUEST_MAX];

        struct nlmsghdr *header = begin(request, metrics->family, TCP_METRICS_CMD_DEL, NLM_F_ACK);
        mnl_attr_put_u32(header, TCP_METRICS_ATTR_ADDR_IPV4, htonl(address));
        mnl_attr_put_u32(header, TCP_METRICS_ATTR_SADDR_IPV4, htonl(source));
        int r = ask(metrics->socket, header, NULL, NULL);
        if (r == -ESRCH)
                return 0;
        return r < 0 ? r : 1;
}

/* One connection's attributes. */
struct remembered {
        uint32_t address, source;
};

static int on_remembered_attribute(const struct nlattr *attribute, void *user)
{
        struct remembered *remembered = user;

        if (mnl_attr_get_type(attribute) == TCP_METRICS_ATTR_ADDR_IPV4 &&
            mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                remembered->address = ntohl(mnl_attr_get_u32(attribute));
        if (mnl_attr_get_type(attribute) == TCP_METRICS_ATTR_SADDR_IPV4 &&
            mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                remembered->source = ntohl(mnl_attr_get_u32(attribute));
        return MNL_CB_OK;
}

static int on_remembered(const struct nlmsghdr *header, void *user)
{
        struct addresses *found = user;
        struct remembered remembered = {};

        mnl_attr_parse(header, sizeof(struct genlmsghdr), on_remembered_attribute, &remembered);
        if (remembered.source != found->source || !remembered.address)
                return MNL_CB_OK;
        if (found->count == found->capacity) {
                size_t capacity = MAX(found->capacity * 2, (size_t)64);
                uint32_t *items = reallocarray(found->items, capacity, sizeof(*items));
                if (!items)
                        return MNL_CB_ERROR;
                found->items = items;
                found->capacity = capacity;
        }
        found->items[found->count++] = remembered.address;
        return MNL_CB_OK;
}

int tcp_metrics_forget_all(struct tcp_metrics *metrics, uint32_t source)
{
        _Alignas(NLMSG_ALIGNTO) char request[REQUEST_MAX];
        struct addresses found = { .source = source };
        int r = ask(metrics->socket,
                    begin(request, metrics->family, TCP_METRICS_CMD_GET, NLM_F_DUMP), on_remembered,
                    &found);

        for (size_t i = 0; r >= 0 && i < found.count; i++)
                r = tcp_metrics_forget(metrics, source, found.items[i]);
        free(found.items);
        return r < 0 ? r : 0;
}
