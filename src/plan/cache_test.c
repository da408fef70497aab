// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"

#include <errno.h>
#include <stdio.h>

#include "base/failing_allocation.h"
#include "kinds/kind.h"
#include "plan/cache.h"

static struct json_doc *make(const char *name, const char *uid, unsigned version, const char *more)
{
        struct json_doc *doc = NULL;
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"namespace\":\"n\",\"name\":\"%s\",\"uid\":\"%s\","
                 "\"resourceVersion\":\"%u\"%s}}",
                 name, uid, version, more);
        assert_int_equal(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static int apply(struct cache *cache, enum cache_event event, const char *name, const char *uid,
                 unsigned version, const char *more)
{
        _cleanup_doc_ struct json_doc *doc = make(name, uid, version, more);

        return cache_apply(cache, &kind_pod, event, doc, 1);
}

/* Every test runs with whole objects, and with all but one packed. */
static size_t awake;

static int keep_all(void **state)
{
        (void)state;
        awake = SIZE_MAX;
        return 0;
}

static int keep_one(void **state)
{
        (void)state;
        awake = 1;
        return 0;
}

static void begin(struct cache **ret_cache)
{
        assert_int_equal(cache_new(1, ret_cache), 0);
        if (awake != SIZE_MAX)
                assert_int_equal(cache_set_awake(*ret_cache, awake), 0);
}

static uint64_t version_of(struct cache *cache, const char *name)
{
        const struct cache_entry *entry = cache_get(cache, &kind_pod, STR("n"), str_from(name));

        return entry ? entry->meta.resource_version : 0;
}

static void count_gone(void *context, const struct cache_entry *before,
                       const struct cache_entry *after)
{
        *(unsigned *)context += before && !after;
}

static void newer_wins(void **state)
{
        static const struct {
                enum cache_event event;
                const char *uid;
                unsigned version;
                int r;
                uint64_t after;
        } steps[] = {
                { CACHE_ADDED, "u1", 5, 1, 5 },
                { CACHE_MODIFIED, "u1", 5, 0, 5 }, /* an echo */
                { CACHE_MODIFIED, "u1", 4, 0, 5 }, /* late */
                { CACHE_MODIFIED, "u1", 7, 1, 7 },
                { CACHE_ADDED, "u0", 6, 0, 7 }, /* an earlier object of this name */
                { CACHE_DELETED, "u0", 6, 0, 7 },
                { CACHE_ADDED, "u2", 9, 1, 9 }, /* made anew; the deletion is still to come */
                { CACHE_DELETED, "u1", 8, 0, 9 },
                { CACHE_MODIFIED, "u1", 10, 0, 9 }, /* nobody rises from the dead */
                { CACHE_DELETED, "u2", 11, 1, 0 },
                { CACHE_MODIFIED, "u2", 12, 0, 0 },
        };
        _cleanup_(cache_freep) struct cache *cache = NULL;

        (void)state;
        begin(&cache);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                int r = apply(cache, steps[i].event, "a", steps[i].uid, steps[i].version, "");

                if (r != steps[i].r || version_of(cache, "a") != steps[i].after)
                        fail_msg("step %zu: %d, version %llu", i, r,
                                 (unsigned long long)version_of(cache, "a"));
        }
        assert_int_equal(cache_count(cache, &kind_pod), 0);
}

static void forgets_as_if_never_told(void **state)
{
        static const char owned[] = ",\"ownerReferences\":[{\"uid\":\"o\"}]";
        _cleanup_(cache_freep) struct cache *cache = NULL;
        unsigned gone = 0;

        (void)state;
        begin(&cache);
        cache_list_begin(cache, &kind_pod);
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "u1", 5, owned), 1);
        assert_int_equal(apply(cache, CACHE_ADDED, "b", "u2", 6, owned), 1);
        assert_int_equal(apply(cache, CACHE_ADDED, "c", "u3", 7, ""), 1);
        assert_int_equal(apply(cache, CACHE_DELETED, "c", "u3", 8, ""), 1);
        assert_int_equal(cache_list_end(cache, &kind_pod, 8), 0);
        cache_on_change(cache, count_gone, &gone);
        cache_forget(cache);
        assert_int_equal(gone, 2);
        assert_int_equal(cache_count(cache, &kind_pod), 0);
        assert_false(cache_is_synced(cache, &kind_pod));
        assert_int_equal(cache_progress(cache, &kind_pod), 0);
        cache_for_each_owned(it, cache, &kind_pod, STR("o"))
                fail_msg("%.*s is left", STR_FORMAT(it.entry->meta.name));
        /* Versions begin anew, and what was deleted may be there. */
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "u1", 4, ""), 1);
        assert_int_equal(apply(cache, CACHE_ADDED, "c", "u3", 7, ""), 1);
        assert_int_equal(version_of(cache, "a"), 4);
}

