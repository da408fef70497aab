// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "client/client.h"
#include "kinds/kind.h"
#include "json/json.h"

/*
 * Keeps a handler up to date with one collection: lists it (by WatchList where the server has it,
 * in chunks where not; either is read as it streams in), then watches from there, for ever. A lost
 * connection resumes from the last resourceVersion; 410 lists again.
 */
enum kube_event_type {
        KUBE_LIST_BEGIN, /* all that exists follows as KUBE_ADDED; may come again before it ends */
        KUBE_ADDED,
        KUBE_MODIFIED,
        KUBE_DELETED,
        KUBE_LIST_END, /* what was told before the list and not in it is gone */
        KUBE_BOOKMARK, /* nothing more happened up to resource_version; with tell_bookmarks only */
};

struct kube_event {
        enum kube_event_type type;
        struct str name_space, name; /* empty for KUBE_LIST_*, KUBE_BOOKMARK */
        uint64_t resource_version;   /* of object or list; 0 if unknown or no decimal number */
        struct json_doc
                *doc; /* borrowed; NULL for KUBE_LIST_* and for what `tell_vanished` tells */
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
        const struct kind *kind;    /* borrowed */
        struct str name_space;      /* empty: all, or a cluster's resource */
        struct str label_selector, field_selector;
        unsigned chunk; /* objects per LIST page; 0: 500 */
        /* Never ask for sendInitialEvents: for thousands of objects in JSON, each of which costs
         * kube-apiserver nearly twice as much as in a page. */
        bool no_watch_list;
        /* A list that streams in and is silent so long is asked for in chunks; 0: 10 s. */
        uint64_t list_silence_ms;
        /* Keep the names of what was told, and before KUBE_LIST_END tell what has vanished as
         * KUBE_DELETED without a document. For handlers that have no cache to compare with. */
        bool tell_vanished;
        bool tell_bookmarks;
        /* Watch in protobuf if the client has the fields of the kind and the server gives it.
         * Fields that only a newer server knows are then missing in documents. */
        bool protobuf;
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

/*
 * Lists anew in a moment: for a handler that could not take what it was told. May be called from
 * within it.
 */
void kube_reflector_relist(struct kube_reflector *reflector);

/* Whether KUBE_LIST_END has ever been told. */
bool kube_reflector_is_synced(const struct kube_reflector *reflector);
enum kube_reflector_state kube_reflector_state(const struct kube_reflector *reflector);
