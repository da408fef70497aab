// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json/json.h"

/*
 * The names of a cluster and their addresses, as Kubernetes defines them (kubernetes/dns,
 * docs/specification.md), from Services and Pods. A headless Service has the addresses of the Pods
 * that its selector matches, at the moment of the question: no EndpointSlice has to exist.
 */
struct dns_names;

enum { DNS_ADDRESSES_MAX = 1024 }; /* of one name */

/* `domain` is "cluster.local". Returns 0 or -ENOMEM. */
int dns_names_new(struct str domain, struct dns_names **ret_names);
void dns_names_free(struct dns_names *names);

struct str dns_names_domain(const struct dns_names *names);

/* A Service as it is now; keeps a reference. Returns 0, or -ENOMEM without the Service's names. */
int dns_names_put_service(struct dns_names *names, struct json_doc *service);
void dns_names_remove_service(struct dns_names *names, struct str name_space, struct str name);

/*
 * A Pod (by its uid) as it is now; keeps a reference. `address` is in host byte order, 0: it has
 * none. Returns 0, or -ENOMEM without the Pod's names.
 */
int dns_names_put_pod(struct dns_names *names, struct json_doc *pod, uint32_t address,
                      bool is_ready);
void dns_names_remove_pod(struct dns_names *names, struct str uid);

enum dns_found {
        DNS_FOUND_OUTSIDE, /* not of the domain */
        DNS_FOUND_NOTHING, /* there is no such name */
        DNS_FOUND_EMPTY,   /* the name exists, without an address (at the moment) */
        DNS_FOUND_ADDRESSES,
};

/*
 * Looks up a name in lower case without the last dot. At most DNS_ADDRESSES_MAX addresses go to
 * `ret_addresses`.
 */
enum dns_found dns_names_find(const struct dns_names *names, struct str name,
                              uint32_t *ret_addresses, size_t *ret_count);
