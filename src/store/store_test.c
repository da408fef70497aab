// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "store/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limit.h"
#include "base/test_folder.h"
#include "store/database.h"
#include "store/fault_vfs.h"

enum { ROWS = 64 };

/* A store with what it loaded and what it answered. */
struct fixture {
        struct test_folder folder;
        uv_loop_t loop;
        struct store *store;
        uint64_t revision;
        struct error error;
        char *rows[ROWS]; /* text by id, as loaded */
        struct store_write writes[ROWS];
        int results[ROWS]; /* 1: none yet */
        unsigned done, aborts, loaded;
        uint64_t last_done;
        bool fatal;
};

static int on_load(void *user, uint64_t id, uint64_t revision, struct str key, struct str text)
{
        struct fixture *f = user;

        assert_true(id < ROWS && revision >= id);
        assert_true(str_starts_with(key, STR("group/things/")));
        f->rows[id] = str_dup(text);
        f->loaded++;
        return 0;
}

static void on_done(void *user, struct store_write *write, int result)
{
        struct fixture *f = user;
        size_t index = (size_t)(write - f->writes);

        assert_int_equal(f->results[index], 1);
        assert_true(write->revision > f->last_done); /* in order */
        f->last_done = write->revision;
        f->results[index] = result;
        f->done++;
        if (write->doc)
                json_doc_unref(write->doc);
        write->doc = NULL;
}

static void on_aborted(void *user, int reason, bool fatal)
{
        struct fixture *f = user;

        assert_true(reason < 0);
        f->aborts++;
        f->fatal = fatal;
}

static int open_store(struct fixture *f, const char *vfs)
{
        struct store_config config = {
                .loop = &f->loop,
                .directory = f->folder.path,
                .vfs = vfs,
                .load = on_load,
                .done = on_done,
                .aborted = on_aborted,
                .user = f,
        };

        f->store = NULL;
        f->loaded = 0;
        return store_open(&config, &f->error, &f->store, &f->revision);
}

static void close_store(struct fixture *f)
{
        store_close(f->store);
        f->store = NULL;
        uv_run(&f->loop, UV_RUN_DEFAULT);
        for (int i = 0; i < ROWS; i++) {
                free(f->rows[i]);
                f->rows[i] = NULL;
        }
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        test_folder_make(&f->folder);
        uv_loop_init(&f->loop);
        for (int i = 0; i < ROWS; i++)
                f->results[i] = 1;
        fault_vfs_reset();
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        fault_vfs_reset();
        if (f->store)
                close_store(f);
        assert_int_equal(uv_loop_close(&f->loop), 0);
        test_folder_remove(&f->folder);
        free(f);
        return 0;
}

/* Submits write number `index`; `text` NULL deletes. */
static int submit(struct fixture *f, unsigned index, uint64_t id, const char *text)
{
        struct store_write *write = &f->writes[index];
        int r;

        *write =
                (struct store_write){ .id = id, .revision = index, .key = STR("group/things/a/b") };
        if (text) {
                r = json_doc_parse(str_from(text), NULL, NULL, NULL, &write->doc);
                assert_int_equal(r, 0);
        }
        r = store_submit(f->store, write);
        if (r < 0) {
                if (write->doc)
                        json_doc_unref(write->doc);
                write->doc = NULL;
        }
        return r;
}

static void wait_done(struct fixture *f, unsigned count)
{
        while (f->done < count)
                uv_run(&f->loop, UV_RUN_ONCE);
}

static void test_rows_come_back(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(open_store(f, NULL), 0);
        assert_int_equal(f->revision, 0);
        store_cork(f->store);
        assert_int_equal(submit(f, 1, 1, "{\"a\":1}"), 0);
        assert_int_equal(submit(f, 2, 2, "{\"a\":2}"), 0);
        store_cork(f->store);
        assert_int_equal(submit(f, 3, 1, "{\"a\":3}"), 0);
        store_uncork(f->store);
        assert_int_equal(submit(f, 4, 4, "{\"a\":4}"), 0);
        store_uncork(f->store);
        assert_int_equal(submit(f, 5, 2, NULL), 0);
        wait_done(f, 5);
        for (int i = 1; i <= 5; i++)
                assert_int_equal(f->results[i], 0);
        /* What was corked is one transaction. */
        assert_in_range(store_counters(f->store).transactions, 1, 2);
        assert_int_equal(store_counters(f->store).writes, 5);
        close_store(f);

        assert_int_equal(open_store(f, NULL), 0);
        assert_int_equal(f->revision, 5); /* the deletion's */
        assert_int_equal(f->loaded, 2);
        assert_string_equal(f->rows[1], "{\"a\":3}");
        assert_string_equal(f->rows[4], "{\"a\":4}");
}

