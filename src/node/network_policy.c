// SPDX-License-Identifier: Apache-2.0
#include "node/network_policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/arena.h"
#include "kube/meta.h"
#include "kube/selector.h"
#include "node/address.h"

enum { EXCEPTIONS_MAX = 64 };

struct block {
        uint32_t network, mask;
};

struct peer {
        bool is_block;
        struct block block;
        const struct block *exceptions;
        size_t exception_count;
        bool has_pods, has_namespaces; /* the selector is given */
        struct label_selector pods, namespaces;
};

struct port {
        uint8_t protocol;
        struct str name; /* empty: by number */
        uint16_t first, last;
};

/* Without peers: everybody; without ports: every port. */
struct rule {
        const struct peer *peers;
        size_t peer_count;
        const struct port *ports;
        size_t port_count;
        bool is_for_all, is_for_all_ports;
};

struct network_policy {
        struct json_doc *doc;
        struct arena arena;
        struct str name_space;
        struct label_selector pods;
        uint32_t network, mask;
        struct side {
                bool is_selected;
                const struct rule *rules;
                size_t count;
        } sides[2];
};

/* ---- ports ---- */

void port_ranges_add(struct port_ranges *ranges, struct port_range range)
{
        for (size_t i = 0; i < ranges->count;) {
                const struct port_range *other = &ranges->items[i];
                if (other->protocol != range.protocol || other->first > (unsigned)range.last + 1 ||
                    range.first > (unsigned)other->last + 1) {
                        i++;
                        continue;
                }
                range.first = MIN(range.first, other->first);
                range.last = MAX(range.last, other->last);
                ranges->items[i] = ranges->items[--ranges->count];
        }
        if (ranges->count == PORT_RANGES_MAX)
                ranges->is_cut = true;
        else
                ranges->items[ranges->count++] = range;
}

void port_ranges_add_all(struct port_ranges *ranges)
{
        port_ranges_add(ranges, (struct port_range){ IPPROTO_TCP, 0, UINT16_MAX });
        port_ranges_add(ranges, (struct port_range){ IPPROTO_UDP, 0, UINT16_MAX });
}

void port_ranges_intersect(const struct port_ranges *a, const struct port_ranges *b,
                           struct port_ranges *ret_both)
{
        *ret_both = (struct port_ranges){ .is_cut = a->is_cut || b->is_cut };
        for (size_t i = 0; i < a->count; i++) {
                for (size_t j = 0; j < b->count; j++) {
                        uint16_t first = MAX(a->items[i].first, b->items[j].first);
                        uint16_t last = MIN(a->items[i].last, b->items[j].last);
                        if (a->items[i].protocol == b->items[j].protocol && first <= last)
                                port_ranges_add(ret_both, (struct port_range){ a->items[i].protocol,
                                                                               first, last });
                }
        }
}

/* ---- reading ---- */

static int read_protocol(struct json_value value, uint8_t *ret_protocol)
{
        struct str name = json_string_or(value, STR("TCP"));

        if (str_equal(name, STR("TCP")))
                *ret_protocol = IPPROTO_TCP;
        else if (str_equal(name, STR("UDP")))
                *ret_protocol = IPPROTO_UDP;
        else if (str_equal(name, STR("SCTP")))
                *ret_protocol = IPPROTO_SCTP;
        else
                return -EINVAL;
        return 0;
}

static int read_port(struct json_value value, struct port *ret_port)
{
        struct json_value port = json_get(value, "port");
        int64_t first, last;

        *ret_port = (struct port){ .last = UINT16_MAX };
        int r = read_protocol(json_get(value, "protocol"), &ret_port->protocol);
        if (r < 0 || !json_exists(port))
                return r;
        if (json_type(port) == JSON_STRING) {
                ret_port->name = json_string(port);
                return ret_port->name.length > 0 ? 0 : -EINVAL;
        }
        r = json_int64(port, &first);
        last = json_int64_or(json_get(value, "endPort"), r < 0 ? 0 : first);
        if (r < 0 || first < 1 || last < first || last > UINT16_MAX)
                return -EINVAL;
        ret_port->first = (uint16_t)first;
        ret_port->last = (uint16_t)last;
        return 0;
}

/* Returns 0, 1 (IPv6, which Pods have not) or -EINVAL. */
static int read_block(struct str text, struct block *ret_block)
{
        struct str address, prefix;
        uint64_t bits;

        if (text.length == 0)
                return -EINVAL;
        if (memchr(text.data, ':', text.length))
                return 1;
        if (!str_cut(text, '/', &address, &prefix) || str_to_u64(prefix, 32, &bits) < 0 ||
            address_parse(address, &ret_block->network) < 0)
                return -EINVAL;
        ret_block->mask = bits > 0 ? UINT32_MAX << (32 - bits) : 0;
        ret_block->network &= ret_block->mask;
        return 0;
}

