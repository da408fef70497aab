// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "kinds/kind.h"
#include "kube/meta.h"
#include "json/json.h"

/*
 * What the controllers see: every object that the watches reported, overlaid with our own
 * acknowledged writes that a watch has not echoed yet. An object is replaced only by a newer
 * resourceVersion, so echoes and late events change nothing.
 */
struct cache;

/* One object. Valid until the next call that changes the cache. */
struct cache_entry {
        const struct kind *kind;
        struct json_doc *doc;
        struct object_meta meta; /* views into doc */
        struct str controller;   /* uid of the controlling owner; empty: none */
        void *typed;             /* what kind->read made, e.g. struct sandbox */
        uint64_t seen_ns;        /* monotonic, when the cache first held this uid */
        uint64_t owners_version; /* the resourceVersion that was first seen with these owners */
        bool locked;             /* a plan that writes it is in flight: its future is not known */
        bool incomplete; /* for want of memory it is missing from an index, until it is told again
                          */
};

enum cache_event {
        CACHE_ADDED, /* or MODIFIED: the cache makes no difference */
        CACHE_MODIFIED,
        CACHE_DELETED, /* `doc` is the last state, with the deletion's resourceVersion */
};

/* `seed` keys the hash tables, so that nobody outside can choose names that collide. */
int cache_new(uint64_t seed, struct cache **ret_cache);
void cache_free(struct cache *cache);
DEFINE_POINTER_CLEANUP(cache_freep, struct cache, cache_free)

/*
 * For caches that hold many objects of a cluster: each is reduced to what controllers read
 * (kind_project()), and but for those used last, `awake` of them, only a packed text is kept, from
 * which a look-up makes the rest again. Before feeding. Without it all stay as they came.
 */
int cache_set_awake(struct cache *cache, size_t awake);

/* Packs what is more than that. As a change: what was looked up is no longer valid. */
void cache_rest(struct cache *cache);

/* Whether, since the last call, a look-up may have found less than there is, for want of memory.
 * What was decided meanwhile must not be done. */
bool cache_has_failed(struct cache *cache);
/* The same of look-ups by name and uid, without ending it. */
bool cache_is_short(const struct cache *cache);

/* Says that the kind will be fed. Feeding says so too; garbage collection must know before. */
int cache_add_kind(struct cache *cache, const struct kind *kind);

/*
 * Says that a kind, of which no object is left, will not be fed any more: it counts as never
 * listed. It is still known by its pointer, and may be added again.
 */
void cache_drop_kind(struct cache *cache, const struct kind *kind);
bool cache_is_fed(const struct cache *cache, const struct kind *kind);

/*
 * Whether every kind that is fed was listed and, where feeds are ordered among each other (see
 * cache_advance()), all were told what was written up to this version: what depends on an object
 * of this version is then here.
 */
bool cache_is_complete(const struct cache *cache, uint64_t resource_version);

/*
 * An index: `keys` gives the values under which an object is to be found (at most
 * CACHE_KEYS_MAX). The same keys must come for the same object. Register before feeding.
 * `kind` NULL indexes every kind. With `by_namespace` a key is only found with the object's
 * namespace. Returns the index's number, or -ENOMEM, -ENOSPC.
 */
enum { CACHE_KEYS_MAX = 32, CACHE_INDEXES_MAX = 16 };
typedef size_t (*cache_keys_fn)(const struct cache_entry *entry,
                                struct str ret_keys[static CACHE_KEYS_MAX]);
int cache_add_index(struct cache *cache, const struct kind *kind, bool by_namespace,
                    cache_keys_fn keys);

/*
 * Has the index add up what the objects under each key count for. The same numbers must come for
 * the same object. Before feeding.
 */
enum { CACHE_SUMS = 2 };
typedef void (*cache_weigh_fn)(const struct cache_entry *entry,
                               int64_t ret_weights[static CACHE_SUMS]);
void cache_add_up(struct cache *cache, int index, cache_weigh_fn weigh);

/* Built in: objects of any kind by the uid of each of their owners. */
enum { CACHE_INDEX_OWNER = 0 };

/* ---- looking up ---- */

const struct cache_entry *cache_get(const struct cache *cache, const struct kind *kind,
                                    struct str namespace, struct str name);
const struct cache_entry *cache_get_uid(const struct cache *cache, struct str uid);

/* All objects of a kind; in no order. A namespace of NULL data means all. */
struct cache_iterator {
        const struct cache *cache;
        const struct cache_entry *entry;
        const struct kind *entry_kind;
        uint64_t digest; /* of the entry, as cache_set_digest() says; 0: none */
        void *at;
        struct list *next, *head;
        const struct kind *kind;
        struct str namespace;
        bool by_index;
};
struct cache_iterator cache_iterate(const struct cache *cache, const struct kind *kind,
                                    struct str namespace);
/* Objects with `key` in `index` (`namespace` is empty unless it is by namespace), in the order in
 * which they came under it, of `kind` or of any. */
struct cache_iterator cache_iterate_index(const struct cache *cache, int index,
                                          const struct kind *kind, struct str namespace,
                                          struct str key);
bool cache_next(struct cache_iterator *iterator);

/*
 * For walks over many: goes on to the next of which only kind and digest are told, at next to no
 * cost. cache_entry_at() then gives the entry itself, or NULL without memory.
 */