static void refuses_what_has_no_identity(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;

        (void)state;
        begin(&cache);
        assert_int_equal(apply(cache, CACHE_ADDED, "", "u", 1, ""), -EINVAL);
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "", 1, ""), -EINVAL);
}

static void lists_replace(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;

        (void)state;
        begin(&cache);
        assert_false(cache_is_synced(cache, &kind_pod));
        apply(cache, CACHE_ADDED, "gone", "u1", 1, "");
        apply(cache, CACHE_ADDED, "kept", "u2", 2, "");
        apply(cache, CACHE_ADDED, "ours", "u3", 30, ""); /* acknowledged after the list was made */
        cache_list_begin(cache, &kind_pod);
        apply(cache, CACHE_ADDED, "kept", "u2", 2, "");
        apply(cache, CACHE_ADDED, "new", "u4", 10, "");
        cache_list_end(cache, &kind_pod, 20);
        assert_true(cache_is_synced(cache, &kind_pod));
        assert_int_equal(version_of(cache, "gone"), 0);
        assert_int_equal(version_of(cache, "kept"), 2);
        assert_int_equal(version_of(cache, "ours"), 30);
        assert_int_equal(version_of(cache, "new"), 10);
        /* The next list knows of its end. */
        cache_list_begin(cache, &kind_pod);
        cache_list_end(cache, &kind_pod, 40);
        assert_int_equal(cache_count(cache, &kind_pod), 0);
}

static void kinds_come_and_go(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        const struct kind other = { .group = kind_pod.group, .kind = kind_pod.kind };

        (void)state;
        begin(&cache);
        assert_false(cache_is_fed(cache, &kind_pod));
        assert_null(cache_find_kind(cache, STR(""), STR("Pod")));
        assert_int_equal(cache_add_kind(cache, &kind_pod), 0);
        assert_true(cache_is_fed(cache, &kind_pod));
        assert_false(cache_is_complete(cache, 0));
        cache_list_begin(cache, &kind_pod);
        apply(cache, CACHE_ADDED, "a", "u1", 1, "");
        assert_int_equal(cache_list_end(cache, &kind_pod, 2), 0);
        assert_true(cache_is_complete(cache, 0));
        apply(cache, CACHE_DELETED, "a", "u1", 3, "");

        /* Dropped, it is still known by its name, unless another has that. */
        cache_drop_kind(cache, &kind_pod);
        assert_false(cache_is_fed(cache, &kind_pod));
        assert_false(cache_is_synced(cache, &kind_pod));
        assert_int_equal(cache_progress(cache, &kind_pod), 0);
        assert_true(cache_is_complete(cache, 0));
        assert_ptr_equal(cache_find_kind(cache, STR(""), STR("Pod")), &kind_pod);
        assert_true(cache_was_deleted(cache, STR("u1")));
        assert_int_equal(cache_add_kind(cache, &other), 0);
        assert_ptr_equal(cache_find_kind(cache, STR(""), STR("Pod")), &other);
        cache_drop_kind(cache, &other);

        assert_int_equal(cache_add_kind(cache, &kind_pod), 0);
        assert_ptr_equal(cache_find_kind(cache, STR(""), STR("Pod")), &kind_pod);
        assert_true(cache_is_fed(cache, &kind_pod));
        assert_false(cache_is_complete(cache, 0));
}

/* Where feeds are ordered it counts what all were told, elsewhere that all were listed. */
static void tells_what_is_complete(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;

        (void)state;
        begin(&cache);
        cache_list_begin(cache, &kind_pod);
        assert_int_equal(cache_list_end(cache, &kind_pod, 5), 0);
        cache_advance(cache, &kind_pod, 7);
        assert_true(cache_is_complete(cache, 100));
        cache_advance(cache, NULL, 10);
        assert_true(cache_is_complete(cache, 10));
        assert_false(cache_is_complete(cache, 11));
        assert_int_equal(cache_add_kind(cache, &kind_service), 0);
        assert_false(cache_is_complete(cache, 10));
}

