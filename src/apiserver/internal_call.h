// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "apiserver/registry.h"

/*
 * A request of our own, in the same process: it goes through the same handlers as one that came by
 * HTTP, as a user of system:masters.
 */
struct internal_request {
        enum api_verb verb;                             /* GET, CREATE, UPDATE, PATCH or DELETE */
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

/* Returns 0, or -ENOMEM: then `done` is not called. Strings are copied but for the constants. */
int internal_call_start(struct apiserver *server, const struct internal_request *request);

/* Withdraws all; what was accepted stays. */
void internal_calls_cancel(struct apiserver *server);
