// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "store/store.h"

/* Pages that the log may hold without its file being enlarged. */
enum { DATABASE_LOG_FRAMES = 4000 };

/* The SQLite side of the store. Used by one thread at a time: the opener, then the writer. */
struct database {
        struct sqlite3 *handle;
        struct sqlite3_stmt *begin, *commit, *put, *remove, *revision;
        unsigned log_frames; /* pages that wait for a checkpoint */
};

/* Opens, locks, makes or checks the schema, and calls config->load for every row. */
int database_open(struct database *db, const struct store_config *config, struct error *error,
                  uint64_t *ret_revision);

/* `failed`: what is on disk is unknown, so no checkpoint is tried. */
void database_close(struct database *db, bool failed);

/*
 * Writes the list as one transaction. Returns 0, -ENOSPC or -ENOMEM (rolled back, the database is
 * as before), or another negative errno: the database must not be used any more.
 */
int database_write(struct database *db, const struct store_write *writes);

/* Whether an error of database_write() or database_checkpoint() ends the store. */
bool database_is_fatal(int r);

/* Copies the log into the database file, as far as it goes. Errors as above. */
int database_checkpoint(struct database *db);
