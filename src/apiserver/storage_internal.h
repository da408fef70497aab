// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include <uv/tree.h> /* RB_NEXT differs between libuv's versions: call <tree>_RB_NEXT() */

#include "apiserver/storage.h"
#include "base/list.h"
#include "store/store.h"

/* What storage.c (writing), storage_log.c (events, watches) and storage_list.c share. */

/* One key: in the index while anything of it is committed, at the head, or in flight. */
struct storage_object {
        RB_ENTRY(storage_object) node;
        struct storage_type *type;
        struct str key; /* group/resource/namespace/name */
        struct str name_space, name;
        struct json_doc *committed, *head; /* NULL: absent */
        uint64_t committed_id, head_id;    /* of the row */
        struct storage_write *newest;      /* in flight; NULL: head is what is committed */
        unsigned in_flight;
        char bytes[];
};

/* An accepted write on its way to the disk. */
struct storage_write {
        struct store_write row;
        struct storage_object *object;
        struct json_doc *after; /* NULL: deleted */
        struct json_doc *last;  /* what the event and the answer carry */
        struct list waiters;    /* requests that this one settles */
        struct list in_flight;
};

/* A committed change, kept for watches and lists of the past. */
struct storage_log_event {
        struct storage_event event;
        struct storage_type *type;
        struct list in_log;                        /* oldest first, of all types */
        struct storage_log_event *next, *previous; /* of this type */
        size_t weight;
        char bytes[]; /* the key */
};

RB_HEAD(storage_index, storage_object);

struct storage_type {
        struct storage *storage;
        struct list in_storage;
        struct str group, resource;
        struct storage_index index;
        size_t count; /* committed */
        struct storage_log_event *first, *last;
        uint64_t floor; /* events up to here are no longer, or never were, in the log */
        struct list watches;
        struct list followers;
        char bytes[];
};

struct storage {
        struct storage_config config;
        struct store *store; /* NULL: memory only */
        uv_idle_t idle;      /* commits in memory; goes on with watches that had too much to do */
        struct list types;
        uint64_t revision; /* committed */
        uint64_t head;     /* given */
        struct list in_flight;
        unsigned waiting;
        bool failed, closing;
        size_t objects;

        struct list log;
        size_t log_events, log_bytes;
        struct list ready; /* watches with something to pass on */
        struct storage_watch *current;
        size_t watches;

        struct storage_counters counters;
};

/* The first object behind the key (or at it, if `including`); NULL at the end. */
struct storage_object *storage_object_after(struct storage_type *type, struct str name_space,
                                            struct str name, bool including);

/*
 * Records a committed change (documents are referenced) and wakes the watches; without memory
 * they expire.
 */
void storage_log_append(struct storage_type *type, const struct storage_event *event);

/* The oldest event of the type behind `revision`, or NULL. -ESTALE if the log begins later. */
int storage_log_behind(const struct storage_type *type, uint64_t revision,
                       const struct storage_log_event **ret);
void storage_log_deinit(struct storage *storage);

/* Passes events on for a bounded time. Returns whether something is left to do. */
bool storage_log_pump(struct storage *storage);

/* Sees to it that the pump is called again when the loop turns. */
void storage_wake(struct storage *storage);

int storage_key_compare(struct str namespace_a, struct str name_a, struct str namespace_b,
                        struct str name_b);
