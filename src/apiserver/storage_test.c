// SPDX-License-Identifier: Apache-2.0
#include <uv.h>

#include "apiserver/storage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test_folder.h"
#include "store/fault_vfs.h"
#include "json/json.h"

/* ---- a storage and what happened in it ---- */

struct fixture {
        struct test_folder folder;
        uv_loop_t loop;
        struct storage *storage;
        struct storage_type *type;
        char log[4096]; /* one word an answer or event */
        int failure;
};

static void note(struct fixture *f, const char *format, ...) _printf_(2, 3);
static void note(struct fixture *f, const char *format, ...)
{
        size_t length = strlen(f->log);
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(f->log + length, sizeof(f->log) - length, format, arguments);
        va_end(arguments);
}

/* Compares what was noted since the last time. */
static void assert_noted(struct fixture *f, const char *expected)
{
        assert_string_equal(f->log, expected);
        f->log[0] = '\0';
}

static void on_failed(void *user, int reason)
{
        ((struct fixture *)user)->failure = reason;
}

static void open_storage(struct fixture *f, const char *vfs, bool on_disk, unsigned log_events)
{
        struct storage_config config = { .loop = &f->loop,
                                         .directory = on_disk ? f->folder.path : NULL,
                                         .vfs = vfs,
                                         .log_events = log_events,
                                         .failed = on_failed,
                                         .user = f };

        assert_int_equal(storage_open(&config, NULL, &f->storage), 0);
        f->type = storage_type(f->storage, STR("g"), STR("things"));
        assert_non_null(f->type);
}

static void close_storage(struct fixture *f)
{
        storage_close(f->storage);
        f->storage = NULL;
        uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        test_folder_make(&f->folder);
        uv_loop_init(&f->loop);
        fault_vfs_reset();
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        fault_vfs_reset();
        if (f->storage)
                close_storage(f);
        assert_int_equal(uv_loop_close(&f->loop), 0);
        test_folder_remove(&f->folder);
        free(f);
        return 0;
}

/* ---- requests ---- */

enum verb { CREATE, UPDATE, REMOVE, TOUCH_IF_OTHER, CREATE_NEXT_FREE };

struct request {
        struct storage_request base;
        struct fixture *f;
        enum verb verb;
        const char *label; /* in the notes */
        int value;
        char name[8];
};

static struct json_doc *make_doc(const char *name, int value)
{
        struct json_doc *doc;
        char text[128];

        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"%s\"},\"v\":%d}", name, value);
        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static int judge(struct storage_request *base, struct json_doc *head, struct storage_change *change)
{
        struct request *request = container_of(base, struct request, base);

        switch (request->verb) {
        case CREATE_NEXT_FREE:
                if (head) {
                        request->name[0]++;
                        return -EAGAIN;
                }
                /* fall through */
        case CREATE:
                if (head)
                        return -EEXIST;
                break;
        case UPDATE:
                if (!head)
                        return -ENOENT;
                if (json_int64_or(json_get(json_root(head), "v"), 0) == request->value)
                        return 0;
                break;
        case TOUCH_IF_OTHER:
                if (!storage_head(base, base->type, STR("ns"), STR("other")))
                        return -ENOTDIR;
                break;
        case REMOVE:
                if (!head)
                        return -ENOENT;
                change->kind = STORAGE_DELETE;
                return 0;
        }
        change->kind = STORAGE_PUT;
        change->doc = make_doc(request->name, request->value);
        return 0;
}

static void done(struct storage_request *base, int result, struct json_doc *doc)
{
        struct request *request = container_of(base, struct request, base);
        struct json_value version = {};

        assert_true((result == 0) == (doc != NULL));
        if (doc)
                version = json_get(json_root(doc), "metadata", "resourceVersion");
        if (result == 0)
                note(request->f, "%s=%.*s ", request->label, STR_FORMAT(json_string(version)));
        else
                note(request->f, "%s:%s ", request->label,
                     result == -EEXIST    ? "exists"
                     : result == -ENOENT  ? "absent"
                     : result == -ENOTDIR ? "lonely"
                     : result == -ENOSPC  ? "full"
                     : result == -EIO     ? "failed"
                                          : "?");
}

