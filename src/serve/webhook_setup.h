// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "serve/health.h"
#include "serve/webhook.h"

/*
 * Sees to it that API servers call the conversion webhook and trust it: its certificate in a Secret
 * that all replicas share, made and replaced in time, and `spec.conversion` of the CRDs, patched
 * whenever it says something else. Every replica does it, leader or not; preconditions make them
 * agree. Of replicas that are reached by different addresses the leader's is that of the CRDs; the
 * others leave any address alone that goes with the Secret's authority. Somebody who sets another
 * one again and again is answered ever more seldom: each change of a CRD makes kube-apiserver begin
 * with that kind anew. A CRD that neither converts by webhook nor serves v1alpha1 is left alone.
 */
struct webhook_setup;

struct webhook_setup_options {
        struct kube_client *client; /* borrowed, as the webhook */
        struct webhook *webhook;
        struct str name_space, service; /* of the Service; the Secret stands there, too */
        struct str url;                 /* how API servers reach it instead; empty: the Service */
        bool extensions;                /* the CRDs of templates, pools and claims too */
        const struct webhook_pair_policy *policy; /* borrowed */
        bool (*is_leading)(void *user);           /* NULL: always */
        /* Whether the log lacks this trouble, which others may have, too. */
        bool (*may_say)(void *user, struct str trouble);
        void *user;
};

/* Begins at once. Strings are copied. Returns 0 or -ENOMEM. */
int webhook_setup_new(const struct webhook_setup_options *options,
                      struct webhook_setup **ret_setup);
/* To be called when `is_leading` has turned true. */
void webhook_setup_lead(struct webhook_setup *setup);
void webhook_setup_free(struct webhook_setup *setup);

/* Whether it is set up; `why` says in a few words what is missing. */
bool webhook_setup_is_well(const struct webhook_setup *setup, char why[static HEALTH_WHY_SIZE]);

/* When the serving certificate ends, realtime; 0: there is none yet. */
uint64_t webhook_setup_not_after(const struct webhook_setup *setup);
