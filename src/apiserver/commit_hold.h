// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/storage.h"
#include "net/loop.h"

/*
 * Keeps a write from the disk until the controllers of this process have answered it with their
 * first plans, so that both are one transaction: a claim waits for the disk once, not once for
 * itself and once for its adoption. That is a part of a millisecond, and one turn of the loop if
 * nobody plans.
 */
struct commit_hold {
        struct net_loop *loop;
        struct storage *storage;
        struct net_task task; /* the turn is over */
        bool holds;
};

void commit_hold_init(struct commit_hold *hold, struct net_loop *loop, struct storage *storage);

/* From within storage_submit(), when a controller was told of the write: its turn to plan is asked
 * for already, and comes before the end of the hold. */
void commit_hold_begin(struct commit_hold *hold);

/* The first plans are submitted, or the storage is to be closed. Does nothing if it does not hold.
 */
void commit_hold_end(struct commit_hold *hold);
