// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What Pods may reach, as elements of the set "allow" in the fabric's rules (runtime/fabric.h). The
 * node changes it over the socket that native_runtime_socket(NATIVE_SOCKET_NETFILTER) gives. What
 * no rule allows is dropped; answers to what is allowed pass. Addresses and ports are in host byte
 * order, ranges include both ends.
 */
struct policy_rule {
        uint32_t source_first, source_last;
        uint32_t destination_first, destination_last;
        uint16_t port_first, port_last; /* of the destination */
        uint8_t protocol;               /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
};

/*
 * Takes away `removed` and adds `added` as one transaction: all or nothing, without a moment
 * between. A rule that is there already may be added again; one that is not there cannot be
 * removed; two rules may not overlap without being equal. Returns 0; -ENOENT, -EEXIST or -ENOTEMPTY
 * (overlap) with nothing changed; -EINVAL (a range that runs backwards), -EMSGSIZE (some 10,000
 * rules at once), -ENOMEM.
 */
int policy_change(int netfilter, const struct policy_rule *removed, size_t removed_count,
                  const struct policy_rule *added, size_t added_count);

/* Replaces all rules by these, in the same way. */
int policy_replace(int netfilter, const struct policy_rule *rules, size_t count);