static off_t log_size(const struct fixture *f)
{
        struct stat status;
        char path[300];

        snprintf(path, sizeof(path), "%s/cay.db-wal", f->folder.path);
        assert_int_equal(stat(path, &status), 0);
        return status.st_size;
}

/* A commit must not wait for the file system to enlarge a file. */
static void test_log_is_written_in_place(void **state)
{
        enum { TEXT = 300 * 1024 };
        struct fixture *f = *state;
        _cleanup_free_ char *text = malloc(TEXT + 1);

        assert_int_equal(open_store(f, NULL), 0);
        off_t size = log_size(f);
        assert_true(size >= (off_t)DATABASE_LOG_FRAMES * 4096);
        for (unsigned i = 1; i < ROWS; i++) {
                memset(text, ' ' + (int)i % 2, TEXT); /* SQLite writes no page that is unchanged */
                memcpy(text, "{\"a\":\"", 6);
                memcpy(text + TEXT - 2, "\"}", 3);
                assert_int_equal(submit(f, i, 1, text), 0);
                wait_done(f, i);
                assert_int_equal(f->results[i], 0);
        }
        struct store_counters counters = store_counters(f->store);
        assert_int_equal(counters.checkpoints, 1);
        assert_true(counters.log_frames < DATABASE_LOG_FRAMES);
        assert_in_range(log_size(f), size, size + 2 * TEXT);
        close_store(f);

        assert_int_equal(open_store(f, NULL), 0);
        assert_int_equal(strlen(f->rows[1]), TEXT);
        assert_in_range(log_size(f), size, size + 2 * TEXT);
}