static void submit(struct fixture *f, struct request *request, enum verb verb, const char *label,
                   const char *name, int value)
{
        *request = (struct request){ .f = f, .verb = verb, .label = label, .value = value };
        snprintf(request->name, sizeof(request->name), "%s", name);
        request->base.type = f->type;
        request->base.name_space = STR("ns");
        request->base.name = (struct str){ request->name, strlen(name) };
        request->base.judge = judge;
        request->base.done = done;
        storage_submit(f->storage, &request->base);
}

static void settle(struct fixture *f)
{
        while (storage_counters(f->storage).waiting > 0)
                uv_run(&f->loop, UV_RUN_ONCE);
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

static int value_of(struct fixture *f, const char *name)
{
        struct json_doc *doc = storage_get(f->type, STR("ns"), str_from(name));

        return doc ? (int)json_int64_or(json_get(json_root(doc), "v"), -2) : -1;
}

/* ---- tests ---- */

static void test_answers_wait_for_the_disk(void **state)
{
        struct fixture *f = *state;
        struct request r[8];

        open_storage(f, NULL, true, 0);
        submit(f, &r[0], CREATE, "a", "x", 1);
        submit(f, &r[1], CREATE, "b", "x", 2); /* exists, but nobody may know yet */
        submit(f, &r[2], UPDATE, "c", "x", 3);
        submit(f, &r[3], UPDATE, "d", "x", 3); /* changes nothing */
        submit(f, &r[4], REMOVE, "e", "x", 0);
        submit(f, &r[5], UPDATE, "f", "x", 4); /* absent */
        submit(f, &r[6], UPDATE, "g", "y", 4); /* absent whatever happens */
        assert_noted(f, "g:absent ");
        assert_int_equal(value_of(f, "x"), -1);
        assert_int_equal(storage_revision(f->storage), 1);
        settle(f);
        assert_noted(f, "a=2 b:exists c=3 d=3 e=4 f:absent ");
        assert_int_equal(storage_revision(f->storage), 4);
        assert_int_equal(storage_count(f->type), 0);

        submit(f, &r[0], CREATE, "a", "x", 9);
        settle(f);
        submit(f, &r[1], CREATE_NEXT_FREE, "b", "x", 7);
        settle(f);
        assert_noted(f, "a=5 b=6 ");
        assert_int_equal(value_of(f, "y"), 7);
        close_storage(f);

        open_storage(f, NULL, true, 0);
        assert_int_equal(storage_revision(f->storage), 6);
        assert_int_equal(value_of(f, "x"), 9);
        assert_int_equal(value_of(f, "y"), 7);
        assert_int_equal(storage_count(f->type), 2);
        submit(f, &r[0], UPDATE, "a", "x", 10);
        settle(f);
        assert_noted(f, "a=7 ");
}

static void test_verdicts_on_other_keys_wait_too(void **state)
{
        struct fixture *f = *state;
        struct request r[4];

        open_storage(f, NULL, true, 0);
        submit(f, &r[0], TOUCH_IF_OTHER, "a", "x", 1);
        assert_noted(f, "a:lonely ");
        submit(f, &r[1], CREATE, "b", "other", 1);
        submit(f, &r[2], REMOVE, "c", "other", 0);
        submit(f, &r[3], TOUCH_IF_OTHER, "d", "x", 1);
        assert_noted(f, ""); /* refused because of a deletion that is not yet true */
        settle(f);
        assert_noted(f, "b=2 c=3 d:lonely ");
}

static void test_aborted_writes_are_judged_again(void **state)
{
        struct fixture *f = *state;
        struct request r[6];

        open_storage(f, FAULT_VFS, true, 0);
        submit(f, &r[0], CREATE, "a", "x", 1);
        settle(f);
        assert_noted(f, "a=2 ");

        fault_vfs.full = true;
        fault_vfs.countdown = 1;
        storage_cork(f->storage);
        submit(f, &r[0], REMOVE, "a", "x", 0);
        submit(f, &r[1], CREATE, "b", "y", 1);
        submit(f, &r[2], CREATE, "c", "y", 2);         /* exists: not so in the end */
        submit(f, &r[3], UPDATE, "d", "x", 5);         /* absent: not so in the end */
        submit(f, &r[4], TOUCH_IF_OTHER, "e", "z", 1); /* does not depend on anything */
        assert_noted(f, "e:lonely ");
        storage_uncork(f->storage);
        settle(f);
        assert_noted(f, "a:full b:full d=5 c=6 ");
        assert_int_equal(f->failure, 0);
        assert_int_equal(value_of(f, "x"), 5);
        assert_int_equal(value_of(f, "y"), 2);
        close_storage(f);

        open_storage(f, NULL, true, 0);
        assert_int_equal(value_of(f, "x"), 5);
        assert_int_equal(value_of(f, "y"), 2);
        assert_int_equal(storage_count(f->type), 2);
}

static void test_failed_fsync_stops_everything(void **state)
{
        struct fixture *f = *state;
        struct request r[3];

        open_storage(f, FAULT_VFS, true, 0);
        submit(f, &r[0], CREATE, "a", "x", 1);
        settle(f);
        fault_vfs.countdown = 1;
        submit(f, &r[0], UPDATE, "b", "x", 2);
        submit(f, &r[1], CREATE, "c", "x", 2); /* held; exists in any case */
        submit(f, &r[2], CREATE, "d", "y", 2);
        settle(f);
        assert_noted(f, "a=2 c:exists b:failed d:failed ");
        assert_int_equal(f->failure, -EIO);
        assert_int_equal(value_of(f, "x"), 1);
        submit(f, &r[0], UPDATE, "e", "x", 3);
        assert_noted(f, "e:failed ");
}

static void test_cancelled_requests_are_not_answered(void **state)
{
        struct fixture *f = *state;
        struct request r[2];

        open_storage(f, NULL, true, 0);
        submit(f, &r[0], CREATE, "a", "x", 1);
        submit(f, &r[1], CREATE, "b", "x", 1);
        storage_request_cancel(&r[0].base);
        storage_request_cancel(&r[1].base);
        settle(f);
        assert_noted(f, "");
        assert_int_equal(value_of(f, "x"), 1); /* what was accepted stays */
}

/* ---- followers ---- */

struct follower {
        struct storage_follower base;
        struct fixture *f;
};

static void on_accepted(struct storage_follower *base, const struct storage_event *event)
{
        struct follower *follower = container_of(base, struct follower, base);
        const char *what = !event->after ? "-" : !event->before ? "+" : "~";

        note(follower->f, "%s%.*s%llu ", what, STR_FORMAT(event->name),
             (unsigned long long)event->revision);
}

static void on_aborted(struct storage_follower *base)
{
        note(container_of(base, struct follower, base)->f, "aborted ");
}

static void follow(struct fixture *f, struct follower *follower)
{
        *follower = (struct follower){ .f = f,
                                       .base = { .accepted = on_accepted,
                                                 .aborted = on_aborted,
                                                 .type = f->type,
                                                 .name_space = STR("ns") } };
        storage_follow(&follower->base);
}

static void test_followers_are_told_before_the_disk(void **state)
{
        struct fixture *f = *state;
        struct follower follower;
        struct request r[3];

        open_storage(f, NULL, true, 0);
        storage_cork(f->storage);
        submit(f, &r[0], CREATE, "a", "x", 1);
        assert_noted(f, "");
        follow(f, &follower); /* what is on its way is told */
        assert_noted(f, "+x2 ");
        submit(f, &r[1], UPDATE, "b", "x", 2);
        assert_true(storage_head_has(f->type, STR("ns")));
        submit(f, &r[2], REMOVE, "c", "x", 0);
        assert_noted(f, "~x3 -x4 ");
        assert_false(storage_head_has(f->type, STR("ns")));
        assert_int_equal(storage_head_revision(f->storage), 4);
        assert_int_equal(storage_revision(f->storage), 1);
        storage_uncork(f->storage);
        settle(f);
        assert_noted(f, "a=2 b=3 c=4 ");

        follower.base.name_space = STR("elsewhere");
        submit(f, &r[0], CREATE, "d", "y", 1);
        settle(f);
        storage_unfollow(&follower.base);
        follower.base.name_space = STR_EMPTY;
        submit(f, &r[0], CREATE, "e", "z", 1);
        settle(f);
        assert_noted(f, "d=5 e=6 ");
}

static void test_followers_are_told_of_an_abort_once(void **state)
{
        struct fixture *f = *state;
        struct follower follower;
        struct request r[3];

        open_storage(f, FAULT_VFS, true, 0);
        follow(f, &follower);
        fault_vfs.full = true;
        fault_vfs.countdown = 1;
        storage_cork(f->storage);
        submit(f, &r[0], CREATE, "a", "x", 1);
        submit(f, &r[1], CREATE, "b", "x", 2); /* exists: not so in the end, and not told */
        storage_uncork(f->storage);
        settle(f);
        assert_noted(f, "+x2 aborted a:full b=3 ");
        submit(f, &r[2], CREATE, "c", "y", 1);
        settle(f);
        assert_noted(f, "c=4 ");
        follow(f, &follower);
        submit(f, &r[2], UPDATE, "d", "y", 2);
        settle(f);
        assert_noted(f, "~y5 d=5 ");
        storage_unfollow(&follower.base);
}

/* ---- watches ---- */

struct watcher {
        struct storage_watch base;
        struct fixture *f;
        const char *label;
        unsigned capacity; /* events until it pauses */
        bool stop_at_first;
};

static bool on_event(struct storage_watch *base, const struct storage_event *event)
{
        struct watcher *watcher = container_of(base, struct watcher, base);

        assert_true(event->last != NULL && (event->after == NULL || event->after == event->last));
        note(watcher->f, "%s%s%.*s%llu ", watcher->label,
             !event->before  ? "+"
             : !event->after ? "-"
                             : "~",
             STR_FORMAT(event->name), (unsigned long long)event->revision);
        if (watcher->stop_at_first)
                storage_watch_stop(base);
        return watcher->capacity == 0 || --watcher->capacity > 0;
}

static void on_end(struct storage_watch *base, enum storage_watch_end why)
{
        struct watcher *watcher = container_of(base, struct watcher, base);

        note(watcher->f, "%s%s ", watcher->label,
             why == STORAGE_WATCH_EXPIRED ? "expired" : "closed");
}

static int watch(struct fixture *f, struct watcher *watcher, const char *label, struct str name,
                 uint64_t revision)
{
        *watcher = (struct watcher){ .f = f, .label = label };
        watcher->base.type = f->type;
        watcher->base.event = on_event;
        watcher->base.end = on_end;
        watcher->base.name = name;
        return storage_watch_start(&watcher->base, revision);
}

static void test_watches_resume_and_filter(void **state)
{
        struct fixture *f = *state;
        struct request r[4];
        struct watcher all, one, old, once, nobody;

        open_storage(f, NULL, false, 0);
        assert_int_equal(watch(f, &all, "all", STR_EMPTY, 1), 0);
        assert_int_equal(watch(f, &one, "one", STR("y"), 1), 0);
        assert_int_equal(watch(f, &once, "once", STR_EMPTY, 1), 0);
        once.stop_at_first = true;
        assert_int_equal(watch(f, &nobody, "", STR_EMPTY, 2), -ERANGE);
        assert_int_equal(watch(f, &nobody, "", STR_EMPTY, 0), -ESTALE);

        submit(f, &r[0], CREATE, "", "x", 1);
        submit(f, &r[1], CREATE, "", "y", 1);
        submit(f, &r[2], UPDATE, "", "x", 2);
        submit(f, &r[3], REMOVE, "", "y", 0);
        assert_noted(f, ""); /* nothing before it is durable */
        settle(f);
        assert_noted(f, "=2 =3 =4 =5 all+x2 all+y3 all~x4 all-y5 one+y3 one-y5 once+x2 ");
        assert_int_equal(storage_watch_position(&one.base), 5);

        assert_int_equal(watch(f, &old, "old", STR_EMPTY, 3), 0);
        assert_noted(f, ""); /* never from within */
        settle(f);
        assert_noted(f, "old~x4 old-y5 ");
        storage_watch_stop(&one.base);
        close_storage(f);
        assert_noted(f, "allclosed oldclosed ");
}

static void test_slow_watches_expire(void **state)
{
        struct fixture *f = *state;
        struct request r[8];
        struct watcher slow, late;

        open_storage(f, NULL, false, 4);
        assert_int_equal(watch(f, &slow, "slow", STR_EMPTY, 1), 0);
        slow.capacity = 1;
        submit(f, &r[0], CREATE, "", "x", 0);
        for (int i = 1; i < 4; i++)
                submit(f, &r[i], UPDATE, "", "x", i);
        settle(f);
        f->log[0] = '\0';
        storage_watch_resume(&slow.base);
        settle(f);
        assert_noted(f, "slow~x3 slow~x4 slow~x5 "); /* within the log nothing is lost */

        slow.capacity = 1;
        for (int i = 4; i < 8; i++)
                submit(f, &r[i], UPDATE, "", "x", i);
        settle(f);
        f->log[0] = '\0';
        submit(f, &r[0], UPDATE, "", "x", 20);
        submit(f, &r[1], UPDATE, "", "x", 21);
        settle(f);
        f->log[0] = '\0';
        storage_watch_resume(&slow.base);
        settle(f);
        assert_noted(f, "slowexpired ");
        assert_int_equal(storage_counters(f->storage).log_events, 4);
        assert_int_equal(watch(f, &late, "late", STR_EMPTY, 6), -ESTALE);
        assert_int_equal(watch(f, &late, "late", STR_EMPTY, 7), 0);
        settle(f);
        assert_noted(f, "late~x8 late~x9 late~x10 late~x11 ");
        storage_watch_stop(&late.base);
}

static void test_log_is_bounded_in_bytes(void **state)
{
        struct fixture *f = *state;
        struct storage_config config = { .loop = &f->loop, .log_bytes = 4096 };
        struct request r;

        assert_int_equal(storage_open(&config, NULL, &f->storage), 0);
        f->type = storage_type(f->storage, STR("g"), STR("things"));
        submit(f, &r, CREATE, "", "x", 0);
        for (int i = 1; i < 100; i++) {
                settle(f);
                submit(f, &r, UPDATE, "", "x", i);
        }
        settle(f);
        assert_in_range(storage_counters(f->storage).log_bytes, 1, 4096);
        assert_in_range(storage_counters(f->storage).log_events, 2, 40);
}

/* ---- lists ---- */

static void read_list(struct fixture *f, struct storage_list *list, int limit)
{
        struct json_doc *doc;

        while (limit-- != 0 && storage_list_next(list, &doc) == 1)
                note(f, "%.*s%d ",
                     STR_FORMAT(json_string(json_get(json_root(doc), "metadata", "name"))),
                     (int)json_int64_or(json_get(json_root(doc), "v"), -1));
}

static void test_lists_show_one_revision(void **state)
{
        struct fixture *f = *state;
        struct request r[8];
        struct storage_list list;
        struct str name_space, name;

        open_storage(f, NULL, false, 0);
        submit(f, &r[0], CREATE, "", "a", 1);
        submit(f, &r[1], CREATE, "", "c", 1);
        submit(f, &r[2], CREATE, "", "d", 1);
        submit(f, &r[3], CREATE, "", "e", 1);
        settle(f);
        f->log[0] = '\0';

        assert_int_equal(storage_list_begin(&list, f->type, STR_EMPTY, 0, STR_EMPTY, STR_EMPTY), 0);
        assert_int_equal(list.revision, 5);
        read_list(f, &list, 1);
        assert_noted(f, "a1 ");
        /* Everything changes behind and before the position; the walk does not see it. */
        submit(f, &r[0], CREATE, "", "b", 2);
        submit(f, &r[1], UPDATE, "", "c", 2);
        submit(f, &r[2], REMOVE, "", "d", 0);
        settle(f);
        submit(f, &r[0], CREATE, "", "d", 3);
        submit(f, &r[1], REMOVE, "", "e", 3);
        submit(f, &r[2], REMOVE, "", "a", 3);
        submit(f, &r[3], CREATE, "", "f", 3); /* in flight: not there */
        f->log[0] = '\0';
        read_list(f, &list, 1);
        assert_noted(f, "c1 ");
        storage_list_position(&list, &name_space, &name);
        assert_true(str_equal(name_space, STR("ns")) && str_equal(name, STR("c")));
        settle(f);
        f->log[0] = '\0';
        read_list(f, &list, -1);
        assert_noted(f, "d1 e1 ");
        storage_list_end(&list);

        /* The same revision again, as a continue token asks for it. */
        assert_int_equal(storage_list_begin(&list, f->type, STR("ns"), 5, STR("ns"), STR("a")), 0);
        read_list(f, &list, -1);
        assert_noted(f, "c1 d1 e1 ");
        storage_list_end(&list);
        assert_int_equal(storage_list_begin(&list, f->type, STR("nt"), 0, STR_EMPTY, STR_EMPTY), 0);
        read_list(f, &list, -1);
        assert_noted(f, "");
        storage_list_end(&list);
        assert_int_equal(storage_list_begin(&list, f->type, STR("ns"), 0, STR_EMPTY, STR_EMPTY), 0);
        read_list(f, &list, -1);
        assert_noted(f, "b2 c2 d3 f3 ");
        storage_list_end(&list);
        assert_int_equal(storage_list_begin(&list, f->type, STR("ns"), 99, STR_EMPTY, STR_EMPTY),
                         -ERANGE);
}

static void test_lists_of_lost_revisions_expire(void **state)
{
        struct fixture *f = *state;
        struct request r[8];
        struct storage_list list;
        struct json_doc *doc;

        open_storage(f, NULL, false, 2);
        submit(f, &r[0], CREATE, "", "a", 1);
        submit(f, &r[1], CREATE, "", "b", 1);
        settle(f);
        assert_int_equal(storage_list_begin(&list, f->type, STR_EMPTY, 0, STR_EMPTY, STR_EMPTY), 0);
        assert_int_equal(storage_list_next(&list, &doc), 1);
        for (int i = 0; i < 4; i++)
                submit(f, &r[i], UPDATE, "", "b", i + 2);
        settle(f);
        assert_int_equal(storage_list_next(&list, &doc), -ESTALE);
        storage_list_end(&list);
        assert_int_equal(storage_list_begin(&list, f->type, STR_EMPTY, 2, STR_EMPTY, STR_EMPTY),
                         -ESTALE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_answers_wait_for_the_disk),
                TEST(test_verdicts_on_other_keys_wait_too),
                TEST(test_aborted_writes_are_judged_again),
                TEST(test_followers_are_told_before_the_disk),
                TEST(test_followers_are_told_of_an_abort_once),
                TEST(test_failed_fsync_stops_everything),
                TEST(test_cancelled_requests_are_not_answered),
                TEST(test_watches_resume_and_filter),
                TEST(test_slow_watches_expire),
                TEST(test_log_is_bounded_in_bytes),
                TEST(test_lists_show_one_revision),
                TEST(test_lists_of_lost_revisions_expire),
        };

        if (fault_vfs_register() < 0)
                return 1;
        return run_unit_tests("storage", tests);
}