bool cache_peek(struct cache_iterator *iterator);
const struct cache_entry *cache_entry_at(struct cache_iterator *iterator);
/* The same later, from the iterator's `at`, as long as the cache has not changed. */
const struct cache_entry *cache_look_at(const struct cache *cache, void *at);

/* Says what cache_peek() tells of objects. Before feeding. */
void cache_set_digest(struct cache *cache, uint64_t (*digest)(const struct cache_entry *entry));
#define cache_for_each(it, ...)                                                                    \
        for (struct cache_iterator it = cache_iterate(__VA_ARGS__); cache_next(&it);)
#define cache_for_each_in(it, ...)                                                                 \
        for (struct cache_iterator it = cache_iterate_index(__VA_ARGS__); cache_next(&it);)

/* Objects that the one with this uid owns. */
#define cache_for_each_owned(it, cache, kind, uid)                                                 \
        cache_for_each_in(it, cache, CACHE_INDEX_OWNER, kind, STR_EMPTY, uid)

/* Whether the object with this uid was seen to be deleted, not long ago. */
bool cache_was_deleted(const struct cache *cache, struct str uid);

/* The kind of this group and name that has been fed, whatever its version; or NULL. One that was
 * dropped is found if no other is fed. */
const struct kind *cache_find_kind(const struct cache *cache, struct str group, struct str kind);

size_t cache_count(const struct cache *cache, const struct kind *kind);

/* How many objects stand under a key. Constant time. */
size_t cache_index_count(const struct cache *cache, int index, struct str namespace,
                         struct str key);

/* The sums of an index that adds up, 0 where nothing stands. Constant time. */
void cache_index_sums(const struct cache *cache, int index, struct str namespace, struct str key,
                      int64_t ret_sums[static CACHE_SUMS]);

/* ---- feeding ---- */

/*
 * Tells, for each change that became visible, what stood there before and what stands there now;
 * either may be NULL, not both. Both are valid during the call only.
 */
typedef void (*cache_changed_fn)(void *context, const struct cache_entry *before,
                                 const struct cache_entry *after);
void cache_on_change(struct cache *cache, cache_changed_fn changed, void *context);

/* Calls for every object, as if it had just come. */
void cache_each(struct cache *cache, cache_changed_fn each, void *context);

/*
 * An event of a watch or an object of a list. Takes a reference of its own. Older and equal
 * resourceVersions are dropped. Returns 0, 1 when something became visible, -EINVAL (no name or
 * uid), -ENOMEM (it is to be told again: a watch's event in a list).
 */
int cache_apply(struct cache *cache, const struct kind *kind, enum cache_event event,
                struct json_doc *doc, uint64_t monotonic_ns);

/*
 * A list of the whole kind begins; its objects follow by cache_apply() as CACHE_ADDED. At its end
 * what was not listed is gone, unless it is newer than the list's own `resource_version` (a write
 * of ours that the list did not know yet).
 */
void cache_list_begin(struct cache *cache, const struct kind *kind);
/* Returns 0, or -ENOMEM: it is not known what is gone, and the kind is to be listed again. */
int cache_list_end(struct cache *cache, const struct kind *kind, uint64_t resource_version);

/*
 * Something of the kind that a watch or list told is not in the cache, for want of memory: a list
 * under way tells of nothing that it is gone, and the watch comes no further until the next list.
 */
void cache_lose(struct cache *cache, const struct kind *kind);

/*
 * What was told may never have been: everything is gone, without having been deleted, and every
 * kind is to be listed.
 */
void cache_forget(struct cache *cache);

/*
 * The watch of a kind (NULL: of every synced kind) has come so far: by an event, or a bookmark.
 * What was written before, and is not in the cache, is gone.
 */
void cache_advance(struct cache *cache, const struct kind *kind, uint64_t resource_version);
uint64_t cache_progress(const struct cache *cache, const struct kind *kind);

/* Whether a list of the kind was completed. */
bool cache_is_synced(const struct cache *cache, const struct kind *kind);

/* Our own delete was answered with success and nothing of the object remains: it is hidden, and
 * events of that uid are ignored, until the watch reports the deletion. Returns 0 or -ENOMEM. */
int cache_deleted(struct cache *cache, const struct kind *kind, struct str uid);

/*
 * Marks an object (or the name of one to be made) as being written by `owner` (not NULL). Returns
 * -EBUSY if it is marked by another, 1 if by the same, -ENOMEM, else 0.
 */
int cache_lock(struct cache *cache, const struct kind *kind, struct str namespace, struct str name,
               void *owner);
void cache_unlock(struct cache *cache, const struct kind *kind, struct str namespace,
                  struct str name);

/*
 * Keeps the mark, without its owner, until the object changes in the cache or is gone: what was
 * written is not known yet (the answer to a binding does not tell).
 */
void cache_unlock_on_change(struct cache *cache, const struct kind *kind, struct str namespace,
                            struct str name);

/*
 * Has `waiter` told by the function of cache_on_unlock() when the mark goes, once. Returns 0, 1 if
 * there is no mark, -EALREADY if it will be, -ENOMEM.
 */
int cache_wait(struct cache *cache, const struct kind *kind, struct str namespace, struct str name,
               void *waiter);
void cache_on_unlock(struct cache *cache, void (*unlocked)(void *context, void *waiter),
                     void *context);

/* Who marked it; NULL when nobody did. */
void *cache_lock_owner(const struct cache *cache, const struct kind *kind, struct str namespace,
                       struct str name);