static void our_deletion_hides_at_once(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;

        (void)state;
        begin(&cache);
        apply(cache, CACHE_ADDED, "a", "u1", 1, "");
        cache_deleted(cache, &kind_pod, STR("u1"));
        assert_int_equal(version_of(cache, "a"), 0);
        assert_int_equal(apply(cache, CACHE_MODIFIED, "a", "u1", 2, ""), 0);
        assert_int_equal(version_of(cache, "a"), 0);
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "u2", 3, ""), 1);
}

static size_t label_keys(const struct cache_entry *entry,
                         struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = object_meta_label(&entry->meta, STR("k"));
        return ret_keys[0].length > 0;
}

static void indexes_follow_changes(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        int index;
        char names[16] = "";

        (void)state;
        begin(&cache);
        index = cache_add_index(cache, &kind_pod, true, label_keys);
        apply(cache, CACHE_ADDED, "a", "u1", 1, ",\"labels\":{\"k\":\"x\"}");
        apply(cache, CACHE_ADDED, "b", "u2", 2, ",\"labels\":{\"k\":\"x\"}");
        apply(cache, CACHE_ADDED, "c", "u3", 3,
              ",\"labels\":{\"k\":\"y\"},\"ownerReferences\":[{\"uid\":\"o1\"},{\"uid\":\"o2\"}]");
        assert_int_equal(cache_index_count(cache, index, STR("n"), STR("x")), 2);
        assert_int_equal(cache_index_count(cache, index, STR("m"), STR("x")), 0);
        assert_int_equal(cache_index_count(cache, CACHE_INDEX_OWNER, STR_EMPTY, STR("o2")), 1);
        apply(cache, CACHE_MODIFIED, "a", "u1", 4, ",\"labels\":{\"k\":\"y\"}");
        apply(cache, CACHE_MODIFIED, "c", "u3", 5, ",\"labels\":{\"k\":\"y\"}");
        assert_int_equal(cache_index_count(cache, index, STR("n"), STR("x")), 1);
        assert_int_equal(cache_index_count(cache, CACHE_INDEX_OWNER, STR_EMPTY, STR("o2")), 0);
        cache_for_each_in(it, cache, index, &kind_pod, STR("n"), STR("y"))
                strncat(names, it.entry->meta.name.data, 1);
        assert_string_equal(names, "ca"); /* in the order in which they came under the key */
        apply(cache, CACHE_DELETED, "b", "u2", 6, "");
        assert_int_equal(cache_index_count(cache, index, STR("n"), STR("x")), 0);
        assert_ptr_equal(cache_get_uid(cache, STR("u1")),
                         cache_get(cache, &kind_pod, STR("n"), STR("a")));
}

static void locks_mark_what_is_and_what_comes(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        int me, you;

        (void)state;
        begin(&cache);
        apply(cache, CACHE_ADDED, "a", "u1", 1, "");
        assert_int_equal(cache_lock(cache, &kind_pod, STR("n"), STR("a"), &me), 0);
        assert_int_equal(cache_lock(cache, &kind_pod, STR("n"), STR("a"), &me), 1);
        assert_int_equal(cache_lock(cache, &kind_pod, STR("n"), STR("a"), &you), -EBUSY);
        assert_ptr_equal(cache_lock_owner(cache, &kind_pod, STR("n"), STR("a")), &me);
        assert_int_equal(cache_lock(cache, &kind_service, STR("n"), STR("a"), &you), 0);
        assert_true(cache_get(cache, &kind_pod, STR("n"), STR("a"))->locked);
        apply(cache, CACHE_MODIFIED, "a", "u1", 2, "");
        assert_true(cache_get(cache, &kind_pod, STR("n"), STR("a"))->locked);
        assert_int_equal(cache_lock(cache, &kind_pod, STR("n"), STR("b"), &me), 0);
        apply(cache, CACHE_ADDED, "b", "u2", 3, "");
        assert_true(cache_get(cache, &kind_pod, STR("n"), STR("b"))->locked);
        cache_unlock(cache, &kind_pod, STR("n"), STR("b"));
        assert_false(cache_get(cache, &kind_pod, STR("n"), STR("b"))->locked);
        assert_null(cache_lock_owner(cache, &kind_pod, STR("n"), STR("b")));
}

static void count_changes(void *context, const struct cache_entry *before,
                          const struct cache_entry *after)
{
        int *counts = context;

        counts[0] += !before;
        counts[1] += before && after;
        counts[2] += !after;
}

