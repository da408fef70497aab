// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/controllers.h"

/*
 * The way back to upstream's controller, whose pools know Sandboxes only: each Pod that is a member
 * of a pool of the first generation, and nobody's yet, gets a Sandbox of its name around it and
 * runs on. Pods that have ended, whose template is gone or whose name a Sandbox has already, are
 * deleted; all of them, if so wanted. Nothing else is touched.
 */
struct hand_over;

struct hand_over_options {
        bool deletes; /* all of them */
};

/* Registers the one controller, in place of sandbox_controllers_new(). Before the first feed. */
int hand_over_new(struct controllers *set, const struct hand_over_options *options,
                  struct hand_over **ret_hand_over);
void hand_over_free(struct hand_over *hand_over);

/* The kinds whose events must be fed, NULL-terminated; claims are not looked at here. */
extern const struct kind *const hand_over_kinds[];

/* How much is left to do: Pods and pools. Those that are going are not counted. */
size_t hand_over_left(const struct cache *cache);

/* What is to be done with one pool, the key: a plan function. */
void hand_over_plan(const struct view *seen, struct plan *plan);

/* What hand_over_plan() wants as view.context. */
const void *hand_over_context(const struct hand_over *hand_over);