static void test_second_process_is_refused(void **state)
{
        struct fixture *f = *state;
        pid_t child;
        int status;

        assert_int_equal(open_store(f, NULL), 0);
        child = fork();
        if (child == 0) {
                struct fixture other = { .store = NULL };
                other.folder = f->folder;
                int r = open_store(&other, NULL);
                bool told = strstr(other.error.message, "another process uses the data") != NULL;
                _exit(r == -EBUSY && told ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

static void change_database(struct fixture *f, const char *sql)
{
        char path[128];
        sqlite3 *handle;

        snprintf(path, sizeof(path), "%s/cay.db", f->folder.path);
        assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
        assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(handle);
}

static void test_foreign_data_are_refused(void **state)
{
        static const struct {
                const char *sql;
                int r;
                const char *sentence;
        } cases[] = {
                { "UPDATE meta SET value=2 WHERE name='version'", -EPROTO, "of version 2" },
                { "UPDATE meta SET value=1 WHERE name='version';"
                  "INSERT INTO object VALUES(7, 6, 'group/things/a/b', '{}')",
                  -EBADMSG, "damaged" }, /* made after it was last changed */
                { "DELETE FROM object; DELETE FROM meta", -EBADMSG, "damaged" },
                { "PRAGMA application_id=1", -EBADMSG, "another program" },
        };
        struct fixture *f = *state;

        assert_int_equal(open_store(f, NULL), 0);
        close_store(f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                change_database(f, cases[i].sql);
                assert_int_equal(open_store(f, NULL), cases[i].r);
                assert_non_null(strstr(f->error.message, cases[i].sentence));
        }
}

static void test_full_disk_aborts_what_follows_and_passes(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(open_store(f, FAULT_VFS), 0);
        assert_int_equal(submit(f, 1, 1, "{\"a\":1}"), 0);
        wait_done(f, 1);

        fault_vfs.full = true;
        fault_vfs.lasting = true;
        fault_vfs.countdown = 1;
        for (unsigned i = 2; i <= 6; i++)
                assert_int_equal(submit(f, i, i, "{\"a\":2}"), 0);
        wait_done(f, 6);
        assert_int_equal(f->results[1], 0);
        for (int i = 2; i <= 6; i++)
                assert_int_equal(f->results[i], -ENOSPC);
        assert_true(f->aborts >= 1);
        assert_false(f->fatal);

        fault_vfs_reset();
        assert_int_equal(submit(f, 7, 1, "{\"a\":7}"), 0);
        wait_done(f, 7);
        assert_int_equal(f->results[7], 0);
        close_store(f);

        assert_int_equal(open_store(f, NULL), 0);
        assert_int_equal(f->loaded, 1);
        assert_string_equal(f->rows[1], "{\"a\":7}");
        assert_int_equal(f->revision, 7);
}

static void test_failed_fsync_ends_the_store(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(open_store(f, FAULT_VFS), 0);
        assert_int_equal(submit(f, 1, 1, "{\"a\":1}"), 0);
        wait_done(f, 1);

        fault_vfs.countdown = 1; /* once: a second try would succeed, and must not be made */
        assert_int_equal(submit(f, 2, 1, "{\"a\":2}"), 0);
        assert_int_equal(submit(f, 3, 3, "{\"a\":3}"), 0);
        wait_done(f, 3);
        assert_true(f->fatal);
        assert_int_equal(f->aborts, 1);
        assert_int_equal(f->results[2], -EIO);
        assert_int_equal(f->results[3], -EIO);
        assert_int_equal(submit(f, 4, 4, "{}"), -EIO);
        assert_true(store_counters(f->store).failed);
        close_store(f);

        assert_int_equal(open_store(f, NULL), 0);
        assert_true(f->revision >= 1);
        assert_non_null(f->rows[1]);
}

/* Whatever write or sync fails, what was acknowledged is there afterwards and the rest is whole. */
static void test_every_fault_in_turn(void **state)
{
        static const char *const texts[] = { "{\"a\":1}", "{\"a\":2}", "{\"a\":3}" };
        struct fixture *f = *state;

        for (int full = 0; full < 2; full++) {
                for (int n = 1;; n++) {
                        bool failed;

                        f->done = 0;
                        f->last_done = 0;
                        change_database(f, "PRAGMA journal_mode=WAL; DROP TABLE IF EXISTS object;"
                                           "DROP TABLE IF EXISTS meta; PRAGMA application_id=0");
                        fault_vfs_reset();
                        fault_vfs.full = full;
                        fault_vfs.countdown = n;
                        if (open_store(f, FAULT_VFS) == 0) {
                                unsigned expected = 0;
                                for (unsigned i = 1; i <= 3; i++) {
                                        f->results[i] = 1;
                                        if (submit(f, i, 1, texts[i - 1]) == 0)
                                                wait_done(f, ++expected);
                                }
                                close_store(f);
                        } else {
                                f->results[1] = f->results[2] = f->results[3] = -EIO;
                        }
                        failed = fault_vfs.failures > 0;
                        fault_vfs_reset();

                        assert_int_equal(open_store(f, NULL), 0);
                        for (int i = 3; i >= 1; i--) {
                                if (f->results[i] != 0)
                                        continue;
                                assert_non_null(f->rows[1]);
                                /* This one or, of unknown outcome, a later one. */
                                assert_true(f->rows[1][5] - '0' >= i);
                                assert_true(f->revision >= (uint64_t)i);
                                break;
                        }
                        close_store(f);
                        if (!failed)
                                break;
                        assert_true(n < 200);
                }
        }
}

static void count_done(void *user, struct store_write *write _unused_, int result)
{
        assert_int_equal(result, 0);
        (*(unsigned *)user)++;
}

static void test_queue_is_bounded(void **state)
{
        struct fixture *f = *state;
        struct store_write *writes = calloc(LIMIT_WRITE_QUEUE + 1, sizeof(*writes));
        unsigned done = 0;
        struct store_config config = { .loop = &f->loop,
                                       .directory = f->folder.path,
                                       .load = on_load,
                                       .done = count_done,
                                       .aborted = on_aborted,
                                       .user = &done };

        assert_non_null(writes);
        assert_int_equal(store_open(&config, &f->error, &f->store, &f->revision), 0);
        store_cork(f->store);
        for (unsigned i = 0; i <= LIMIT_WRITE_QUEUE; i++) {
                writes[i] = (struct store_write){ .id = 1, .revision = i + 1 };
                assert_int_equal(store_submit(f->store, &writes[i]),
                                 i < LIMIT_WRITE_QUEUE ? 0 : -EAGAIN);
        }
        store_uncork(f->store);
        while (done < LIMIT_WRITE_QUEUE)
                uv_run(&f->loop, UV_RUN_ONCE);
        assert_int_equal(store_submit(f->store, &writes[LIMIT_WRITE_QUEUE]), 0);
        close_store(f);
        assert_int_equal(done, LIMIT_WRITE_QUEUE + 1);
        free(writes);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_rows_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_log_is_written_in_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_second_process_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_foreign_data_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_full_disk_aborts_what_follows_and_passes,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_failed_fsync_ends_the_store, setup, teardown),
                cmocka_unit_test_setup_teardown(test_every_fault_in_turn, setup, teardown),
                cmocka_unit_test_setup_teardown(test_queue_is_bounded, setup, teardown),
        };

        if (fault_vfs_register() < 0)
                return 1;
        return run_unit_tests("store", tests);
}