static void tells_changes_once(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        int counts[3] = { 0 };

        (void)state;
        begin(&cache);
        cache_on_change(cache, count_changes, counts);
        apply(cache, CACHE_ADDED, "a", "u1", 1, "");
        apply(cache, CACHE_ADDED, "a", "u1", 1, "");
        apply(cache, CACHE_MODIFIED, "a", "u1", 2, "");
        apply(cache, CACHE_ADDED, "a", "u2", 3, "");
        apply(cache, CACHE_DELETED, "a", "u2", 4, "");
        assert_int_equal(counts[0], 2);
        assert_int_equal(counts[1], 1);
        assert_int_equal(counts[2], 2);
}

static void remembers_few_dead(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        char uid[16];

        (void)state;
        begin(&cache);
        for (unsigned i = 0; i < 20000; i++) {
                snprintf(uid, sizeof(uid), "u%u", i);
                assert_int_equal(apply(cache, CACHE_ADDED, "a", uid, 2 * i + 1, ""), 1);
                assert_int_equal(apply(cache, CACHE_DELETED, "a", uid, 2 * i + 2, ""), 1);
        }
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "u19999", 50000, ""), 0);
        /* The oldest were forgotten: memory is bounded. */
        assert_int_equal(apply(cache, CACHE_ADDED, "a", "u1", 50001, ""), 1);
}

static uint64_t digest(const struct cache_entry *entry)
{
        return entry->meta.name.length;
}

static size_t own_group_keys(const struct cache_entry *entry,
                             struct str ret_keys[static CACHE_KEYS_MAX])
{
        ret_keys[0] = object_meta_label(&entry->meta, STR("group"));
        return ret_keys[0].length > 0;
}

static void finds_all_that_rests(void **state)
{
        enum { COUNT = 500 };
        _cleanup_(cache_freep) struct cache *cache = NULL;
        char name[32], uid[32], more[256];
        size_t found = 0, digests = 0;

        (void)state;
        begin(&cache);
        cache_set_digest(cache, digest);
        int index = cache_add_index(cache, &kind_pod, true, own_group_keys);
        for (unsigned i = 0; i < COUNT; i++) {
                snprintf(name, sizeof(name), "pod-%u", i);
                snprintf(uid, sizeof(uid), "u%u", i);
                snprintf(more, sizeof(more),
                         ",\"labels\":{\"group\":\"g%u\",\"own\":\"%s\"},"
                         "\"managedFields\":[{\"manager\":\"somebody\"}]",
                         i % 7, name);
                assert_int_equal(apply(cache, CACHE_ADDED, name, uid, i + 1, more), 1);
        }
        for (unsigned i = 0; i < COUNT; i++) {
                snprintf(name, sizeof(name), "pod-%u", i);
                snprintf(uid, sizeof(uid), "u%u", i);
                const struct cache_entry *entry = cache_get_uid(cache, str_from(uid));
                assert_true(str_equal(entry->meta.name, str_from(name)));
                assert_true(str_equal(object_meta_label(&entry->meta, STR("own")), str_from(name)));
                assert_int_equal(json_exists(entry->meta.managed_fields), awake == SIZE_MAX);
                assert_int_equal(entry->seen_ns, 1);
                cache_rest(cache);
        }
        for (struct cache_iterator it =
                     cache_iterate_index(cache, index, &kind_pod, STR("n"), STR("g3"));
             cache_peek(&it); found++) {
                digests += it.digest;
                const struct cache_entry *entry = cache_entry_at(&it);
                assert_int_equal(entry->meta.name.length, it.digest);
                assert_int_equal(entry->meta.resource_version % 7, 4);
        }
        assert_int_equal(found, (COUNT - 3 + 6) / 7);
        assert_true(digests > 0);
        found = 0;
        cache_for_each(it, cache, &kind_pod, STR("other")) found++;
        assert_int_equal(found, 0);
}

