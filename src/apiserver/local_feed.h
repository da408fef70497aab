// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "client/reflector.h"

/*
 * Keeps a handler up to date with one kind in the same process, as kube_reflector does over the
 * wire: what is there between KUBE_LIST_BEGIN and KUBE_LIST_END, then every change as soon as it is
 * accepted, which is before it is on disk; the commit waits a moment for what the handler's side
 * writes upon it (commit_hold.h). So nothing else may come of what is told. Changes are told during
 * the list too. Never told: KUBE_BOOKMARK, for no event is ever missing.
 */
struct local_feed;

struct local_feed_options {
        struct apiserver *server;
        const struct kind *kind; /* borrowed */
        struct str name_space;   /* borrowed; empty: all */
        kube_event_fn handler;
        /* Writes were aborted, and what was told may never have been: a second later all of it is
         * listed anew. NULL: nothing is kept of it. */
        void (*aborted)(void *user);
        void *user;
};

/* Begins when the loop turns. Returns 0, -ENOENT (no such kind is served) or -ENOMEM. */
int local_feed_new(const struct local_feed_options *options, struct local_feed **ret_feed);

/*
 * Lists anew when the loop turns: for a handler that could not take what it was told. May be called
 * from within it.
 */
void local_feed_relist(struct local_feed *feed);

/* Every event up to this revision was told; 0 while it lists. */
uint64_t local_feed_position(const struct local_feed *feed);

/* Before apiserver_free(). */
void local_feed_free(struct local_feed *feed);
