// SPDX-License-Identifier: Apache-2.0
#include "router/target.h"

#include "base/clock.h"
#include "base/limit.h"
#include "base/options.h"

bool router_is_dns_label(struct str text)
{
        if (text.length == 0 || text.length > LIMIT_LABEL)
                return false;
        for (size_t i = 0; i < text.length; i++) {
                char c = text.data[i];
                bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                bool inside = i > 0 && i < text.length - 1;
                if (!alphanumeric && !(c == '-' && inside))
                        return false;
        }
        return true;
}

/* IPv4 in its own form or mapped into IPv6: both mean the same place. */
static bool is_allowed_ipv4(uint32_t ip, bool allow_loopback)
{
        bool loopback = ip >> 24 == 127;
        bool link_local = ip >> 16 == 0xa9fe; /* 169.254/16: metadata services of clouds */
        bool unspecified = ip >> 24 == 0;
        bool multicast_or_reserved = ip >> 28 >= 0xe;

        return !unspecified && !multicast_or_reserved && !link_local &&
               (!loopback || allow_loopback);
}

static bool is_allowed(const struct net_address *address, bool allow_loopback)
{
        if (address->generic.sa_family == AF_INET)
                return is_allowed_ipv4(ntohl(address->in.sin_addr.s_addr), allow_loopback);

        const struct in6_addr *ip = &address->in6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(ip) || (IN6_IS_ADDR_V4COMPAT(ip) && !IN6_IS_ADDR_LOOPBACK(ip) &&
                                         !IN6_IS_ADDR_UNSPECIFIED(ip))) {
                uint32_t ipv4;
                memcpy(&ipv4, ip->s6_addr + 12, sizeof(ipv4));
                return is_allowed_ipv4(ntohl(ipv4), allow_loopback);
        }
        return !IN6_IS_ADDR_UNSPECIFIED(ip) && !IN6_IS_ADDR_MULTICAST(ip) &&
               !IN6_IS_ADDR_LINKLOCAL(ip) && (!IN6_IS_ADDR_LOOPBACK(ip) || allow_loopback);
}

const char *router_target_read(const struct http_headers *headers, bool allow_loopback,
                               struct router_target *ret_target)
{
        struct router_target target = {
                .id = http_headers_get(headers, STR("x-sandbox-id")),
                .name_space = http_headers_get(headers, STR("x-sandbox-namespace")),
                .port = ROUTER_DEFAULT_PORT,
                .uid = http_headers_get(headers, STR("x-sandbox-uid")),
        };
        struct str port = http_headers_get(headers, STR("x-sandbox-port"));
        struct str ip = http_headers_get(headers, STR("x-sandbox-pod-ip"));
        struct str timeout = http_headers_get(headers, STR("x-sandbox-timeout"));
        uint64_t number;

        if (target.id.length == 0)
                return "X-Sandbox-ID header is required.";
        /* Given twice, nobody knows which of them somebody before us has looked at. */
        if (!router_is_dns_label(target.id) || http_headers_count(headers, STR("x-sandbox-id")) > 1)
                return "Invalid sandbox ID format.";
        if (target.name_space.length == 0)
                target.name_space = STR("default");
        if (!router_is_dns_label(target.name_space) ||
            http_headers_count(headers, STR("x-sandbox-namespace")) > 1)
                return "Invalid namespace format.";
        if (port.length > 0) {
                if (str_to_u64(port, UINT16_MAX, &number) < 0 || number == 0)
                        return "Invalid port format.";
                target.port = (uint16_t)number;
        }
        if (ip.length > 0 && (net_address_from_ip(ip, target.port, &target.pod_ip) < 0 ||
                              !is_allowed(&target.pod_ip, allow_loopback)))
                return "Invalid target IP address.";
        /* What cannot be read is as good as absent: the proxy's own limit holds anyway. */
        if (timeout.length > 0 && duration_parse(timeout, &number) == 0)
                target.timeout_ms = MAX(number / NS_PER_MS, UINT64_C(1));
        *ret_target = target;
        return NULL;
}