/* What is written is not packed, and is locked also if it was packed before. */
static void locked_ones_stay(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        struct str n = STR("n");
        int owner;

        (void)state;
        begin(&cache);
        for (unsigned i = 0; i < 20; i++) {
                char name[16], uid[16];

                snprintf(name, sizeof(name), "p%u", i);
                snprintf(uid, sizeof(uid), "u%u", i);
                apply(cache, CACHE_ADDED, name, uid, i + 1, "");
        }
        cache_rest(cache);
        assert_int_equal(cache_lock(cache, &kind_pod, n, STR("p3"), &owner), 0);
        for (unsigned i = 0; i < 20; i++)
                cache_rest(cache);
        assert_true(cache_get(cache, &kind_pod, n, STR("p3"))->locked);
        assert_false(cache_get(cache, &kind_pod, n, STR("p4"))->locked);
        cache_unlock(cache, &kind_pod, n, STR("p3"));
        cache_rest(cache);
        assert_false(cache_get(cache, &kind_pod, n, STR("p3"))->locked);
        assert_false(cache_has_failed(cache));
}

/* ---- without memory ---- */

/* What is missing from a list that lost something may be what was lost. */
static void lists_that_lost_something_end_nothing(void **state)
{
        long n = 0;

        (void)state;
        for (bool failed = true; failed; n++) {
                _cleanup_(cache_freep) struct cache *cache = NULL;
                int r;

                begin(&cache);
                cache_list_begin(cache, &kind_pod);
                apply(cache, CACHE_ADDED, "a", "u1", 1, "");
                apply(cache, CACHE_ADDED, "b", "u2", 2, "");
                apply(cache, CACHE_ADDED, "c", "u3", 3, "");
                assert_int_equal(cache_list_end(cache, &kind_pod, 10), 0);
                cache_rest(cache);
                _cleanup_doc_ struct json_doc *a = make("a", "u1", 11, ""),
                                              *b = make("b", "u2", 2, "");
                allocation_fail_after(n);
                cache_list_begin(cache, &kind_pod);
                if (cache_apply(cache, &kind_pod, CACHE_ADDED, a, 1) < 0)
                        cache_lose(cache, &kind_pod);
                if (cache_apply(cache, &kind_pod, CACHE_ADDED, b, 1) < 0)
                        cache_lose(cache, &kind_pod);
                cache_advance(cache, &kind_pod, 12);
                assert_int_equal(cache_progress(cache, &kind_pod), 10);
                r = cache_list_end(cache, &kind_pod, 20);
                failed = allocation_failed();
                assert_true(r == 0 || (r == -ENOMEM && failed));
                cache_advance(cache, &kind_pod, 21);
                assert_int_equal(cache_progress(cache, &kind_pod), r == 0 ? 21 : 10);
                assert_int_equal(version_of(cache, "b"), 2);
                assert_int_equal(version_of(cache, "c"), r == 0 ? 0 : 3);
                /* The next list makes it good. */
                cache_list_begin(cache, &kind_pod);
                assert_true(cache_apply(cache, &kind_pod, CACHE_ADDED, a, 1) >= 0);
                assert_true(cache_apply(cache, &kind_pod, CACHE_ADDED, b, 1) >= 0);
                assert_int_equal(cache_list_end(cache, &kind_pod, 20), 0);
                assert_int_equal(version_of(cache, "a"), 11);
                assert_int_equal(version_of(cache, "c"), 0);
        }
        assert_true(n > 3);
}

/* A deleted object that is not remembered could come back with a late event. */
static void deletions_that_are_not_remembered_are_none(void **state)
{
        long n = 0;

        (void)state;
        for (bool failed = true; failed; n++) {
                _cleanup_(cache_freep) struct cache *cache = NULL;
                int r;

                begin(&cache);
                apply(cache, CACHE_ADDED, "a", "u1", 1, "");
                apply(cache, CACHE_ADDED, "b", "u2", 2, "");
                cache_rest(cache);
                allocation_fail_after(n);
                r = cache_deleted(cache, &kind_pod, STR("u1"));
                failed = allocation_failed();
                assert_int_equal(r, failed ? -ENOMEM : 0);
                assert_int_equal(version_of(cache, "a"), failed ? 1 : 0);
                assert_int_equal(cache_deleted(cache, &kind_pod, STR("u1")), 0);
                assert_int_equal(apply(cache, CACHE_MODIFIED, "a", "u1", 3, ""), 0);
                assert_int_equal(version_of(cache, "a"), 0);
        }
        assert_true(n > 1);
}

static void weigh_labels(const struct cache_entry *entry, int64_t ret_weights[static CACHE_SUMS])
{
        struct str weight = object_meta_label(&entry->meta, STR("weight"));

        ret_weights[0] = weight.length ? weight.data[0] - '0' : 0;
        ret_weights[1] = 1;
}

