// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "net/address.h"
#include "router/target.h"

/*
 * Where sandboxes are: Sandboxes and the Pods that they own, as some watch tells. It knows no API;
 * router/watch.h feeds it, tests do by hand. A Sandbox is reachable by its name, its uid, and the
 * name of the claim that owns it, as long as no Sandbox has that name. Members of a pool that
 * nobody has claimed are not reachable.
 */
struct router_index;

int router_index_new(struct router_index **ret_index);
void router_index_free(struct router_index *index);

/* What the index keeps of a Sandbox; strings are copied. */
struct index_sandbox {
        struct str name_space, name, uid;
        struct str pod_name; /* empty: as the Sandbox */
        struct str claim;    /* name of the SandboxClaim that controls it; empty: none */
        bool pool_member;
        bool running; /* wanted, and not finished: what is not ready yet will be */
};

/* What it keeps of a Pod. Pods without an owner are not kept. */
struct index_pod {
        struct str name_space, name;
        struct str owner_uid; /* of the Sandbox that controls it */
        struct str ip;
        bool ready;
};

/* Adds or replaces, and wakes who waits for it. Returns 0 or -ENOMEM (then it is not there). */
int router_index_put_sandbox(struct router_index *index, const struct index_sandbox *sandbox);
int router_index_put_pod(struct router_index *index, const struct index_pod *pod);
void router_index_remove_sandbox(struct router_index *index, struct str name_space,
                                 struct str name);
void router_index_remove_pod(struct router_index *index, struct str name_space, struct str name);

/*
 * Whether it knows all there is, so that what is not in it does not exist (yet): in the namespace
 * `scope` (borrowed), or everywhere if that is empty.
 */
void router_index_set_complete(struct router_index *index, bool complete, struct str scope);
bool router_index_is_complete(const struct router_index *index);

/*
 * Where the target is now. Returns 0; -ENOENT (no such sandbox, as far as a complete index can
 * tell), -EINPROGRESS (it is there and will be ready), -ENODATA (the index is not complete: ask
 * DNS).
 */
int router_index_find(const struct router_index *index, const struct router_target *target,
                      struct net_address *ret_address);

/* Somebody who wants to know when router_index_find() may give another answer; embedded. */
struct index_waiter {
        struct list link; /* all zero: does not wait */
        struct str name_space, id, uid;
        void (*wake)(struct index_waiter *waiter);
};

/* Waits once: `wake` is called from within the change that may concern it. */
void router_index_wait(struct router_index *index, const struct router_target *target,
                       struct index_waiter *waiter);
void index_waiter_cancel(struct index_waiter *waiter);

/* Sandboxes and Pods in it. */
struct index_counters {
        unsigned sandboxes, pods, waiters;
};
struct index_counters router_index_counters(const struct router_index *index);
