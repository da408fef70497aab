// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/list.h"
#include "base/str.h"
#include "json/json.h"

/*
 * The sequencer: every object in memory, in the order of the loop, with the store as its log
 * (docs/ARCHITECTURE.md, "The write path"). It knows bytes, keys and revisions, nothing of kinds.
 *
 * Per key there is a head (with the writes in flight) and what is committed. Verdicts are made on
 * heads; everything that is read (storage_get, lists, watches) is committed. The answer to a
 * request that saw an uncommitted head is held until that is on disk, and judged again if it is
 * aborted: nobody learns of a write before it is durable.
 *
 * Used by the handlers of HTTP requests and, in the same process, by the controllers. Everything
 * is called on the loop's thread; every callback comes on it.
 */
struct storage;
struct storage_type; /* one stored resource: its objects in the order of (namespace, name) */

struct storage_config {
        uv_loop_t *loop;
        const char *directory; /* of the store; NULL: memory only, for tests */
        const char *vfs;       /* see store.h */
        unsigned log_events;   /* events kept for watches; 0: LIMIT_WATCH_LOG_EVENTS */
        size_t log_bytes; /* and the bytes of old objects they keep; 0: LIMIT_WATCH_LOG_BYTES */

        /* It is not known what is on disk: end the process, open anew. Called once. */
        void (*failed)(void *user, int reason);
        void *user;
};

/* Errors as store_open(). */
int storage_open(const struct storage_config *config, struct error *error,
                 struct storage **ret_storage);
void storage_close(struct storage *storage);

/* The resource `resource` of `group` (both copied), made when absent; NULL without memory. */
struct storage_type *storage_type(struct storage *storage, struct str group, struct str resource);

/* The newest committed revision: of lists, bookmarks and new watches. */
uint64_t storage_revision(const struct storage *storage);

/* A copy of the object with `revision` as its resourceVersion, which the caller owns. -ENOMEM. */
int storage_stamp(struct json_doc *doc, uint64_t revision, struct json_doc **ret_doc);

/* ---- reading what is committed ---- */

/* The object, borrowed until the loop turns, or NULL. */
struct json_doc *storage_get(const struct storage_type *type, struct str name_space,
                             struct str name);

/* Objects of a type: in all, or of one namespace (a walk). */
size_t storage_count(const struct storage_type *type);

/*
 * Walks a type, or one namespace of it (`name_space` non-empty), as it was at one revision, in as
 * many turns of the loop as the caller likes: what changes meanwhile does not show.
 */
struct storage_list {
        struct storage_type *type;
        struct str name_space; /* borrowed until the end */
        uint64_t revision;     /* what the walk shows */
        uint64_t seen;         /* changes up to here are accounted for */
        struct buffer position;
        struct storage_override *overrides;
        size_t namespace_length;
        struct json_doc *current;
};

/*
 * Begins at `revision` (0: now) behind the object `after_namespace`/`after_name` (both empty: at
 * the beginning). Returns 0, -ESTALE (the log no longer reaches so far back), -ERANGE (a revision
 * yet to come) or -ENOMEM. After success storage_list_end() is due.
 */
int storage_list_begin(struct storage_list *list, struct storage_type *type, struct str name_space,
                       uint64_t revision, struct str after_namespace, struct str after_name);

/*
 * The next object, borrowed until the next call. Returns 1, 0 at the end, -ESTALE or -ENOMEM.
 */
int storage_list_next(struct storage_list *list, struct json_doc **ret_doc);

/* Whether another object would come. Returns 1, 0, -ESTALE or -ENOMEM. */
int storage_list_has_more(struct storage_list *list);

/* Where the walk stands, for a continue token: behind this key. */
void storage_list_position(const struct storage_list *list, struct str *ret_namespace,
                           struct str *ret_name);
void storage_list_end(struct storage_list *list);

/* ---- watching ---- */

struct storage_event {
        uint64_t revision;
        struct str name_space;
        struct str name;
        struct json_doc *before; /* NULL: it came to be */
        struct json_doc *after;  /* NULL: it is deleted */
        struct json_doc *last;   /* `after`, or the last state with the deletion's revision */
};

enum storage_watch_end {
        STORAGE_WATCH_EXPIRED = 1, /* the log no longer holds what comes next: 410 */
        STORAGE_WATCH_CLOSED,      /* the storage closes */
};

/*
 * A cursor in the log of events of one type, embedded in the caller's struct. Events come in the
 * order of revisions; none twice, none left out. A watcher that is slow keeps its place as long as
 * the log reaches, and costs no memory.
 */
struct storage_watch {
        /* One event. Returns whether more is wanted now; else storage_watch_resume() is due. It
         * may stop this watch. */
        bool (*event)(struct storage_watch *watch, const struct storage_event *event);
        /* No more events for now; NULL: nothing waits for it. It may stop this watch. */
        void (*flush)(struct storage_watch *watch);
        /* The watch is over (and stopped). */
        void (*end)(struct storage_watch *watch, enum storage_watch_end why);

