// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "client/client.h"
#include "net/loop.h"
#include "plan/controllers.h"

/*
 * Controllers on a loop: one reflector for each kind that they read feeds them, and they run when
 * something has changed or is due. Many events of one turn of the loop are planned together. In the
 * API server's process all other kinds are fed, too, as they come and go, to controllers that get
 * every kind; nobody waits for them.
 */
struct controller_host;
struct controller_way;
struct apiserver;

struct controller_host_options {
        struct net_loop *loop;
        const struct controller_way *way; /* one of control/way.h, and what it goes by: */
        struct kube_client *client;       /* borrowed */
        struct apiserver *server;         /* borrowed */
        unsigned awake;                   /* as in struct controllers_options */
        struct str name_space;            /* only this one; empty: all */
        /* Adds controllers to the set, before anything is fed. Returns 0 or a negative errno. */
        int (*setup)(void *user, struct controllers *set);
        /* The kinds to watch, NULL-terminated. */
        const struct kind *const *kinds;
        /* Called once when every kind was listed; may be NULL. */
        void (*on_synced)(void *user);
        /* Whether to plan and write now; NULL: always. Asked before each round of plans and, over
         * the wire, just before each write is sent. When it turns true: controller_host_wake(). */
        bool (*may_act)(void *user);
        void *user;
};

/* Begins at once. Returns 0, -ENOMEM, or what `setup` returned. */
int controller_host_new(const struct controller_host_options *options, struct error *error,
                        struct controller_host **ret_host);
void controller_host_free(struct controller_host *host);

/* For metrics and `cay why`. */
struct controllers *controller_host_set(struct controller_host *host);

/* Looks soon what is to be done. */
void controller_host_wake(struct controller_host *host);

/*
 * Plans nothing any more and calls `drained` from the loop when every write on its way was
 * answered. Watches go on.
 */
void controller_host_drain(struct controller_host *host, void (*drained)(void *user));

/* Whether every kind was listed and is being watched. If not, `why` names the first that is not. */
bool controller_host_is_synced(const struct controller_host *host, char why[static 256]);

/* Whether nothing that it tried to write is forbidden to it. */
bool controller_host_is_allowed(const struct controller_host *host, char why[static 256]);

/* Whether the caller is the first who is to log this as why something cannot be watched, since all
 * kinds were: what holds for many is said once. */
bool controller_host_may_say(struct controller_host *host, struct str trouble);
