// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "runtime/launcher.h"
#include "runtime/native.h"
#include "runtime/netlink.h"
#include "runtime/tcp_metrics.h"

/*
 * The fabric: a network namespace in which the Pods' wires meet, joined to the host by one more.
 * It is owned by a user namespace of the node's user, so that the node may change its rules (and
 * nothing else). A Pod's wire is a veth pair with one address (/32), routes and permanent
 * neighbours on both sides: no bridge, no ARP. The base rules let through the host's own traffic to
 * Pods, DNS to the gateway (so many queries a second), and what the set "allow" of table "inet cay"
 * names (source address, destination address, protocol, destination port; with intervals). A Pod is
 * told of what is refused, so that it need not wait for a time-out.
 */
struct fabric {
        int home; /* the launcher's own network namespace */
        int netns;
        int netlink; /* rtnetlink inside the fabric */
        int proc;    /* for the settings of some Pods; -1: none yet, or none to be had */
        unsigned proc_uses;
        struct tcp_metrics host_metrics;
        uint32_t pod_network, pod_prefix, host_address;
};

/* What the wire of a slot is called and numbered in the fabric. */
enum { FABRIC_INDEX_BASE = 1000, FABRIC_POD_INDEX = 2 };

/*
 * Finds the fabric that is pinned at `pin` (a file), or makes it, with the wire to the host and the
 * rules. Call it in the host's mount namespace. Returns 0 or a negative errno with a sentence.
 */
int fabric_open(struct fabric *fabric, const char *pin, const struct launcher_config *config,
                struct error *error);
void fabric_close(struct fabric *fabric);

/* Removes wire, pin and with them the fabric. */
int fabric_remove(const char *pin, const struct launcher_config *config);

/*
 * Lays the wire of a slot from the Pod's network namespace and makes it ready for an address.
 * Returns a netlink socket inside the Pod for fabric_give_address(). -EEXIST: the slot's last
 * wire is still going away.
 */
int fabric_wire(struct fabric *fabric, int pod_netns, uint32_t slot, uint32_t id_base,
                int *ret_pod_netlink);
int fabric_give_address(struct fabric *fabric, int pod_netlink, uint32_t slot, uint32_t address);
/* Nothing reaches the address any more. */
int fabric_take_address(struct fabric *fabric, uint32_t slot, uint32_t address);
/* Removes what the host remembers of connections with an address that nobody has any more. */
void fabric_forget_address(struct fabric *fabric, uint32_t address);

/* A socket inside the fabric for the node. */
int fabric_socket(struct fabric *fabric, enum native_socket kind, int *ret_fd);