static void assert_sums(struct cache *cache, int index, const char *key, int64_t first,
                        int64_t second)
{
        int64_t sums[CACHE_SUMS];

        cache_index_sums(cache, index, STR("n"), str_from(key), sums);
        assert_int_equal(sums[0], first);
        assert_int_equal(sums[1], second);
}

static void indexes_add_up(void **state)
{
        _cleanup_(cache_freep) struct cache *cache = NULL;
        int index;

        (void)state;
        begin(&cache);
        index = cache_add_index(cache, &kind_pod, true, label_keys);
        cache_add_up(cache, index, weigh_labels);
        assert_sums(cache, index, "x", 0, 0);
        apply(cache, CACHE_ADDED, "a", "u1", 1, ",\"labels\":{\"k\":\"x\",\"weight\":\"3\"}");
        apply(cache, CACHE_ADDED, "b", "u2", 2, ",\"labels\":{\"k\":\"x\",\"weight\":\"5\"}");
        assert_sums(cache, index, "x", 8, 2);
        /* Another weight, another key, an end. */
        apply(cache, CACHE_MODIFIED, "a", "u1", 3, ",\"labels\":{\"k\":\"x\",\"weight\":\"1\"}");
        assert_sums(cache, index, "x", 6, 2);
        apply(cache, CACHE_MODIFIED, "b", "u2", 4, ",\"labels\":{\"k\":\"y\",\"weight\":\"7\"}");
        assert_sums(cache, index, "x", 1, 1);
        assert_sums(cache, index, "y", 7, 1);
        apply(cache, CACHE_DELETED, "b", "u2", 5, "");
        assert_sums(cache, index, "y", 0, 0);
        cache_forget(cache);
        assert_sums(cache, index, "x", 0, 0);
}

/* Who finds nothing can ask whether there is nothing: also what is in the cache and in no index. */
static void tells_what_it_cannot_find(void **state)
{
        long n = 0;

        (void)state;
        for (bool failed = true; failed; n++) {
                _cleanup_(cache_freep) struct cache *cache = NULL;
                size_t found = 0;
                int r;

                begin(&cache);
                int index = cache_add_index(cache, &kind_pod, true, own_group_keys);
                assert_int_equal(cache_add_kind(cache, &kind_pod), 0);
                _cleanup_doc_ struct json_doc *doc =
                        make("a", "u1", 1, ",\"labels\":{\"group\":\"g\"}");
                allocation_fail_after(n);
                r = cache_apply(cache, &kind_pod, CACHE_ADDED, doc, 1);
                cache_rest(cache);
                cache_for_each_in(it, cache, index, &kind_pod, STR("n"), STR("g")) found++;
                failed = allocation_failed();
                if (!found)
                        assert_true(cache_has_failed(cache) || !version_of(cache, "a"));
                assert_true(r == 1 || (r == -ENOMEM && failed));
                if (r < 0)
                        assert_int_equal(cache_apply(cache, &kind_pod, CACHE_ADDED, doc, 1), 1);
                assert_false(cache_has_failed(cache));
                assert_int_equal(cache_index_count(cache, index, STR("n"), STR("g")), 1);
        }
        assert_true(n > 3);
}

#define WHOLE_AND_PACKED(test)                                                                     \
        cmocka_unit_test_setup(test, keep_all), cmocka_unit_test_setup(test, keep_one)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WHOLE_AND_PACKED(newer_wins),
                WHOLE_AND_PACKED(forgets_as_if_never_told),
                WHOLE_AND_PACKED(refuses_what_has_no_identity),
                WHOLE_AND_PACKED(lists_replace),
                WHOLE_AND_PACKED(kinds_come_and_go),
                WHOLE_AND_PACKED(tells_what_is_complete),
                WHOLE_AND_PACKED(our_deletion_hides_at_once),
                WHOLE_AND_PACKED(indexes_follow_changes),
                WHOLE_AND_PACKED(indexes_add_up),
                WHOLE_AND_PACKED(locks_mark_what_is_and_what_comes),
                WHOLE_AND_PACKED(tells_changes_once),
                WHOLE_AND_PACKED(remembers_few_dead),
                WHOLE_AND_PACKED(finds_all_that_rests),
                WHOLE_AND_PACKED(locked_ones_stay),
                WHOLE_AND_PACKED(lists_that_lost_something_end_nothing),
                WHOLE_AND_PACKED(deletions_that_are_not_remembered_are_none),
                WHOLE_AND_PACKED(tells_what_it_cannot_find),
        };

        return run_unit_tests("cache", tests);
}
