// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "client/backoff.h"
#include "client/reflector.h"
#include "client/watch_decoder.h"

/*
 * What a reflector knows and decides, without its I/O: the owner asks what to do next, does it,
 * and tells what came back. Pure but for jitter.
 */
enum list_watch_step {
        LIST_WATCH_GET,   /* stream list_watch_path() and give its items, then the page */
        LIST_WATCH_WATCH, /* stream list_watch_path() and give its events */
};

struct list_watch_key;

struct list_watch {
        struct arena arena;
        struct kube_reflector_options options; /* strings live in the arena */
        struct buffer resource_version;        /* to go on from; empty: list first */
        struct buffer continue_token;
        struct backoff backoff;
        struct list_watch_key *keys; /* with tell_vanished: what was told, by "namespace/name" */
        uint64_t mark;               /* of this list */
        bool listing;                /* a list was begun and has not ended */
        bool watch_list;             /* the server is believed to have it */
        bool whole;                  /* list without chunks: the last continue token expired */
        bool expired;                /* 410 came since the last list */
        bool synced;
        unsigned events; /* in this stream */
};

int list_watch_init(struct list_watch *lw, const struct kube_reflector_options *options);
void list_watch_deinit(struct list_watch *lw);

enum list_watch_step list_watch_step(const struct list_watch *lw);

/* Whether the stream being read begins with all that exists. */
bool list_watch_is_streaming_list(const struct list_watch *lw);

/* Appends path and query of the next request. `timeout_s` is what a watch asks for. */
int list_watch_path(const struct list_watch *lw, unsigned timeout_s, struct buffer *out);

/* The request was answered with 200. */
void list_watch_begun(struct list_watch *lw);

/* A list_item_fn: an item of a page came. Returns 0, -EBADMSG or -ENOMEM: then list_watch_failed()
 * follows. */
int list_watch_item(void *lw, struct str item);

/* A page has ended, of which `rest` is what stands around its items. Returns as above. */
int list_watch_page(struct list_watch *lw, const struct json_doc *rest);

/* A watch_event_fn. Returns 0, or LIST_WATCH_AGAIN after an ERROR event: end the stream. */
enum { LIST_WATCH_AGAIN = 1 };
int list_watch_event(void *lw, enum watch_type type, struct json_doc *object);

/* What ended a request other than as it should. */
struct list_watch_failure {
        int error;       /* of kube_response, or what list_watch_page() or the decoder returned */
        unsigned status; /* HTTP, or of the Status in an ERROR event; 0: none */
        unsigned retry_after_s;
        uint64_t lasted_ms; /* since the answer began */
        bool silent;        /* no byte came for too long */
};

/*
 * Decides how long to wait (milliseconds) before the next step; *ret_state is WAITING or FORBIDDEN,
 * or LISTING or WATCHING when nothing is wrong yet.
 */
uint64_t list_watch_failed(struct list_watch *lw, const struct list_watch_failure *failure,
                           enum kube_reflector_state *ret_state);

/* Forgets how far it has come: the next step begins a list. */
void list_watch_restart(struct list_watch *lw);

/* The server ended the watch in order, after so long. Milliseconds to wait. */
uint64_t list_watch_ended(struct list_watch *lw, uint64_t lasted_ms);