static bool block_has(const struct block *block, uint32_t address)
{
        return (address & block->mask) == block->network;
}

/* Returns 0, 1 (the peer is nobody here) or a negative errno. */
static int read_ip_block(struct network_policy *policy, struct json_value value, struct peer *peer)
{
        struct json_value except = json_get(value, "except");
        size_t count = json_count(except);
        struct block *exceptions;

        int r = read_block(json_string(json_get(value, "cidr")), &peer->block);
        if (r != 0)
                return r;
        if (count > EXCEPTIONS_MAX)
                return -EINVAL;
        exceptions = arena_new(&policy->arena, struct block, count + 1);
        if (!exceptions)
                return -ENOMEM;
        json_for_each (it, except) {
                struct block *exception = &exceptions[peer->exception_count];
                r = read_block(json_string(it.value), exception);
                if (r < 0)
                        return r;
                peer->exception_count += r == 0;
                /* All Pods are excepted: what is beyond is not ours to open. */
                if (r == 0 && block_has(exception, policy->network) &&
                    (exception->mask & policy->mask) == exception->mask)
                        return 1;
        }
        peer->is_block = true;
        peer->exceptions = exceptions;
        uint32_t shared = peer->block.mask & policy->mask;
        return ((peer->block.network ^ policy->network) & shared) == 0 ? 0 : 1;
}

static int read_peer(struct network_policy *policy, struct json_value value, struct error *error,
                     struct peer *ret_peer)
{
        struct json_value block = json_get(value, "ipBlock");
        struct json_value pods = json_get(value, "podSelector");
        struct json_value namespaces = json_get(value, "namespaceSelector");
        int r = 0;

        *ret_peer = (struct peer){ .has_pods = json_type(pods) == JSON_OBJECT,
                                   .has_namespaces = json_type(namespaces) == JSON_OBJECT };
        if (json_exists(block))
                return read_ip_block(policy, block, ret_peer);
        if (!ret_peer->has_pods && !ret_peer->has_namespaces)
                return -EINVAL;
        if (ret_peer->has_pods)
                r = label_selector_read(pods, &policy->arena, error, &ret_peer->pods);
        if (r >= 0 && ret_peer->has_namespaces)
                r = label_selector_read(namespaces, &policy->arena, error, &ret_peer->namespaces);
        return r;
}

static int read_rule(struct network_policy *policy, struct json_value value, const char *peers_key,
                     struct error *error, struct rule *rule)
{
        struct json_value peers = json_member(value, str_from(peers_key));
        struct json_value ports = json_get(value, "ports");
        struct peer *read_peers = arena_new(&policy->arena, struct peer, json_count(peers) + 1);
        struct port *read_ports = arena_new(&policy->arena, struct port, json_count(ports) + 1);
        int r = 0;