        struct storage_type *type;
        struct str name_space; /* only of this namespace, if not empty; borrowed until the end */
        struct str name;       /* only of this name, if not empty; borrowed until the end */

        /* private */
        struct list in_type, in_ready;
        uint64_t position;      /* every event up to this revision was passed */
        uint64_t next_revision; /* of `next`; 0: nothing waits */
        const struct storage_log_event *next;
        bool paused, active;
};

/*
 * Starts behind `revision` (storage_revision() for from now on). Fill the public members before.
 * Returns 0, -ESTALE (older than the log: 410) or -ERANGE (not given yet). No event is delivered
 * from within.
 */
int storage_watch_start(struct storage_watch *watch, uint64_t revision);

/* Does nothing if it is stopped, or was never started (all zero). */
void storage_watch_stop(struct storage_watch *watch);

void storage_watch_resume(struct storage_watch *watch);

/* Everything up to this revision was passed on or did not concern the watch: for bookmarks. */
uint64_t storage_watch_position(const struct storage_watch *watch);

/* ---- following what is accepted ---- */

/*
 * Is told of every change of a type when it is accepted, before it is on disk. So nothing may come
 * of it but writes to the same storage: they are on disk with it or after it, or never. Embedded in
 * the caller's struct.
 */
struct storage_follower {
        /* From within storage_submit(), where nothing else may be submitted. */
        void (*accepted)(struct storage_follower *follower, const struct storage_event *event);
        /* Writes were aborted: what was told may never have been. It follows no more. */
        void (*aborted)(struct storage_follower *follower);

        struct storage_type *type;
        struct str name_space; /* only of this namespace, if not empty; borrowed until the end */

        /* private */
        struct list in_type;
        bool active;
};

/* From now on, what is on its way included: that is told from within. */
void storage_follow(struct storage_follower *follower);

/* Does nothing if it does not follow. */
void storage_unfollow(struct storage_follower *follower);

/* The newest revision that was given: followers were told up to it. */
uint64_t storage_head_revision(const struct storage *storage);

/* Whether a namespace has any object, on disk or on its way there, that is not on its way out. */
bool storage_head_has(const struct storage_type *type, struct str name_space);

/* ---- writing ---- */

enum storage_change_kind {
        STORAGE_KEEP, /* nothing is written: the answer is what is there */
        STORAGE_PUT,
        STORAGE_DELETE,
};

struct storage_change {
        enum storage_change_kind kind;
        /*
         * For PUT the new object, for DELETE its last state, owned by the receiver;
         * metadata.resourceVersion is set by the storage. A PUT with the bytes of the head is a
         * KEEP. NULL with DELETE: the head.
         */
        struct json_doc *doc;
};

/*
 * One request to write an object, embedded in the caller's struct, which stays until `done`.
 */
struct storage_request {
        struct storage_type *type;
        struct str name_space; /* borrowed until done; empty: of the cluster */
        struct str name;

        /*
         * Decides on the head (NULL: there is none). Returns 0 with a change, or any negative
         * value: refused. May be called again, when what it saw was aborted: it keeps its reasons
         * in the caller's struct and sets them anew every time. It may look at other keys by
         * storage_head(), and may change `name` (generateName) returning -EAGAIN: then it is
         * called with that key's head.
         */
        int (*judge)(struct storage_request *request, struct json_doc *head,
                     struct storage_change *ret_change);

        /*
         * Called once, perhaps from within storage_submit(). `result` is 0, what `judge` returned,
         * -ENOSPC, -EIO, -ENOMEM, or -EBUSY (too many writes wait: 429). `doc` is what was written
         * (a deletion: its last state) or, kept, what is there; borrowed; NULL if result is not 0.
         */
        void (*done)(struct storage_request *request, int result, struct json_doc *doc);

        /* private */
        struct list waiting;
        struct storage_write *depends;
        struct json_doc *outcome;
        int result;
        bool accepted;
};

void storage_submit(struct storage *storage, struct storage_request *request);

/* Withdraws the interest in the answer: `done` will not be called. What was accepted stays. */
void storage_request_cancel(struct storage_request *request);

/* What the request has written, while that is on its way to the disk; else NULL. Borrowed. */
struct json_doc *storage_request_accepted(const struct storage_request *request);

/* The head of another key while judging; the answer then waits for it as for its own. */
struct json_doc *storage_head(struct storage_request *request, struct storage_type *type,
                              struct str name_space, struct str name);

/* Requests submitted between the two and accepted are one transaction. They nest. */
void storage_cork(struct storage *storage);
void storage_uncork(struct storage *storage);

struct storage_counters {
        uint64_t accepted, refused, kept, aborted; /* verdicts, as they became final */
        uint64_t transactions, commit_ns, checkpoints;
        size_t objects, log_events, log_bytes, watches;
        unsigned waiting;
        unsigned log_frames; /* pages that wait for a checkpoint */
};
struct storage_counters storage_counters(const struct storage *storage);
