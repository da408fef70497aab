// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "base/str.h"
#include "client/client.h"

/*
 * Leader election by a coordination.k8s.io/v1 Lease, compatible with client-go's: who holds the
 * lease and renews it in time leads. Other clocks are never compared with ours: a lease counts as
 * expired when we have seen it unchanged for its duration.
 *
 * A Lease does not fence. A leader therefore asks leader_is_leading() before each write: that
 * looks at the clock, so a process that was paused over its deadline writes nothing when it wakes.
 * Callbacks may free the leader.
 */
struct leader;

struct leader_options {
        struct kube_client *client; /* borrowed */
        struct str name_space, name;
        struct str identity;  /* unique: "host_uuid" */
        uint64_t duration_ms; /* for which others wait; 0: 15 s */
        uint64_t deadline_ms; /* after which we stop; less than duration; 0: 10 s */
        uint64_t retry_ms;    /* between renewals; 0: 2 s */
        uint64_t seek_ms;     /* between looks while another one leads; 0: a quarter of retry_ms */
        void (*on_lead)(void *user);
        /* Leadership was lost, with a sentence. It is not sought again. */
        void (*on_lost)(void *user, struct str why);
        /* Whether the log lacks this trouble, which others may have, too. Who leads does not ask:
         * that it cannot renew is about more than the lease. NULL: always. */
        bool (*may_say)(void *user, struct str trouble);
        void *user;
};

/* Begins at once. Strings are copied. Returns 0, -EINVAL or -ENOMEM. */
int leader_new(const struct leader_options *options, struct leader **ret_leader);
void leader_free(struct leader *leader);

/* Whether we lead now, by the monotonic clock. */
bool leader_is_leading(const struct leader *leader);

/*
 * Whether all is well with the election: we lead and could renew when we last tried, or the lease
 * could be read lately and is another's. If not, `why` says in a few words what is wrong.
 */
bool leader_is_well(const struct leader *leader, char why[static 128]);

/* Who leads, as far as is known; empty if nobody. Lives until the loop runs again. */
struct str leader_holder(const struct leader *leader);

/*
 * Gives the lease up, so that the next one need not wait, and calls `done` when that was answered
 * or failed (also when we did not lead), from the loop. Nothing is called after that.
 */
void leader_release(struct leader *leader, void (*done)(void *user), void *user);
