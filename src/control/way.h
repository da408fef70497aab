// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/reflector.h"
#include "control/host.h"
#include "plan/executor.h"

/*
 * How a controller_host reaches the API. Behind a table, so that a program that goes over the wire
 * alone links no API server.
 */

/* What a feed calls. */
struct feed_hooks {
        kube_event_fn on_event;
        /* What was told may never have been, and all of it is listed anew. Not over the wire,
         * where nothing is told before it is so. */
        void (*on_aborted)(void *user);
        void (*on_state)(void *user, enum kube_reflector_state state, struct str message);
        void *user;
};

/* What is told of kinds beside those of the options: local_kinds.h. */
struct kinds_hooks {
        int (*added)(void *user, const struct kind *kind);
        void (*removed)(void *user, const struct kind *kind);
        void *user;
};

struct controller_way {
        /* Calls `on_answer` with `user` after each answer. Returns 0 or a negative errno. */
        int (*executor_new)(const struct controller_host_options *options,
                            void (*on_answer)(void *user), void *user, void **ret_executor,
                            const struct executor_backend **ret_backend);
        void (*executor_free)(void *executor);

        /* The most urgent plans upon the last events were submitted. NULL: nothing waits for
         * them. */
        void (*executor_planned)(void *executor);

        /* Whether it has all rights that it needed, or why not; NULL: always. */
        bool (*executor_is_allowed)(const void *executor, char why[static 256]);

        /* Begins when the loop turns; copies `hooks`. Returns 0 or a negative errno. */
        int (*feed_new)(const struct controller_host_options *options, const struct kind *kind,
                        const struct feed_hooks *hooks, void **ret_feed);
        void (*feed_free)(void *feed);
        void (*feed_relist)(void *feed);

        /* The revision that a feed was told up to; NULL where bookmarks tell it. */
        uint64_t (*feed_position)(const void *feed);

        /* Follows all other kinds that are served; NULL: only those of the options are known. May
         * call the hooks from within. Returns 0 or a negative errno. */
        int (*kinds_new)(const struct controller_host_options *options,
                         const struct kinds_hooks *hooks, void **ret_kinds);
        void (*kinds_free)(void *kinds);
};

/* Over HTTPS, by options.client, as on a cluster: one request an action. */
extern const struct controller_way controller_way_wire;

/* In the process of options.server: whole plans at once. */
extern const struct controller_way controller_way_local;
