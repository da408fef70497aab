// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "apiserver/registry.h"

/*
 * A request of our own, in the same process: it goes through the same handlers as one that came by
 * HTTP, as a user of system:masters.
 */
struct internal_request {
        enum api_verb verb;                             /* but LIST, WATCH and DELETE_COLLECTION */
        struct str group, version, plural, subresource; /* version empty: the stored one */
        struct str name_space, name;
        struct str manager;      /* who: "cay-apiserver"; a constant */
        struct str content_type; /* of a PATCH; a constant */
        struct json_doc *body;   /* referenced; may be NULL */

        /* The answer, once, perhaps from within internal_call_start(): an object or a Status
         * (borrowed; NULL without memory). May be NULL. */
        void (*done)(void *user, unsigned code, struct json_doc *doc);
        void *user;
};

/*
 * Returns 0, or -ENOMEM: then `done` is not called. Strings are copied but for the constants.
 * `ret_call` (or NULL) is set to NULL if it was answered already; else it is valid until `done`.
 */
struct internal_call;
int internal_call_start(struct apiserver *server, const struct internal_request *request,
                        struct internal_call **ret_call);

/*
 * What the request made, while that is on its way to the disk, or NULL: not decided for good.
 * Borrowed until the loop turns.
 */
struct json_doc *internal_call_accepted(const struct internal_call *call);

/* Withdraws it: `done` will not be called. What was accepted stays. */
void internal_call_cancel(struct internal_call *call);

/* Withdraws all; what was accepted stays. */
void internal_calls_cancel(struct apiserver *server);
