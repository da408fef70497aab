// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "client/client.h"
#include "client/resource.h"
#include "json/json.h"

/*
 * Keeps a handler up to date with one collection: lists it (streamed by WatchList where the server
 * has it, in chunks where not), then watches from there, for ever. A lost connection resumes from
 * the last resourceVersion; 410 lists again, and what vanished meanwhile is told as deleted.
 */
enum kube_event_type {
        KUBE_ADDED,    /* not told before, or told deleted */
        KUBE_MODIFIED, /* told before, another resourceVersion */
        KUBE_DELETED,
        KUBE_SYNCED, /* everything that existed has been told; after each list */
};

struct kube_event {
        enum kube_event_type type;
        struct str name_space, name; /* empty for KUBE_SYNCED */
        uint64_t resource_version;   /* 0 if it is no decimal number, or unknown */
        struct json_doc *doc;        /* borrowed; NULL for KUBE_SYNCED and for what a list missed */
};

/* The handler must not free the reflector; it may issue requests. */
typedef void (*kube_event_fn)(void *user, const struct kube_event *event);

enum kube_reflector_state {
        KUBE_REFLECTOR_LISTING,
        KUBE_REFLECTOR_WATCHING,
        KUBE_REFLECTOR_WAITING,   /* for the next attempt after a failure */
        KUBE_REFLECTOR_FORBIDDEN, /* the same, after 401 or 403: RBAC may change */
};

struct kube_reflector_options {
        struct kube_client *client; /* borrowed */
        struct kube_resource resource;
        struct str name_space; /* empty: all, or a cluster's resource */
        struct str label_selector, field_selector;
        unsigned chunk;     /* objects per LIST page; 0: 500 */
        bool no_watch_list; /* never ask for sendInitialEvents */
        kube_event_fn handler;
        /* Called when the state changes, with a sentence while it fails; may be NULL. */
        void (*on_state)(void *user, enum kube_reflector_state state, struct str message);
        void *user;
};

struct kube_reflector;

/* Begins at once. Strings are copied. Returns 0, -EINVAL, -ENOMEM. */
int kube_reflector_new(const struct kube_reflector_options *options,
                       struct kube_reflector **ret_reflector);
void kube_reflector_free(struct kube_reflector *reflector);

/* Whether KUBE_SYNCED has ever been told. */
bool kube_reflector_is_synced(const struct kube_reflector *reflector);
enum kube_reflector_state kube_reflector_state(const struct kube_reflector *reflector);
