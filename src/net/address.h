// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

/* Where a stream socket listens or connects to: IPv4, IPv6 or a Unix socket. */
struct net_address {
        union {
                struct sockaddr generic;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
        };
        socklen_t length; /* 0: no address */
};

enum { NET_ADDRESS_SIZE = 128 }; /* text of any address, with NUL; long Unix paths are cut */

/*
 * Reads "127.0.0.1:80", "[::1]:80", ":80" (all interfaces, IPv4 and IPv6), "unix:/path" and
 * "unix:@abstract". No names. Returns 0 or -EINVAL.
 */
int net_address_parse(struct str text, struct net_address *ret_address);

/* From an IP literal without brackets. Returns 0 or -EINVAL. */
int net_address_from_ip(struct str ip, uint16_t port, struct net_address *ret_address);

/* A Unix socket: a path, or an abstract name after "@". -ENAMETOOLONG if it does not fit. */
int net_address_from_path(struct str path, struct net_address *ret_address);

/* The form that net_address_parse() reads. */
void net_address_format(const struct net_address *address, char text[static NET_ADDRESS_SIZE]);

/* The IP alone, without brackets and port; "unix" for Unix sockets. */
void net_address_format_ip(const struct net_address *address, char text[static NET_ADDRESS_SIZE]);

/* 0 for Unix sockets. */
uint16_t net_address_port(const struct net_address *address);
void net_address_set_port(struct net_address *address, uint16_t port);

bool net_address_is_loopback(const struct net_address *address);
