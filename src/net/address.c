// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int net_address_from_ip(struct str ip, uint16_t port, struct net_address *ret_address)
{
        struct net_address address = {};
        char text[INET6_ADDRSTRLEN];

        if (ip.length == 0 || ip.length >= sizeof(text) || memchr(ip.data, '\0', ip.length))
                return -EINVAL;
        memcpy(text, ip.data, ip.length);
        text[ip.length] = '\0';

        if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
                address.in.sin_family = AF_INET;
                address.in.sin_port = htons(port);
                address.length = sizeof(address.in);
        } else if (inet_pton(AF_INET6, text, &address.in6.sin6_addr) == 1) {
                address.in6.sin6_family = AF_INET6;
                address.in6.sin6_port = htons(port);
                address.length = sizeof(address.in6);
        } else {
                return -EINVAL;
        }
        *ret_address = address;
        return 0;
}

int net_address_from_path(struct str path, struct net_address *ret_address)
{
        struct net_address address = { .un.sun_family = AF_UNIX };
        bool abstract = path.length > 0 && path.data[0] == '@';

        if (path.length == 0 || memchr(path.data, '\0', path.length))
                return -EINVAL;
        if (path.length >= sizeof(address.un.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.un.sun_path, path.data, path.length);
        if (abstract)
                address.un.sun_path[0] = '\0';
        size_t used = offsetof(struct sockaddr_un, sun_path) + path.length + (abstract ? 0 : 1);
        address.length = (socklen_t)used;
        *ret_address = address;
        return 0;
}

int net_address_parse(struct str text, struct net_address *ret_address)
{
        struct str host, port_text;
        uint64_t port;
        size_t colon = text.length;

        if (str_starts_with(text, STR("unix:")))
                return net_address_from_path(str_slice(text, 5, text.length), ret_address);

        while (colon > 0 && text.data[colon - 1] != ':')
                colon--;
        if (colon == 0)
                return -EINVAL;
        host = str_slice(text, 0, colon - 1);
        port_text = str_slice(text, colon, text.length);
        if (str_to_u64(port_text, UINT16_MAX, &port) < 0)
                return -EINVAL;

        if (host.length == 0)
                return net_address_from_ip(STR("::"), (uint16_t)port, ret_address);
        if (host.data[0] == '[') {
                if (host.data[host.length - 1] != ']')
                        return -EINVAL;
                host = str_slice(host, 1, host.length - 1);
                if (!memchr(host.data, ':', host.length))
                        return -EINVAL;
        } else if (memchr(host.data, ':', host.length)) {
                return -EINVAL;
        }
        return net_address_from_ip(host, (uint16_t)port, ret_address);
}

/* An IPv4 peer of a socket that serves both families is shown as the IPv4 address that it is. */
static bool is_mapped(const struct net_address *address)
{
        return address->generic.sa_family == AF_INET6 &&
               IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr);
}

void net_address_format_ip(const struct net_address *address, char text[static NET_ADDRESS_SIZE])
{
        text[0] = '\0';
        if (address->length == 0)
                return;
        switch (address->generic.sa_family) {
        case AF_INET:
                inet_ntop(AF_INET, &address->in.sin_addr, text, NET_ADDRESS_SIZE);
                break;
        case AF_INET6:
                if (is_mapped(address))
                        inet_ntop(AF_INET, address->in6.sin6_addr.s6_addr + 12, text,
                                  NET_ADDRESS_SIZE);
                else
                        inet_ntop(AF_INET6, &address->in6.sin6_addr, text, NET_ADDRESS_SIZE);
                break;
        case AF_UNIX:
                snprintf(text, NET_ADDRESS_SIZE, "unix");
                break;
        }
}

void net_address_format(const struct net_address *address, char text[static NET_ADDRESS_SIZE])
{
        char ip[NET_ADDRESS_SIZE];

        text[0] = '\0';
        if (address->length == 0)
                return;
        if (address->generic.sa_family == AF_UNIX) {
                size_t start = offsetof(struct sockaddr_un, sun_path);
                size_t length = address->length > start ? address->length - start : 0;
                if (length > 0 && address->un.sun_path[0] == '\0')
                        snprintf(text, NET_ADDRESS_SIZE, "unix:@%.*s", (int)length - 1,
                                 address->un.sun_path + 1);
                else
                        snprintf(text, NET_ADDRESS_SIZE, "unix:%.*s", (int)length,
                                 address->un.sun_path);
                return;
        }
        net_address_format_ip(address, ip);
        snprintf(text, NET_ADDRESS_SIZE, strchr(ip, ':') ? "[%.64s]:%u" : "%.64s:%u", ip,
                 net_address_port(address));
}

uint16_t net_address_port(const struct net_address *address)
{
        if (address->length == 0)
                return 0;
        switch (address->generic.sa_family) {
        case AF_INET:
                return ntohs(address->in.sin_port);
        case AF_INET6:
                return ntohs(address->in6.sin6_port);
        default:
                return 0;
        }
}

void net_address_set_port(struct net_address *address, uint16_t port)
{
        if (address->generic.sa_family == AF_INET)
                address->in.sin_port = htons(port);
        else if (address->generic.sa_family == AF_INET6)
                address->in6.sin6_port = htons(port);
}

bool net_address_is_loopback(const struct net_address *address)
{
        if (address->length == 0)
                return false;
        switch (address->generic.sa_family) {
        case AF_INET:
                return (ntohl(address->in.sin_addr.s_addr) >> 24) == 127;
        case AF_INET6:
                return is_mapped(address) ? address->in6.sin6_addr.s6_addr[12] == 127
                                          : IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
        default:
                return false;
        }
}
