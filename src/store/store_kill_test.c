// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "store/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"
#include "base/test.h"

/*
 * A child writes and acknowledges through a pipe; it is killed at a random moment, fifty times on
 * the same data. Afterwards every acknowledged write is there, no revision comes twice, and what
 * else is there was submitted.
 */
enum { ROUNDS = 50, OBJECTS = 40, IN_FLIGHT = 16 };

struct acknowledgement {
        uint32_t object;
        uint32_t deleted;
        uint64_t revision;
};

static uint64_t loaded[OBJECTS + 1];

static int on_load(void *user _unused_, uint64_t id, uint64_t revision, struct str key,
                   struct str text)
{
        char expected[64];

        snprintf(expected, sizeof(expected), "{\"object\":%u,\"revision\":%llu}", (unsigned)id,
                 (unsigned long long)revision);
        if (id > OBJECTS || !str_equal(text, str_from(expected)) || !str_equal(key, STR("g/r//n")))
                return -EBADMSG;
        loaded[id] = revision;
        return 0;
}

/* ---- the child ---- */

struct writer {
        uv_loop_t loop;
        struct store *store;
        uint64_t revision;
        struct store_write writes[IN_FLIGHT];
        int pipe;
};

static void submit(struct writer *w, struct store_write *write)
{
        unsigned char random[2];
        char text[64];

        random_bytes(random, sizeof(random));
        w->revision++;
        /* Row ids are revisions of creation; here they begin below the first revision. */
        *write = (struct store_write){ .id = random[0] % OBJECTS + 1u,
                                       .revision = w->revision,
                                       .key = STR("g/r//n") };
        if (random[1] % 8) {
                snprintf(text, sizeof(text), "{\"object\":%u,\"revision\":%llu}",
                         (unsigned)write->id, (unsigned long long)w->revision);
                if (json_doc_parse(str_from(text), NULL, NULL, NULL, &write->doc) < 0)
                        _exit(2);
        }
        if (store_submit(w->store, write) < 0)
                _exit(3);
}

static void on_done(void *user, struct store_write *write, int result)
{
        struct writer *w = user;
        struct acknowledgement a = { (uint32_t)write->id, write->doc == NULL, write->revision };

        if (result < 0 || fd_write_full(w->pipe, &a, sizeof(a)) < 0)
                _exit(4);
        if (write->doc)
                json_doc_unref(write->doc);
        submit(w, write);
}

static void on_aborted(void *user _unused_, int reason _unused_, bool fatal _unused_)
{
        _exit(5);
}

static void child_run(const char *directory, int pipe)
{
        struct writer w = { .pipe = pipe };
        struct store_config config = { .loop = &w.loop,
                                       .directory = directory,
                                       .load = on_load,
                                       .done = on_done,
                                       .aborted = on_aborted,
                                       .user = &w };

        uv_loop_init(&w.loop);
        if (store_open(&config, NULL, &w.store, &w.revision) < 0)
                _exit(6);
        if (w.revision < OBJECTS)
                w.revision = OBJECTS;
        for (int i = 0; i < IN_FLIGHT; i++)
                submit(&w, &w.writes[i]);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        _exit(7);
}

/* ---- the parent ---- */

/* Runs the child for a while; returns the number of acknowledgements put into `last`. */
static unsigned round_run(const char *directory, struct acknowledgement last[OBJECTS + 1],
                          uint64_t *highest)
{
        struct acknowledgement a;
        unsigned char random[2];
        unsigned count = 0, limit;
        int ends[2], status;
        size_t length;
        pid_t child;

        assert_int_equal(pipe(ends), 0);
        child = fork();
        if (child == 0) {
                close(ends[0]);
                child_run(directory, ends[1]);
        }
        close(ends[1]);
        random_bytes(random, sizeof(random));
        limit = (unsigned)(random[0] | random[1] << 8) % 300;
        for (;;) {
                if (count == limit)
                        kill(child, SIGKILL);
                assert_int_equal(fd_read_full(ends[0], &a, sizeof(a), &length), 0);
                if (length < sizeof(a))
                        break;
                assert_true(a.revision > *highest);
                *highest = a.revision;
                last[a.object] = a;
                count++;
        }
        close(ends[0]);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return count;
}

static void test_killed_at_random_moments(void **state _unused_)
{
        char directory[] = "/tmp/cay-kill-XXXXXX", path[64];
        struct acknowledgement last[OBJECTS + 1] = {};
        uint64_t highest = 0;
        unsigned total = 0;

        assert_non_null(mkdtemp(directory));
        for (int round = 0; round < ROUNDS; round++) {
                struct store_config config = { .directory = directory,
                                               .load = on_load,
                                               .done = on_done,
                                               .aborted = on_aborted };
                struct store *store;
                uint64_t revision;
                uv_loop_t loop;

                total += round_run(directory, last, &highest);
                for (int i = 0; i <= OBJECTS; i++)
                        loaded[i] = 0;
                uv_loop_init(&loop);
                config.loop = &loop;
                assert_int_equal(store_open(&config, NULL, &store, &revision), 0);
                assert_true(revision >= highest);
                for (unsigned i = 1; i <= OBJECTS; i++) {
                        /* As acknowledged, or as a later write whose answer was cut off left it. */
                        if (loaded[i] == 0)
                                assert_true(last[i].deleted || last[i].revision == 0 ||
                                            revision > highest);
                        else
                                assert_true(loaded[i] > highest ||
                                            (loaded[i] == last[i].revision && !last[i].deleted));
                        last[i] = (struct acknowledgement){ i, loaded[i] == 0, loaded[i] };
                }
                highest = revision;
                store_close(store);
                uv_run(&loop, UV_RUN_DEFAULT);
                assert_int_equal(uv_loop_close(&loop), 0);
        }
        assert_true(total > 0);
        snprintf(path, sizeof(path), "%s/cay.db", directory);
        unlink(path);
        snprintf(path, sizeof(path), "%s/cay.db-wal", directory);
        unlink(path);
        assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_killed_at_random_moments) };

        return run_unit_tests("store_kill", tests);
}
