// SPDX-License-Identifier: Apache-2.0
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum {
        PAGE_SIZE = 4096,
        LOG_SIZE = 16 * 1024 * 1024,
        LOG_CHUNK = 1024 * 1024,
        LOG_HEAD = 32, /* of the file, and of each frame: SQLite's file format, section 4.1 */
        LOG_FRAME = 24 + PAGE_SIZE,
};

static_assert(LOG_HEAD + DATABASE_LOG_FRAMES * LOG_FRAME <= LOG_SIZE,
              "what is prepared of the log holds what is let into it");

static int errno_of(int code)
{
        switch (code & 0xff) {
        case SQLITE_OK:
        case SQLITE_DONE:
        case SQLITE_ROW:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EBADMSG;
        case SQLITE_PERM:
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_TOOBIG:
                return -EFBIG;
        default:
                return -EIO;
        }
}

bool database_is_fatal(int r)
{
        return r < 0 && r != -ENOSPC && r != -ENOMEM;
}

static int execute(struct database *db, const char *sql)
{
        return errno_of(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

static int prepare(struct database *db, const char *sql, sqlite3_stmt **ret)
{
        return errno_of(
                sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

/* Runs a statement that gives no rows, to be used again. */
static int run(sqlite3_stmt *statement)
{
        int r = errno_of(sqlite3_step(statement));

        sqlite3_reset(statement);
        return r;
}

/* The first column of the first row; -ENOENT without one. */
static int query_integer(struct database *db, const char *sql, sqlite3_int64 *ret)
{
        sqlite3_stmt *statement = NULL;
        int r = prepare(db, sql, &statement);

        if (r == 0) {
                int code = sqlite3_step(statement);
                if (code == SQLITE_ROW)
                        *ret = sqlite3_column_int64(statement, 0);
                else
                        r = code == SQLITE_DONE ? -ENOENT : errno_of(code);
        }
        sqlite3_finalize(statement);
        return r;
}

static int on_commit(void *user, sqlite3 *handle _unused_, const char *name _unused_, int frames)
{
        struct database *db = user;

        db->log_frames = (unsigned)frames;
        return SQLITE_OK;
}

/*
 * Enlarges the log by zeros, which end it for SQLite as the end of the file does: from then on a
 * commit writes in place, and its fdatasync need not write the file's length and blocks too. Not
 * before the database has a page: SQLite removes the log of an empty one. Only for speed: without
 * it everything works.
 */
static void prepare_log(const char *database_path)
{
        _cleanup_free_ char *path = NULL, *zeros = calloc(1, LOG_CHUNK);
        _cleanup_close_ int fd = -1;
        struct stat status;
        int r = 0;

        if (!zeros || asprintf(&path, "%s-wal", database_path) < 0)
                return;
        fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) < 0)
                return;
        for (off_t end = status.st_size; r == 0 && end < LOG_SIZE; end += LOG_CHUNK)
                r = fd_write_full(fd, zeros, LOG_CHUNK);
        if (r < 0)
                r = ftruncate(fd, status.st_size);
        else if (status.st_size < LOG_SIZE)
                r = fsync(fd);
        if (r < 0)
                log_warning("store: cannot prepare %s: %s", path, strerror(errno));
}

static int configure(struct database *db)
{
        int keep = 1;
        int r;

        /* Exclusive locking keeps other processes out, and the index of the log in our memory. */
        r = execute(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096;"
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                        "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096;"
                        "PRAGMA trusted_schema=OFF;");
        if (r < 0)
                return r;
        /* Takes the lock now, not with the first write. */
        r = execute(db, "BEGIN EXCLUSIVE; COMMIT");
        if (r < 0)
                return r;
        sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        sqlite3_wal_hook(db->handle, on_commit, db);
        return 0;
}

/* The application id ("cayd") tells a database of ours from any other. */
static int create_schema(struct database *db)
{
        char sql[512];

        snprintf(sql, sizeof(sql),
                 "BEGIN IMMEDIATE;"
                 "PRAGMA application_id=%d;"
                 "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
                 "CREATE TABLE object(id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
                 " key BLOB NOT NULL, value BLOB NOT NULL);"
                 "INSERT INTO meta VALUES('version', %d), ('revision', 0);"
                 "COMMIT",
                 0x63617964, STORE_SCHEMA_VERSION);
        return execute(db, sql);
}

static int check_schema(struct database *db, struct error *error)
{
        sqlite3_int64 id = 0, tables = 0, version = 0;
        int r;

        r = query_integer(db, "PRAGMA application_id", &id);
        if (r == 0)
                r = query_integer(db, "SELECT count(*) FROM sqlite_schema", &tables);
        if (r < 0)
                return r;
        if (id == 0 && tables == 0)
                return create_schema(db);
        if (id != 0x63617964)
                return error_set(error, -EBADMSG, "cay.db is a database of another program");
        r = query_integer(db, "SELECT value FROM meta WHERE name='version'", &version);
        if (r == -ENOENT)
                return -EBADMSG;
        if (r < 0)
                return r;
        if (version != STORE_SCHEMA_VERSION)
                return error_set(error, -EPROTO,
                                 "the data are of version %lld, this program knows version %d; "
                                 "use the program that wrote them",
                                 (long long)version, STORE_SCHEMA_VERSION);
        return 0;
}

static int load_rows(struct database *db, const struct store_config *config, uint64_t *revision)
{
        sqlite3_stmt *statement = NULL;
        int r = prepare(db, "SELECT id, revision, key, value FROM object ORDER BY id", &statement);

        while (r == 0) {
                int code = sqlite3_step(statement);
                if (code == SQLITE_DONE)
                        break;
                r = errno_of(code);
                if (r < 0)
                        break;
                struct str key = { sqlite3_column_blob(statement, 2),
                                   (size_t)sqlite3_column_bytes(statement, 2) };
                struct str text = { sqlite3_column_blob(statement, 3),
                                    (size_t)sqlite3_column_bytes(statement, 3) };
                uint64_t id = (uint64_t)sqlite3_column_int64(statement, 0);
                uint64_t row_revision = (uint64_t)sqlite3_column_int64(statement, 1);
                *revision = MAX(*revision, row_revision);
                if (id > row_revision)
                        r = -EBADMSG;
                else
                        r = config->load(config->user, id, row_revision, key, text);
        }
        sqlite3_finalize(statement);
        return r;
}

static int prepare_all(struct database *db)
{
        const struct {
                const char *sql;
                sqlite3_stmt **statement;
        } statements[] = {
                { "BEGIN IMMEDIATE", &db->begin },
                { "COMMIT", &db->commit },
                { "INSERT INTO object(id, revision, key, value) VALUES(?1, ?2, ?3, ?4)"
                  " ON CONFLICT(id) DO UPDATE SET revision=?2, value=?4",
                  &db->put },
                { "DELETE FROM object WHERE id=?1", &db->remove },
                { "UPDATE meta SET value=?1 WHERE name='revision'", &db->revision },
        };

        for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
                int r = prepare(db, statements[i].sql, statements[i].statement);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int open_error(struct error *error, int r, const char *directory)
{
        switch (r) {
        case -EBUSY:
                return error_set(error, r,
                                 "another process uses the data in %s; stop it first, or choose "
                                 "another folder",
                                 directory);
        case -ENOSPC:
                return error_set(error, r, "no space is left for the data in %s", directory);
        case -EBADMSG:
                return error_set(error, r, "the data in %s are damaged; put back a copy of cay.db",
                                 directory);
        case -EACCES:
                return error_set(error, r, "cannot read and write the data in %s; check its owner",
                                 directory);
        default:
                return error_set(error, r, "cannot open the data in %s: %s", directory,
                                 strerror(-r));
        }
}

int database_open(struct database *db, const struct store_config *config, struct error *error,
                  uint64_t *ret_revision)
{
        _cleanup_free_ char *path = NULL;
        struct error reason = {};
        sqlite3_int64 mark = 0;
        uint64_t revision = 0;
        int r;

        *db = (struct database){};
        if (mkdir(config->directory, 0700) < 0 && errno != EEXIST)
                return error_set(error, -errno, "cannot make the folder %s: %s", config->directory,
                                 strerror(errno));
        if (asprintf(&path, "%s/cay.db", config->directory) < 0)
                return -ENOMEM;

        r = errno_of(sqlite3_open_v2(path, &db->handle,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                             SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                     config->vfs));
        if (r == 0)
                r = configure(db);
        if (r == 0)
                r = check_schema(db, &reason);
        if (r == 0) {
                prepare_log(path);
                r = query_integer(db, "SELECT value FROM meta WHERE name='revision'", &mark);
        }
        revision = (uint64_t)mark;
        if (r == 0)
                r = load_rows(db, config, &revision);
        if (r == 0)
                r = prepare_all(db);
        if (r < 0) {
                /* A checkpoint on the way out could make matters worse. */
                database_close(db, true);
                if (reason.code)
                        return error_set(error, r, "%s", reason.message);
                return open_error(error, r == -ENOENT ? -EBADMSG : r, config->directory);
        }
        *ret_revision = revision;
        return 0;
}

void database_close(struct database *db, bool failed)
{
        sqlite3_stmt *statements[] = { db->begin, db->commit, db->put, db->remove, db->revision };

        for (size_t i = 0; i < ARRAY_SIZE(statements); i++)
                sqlite3_finalize(statements[i]);
        if (failed && db->handle)
                sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(db->handle);
        *db = (struct database){};
}

static int write_one(struct database *db, const struct store_write *write)
{
        sqlite3_stmt *statement = write->doc ? db->put : db->remove;
        int r;

        sqlite3_bind_int64(statement, 1, (sqlite3_int64)write->id);
        if (write->doc) {
                struct str text = json_doc_text(write->doc);
                sqlite3_bind_int64(statement, 2, (sqlite3_int64)write->revision);
                sqlite3_bind_blob64(statement, 3, write->key.data, write->key.length,
                                    SQLITE_STATIC);
                sqlite3_bind_blob64(statement, 4, text.data, text.length, SQLITE_STATIC);
        }
        r = run(statement);
        sqlite3_clear_bindings(statement);
        return r;
}

int database_write(struct database *db, const struct store_write *writes)
{
        bool removes = false;
        uint64_t revision = 0;
        int r = run(db->begin);

        for (const struct store_write *write = writes; r == 0 && write; write = write->next) {
                r = write_one(db, write);
                revision = write->revision;
                removes = removes || !write->doc;
        }
        /* A row keeps its revision itself; what is removed leaves the mark behind. */
        if (r == 0 && removes) {
                sqlite3_bind_int64(db->revision, 1, (sqlite3_int64)revision);
                r = run(db->revision);
        }
        if (r == 0)
                r = run(db->commit);
        if (r == 0)
                return 0;

        log_error("store: a transaction failed: %s", sqlite3_errmsg(db->handle));
        if (!database_is_fatal(r) && !sqlite3_get_autocommit(db->handle) &&
            execute(db, "ROLLBACK") < 0)
                return -EIO;
        return r;
}

int database_checkpoint(struct database *db)
{
        int r = errno_of(
                sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));

        if (r == 0)
                db->log_frames = 0;
        else
                log_error("store: a checkpoint failed: %s", sqlite3_errmsg(db->handle));
        return r;
}
