// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "json/json.h"

/* One NetworkPolicy (networking.k8s.io/v1), read to be asked about pairs of Pods. */
struct network_policy;

enum { PORT_RANGES_MAX = 64 };

struct port_range {
        uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
        uint16_t first, last;
};

/* Ports of a destination: no two ranges of one protocol overlap or touch. */
struct port_ranges {
        struct port_range items[PORT_RANGES_MAX];
        size_t count;
        bool is_cut; /* there were more than fit; they are left out */
};

void port_ranges_add(struct port_ranges *ranges, struct port_range range);

/* Every port of TCP and UDP. */
void port_ranges_add_all(struct port_ranges *ranges);
void port_ranges_intersect(const struct port_ranges *a, const struct port_ranges *b,
                           struct port_ranges *ret_both);

/* A Pod as policies see it. */
struct network_pod {
        struct str name_space;
        struct json_value labels, name_space_labels;
        struct json_value spec; /* for ports that are named */
        uint32_t address;       /* IPv4, host byte order */
};

enum network_direction { NETWORK_INGRESS, NETWORK_EGRESS };

/*
 * Reads a policy; keeps a reference to the document. Pods have addresses in `network`/`mask`.
 * Returns 0, -EINVAL (with a sentence) or -ENOMEM.
 */
int network_policy_read(struct json_doc *doc, uint32_t network, uint32_t mask, struct error *error,
                        struct network_policy **ret_policy);
void network_policy_free(struct network_policy *policy);

struct str network_policy_namespace(const struct network_policy *policy);

/* Whether the policy is about this direction of the Pod's traffic: then only what some policy
 * allows is allowed. */
bool network_policy_selects(const struct network_policy *policy, enum network_direction direction,
                            const struct network_pod *pod);

/* Whether it allows anything between Pods in this direction. */
bool network_policy_names_pods(const struct network_policy *policy,
                               enum network_direction direction);

/* Adds what it allows between `pod`, which it selects, and `peer`, which is another Pod. */
void network_policy_allow(const struct network_policy *policy, enum network_direction direction,
                          const struct network_pod *pod, const struct network_pod *peer,
                          struct port_ranges *ranges);