        if (!read_peers || !read_ports)
                return -ENOMEM;
        rule->peers = read_peers;
        rule->ports = read_ports;
        rule->is_for_all = json_count(peers) == 0;
        rule->is_for_all_ports = json_count(ports) == 0;
        json_for_each (it, peers) {
                r = read_peer(policy, it.value, error, &read_peers[rule->peer_count]);
                if (r < 0)
                        return r;
                rule->peer_count += r == 0;
        }
        json_for_each (it, ports) {
                r = read_port(it.value, &read_ports[rule->port_count++]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_side(struct network_policy *policy, enum network_direction direction,
                     struct json_value rules, struct error *error)
{
        struct side *side = &policy->sides[direction];
        struct rule *read = arena_new(&policy->arena, struct rule, json_count(rules) + 1);
        int r = read ? 0 : -ENOMEM;

        side->rules = read;
        json_for_each (it, rules) {
                if (r >= 0)
                        r = read_rule(policy, it.value,
                                      direction == NETWORK_INGRESS ? "from" : "to", error,
                                      &read[side->count]);
                side->count += r >= 0;
        }
        return r;
}

static void read_types(struct network_policy *policy, struct json_value spec)
{
        struct json_value types = json_get(spec, "policyTypes");

        policy->sides[NETWORK_INGRESS].is_selected = json_count(types) == 0;
        policy->sides[NETWORK_EGRESS].is_selected =
                json_count(types) == 0 && json_exists(json_get(spec, "egress"));
        json_for_each (it, types) {
                policy->sides[NETWORK_INGRESS].is_selected |=
                        json_string_is(it.value, STR("Ingress"));
                policy->sides[NETWORK_EGRESS].is_selected |=
                        json_string_is(it.value, STR("Egress"));
        }
}

int network_policy_read(struct json_doc *doc, uint32_t network, uint32_t mask, struct error *error,
                        struct network_policy **ret_policy)
{
        struct json_value root = json_root(doc), spec = json_get(root, "spec");
        struct network_policy *policy = calloc(1, sizeof(*policy));

        if (!policy)
                return -ENOMEM;
        policy->doc = json_doc_ref(doc);
        policy->network = network;
        policy->mask = mask;
        policy->name_space = json_string(json_get(root, "metadata", "namespace"));
        read_types(policy, spec);
        /* Absent here is {}: the field is no pointer, and {} selects all. */
        struct json_value pods = json_get(spec, "podSelector");
        int r = json_exists(pods) ? label_selector_read(pods, &policy->arena, error, &policy->pods)
                                  : 0;
        if (r >= 0)
                r = read_side(policy, NETWORK_INGRESS, json_get(spec, "ingress"), error);
        if (r >= 0)
                r = read_side(policy, NETWORK_EGRESS, json_get(spec, "egress"), error);
        if (r < 0) {
                network_policy_free(policy);
                return error && error->code
                               ? r
                               : error_set(error, r, "a peer or port of it cannot be read");
        }
        *ret_policy = policy;
        return 0;
}

void network_policy_free(struct network_policy *policy)
{
        if (!policy)
                return;
        arena_deinit(&policy->arena);
        json_doc_unref(policy->doc);
        free(policy);
}

struct str network_policy_namespace(const struct network_policy *policy)
{
        return policy->name_space;
}

/* ---- asking ---- */

bool network_policy_selects(const struct network_policy *policy, enum network_direction direction,
                            const struct network_pod *pod)
{
        return policy->sides[direction].is_selected &&
               str_equal(policy->name_space, pod->name_space) &&
               label_selector_matches(&policy->pods, pod->labels);
}

bool network_policy_names_pods(const struct network_policy *policy,
                               enum network_direction direction)
{
        const struct side *side = &policy->sides[direction];

        for (size_t i = 0; i < side->count; i++)
                if (side->rules[i].is_for_all || side->rules[i].peer_count > 0)
                        return true;
        return false;
}

static bool peer_is(const struct network_policy *policy, const struct peer *peer,
                    const struct network_pod *pod)
{
        if (peer->is_block) {
                for (size_t i = 0; i < peer->exception_count; i++)
                        if (block_has(&peer->exceptions[i], pod->address))
                                return false;
                return block_has(&peer->block, pod->address);
        }
        if (peer->has_namespaces
                    ? !label_selector_matches(&peer->namespaces, pod->name_space_labels)
                    : !str_equal(policy->name_space, pod->name_space))
                return false;
        return !peer->has_pods || label_selector_matches(&peer->pods, pod->labels);
}

static bool rule_has(const struct network_policy *policy, const struct rule *rule,
                     const struct network_pod *peer)
{
        for (size_t i = 0; i < rule->peer_count; i++)
                if (peer_is(policy, &rule->peers[i], peer))
                        return true;
        return rule->is_for_all;
}

/* All containers' ports of the name: several containers may have one. */
static void add_named(const struct port *port, struct json_value containers,
                      struct port_ranges *ranges)
{
        json_for_each (container, containers) {
                json_for_each (it, json_get(container.value, "ports")) {
                        int64_t number = json_int64_or(json_get(it.value, "containerPort"), 0);
                        uint8_t protocol;
                        if (!json_string_is(json_get(it.value, "name"), port->name) ||
                            read_protocol(json_get(it.value, "protocol"), &protocol) < 0 ||
                            protocol != port->protocol || number < 1 || number > UINT16_MAX)
                                continue;
                        port_ranges_add(ranges, (struct port_range){ protocol, (uint16_t)number,
                                                                     (uint16_t)number });
                }
        }
}

void network_policy_allow(const struct network_policy *policy, enum network_direction direction,
                          const struct network_pod *pod, const struct network_pod *peer,
                          struct port_ranges *ranges)
{
        const struct network_pod *destination = direction == NETWORK_INGRESS ? pod : peer;
        const struct side *side = &policy->sides[direction];

        for (size_t i = 0; i < side->count; i++) {
                const struct rule *rule = &side->rules[i];
                if (!rule_has(policy, rule, peer))
                        continue;
                if (rule->is_for_all_ports)
                        port_ranges_add_all(ranges);
                for (size_t j = 0; j < rule->port_count; j++) {
                        const struct port *port = &rule->ports[j];
                        if (port->name.length == 0) {
                                port_ranges_add(ranges,
                                                (struct port_range){ port->protocol, port->first,
                                                                     port->last });
                                continue;
                        }
                        add_named(port, json_get(destination->spec, "containers"), ranges);
                        add_named(port, json_get(destination->spec, "initContainers"), ranges);
                }
        }
}
