// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "kinds/kind.h"

/*
 * Follows which kinds are served: those of Kubernetes and what CustomResourceDefinitions define, as
 * they come and go. For whoever wants objects of every kind, by local_feed.h.
 */
struct local_kinds;

struct local_kinds_options {
        struct apiserver *server;
        const struct kind *const *except; /* NULL-terminated, borrowed: not told of these */
        /*
         * A kind is served, with objects that can be listed, watched and deleted. Returns 0, or a
         * negative errno: it is told again a second later. The kind has no version (the stored one
         * is meant) and lives as long as the local_kinds; one that comes again is the same.
         */
        int (*added)(void *user, const struct kind *kind);
        /* It is served no longer. What its objects' watches have to tell comes later. */
        void (*removed)(void *user, const struct kind *kind);
        void *user;
};

/* Tells from within of the kinds that are served now. Returns 0 or -ENOMEM. */
int local_kinds_new(const struct local_kinds_options *options, struct local_kinds **ret_kinds);

/* Before apiserver_free(), and after whoever knows the kinds. */
void local_kinds_free(struct local_kinds *kinds);
