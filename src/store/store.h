// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/str.h"
#include "json/json.h"

/*
 * The log on disk of a state that lives in memory: one SQLite database (WAL, synchronous=FULL)
 * with one row an object. A writer thread takes all writes that wait as one transaction; the
 * outcome comes back on the loop, in the order in which the writes were submitted.
 *
 * When a transaction fails, all of its writes and all that were submitted after it are aborted
 * together, since they may have been decided upon what did not come to be. Where the cause can
 * pass (no space) the store goes on with what is submitted next. Where it cannot be known what is
 * on disk (a failed write or fsync) it refuses everything from then on, and its owner must end the
 * process and open anew: a failed fsync is never repeated.
 *
 * Everything is called on the loop's thread.
 */
struct store;

/*
 * One row to put or to delete. The caller owns it and keeps it, with the key's bytes and the
 * document, until `done`.
 */
struct store_write {
        uint64_t id;          /* the row; given at the object's creation, never used again, > 0 */
        uint64_t revision;    /* its resourceVersion; rises from write to write */
        struct str key;       /* group/resource/namespace/name */
        struct json_doc *doc; /* the row's new text; NULL deletes the row */

        struct store_write *next; /* the store's own */
        int result;
};

struct store_config {
        uv_loop_t *loop;
        const char *directory; /* made (mode 0700) when absent */
        const char *vfs;       /* name of an SQLite VFS, for tests; NULL: the default one */

        /*
         * Called by store_open() for every row, by rising id. The text was normalised when it
         * was written. A negative errno ends the opening with it.
         */
        int (*load)(void *user, uint64_t id, uint64_t revision, struct str key, struct str text);

        /* The write is on disk (0), or was aborted (negative errno). */
        void (*done)(void *user, struct store_write *write, int result);

        /*
         * Before the first `done` of an abort: `reason` is -ENOSPC, or another errno when `fatal`.
         * Writes submitted from within belong to what comes after.
         */
        void (*aborted)(void *user, int reason, bool fatal);
        /* Some were done, and no more are for now; NULL: nobody wants to know. */
        void (*delivered)(void *user);

        void *user;
};

enum { STORE_SCHEMA_VERSION = 1 };

/*
 * Opens or makes the database `cay.db` in the directory, holding it alone, and loads it.
 * `ret_revision` is the highest revision ever written, deletions' included. Errors, with a
 * sentence: -EBUSY (another process has it), -EPROTO (made by a newer version), -EBADMSG (damaged),
 * -ENOSPC, -EIO, -EACCES, -ENOMEM and what `load` returned.
 */
int store_open(const struct store_config *config, struct error *error, struct store **ret_store,
               uint64_t *ret_revision);

/*
 * Waits for the disk to finish what was submitted, delivers it, ends the thread and closes the
 * database. Memory is released when the loop has run its closing callbacks.
 */
void store_close(struct store *store);

/* Returns 0, -EAGAIN (LIMIT_WRITE_QUEUE writes wait; nothing was submitted) or -EIO (failed). */
int store_submit(struct store *store, struct store_write *write);

/* What is submitted between the two is one transaction. They nest. */
void store_cork(struct store *store);
void store_uncork(struct store *store);

struct store_counters {
        uint64_t transactions, writes, aborted, checkpoints;
        uint64_t commit_ns;  /* in all, in the writer thread */
        unsigned waiting;    /* submitted and not done */
        unsigned log_frames; /* pages in the write-ahead log */
        bool failed;
};
struct store_counters store_counters(const struct store *store);
